package trace

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// unit is candidates that the evidence cannot tell apart: a person and the only device that the person
// uses, who had the same orders in hand by the same acts; or an app and its server, or the destination that sends
// to it, through which the same orders went.
type unit struct {
	members   []*candidate // the one that is named first
	lead      *candidate   // whose figures stand for all
	places    []*place     // of its person, if they are several or one of several
	alone     bool         // it leaked at one of them only
	prior     float64      // log of the odds of all members together
	all       float64      // the same with the evidence
	posterior float64
	best      int // place of the best set that it is in
}

// set is units that leaked together.
type set struct {
	forms     []int // rising, each of another unit
	fit       fit
	log       float64 // with the prior
	posterior float64
}

// face is the member whose acts are told of: the one that is named first, or the place at which alone it leaked, or who has orders left.
func (u *unit) face() *candidate {
	if u.alone || len(u.members[0].hits) == 0 {
		return u.lead
	}
	return u.members[0]
}

// Bounds of the comparison of sets.
const (
	maxUnits   = 48
	maxSources = 5
	beam       = 8
	hopeless   = 25 // a set so much (e^-25) less likely than the best is not built upon
	twinShare  = 0.8
	alikeShare = 0.9
	twinLog    = 3 // log of the Bayes factor within which twins must be
)

// judge compares all hypotheses with each other: that no source was seen, one, or several.
func (c *trial) judge(ctx context.Context, tenant moat.Tenant, rows Rows) error {
	c.none = 1
	if len(c.top) == 0 {
		return nil
	}
	c.most = maxSources
	c.compareSets()
	none := c.none
	err := c.peel(ctx, tenant, rows)
	c.none = none
	return err
}

// compareSets weighs units of the likeliest candidates, alone and together.
func (c *trial) compareSets() {
	c.units, c.forms = nil, nil
	c.join()
	c.shape()
	c.combine()
	c.conclude()
}

// join makes units of candidates.
func (c *trial) join() {
	unitOf := map[*candidate]*unit{}
	for _, x := range c.top {
		if unitOf[x] != nil {
			continue
		}
		u, place := c.twin(x), false
		if u == nil {
			lead := x
			if p := c.holder(x); p != nil {
				lead, place = p, true
				if u = unitOf[p]; u == nil {
					u = c.twin(p)
				}
			}
			if u == nil && len(c.units) == maxUnits {
				break
			}
			if u == nil {
				u = &unit{lead: lead}
				c.units = append(c.units, u)
			}
			if place && unitOf[lead] == nil {
				unitOf[lead], u.members = u, append(u.members, lead)
			}
		}
		unitOf[x] = u
		if place {
			u.at(x)
		} else {
			u.members = append(u.members, x)
		}
	}
	for _, u := range c.units {
		u.all = math.Inf(-1)
		for _, x := range u.members {
			u.all = logAdd(u.all, x.prior+x.alone)
		}
		u.prior = u.all - u.lead.alone
		slices.SortStableFunc(u.members, byNarrowness)
	}
}

func byNarrowness(a, b *candidate) int { return cmp.Compare(narrowness(a.Kind), narrowness(b.Kind)) }

// narrowness orders kinds as they are named: who, with what, from where, through what.
func narrowness(k moat.EntityKind) int {
	return slices.Index([]moat.EntityKind{moat.Account, moat.Device, moat.IP, moat.Host, moat.App, Version, moat.Outlet}, k) & 15 // others last
}

// twin returns the unit to which x belongs: its leader explains the leak as well as x, and they had the
// same orders in hand, by the same acts or as far as leaked orders and controls show. A device that explains more than the one
// person who did all of it there stands with that person, who had another device before. Two persons are
// never joined: they are told apart, or stand beside each other with what each has of the probability. Nor are two devices, but as places of one person.
func (c *trial) twin(x *candidate) *unit {
	for _, u := range c.units {
		far := math.Abs(u.lead.alone - x.alone)
		if far > twinLog && !c.heldBy(u.lead, x) || !joinable(u, x) {
			continue
		}
		both := together(u.lead, x)
		if either := len(u.lead.hits) + len(x.hits) - both; float64(both) >= twinShare*float64(either) {
			return u
		}
		both = alike(u.lead, x)
		either := len(u.lead.hits) + len(u.lead.controls) + len(x.hits) + len(x.controls) - both
		if far <= twinLog && machine(u.lead) && machine(x) && float64(both) >= alikeShare*float64(either) {
			return u
		}
	}
	return nil
}

// joinable tells whether x may be a member of u.
func joinable(u *unit, x *candidate) bool {
	for _, m := range u.members {
		if m.Kind == x.Kind && (!machine(x) || x.Kind == moat.Account || x.Kind == moat.Partner) {
			return false
		}
	}
	return true
}

// machine tells whether x is no person and nothing that a person holds.
func machine(x *candidate) bool {
	return x.service || x.Kind != moat.Account && x.Kind != moat.Device && x.Kind != moat.Outlet
}

