// Package digits reads decimal digits eight at a time.
//
// Use it where numbers are read by the million: of JSON, of order ids.
//
// It will not read signs, fractions or fewer digits: that is left to whoever asks.
package digits

// Eight returns the number that the eight bytes x, the first of them lowest, are the digits of; ok is false
// if they are not.
func Eight(x uint64) (n int64, ok bool) {
	const upper, threes, sixes = 0xf0f0f0f0f0f0f0f0, 0x3030303030303030, 0x0606060606060606
	if x&upper != threes || (x+sixes)&upper != threes { // digits have 3 as their upper half, and still have it after adding 6
		return 0, false
	}
	// Pairs of digits become numbers below 100, pairs of those below 10,000, and so on.
	x &^= upper
	x = x * (10<<8 + 1) >> 8 & 0x00ff00ff00ff00ff
	x = x * (100<<16 + 1) >> 16 & 0x0000ffff0000ffff
	return int64(x * (10_000<<32 + 1) >> 32), true
}
