package drill_test

import (
	"slices"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/sim/drill"
	"github.com/moat-platform/moat/sim/world"
)

// clocks is a world in which it is counted whose events come late or from the future.
type clocks struct {
	drill.World
	all, off map[string]int // by partner
}

func (c *clocks) Next() ([]*moat.Event, bool) {
	list, ok := c.World.Next()
	for _, e := range list {
		switch e.Type {
		case moat.OrderAccess, moat.AuthLogin, moat.OrderTransmit:
			if c.all[e.Partner]++; e.Received-e.Time > 2*moat.Hour || e.Time-e.Received > 5*moat.Minute {
				c.off[e.Partner]++
			}
		}
	}
	return list, ok
}

// TestHonesty: of most partners that stop to tell what their people do, or make it up, something is found that is about the partner
// itself; so it is of each whose clock was wrong all the time, and of none whose clock was right.
func TestHonesty(t *testing.T) {
	c := &clocks{all: map[string]int{}, off: map[string]int{}}
	set, err := drill.Run(t.Context(), drill.Config{Seeds: []uint64{1}, Warmup: 14 * moat.Day, World: func(seed uint64) (w drill.World, err error) {
		c.World, err = world.New(world.Config{Seed: seed, Start: monday, Partners: 20, Days: 27, Thefts: 3, Only: []string{"suppressed telemetry"}})
		return c, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	round := set.Rounds[0]
	clock, gap := map[string]bool{}, map[string]moat.Time{}
	for i := range round.Findings {
		f := &round.Findings[i]
		if f.Family != "partner" {
			continue
		}
		if !risk.OfHouse(&f.Finding) || f.Entity.Kind != moat.Partner && !slices.Contains([]string{"partner.off_boarded", "partner.served_untold", "partner.told_less"}, f.Detector) {
			t.Errorf("%s is about %s", f.Detector, f.Entity)
		}
		switch f.Dimension {
		case "J1":
			gap[f.Partner] = max(gap[f.Partner], f.Time)
		case "J3":
			clock[f.Partner] = true
		}
	}
	told := 0
	for _, x := range round.Thefts {
		if gap[x.Partner] >= x.From {
			told++
		} else {
			t.Logf("%s %s at %s from %s on was not told", x.Name, x.Variant, x.Partner, x.From)
		}
	}
	if 2*told < len(round.Thefts) || len(round.Thefts) == 0 {
		t.Errorf("%d of %d partners that suppress reports were told of", told, len(round.Thefts))
	}
	wrong := 0
	for p, n := range c.all {
		share := float64(c.off[p]) / float64(n)
		if share > 0.9 {
			wrong++
		}
		if share > 0.9 && n > 5000 && !clock[p] || share < 0.02 && clock[p] {
			t.Errorf("%.0f %% of %d events of %s were late or early: told of is %v", 100*share, n, p, clock[p])
		}
	}
	t.Logf("%d suppressed, %d told of; %d clocks wrong all the time, %d told of", len(round.Thefts), told, wrong, len(clock))
}
