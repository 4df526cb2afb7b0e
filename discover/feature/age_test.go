package feature

import (
	"testing"

	"github.com/moat-platform/moat"
)

// ages is age spelled out with whole microseconds.
type ages struct{}

func (ages) observe(in Input) []float64 {
	age, idle := float64(in.Now-in.Born)/1e6, float64(in.Now-in.Seen)/1e6
	if age < 0 {
		age = 0
	}
	if in.Seen == 0 || idle < 0 {
		idle = 0
	}
	return []float64{age, idle}
}

func (a ages) read(in Input) []float64 { return a.observe(in) }

func FuzzAge(f *testing.F) {
	compare(f, "age", NoValue, []Params{nil}, func(Params) model { return ages{} })
}

func TestAge(t *testing.T) {
	s := newSubject(t, "age", nil)
	f := func(what string, at moat.Time, want ...float64) {
		t.Helper()
		s.expect(what, s.observe(Input{Now: start + at}), want...)
	}
	f("new", 0, 0, 0)
	f("known", 90*moat.Second+500*moat.Millisecond, 90.5, 90.5)
	f("late", 60*moat.Second, 60, 0)
	f("idle", 100*moat.Second, 100, 9.5)
}

func BenchmarkAge(b *testing.B) { measure(b, "age", nil, NoValue, func(int, *Input) {}) }
