package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/node"
)

// ecosystem is five weeks of the lines of six partners, unlike in how much they send, in the order of time. Two of them end a week early,
// and an address tries logins at all of them.
func ecosystem() string {
	var b strings.Builder
	start, _ := moat.ParseTime("2026-03-02T00:00:00Z")
	n := 0
	line := func(at moat.Time, partner, rest string) {
		n++
		fmt.Fprintf(&b, `{"id":"e%d","time":%q,"partner":%q,"app":"erp",%s}`+"\n", n, at, partner, rest)
	}
	for hour := range 35 * 24 {
		for p := range 6 {
			partner, at := fmt.Sprintf("house%d", p), start+moat.Time(hour)*moat.Hour+moat.Time(p)*7*moat.Second
			if p >= 4 && hour >= 28*24 || hour%24 < 6 {
				continue
			}
			for k := range 1 + 5*(p%2) {
				line(at+moat.Time(k)*moat.Minute, partner, fmt.Sprintf(`"type":"order.access","actor":"u%d","ip":"9.%d.7.1","operation":"view","orders":["o%d"]`, k%5, p, n))
			}
			if hour/24 == 20 && hour%24 == 12 {
				for k := range 10 {
					line(at+13*moat.Minute+moat.Time(k)*moat.Second, partner, fmt.Sprintf(`"type":"auth.login","actor":"u%d","ip":"45.9.1.2","outcome":"failure"`, k))
				}
			}
		}
	}
	return b.String()
}

// across loads the lines into a new folder, and returns what was found across partners.
func across(t *testing.T, lines string, partitions int) string {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{Dir: t.TempDir(), River: river.Config{Partitions: partitions}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	l := ingest.Loader{River: n.River, Key: n.IngestKey(), Watch: n.Watch}
	if r, err := l.Read(t.Context(), "lines", strings.NewReader(lines)); err != nil || r.Events != r.Lines {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range findings(t, n) {
		if f.Family == "across" {
			out = append(out, fmt.Sprintf("%s %s %s %s %.3f %s", f.Detector, f.Partner, f.Entity, f.Time, f.Score, f.Reason))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// A file tells the same across partners whatever the number of partitions, and which of them is ahead.
func TestAcrossSame(t *testing.T) {
	lines := ecosystem()
	want := across(t, lines, 1)
	for _, detector := range []string{"across.quiet_partner house4", "across.quiet_partner house5", "across.lockstep house0"} {
		if !strings.Contains(want, detector) {
			t.Errorf("%s is missing: the test shows little\n%s", detector, want)
		}
	}
	if !strings.Contains(want, "order.access: events of this kind came in ") {
		t.Errorf("nobody is told which kind of events is missing:\n%s", want)
	}
	if strings.Count(want, "across.quiet_partner") != 2 {
		t.Errorf("silences were invented:\n%s", want)
	}
	for _, partitions := range []int{8, 8} {
		if got := across(t, lines, partitions); got != want {
			t.Errorf("with %d partitions:\n%s\nwant\n%s", partitions, got, want)
		}
	}
}
