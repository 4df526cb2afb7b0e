package trace

import (
	"cmp"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// place is a device or an address at which only one person had the leaked orders in hand, or both of them where they are the same acts. A person has
// several: the office, the way home, a phone whose address changes every day. They are no sources beside the person: the person leaked,
// at all of them, at some or at one.
type place struct {
	members []*candidate // that cannot be told apart; the first stands for all
}

// maxPlaces is how many places of a person are told apart.
const maxPlaces = 12

// holder returns the account that did all that x had in hand, as far as leaked orders and controls show, or nil.
func (c *trial) holder(x *candidate) *candidate {
	if !standing(x.Kind) || len(x.hits) == 0 {
		return nil
	}
	at, first := c.index[x.Owner], &c.orders[x.hits[0].order]
	for i := range first.touch {
		bySource, _ := c.of(&first.touch[i])
		if !slices.Contains(bySource, at) {
			continue
		}
		for _, k := range bySource {
			if p := c.cands[k]; p.Kind == moat.Account && c.heldBy(x, p) && float64(together(x, p)) >= alikeShare*float64(len(x.hits)) {
				if p.exposed == 0 { // with one leaked order it is not among those that were weighed
					c.estimate(p)
					c.weighAlone(p, false)
				}
				return p
			}
		}
	}
	return nil
}

// standing tells whether a kind is where somebody is, or with what.
func standing(k moat.EntityKind) bool { return k == moat.Device || k == moat.IP }

// heldBy tells whether a place was one person's, as far as leaked orders and controls show.
func (c *trial) heldBy(x, person *candidate) bool {
	return standing(x.Kind) && person.Kind == moat.Account && float64(alike(x, person)) >= alikeShare*float64(len(x.hits)+len(x.controls))
}

// at notes that a person of u was at x.
func (u *unit) at(x *candidate) {
	for _, p := range u.places {
		lead := p.members[0]
		if !slices.ContainsFunc(p.members, func(m *candidate) bool { return m.Kind == x.Kind }) {
			if both := together(lead, x); float64(both) >= twinShare*float64(len(lead.hits)+len(x.hits)-both) {
				p.members = append(p.members, x)
				return
			}
		}
	}
	if len(u.places) < maxPlaces {
		u.places = append(u.places, &place{[]*candidate{x}})
	}
}

// shapePlaces makes the forms of unit i in which its person leaked what was in hand at one place, or at some of them. All numbers of
// places are as likely, and so is each place alone; of some places those that had most of the leaked orders stand for all.
func (c *trial) shapePlaces(i int) {
	u := c.units[i]
	slices.SortStableFunc(u.places, func(a, b *place) int { return cmp.Compare(len(b.members[0].hits), len(a.members[0].hits)) })
	n := len(u.places)
	each := math.Log(placesShare / float64(n)) // of one number of places
	for k, p := range u.places {
		x, prior := p.members[0], each-math.Log(2*float64(n))
		c.forms = append(c.forms, form{view: x.whole(), unit: i, prior: prior, places: u.places[k : k+1]})
		if x.window != 0 && x.window != always && x.inWindow > x.full-windowLog {
			c.forms = append(c.forms, form{view: x.in(x.window), unit: i, prior: x.inWindow + prior - c.lone(x).evidence(c, x.window), places: u.places[k : k+1]})
		}
		if k > 0 {
			c.forms = append(c.forms, form{view: u.person().across(u.places[:k+1]).whole(), unit: i, prior: each, places: u.places[:k+1]})
		}
	}
}

// placesShare is the prior probability that who was at several places leaked at some of them only.
const placesShare = 1.0 / 3

// person is the account of a unit that has places.
func (u *unit) person() *candidate {
	return u.members[slices.IndexFunc(u.members, func(m *candidate) bool { return m.Kind == moat.Account })]
}

// across is x as far as it was at some places: of what was shown there as much as was shown to x.
func (x *candidate) across(list []*place) *candidate {
	out := &candidate{Owner: x.Owner}
	for _, p := range list {
		out.exposed += p.members[0].exposed
		for _, h := range p.members[0].hits {
			i, mine := slices.BinarySearchFunc(x.hits, h.order, func(m hit, order int) int { return cmp.Compare(m.order, order) })
			if !mine {
				continue
			}
			h.shown = min(h.shown, x.hits[i].shown)
			k, met := slices.BinarySearchFunc(out.hits, h.order, func(o hit, order int) int { return cmp.Compare(o.order, order) })
			if !met {
				out.hits = slices.Insert(out.hits, k, h)
				continue
			}
			o := &out.hits[k]
			o.shown, o.when = max(o.shown, h.shown), o.when|h.when
		}
	}
	least := 0.0
	for _, h := range out.hits {
		least += h.shown
	}
	out.exposed = max(least, min(out.exposed, x.exposed)) // an order may have been in hand at two
	return out
}

// settle names the places of a unit with its person. If the evidence carries one place alone, its figures stand for both: somebody else may
// have acted as the person there, or from there only the person leaked.
func (c *trial) settle(u *unit) {
	if len(u.places) == 0 || u.best < 0 {
		return
	}
	of, alone := u.places, false
	for _, n := range c.sets[u.best].forms {
		if f := &c.forms[n]; c.units[f.unit] == u && f.places != nil {
			of, alone = f.places, len(f.places) == 1
		}
	}
	var list []*candidate
	for _, p := range of {
		slices.SortStableFunc(p.members, byNarrowness)
		list = append(list, p.members...)
	}
	if alone {
		u.members, u.lead, u.alone = append(u.members, list...), list[0], true
		return
	}
	u.members, u.lead = append(u.members, list...), u.person()
}

// placed tells whether x is a place of u.
func (u *unit) placed(x *candidate) bool {
	return slices.ContainsFunc(u.places, func(p *place) bool { return slices.Contains(p.members, x) })
}

// through is the probability that orders leaked from u at a place of it alone, or at it and others.
func (c *trial) through(u *unit, x *candidate) (p float64) {
	for i := range c.sets {
		for _, n := range c.sets[i].forms {
			f := &c.forms[n]
			if c.units[f.unit] == u && slices.ContainsFunc(f.places, func(q *place) bool { return slices.Contains(q.members, x) }) {
				p += c.sets[i].posterior
			}
		}
	}
	return p
}
