package trace

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/moat-platform/moat"
)

// What a source that is named must reach, among the orders that nothing named before it explains.
const (
	namedFrom = 0.5  // posterior
	namedLift = 2.0  // times more leaked orders than chance would have it: less is business, not guilt
	amongLift = 3.0  // the same where there are several leaks, since who works beside a thief has more of them, too
	namedRisk = 4.0  // times more often orders that it had in hand leaked than others: enough for who had half of all in hand
	namedP    = 0.01 // corrected
	namedHits = 3    // leaked orders
	// Where there are several leaks, the orders alone must not speak for anybody else: of those who work beside a thief that one would be named whose kind steals most.
	namedMargin = 1.0
	maxNamed    = 64
)

// Complaints of weeks come from many leaks at once, and no five sources explain them: the widest would best, an app through which most of
// them went, and what those who leaked have in common. So where more than one look is needed, the narrowest is named first, the
// orders that it explains are taken out, and the rest is looked at again, until nothing more is carried.

// expected is how many of the leaked orders that are left x would have had in hand in a window by chance: of those of each time of birth as large a part
// as of all orders that were born then. When x had what in hand is estimated from the controls that it touched, and as usual where they are few.
// sure is the number of orders whose count would be as sure as that estimate is.
func (c *trial) expected(x *candidate, w span) (e, sure float64) {
	had := make([]float64, len(c.sizes))
	usual := 1e-9
	for b := range had {
		had[b] = c.sizes[b] / c.population.orders
		if w != always {
			had[b] = had[b] / float64(max(1, c.population.bins[b])) * c.inHand(b, w)
		}
		usual += had[b]
	}
	all := 0.0
	for b := range had {
		had[b] *= fewControls / usual
	}
	for i, b := range x.bins {
		if x.sights[i]&w != 0 {
			had[b] += c.sizes[b] / float64(max(1, c.population.bins[b])) * float64(c.population.found) / c.population.orders
		}
	}
	for b := range had {
		all += had[b]
	}
	_, part := c.within(x, w)
	squares := 0.0
	for b, n := range c.sizes {
		rate := c.leaks[b] * min(1, c.had(x)*part*had[b]/all/n)
		e += rate
		if had[b] > 0 {
			squares += rate * rate * all / had[b]
		}
	}
	mean := max(e, 1e-9)
	vary := max(0, squares/(mean*mean)-1) / all // of the rates among what x had in hand, and so of their mean
	if !x.exact {
		vary += 1 / float64(len(x.controls)+1)
	}
	return e, 1 / max(vary, 1e-6)
}

// inHand counts the slots of a window in which controls of a bin were in hand.
func (c *trial) inHand(bin int, w span) (n float64) {
	for ; w != 0; w &= w - 1 {
		n += c.population.when[bin][w.first()]
	}
	return n
}

// fewControls is how many controls what is usual counts for when it is estimated which orders somebody had in hand.
const fewControls = 3

// lift is how many times more of the leaked orders that are left x had in hand than chance would have it, in the time in which it leaked. risk
// is how many times more often orders that x had in hand leaked than others of the same time did, as if one more of these had: who had half of all
// orders in hand can have no lift above two.
func (c *trial) lift(x *candidate) (lift, risk float64) {
	w := c.leaking(x)
	hits, _ := c.within(x, w)
	e, _ := c.expected(x, w)
	lift = float64(hits) / max(1e-9, e)
	return lift, lift / (float64(c.left-hits+1) / (max(0, float64(c.left)-e) + 1))
}

// leaking is the window in which x most likely leaked. A few orders tell none, and of several leaks there is always one in which who works
// beside a thief had too many.
func (c *trial) leaking(x *candidate) span {
	if c.several || len(x.hits) < minSeen || x.window == 0 || x.inWindow <= x.full {
		return always
	}
	return x.window
}

// within is how many of the leaked orders x had in hand in a window, and which part of all that it had in hand that is.
func (c *trial) within(x *candidate, w span) (hits int, part float64) {
	if w == always {
		return len(x.hits), 1
	}
	return x.met(w), x.in(w).exposed / max(x.exposed, 1e-9)
}

// had is how many orders x had in hand of those that are left; if that is estimated from few controls, as many as it may have been.
func (c *trial) had(x *candidate) float64 {
	touched := x.touched
	if !x.exact {
		touched *= most(len(x.controls)) / float64(len(x.controls)+1)
	}
	return max(touched-float64(max(len(x.every), len(x.hits))-len(x.hits)), float64(len(x.hits)))
}

// unfit says why x is not named however likely it is, or "".
func (c *trial) unfit(x *candidate) string {
	switch l, risk := c.lift(x); {
	case len(x.hits) < namedHits:
		return fmt.Sprintf("it had %d of these orders in hand, fewer than %d", len(x.hits), namedHits)
	case l < c.least() && risk < namedRisk:
		return fmt.Sprintf("it had %s times as many of these orders in hand as chance would give: its work alone may explain that. A name needs %g times as many, or that orders which it had leaked %g times as often as others", round(l), c.least(), namedRisk)
	case !(x.adjusted <= namedP):
		return fmt.Sprintf("somebody innocent has as many of these orders with a chance of %s; it must be %g at most", Chance(x.adjusted), namedP)
	}
	return ""
}

