package drill_test

import (
	"fmt"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/sim/drill"
)

// TestTeach: who judges nothing changes nothing, and the same analyst teaches the same.
func TestTeach(t *testing.T) {
	set, err := drill.Run(t.Context(), drill.Config{Seeds: []uint64{1}, World: small, Warmup: 14 * moat.Day})
	if err != nil {
		t.Fatal(err)
	}
	idle, err := set.Teach(t.Context(), risk.Calibration{}, drill.Analyst{})
	if err != nil || idle.Verdicts != 0 || fmt.Sprint(idle.Before) != fmt.Sprint(idle.After) {
		t.Errorf("without verdicts: %+v, %v", idle, err)
	}
	who := drill.Analyst{Judges: 1} // who never errs
	one, err := set.Teach(t.Context(), risk.Calibration{}, who)
	if err != nil || one.Verdicts == 0 || one.After.Recall < one.Before.Recall {
		t.Errorf("with verdicts: %+v, %v", one, err)
	}
	if two, err := set.Teach(t.Context(), risk.Calibration{}, who); err != nil || fmt.Sprint(two) != fmt.Sprint(one) {
		t.Errorf("again: %+v, %v", two, err)
	}
}
