package trace

import (
	"math"
	"math/bits"
	"slices"

	"github.com/moat-platform/moat"
)

// span is some of the time that is looked at, as a bit for each of its 64 slots.
type span uint64

const (
	slots  = 64
	always = ^span(0)

	// A window in which a source leaked is looked for in steps of so many slots, and then about the likeliest. There are so many
	// windows besides all of the time.
	coarse  = 4
	windows = (slots/coarse)*(slots/coarse+1)/2 - 1

	// A window that is so much (e^-8) less likely than all of the time is not weighed any further.
	windowLog = 8
)

// slotOf returns the slot of a time in a window; what is outside belongs to the nearest.
func slotOf(t, from, to moat.Time) span {
	if t <= from || to <= from {
		return 1
	}
	return 1 << min(slots-1, (t-from)/max(1, (to-from)/slots))
}

// between is a window from one slot up to another.
func between(lo, hi int) span { return always >> (slots - hi + lo) << lo }

// view is a candidate that leaked in a window only.
type view struct {
	*candidate
	when    span
	exposed float64 // in the window
}

func (x *candidate) whole() view { return view{x, always, x.exposed} }

// in returns x in a window. Where what it had in hand is estimated from few orders, more is taken for likely: else chance
// would find the window in which the sample has none.
func (x *candidate) in(w span) view {
	if w == always {
		return x.whole()
	}
	n, all := 0.5, 0.5
	for _, m := range x.when {
		all += x.odd(m)
		if m &= w; m != 0 {
			n += x.odd(m)
		}
	}
	if !x.exact {
		n += math.Sqrt(n)
	}
	v := view{x, w, x.exposed * min(1, n/all)}
	had := 0.0
	for i := range x.hits {
		if x.hits[i].when&w != 0 {
			had += x.hits[i].shown
		}
	}
	v.exposed = max(v.exposed, had)
	return v
}

// odd is the chance that an order that was in hand in some slots is to be compared.
func (x *candidate) odd(m span) float64 {
	if x.odds == nil {
		return 1
	}
	return x.odds[m.first()]
}

// lone is a candidate on its own: the leaked orders that it had in hand, those that count alike together.
type lone struct {
	*candidate
	groups []tally // ratio as if one order had been in hand
	of     []int32 // group of each hit
	total  float64 // weight of all leaked orders
	list   []tally // room to tally
}

func (c *trial) lone(x *candidate) *lone {
	l := &lone{candidate: x, of: make([]int32, len(x.hits))}
	for i := range c.orders {
		l.total += c.orders[i].weight
	}
	v := view{x, always, 1}
	for i := range x.hits {
		r := c.ratio(v, &x.hits[i])
		k := slices.IndexFunc(l.groups, func(t tally) bool { return t.ratio == r })
		if k < 0 {
			k = len(l.groups)
			l.groups = append(l.groups, tally{ratio: r})
		}
		l.of[i] = int32(k)
	}
	l.list = make([]tally, len(l.groups)+1)
	return l
}

// evidence is how well it explains the leak if it leaked in a window.
func (l *lone) evidence(c *trial, w span) float64 {
	v := l.in(w)
	for i, t := range l.groups {
		l.list[i] = tally{0, t.ratio / v.exposed}
	}
	rest := l.total
	for i := range l.hits {
		if h := &l.hits[i]; h.when&w != 0 {
			l.list[l.of[i]].weight += c.orders[h.order].weight
			rest -= c.orders[h.order].weight
		}
	}
	l.list[len(l.groups)] = tally{max(0, rest), 0}
	log, _ := evidenceOf(l.list)
	return log
}

// watch finds how well x alone explains the leak: all of the time that is looked at, or some window of it, are as likely beforehand. The
// likeliest window stands for all of them. Of who is not worth it none is looked for.
func (c *trial) watch(x *candidate, worth bool) {
	l := c.lone(x)
	x.full, x.window, x.inWindow = l.evidence(c, always), always, math.Inf(-1)
	if worth && len(x.when) >= minSeen {
		best := math.Inf(-1)
		try := func(lo, hi int, share float64) {
			w := between(lo, hi)
			if hi <= lo || w == always || x.met(w) < max(2, len(x.hits)/3) {
				return
			}
			e := l.evidence(c, w)
			x.inWindow = logAdd(x.inWindow, e-share)
			if e > best {
				best, x.window = e, w
			}
		}
		for lo := 0; lo < slots; lo += coarse {
			for hi := lo + coarse; hi <= slots; hi += coarse {
				try(lo, hi, math.Log(windows))
			}
		}
		if x.window != always { // a thief keeps to no grid
			lo, hi := x.window.bounds()
			for a := max(0, lo-coarse+1); a < lo+coarse; a++ {
				for b := hi - coarse + 1; b < min(slots+1, hi+coarse); b++ {
					if a%coarse != 0 || b%coarse != 0 {
						try(a, b, math.Log(windows*coarse*coarse))
					}
				}
			}
		}
	}
	x.alone = logAdd(x.full, x.inWindow) - math.Ln2
}

// first is the first slot.
func (s span) first() int { return bits.TrailingZeros64(uint64(s)) }

// bounds are the first slot of a window and the one after its last.
func (s span) bounds() (lo, hi int) {
	return bits.TrailingZeros64(uint64(s)), slots - bits.LeadingZeros64(uint64(s))
}

// minSeen is the least number of orders that a candidate had in hand, as far as they were looked at, to look for a window.
const minSeen = 8

// met counts the leaked orders that x had in hand in a window.
func (x *candidate) met(w span) (n int) {
	for i := range x.hits {
		if x.hits[i].when&w != 0 {
			n++
		}
	}
	return n
}

// form is a unit that leaked all of the time, or in a window only.
type form struct {
	view
	unit  int
	prior float64 // log, beside that of the unit

	places []*place // if it is what the unit's person had in hand at some places only

	level  []uint16  // of each leaked order, see [trial.level]
	ratios []float64 // by level: how much likelier an order is than by noise
}

// shape makes the forms of the units.
func (c *trial) shape() {
	for i, u := range c.units {
		x, prior := u.lead, -math.Ln2
		if len(u.places) > 0 {
			prior += math.Log(1 - placesShare)
		}
		c.forms = append(c.forms, form{view: x.whole(), unit: i, prior: prior})
		if x.window != always && x.inWindow > x.full-windowLog {
			v := x.in(x.window)
			c.forms = append(c.forms, form{view: v, unit: i, prior: x.inWindow + prior - c.lone(x).evidence(c, x.window)})
		}
		if len(u.places) > 0 {
			c.shapePlaces(i)
		}
	}
	for i := range c.forms {
		c.level(&c.forms[i])
	}
}
