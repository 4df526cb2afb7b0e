package trace

import (
	"cmp"
	"math"
	"slices"
)

// tail is the probability that of n orders drawn from N by chance, K of which leaked, k or more are
// leaked ones: the upper tail of the hypergeometric distribution.
func tail(N, K, n, k int) float64 {
	if k <= max(0, n+K-N) {
		return 1
	}
	if k > min(n, K) {
		return 0
	}
	choose := func(a, b int) float64 {
		return logGamma(float64(a+1)) - logGamma(float64(b+1)) - logGamma(float64(a-b+1))
	}
	term := math.Exp(choose(K, k) + choose(N-K, n-k) - choose(N, n))
	sum := term
	for j := k; j < min(n, K) && term > sum*1e-17; j++ {
		term *= float64(K-j) * float64(n-j) / (float64(j+1) * float64(N-K-n+j+1))
		sum += term
	}
	return min(1, sum)
}

// adjust corrects p-values for how many there are, so that of those below q at most a share of q is
// chance (Benjamini and Hochberg 1995). tests may be more than the values: the others are taken to be larger.
func adjust(p []float64, tests int) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(p[a], p[b]), a-b) })
	out := make([]float64, len(p))
	least := 1.0
	for rank := len(order); rank > 0; rank-- {
		i := order[rank-1]
		least = min(least, p[i]*float64(max(tests, len(p)))/float64(rank))
		out[i] = least
	}
	return out
}

// correct sets the p-values of candidates, among the orders that are left: as if each had had as many orders in hand in all times alike as
// chance would have it meet the same number of leaked ones. Of who leaked in a window only it is the smaller of two, for all of the time and
// for the window, of which there are many.
func (c *trial) correct(list []*candidate) {
	K := c.left
	N := max(int(math.Round(c.population.orders))-len(c.orders)+K, K)
	p := make([]float64, len(list))
	for i, x := range list {
		p[i] = c.chance(x, always, N)
		if w := c.leaking(x); w != always {
			p[i] = min(1, 2*min(p[i], windows*c.chance(x, w, N)))
		}
		x.p = p[i]
	}
	tests := 0.0
	for i := range c.kinds {
		if c.kinds[i].seen > 0 {
			tests += c.kinds[i].all()
		}
	}
	for i, q := range adjust(p, int(tests)) {
		list[i].adjusted = q
	}
}

// chance is the probability that x had as many leaked orders in hand in a window by chance, among N of which those that are left leaked. What
// chance would give is only estimated: the less surely, the more it may be.
func (c *trial) chance(x *candidate, w span, N int) float64 {
	hits, _ := c.within(x, w)
	e, sure := c.expected(x, w)
	if float64(hits) <= e { // the sums of the tails would begin too far from their middle
		return 1
	}
	n := min(N, max(int(math.Round(e*float64(N)/float64(max(1, c.left)))), hits))
	return max(tail(N, c.left, n, hits), unsure(c.left, e/float64(max(1, c.left)), sure, hits))
}

// unsure is the probability of k or more among K if each is one with a chance that is known as surely as if it had been counted in that many
// orders of the sort: the upper tail of the beta-binomial distribution.
func unsure(K int, chance, sure float64, k int) float64 {
	switch {
	case k <= 0 || chance >= 1:
		return 1
	case k > K:
		return 0
	}
	a := sure
	b := a * (1 - chance) / max(chance, 1e-12)
	logBeta := func(a, b float64) float64 { return logGamma(a) + logGamma(b) - logGamma(a+b) }
	n, j := float64(K), float64(k)
	choose := logGamma(n+1) - logGamma(j+1) - logGamma(n-j+1)
	term := math.Exp(choose + logBeta(j+a, n-j+b) - logBeta(a, b))
	sum := term
	for ; j < n && term > sum*1e-12; j++ {
		term *= (n - j) / (j + 1) * (j + a) / (n - j - 1 + b)
		sum += term
	}
	return min(1, sum)
}

// guilt is the probability that x leaked any of the orders if each order came from elsewhere with
// probability p, else from any of those of x's kind who had it, each as likely (Papadimitriou and
// Garcia-Molina 2011). It knows nothing of those orders that x had and that did not leak.
func (c *trial) guilt(x *candidate, p float64) float64 {
	innocent := 1.0
	for i := range x.hits {
		innocent *= 1 - (1-p)/float64(max(1, c.orders[x.hits[i].order].holders[slot(x.Kind)]))
	}
	return 1 - innocent
}
