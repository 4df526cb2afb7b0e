package indicator

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// folder is a folder of indicators in which every write is seen, however fast.
type folder struct {
	t   *testing.T
	dir string
	at  time.Time
}

func newFolder(t *testing.T) *folder {
	return &folder{t, t.TempDir(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func (f *folder) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	f.at = f.at.Add(time.Second)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(path, f.at, f.at); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) load() *Table {
	f.t.Helper()
	table, err := Load(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	return table
}

func expect(t *testing.T, table *Table, addr, country string, asn uint32, kinds Kind) {
	t.Helper()
	if i := table.Lookup(netip.MustParseAddr(addr)); i.Country != country || i.ASN != asn || i.Kinds != kinds {
		t.Errorf("%s: %q AS%d %q, want %q AS%d %q", addr, i.Country, i.ASN, i.Kinds, country, asn, kinds)
	}
}

func sourceOf(t *testing.T, table *Table, name string) Source {
	t.Helper()
	for _, s := range table.Sources() {
		if s.Name == name {
			return s
		}
	}
	t.Errorf("no source %q", name)
	return Source{}
}

func TestFilesAddAndReplace(t *testing.T) {
	f := newFolder(t)
	f.write("vpn-ours.txt", "203.0.113.0/24\n10.1.0.0/16 # a slip: private\n2001:db8::7\n")
	f.write("tor.txt", "# licence: CC0-1.0\n# date: 2026-10-11\n# source: example.org\n198.51.100.1\n")
	f.write("mobile.txt", "8.8.8.0/24\n")
	f.write("country-offices.csv", "10.1.0.0,10.1.255.255,FR\n203.0.113.0,203.0.113.255,DE\n8.8.8.8,8.8.8.8,NZ\n")
	f.write("country-z.csv", "203.0.113.9,203.0.113.9,PL\n")
	f.write("asn.csv", "first,last,asn,name\n8.0.0.0,8.255.255.255,3356,Level 3\n8.8.8.0,8.8.8.255,15169,\"Google, LLC\"\n")
	f.write("crawlers-ours.json", `[{"pattern": "OurProbe\\/"}, {"pattern": "^oddly"}]`)
	f.write(".half", "rubbish")
	f.write("vpn.txt.tmp", "rubbish")
	table := f.load()

	expect(t, table, "203.0.113.8", "DE", 0, VPN)
	expect(t, table, "203.0.113.9", "PL", 0, VPN)
	expect(t, table, "2001:db8::7", "", 0, VPN)
	expect(t, table, "2001:db8::6", "", 0, 0)
	expect(t, table, "2001:db8::8", "", 0, 0)
	expect(t, table, "10.1.2.3", "FR", 0, Private) // a place for the office, but no list marks it
	expect(t, table, "198.51.100.1", "", 0, Tor)
	expect(t, table, "2.56.10.36", "SC", 0, 0) // no longer an exit: the list is replaced
	expect(t, table, "8.8.8.8", "NZ", 15169, Hosting|Mobile)
	expect(t, table, "8.8.8.9", "US", 15169, Hosting|Mobile)
	expect(t, table, "8.1.1.1", "US", 3356, 0)
	if a, b := table.Network(15169), table.Network(1); a != "Google, LLC" || b != "" {
		t.Errorf("names %q and %q", a, b)
	}
	for agent, want := range map[string]string{"OurProbe/1": "OurProbe", "oddly so": "oddly", "curl/8": "curl", "very oddly": ""} {
		if got, _ := table.Crawler(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
	if p := table.Problems(); len(p) != 0 {
		t.Errorf("problems: %v", p)
	}
	tor := Source{Name: "tor.txt", Licence: "CC0-1.0", Date: "2026-10-11", Origin: "example.org", Entries: 1, Path: filepath.Join(f.dir, "tor.txt")}
	if got := sourceOf(t, table, "tor.txt"); got != tor {
		t.Errorf("got %+v, want %+v", got, tor)
	}
	if got := sourceOf(t, table, "vpn-ours.txt"); got.Entries != 3 || got.Date != "2026-01-02" || got.Licence != "" {
		t.Errorf("got %+v", got)
	}
	var names []string
	for _, s := range table.Sources() {
		names = append(names, s.Name)
	}
	if want := "country hosting vpn listed crawlers asn.csv mobile.txt tor.txt country-offices.csv country-z.csv crawlers-ours.json vpn-ours.txt"; strings.Join(names, " ") != want {
		t.Errorf("sources %v, want %v", names, want)
	}
}

func TestGarbageIsRefusedAndTheRestServes(t *testing.T) {
	f := newFolder(t)
	f.write("tor.txt", "<html>\n<body>502 Bad Gateway</body>\n")
	f.write("country.csv", strings.Repeat("\x00\x01\x02", 500))
	f.write("crawlers.json", `[{"pattern": "a`)
	f.write("crawlers-odd.json", `{"pattern": "abcd"}`)
	f.write("crawlers-bad.json", `[{"pattern": "(("}, {"pattern": 7},`+"\n"+`{"pattern": "goodone"}]`)
	f.write("vpn.txt", "")
	f.write("listed.txt", strings.Repeat("1.2.3.4\n", 30)+"what?\n")
	f.write("notes.md", "hello")
	if err := os.Mkdir(filepath.Join(f.dir, "hosting.txt"), 0o755); err != nil {
		t.Fatal(err)
	}
	table := f.load()

	expect(t, table, "2.56.10.36", "SC", 0, Tor)
	expect(t, table, "1.2.3.4", "AU", 0, Listed)
	if name, _ := table.Crawler("curl/8"); name != "curl" {
		t.Error("the crawlers that are built in do not serve")
	}
	if name, ok := table.Crawler("goodone"); ok {
		t.Errorf("a refused file serves %q", name)
	}
	var got []string
	for _, p := range table.Problems() {
		got = append(got, strings.TrimPrefix(p.Error(), f.dir+string(filepath.Separator)))
	}
	want := []string{
		`hosting.txt: not read: no file of a known name`,
		`notes.md: not read: no file of a known name`,
		`country.csv: refused: 1 of 1 entries cannot be read; line 1: want three columns: first address, last address and what they are`,
		`country.csv:1: want three columns: first address, last address and what they are`,
		`crawlers.json: refused: line 1: it is not whole JSON`,
		`listed.txt:31: "what?" is no address`,
		`tor.txt: refused: 2 of 2 entries cannot be read; line 1: "<html>" is no address`,
		`tor.txt:1: "<html>" is no address`,
		`tor.txt:2: "<body>502" is no address`,
		`vpn.txt: refused: it is empty (to clear a list, leave a comment in it)`,
		"crawlers-bad.json: refused: 2 of 3 entries cannot be read; line 1: \"((\": error parsing regexp: missing closing ): `((`",
		"crawlers-bad.json:1: \"((\": error parsing regexp: missing closing ): `((`",
		`crawlers-bad.json:1: json: cannot unmarshal number into Go struct field .pattern of type string`,
		`crawlers-odd.json: refused: it is no JSON array of crawlers`,
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("problem %d:\n got %s\nwant %s", i, at(got, i), at(want, i))
		}
	}
	if s := sourceOf(t, table, "tor.txt"); s.Refused == "" || s.Entries != 0 {
		t.Errorf("got %+v", s)
	}
	if s := sourceOf(t, table, "listed.txt"); s.Refused != "" || s.Entries != 30 || s.Bad != 1 {
		t.Errorf("got %+v", s)
	}
	if s := sourceOf(t, table, "tor"); s.Path != builtIn {
		t.Errorf("got %+v", s)
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "none"
}

func TestLoadNeedsAFolder(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil || !strings.HasPrefix(err.Error(), "cannot read the folder of indicators: ") {
		t.Errorf("error %v", err)
	}
}

// TestLoadAgreesWithReference compares a folder of random lists with a reading
// of the same lines, one by one.
func TestLoadAgreesWithReference(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	f := newFolder(t)
	type rule struct {
		prefix  netip.Prefix
		kind    Kind
		country string
	}
	var rules []rule
	random := func() netip.Prefix {
		if r.IntN(2) == 0 {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(r.IntN(4)), byte(r.Uint32())}), 22+r.IntN(11)).Masked()
		}
		a := netip.MustParseAddr("2001:db8::").As16()
		a[4], a[5], a[6], a[15] = byte(r.IntN(2)), byte(r.IntN(3)), byte(r.IntN(4)), byte(r.Uint32())
		return netip.PrefixFrom(netip.AddrFrom16(a), 40+r.IntN(89)).Masked()
	}
	for i, kind := range []Kind{VPN, Mobile, Listed} {
		var text strings.Builder
		for range 60 {
			p := random()
			rules = append(rules, rule{p, kind, ""})
			fmt.Fprintln(&text, p)
		}
		f.write([]string{"vpn.txt", "mobile.txt", "listed.txt"}[i], text.String())
	}
	var text strings.Builder
	for range 60 {
		p := random()
		country := []string{"DE", "FR", "PL"}[r.IntN(3)]
		rules = append(rules, rule{p, 0, country})
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		fmt.Fprintf(&text, "%v,%v,%s\n", p.Addr(), end, country)
	}
	f.write("country.csv", text.String())
	f.write("hosting.txt", "# none\n")
	f.write("tor.txt", "# none\n")
	table := f.load()
	for range 20000 {
		a := random().Addr()
		if r.IntN(2) == 0 {
			a = a.Prev()
		}
		var want Info
		bits := -1
		for _, rule := range rules {
			if !rule.prefix.Contains(a) {
				continue
			}
			want.Kinds |= rule.kind
			if rule.country != "" && rule.prefix.Bits() >= bits { // the innermost, of equals the last
				want.Country, bits = rule.country, rule.prefix.Bits()
			}
		}
		if got := table.Lookup(a); got.Country != want.Country || got.Kinds != want.Kinds {
			t.Fatalf("%v: %q %q, want %q %q", a, got.Country, got.Kinds, want.Country, want.Kinds)
		}
	}
}

func TestRefreshWithoutRestart(t *testing.T) {
	f := newFolder(t)
	var logged bytes.Buffer
	h, err := Open(f.dir, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	refresh := func(want bool) *Table {
		t.Helper()
		changed, err := h.Refresh()
		if err != nil || changed != want {
			t.Errorf("changed %v, want %v (%v)", changed, want, err)
		}
		return h.Table()
	}
	old := refresh(false)
	expect(t, old, "203.0.113.1", "", 0, 0)

	f.write("vpn-ours.txt", "203.0.113.0/24\n")
	expect(t, refresh(true), "203.0.113.1", "", 0, VPN)
	expect(t, old, "203.0.113.1", "", 0, 0) // a table never changes
	refresh(false)

	f.write("vpn-ours.txt", "203.0.113.0/25\n")
	expect(t, refresh(true), "203.0.113.1", "", 0, VPN)
	expect(t, refresh(false), "203.0.113.128", "", 0, 0)

	// What becomes garbage is refused and goes on to serve as it was, however often.
	for range 2 {
		f.write("vpn-ours.txt", "<html>Bad Gateway</html>\n")
		table := refresh(true)
		expect(t, table, "203.0.113.1", "", 0, VPN)
		if s := sourceOf(t, table, "vpn-ours.txt"); s.Refused == "" || s.Entries != 1 {
			t.Errorf("got %+v", s)
		}
	}
	if !strings.Contains(logged.String(), "indicator not used") {
		t.Errorf("the refusal is not logged: %s", logged.String())
	}
	f.write("vpn-ours.txt", "203.0.113.5\n")
	table := refresh(true)
	expect(t, table, "203.0.113.5", "", 0, VPN)
	expect(t, table, "203.0.113.1", "", 0, 0)
	if s := sourceOf(t, table, "vpn-ours.txt"); s.Refused != "" || len(table.Problems()) != 0 {
		t.Errorf("got %+v, %v", s, table.Problems())
	}

	f.write("notes.md", "hello")
	if p := refresh(true).Problems(); len(p) != 1 {
		t.Errorf("problems %v, want that of notes.md", p)
	}
	if err := os.Remove(filepath.Join(f.dir, "vpn-ours.txt")); err != nil {
		t.Fatal(err)
	}
	expect(t, refresh(true), "203.0.113.5", "", 0, 0)

	// A folder that is gone changes nothing, and is logged once.
	f.write("tor-ours.txt", "203.0.113.7\n")
	refresh(true)
	if err := os.RemoveAll(f.dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if changed, err := h.Refresh(); changed || err == nil {
			t.Errorf("changed %v, error %v", changed, err)
		}
	}
	expect(t, h.Table(), "203.0.113.7", "", 0, Tor)
	if n := strings.Count(logged.String(), "indicators not refreshed"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	expect(t, refresh(true), "203.0.113.7", "", 0, 0)
}

func TestOpenWithoutFolder(t *testing.T) {
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "later")} {
		h, err := Open(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, h.Table(), "2.56.10.36", "SC", 0, Tor)
	}
}

func TestWatch(t *testing.T) {
	f := newFolder(t)
	h, err := Open(f.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	tick, done := make(chan time.Time), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { defer close(done); h.Watch(ctx, tick) }()
	f.write("tor-ours.txt", "203.0.113.7\n")
	tick <- f.at
	tick <- f.at // taken only when the first is done with
	expect(t, h.Table(), "203.0.113.7", "", 0, Tor)
	cancel()
	<-done

	done = make(chan struct{})
	go func() { defer close(done); h.Watch(t.Context(), tick) }()
	close(tick)
	<-done
}

// TestReadersDuringRefresh has readers and a refresher at once, for the race detector.
func TestReadersDuringRefresh(t *testing.T) {
	f := newFolder(t)
	h, err := Open(f.dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for a := netip.MustParseAddr("203.0.113.7"); ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
				if k := h.Table().Lookup(a).Kinds; k != 0 && k != Tor {
					t.Errorf("marks %q", k)
				}
			}
		}
	}()
	for i := range 4 {
		f.write("tor-ours.txt", []string{"203.0.113.7\n", "203.0.113.8\n"}[i%2])
		if _, err := h.Refresh(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

func FuzzPatterns(f *testing.F) {
	f.Add([]byte(`[{"pattern": "Googlebot\\/", "instances": ["x"]}, {"pattern": "^curl"}, {"pattern": "[wW]get|(?i)nmap"}]`))
	f.Add([]byte(`[{"pattern": "a{3,5}bcd(e|f)*[\\s\\S]$"}]`))
	f.Add([]byte("[\n{\"pattern\": 1},\n{}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		patterns, tally, err := readPatterns(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(patterns) != tally.Good || !fits(patterns) {
			return
		}
		c := newCrawlers(patterns)
		// Whatever a pattern needs, and is found in it, is found.
		for _, p := range patterns {
			for _, agent := range p.literals {
				if p.regexp != nil && !p.regexp.MatchString(agent) {
					continue
				}
				if _, ok := c.find("x" + agent + "y"); !ok && p.regexp == nil {
					t.Errorf("%q is not found", agent)
				}
				if _, ok := c.find(agent); !ok {
					t.Errorf("%q is not found", agent)
				}
			}
		}
	})
}

func FuzzNewPattern(f *testing.F) {
	for _, p := range []string{`Ahrefs(Bot|SiteAudit)`, `(^| )sentry\/`, `AdsBot-Google([^-]|$)`, `a+bcd`, `(?i)link`, `x{2,3}yz`, `(a|b|)cde`} {
		f.Add(p, "AhrefsBot sentry/ AdsBot-Google abcd LINK xxyz cde")
	}
	f.Fuzz(func(t *testing.T, text, agent string) {
		p, err := newPattern(text)
		if err != nil {
			return
		}
		matches := regexp.MustCompile(text).MatchString(agent)
		holds := slices.ContainsFunc(p.literals, func(l string) bool { return strings.Contains(agent, l) })
		if matches && !holds || p.regexp == nil && matches != holds {
			t.Errorf("%q matches %q: %v; that it holds one of %q: %v", text, agent, matches, p.literals, holds)
		}
	})
}