// least is the lift that is wanted.
func (c *trial) least() float64 {
	if c.among {
		return amongLift
	}
	return namedLift
}

// peel names the sources: those of the first look if they explain it all, else those of the mixture that explains it best.
func (c *trial) peel(ctx context.Context, tenant moat.Tenant, rows Rows) error {
	wide, likely := false, []int(nil)
	for i, u := range c.units {
		if u.posterior >= namedFrom {
			likely = append(likely, i)
		}
	}
	c.several = len(likely) > 1
	for _, i := range likely {
		wide = wide || c.unfit(c.units[i].lead) != ""
	}
	first := c.ranked()
	c.sources, c.partners = first, c.inside()
	if len(likely) == 0 {
		return nil
	}
	defer c.restore()
	if !wide && len(likely) <= maxSources {
		c.credit(likely)
	}
	m, err := c.pursue(ctx, tenant, rows)
	if err != nil {
		return err
	}
	was := c.explained()
	found, moved := c.held(m)
	for n := 1; moved && n < maxRounds; n++ {
		found, moved = c.held(m)
	}
	if !wide && len(found) <= len(likely) {
		c.settleOrders(was)
		return nil
	}
	if len(found) == 0 {
		for i := range first {
			first[i].Named, first[i].Explains = false, 0
		}
		c.settleOrders(nil)
		return nil
	}
	c.sources = found
	slices.SortStableFunc(found, func(a, b Source) int { return cmp.Compare(b.Explains, a.Explains) })
	mine := make([]int, len(c.orders))
	for i := range mine {
		if mine[i] = -1; c.orders[i].explained {
			mine[i] = 0
		}
	}
	c.remove(mine)
	c.again(c.top, maxSources)
	c.partners = c.inside()
	for i := range found { // each is likely where it is, whatever the others are
		if p := found[i].Partner; p != "" {
			c.partners[p] = 1 - (1-c.partners[p])*(1-found[i].Posterior)
		}
	}
	for _, s := range c.ranked() {
		if s.Posterior >= namedFrom && s.Unnamed == "" {
			s.Unnamed = "what else happened to its orders explains them as well"
		}
		if len(found) < maxRanked || s.Posterior >= namedFrom {
			found = append(found, s)
		}
	}
	c.sources = found
	return nil
}

// explained returns which orders a source explains.
func (c *trial) explained() []bool {
	list := make([]bool, len(c.orders))
	for i := range c.orders {
		list[i] = c.orders[i].explained
	}
	return list
}

// settleOrders notes which orders a source explains.
func (c *trial) settleOrders(list []bool) {
	for i := range c.orders {
		c.orders[i].explained = list != nil && list[i]
	}
}

// held names the parts of a mixture that the evidence carries: each is held against those that had a good part of its orders in hand, too,
// without the orders that others explain better. Who explains these better takes the place of the part, and moved says that it is to be
// held again.
func (c *trial) held(m *mixture) (found []Source, moved bool) {
	owner := c.owedTo(m)
	instead := make([][]view, len(m.parts))
	c.settleOrders(nil)
	c.among, c.several = len(m.parts) > 1, c.several || len(m.parts) > 1
	named, mine := map[*candidate]int{}, [][]int{}
	for j, v := range m.parts {
		rest, n := slices.Clone(owner), 0
		for i := range rest {
			if rest[i] == j {
				rest[i] = -1
				n++
			}
		}
		if n == 0 {
			continue
		}
		c.remove(rest)
		u, others := c.against(v.candidate)
		for _, x := range others {
			if !m.has(x, j) {
				instead[j] = append(instead[j], x.likeliest())
			}
		}
		if u != nil {
			at, ok := named[u.members[0]]
			if !ok {
				s := c.source(slices.Index(c.units, u))
				s.Named, s.Unnamed = true, ""
				found, at, mine = append(found, s), len(found), append(mine, nil)
				for _, x := range u.everybody() {
					named[x] = at
				}
			}
			for i := range owner {
				if owner[i] == j {
					mine[at] = append(mine[at], i)
					c.orders[i].explained = true
				}
			}
			found[at].Explains, found[at].Reports = len(mine[at]), c.reports(mine[at])
		}
		c.restore()
	}
	for j := len(m.parts) - 1; j >= 0; j-- {
		if len(instead[j]) > 0 {
			m.parts, moved = slices.Replace(m.parts, j, j+1, instead[j]...), true
		}
	}
	if moved {
		c.merge(m)
	}
	return found, moved
}

// merge fits a mixture again in which others took the place of some parts.
func (c *trial) merge(m *mixture) {
	var parts []view
	for _, v := range m.parts {
		if len(parts) < maxParts && !slices.ContainsFunc(parts, func(w view) bool { return w.candidate == v.candidate }) {
			parts = append(parts, v)
		}
	}
	m.parts = parts
	c.refit(m)
	c.prune(m, nil)
	c.mix = nil
}

