package feature

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unsafe"

	"github.com/moat-platform/moat"
)

// distinctKind counts different values in a sliding window.
//
// State: two generations of half a window each, 112 bytes; one for ever, 64.
// A generation holds up to 12 hashes of 32 bits and is exact (two values share
// a hash once in 4 billion); with the 13th value the same 48 bytes become 64
// registers of 6 bits. Cost: 10 ns when the value is known already; a change of
// the estimate costs 200 ns and becomes ever rarer.
//
// Formula: HyperLogLog (Flajolet 2007) with the estimator of Ertl (2017,
// arXiv:1702.01284, algorithm 6), which needs no tables against bias. The
// standard error is 1.04/√64 = 13 %. Both generations are united before
// counting, so that the window covers between a half and all of its length.
//
// Keys must be well mixed hashes, and keyed ones where a thief can choose values.
var distinctKind = Kind{
	Name:  "distinct",
	Doc:   "Number of different values in a sliding window: exact up to 12, then ±13 %. Good for breadth: orders, addresses, accounts of a device.",
	Value: Key,
	Blind: true,
	Also:  []Value{Keys},
	Params: []Param{{Name: "window", Unit: "duration", Default: 3600, Min: 0, Max: 400 * 86400,
		Doc: "How far back to look; 0 is for ever. Between a half and all of it is covered; less than 2 s counts as 2 s."}},
	Outputs: []Output{
		{"n", "values", "Different values in the window, this event's included."},
	},
	CostNS: 10,
	Size: func(p Params) int {
		if p["window"] == 0 {
			return int(unsafe.Sizeof(distinctHead{}) + unsafe.Sizeof(sketch{}))
		}
		return int(unsafe.Sizeof(distinctHead{}) + 2*unsafe.Sizeof(sketch{}))
	},
	New: func(p Params) Stat {
		if p["window"] == 0 {
			return &distinct{width: spanOf(math.MaxUint64), old: 0}
		}
		return &distinct{width: spanOf(uint64(math.Max(1, p["window"]/2) * float64(moat.Second))), old: 1}
	},
}

const (
	registers = 64
	few       = 12      // hashes that fit in the place of the registers
	many      = few + 1 // fill of a sketch that holds registers
	unknown   = -1      // an estimate that nobody asked for yet
)

// distinctHead precedes one or two sketches in the state.
type distinctHead struct {
	newest uint32   // number of the newest generation
	n      float32  // estimate of the union as it stands, or unknown
	fill   [2]uint8 // by generation modulo 2: how many hashes, or many
	_      [6]uint8
}

// sketch is a generation: few hashes of 4 bytes, or 64 registers of 6 bits.
type sketch [48]byte

// distinct counts; old is 1 when there is an older generation, else 0.
type distinct struct {
	width span
	old   uint32
}

func (d *distinct) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	h := (*distinctHead)(state)
	g := d.width.number(in.Now)
	changed := false
	if g > h.newest {
		d.turn(state, g)
		changed = true
	}
	if h.newest-g <= d.old {
		i := g & d.old
		s, fill := d.sketch(state, i), &h.fill[i]
		keys := in.Keys
		if in.Value != Keys {
			keys = unsafe.Slice(&in.Key, 1)
		}
		changed = s.addAll(fill, keys) || changed
	}
	if changed {
		h.n = unknown
	}
	if in.Mute {
		return
	}
	if h.n == unknown {
		h.n = d.estimate(state, h.newest)
	}
	out[0] = float64(h.n)
}

func (d *distinct) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	h := (*distinctHead)(state)
	n := h.n
	if g := d.width.number(in.Now); g > h.newest || n == unknown {
		n = d.estimate(state, max(g, h.newest))
	}
	out[0] = float64(n)
}

func (d *distinct) sketch(state unsafe.Pointer, i uint32) *sketch {
	return (*sketch)(unsafe.Add(state, unsafe.Sizeof(distinctHead{})+uintptr(i)*unsafe.Sizeof(sketch{})))
}

// turn begins generation g and forgets those that are too old then.
func (d *distinct) turn(state unsafe.Pointer, g uint32) {
	h := (*distinctHead)(state)
	for i := range d.old + 1 {
		if g-h.newest > d.old || i == g&d.old {
			h.fill[i] = 0
			*d.sketch(state, i) = sketch{}
		}
	}
	h.newest = g
}

// estimate counts the values in generation g and the one before.
func (d *distinct) estimate(state unsafe.Pointer, g uint32) float32 {
	h := (*distinctHead)(state)
	var empty sketch
	a, b := &empty, &empty
	var fa, fb uint8
	if g == h.newest {
		a, fa = d.sketch(state, g&d.old), h.fill[g&d.old]
	}
	if d.old == 1 && g-h.newest <= 1 {
		b, fb = d.sketch(state, (g-1)&1), h.fill[(g-1)&1]
	}
	if fa <= few && fb <= few {
		n := fa
		for i := range fb {
			if !a.holds(fa, b.hash(i)) {
				n++
			}
		}
		return float32(n)
	}
	var x, y lanesOf
	a.spread(fa, &x)
	b.spread(fb, &y)
	return float32(max(many, cardinality(x.higher(&y))))
}

