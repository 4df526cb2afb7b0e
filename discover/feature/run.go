package feature

import (
	"math"
	"unsafe"

	"github.com/moat-platform/moat"
)

// runKind tells whether ids are gone through one after the other.
//
// State: the ends of two minutes and the length of the run so far, 32 bytes.
// Cost: 18 ns an id.
//
// The number of an id is its digits at the end, the last 18 at most; an id without is not looked at. Events of a few
// seconds arrive in any order, so the ids of a minute are a set: they follow one another if the next one is at most
// step away, on average. A run goes on in one direction, from one minute that has ids to the next: that begins 1
// to step beyond the end of the one before. What is more than a minute late is not looked at. A number
// that comes again within its minute (orders are looked at twice) may count again, but no more count than there are.
var runKind = Kind{
	Name:  "run",
	Doc:   "How long a run of consecutive ids is, in whatever order those of a minute arrive. Good for enumeration: orders gone through by number.",
	Value: Keys,
	Blind: true,
	Params: []Param{{Name: "step", Unit: "ids", Default: 3, Min: 1, Max: 1000,
		Doc: "Largest difference between one id and the next in a run; within a minute, on average."}},
	Outputs: []Output{
		{"len", "ids", "Length of the running run, at most 65,535; a lone id is a run of 1. 0 while the ids of this minute do not follow one another."},
	},
	CostNS: 18,
	Size:   func(Params) int { return int(unsafe.Sizeof(runState{})) },
	New:    func(p Params) Stat { return &run{step: int64(p["step"])} },
}

type runState struct {
	lo     int64  // lowest number of the newest minute, when count > 0
	before int32  // lowest number of the minute before, relative to lo
	minute uint32 // the newest, since 1970
	span   uint16 // highest less lowest number of the newest minute; tooFar for more than fits
	spanB  uint16 // the same of the minute before
	count  uint16 // ids of the newest minute
	countB uint16 // of the minute before; 0 = there is none
	length uint16 // of the run that ends with the minute before
	up     int8   // 1 or −1 by its direction, 0 while it is of one minute
	_      [3]uint8
}

const tooFar = math.MaxUint16

// stretch is the ids of one minute.
type stretch struct{ lo, span, count int64 }

type run struct{ step int64 }

func (r *run) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*runState)(state)
	minute := uint32(in.Now / moat.Minute)
	for _, text := range in.Texts {
		if id, ok := suffix(text); ok {
			switch {
			case s.count == 0 || minute > s.minute:
				r.turn(s, minute, id)
			case minute == s.minute:
				s.add(id)
			case minute+1 == s.minute:
				r.late(s, id)
			}
		}
	}
	r.Read(state, in, out)
}

func (r *run) Read(state unsafe.Pointer, _ *Input, out *Outputs) {
	length, _ := r.reach((*runState)(state))
	out[0] = float64(length)
}

// reach returns the length of the run that ends with the newest minute, and its direction.
func (r *run) reach(s *runState) (length uint16, up int8) {
	now := stretch{s.lo, int64(s.span), int64(s.count)}
	if !r.dense(now) {
		return 0, 0
	}
	before := stretch{s.lo + int64(s.before), int64(s.spanB), int64(s.countB)}
	switch by, back := now.lo-before.lo-before.span, before.lo-now.lo-now.span; {
	case s.length == 0:
	case by >= 1 && by <= r.step:
		up = 1
	case back >= 1 && back <= r.step:
		up = -1
	}
	if up == 0 || s.up == -up {
		return s.count, 0
	}
	return uint16(min(int64(s.length)+now.count, math.MaxUint16)), up
}

// dense tells whether the numbers follow one another.
func (r *run) dense(x stretch) bool {
	return x.count > 0 && x.span < tooFar && x.span <= r.step*(x.count-1)
}

// turn begins a new minute with one id.
func (r *run) turn(s *runState, minute uint32, id int64) {
	s.length, s.up = r.reach(s)
	s.before, s.spanB, s.countB = 0, s.span, s.count
	s.rebase(id)
	s.minute, s.span, s.count = minute, 0, 1
}

// add takes an id into the newest minute.
func (s *runState) add(id int64) {
	x := stretch{s.lo, int64(s.span), int64(s.count)}
	x.add(id)
	s.rebase(x.lo)
	s.span, s.count = uint16(x.span), uint16(x.count)
}

// late takes an id into the minute before, if it has others.
func (r *run) late(s *runState, id int64) {
	if s.countB == 0 {
		return
	}
	x := stretch{s.lo + int64(s.before), int64(s.spanB), int64(s.countB)}
	more := x.count
	x.add(id)
	by := x.lo - s.lo
	if int64(int32(by)) != by {
		return
	}
	more = x.count - more
	s.before, s.spanB, s.countB = int32(by), uint16(x.span), uint16(x.count)
	switch {
	case !r.dense(x):
		s.length, s.up = 0, 0
	case s.length == 0:
		s.length = s.countB
	default:
		s.length = uint16(min(int64(s.length)+more, math.MaxUint16))
	}
}

// rebase makes lo the lowest number of the newest minute. A minute before that is too far away is forgotten.
func (s *runState) rebase(lo int64) {
	by := int64(s.before) + s.lo - lo
	if s.lo, s.before = lo, int32(by); int64(s.before) != by {
		s.before, s.countB, s.length, s.up = 0, 0, 0, 0
	}
}

// add takes in one number.
func (x *stretch) add(id int64) {
	switch hi := x.lo + x.span; {
	case x.span == tooFar || id == x.lo || id == hi:
		return
	case id < x.lo:
		x.lo, x.span = id, x.span+x.lo-id
	case id > hi:
		x.span = id - x.lo
	}
	x.span = min(x.span, tooFar)
	x.count = min(x.count+1, x.span+1, math.MaxUint16)
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
