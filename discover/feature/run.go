package feature

import (
	"math"
	"math/bits"
	"unsafe"
)

// runKind tells whether ids are gone through one after the other.
//
// State: the last number, a bit for each of the last 64 ids, lengths, 32 bytes.
// Cost: 18 ns an id.
//
// The number of an id is its digits at the end, the last 18 at most. An id
// follows on when its number is 1 to step above the last one, or below it: a
// run goes in one direction. The same number again changes nothing (orders are
// looked at twice). An id without digits at the end breaks the run. The order
// of arrival counts, not time.
var runKind = Kind{
	Name:  "run",
	Doc:   "How long a run of consecutive ids is. Good for enumeration: orders gone through by number.",
	Value: Keys,
	Params: []Param{{Name: "step", Unit: "ids", Default: 3, Min: 1, Max: 1000,
		Doc: "Largest difference between one id and the next in a run."}},
	Outputs: []Output{
		{"len", "ids", "Length of the running run, at its longest during this event; a lone id is a run of 1."},
		{"share", "share", "Share of the last 64 ids that followed on; of fewer while there are fewer."},
		{"n", "ids", "Ids, ever, this event's included; the same one again is not counted."},
	},
	CostNS: 18,
	Size:   func(Params) int { return int(unsafe.Sizeof(runState{})) },
	New:    func(p Params) Stat { return &run{step: int64(p["step"])} },
}

type runState struct {
	last   int64  // number of the last id, when length > 0
	recent uint64 // bit i: the i-th last id followed on
	length uint32
	n      uint32
	up     int8 // 1 or −1 by the direction of the run, 0 while it has one id
	_      [7]uint8
}

type run struct{ step int64 }

func (r *run) Observe(state unsafe.Pointer, in *Input, out []float64) {
	s := (*runState)(state)
	longest := uint32(0)
	for _, text := range in.Texts {
		if id, ok := suffix(text); ok {
			s.add(id, r.step)
		} else {
			s.lone(0)
		}
		longest = max(longest, s.length)
	}
	s.write(out)
	if len(in.Texts) > 0 {
		out[0] = float64(longest)
	}
}

func (r *run) Read(state unsafe.Pointer, _ *Input, out []float64) { (*runState)(state).write(out) }

// add takes in an id with a number.
func (s *runState) add(id, step int64) {
	by, up := id-s.last, int8(1)
	if by < 0 {
		by, up = -by, -1
	}
	switch {
	case s.length == 0 || by > step:
		s.lone(1)
	case by == 0:
		return
	case up == s.up || s.up == 0:
		s.length = min(s.length, math.MaxUint32-1) + 1
		s.count(1)
	default: // the run has turned: the last id begins the new one
		s.length = 2
		s.count(1)
	}
	if s.length > 1 {
		s.up = up
	}
	s.last = id
}

// lone begins a run of one id, or of none.
func (s *runState) lone(length uint32) {
	s.length, s.up = length, 0
	s.count(0)
}

// count notes whether an id followed on.
func (s *runState) count(followed uint64) {
	s.recent = s.recent<<1 | followed
	s.n = min(s.n, math.MaxUint32-1) + 1
}

func (s *runState) write(out []float64) {
	_ = out[2]
	out[0], out[1], out[2] = float64(s.length), 0, float64(s.n)
	if s.n > 0 {
		out[1] = float64(bits.OnesCount64(s.recent)) / float64(min(s.n, 64))
	}
}

// suffix returns the number that text ends with, of 18 digits at most.
func suffix(text string) (n int64, ok bool) {
	text = text[max(0, len(text)-18):]
	power := int64(1)
	for len(text) >= 8 {
		v, all := eight(text[len(text)-8:])
		if !all {
			break
		}
		n, ok = n+v*power, true
		power *= 1e8
		text = text[:len(text)-8]
	}
	for i := len(text) - 1; i >= 0; i-- {
		d := text[i] - '0'
		if d > 9 {
			break
		}
		n, ok = n+int64(d)*power, true
		power *= 10
	}
	return n, ok
}

// eight reads a number of eight digits at once: ids are long, and digit by
// digit one of 16 takes three times as long.
func eight(t string) (n int64, ok bool) {
	x := uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
		uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
	// Digits are 0x30 to 0x39: the high half is 3, and stays so when 6 is added.
	const high, three, six = 0xF0F0F0F0F0F0F0F0, 0x3030303030303030, 0x0606060606060606
	if x&high != three || (x+six)&high != three {
		return 0, false
	}
	x -= three
	x = x*10 + x>>8 // pairs, in every other byte
	const pairs = 0x000000FF000000FF
	return int64((x&pairs*(100+1000000<<32) + x>>16&pairs*(1+10000<<32)) >> 32), true
}
