package feature

import (
	"slices"
	"unsafe"
)

// maxKind keeps the largest number of a sliding window.
//
// State: a ring of 8 buckets, 32 bytes; 8 bytes for ever. Cost: 6 ns.
// Formula: the maximum of the buckets' maxima. That of the newest is exact; the others are
// exact up to 1,024, if whole, and else rounded up by a part in 500 at most, so that nothing is
// above what was as large before.
var maxKind = Kind{
	Name:   "max",
	Doc:    "Largest number in a sliding window. Good for single huge acts: rows of one export.",
	Value:  Number,
	Blind:  true,
	Params: []Param{windowParam},
	Outputs: []Output{
		{"max", "of the value", "Largest value in the window, this event included; 0 when empty. Values below 0 count as 0."},
	},
	CostNS: 6,
	Size:   ringSizeOf,
	New: func(p Params) Stat {
		if p["window"] == 0 {
			return largestEver{}
		}
		return &largest{width: ringWidth(p)}
	},
}

// largest keeps maxima in a ring.
type largest struct{ width span }

func (m *largest) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	r := (*ring)(state)
	r.raise(m.width.number(in.Now), positive(in.Num))
	out[0] = max(r.now, float64(r.past))
}

func (m *largest) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	r := *(*ring)(state)
	if b := m.width.number(in.Now); b > r.newest {
		r.raise(b, 0)
	}
	out[0] = max(r.now, float64(r.past))
}

// raise raises the maximum of bucket b to v.
func (r *ring) raise(b uint32, v float64) {
	switch {
	case b == r.newest:
		r.now = max(r.now, v)
		return
	case b > r.newest:
		r.turn(b, awayFrom0)
		r.now = v
	case r.newest-b < slots:
		slot := &r.slot[b%slots]
		*slot = max(*slot, shorten(v, awayFrom0))
	}
	r.past = float32(slices.Max(r.slot[:]).value()) // they sort as the numbers do, because none is negative
}

// positive returns v as a finite number of at least 0.
func positive(v float64) float64 {
	if v > 0 {
		return bounded(v)
	}
	return 0
}

// largestEver keeps the maximum of all time.
type largestEver struct{}

func (largestEver) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	m := (*float64)(state)
	*m = max(*m, positive(in.Num))
	out[0] = *m
}

func (largestEver) Read(state unsafe.Pointer, _ *Input, out *Outputs) {
	out[0] = *(*float64)(state)
}
