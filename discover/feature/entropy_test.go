package feature

import (
	"math"
	"math/rand/v2"
	"testing"
)

// census counts every value under its name: the hash while there are few, then its first bits.
type census struct {
	over   int
	number bool
	wide   bool
	counts map[uint32]int
}

func newCensus(number bool) func(Params) model {
	return func(p Params) model { return &census{over: int(p["over"]), number: number, counts: map[uint32]int{}} }
}

func (m *census) observe(in Input) []float64 {
	key := in.Key
	if m.number {
		key = scatter(math.Float64bits(finite(in.Num) + 0))
	}
	hash := uint32(key >> 32)
	if _, ok := m.counts[hash]; !ok && !m.wide && len(m.counts) == 10 {
		m.wide = true
		piles := map[uint32]int{}
		for h, c := range m.counts {
			piles[h>>27] += c
		}
		m.counts = piles
	}
	if m.wide {
		hash >>= 27
	}
	m.counts[hash]++
	n := 0
	for _, c := range m.counts {
		n += c
	}
	if n == m.over {
		for h, c := range m.counts {
			if m.counts[h] = c / 2; c < 2 {
				delete(m.counts, h)
			}
		}
	}
	return m.read(in)
}

func (m *census) read(Input) []float64 {
	n, top, bits := 0, 0, 0.0
	for _, c := range m.counts {
		n, top = n+c, max(top, c)
	}
	for _, c := range m.counts {
		p := float64(c) / float64(n)
		bits -= p * math.Log2(p)
	}
	return []float64{bits, float64(n), float64(top) / float64(max(n, 1)), float64(len(m.counts))}
}

func FuzzEntropy(f *testing.F) {
	compare(f, "entropy", Key, []Params{{"over": 16}, {"over": 50}, nil}, newCensus(false))
}

func FuzzEntropyOfNumbers(f *testing.F) {
	compare(f, "entropy", Number, []Params{{"over": 40}, nil}, newCensus(true))
}

func TestEntropy(t *testing.T) {
	f := func(what string, n int, key func(i int) uint64, want ...float64) {
		t.Helper()
		s := newSubject(t, "entropy", nil)
		for i := range n {
			s.observe(Input{Now: start, Value: Key, Key: key(i)})
		}
		s.expect(what, s.read(Input{Now: start}), want...)
	}
	f("nothing", 0, nil, 0, 0, 0, 0)
	f("a constant", 900, func(int) uint64 { return mix(1) }, 0, 900, 1, 1)
	f("a coin", 900, func(i int) uint64 { return mix(uint64(i % 2)) }, 1, 900, 0.5, 2)
	f("a dice", 600, func(i int) uint64 { return mix(uint64(i % 6)) }, math.Log2(6), 600, 1.0/6, 6)
	f("ten alike", 900, func(i int) uint64 { return mix(uint64(i % 10)) }, math.Log2(10), 900, 0.1, 10)
	// −0.9·log₂0.9 − 0.1·log₂0.1
	f("one in ten", 900, func(i int) uint64 { return mix(uint64(max(i%10, 8))) }, 0.4689956, 900, 0.9, 2)
}

// TestEntropyIsALowerBound: with many values it is between what the first five bits of an even
// hash would have, less the noise of a thousand events, and the truth.
func TestEntropyIsALowerBound(t *testing.T) {
	for _, values := range []int{11, 20, 100, 100_000} {
		r := rand.New(rand.NewPCG(uint64(values), 1))
		s := newSubject(t, "entropy", nil)
		var got []float64
		for range 2000 {
			got = s.observe(Input{Now: start, Value: Key, Key: mix(r.Uint64N(uint64(values)))})
		}
		truth := math.Log2(float64(values))
		if got[0] > truth || got[0] < min(truth, 5)-0.8 {
			t.Errorf("%d values: %v bits, the truth is %v", values, got[0], truth)
		}
	}
}

// TestEntropyOfWhatBecameConstant: once a value varied; ten times `over` events later that is forgotten.
func TestEntropyOfWhatBecameConstant(t *testing.T) {
	s := newSubject(t, "entropy", nil)
	for i := range 3000 {
		s.observe(Input{Now: start, Value: Key, Key: mix(uint64(i))})
	}
	var got []float64
	for range 10_000 {
		got = s.observe(Input{Now: start, Value: Key, Key: mix(7)})
	}
	s.expect("constant for long", []float64{got[0], got[2], got[3]}, 0, 1, 1)
}

func BenchmarkEntropy(b *testing.B) {
	measure(b, "entropy", nil, Key, func(i int, in *Input) { in.Key = mix(uint64(i % 7)) })
}
