package trace

import (
	"math"
	"testing"

	"github.com/moat-platform/moat"
)

// TestGuilt is the example of Papadimitriou and Garcia-Molina: of two agents with {1, 2} and {1, 3}, all
// of which leaked, and p = 0.2, the first is guilty with 1 − (1 − 0.8/2)(1 − 0.8) = 0.88.
func TestGuilt(t *testing.T) {
	c := &trial{orders: make([]leaked, 3)}
	for i, holders := range []int{2, 1, 1} {
		c.orders[i].holders[slot(moat.Account)] = holders
	}
	x := &candidate{Owner: Owner{Kind: moat.Account}, hits: []hit{{order: 0}, {order: 1}}}
	if got := c.guilt(x, 0.2); math.Abs(got-0.88) > 1e-12 {
		t.Errorf("the guilt is %g, want 0.88", got)
	}
}

// TestMaximise holds expectation maximisation against the maximum by hand: of a orders that a source explains r times
// better than noise, and b that it does not, its share is (a(r−1) − b) / ((a+b)(r−1)).
func TestMaximise(t *testing.T) {
	for _, c := range []struct{ a, b, r, want float64 }{{8, 2, 11, 0.78}, {5, 5, 101, 0.495}, {1, 9, 5, 0}, {3, 0, 2, 1}} {
		share, total := maximise([]pattern{{c.a, []float64{c.r}}, {c.b, []float64{0}}}, 1, 0)
		if math.Abs(share[1]-c.want) > 0.01 || math.Abs(share[0]+share[1]-1) > 1e-9 || total != c.a+c.b {
			t.Errorf("%+v: shares %v", c, share)
		}
	}
	// Two sources that share no order: what each explains is told apart.
	share, _ := maximise([]pattern{{6, []float64{1000, 0}}, {3, []float64{0, 1000}}, {1, []float64{0, 0}}}, 2, 0)
	for i, want := range []float64{0.1, 0.6, 0.3} {
		if math.Abs(share[i]-want) > 0.01 {
			t.Errorf("two sources: shares %v", share)
		}
	}
	// A giant that had all of them in hand does not hide a small one.
	share, _ = maximise([]pattern{{9, []float64{1.1, 200}}, {3, []float64{1.1, 0}}}, 2, 0)
	if share[2] < 0.7 {
		t.Errorf("a giant and a small one: shares %v", share)
	}
}

// TestEvidence holds Laplace's integral against sums over a fine grid.
func TestEvidence(t *testing.T) {
	for _, c := range []struct{ a, b, r float64 }{{16, 4, 30}, {4, 1, 100}, {2, 18, 200}, {40, 10, 3}, {1, 4, 2}, {5, 0, 50}, {0, 5, 0}, {80, 20, 500}} {
		list := []pattern{{c.a, []float64{c.r}}, {c.b, []float64{0}}}
		const steps = 200_000
		sum := math.Inf(-1)
		for i := range steps {
			p := (float64(i) + 0.5) / steps
			sum = logAdd(sum, c.a*math.Log(1-p+p*c.r)+c.b*math.Log(1-p)-math.Log(steps))
		}
		if got := logEvidence(list, 1).log; math.Abs(got-sum) > 0.3 {
			t.Errorf("%+v: evidence %.3f, want %.3f", c, got, sum)
		}
		if got, _ := evidenceOf([]tally{{c.a, c.r}, {c.b, 0}}); math.Abs(got-logEvidence(list, 1).log) > 1e-3 {
			t.Errorf("%+v: evidence of one %.4f, by the general way %.4f", c, got, logEvidence(list, 1).log)
		}
	}
}
