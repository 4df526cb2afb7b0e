package indicator

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// agents are the examples that come with the list of crawlers.
func agents(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/agents.zst")
	if err != nil {
		t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	if b, err = dec.DecodeAll(b, nil); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

var humans = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36 Edg/148.0.0.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
	"Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.60(0x18003c2f) NetType/WIFI Language/zh_CN",
	"Mozilla/5.0 (Linux; Android 15; SM-S928B Build/AP3A.240905.015; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/137.0.7151.89 Mobile Safari/537.36",
	"",
	"x",
	"Mo",
}

// reference is the slow meaning of Crawler: the first pattern that matches.
type reference struct {
	expressions []*regexp.Regexp
	names       []string
}

func newReference(t testing.TB) reference {
	t.Helper()
	var listed []struct{ Pattern string }
	if err := json.Unmarshal(crawlersJSON, &listed); err != nil {
		t.Fatal(err)
	}
	var r reference
	for _, c := range listed {
		p, err := newPattern(c.Pattern)
		if err != nil {
			t.Fatal(err)
		}
		r.expressions = append(r.expressions, regexp.MustCompile(c.Pattern))
		r.names = append(r.names, p.name)
	}
	return r
}

func (r reference) find(agent string) (string, bool) {
	for i, re := range r.expressions {
		if re.MatchString(agent) {
			return r.names[i], true
		}
	}
	return "", false
}

func TestCrawlerAgreesWithReference(t *testing.T) {
	table, ref := defaultTable(t), newReference(t)
	all := agents(t)
	if len(all) < 2000 {
		t.Fatalf("only %d examples", len(all))
	}
	for i, agent := range all {
		name, ok := table.Crawler(agent)
		if !ok {
			t.Errorf("%q is not found", agent)
		}
		if i%4 != 0 {
			continue // the reference takes half a millisecond
		}
		if want, _ := ref.find(agent); name != want {
			t.Errorf("%q is %q, want %q", agent, name, want)
		}
	}
	for _, agent := range humans {
		if name, ok := table.Crawler(agent); ok {
			t.Errorf("%q is taken for %q", agent, name)
		}
	}
}

func FuzzCrawler(f *testing.F) {
	table, ref := defaultTable(f), newReference(f)
	for _, agent := range humans {
		f.Add(agent)
	}
	for i, agent := range agents(f) {
		if i%50 == 0 {
			f.Add(agent)
		}
	}
	f.Add("curlcurl\xff\x00 wget Spider spider.com SSL Labs")
	f.Fuzz(func(t *testing.T, agent string) {
		name, ok := table.Crawler(agent)
		if want, found := ref.find(agent); name != want || ok != found {
			t.Errorf("%q is %q %v, want %q %v", agent, name, ok, want, found)
		}
	})
}

func TestCrawlerNames(t *testing.T) {
	table := defaultTable(t)
	for agent, want := range map[string]string{
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)": "Googlebot",
		"curl/8.5.0":             "curl",
		"Wget/1.21":              "Wget",
		"wget/1.21":              "Wget",
		"python-requests/2.32.3": "python-requests",
		"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0)": "ClaudeBot",
		"sqlmap/1.8#stable (https://sqlmap.org)":                                        "sqlmap",
	} {
		if got, ok := table.Crawler(agent); got != want || !ok {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}

func TestNewPattern(t *testing.T) {
	f := func(text, literals string, whole bool, name string) {
		t.Helper()
		p, err := newPattern(text)
		got := strings.Join(p.literals, "|")
		if err != nil {
			got = "bad"
		}
		if got != literals || err == nil && (p.regexp == nil) != whole || p.name != name {
			t.Errorf("%q needs %q, whole %v, named %q; want %q, %v, %q (%v)", text, got, p.regexp == nil, p.name, literals, whole, name, err)
		}
	}
	f(`Googlebot\/`, "Googlebot/", true, "Googlebot")
	f(`^curl`, "curl", false, "curl")
	f(`[wW]get`, "Wget|wget", true, "Wget")
	f(`S[eE][mM]rush`, "SEMrush|SEmrush|SeMrush|Semrush", true, "SEMrush")
	f(`Chirp|gotosocial`, "Chirp|gotosocial", true, "Chirp")
	f(`(^| )PTST\/`, "PTST/", false, "PTST")
	f(`Bot[\s\S]*outcomes\.net`, "outcomes.net", false, "Botoutcomes.net")
	f(`a+bcd`, "bcd", false, "abcd")
	f(`(abc)+`, "abc", false, "abc")
	f(`x?abc`, "abc", false, "abc")
	f(`(?i)bot`, "BOT|BOt|BoT|Bot|bOT|bOt|boT|bot", true, "BOT")
	f(`(?i)link`, "LIN|LIn|LiN|Lin|lIN|lIn|liN|lin", false, "LINK") // the Kelvin sign is a k
	f(`[a-z]+`, "bad", false, "")
	f(`ab`, "bad", false, "")
	f(`.*`, "bad", false, "")
	f(`abc|`, "bad", false, "")
	f(``, "bad", false, "")
	f(`(unclosed`, "bad", false, "")
	f(strings.Repeat("a", maxPattern+1), "bad", false, "")
}

// TestCrawlerWithMadeUpAgent counts what a hostile user agent can cost: each
// expression runs at most once.
func TestCrawlerWithMadeUpAgent(t *testing.T) {
	p, err := newPattern(`^Spider[\s\S]*never`)
	if err != nil {
		t.Fatal(err)
	}
	c := newCrawlers([]pattern{p})
	agent := strings.Repeat("never", 1<<16)
	if _, ok := c.find(agent); ok {
		t.Error("found")
	}
	if name, ok := newCrawlers(nil).find(agent); ok {
		t.Errorf("nothing to find, found %q", name)
	}
}

func BenchmarkCrawler(b *testing.B) {
	table := defaultTable(b)
	examples := agents(b)
	b.Run("people", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			table.Crawler(humans[i%6])
			i++
		}
	})
	b.Run("crawlers", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			table.Crawler(examples[i%len(examples)])
			i++
		}
	})
}
