package trace

import (
	"math"
	"math/big"
	"testing"
)

// TestTail holds the tail of the hypergeometric distribution against exact fractions.
func TestTail(t *testing.T) {
	check := func(N, K, n, k int) {
		t.Helper()
		sum := new(big.Rat)
		all := new(big.Int).Binomial(int64(N), int64(n))
		for j := k; j <= min(n, K); j++ {
			if n-j <= N-K {
				ways := new(big.Int).Mul(new(big.Int).Binomial(int64(K), int64(j)), new(big.Int).Binomial(int64(N-K), int64(n-j)))
				sum.Add(sum, new(big.Rat).SetFrac(ways, all))
			}
		}
		want, _ := sum.Float64()
		if got := tail(N, K, n, k); math.Abs(got-want) > 1e-9*want {
			t.Errorf("tail(%d, %d, %d, %d) = %g, want %g", N, K, n, k, got, want)
		}
	}
	check(10, 3, 4, 2)       // by hand: (3·21 + 1·7) / 210 = 1/3
	check(10, 3, 4, 0)       // certain
	check(10, 3, 4, 4)       // impossible
	check(10, 8, 7, 5)       // certain: at most two of the seven are not leaked
	check(10, 8, 7, 6)       //
	check(52, 13, 5, 3)      // cards
	check(1000, 20, 30, 10)  // a small source
	check(1000, 20, 900, 20) // a giant
	check(5000, 400, 300, 80)
	check(100_000, 20, 1900, 16)
	if got := tail(10, 3, 4, 2); math.Abs(got-1./3) > 1e-12 {
		t.Errorf("by hand it is 1/3, not %g", got)
	}
}

// TestAdjust holds corrected values against those of a textbook example.
func TestAdjust(t *testing.T) {
	check := func(p []float64, tests int, want []float64) {
		t.Helper()
		got := adjust(p, tests)
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-12 {
				t.Errorf("adjust(%v, %d) = %v, want %v", p, tests, got, want)
				return
			}
		}
	}
	check(nil, 5, nil)
	check([]float64{0.01, 0.02, 0.03, 0.04}, 4, []float64{0.04, 0.04, 0.04, 0.04})
	check([]float64{0.04, 0.005, 0.5}, 3, []float64{0.06, 0.015, 0.5})
	check([]float64{0.04, 0.005, 0.5}, 30, []float64{0.6, 0.15, 1}) // 27 others that were not looked at
}

// TestUnsure holds the tail of the beta-binomial distribution against the uniform one, of which it is a case, and against the binomial one that it becomes.
func TestUnsure(t *testing.T) {
	for k := range 12 {
		if got, want := unsure(10, 0.5, 1, k), math.Max(0, float64(11-k)/11); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d or more of 10 with a chance that may be any: %g, want %g", k, got, want)
		}
	}
	want := 0.0
	for _, ways := range []float64{45, 10, 1} { // of 8, 9, 10 among 10
		want += ways / 1024
	}
	if got := unsure(10, 0.5, 1e6, 8); math.Abs(got-want) > 1e-4 {
		t.Errorf("8 or more of 10 with a chance of a half: %g, want %g", got, want)
	}
	if few, many := unsure(100, 0.3, 20, 45), unsure(100, 0.3, 2000, 45); few < 3*many {
		t.Errorf("a chance from 20 controls gives %g, from 2,000 %g", few, many)
	}
	if got := unsure(10, 0, 5, 3); got != 0 && !(got < 1e-9) {
		t.Errorf("what never happens has a chance of %g", got)
	}
}
