package feature

import (
	"math"
	"unsafe"
)

// entropyKind tells how much a value varies.
//
// State: 32 counts, their sum of c·log₂c and four words, 80 bytes. Cost: 17 ns.
// Up to 10 values are kept by 32 bits of their hash, with a count each: the entropy is then
// exact. With the 11th the same bytes become 32 counts by the first 5 bits of the hash: values
// that share a count make the entropy too small, never too large, and it ends at
// 5 bits. When `over` events are counted all counts are halved (rounding down), so that old
// values fade and a value that stopped coming is forgotten.
//
// Formula: Shannon (1948), H = log₂n − Σ c·log₂c / n. The sum is kept up to date: an event
// changes one term.
var entropyKind = Kind{
	Name:  "entropy",
	Doc:   "How much a value varies over the last events, in bits. Good for fields that never change although they should: a device id, an address, a user agent that a program makes up.",
	Value: Key,
	Blind: true,
	Also:  []Value{Number},
	Params: []Param{{Name: "over", Unit: "events", Default: 1000, Min: 16, Max: 8192,
		Doc: "Events that count: all counts are halved when there are so many."}},
	Outputs: []Output{
		{"bits", "bits", "Entropy of the value, this event included: 0 for a constant, 1 for a fair coin, 3.3 for ten values alike, at most 5. A lower bound when there are more than 10 values."},
		{"n", "events", "Events that count, this one included; after the first `over` it moves between a little under half of it and all of it."},
		{"top", "share", "Share of the most frequent value; an upper bound when there are more than 10 values."},
		{"values", "values", "Different values; a lower bound when there are more than 10, at most 32."},
	},
	CostNS: 17,
	Size:   func(Params) int { return int(unsafe.Sizeof(entropyState{})) },
	New:    func(p Params) Stat { return newEntropy(int(p["over"])) },
}

const (
	exactly = 10          // values that are told apart
	spread  = exactly + 1 // fill of a state whose counts are by hash
	piles   = 32          // counts by hash
)

type entropyState struct {
	sum    float64 // Σ c·log₂c
	n      uint16  // Σ c
	top    uint16  // the largest c
	values uint16  // counts that are not 0
	fill   uint16  // values held exactly, or spread
	count  [piles]uint16
}

// entropy holds c·log₂c for every c that can be.
type entropy struct{ term []float64 }

func newEntropy(over int) *entropy {
	e := &entropy{term: make([]float64, over+1)}
	for c := 2; c <= over; c++ {
		e.term[c] = float64(c) * math.Log2(float64(c))
	}
	return e
}

func (e *entropy) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s, key := (*entropyState)(state), in.Key
	if in.Value == Number {
		key = scatter(math.Float64bits(finite(in.Num) + 0)) // one zero only
	}
	c := e.place(s, uint32(key>>32))
	s.sum += e.term[*c+1] - e.term[*c]
	if *c == 0 {
		s.values++
	}
	*c++
	s.n++
	s.top = max(s.top, *c)
	if int(s.n) == len(e.term)-1 {
		e.halve(s)
	}
	e.Read(state, in, out)
}

func (e *entropy) Read(state unsafe.Pointer, _ *Input, out *Outputs) {
	s := (*entropyState)(state)
	_ = out[3]
	out[0], out[1], out[2], out[3] = 0, float64(s.n), 0, float64(s.values)
	if s.n > 0 {
		out[0], out[2] = max(0, e.term[s.n]-s.sum)/float64(s.n), float64(s.top)/float64(s.n)
	}
}

// scatter makes a well mixed hash of the bits of a number.
func scatter(b uint64) uint64 {
	b *= 0x9E3779B97F4A7C15
	b ^= b >> 32
	b *= 0xD6E8FEB86659FD93
	return b ^ b>>32
}

// place returns the count of a value.
func (e *entropy) place(s *entropyState, hash uint32) *uint16 {
	if s.fill == spread {
		return &s.count[hash>>27]
	}
	for i := range s.fill {
		if s.hash(i) == hash {
			return &s.count[i]
		}
	}
	if s.fill < exactly {
		s.put(s.fill, hash)
		s.fill++
		return &s.count[s.fill-1]
	}
	old := *s
	s.fill, s.count = spread, [piles]uint16{}
	for i := range uint16(exactly) {
		s.count[old.hash(i)>>27] += old.count[i]
	}
	e.total(s)
	return &s.count[hash>>27]
}

// hash returns the hash of the i-th value that is held exactly: they lie behind the counts, in two halves each.
func (s *entropyState) hash(i uint16) uint32 {
	return uint32(s.count[exactly+2*i])<<16 | uint32(s.count[exactly+1+2*i])
}

func (s *entropyState) put(i uint16, hash uint32) {
	s.count[exactly+2*i], s.count[exactly+1+2*i] = uint16(hash>>16), uint16(hash)
}

// counts returns the counts, without the hashes.
func (s *entropyState) counts() []uint16 {
	if s.fill == spread {
		return s.count[:]
	}
	return s.count[:s.fill]
}

// halve halves all counts and forgets the values that are left with none.
func (e *entropy) halve(s *entropyState) {
	for i := range s.counts() {
		s.count[i] /= 2
	}
	if s.fill != spread {
		old := *s
		s.fill, s.count = 0, [piles]uint16{}
		for i := range old.fill {
			if old.count[i] > 0 {
				s.count[s.fill] = old.count[i]
				s.put(s.fill, old.hash(i))
				s.fill++
			}
		}
	}
	e.total(s)
}

// total adds up the counts anew.
func (e *entropy) total(s *entropyState) {
	s.sum, s.n, s.top, s.values = 0, 0, 0, 0
	for _, c := range s.counts() {
		if c > 0 {
			s.sum += e.term[c]
			s.n += c
			s.top = max(s.top, c)
			s.values++
		}
	}
}
