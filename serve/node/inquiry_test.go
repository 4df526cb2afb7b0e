package node_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// robbed is three weeks of a merchant with a dozen clerks and of a courier. From the second week on a part of the orders that one clerk opens is
// complained of a day later, by messages that name no partner; customers of others complain, too.
func robbed(thief string) string {
	start, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	r := rand.New(rand.NewPCG(3, 3))
	type line struct {
		at   moat.Time
		text string
	}
	var lines []line
	add := func(at moat.Time, rest string) {
		lines = append(lines, line{at, fmt.Sprintf(`{"id":"e%d","time":%q,%s}`, len(lines), at, rest)})
	}
	for i := range 6000 {
		at := start + moat.Time(i)*5*moat.Minute
		who := fmt.Sprintf("clerk%d", r.IntN(12))
		add(at, fmt.Sprintf(`"partner":"merchant","app":"erp","type":"order.access","actor":%q,"device":"d-%s","ip":"192.0.2.7","operation":"view","fields":["phone","address"],"orders":["o%d"]`, who, who, i))
		add(at+moat.Hour, fmt.Sprintf(`"partner":"courier","app":"hub","type":"order.access","actor":"rider%d","operation":"view","fields":["phone"],"orders":["o%d"]`, r.IntN(8), i))
		if i < 2000 {
			continue
		}
		if stolen := who == thief && r.IntN(8) == 0; stolen || r.IntN(200) == 0 {
			called := at + moat.Day + moat.Time(r.IntN(600))*moat.Minute
			add(called+2*moat.Hour, fmt.Sprintf(`"type":"complaint","orders":["o%d"],"kind":"scam_call","contacted_at":%q,"reporter":"r%d"`, i, called, i))
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return int(min(1, max(-1, a.at-b.at))) })
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l.text + "\n")
	}
	return b.String()
}

// told lists whom traces named in a folder, and when; figures rest on orders that the secret of the folder draws.
func told(t *testing.T, n *node.Node) (list []string) {
	t.Helper()
	for _, f := range findings(t, n) {
		if f.Detector == "across.named_source" {
			list = append(list, fmt.Sprintf("%s %s %s", f.Time, f.Partner, f.Entity))
		}
	}
	slices.Sort(list)
	return list
}

