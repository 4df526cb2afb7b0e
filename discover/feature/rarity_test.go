package feature

import (
	"math"
	"testing"
)

// register writes down every value.
type register struct{ values []uint64 }

func newRegister(Params) model { return &register{} }

func (r *register) observe(in Input) []float64 {
	out := r.read(in)
	r.values = append(r.values, in.Key)
	out[1]++
	return out
}

func (r *register) read(in Input) []float64 {
	same, different := 0.0, map[uint64]bool{}
	for _, v := range r.values {
		different[v] = true
		if v == in.Key {
			same++
		}
	}
	n := float64(len(r.values))
	confidence := 0.0
	if n > 0 {
		confidence = 1 - float64(len(different))/n
	}
	return []float64{(same + 1) / (n + float64(len(different)) + 1), n, confidence}
}

func FuzzRarity(f *testing.F) { compare(f, "rarity", Key, []Params{nil}, newRegister) }

func TestRarity(t *testing.T) {
	s := newSubject(t, "rarity", nil)
	f := func(what string, key uint64, want ...float64) {
		t.Helper()
		s.expect(what, s.observe(Input{Now: start, Value: Key, Key: key}), want...)
	}
	f("nothing known", 1, 1, 1, 0)
	f("the only one", 1, 2.0/3, 2, 0)
	f("a new one", 2, 1.0/4, 3, 0.5)
	f("a known one", 1, 3.0/6, 4, 1.0/3)
	// The known ones and the place for a new one add up to 1.
	sum := 0.0
	for key := uint64(1); key <= 3; key++ {
		sum += s.read(Input{Now: start, Value: Key, Key: key})[0]
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("p adds up to %v", sum)
	}
}

func BenchmarkRarity(b *testing.B) { measure(b, "rarity", nil, Key, func(int, *Input) {}) }
