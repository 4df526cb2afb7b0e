package trace

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// What a source that is named must reach, among the orders that nothing named before it explains.
const (
	namedFrom = 0.5  // posterior
	namedLift = 2.0  // times more leaked orders than chance would have it: less is business, not guilt
	amongLift = 3.0  // the same where there are several leaks, since who works beside a thief has more of them, too
	namedP    = 0.01 // corrected
	namedHits = 3    // leaked orders
	maxNamed  = 64
)

// Complaints of weeks come from many leaks at once, and no five sources explain them: the widest would best, an app through which most of
// them went, and what those who leaked have in common. So where more than one look is needed, the narrowest is named first, the
// orders that it explains are taken out, and the rest is looked at again, until nothing more is carried.

// expected is how many of the leaked orders that are left x would have had in hand by chance: of those of each time of birth as large a part
// as of all orders that were born then. When x had what in hand is estimated from the controls that it touched, and as usual where they are few.
func (c *trial) expected(x *candidate) (e float64) {
	shown := 0.0
	for _, s := range x.sampled {
		shown += s
	}
	each := float64(len(x.controls)) / max(shown, 1e-9) // controls by what they showed
	had := make([]float64, len(c.sizes))
	all, orders := 0.0, 0.0
	for _, n := range c.sizes {
		orders += n
	}
	for b, n := range c.sizes {
		had[b] = fewControls * n / orders
		if x.sampled != nil {
			had[b] += x.sampled[b] * each * n / float64(max(1, c.population.bins[b])) * float64(c.population.found) / orders
		}
		all += had[b]
	}
	for b, n := range c.sizes {
		e += c.leaks[b] * min(1, c.had(x)*had[b]/all/n)
	}
	return e
}

// fewControls is how many controls what is usual counts for when it is estimated which orders somebody had in hand.
const fewControls = 3

