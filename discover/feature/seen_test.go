package feature

import (
	"testing"

	"github.com/moat-platform/moat"
)

// sights remembers every time that each value was seen.
type sights struct {
	ttl    int64
	times  map[uint64][]int64 // in seconds, since it was last new
	values int
}

func newSights(p Params) model { return &sights{ttl: int64(p["ttl"]), times: map[uint64][]int64{}} }

// know returns how often a value was seen and when first and last.
func (s *sights) know(key uint64, now int64) (n int, first, last int64) {
	for _, t := range s.times[key] {
		if n == 0 || t < first {
			first = t
		}
		last = max(last, t)
		n++
	}
	if now-last > s.ttl {
		return 0, 0, 0
	}
	return n, first, last
}

func (s *sights) run(in Input, keep bool) []float64 {
	now := in.Now.Seconds()
	keys := in.Keys
	if in.Value == Key {
		keys = []uint64{in.Key}
	}
	fresh, most, oldest, recent, sum := 0, 0, 0.0, -1.0, 0.0
	for _, k := range keys {
		n, first, last := s.know(k, now)
		if n == 0 {
			fresh++
			if keep {
				s.times[k] = nil
			}
		} else {
			most = max(most, n)
			oldest = max(oldest, float64(now-first))
			sum += max(0, float64(now-first))
			gap := max(0, float64(now-last))
			if recent < 0 || gap < recent {
				recent = gap
			}
		}
		if keep {
			s.times[k] = append(s.times[k], now)
		}
	}
	if keep {
		s.values += fresh
	}
	return []float64{float64(fresh), float64(most), oldest, max(0, recent), float64(s.values), sum / float64(max(1, len(keys)-fresh))}
}

func (s *sights) observe(in Input) []float64 { return s.run(in, true) }
func (s *sights) read(in Input) []float64    { return s.run(in, false) }

var ttls = []Params{nil, {"ttl": 600}, {"ttl": 86400}}

func FuzzSeen(f *testing.F)     { compare(f, "seen", Key, ttls, newSights) }
func FuzzSeenKeys(f *testing.F) { compare(f, "seen", Keys, ttls, newSights) }

func TestSeen(t *testing.T) {
	s := newSubject(t, "seen", Params{"ttl": 3600})
	f := func(what string, at moat.Time, key uint64, want ...float64) {
		t.Helper()
		s.expect(what, s.observe(Input{Now: start + at*moat.Second, Value: Key, Key: key}), want...)
	}
	f("first", 0, 1, 1, 0, 0, 0, 1, 0)
	f("again", 10, 1, 0, 1, 10, 10, 1, 10)
	f("another", 20, 2, 1, 0, 0, 0, 2, 0)
	f("late", 5, 1, 0, 2, 5, 0, 2, 5)
	f("just within ttl", 3610, 1, 0, 3, 3610, 3600, 2, 3610)
	f("past ttl", 7211, 1, 1, 0, 0, 0, 3, 0)
	f("counts from anew", 7212, 1, 0, 1, 1, 1, 3, 1)

	l := newSubject(t, "seen", nil)
	g := func(what string, at moat.Time, keys []uint64, want ...float64) {
		t.Helper()
		l.expect(what, l.observe(Input{Now: start + at*moat.Second, Value: Keys, Keys: keys}), want...)
	}
	g("all new", 0, []uint64{1, 2, 3}, 3, 0, 0, 0, 3, 0)
	g("twice in one list", 5, []uint64{4, 4}, 1, 1, 0, 0, 4, 0)
	g("some new", 10, []uint64{1, 4, 5}, 1, 2, 10, 5, 5, 7.5)
	g("none", 10, nil, 0, 0, 0, 0, 5, 0)
}

func BenchmarkSeen(b *testing.B) { measure(b, "seen", nil, Key, func(int, *Input) {}) }
