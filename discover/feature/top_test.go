package feature

import (
	"math/rand/v2"
	"testing"

	"github.com/moat-platform/moat"
)

// podium is Space-Saving in plain words: places in the order in which they were first taken.
type podium struct {
	period uint32
	width  uint64
	places int
	n      int
	list   []stand
}

type stand struct {
	hash        uint32
	count, over int
}

func newPodium(p Params) model {
	return &podium{width: uint64(p["period"]) * 1e6, places: int(p["places"])}
}

func (m *podium) keys(in Input) []uint64 {
	switch in.Value {
	case Keys:
		return in.Keys
	case Key:
		return []uint64{in.Key}
	}
	return nil
}

func (m *podium) observe(in Input) []float64 {
	p := number(in.Now, m.width)
	if p < m.period {
		return m.read(in)
	}
	if p > m.period {
		m.period, m.n, m.list = p, 0, nil
	}
	most := 0
	for _, k := range m.keys(in) {
		m.n++
		at, least := -1, 0
		for i, s := range m.list {
			if s.hash == uint32(k>>32) {
				at = i
			}
			if s.count < m.list[least].count {
				least = i
			}
		}
		switch {
		case at >= 0:
			m.list[at].count++
		case len(m.list) < m.places:
			at = len(m.list)
			m.list = append(m.list, stand{uint32(k >> 32), 1, 0})
		default:
			at = least
			m.list[at] = stand{uint32(k >> 32), m.list[at].count + 1, m.list[at].count}
		}
		most = max(most, m.list[at].count-m.list[at].over)
	}
	return m.out(most)
}

func (m *podium) out(most int) []float64 {
	return []float64{float64(most), float64(most) / float64(max(m.n, 1)), float64(m.n)}
}

func (m *podium) read(in Input) []float64 {
	if number(in.Now, m.width) > m.period {
		return []float64{0, 0, 0}
	}
	most := 0
	for _, s := range m.list {
		asked := in.Value == NoValue
		for _, k := range m.keys(in) {
			asked = asked || uint32(k>>32) == s.hash
		}
		if asked {
			most = max(most, s.count-s.over)
		}
	}
	return m.out(most)
}

func FuzzTop(f *testing.F) {
	compare(f, "top", Key, []Params{{"places": 4, "period": 60}, {"places": 7}, nil}, newPodium)
}

func FuzzTopOfLists(f *testing.F) {
	compare(f, "top", Keys, []Params{{"places": 4, "period": 3600}, nil}, newPodium)
}

func TestTop(t *testing.T) {
	s := newSubject(t, "top", nil)
	at := func(d moat.Time, keys ...uint64) []float64 {
		in := Input{Now: start + d, Value: Keys}
		for _, k := range keys {
			in.Keys = append(in.Keys, mix(k))
		}
		return s.observe(in)
	}
	s.expect("first", at(0, 1), 1, 1, 1)
	s.expect("another", at(0, 2), 1, 0.5, 2)
	s.expect("both", at(moat.Hour, 1, 2), 2, 0.5, 4)
	s.expect("the first again", at(moat.Hour, 1, 3), 3, 0.5, 6)
	s.expect("of all", s.read(Input{Now: start + 2*moat.Hour}), 3, 0.5, 6)
	s.expect("the next day", at(moat.Day, 1), 1, 1, 1)
	s.expect("late for the day before", at(0, 1), 1, 1, 1)
}

// TestTopNeverTooLarge: of 40 to 400 values n is never more than the truth, and whoever makes up more than a
// sixteenth is known to within a sixteenth of all.
func TestTopNeverTooLarge(t *testing.T) {
	for _, others := range []int{40, 400} {
		r := rand.New(rand.NewPCG(uint64(others), 3))
		s := newSubject(t, "top", nil)
		truth, all := map[uint64]float64{}, 0.0
		for range 3000 {
			k := uint64(r.IntN(others))
			if r.IntN(5) == 0 {
				k = 9999
			}
			truth[k]++
			all++
			got := s.observe(Input{Now: start, Value: Key, Key: mix(k)})
			if got[0] > truth[k] || k == 9999 && got[0] < truth[k]-all/16 {
				t.Fatalf("value %d came %v times of %v, top says %v", k, truth[k], all, got[0])
			}
		}
	}
}

func BenchmarkTop(b *testing.B) {
	measure(b, "top", nil, Key, func(i int, in *Input) { in.Key = mix(uint64(i % 40)) })
}
