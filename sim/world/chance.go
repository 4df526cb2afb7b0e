package world

import (
	"math"
	"math/rand/v2"
)

// mix spreads the bits of two numbers over one (the finaliser of SplitMix64).
func mix(a, b uint64) uint64 {
	x := a ^ b*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// word makes a number of a text (FNV-1a).
func word(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// chance returns the randomness of one thing, told by a seed, in one respect on one day: what
// happens to others, or to it in another respect, does not change it.
func chance(seed uint64, respect string, day int) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed, word(respect)), uint64(day+7)))
}

// between returns a number from a to b.
func between(r *rand.Rand, a, b float64) float64 { return a + (b-a)*r.Float64() }

// within returns a whole number from a to b, both included.
func within(r *rand.Rand, a, b int) int { return a + r.IntN(max(1, b-a+1)) }

// pick returns one of list.
func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// yes is true with probability p.
func yes(r *rand.Rand, p float64) bool { return r.Float64() < p }

// spread returns a number around median: log-normal, sigma 0.5 keeps two thirds within a factor of 1.65.
func spread(r *rand.Rand, median, sigma float64) float64 {
	return median * math.Exp(sigma*r.NormFloat64())
}

// count returns a Poisson number.
func count(r *rand.Rand, mean float64) int {
	if mean > 50 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n, p, limit := 0, r.Float64(), math.Exp(-mean)
	for ; p > limit; n++ {
		p *= r.Float64()
	}
	return n
}

// weighted returns an index with a probability in proportion to its weight.
func weighted(r *rand.Rand, weights ...float64) int {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	at := r.Float64() * sum
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return len(weights) - 1
}

const hexDigits = "0123456789abcdef"

// hex returns n digits of a number's hash.
func hex(seed uint64, n int) string {
	b := make([]byte, n)
	var x uint64
	for i := range b {
		if i%16 == 0 {
			x = mix(seed, uint64(i)+0x51)
		}
		b[i] = hexDigits[x&15]
		x >>= 4
	}
	return string(b)
}

// digits returns n decimal digits of a number's hash, the first not 0.
func digits(seed uint64, n int) string {
	b := make([]byte, n)
	x := mix(seed, 0xd1)
	for i := range b {
		b[i] = '0' + byte(x%10)
		if x /= 10; x == 0 {
			x = mix(seed, uint64(i))
		}
	}
	b[0] = '1' + (b[0]-'0')%9
	return string(b)
}
