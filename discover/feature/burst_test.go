package feature

import (
	"testing"

	"github.com/moat-platform/moat"
)

// edges keeps the tick in which each event counted.
type edges struct {
	width int64
	ticks map[uint64][]int64 // every event's tick
	fresh map[uint64][]int64 // of those that were not late
}

func newEdges(p Params) model {
	return &edges{width: int64(p["tick"]), ticks: map[uint64][]int64{}, fresh: map[uint64][]int64{}}
}

func (e *edges) observe(in Input) []float64 {
	tick := in.Now.Seconds() / e.width
	newest := int64(-1)
	for _, t := range e.ticks[in.Key] {
		newest = max(newest, t)
	}
	e.ticks[in.Key] = append(e.ticks[in.Key], tick)
	if tick >= newest {
		e.fresh[in.Key] = append(e.fresh[in.Key], tick)
	}
	return e.read(in)
}

func (e *edges) read(in Input) []float64 {
	first, last := in.Born.Seconds()/e.width, in.Now.Seconds()/e.width
	for _, t := range e.ticks[in.Key] {
		first, last = min(first, t), max(last, t)
	}
	a, s, t := 0.0, float64(len(e.ticks[in.Key])), float64(last-first+1)
	for _, tick := range e.fresh[in.Key] {
		if tick == last {
			a++
		}
	}
	score := 0.0
	if s > 0 && t > 1 && a > s/t {
		score = (a - s/t) * (a - s/t) * t * t / (s * (t - 1))
	}
	return []float64{score, a, s}
}

func FuzzBurst(f *testing.F) {
	compare(f, "burst", Key, []Params{nil, {"tick": 60}, {"tick": 86400}}, newEdges)
}

func TestBurst(t *testing.T) {
	s := newSubject(t, "burst", nil)
	at := func(tick moat.Time, key uint64) []float64 {
		return s.observe(Input{Now: start + tick*moat.Hour, Value: Key, Key: key})
	}
	s.expect("first tick", at(0, 1), 0, 1, 1)
	s.expect("second tick, as often", at(1, 1), 0, 1, 2)
	// a = 2, s = 3, t = 2: (2 − 1.5)² · 4 / 3.
	s.expect("more often", at(1, 1), 1.0/3, 2, 3)
	s.expect("late", at(0, 1), 0, 2, 4)
	// A value that is new after 100 ticks and comes five times at once.
	for range 4 {
		at(99, 2)
	}
	s.expect("new and many", at(99, 2), 4.95*4.95*100*100/(5*99), 5, 5)
	s.expect("a tick later", s.read(Input{Now: start + 100*moat.Hour, Value: Key, Key: 2}), 0, 0, 5)
}

func BenchmarkBurst(b *testing.B) { measure(b, "burst", nil, Key, func(int, *Input) {}) }
