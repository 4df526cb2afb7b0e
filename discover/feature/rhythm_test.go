package feature

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/moat-platform/moat"
)

// drummer keeps all gaps of the stretch and weighs them one by one.
type drummer struct {
	reset moat.Time
	last  moat.Time
	gaps  []float64
}

func newDrummer(p Params) model {
	return &drummer{reset: moat.Time(p["reset"] * float64(moat.Second))}
}

func (d *drummer) observe(in Input) []float64 {
	if in.Now > d.last {
		if d.last == 0 || in.Now-d.last > d.reset {
			d.gaps = nil
		} else {
			d.gaps = append(d.gaps, float64(in.Now-d.last)/1e6)
		}
		d.last = in.Now
	}
	return d.outputs()
}

func (d *drummer) read(in Input) []float64 {
	if in.Now-d.last > d.reset {
		return []float64{1, 0, 0}
	}
	return d.outputs()
}

// outputs gives each gap its weight: a new one takes 1/n, 1/64 at least, from all before.
func (d *drummer) outputs() []float64 {
	n := len(d.gaps)
	weights, left := make([]float64, n), 1.0
	for i := n - 1; i >= 0; i-- {
		w := 1 / float64(min(i+1, 64))
		weights[i] = left * w
		left *= 1 - w
	}
	mean, variance := 0.0, 0.0
	for i, g := range d.gaps {
		mean += weights[i] * g
	}
	for i, g := range d.gaps {
		variance += weights[i] * (g - mean) * (g - mean)
	}
	cv := 1.0
	if n >= 8 {
		cv = math.Sqrt(variance) / mean
	}
	return []float64{cv, float64(n), mean}
}

func FuzzRhythm(f *testing.F) {
	compare(f, "rhythm", NoValue, []Params{nil, {"reset": 30}, {"reset": 86400}}, newDrummer)
}

func TestRhythm(t *testing.T) {
	play := func(gaps int, gap func(r *rand.Rand) float64) []float64 {
		r := rand.New(rand.NewPCG(8, 9))
		s := newSubject(t, "rhythm", nil)
		now := start
		out := s.observe(Input{Now: now})
		for range gaps {
			now += moat.Time(gap(r) * float64(moat.Second))
			out = s.observe(Input{Now: now})
		}
		return out
	}
	f := func(what string, got []float64, least, most, n, mean float64) {
		t.Helper()
		if got[0] < least || got[0] > most || got[1] != n || math.Abs(got[2]-mean) > mean/4 {
			t.Errorf("%s: %v, want cv %v to %v, n %v, mean about %v", what, got, least, most, n, mean)
		}
	}
	f("too few", play(7, func(*rand.Rand) float64 { return 5 }), 1, 1, 7, 5)
	f("a timer", play(100, func(*rand.Rand) float64 { return 5 }), 0, 0.001, 100, 5)
	f("a timer with jitter of ±20 %", play(300, func(r *rand.Rand) float64 { return 4 + 2*r.Float64() }), 0.08, 0.15, 300, 5)
	f("chance", play(300, func(r *rand.Rand) float64 { return 5 * r.ExpFloat64() }), 0.75, 1.3, 300, 5)

	s := newSubject(t, "rhythm", nil)
	s.expect("empty", s.read(Input{Now: start}), 1, 0, 0)
	s.observe(Input{Now: start})
	s.expect("second", s.observe(Input{Now: start + 4*moat.Second}), 1, 1, 4)
	s.expect("the same instant", s.observe(Input{Now: start + 4*moat.Second}), 1, 1, 4)
	s.expect("late", s.observe(Input{Now: start + 1*moat.Second}), 1, 1, 4)
	s.expect("at the limit", s.observe(Input{Now: start + 604*moat.Second}), 1, 2, 302)
	s.expect("over the limit", s.observe(Input{Now: start + 1205*moat.Second}), 1, 0, 0)
}

func BenchmarkRhythm(b *testing.B) { measure(b, "rhythm", nil, NoValue, func(int, *Input) {}) }