// lift is how many times more of the leaked orders that are left x had in hand than chance would have it.
func (c *trial) lift(x *candidate) float64 {
	gone := float64(len(c.orders) - c.left)
	return float64(len(x.hits)) / max(1e-9, float64(c.left)*c.had(x)/max(1, c.population.orders-gone))
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
	switch l := c.lift(x); {
	case len(x.hits) < namedHits:
		return fmt.Sprintf("it had %d of these orders in hand, fewer than %d", len(x.hits), namedHits)
	case l < c.least():
		return fmt.Sprintf("it had %s times as many of these orders in hand as chance would give: that is its business, want %g times", round(l), c.least())
	case !(x.adjusted <= namedP):
		return fmt.Sprintf("somebody innocent has as many of these orders with a chance of %.2g, want %g at most", x.adjusted, namedP)
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

// peel names the sources: those of the first look if they explain it all, else one after the other.
func (c *trial) peel(ctx context.Context, tenant moat.Tenant, rows Rows) error {
	wide, likely := false, []int(nil)
	for i, u := range c.units {
		if u.posterior >= namedFrom {
			likely, wide = append(likely, i), wide || c.unfit(u.lead) != ""
		}
	}
	first := c.ranked()
	c.sources, c.partners = first, c.inside()
	if len(likely) == 0 {
		return nil
	}
	defer c.restore()
	if !wide && len(likely) <= maxSources {
		c.credit(likely)
		if err := c.strip(ctx, tenant, rows, len(first)); err != nil {
			return err
		}
		if len(c.sources) == len(first) {
			return nil
		}
		c.restore()
		for i := range c.orders {
			c.orders[i].explained = false
		}
	}
	first, c.sources, c.among = c.sources[:len(first)], nil, true
	if err := c.strip(ctx, tenant, rows, maxNamed); err != nil {
		return err
	}
	found := c.sources
	if len(found) == 0 {
		for i := range first {
			first[i].Named, first[i].Explains = false, 0
		}
		c.sources = first
		return nil
	}
	slices.SortStableFunc(found, func(a, b Source) int { return cmp.Compare(b.Explains, a.Explains) })
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

// strip names the narrowest of all again and again, while no more than so many are named.
func (c *trial) strip(ctx context.Context, tenant moat.Tenant, rows Rows, most int) error {
	for len(c.sources) <= most {
		u, err := c.narrowest(ctx, tenant, rows)
		if u == nil || err != nil {
			return err
		}
		c.take(u)
	}
	return nil
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

// narrowest returns the narrowest source that the orders that are left carry, or nil. Each that may be named is held against those that
// had a good part of its orders in hand, too; all others are noise for it.
func (c *trial) narrowest(ctx context.Context, tenant moat.Tenant, rows Rows) (*unit, error) {
	if c.left < namedHits {
		return nil, nil
	}
	if err := c.countMore(ctx, tenant, rows); err != nil {
		return nil, err
	}
	list := c.suspects()
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(c.lift(b), c.lift(a)) })
	tried := 0
	for _, x := range list {
		if x.spent || c.unfit(x) != "" {
			continue
		}
		if tried++; tried > maxTried {
			break
		}
		if u := c.against(x, list); u != nil {
			c.focus = x
			return u, nil
		}
	}
	return nil, nil
}

// countMore counts what those had in hand who might be named by the little that the controls tell.
func (c *trial) countMore(ctx context.Context, tenant moat.Tenant, rows Rows) error {
	var list []*candidate
	sure := map[*candidate]float64{}
	for _, x := range c.pool {
		if x.exact || x.uncounted || !counted(x.Kind) || len(x.controls) >= sureControls || len(x.hits) < namedHits {
			continue
		}
		if by := float64(c.left) * x.touched / max(1, c.population.orders); float64(len(x.hits)) >= c.least()*by {
			list, sure[x] = append(list, x), float64(len(x.hits))*math.Log(float64(len(x.hits))/max(by, 1e-9))
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(sure[b], sure[a]) })
	list = list[:min(len(list), maxMeasured)]
	hopeful := slices.DeleteFunc(slices.Clone(list), func(x *candidate) bool { return !c.hopeful(x) })
	err := c.count(ctx, tenant, rows, hopeful)
	for _, x := range list {
		x.uncounted = !x.exact
	}
	return err
}

// suspects returns who had more of the orders that are left in hand than chance and than what is wide would have it, named or not: who
// cannot be named may be why somebody else seems guilty.
func (c *trial) suspects() (list []*candidate) {
	c.correct(c.pool)
	var wide []*candidate
	for _, x := range c.pool {
		if x.adjusted <= namedP && len(x.hits) >= namedHits && c.lift(x) < namedLift {
			wide = append(wide, x)
		}
	}
	for _, x := range c.pool {
		if len(x.hits) >= namedHits && c.lift(x) >= namedLift && !c.carried(x, wide) {
			list = append(list, x)
		}
	}
	return list
}

// against holds x against those of list that explain the same orders and returns who is left, or nil: x, or who had it, or a person in its place.
func (c *trial) against(x *candidate, list []*candidate) *unit {
	near := []*candidate{x}
	for _, y := range list {
		if both := shared(x, y); y != x && float64(both) >= nearShare*float64(len(x.hits)) {
			near = append(near, y)
		}
	}
	slices.SortStableFunc(near[1:], func(a, b *candidate) int { return cmp.Compare(a.p, b.p) })
	near = near[:min(len(near), maxNear)]
	for _, y := range slices.Clone(near) {
		if p := c.holder(y); p != nil && !slices.Contains(near, p) {
			near = append(near, p)
		}
	}
	c.again(near, maxBeside)
	for _, u := range c.units {
		if u.posterior >= namedFrom && c.unfit(u.lead) == "" && u.has(x) {
			return c.personOf(u)
		}
	}
	return nil
}

// has tells whether x is a member or a place of u.
func (u *unit) has(x *candidate) bool { return slices.Contains(u.members, x) || u.placed(x) }

// carried tells whether x only has its share of what is wide: of an app that leaked, each of its users has leaked orders.
func (c *trial) carried(x *candidate, wide []*candidate) bool {
	for _, w := range wide {
		if c.lift(x) < namedLift*c.lift(w) && float64(shared(x, w)) >= alikeShare*float64(len(x.hits)) {
			return true
		}
	}
	return false
}

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

// personOf returns the person who explains as well what a shared address, device or outlet does, or u.
func (c *trial) personOf(u *unit) *unit {
	if k := u.lead.Kind; !standing(k) && k != moat.Outlet || slices.ContainsFunc(u.members, func(m *candidate) bool { return m.Kind == moat.Account }) {
		return u
	}
	for _, v := range c.units {
		x := v.lead
		if x.Kind == moat.Account && x.alone+x.prior >= u.lead.alone+u.lead.prior-twinLog && c.unfit(x) == "" &&
			float64(shared(u.lead, x)) >= twinShare*float64(len(u.lead.hits)) {
			v.posterior = max(u.posterior, v.posterior)
			return v
		}
	}
	return u
}

// take names u, or notes that it explains more if it is named, and takes out the orders that it explains.
func (c *trial) take(u *unit) {
	i := slices.Index(c.units, u)
	mine, n := c.owed(&c.sets[u.best]), 0
	for k, of := range mine {
		if of == i {
			n++
		} else {
			mine[k] = -1
		}
	}
	at := u.named()
	switch {
	case n == 0: // others explain each of its orders better
		c.focus.spent = true
		return
	case at == 0:
		s := c.source(i)
		s.Named, s.Unnamed = true, ""
		c.sources = append(c.sources, s)
		at = len(c.sources)
		u.mark(at)
	}
	c.sources[at-1].Explains += n
	c.remove(mine)
}

// named returns which source its first member stands in already, from 1, or 0.
func (u *unit) named() int { return u.members[0].named }

// mark notes which source u is.
func (u *unit) mark(at int) {
	for _, m := range u.members {
		m.named = at
	}
	for _, p := range u.places {
		for _, m := range p.members {
			m.named = at
		}
	}
}

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
		s.unit.mark(k + 1)
		s.Named = true
		for _, of := range mine {
			if of == i {
				s.Explains++
			}
		}
	}
	c.remove(mine)
}

// remove takes out the orders that belong to somebody.
func (c *trial) remove(mine []int) {
	for i, of := range mine {
		if o := &c.orders[i]; of >= 0 && !o.taken {
			o.taken, o.explained, o.kept, o.weight = true, true, o.weight, 0
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
		if x.named, x.spent = 0, false; x.every != nil {
			x.hits, x.every = x.every, nil
		}
	}
	c.noise()
}

const (
	maxNear   = 16  // candidates that are held against each other when the narrowest is looked for
	maxBeside = 3   // sources of one hypothesis then
	maxTried  = 24  // that may be the narrowest, before it is given up
	nearShare = 0.2 // of the orders of one that another must have had in hand
)
