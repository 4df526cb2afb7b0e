package detectors_test

import (
	"strings"
	"testing"

	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/rule"
)

// shippedCount pins how many detectors ship, so that a file that is not found does not
// pass for one that works.
const shippedCount = 164

func TestShipped(t *testing.T) {
	list, sources, err := detectors.All()
	if err != nil {
		t.Fatal(display(err))
	}
	if len(list) != shippedCount {
		t.Errorf("%d detectors ship, want %d", len(list), shippedCount)
	}
	plan, err := rule.Compile(list, rule.Options{Sources: sources})
	if err != nil {
		t.Fatal(display(err))
	}
	for k, n := range plan.Records {
		if n > 0 {
			t.Logf("record %d: %d bytes", k, n)
		}
	}
	table, err := indicator.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg := engine.Config{Net: func(ip string) rule.Net { return rule.NetOf(table, ip) }}
	for _, d := range list {
		t.Run(d.ID, func(t *testing.T) {
			t.Parallel()
			for _, p := range engine.RunTests(d, cfg) {
				t.Error(p.Display())
			}
		})
	}
}

func display(err error) string {
	s := err.Error()
	for _, p := range rule.AsProblems(err) {
		s += "\n" + p.Display()
	}
	return s
}

// TestMarks changes words, which leaves the mark as it is, and what decides, which does not.
func TestMarks(t *testing.T) {
	list, sources, err := detectors.All()
	if err != nil {
		t.Fatal(display(err))
	}
	const file = "account/guessed.yaml"
	before := detectors.Marks(list, sources)["account.guessed"]
	for _, c := range []struct {
		old, new string
		same     bool
	}{
		{"reason: \"", "reason: \"Look: ", true},
		{"title: ", "# said better\ntitle: Now ", true},
		{"subject: account", "subject: ip", false},
	} {
		text := strings.Replace(string(sources[file]), c.old, c.new, 1)
		after := detectors.Marks(list, map[string][]byte{file: []byte(text)})["account.guessed"]
		if text == string(sources[file]) || (after == before) != c.same {
			t.Errorf("%s → %s: mark %s, before %s", c.old, c.new, after, before)
		}
	}
}
