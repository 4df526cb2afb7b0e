package trace

import (
	"math"
	"math/bits"
	"slices"
)

// A pattern is leaked orders that all sources of a set explain equally well.
type pattern struct {
	weight float64
	ratio  []float64 // by source: how much likelier than noise
}

// patterns returns the leaked orders as patterns for a set of forms. They are valid until the next call.
func (c *trial) patterns(forms []int) []pattern {
	r := &c.room
	r.begin(len(c.orders))
	for i := range c.orders {
		if c.orders[i].taken {
			continue
		}
		key := uint64(0)
		for _, n := range forms {
			key = key<<levelBits | uint64(c.forms[n].level[i])
		}
		p, ok := r.number(key)
		if !ok {
			for _, n := range forms {
				r.ratios = append(r.ratios, c.forms[n].ratios[c.forms[n].level[i]])
			}
			r.list = append(r.list, pattern{})
		}
		r.list[p].weight += c.orders[i].weight
	}
	for p := range r.list {
		r.list[p].ratio = r.ratios[p*len(forms) : (p+1)*len(forms)]
	}
	return r.list
}

// level finds which leaked orders a form explains equally well: those of one level. Level 0 is those that it does not explain.
func (c *trial) level(f *form) {
	f.level, f.ratios = make([]uint16, len(c.orders)), []float64{0}
	for i := range f.hits {
		r := float64(float32(c.ratio(f.view, &f.hits[i])))
		k := slices.Index(f.ratios, r)
		if k < 0 {
			k = len(f.ratios)
			f.ratios = append(f.ratios, r)
		}
		f.level[f.hits[i].order] = uint16(k)
	}
}

// levelBits is enough for the level of an order: a form has no more levels than there are orders, and one.
const levelBits = 12

// room is memory for the patterns of one set after the other, with the numbers of their keys. A map would take most of the time of a comparison.
type room struct {
	list   []pattern
	ratios []float64
	slots  []numbered
	turn   uint32
}

type numbered struct {
	key    uint64
	turn   uint32 // in which it was taken; those of others are free
	number int32
}

// begin forgets all keys. There will be at most n.
func (r *room) begin(n int) {
	r.list, r.ratios = r.list[:0], r.ratios[:0]
	if r.turn++; len(r.slots) < 2*n {
		r.slots = make([]numbered, 1<<bits.Len(uint(2*n)))
	}
}

// number returns the number of a key, and whether it had one. Numbers rise from 0.
func (r *room) number(key uint64) (int32, bool) {
	mask := uint64(len(r.slots) - 1)
	for i := key * 0x9e3779b97f4a7c15 >> 32 & mask; ; i = (i + 1) & mask {
		switch s := &r.slots[i]; {
		case s.turn != r.turn:
			*s = numbered{key, r.turn, int32(len(r.list))}
			return s.number, false
		case s.key == key:
			return s.number, true
		}
	}
}

// fit is how a set of sources explains the leak.
type fit struct {
	log   float64   // of the evidence, against noise alone
	share []float64 // of the leak: noise first, then each source
}

// logEvidence integrates the likelihood of the mixture of noise and m sources over all shares of them,
// each equally likely beforehand (a flat Dirichlet). The likelihood of an order is
// share[0] + Σ share[j]·ratio[j], relative to noise.
//
// The mode in coordinates without bounds (share = softmax η) is found by expectation maximisation,
// the integral about it by Laplace's method, with the exact curvature.
func logEvidence(list []pattern, m int) fit {
	share, total := maximise(list, m, 1)
	l := logGamma(float64(m + 1)) // of the flat Dirichlet
	for _, s := range share {
		l += math.Log(s)
	}
	h := make([][]float64, m) // minus the Hessian
	for a := range h {
		h[a] = make([]float64, m)
		for b := range h[a] {
			h[a][b] = (total + float64(m+1)) * share[a+1] * (delta(a, b) - share[b+1])
		}
	}
	mine := make([]float64, m)
	for i := range list {
		p := &list[i]
		sum := share[0]
		for j, r := range p.ratio {
			mine[j] = share[j+1] * r
			sum += mine[j]
		}
		l += p.weight * math.Log(sum)
		for a := range m {
			pa := mine[a] / sum
			for b := range m {
				h[a][b] -= p.weight * pa * (delta(a, b) - mine[b]/sum)
			}
		}
	}
	return fit{log: l + float64(m)/2*math.Log(2*math.Pi) - logDet(h)/2, share: share}
}

