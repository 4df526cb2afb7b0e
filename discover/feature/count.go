package feature

import "unsafe"

// countKind counts events in a sliding window.
//
// State: a ring of 8 buckets, 32 bytes; 8 bytes for ever. Cost: 6 ns.
// Formula: the sum of ones.
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

// count counts in a ring.
type count struct{ width span }

func (c *count) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	r := (*ring)(state)
	r.add(c.width.number(in.Now), 1)
	out[0] = r.total()
}

func (c *count) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	out[0] = (*ring)(state).totalAt(c.width.number(in.Now))
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
