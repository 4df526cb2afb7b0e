package feature

import (
	"math"
	"unsafe"
)

// countKind counts events in a sliding window.
//
// State: a ring of 8 buckets, 40 bytes; 8 bytes for ever. Cost: 6 ns.
// Formula: the plain count over whole buckets; see ring for what they cover.
var countKind = Kind{
	Name:   "count",
	Doc:    "Number of events in a sliding window. Good for bursts: failed logins, exports, reveals.",
	Value:  NoValue,
	Blind:  true,
	Params: []Param{windowParam},
	Outputs: []Output{
		{"n", "events", "Events in the window, this one included."},
	},
	CostNS: 6,
	Size:   ringSizeOf,
	New: func(p Params) Stat {
		if p["window"] == 0 {
			return countEver{}
		}
		return &count{width: ringWidth(p)}
	},
}

// count counts in a ring. A bucket stays at 2³²−1 when it is full.
type count struct{ width span }

func (c *count) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	r := (*ring)(state)
	if s := r.at(c.width.number(in.Now)); s != nil && *s != math.MaxUint32 {
		*s++
	}
	if !in.Mute {
		out[0] = r.events()
	}
}

func (c *count) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	r := (*ring)(state).until(c.width.number(in.Now))
	out[0] = r.events()
}

// events adds up buckets that are counts.
func (r *ring) events() float64 {
	s := &r.slot
	return float64(uint64(s[0]) + uint64(s[1]) + uint64(s[2]) + uint64(s[3]) + uint64(s[4]) + uint64(s[5]) + uint64(s[6]) + uint64(s[7]))
}

// countEver counts for ever.
type countEver struct{}

func (countEver) Observe(state unsafe.Pointer, _ *Input, out *Outputs) {
	n := (*uint64)(state)
	*n++
	out[0] = float64(*n)
}

func (countEver) Read(state unsafe.Pointer, _ *Input, out *Outputs) {
	out[0] = float64(*(*uint64)(state))
}
