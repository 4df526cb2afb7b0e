package feature

import "unsafe"

// setKind tells whether a value belongs to the set of values that the entity had while it was
// learned.
//
// State: the size of the set, 8 bytes, and a Pair of 16 bytes a value. Cost: 6 ns.
// Membership is exact. A value that comes after the learning is not taken in, however often it
// comes: whoever wants that uses seen.
var setKind = Kind{
	Name:  "set",
	Doc:   "Whether the value belongs to the set that the entity had while it was learned. Good for what should not change: the networks of an app, the destinations of a partner.",
	Value: Key,
	Pairs: true,
	Params: []Param{{Name: "learn", Unit: "duration", Default: 7 * 86400, Min: 60, Max: 365 * 86400,
		Doc: "How long after the entity was first seen values are taken in."}},
	Outputs: []Output{
		{"outside", "0 or 1", "1 when the learning is over and the value is not in the set; 0 for no value."},
		{"size", "values", "How many values the set has."},
		{"learned", "0 or 1", "1 when the learning is over."},
	},
	CostNS: 6,
	Size:   func(Params) int { return 8 },
	New:    func(p Params) Stat { return set{uint32(p["learn"])} },
}

type set struct{ learn uint32 }

func (a set) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	size, p := (*uint64)(state), (*Pair)(in.Pair)
	if p != nil && p.N == 0 && !a.learned(in) {
		p.N = 1
		*size++
	}
	a.write(*size, in, out)
}

func (a set) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	a.write(*(*uint64)(state), in, out)
}

func (a set) learned(in *Input) bool {
	return elapsed(seconds(in.Born), seconds(in.Now)) > float64(a.learn)
}

func (a set) write(size uint64, in *Input, out *Outputs) {
	out[0], out[1], out[2] = 0, float64(size), 0
	if !a.learned(in) {
		return
	}
	out[2] = 1
	if p := (*Pair)(in.Pair); in.Value == Key && (p == nil || p.N == 0) {
		out[0] = 1
	}
}
