package feature

import "math"

// short is a number in 16 bits: a sign, six bits of exponent and nine of fraction. Whole numbers up to 1,024 are exact,
// others are to a part in a thousand; the largest is 2·10¹⁵. It is for what is kept of the past, many times over, where 32
// bits would say no more.
type short uint16

// shortUnit is what a short is worth by what a float32 with the same bits, and two more of exponent, is worth.
const shortUnit = 1 << 114

// shortMost is the largest short.
const shortMost = 1<<51 - 1<<41

// The ways in which a number is rounded, by what is added to the bits that a short has no room for.
const (
	toZero    = 0
	toNearest = 1 << 13
	awayFrom0 = 1<<14 - 1
)

// shorten rounds v, which is bounded.
func shorten(v float64, way uint32) short {
	b := math.Float32bits(float32(v / shortUnit))
	return short(b>>16&0x8000 | min(b&math.MaxInt32+way, math.MaxInt32>>2)>>14)
}

// raw is the short by its unit.
func (s short) raw() float32 {
	return math.Float32frombits(uint32(s)&0x8000<<16 | uint32(s)&0x7FFF<<14)
}

func (s short) value() float64 { return float64(s.raw()) * shortUnit }

// bounded keeps v within what a short can hold.
func bounded(v float64) float64 {
	if v > shortMost {
		return shortMost
	}
	if v < -shortMost {
		return -shortMost
	}
	return v
}
