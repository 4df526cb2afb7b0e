package feature

import (
	"math/bits"
	"unsafe"
)

// coverageKind compares two streams of the same values: what was handed out, and what was
// reported of it.
//
// State: 8 bytes for each value that is kept and 32 more, 1056 by default. Cost: 20 ns and 3 ns a
// value, and 60 ns for each of the sampled ones.
//
// Both streams are sampled by the hash of the value, so that a value is in both samples or in none:
// of every 2ˡ values those whose hash ends with l zeros are kept, with the time when they
// were first heard of and which stream they were in. When a value finds no place l rises by one, and half of the
// sample goes; when three quarters of the places stay empty l falls, once a window at most. So
// a small partner is compared exactly and one of any size by about as many values as there are
// places: the standard error of a share p is √(p(1 − p)/n), 0.02 for 0.95 and 128.
//
// A value that is only reported counts as never handed out, so it is kept only where all
// that was handed out a window ago or later is known: from one window after the state began, and after
// l fell by one for one more window only those that l before would have kept.
var coverageKind = Kind{
	Name:       "coverage",
	Doc:        "Which share of the values of one stream is found in another, by a sample that both have in common. Good for honesty: orders that the marketplace served against those whose use was reported, and the other way round.",
	Value:      Keys,
	Blind:      true,
	Conditions: 2,
	Params: []Param{
		{Name: "grace", Unit: "duration", Default: 3600, Min: 60, Max: 7 * 86400, Doc: "A value counts when it was first heard of so long ago: the other stream may be late by that."},
		{Name: "window", Unit: "duration", Default: 86400, Min: 3600, Max: 90 * 86400, Doc: "How long a value counts. For `unserved` longer than values are in use."},
		{Name: "keep", Unit: "values", Default: 128, Min: 16, Max: 512, Doc: "Values that are kept, of both streams together."},
	},
	Outputs: []Output{
		{"share", "share", "Of the values that matched the first step, those that matched the second too; 1 when n is 0."},
		{"n", "values", "Sampled values of the first step older than grace: what share is a share of."},
		{"unserved", "share", "Of the values that matched the second step, those that never matched the first; 0 while the window is not full."},
		{"reported", "values", "Sampled values of the second step older than grace: what unserved is a share of."},
		{"every", "values", "One of so many values is in the sample."},
	},
	CostNS: 20,
	Size:   func(p Params) int { return int(unsafe.Sizeof(coverageState{})) + 8*int(p["keep"]) },
	New: func(p Params) Stat {
		window := uint32(p["window"])
		return &coverage{grace: min(uint32(p["grace"]), window), window: window, keep: uint32(p["keep"])}
	},
}

// coverageState is followed by a ring of marks, the oldest at head.
type coverageState struct {
	clock         uint32 // newest time seen, s; 0 = none
	lowered       uint32 // when the level fell last, or the state began
	level, sure   uint8  // values of level and more zeros are kept; of only reported ones those of sure and more
	head, n, ripe uint16 // place of the oldest; marks; how many of the oldest are older than grace
	ripeServed    uint16
	ripeReported  uint16
	ripeBoth      uint16
	_             [4]uint16
}

// mark is one value: 32 bits of its hash, then zeros at the end of its hash (5 bits), the second
// in which it was first heard of (25, modulo a year and more), reported, served.
type mark uint64

const (
	served    mark = 1
	reported  mark = 2
	zerosBits      = 5
	timeBits       = 25
	unsure         = 1 << zerosBits // more zeros than any value has
)

func (m mark) hash() uint32 { return uint32(m >> 32) }
func (m mark) zeros() uint8 { return uint8(m >> (timeBits + 2) & (1<<zerosBits - 1)) }
func (m mark) age(now uint32) uint32 {
	return (now - uint32(m>>2)) & (1<<timeBits - 1)
}

func zerosOf(key uint64) uint8 { return uint8(min(bits.TrailingZeros32(uint32(key)), 1<<zerosBits-1)) }

type coverage struct{ grace, window, keep uint32 }

func (c *coverage) marks(s *coverageState) []mark {
	return unsafe.Slice((*mark)(unsafe.Add(unsafe.Pointer(s), unsafe.Sizeof(*s))), int(c.keep))
}

// at returns the i-th mark, the oldest first.
func (c *coverage) at(s *coverageState, i uint16) *mark {
	at := uint32(s.head) + uint32(i)
	if at >= c.keep {
		at -= c.keep
	}
	return &c.marks(s)[at]
}

