package trace

import (
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// An order is compared with orders of its own time only. Complaints come in waves: where those of a few days are compared with orders of
// weeks, everybody who worked in these days had too many of them in hand. So the time of birth is divided where leaked orders are more frequent
// among all on one side than on the other, as a classification tree is grown, until what is left is what chance gives.

// Bounds of bins of birth.
const (
	maxBins    = 16
	binLeaks   = 8 // leaked orders of a bin at least
	binSampled = 8 // and controls
)

// divide finds the bins of birth.
func (c *trial) divide(found map[uint64][]Touch) {
	var leaks, others []moat.Time
	for i := range c.orders {
		leaks = append(leaks, c.orders[i].birth)
	}
	for _, touches := range found {
		if b := born(touches); c.bin(b) >= 0 {
			others = append(others, b)
		}
	}
	slices.Sort(leaks)
	slices.Sort(others)
	parts := []stratum{cut(leaks, others, math.Log(float64(len(leaks)+len(others))))}
	for len(parts) < maxBins {
		best := 0
		for i := range parts {
			if parts[i].gain > parts[best].gain {
				best = i
			}
		}
		p := parts[best]
		if p.gain <= 0 {
			break
		}
		parts[best] = cut(p.leaks[:p.at], p.others[:p.beside], p.cost)
		parts = append(parts, cut(p.leaks[p.at:], p.others[p.beside:], p.cost))
		c.edges = append(c.edges, p.leaks[p.at])
	}
	slices.Sort(c.edges)
	c.byBin, c.population.bins, c.population.when = make([][]int, len(c.edges)), make([]int, len(c.edges)), make([][slots]float64, len(c.edges))
	for i := range c.orders {
		b := c.bin(c.orders[i].birth)
		c.orders[i].bin, c.byBin[b] = b, append(c.byBin[b], i)
	}
}

// stratum is a time of birth: the births of the leaked orders and of the controls in it, and where it is best divided.
type stratum struct {
	leaks, others []moat.Time
	at, beside    int // before which of each
	gain, cost    float64
}

// cut finds where a stratum is best divided: gain is how much more the log likelihood rises than it costs.
func cut(leaks, others []moat.Time, cost float64) stratum {
	s := stratum{leaks: leaks, others: others, cost: cost}
	whole := likelihood(len(leaks), len(others))
	for i, j := binLeaks, 0; i <= len(leaks)-binLeaks; i++ {
		if leaks[i] == leaks[i-1] {
			continue
		}
		for j < len(others) && others[j] < leaks[i] {
			j++
		}
		if j < binSampled || len(others)-j < binSampled {
			continue
		}
		if g := likelihood(i, j) + likelihood(len(leaks)-i, len(others)-j) - whole - cost; g > s.gain {
			s.at, s.beside, s.gain = i, j, g
		}
	}
	return s
}

// likelihood is the log of that of a leaked and b other orders where as large a part leaks as did.
func likelihood(a, b int) float64 {
	x, y := float64(a), float64(b)
	return x*math.Log(max(x, 1)/max(x+y, 1)) + y*math.Log(max(y, 1)/max(x+y, 1))
}

// usual notes in which slots a control was in anybody's hand.
func (c *trial) usual(bin int, touches []Touch, leak moat.Time) {
	met := span(0)
	for i := range touches {
		if c.counts(&touches[i], leak) > 0 {
			met |= slotOf(touches[i].Time, c.from, c.to)
		}
	}
	for ; met != 0; met &= met - 1 {
		c.population.when[bin][met.first()]++
	}
}
