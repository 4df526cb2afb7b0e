package canary

import "math"

// Power is the probability that at least one of n canaries is used, when a thief takes the share leak of a channel's orders and the
// share use of what was taken is used (called, sold on and called, tried): 1 − (1 − leak·use)^n. Each canary is taken and used with
// the same probability as any order, because it looks like one. With r = n / (N + n) canaries among N orders this is
// 1 − (1 − r)^k for k = leak·use·(N + n) used orders, up to terms of the order of r.
func Power(n int, leak, use float64) float64 {
	if n <= 0 {
		return 0
	}
	return -math.Expm1(float64(n) * math.Log1p(-clamp(leak)*clamp(use)))
}

// Needed is the least number of canaries with that power; -1 if no number has it.
func Needed(power, leak, use float64) int {
	q := clamp(leak) * clamp(use)
	switch {
	case power <= 0:
		return 0
	case q == 0 || power >= 1 && q < 1:
		return -1
	case q == 1:
		return 1
	}
	n := math.Ceil(math.Log1p(-power) / math.Log1p(-q) * (1 - 1e-12))
	if n > math.MaxInt32 {
		return -1
	}
	return int(n)
}

func clamp(p float64) float64 { return min(max(p, 0), 1) }
