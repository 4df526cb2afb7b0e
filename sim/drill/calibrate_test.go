package drill

import (
	"context"
	"math"
	"testing"

	"github.com/moat-platform/moat/discover/risk"
)

// TestPlatt computes by hand what is fitted where all findings state the same: only the shift can move, to the
// log-odds of the mean of the smoothed targets.
func TestPlatt(t *testing.T) {
	list := make([]scored, 100)
	for i := range list {
		list[i] = scored{0.5, i < 10}
	}
	slope, shift := platt(list)
	mean := (10*(11.0/12) + 90*(1.0/92)) / 100
	if slope != 1 || math.Abs(shift-logit(mean)) > 1e-4 {
		t.Errorf("slope %g, shift %g; want 1, %g", slope, shift, logit(mean))
	}
	// Where what is stated comes true the line stays where it is.
	list = nil
	for _, p := range []float64{0.1, 0.3, 0.5, 0.7, 0.9} {
		for i := range 1000 {
			list = append(list, scored{p, i < int(1000*p+0.5)})
		}
	}
	if slope, shift := platt(list); math.Abs(slope-1) > 0.01 || math.Abs(shift) > 0.01 {
		t.Errorf("of a calibrated detector: slope %g, shift %g", slope, shift)
	}
	// Who never knows has no slope to speak of.
	for i := range list {
		list[i].is = i%5 == 0
	}
	if slope, _ := platt(list); slope > minSlope+0.05 {
		t.Errorf("of a detector that does not know: slope %g", slope)
	}
}

// TestEpisodes: what is said again within the time that a case waits is one thing.
func TestEpisodes(t *testing.T) {
	r := &Round{Findings: []Finding{
		found("a.x", "alice", "1", at(0, 9, 0), 0.3, 1), found("a.x", "alice", "2", at(2, 9, 0), 0.6, 1), found("a.x", "alice", "3", at(4, 9, 0), 0.5, 1),
		found("a.x", "bob", "4", at(4, 9, 0), 0.5, 1), found("b.y", "alice", "5", at(4, 9, 0), 0.5, 1), found("a.x", "alice", "6", at(8, 9, 0), 0.2, 1)}}
	for i := range r.Findings {
		r.Findings[i].Theft = -1
	}
	r.Findings[2].Theft = 0
	got := episodes([]*Round{r})
	want := []episode{{"a.x", 0.6, true}, {"a.x", 0.5, false}, {"b.y", 0.5, false}, {"a.x", 0.2, false}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

// TestCalibrate: a detector that cries wolf in every round is heard less in each, also where it was not measured; one
// that is right stays.
func TestCalibrate(t *testing.T) {
	s := &Set{Warmup: 14 * 24 * 3600 * 1e6, Marks: map[string]string{"wolf": "mark"}}
	for seed := range uint64(8) {
		r := handmade().Rounds[1]
		r.Seed, r.Findings = seed, []Finding{found("right", "trent", "c1", at(16, 10, 0), 0.6, 10)}
		for n := range 30 {
			r.Findings = append(r.Findings, found("wolf", string(rune('A'+n)), "h", at(17, 9, n), 0.6, 10))
		}
		for i := range r.Findings {
			r.Findings[i].Theft = -1
		}
		r.label()
		s.Rounds = append(s.Rounds, r)
	}
	c, err := Calibrate(context.Background(), s, 4, "hand-made")
	if err != nil {
		t.Fatal(err)
	}
	if c.Before.Recall != 1 || c.Before.FalseCases != 150 || c.After.Recall != 1 || c.After.FalseCases != 0 || !c.Better || c.After.FindingECE >= c.Before.FindingECE {
		t.Errorf("before %+v, after %+v", c.Before, c.After)
	}
	if m := c.Calibration.Detectors["wolf"]; m.N != 240 || m.True != 0 || m.Source != "mark" || c.Calibration.Odds("wolf", 0.6) > 0.31 || c.Calibration.Made.Folds != 4 || len(c.Calibration.Made.HeldOut) != 8 {
		t.Errorf("%+v of %+v", m, c.Calibration.Made)
	}
	for _, folds := range []int{0, 1, 9} {
		if _, err := Calibrate(context.Background(), s, folds, ""); err == nil {
			t.Errorf("%d folds of 8 seeds", folds)
		}
	}
	if c.Calibration.OpenAt != risk.OpenAt {
		t.Errorf("cases open at %g", c.Calibration.OpenAt)
	}
}
