package feature

import (
	"math"
	"testing"

	"github.com/moat-platform/moat"
)

// pastEvents remembers all events; the previous one is the newest, and of the same second the last that came.
type pastEvents struct{ all []Input }

func (l *pastEvents) observe(in Input) []float64 {
	out := l.read(in)
	l.all = append(l.all, in)
	return out
}

func (l *pastEvents) read(in Input) []float64 {
	var newest *Input
	for i := range l.all {
		if newest == nil || l.all[i].Now.Seconds() >= newest.Now.Seconds() {
			newest = &l.all[i]
		}
	}
	if newest == nil {
		return []float64{0, 0, 0}
	}
	gap := max(0, float64(in.Now.Seconds()-newest.Now.Seconds()))
	changed := 0.0
	if in.Value == Number {
		if in.Num != newest.Num {
			changed = 1
		}
		return []float64{changed, newest.Num, gap}
	}
	if in.Key != newest.Key {
		changed = 1
	}
	return []float64{changed, 0, gap}
}

func FuzzLastKey(f *testing.F) {
	compare(f, "last", Key, []Params{nil}, func(Params) model { return &pastEvents{} })
}

func FuzzLastNumber(f *testing.F) {
	compare(f, "last", Number, []Params{nil}, func(Params) model { return &pastEvents{} })
}

func TestLast(t *testing.T) {
	s := newSubject(t, "last", nil)
	f := func(what string, at moat.Time, key uint64, want ...float64) {
		t.Helper()
		s.expect(what, s.observe(Input{Now: start + at*moat.Second, Value: Key, Key: key}), want...)
	}
	f("nothing before", 0, 1, 0, 0, 0)
	f("the same", 5, 1, 0, 0, 5)
	f("another", 6, 2, 1, 0, 1)
	f("late", 3, 1, 1, 0, 0)
	f("late did not replace", 7, 2, 0, 0, 1)
	f("equal time replaces", 7, 3, 1, 0, 0)
	f("equal time replaced", 7, 3, 0, 0, 0)
	s.expect("no value at hand", s.read(Input{Now: start + 9*moat.Second}), 0, 0, 2)

	n := newSubject(t, "last", nil)
	g := func(what string, num float64, want ...float64) {
		t.Helper()
		n.expect(what, n.observe(Input{Now: start, Value: Number, Num: num}), want...)
	}
	g("nothing before", 4, 0, 0)
	g("number", 0, 1, 4)
	g("minus zero is zero", math.Copysign(0, -1), 0, 0)
	g("not a number is zero", math.NaN(), 0, 0)
}

func BenchmarkLast(b *testing.B) {
	measure(b, "last", nil, Key, func(i int, in *Input) { in.Key = uint64(i >> 3) })
}
