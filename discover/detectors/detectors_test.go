package detectors_test

import (
	"testing"

	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/rule"
)

// shippedCount pins how many detectors ship, so that a file that is not found does not
// pass for one that works.
const shippedCount = 200

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