// everybody is the members of u and its places.
func (u *unit) everybody() []*candidate {
	list := slices.Clone(u.members)
	for _, p := range u.places {
		list = append(list, p.members...)
	}
	return list
}

// again compares hypotheses of up to so many sources among some candidates about the orders that are left.
func (c *trial) again(list []*candidate, most int) {
	all := c.top
	c.top, c.most = slices.Clone(list), most
	for i, x := range c.top {
		c.weighAlone(x, i < maxWatched)
	}
	c.likelyFirst()
	c.compareSets()
	c.top = all
}

// against holds x against those that explain the same of the orders that are left and returns who is left, or nil: x, or who had it, or a person
// in its place. Without any it returns those that are to be held in its place: an address of an office is less likely than the two in it.
func (c *trial) against(x *candidate) (u *unit, instead []*candidate) {
	c.weighAlone(x, true)
	var near []*candidate
	for _, y := range c.pool {
		if both := shared(x, y); y != x && len(y.hits) > 0 && float64(both) >= nearShare*float64(len(x.hits)) {
			c.glance(y)
			near = append(near, y)
		}
	}
	slices.SortStableFunc(near, func(a, b *candidate) int { return cmp.Compare(b.alone+b.prior, a.alone+a.prior) })
	near = append([]*candidate{x}, near[:min(len(near), maxNear-1)]...)
	for _, y := range slices.Clone(near) {
		if p := c.holder(y); p != nil && !slices.Contains(near, p) {
			near = append(near, p)
		}
	}
	c.correct(c.pool)
	c.again(near, maxBeside)
	for i, u := range c.units {
		switch {
		case u.posterior < namedFrom || c.unfit(u.lead) != "" || c.margin(i) < namedMargin:
		case u.has(x):
			return c.personOf(u), nil
		default:
			instead = append(instead, u.lead)
		}
	}
	return nil, instead
}

// has tells whether x is a member or a place of u.
func (u *unit) has(x *candidate) bool { return slices.Contains(u.members, x) || u.placed(x) }

// shared counts the leaked orders that both had in hand.
func shared(a, b *candidate) (n int) {
	for i, j := 0, 0; i < len(a.hits) && j < len(b.hits); {
		switch {
		case a.hits[i].order < b.hits[j].order:
			i++
		case a.hits[i].order > b.hits[j].order:
			j++
		default:
			i, j, n = i+1, j+1, n+1
		}
	}
	return n
}

// personOf returns the person who explains nearly as well what u does, if u is none, or u.
func (c *trial) personOf(u *unit) *unit {
	if slices.ContainsFunc(u.members, (*candidate).isPerson) {
		return u
	}
	for _, v := range c.units {
		x := v.lead
		if x.isPerson() && x.alone+x.prior >= u.lead.alone+u.lead.prior-twinLog && c.unfit(x) == "" &&
			float64(shared(u.lead, x)) >= twinShare*float64(len(u.lead.hits)) {
			v.posterior = max(u.posterior, v.posterior)
			return v
		}
	}
	return u
}

// isPerson tells whether x is the account of a person.
func (x *candidate) isPerson() bool { return x.Kind == moat.Account && !x.service }

// credit names units of the first look, notes what each of them explains, and takes it out.
func (c *trial) credit(units []int) {
	var forms []int
	for _, i := range units {
		for _, f := range c.sets[c.units[i].best].forms {
			if c.forms[f].unit == i {
				forms = append(forms, f)
			}
		}
	}
	slices.Sort(forms)
	all := c.weighSet(forms)
	mine := c.owed(&all)
	for k := range c.sources {
		s := &c.sources[k]
		i := slices.Index(c.units, s.unit)
		if !slices.Contains(units, i) {
			continue
		}
		s.Named = true
		var orders []int
		for o, of := range mine {
			if of == i {
				orders = append(orders, o)
			}
		}
		s.Explains, s.Reports = len(orders), c.reports(orders)
	}
	for i, of := range mine {
		c.orders[i].explained = of >= 0
	}
}

// remove takes out the orders that belong to somebody.
func (c *trial) remove(mine []int) {
	for i, of := range mine {
		if o := &c.orders[i]; of >= 0 && !o.taken {
			o.taken, o.kept, o.weight = true, o.weight, 0
			c.left--
		}
	}
	for _, x := range c.cands {
		if x.every == nil {
			x.every = x.hits
		}
		x.hits = slices.DeleteFunc(slices.Clone(x.hits), func(h hit) bool { return c.orders[h.order].taken })
	}
	c.noise()
}

// restore puts all orders back.
func (c *trial) restore() {
	for i := range c.orders {
		if o := &c.orders[i]; o.taken {
			o.taken, o.weight = false, o.kept
			c.left++
		}
	}
	for _, x := range c.cands {
		if x.every != nil {
			x.hits, x.every = x.every, nil
		}
	}
	c.noise()
}

const (
	maxNear   = 16  // candidates that are held against each other when the narrowest is looked for
	maxBeside = 3   // sources of one hypothesis then
	nearShare = 0.2 // of the orders of one that another must have had in hand
)
