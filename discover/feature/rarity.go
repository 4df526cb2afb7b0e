package feature

import (
	"math"
	"unsafe"
)

// rarityKind tells how probable this value was for the entity.
//
// State: two counts, 8 bytes, and a Pair of 16 bytes a value. Cost: 9 ns.
//
// Formula: Laplace's rule with one place held for all that was never seen:
// p = (times seen + 1) / (observations + different values + 1). Over all values
// seen and the place for a new one p adds up to 1; while nothing is known it is 1.
// confidence = 1 − different values / observations is one minus the share of
// observations that brought something new: Good and Turing's question whether
// the values known are all there are. Near 0, everything is new and being new
// means nothing; the usual bar is 0.8 (detectors should ask for it).
var rarityKind = Kind{
	Name:  "rarity",
	Doc:   "How probable this value is for the entity. Good for rare acts: an address, a program, an operation not usual for it.",
	Value: Key,
	Pairs: true,
	Outputs: []Output{
		{"p", "probability", "Probability of the value, from what came before this event; small is rare. 1 for no value."},
		{"n", "events", "Observations, this event included."},
		{"confidence", "share", "1 − different values / observations, before this event; 0 when nothing is known. Trust p from 0.8 on."},
	},
	CostNS: 9,
	Size:   func(Params) int { return int(unsafe.Sizeof(rarityState{})) },
	New:    func(Params) Stat { return rarity{} },
}

type rarityState struct{ total, distinct uint32 }

type rarity struct{}

func (rarity) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s, p := (*rarityState)(state), (*Pair)(in.Pair)
	s.write(p, out)
	if s.total != math.MaxUint32 {
		s.total++
	}
	if p == nil || p.N == 0 {
		s.distinct = min(s.distinct+1, s.total)
	}
	if p != nil {
		p.add(seconds(in.Now))
	}
	out[1] = float64(s.total)
}

func (rarity) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	(*rarityState)(state).write((*Pair)(in.Pair), out)
	if in.none() {
		out[0] = 1
	}
}

func (s *rarityState) write(p *Pair, out *Outputs) {
	_ = out[2]
	times := 0.0
	if p != nil {
		times = float64(p.N)
	}
	total, distinct := float64(s.total), float64(s.distinct)
	out[0], out[1], out[2] = (times+1)/(total+distinct+1), total, 0
	if s.total > 0 {
		out[2] = 1 - distinct/total
	}
}
