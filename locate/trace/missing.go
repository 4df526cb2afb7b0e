package trace

import (
	"fmt"
	"math"
)

// fallShort says in words why nothing is named, and what would settle it.
func (c *trial) fallShort(a *Answer) (why, missing string) {
	n := len(c.orders)
	switch {
	case n == 0:
		return "none of these orders was ever seen here", "check the ids, or ask over a longer time: what is older than is kept is unknown"
	case len(a.Sources) == 0:
		return "nobody had more than one of these orders in hand before they leaked", c.more(nil)
	}
	s := &a.Sources[0]
	switch {
	case s.Unnamed != "":
		return fmt.Sprintf("%s is likely (%.2f), but %s", s.Name, s.Posterior, s.Unnamed), c.more(s)
	case a.None >= namedFrom:
		return fmt.Sprintf("these orders have hardly more in common than chance gives: with a probability of %.2f none of those seen is the source", a.None), c.more(s)
	}
	if len(a.Sources) > 1 {
		if t := &a.Sources[1]; s.Posterior+t.Posterior >= namedFrom && 2*t.Posterior >= s.Posterior {
			return fmt.Sprintf("%s (%.2f) and %s (%.2f) had nearly the same of these orders in hand", s.Name, s.Posterior, t.Name, t.Posterior),
				"complaints about orders that only one of the two had in hand"
		}
	}
	return fmt.Sprintf("the likeliest, %s, has a probability of %s; a name needs %g", s.Name, Probability(s.Posterior), namedFrom), c.more(s)
}

const (
	surely   = 3   // log of the odds (20 to 1) at which a source stands out
	mostMore = 200 // complaints: who needs more than these will not stand out
)

// more says how many more complaints like these would make the likeliest source stand out: its evidence grows by as much for each, and the logarithm
// of the chance of somebody innocent falls by as much.
func (c *trial) more(s *Source) string {
	n := len(c.orders)
	if s == nil || len(s.lead.hits) < namedHits || n < namedHits {
		return fmt.Sprintf("more complaints: nobody is named by fewer than %d that lead to the same hand, and mostly 10 are needed", namedHits)
	}
	x := s.lead
	if lift, risk := c.lift(x); lift < namedLift && risk < namedRisk {
		return "complaints of other shops and weeks, and about orders that it never had in hand: these tell business from guilt"
	}
	if x.alone > 0 && x.p < 1 {
		k := math.Ceil(float64(n) * max((surely-x.prior)/x.alone-1, math.Log(max(x.adjusted, namedP)/namedP)/-math.Log(max(x.p, 1e-300))))
		if k <= mostMore {
			return fmt.Sprintf("about %.0f more complaints like these would settle whether it is %s", max(k, 2), title(s.unit.members[0]))
		}
	}
	return "complaints about other orders of the same weeks, with the time at which each customer was called"
}
