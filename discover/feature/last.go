package feature

import (
	"math"
	"unsafe"
)

// lastKind keeps the previous value.
//
// State: value and time, 8 bytes: a text by 32 bits of its hash, a number to seven digits, the
// time in seconds. Cost: 10 ns. An event that is older than the newest is compared with it and
// does not replace it.
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
	value uint32 // of the key, or bits of the number
	at    uint32 // seconds; 0: none
}

type last struct{}

func (last) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s, now := (*lastState)(state), seconds(in.Now)
	s.write(in, now, out)
	if now >= s.at {
		s.value, s.at = brief(in), now
	}
}

func (last) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	(*lastState)(state).write(in, seconds(in.Now), out)
}

func (s *lastState) write(in *Input, now uint32, out *Outputs) {
	_ = out[2]
	out[0], out[1], out[2] = 0, 0, 0
	if s.at == 0 {
		return
	}
	if in.Value != NoValue && s.value != brief(in) {
		out[0] = 1
	}
	if in.Value == Number {
		out[1] = float64(math.Float32frombits(s.value))
	}
	out[2] = elapsed(s.at, now)
}

// brief returns what is kept of the key of in, or of its number with one zero only and always finite.
func brief(in *Input) uint32 {
	if in.Value != Number {
		return uint32(in.Key)
	}
	return math.Float32bits(float32(bounded(finite(in.Num))) + 0)
}
