package feature

import (
	"testing"

	"github.com/moat-platform/moat"
)

// learnedSet is set with a Go map.
type learnedSet struct {
	learn   int64
	members map[uint64]bool
}

func (s *learnedSet) run(in Input, keep bool) []float64 {
	out := []float64{0, 0, 0}
	if in.Now.Seconds()-in.Born.Seconds() > s.learn {
		out[2] = 1
		if in.Value == Key && !s.members[in.Key] {
			out[0] = 1
		}
	} else if keep {
		s.members[in.Key] = true
	}
	out[1] = float64(len(s.members))
	return out
}

func (s *learnedSet) observe(in Input) []float64 { return s.run(in, true) }
func (s *learnedSet) read(in Input) []float64    { return s.run(in, false) }

func FuzzSet(f *testing.F) {
	compare(f, "set", Key, []Params{nil, {"learn": 60}, {"learn": 3600}}, func(p Params) model {
		return &learnedSet{int64(p["learn"]), map[uint64]bool{}}
	})
}

func TestSet(t *testing.T) {
	s := newSubject(t, "set", Params{"learn": 3600})
	f := func(what string, at moat.Time, key uint64, want ...float64) {
		t.Helper()
		s.expect(what, s.observe(Input{Now: start + at*moat.Second, Value: Key, Key: key}), want...)
	}
	f("first", 0, 1, 0, 1, 0)
	f("second", 3600, 2, 0, 2, 0)
	f("known, after the learning", 3601, 1, 0, 2, 1)
	f("unknown", 3700, 3, 1, 2, 1)
	f("unknown again: it is not taken in", 3800, 3, 1, 2, 1)
}

func BenchmarkSet(b *testing.B) {
	measure(b, "set", nil, Key, func(i int, in *Input) { in.Key = uint64(i % 8) })
}
