package feature

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/moat-platform/moat"
)

// slots is the number of buckets of a ring. Eight make the window exact to an
// eighth, fit in 40 bytes, and are added up in a few nanoseconds.
const slots = 8

// ring is a sliding window of eight buckets, each of an eighth of the window.
// The newest bucket is usually begun and not yet full, so that a ring covers
// between 7/8 and all of its window. What a bucket holds (a number of events,
// the bits of a float32) is its user's business, but 0 must mean nothing.
type ring struct {
	newest uint32  // number of the newest bucket since 1970
	lost   float32 // what rounding took from the newest bucket; for sum
	slot   [slots]uint32
}

const ringSize = int(unsafe.Sizeof(ring{}))

// windowParam is the parameter of all kinds over a ring.
var windowParam = Param{Name: "window", Unit: "duration", Default: 3600, Min: 0, Max: 400 * 86400,
	Doc: "How far back to look; 0 is for ever. Exact to an eighth; less than 8 s counts as 8 s."}

// ringSizeOf is the size of a state that is a ring, or one number for ever.
func ringSizeOf(p Params) int {
	if p["window"] == 0 {
		return 8
	}
	return ringSize
}

// ringWidth is the width of a bucket.
func ringWidth(p Params) span {
	return spanOf(uint64(math.Max(1, p["window"]/slots) * float64(moat.Second)))
}

// number returns the number of the span of that width (in microseconds) that
// now is in. Times outside of 1970 and the last span that 32 bits can count
// belong to the first and the last span.
func number(now moat.Time, width uint64) uint32 {
	return uint32(min(uint64(max(now, 0))/width, math.MaxUint32))
}

// span is a width above 1, in microseconds as a rule, that numbers are divided by without a division, which most
// features would begin with. Its reciprocal is rounded up in 64 bits, and what that adds shows in no number below 2⁶³
// (Granlund and Montgomery 1994).
type span struct {
	reciprocal uint64
	shift      uint8
}

func spanOf(width uint64) span {
	shift := uint8(bits.Len64(width) - 1)
	if width&(width-1) == 0 {
		return span{1 << 63, shift - 1}
	}
	q, _ := bits.Div64(1<<shift, 0, width)
	return span{q + 1, shift}
}

// of returns n, which is below 2⁶³, divided by the width.
func (s span) of(n uint64) uint64 {
	high, _ := bits.Mul64(n, s.reciprocal)
	return high >> (s.shift & 63)
}

// number is [number] for a width that the compiler does not know.
func (s span) number(now moat.Time) uint32 {
	return uint32(min(s.of(uint64(max(now, 0))), math.MaxUint32))
}

// at returns the slot of bucket b and moves the window on when b is newer than
// all before. It returns nil when b is too old for the window.
func (r *ring) at(b uint32) *uint32 {
	if b != r.newest {
		if b > r.newest {
			r.turn(b)
		} else if r.newest-b >= slots {
			return nil
		}
	}
	return &r.slot[b%slots]
}

// turn makes b the newest bucket and empties all that it pushes out.
func (r *ring) turn(b uint32) {
	r.lost = 0
	if b-r.newest >= slots {
		r.slot = [slots]uint32{}
		r.newest = b
		return
	}
	for r.newest != b {
		r.newest++
		r.slot[r.newest%slots] = 0
	}
}

// until returns the ring as it stands when bucket b has come, without changing it.
func (r *ring) until(b uint32) ring {
	s := *r
	if b > s.newest {
		s.turn(b)
	}
	return s
}