func (c *coverage) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	s := (*coverageState)(state)
	c.advance(s, seconds(in.Now))
	if kind := mark(in.Steps & 3); kind != 0 {
		for _, key := range in.Keys {
			if zerosOf(key) >= s.level {
				c.note(s, key, kind)
			}
		}
	}
	if !in.Mute {
		s.write(out)
	}
}

// Read does not let time go on: what ripens or becomes too old shows at the next event.
func (c *coverage) Read(state unsafe.Pointer, _ *Input, out *Outputs) {
	(*coverageState)(state).write(out)
}

func (s *coverageState) write(out *Outputs) {
	_ = out[4]
	out[0], out[1], out[2], out[3], out[4] = 1, float64(s.ripeServed), 0, float64(s.ripeReported), float64(uint64(1)<<s.level)
	if s.ripeServed > 0 {
		out[0] = float64(s.ripeBoth) / float64(s.ripeServed)
	}
	// While no value that is only reported was kept, none can be said to be unserved.
	if s.ripeReported > 0 {
		out[2] = 1 - float64(s.ripeBoth)/float64(s.ripeReported)
	}
}

// count adds or takes away a ripe mark.
func (s *coverageState) count(m mark, by uint16) {
	if m&served != 0 {
		s.ripeServed += by
	}
	if m&reported != 0 {
		s.ripeReported += by
	}
	if m&(served|reported) == served|reported {
		s.ripeBoth += by
	}
}

// advance moves the clock on.
func (c *coverage) advance(s *coverageState, now uint32) {
	if s.clock == 0 {
		s.clock, s.lowered, s.sure = now, now, unsure
	}
	if now > s.clock {
		if now-s.clock >= 1<<timeBits-1-c.window { // a year of nothing: ages would wrap around
			*s = coverageState{level: s.level, sure: unsure, clock: now, lowered: now}
		}
		s.clock = now
	}
	for s.n > 0 && c.at(s, 0).age(s.clock) > c.window {
		if s.ripe > 0 {
			s.count(*c.at(s, 0), ^uint16(0))
			s.ripe--
		}
		s.n--
		if s.head++; uint32(s.head) == c.keep {
			s.head = 0
		}
	}
	for s.ripe < s.n && c.at(s, s.ripe).age(s.clock) >= c.grace {
		s.count(*c.at(s, s.ripe), 1)
		s.ripe++
	}
	if s.clock-s.lowered > c.window {
		s.sure = s.level
		if s.level > 0 && uint32(s.n) < c.keep/4 {
			s.level--
			s.lowered = s.clock
		}
	}
}

// note takes in that a value was in the streams of kind.
func (c *coverage) note(s *coverageState, key uint64, kind mark) {
	zeros := zerosOf(key)
	if i := c.find(s, uint32(key>>32), zeros); i < s.n {
		m := c.at(s, i)
		if i < s.ripe && *m|kind != *m {
			s.count(*m, ^uint16(0))
			s.count(*m|kind, 1)
		}
		*m |= kind
		return
	}
	if kind == reported && zeros < s.sure {
		return
	}
	for uint32(s.n) == c.keep {
		if s.level == unsure-1 {
			return
		}
		c.raise(s)
	}
	if zeros < s.level {
		return
	}
	*c.at(s, s.n) = mark(key>>32)<<32 | mark(zeros)<<(timeBits+2) | mark(s.clock&(1<<timeBits-1))<<2 | kind
	s.n++
}

// find returns the place of a value, s.n when it is not kept.
func (c *coverage) find(s *coverageState, hash uint32, zeros uint8) uint16 {
	all := c.marks(s)
	first := all[s.head:min(uint32(s.head)+uint32(s.n), c.keep)]
	for i, m := range first {
		if m.hash() == hash && m.zeros() == zeros {
			return uint16(i)
		}
	}
	for i, m := range all[:int(s.n)-len(first)] {
		if m.hash() == hash && m.zeros() == zeros {
			return uint16(len(first) + i)
		}
	}
	return s.n
}

// raise gives up the values with the fewest zeros.
func (c *coverage) raise(s *coverageState) {
	s.level++
	s.sure = max(s.sure, s.level)
	kept, ripe := uint16(0), uint16(0)
	s.ripeServed, s.ripeReported, s.ripeBoth = 0, 0, 0
	for i := range s.n {
		m := *c.at(s, i)
		if m.zeros() < s.level {
			continue
		}
		*c.at(s, kept) = m
		kept++
		if i < s.ripe {
			s.count(m, 1)
			ripe++
		}
	}
	s.n, s.ripe = kept, ripe
}
