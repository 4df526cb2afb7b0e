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

// TestTeachOn: rounds are judged one after the other; what comes later does not change those before, and the same analyst teaches the same.
func TestTeachOn(t *testing.T) {
	set, err := drill.Run(t.Context(), drill.Config{Seeds: []uint64{1, 2}, World: small, Warmup: 14 * moat.Day})
	if err != nil {
		t.Fatal(err)
	}
	who := drill.Analyst{Judges: 1}
	both, err := set.Teach(t.Context(), risk.Calibration{}, who)
	if err != nil {
		t.Fatal(err)
	}
	first, err := (&drill.Set{Rounds: set.Rounds[:1], Marks: set.Marks, Warmup: set.Warmup}).Teach(t.Context(), risk.Calibration{}, who)
	if err != nil || both.Verdicts < first.Verdicts || first.Verdicts == 0 {
		t.Errorf("%d verdicts in two rounds, %d in the first of them, %v", both.Verdicts, first.Verdicts, err)
	}
	if again, err := set.Teach(t.Context(), risk.Calibration{}, who); err != nil || fmt.Sprint(again) != fmt.Sprint(both) {
		t.Errorf("again: %+v, %v", again, err)
	}
}