func (s *sketch) hash(i uint8) uint32 { return binary.LittleEndian.Uint32(s[4*i:]) }

func (s *sketch) holds(fill uint8, h uint32) bool {
	for i := range fill {
		if s.hash(i) == h {
			return true
		}
	}
	return false
}

// addAll puts keys in and tells whether that changed anything.
func (s *sketch) addAll(fill *uint8, keys []uint64) (changed bool) {
	for len(keys) > 0 && *fill != many {
		changed = s.add(fill, keys[0]) || changed
		keys = keys[1:]
	}
	for _, k := range keys {
		changed = s.raise(k) || changed
	}
	return changed
}

// add puts a key among those that are kept whole, and tells whether that changed anything.
func (s *sketch) add(fill *uint8, key uint64) bool {
	h := uint32(key >> 32)
	if s.holds(*fill, h) {
		return false
	}
	if *fill < few {
		binary.LittleEndian.PutUint32(s[4**fill:], h)
		*fill++
		return true
	}
	old := *s
	*s, *fill = sketch{}, many
	for i := range uint8(few) {
		s.raise(whole(old.hash(i)))
	}
	s.raise(key)
	return true
}

// whole makes a key of the half of it that was kept; the bit ends the run of zeros.
func whole(hash uint32) uint64 { return uint64(hash)<<32 | 1<<31 }

// rank returns the register of a key, by its first 6 bits, and how high the key
// raises it: one more than the zeros that follow.
func rank(key uint64) (i int, r uint8) {
	return int(key >> 58), uint8(bits.LeadingZeros64(key<<6|1<<5)) + 1
}

// raise raises the key's register and tells whether it was lower. Four
// registers share three bytes.
func (s *sketch) raise(key uint64) bool {
	i, r := rank(key)
	// The last three bytes are read with one before them.
	at := min(i>>2*3, len(s)-4)
	shift := uint(i&3*6 + (i>>2*3-at)*8)
	p := (*[4]byte)(s[at:])
	w := binary.LittleEndian.Uint32(p[:])
	if w>>shift&63 >= uint32(r) {
		return false
	}
	binary.LittleEndian.PutUint32(p[:], w&^(63<<shift)|uint32(r)<<shift)
	return true
}

// lanesOf holds registers of one byte each, the first in the lowest byte: eight are compared at a time.
type lanesOf [registers / 8]uint64

// spread raises empty lanes to the registers of the sketch.
func (s *sketch) spread(fill uint8, l *lanesOf) {
	if fill <= few {
		for j := range fill {
			i, r := rank(whole(s.hash(j)))
			if shift := i % 8 * 8; uint8(l[i/8]>>shift) < r {
				l[i/8] = l[i/8]&^(0xFF<<shift) | uint64(r)<<shift
			}
		}
		return
	}
	for i := range l {
		p := s[6*i : 6*i+6 : 6*i+6]
		low := uint64(binary.LittleEndian.Uint32(p))
		high := low>>24 | uint64(binary.LittleEndian.Uint16(p[4:]))<<8
		w := low&0xFF_FFFF | high<<32
		l[i] = w&(63*everyFourth) | w<<2&(63<<8*everyFourth) | w<<4&(63<<16*everyFourth) | w<<6&(63<<24*everyFourth)
	}
}

const (
	everyFourth = 1<<32 | 1 // one byte in four
	highBits    = 0x8080_8080_8080_8080
	lowBits     = 0x7F7F_7F7F_7F7F_7F7F
)

// higher returns the higher of each two registers.
func (l *lanesOf) higher(o *lanesOf) *lanesOf {
	for i, a := range l {
		b := o[i]
		mask := ((a | highBits) - b) & highBits // the high bit of a byte says a >= b, as both are below 128
		mask |= mask - mask>>7
		l[i] = a&mask | b&^mask
	}
	return l
}

// cardinality is Ertl's improved raw estimator, without its correction for
// registers that are full, which 2⁵⁸ values would need.
func cardinality(l *lanesOf) float64 {
	const one = 1 << 57 // in fixed point: exact down to registers of 57
	var fixed uint64    // sum over registers of 2 to the power of −r
	zeros := 0
	for _, w := range l {
		fixed += one>>(w&63) + one>>(w>>8&63) + one>>(w>>16&63) + one>>(w>>24&63) +
			one>>(w>>32&63) + one>>(w>>40&63) + one>>(w>>48&63) + one>>(w>>56&63)
		zeros += bits.OnesCount64(highBits &^ (w + lowBits))
	}
	const m = registers
	if zeros == m {
		return 0
	}
	sum := float64(fixed-uint64(zeros)*one) / one
	x := float64(zeros) / m // from here: σ(x) = x + Σ x^(2^k) · 2^(k−1)
	sigma, y := x, 1.0
	for before := -1.0; sigma != before; y += y {
		before = sigma
		x *= x
		sigma += float64(x * y) // float64 forbids a fused step, which would differ by machine
	}
	return m * m / (2 * math.Ln2) / (sum + float64(m*sigma))
}
