package feature

import (
	"math"
	"math/bits"
	"unsafe"

	"github.com/moat-platform/moat"
)

// slots is the number of buckets of a ring. Eight make the window exact to an
// eighth and fit, with what they come to, in half a line of memory.
const slots = 8

// ring is a sliding window of eight buckets, each of an eighth of the window.
// The newest bucket is usually begun and not yet full, so that a ring covers
// between 7/8 and all of its window. What a bucket holds (a total, a maximum)
// is its user's business, but 0 must mean nothing.
type ring struct {
	now    float64      // what the newest bucket holds
	newest uint32       // its number since 1970
	past   float32      // what the older ones come to
	slot   [slots]short // what they hold; 0 for the newest
}

const ringSize = int(unsafe.Sizeof(ring{}))

// windowParam is the parameter of all kinds over a ring.
var windowParam = Param{Name: "window", Unit: "duration", Default: 3600, Min: 0, Max: 400 * 86400,
	Doc: "How far back to look; 0 is for ever. Exact to an eighth, and what is in an eighth to a part in 500 beyond 1,024; less than 8 s counts as 8 s."}

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

// turn makes b, which is newer than all before, the newest bucket and empties all that it pushes out. What the one before
// held is rounded in that way. The user has to reckon past anew.
func (r *ring) turn(b, way uint32) {
	if b-r.newest >= slots {
		*r = ring{newest: b}
		return
	}
	r.slot[r.newest%slots] = shorten(r.now, way)
	for r.newest != b {
		r.newest++
		r.slot[r.newest%slots] = 0
	}
	r.now = 0
}

// add adds v to the total of bucket b.
func (r *ring) add(b uint32, v float64) {
	if b != r.newest {
		v = r.other(b, v)
	}
	r.now = bounded(r.now + v)
}

// other makes b the newest bucket or, if it is older, adds v to it, and returns what is left to be added to the newest: an old
// bucket has no room for parts of its last place, and what it would lose event by event stays in the window a little longer.
func (r *ring) other(b uint32, v float64) (left float64) {
	switch {
	case b > r.newest:
		r.turn(b, toNearest)
	case r.newest-b >= slots:
		return 0
	default:
		slot := &r.slot[b%slots]
		sum := bounded(v + slot.value())
		*slot = shorten(sum, toZero)
		v = sum - slot.value()
	}
	sum := float32(0)
	for _, s := range r.slot {
		sum += s.raw()
	}
	r.past = sum * shortUnit
	return v
}

// total is what all buckets hold.
func (r *ring) total() float64 { return r.now + float64(r.past) }

// totalAt is the total as it stands when bucket b has come.
func (r *ring) totalAt(b uint32) float64 {
	if b <= r.newest {
		return r.total()
	}
	later := *r
	later.other(b, 0)
	return later.total()
}