func delta(a, b int) float64 {
	if a == b {
		return 1
	}
	return 0
}

func logGamma(x float64) float64 {
	l, _ := math.Lgamma(x)
	return l
}

// maximise finds the most likely shares by expectation maximisation, with as many orders of each as
// prior knowledge: 0 gives the maximum of the likelihood.
func maximise(list []pattern, m int, prior float64) (share []float64, total float64) {
	share = make([]float64, m+1)
	for j := range share {
		share[j] = 1 / float64(m+1)
	}
	for i := range list {
		total += list[i].weight
	}
	next := make([]float64, m+1)
	for range maxSteps {
		for j := range next {
			next[j] = prior
		}
		for i := range list {
			p := &list[i]
			sum := share[0]
			for j, r := range p.ratio {
				sum += share[j+1] * r
			}
			next[0] += p.weight * share[0] / sum
			for j, r := range p.ratio {
				next[j+1] += p.weight * share[j+1] * r / sum
			}
		}
		moved := 0.0
		for j := range share {
			n := next[j] / (total + prior*float64(m+1))
			moved = max(moved, math.Abs(n-share[j]))
			share[j] = n
		}
		if moved < 1e-6 {
			break
		}
	}
	return share, total
}

// tally is leaked orders that one source explains equally well.
type tally struct{ weight, ratio float64 }

// evidenceOf is [logEvidence] for one source. The mode is the only zero of a falling function of its share: Newton's method
// finds it between bounds that close in.
func evidenceOf(list []tally) (log, share float64) {
	lo, hi, s := 0.0, 1.0, 0.5
	for range maxSteps {
		slope, bend := 1/s-1/(1-s), -1/(s*s)-1/((1-s)*(1-s))
		for _, t := range list {
			d := (t.ratio - 1) / (1 + s*(t.ratio-1))
			slope += t.weight * d
			bend -= t.weight * d * d
		}
		if slope > 0 {
			lo = s
		} else {
			hi = s
		}
		next := s - slope/bend
		if next <= lo || next >= hi {
			next = (lo + hi) / 2
		}
		if math.Abs(next-s) < 1e-7*s {
			break
		}
		s = next
	}
	total, h := 2.0, 0.0
	log = math.Log(s) + math.Log(1-s) + math.Log(2*math.Pi)/2
	for _, t := range list {
		sum := 1 - s + s*t.ratio
		mine := s * t.ratio / sum
		log += t.weight * math.Log(sum)
		total += t.weight
		h -= t.weight * mine * (1 - mine)
	}
	h += total * s * (1 - s)
	return log - math.Log(max(h, 1e-18))/2, s
}

const maxSteps = 300

// logDet is the logarithm of the determinant of a small positive definite matrix, by Cholesky.
// Where rounding made it less, it is as if the curvature were slight.
func logDet(h [][]float64) (l float64) {
	n := len(h)
	c := make([][]float64, n)
	for i := range n {
		c[i] = slices.Clone(h[i])
		for j := range i + 1 {
			s := h[i][j]
			for k := range j {
				s -= c[i][k] * c[j][k]
			}
			if i == j {
				c[i][i] = math.Sqrt(max(s, 1e-9))
				l += 2 * math.Log(c[i][i])
			} else {
				c[i][j] = s / c[j][j]
			}
		}
	}
	return l
}