// TestOneComplains loads the same complaints of one reporter alone: nobody is accused unasked.
func TestOneComplains(t *testing.T) {
	n := open(t, t.TempDir())
	lines := regexp.MustCompile(`"reporter":"r[0-9]+"`).ReplaceAllString(robbed("clerk7"), `"reporter":"solo"`)
	l := ingest.Loader{River: n.River, Key: n.IngestKey(), Watch: n.Watch}
	if r, err := l.Read(t.Context(), "lines", strings.NewReader(lines)); err != nil || r.Events != r.Lines {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := told(t, n); len(got) > 0 {
		t.Errorf("named: %s", strings.Join(got, ", "))
	}
}

// TestComplaintsLead loads complaints among events: by themselves they lead to the clerk who stole, and to nobody else, whatever the number of
// partitions; a case opens about him. A node that begins again, also without its state, says the same and nothing twice, and so does a replay.
func TestComplaintsLead(t *testing.T) {
	lines := robbed("clerk7")
	var want []string
	for _, partitions := range []int{1, 4} {
		dir := t.TempDir()
		cfg := node.Config{Dir: dir, River: river.Config{Partitions: partitions}}
		n, err := node.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		l := ingest.Loader{River: n.River, Key: n.IngestKey(), Watch: n.Watch}
		if r, err := l.Read(t.Context(), "lines", strings.NewReader(lines)); err != nil || r.Events != r.Lines {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := told(t, n)
		if want == nil {
			want = got
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("with %d partitions:\n%s\nwant\n%s", partitions, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, line := range got {
			if !strings.Contains(line, "merchant account:clerk7") {
				t.Errorf("named wrongly: %s", line)
			}
		}
		if c := casesAbout(t, n, moat.Entity{Kind: moat.Account, ID: "clerk7"}); c == nil || !strings.Contains(c.Reason, "customers complained about") {
			t.Errorf("no case says why: %+v", c)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		if again := replay(t, node.ReplayConfig{Dir: dir}); again.Total.New+again.Total.Gone > 0 || again.Total.Same == 0 {
			t.Errorf("a replay finds %+v", again.Total)
		}
		for _, f := range glob(t, dir, "*.snap") {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
		if n, err = node.Open(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := told(t, n); !slices.Equal(got, want) {
			t.Errorf("built again:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// asLive appends what a file says as if it came while it happened.
type asLive struct{ ingest.River }

func (l asLive) Append(ctx context.Context, partition int, batch []byte) (uint64, error) {
	var r moat.BatchReader
	var w moat.BatchWriter
	var e moat.Event
	if err := r.Open(batch); err != nil {
		return 0, err
	}
	for r.Next(&e) {
		e.Flags &^= moat.FlagHistory
		w.Append(&e)
	}
	return l.River.Append(ctx, partition, w.Bytes())
}

// TestWrongYear: a file of complaints of next year, and of 2062, keeps those that come afterwards from being traced no longer than before.
func TestWrongYear(t *testing.T) {
	lines := robbed("clerk7")
	var want []string
	for _, wrong := range []moat.Time{0, moat.TimeOf(time.Now()) + 300*moat.Day, 2_903_000_000 * moat.Second} {
		n, err := node.Open(t.Context(), node.Config{Dir: t.TempDir(), River: river.Config{Partitions: 1}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		load := func(to ingest.River, name, lines string) {
			t.Helper()
			l := ingest.Loader{River: to, Key: n.IngestKey(), Watch: n.Watch}
			if r, err := l.Read(t.Context(), name, strings.NewReader(lines)); err != nil || r.Events != r.Lines {
				t.Fatalf("%+v, %v", r, err)
			}
			if err := n.Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 2 {
			if wrong > 0 {
				load(n.River, "wrong", fmt.Sprintf(`{"id":"w%d","time":%q,"type":"complaint","orders":["o%d"],"kind":"scam_call"}`+"\n", i, wrong+moat.Time(i), i))
			}
		}
		load(asLive{n.River}, "lines", lines)
		got := told(t, n)
		if want == nil {
			want = got
		}
		if len(got) < 2 || !slices.Equal(got, want) {
			t.Errorf("after complaints of %s:\n%s\nwant\n%s", wrong, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestEmptyOrder: complaints about orders without a name hold up neither what is loaded nor what is traced after them.
func TestEmptyOrder(t *testing.T) {
	n := open(t, t.TempDir())
	defer n.Close()
	l := ingest.Loader{River: n.River, Key: n.IngestKey(), Watch: n.Watch}
	load := func(lines string) {
		t.Helper()
		if _, err := l.Read(t.Context(), "lines", strings.NewReader(lines)); err != nil {
			t.Fatal(err)
		}
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var empty strings.Builder
	for i, order := range []string{"", "a", "b", "c"} {
		fmt.Fprintf(&empty, `{"id":"k%d","time":"2026-02-20T10:00:00Z","type":"complaint","kind":"spam","orders":[%q],"partner":"courier"}`+"\n", i, order)
	}
	load(empty.String())
	load(robbed("clerk7"))
	if got := told(t, n); len(got) == 0 {
		t.Error("nobody is named")
	}
}

// TestNoiseLeadsNowhere: where nobody steals nobody is named.
func TestNoiseLeadsNowhere(t *testing.T) {
	n := open(t, t.TempDir())
	defer n.Close()
	l := ingest.Loader{River: n.River, Key: n.IngestKey(), Watch: n.Watch}
	if _, err := l.Read(t.Context(), "lines", strings.NewReader(robbed("nobody"))); err != nil {
		t.Fatal(err)
	}
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := told(t, n); len(got) > 0 {
		t.Errorf("named:\n%s", strings.Join(got, "\n"))
	}
}

func casesAbout(t *testing.T, n *node.Node, e moat.Entity) *moat.Case {
	t.Helper()
	for c, err := range n.Book.AllCases(t.Context(), moat.Everyone(), book.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Merged == "" && len(c.Entities) > 0 && c.Entities[0] == e {
			return &c
		}
	}
	return nil
}

// TestTold says of what a trace names what its partner is to look at: a program as the app that it is, with as whom it signs in and from where.
func TestTold(t *testing.T) {
	member := func(kind, id string, program bool) trace.Member {
		return trace.Member{Kind: kind, ID: id, Program: program}
	}
	for _, c := range []struct {
		name    string
		members []trace.Member
		want    string
		related string
	}{
		{"a person", []trace.Member{member("account", "anna", false), member("device", "d1", false), member("app", "erp", false)}, "account:anna", "[device:d1]"},
		{"a program", []trace.Member{member("account", "robot", true), member("ip", "192.0.2.8", false)}, "app:erp", "[account:robot ip:192.0.2.8]"},
		{"where only the app is", []trace.Member{member("ip", "192.0.2.8", false), member("app", "erp", false)}, "app:erp", "[ip:192.0.2.8]"},
		{"a destination", []trace.Member{member("destination", "https://in.evil.example/v1", false), member("host", "web1", false)}, "app:erp", "[destination:https://in.evil.example/v1 host:web1]"},
	} {
		s := trace.Source{Kind: c.members[0].Kind, ID: c.members[0].ID, Partner: "acme", Members: c.members, Path: []trace.Step{{Kind: "app", ID: "erp", Orders: 4}}, Explains: 4, Leaked: 5, First: 7 * moat.Second,
			Reports: trace.Reports{By: 3, First: 8 * moat.Second, Last: 9 * moat.Second}}
		f, ok := node.NamedFinding(&s, 9)
		if !ok || f.Entity.String() != c.want || fmt.Sprint(f.Related) != c.related {
			t.Errorf("%s: told of %s, related %v; want %s, %s", c.name, f.Entity, f.Related, c.want, c.related)
		}
		e := map[string]float64{}
		for _, x := range f.Evidence {
			e[x.Name] = x.Value
		}
		if e["known"] != 9 || e["leaked"] != 5 || e["explains"] != 4 || e["reporters"] != 3 || e["first_touch"] != 7 || e["last_report"] != 9 {
			t.Errorf("%s: evidence %v", c.name, f.Evidence)
		}
	}
}