// alike counts the leaked orders and controls that both had in hand.
func alike(a, b *candidate) int { return common(a.controls, b.controls) + shared(a, b) }

// together counts the leaked orders that two candidates touched by the same act.
func together(a, b *candidate) (n int) {
	j := 0
	for i := range a.hits {
		for j < len(b.hits) && b.hits[j].order < a.hits[i].order {
			j++
		}
		if j < len(b.hits) && b.hits[j].order == a.hits[i].order &&
			slices.ContainsFunc(a.hits[i].times, func(t moat.Time) bool { return slices.Contains(b.hits[j].times, t) }) {
			n++
		}
	}
	return n
}

func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(a, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// combine weighs single units, then the best of them with one more, and so on.
func (c *trial) combine() {
	c.sets = []set{{}} // noise alone, against which all others are measured
	var front []set
	for i := range c.forms {
		front = append(front, c.weighSet([]int{i}))
	}
	seen := map[[maxSources]int]bool{}
	for {
		slices.SortStableFunc(front, func(a, b set) int { return cmp.Compare(b.log, a.log) })
		c.sets = append(c.sets, front...)
		best := c.sets[0].log
		for i := range c.sets {
			best = max(best, c.sets[i].log)
		}
		var next []set
		for _, s := range front[:min(beam, len(front))] {
			if s.log < best-hopeless || len(s.forms) == c.most {
				continue
			}
			for i := range c.forms {
				if c.place(&s, c.forms[i].unit) >= 0 {
					continue
				}
				forms := append(slices.Clone(s.forms), i)
				slices.Sort(forms)
				if k := keyOf(forms); !seen[k] {
					seen[k] = true
					next = append(next, c.weighSet(forms))
				}
			}
		}
		if len(next) == 0 {
			return
		}
		front = next
	}
}

// place is where a unit stands in a set, below 0 if it does not.
func (c *trial) place(s *set, unit int) int {
	return slices.IndexFunc(s.forms, func(f int) bool { return c.forms[f].unit == unit })
}

func keyOf(forms []int) (k [maxSources]int) {
	for i, f := range forms {
		k[i] = f + 1
	}
	return k
}

func (c *trial) weighSet(forms []int) set {
	s := set{forms: forms}
	for _, n := range forms {
		f := &c.forms[n]
		s.log += c.units[f.unit].prior + f.prior
	}
	s.fit = logEvidence(c.patterns(forms), len(forms))
	s.log += s.fit.log
	return s
}

// conclude turns weights into probabilities.
func (c *trial) conclude() {
	slices.SortStableFunc(c.sets, func(a, b set) int { return cmp.Compare(b.log, a.log) })
	all := math.Inf(-1)
	for i := range c.sets {
		all = logAdd(all, c.sets[i].log)
	}
	for _, u := range c.units {
		u.best = -1
	}
	for i := range c.sets {
		s := &c.sets[i]
		s.posterior = math.Exp(s.log - all)
		if len(s.forms) == 0 {
			c.none = s.posterior
		}
		for _, f := range s.forms {
			u := c.forms[f].unit
			c.units[u].posterior += s.posterior
			if c.units[u].best < 0 {
				c.units[u].best = i
			}
		}
	}
	for _, u := range c.units {
		c.settle(u)
	}
}

// owners returns the partners that u is at: those of its narrowest member. The destination that sends to an app is
// met at others, but what leaks there leaks at the app's.
func (u *unit) owners() []string {
	for _, m := range u.members {
		if m.Partner != "" {
			return m.owners()
		}
	}
	return u.lead.owners()
}

// share is the part of the leak that a unit explains, in the best set that it is in.
func (c *trial) share(i int) float64 {
	s := &c.sets[c.units[i].best]
	return s.fit.share[c.place(s, i)+1]
}

// owed returns which orders a set explains: to each the place of the likeliest of its units, or -1 for noise.
func (c *trial) owed(s *set) []int {
	owner := make([]int, len(c.orders))
	best := make([]float64, len(c.orders))
	for i := range owner {
		owner[i] = -1
		best[i] = 1
		if len(s.forms) > 0 {
			best[i] = s.fit.share[0]
		}
	}
	for j, n := range s.forms {
		f := &c.forms[n]
		for k := range f.hits {
			h := &f.hits[k]
			if v := s.fit.share[j+1] * c.ratio(f.view, h); v > best[h.order] {
				best[h.order], owner[h.order] = v, f.unit
			}
		}
	}
	return owner
}

// inside returns the probability that a source is in each partner: of any of the sets that have one there.
func (c *trial) inside() map[string]float64 {
	of := make([][]string, len(c.units))
	for i, u := range c.units {
		of[i] = u.owners()
	}
	p := map[string]float64{}
	for i := range c.sets {
		var met []string
		for _, f := range c.sets[i].forms {
			for _, name := range of[c.forms[f].unit] {
				if !slices.Contains(met, name) {
					met = append(met, name)
					p[name] += c.sets[i].posterior
				}
			}
		}
	}
	return p
}
