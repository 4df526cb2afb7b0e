package feature

import (
	"math"
	"unsafe"

	"github.com/moat-platform/moat"
)

// lastKind keeps the previous value.
//
// State: value and time, 16 bytes. Cost: 10 ns.
// An event that is older than the newest is compared with it and does not replace it.
var lastKind = Kind{
	Name:  "last",
	Doc:   "The previous value and whether it changed. Good for changes inside a session: address, device, version.",
	Value: Key,
	Also:  []Value{Number},
	Outputs: []Output{
		{"changed", "0 or 1", "1 when the value differs from the previous one and there was one."},
		{"value", "of the value", "The previous number; 0 for texts and when there was none."},
		{"gap_s", "s", "Time since the previous value; 0 when there was none and for late events."},
	},
	CostNS: 10,
	Size:   func(Params) int { return int(unsafe.Sizeof(lastState{})) },
	New:    func(Params) Stat { return last{} },
}

type lastState struct {
	value uint64    // key, or bits of the number
	at    moat.Time // 0: none
}

type last struct{}

func (l last) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	l.Read(state, in, out)
	s := (*lastState)(state)
	if now := max(1, in.Now); now >= s.at {
		s.value, s.at = bitsOf(in), now
	}
}

func (last) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*lastState)(state)
	out[0], out[1], out[2] = 0, 0, 0
	if s.at == 0 {
		return
	}
	if in.Value != NoValue && s.value != bitsOf(in) {
		out[0] = 1
	}
	if in.Value == Number {
		out[1] = math.Float64frombits(s.value)
	}
	out[2] = since(s.at, in.Now)
}

// bitsOf returns the key of in, or its number with one zero only and always finite.
func bitsOf(in *Input) uint64 {
	if in.Value != Number {
		return in.Key
	}
	return math.Float64bits(finite(in.Num) + 0)
}
