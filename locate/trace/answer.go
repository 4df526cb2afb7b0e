package trace

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// Verdict is what the evidence carries.
type Verdict string

// The verdicts.
const (
	Found     Verdict = "found"               // the sources that are Named leaked
	NotEnough Verdict = "not_enough_evidence" // no source can be named; Sources are where to look further
)

// Answer is what is known of a leak.
type Answer struct {
	Verdict Verdict `json:"verdict"`
	// Why says in words why nothing is named, and Missing what would settle it; both are "" where something is.
	Why     string `json:"why,omitempty"`
	Missing string `json:"missing,omitempty"`
	Orders  Counts `json:"orders"`
	// None is the probability that no source was among those that were seen: the orders leaked elsewhere,
	// or do not belong together.
	None     float64   `json:"none"`
	Sources  []Source  `json:"sources"`  // the likeliest first
	Partners []Partner `json:"partners"` // the likeliest first
	// Unexplained are orders that none of the sources that are named explains, at most 100 of them.
	Unexplained []string   `json:"unexplained"`
	Population  Population `json:"population"`
	// Canaries are the leaked orders that are planted, as far as the tenant may know: the channels name where they leaked.
	Canaries []Canary `json:"canaries"`
	// Blind are partners that counted orders in the same time without naming them: whoever had the leaked ones in hand there cannot be seen.
	Blind    []Blind   `json:"blind,omitempty"`
	Warnings []Warning `json:"warnings"`
	Damaged  int       `json:"damaged,omitempty"` // files that could not be read: touches may be missing
}

// Counts is how many orders there were of each sort.
type Counts struct {
	Asked       int      `json:"asked"`
	Distinct    int      `json:"distinct"`
	Looked      int      `json:"looked"` // that were looked up; fewer than Distinct if there were too many
	Known       int      `json:"known"`  // of them: touched by somebody before
	Unknown     int      `json:"unknown"`
	UnknownIDs  []string `json:"unknown_ids"` // at most 100
	Explained   int      `json:"explained"`
	Unexplained int      `json:"unexplained"`
}

// Population is what the leaked orders were compared with.
type Population struct {
	Orders   float64   `json:"orders"` // estimate of all that were first seen when the leaked ones were
	From     moat.Time `json:"from"`
	To       moat.Time `json:"to"`
	Controls int       `json:"controls"` // of them that were looked at
}

// Source is where orders may have leaked: one entity, or several that cannot be told apart.
type Source struct {
	Rank    int      `json:"rank"`
	Named   bool     `json:"named"`             // the evidence carries the name
	Unnamed string   `json:"unnamed,omitempty"` // why it is not named although it is likely
	Name    string   `json:"name"`              // "alice, at device d-17"
	Kind    string   `json:"kind"`              // of the member that is named first
	ID      string   `json:"id"`
	Partner string   `json:"partner,omitempty"` // "" if it is at several
	Members []Member `json:"members"`
	// Posterior is the probability that it is one of the sources.
	Posterior float64 `json:"posterior"`
	// Margin is how many times better the leak is explained with it than in the best way without it, by the orders alone: what is usual of its kind, which
	// Posterior weighs, too, does not count. At most 1e12.
	Margin   float64   `json:"margin"`
	Leaked   int       `json:"leaked"`  // leaked orders that it touched before they leaked
	Touched  float64   `json:"touched"` // all orders that it touched; an estimate unless Exact
	Exact    bool      `json:"exact"`
	Lift     float64   `json:"lift"`     // how many times more leaked ones it touched than chance would have it
	P        float64   `json:"p"`        // that chance would have as many, corrected for all candidates
	Explains int       `json:"explains"` // known orders, if it is named: each belongs to one source at most
	Share    float64   `json:"share"`    // of the leak that it explains, or of what those that were named before left of it
	Rate     float64   `json:"rate"`     // of the orders that it had in hand, the share that came to light
	Guilt    float64   `json:"guilt"`    // by the guilt model, which looks at leaked orders only
	Since    moat.Time `json:"since"`    // the shortest span in which it touched 95 % of those that it explains
	Until    moat.Time `json:"until"`
	// First is its first touch of any leaked order.
	First   moat.Time `json:"first"`
	Reports Reports   `json:"reports"`
	// Reach is what scope is to be asked for to know whom to tell: the days from the first sign of it on, until the last of the orders had leaked.
	Reach    Reach     `json:"reach"`
	Shown    float64   `json:"shown"` // what it saw of them on average, 0 to 1
	Path     []Step    `json:"path"`
	Reason   string    `json:"reason"`
	Findings []Finding `json:"findings"`

	lead *candidate
	unit *unit
}

// Reports is who says that the orders of a source leaked: how many different ones, an order of which nobody says so counting as its own, and the first and
// the last time by which one had leaked; 0 where nobody tells a time.
type Reports struct {
	By    int       `json:"by"`
	First moat.Time `json:"first,omitzero"`
	Last  moat.Time `json:"last,omitzero"`
}

// Reach is since when a source may have leaked: the day of its first touch of any leaked order, or of the first finding about it if that is
// earlier; and until when: the last complaint. 0 is open: nobody says when the orders had leaked, so it may still go on.
type Reach struct {
	Since moat.Time `json:"since"`
	Until moat.Time `json:"until,omitzero"`
}

// Member is one of the entities that a source is.
type Member struct {
	Kind      string  `json:"kind"`
	ID        string  `json:"id"`
	Partner   string  `json:"partner,omitempty"`
	Posterior float64 `json:"posterior"`
	Program   bool    `json:"program,omitempty"` // it is the account of a program
}

// Step is what a source's touches went through most.
type Step struct {
	Kind   string `json:"kind"`
	ID     string `json:"id"`
	Orders int    `json:"orders"` // leaked ones
}

// Partner is how likely a source is inside of a partner.
type Partner struct {
	Partner   string  `json:"partner"`
	Posterior float64 `json:"posterior"`
}

// Finding is what a detector saw of a source around the time.
type Finding struct {
	ID       string    `json:"id"`
	Time     moat.Time `json:"time"`
	Detector string    `json:"detector"`
	Score    float64   `json:"score"`
	Reason   string    `json:"reason"`
	Entity   string    `json:"entity"`
}

// Bounds of an answer.
const (
	maxRanked = 10
	listFrom  = 0.005
	minRanked = 3
)

// KindName writes a kind as the answer does.
func KindName(k moat.EntityKind) string {
	if k == Version {
		return "app version"
	}
	return k.String()
}

// answer puts everything together.
func (c *trial) answer() *Answer {
	a := &Answer{Verdict: NotEnough, None: c.none, Sources: []Source{}, Partners: []Partner{}, Unexplained: []string{}, Canaries: append([]Canary{}, c.planted...), Warnings: []Warning{}, Damaged: c.damaged}
	a.Orders = Counts{Asked: c.asked, Distinct: c.unique, Looked: c.looked, Known: len(c.orders), Unknown: len(c.unknown),
		UnknownIDs: append([]string{}, c.unknown[:min(len(c.unknown), maxShown)]...)}
	a.Population = Population{Orders: math.Round(c.population.orders), From: c.from, To: c.to, Controls: c.population.found}
	c.unframe()
	for i, s := range c.sources {
		s.Rank = i + 1
		if a.Orders.Explained += s.Explains; s.Named {
			a.Verdict = Found
		}
		a.Sources = append(a.Sources, s)
	}
	for i := range c.orders {
		if o := &c.orders[i]; !o.explained {
			if a.Orders.Unexplained++; len(a.Unexplained) < maxShown {
				a.Unexplained = append(a.Unexplained, o.ID)
			}
		}
	}
	for name, p := range c.partners {
		if p >= listFrom {
			a.Partners = append(a.Partners, Partner{name, p})
		}
	}
	slices.SortFunc(a.Partners, func(x, y Partner) int {
		return cmp.Or(cmp.Compare(y.Posterior, x.Posterior), cmp.Compare(x.Partner, y.Partner))
	})
	if a.Verdict == NotEnough {
		a.Why, a.Missing = c.fallShort(a)
	}
	c.warn(a)
	return a
}

// ranked describes the likeliest units, and says of those that are likely why they are not named.
func (c *trial) ranked() (list []Source) {
	order := make([]int, len(c.units))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(c.units[y].posterior, c.units[x].posterior) })
	for n, i := range order {
		if n >= maxRanked || n >= minRanked && c.units[i].posterior < listFrom {
			break
		}
		s := c.source(i)
		if s.Posterior >= namedFrom {
			s.Unnamed = c.unfit(s.lead)
		}
		list = append(list, s)
	}
	return list
}

// source describes a unit.
func (c *trial) source(i int) Source {
	u := c.units[i]
	x, first, face := u.lead, u.members[0], u.face()
	lift, _ := c.lift(x)
	s := Source{Name: u.name(), Kind: KindName(first.Kind), ID: first.ID, Posterior: min(1, u.posterior), Margin: c.margin(i), Leaked: max(len(x.hits), len(x.every)),
		Touched: math.Round(x.touched), Exact: x.exact, Lift: lift, P: x.adjusted, Share: c.share(i), Findings: []Finding{}, lead: x, unit: u}
	if of := u.owners(); len(of) == 1 {
		s.Partner = of[0]
	}
	for _, m := range u.members {
		mem := Member{Kind: KindName(m.Kind), ID: m.ID, Program: m.service, Posterior: u.posterior * math.Exp(m.prior+m.alone-u.all)}
		if u.placed(m) {
			mem.Posterior = c.through(u, m)
		}
		if of := m.owners(); len(of) == 1 {
			mem.Partner = of[0]
		}
		s.Members = append(s.Members, mem)
	}
	s.Rate = min(1, s.Share*float64(c.left)/max(1, x.touched))
	noise := c.sets[u.best].fit.share[0]
	s.Guilt = c.guilt(x, noise)
	var mine []hit
	owner := c.owed(&c.sets[u.best])
	for _, h := range face.hits {
		s.Shown += h.shown / float64(len(face.hits))
		if owner[h.order] == i {
			mine = append(mine, h)
		}
	}
	if len(mine) == 0 {
		mine = face.hits
	}
	s.Since, s.Until = window(mine)
	s.First, s.Reach = c.reach(face)
	var orders []int
	for _, h := range mine {
		orders = append(orders, h.order)
	}
	s.Reports = c.reports(orders)
	s.Path = c.path(face, mine)
	s.Reason = c.reason(u, &s, mine)
	return s
}

// margin compares the best set that a unit is in with the best one without it, without the prior odds of their units.
func (c *trial) margin(i int) float64 {
	with, without := math.Inf(-1), math.Inf(-1)
	for k := range c.sets {
		s := &c.sets[k]
		log := s.fit.log
		for _, f := range s.forms {
			log += c.forms[f].prior
		}
		if c.place(s, i) >= 0 {
			with = max(with, log)
		} else {
			without = max(without, log)
		}
	}
	return min(math.Exp(with-without), maxMargin)
}

// maxMargin is above what tells one margin from another.
const maxMargin = 1e12

// window is the shortest span in which 95 % of the orders were touched.
func window(hits []hit) (since, until moat.Time) {
	type at struct {
		time  moat.Time
		order int
	}
	var list []at
	for i, h := range hits {
		for _, t := range h.times {
			list = append(list, at{t, i})
		}
	}
	slices.SortFunc(list, func(a, b at) int { return cmp.Compare(a.time, b.time) })
	need := len(hits) - len(hits)/20
	inside := make([]int, len(hits))
	met, lo := 0, 0
	for hi := range list {
		if inside[list[hi].order]++; inside[list[hi].order] == 1 {
			met++
		}
		for met >= need {
			if since == 0 || list[hi].time-list[lo].time < until-since {
				since, until = list[lo].time, list[hi].time
			}
			if inside[list[lo].order]--; inside[list[lo].order] == 0 {
				met--
			}
			lo++
		}
	}
	return since, until
}

// reports is who says that orders leaked, and when.
func (c *trial) reports(orders []int) (r Reports) {
	by := map[string]bool{}
	for _, i := range orders {
		o := &c.orders[i]
		by[cmp.Or(o.By, "order "+o.ID)] = true
		if o.At != 0 && (r.First == 0 || o.At < r.First) {
			r.First = o.At
		}
		r.Last = max(r.Last, o.At)
	}
	r.By = len(by)
	return r
}

// reach is that of a candidate, before it is known what detectors saw, and its first touch.
func (c *trial) reach(x *candidate) (first moat.Time, e Reach) {
	for _, list := range [][]hit{x.hits, x.every} {
		for _, h := range list {
			for _, t := range h.times {
				if e.Since == 0 || t < e.Since {
					e.Since = t
				}
			}
		}
	}
	first, e.Since = e.Since, dayOf(e.Since)
	for i := range c.orders {
		if c.orders[i].At == 0 {
			e.Until = 0
			break
		}
		e.Until = max(e.Until, c.orders[i].At)
	}
	return first, e
}

// dayOf is the beginning of a day in UTC.
func dayOf(t moat.Time) moat.Time { return t / moat.Day * moat.Day }

// explain adds what detectors saw of the sources around their windows.
func (c *trial) explain(ctx context.Context, tenant moat.Tenant, find func(context.Context, moat.Tenant, Owner, moat.Time, moat.Time) ([]moat.Finding, error), a *Answer) error {
	for i := range a.Sources {
		s := &a.Sources[i]
		if s.Posterior < 0.05 && i > 0 {
			break
		}
		var all []moat.Finding
		for _, m := range s.Members {
			o := Owner{ID: m.ID, Partner: m.Partner, Kind: kindOf(m.Kind)}
			list, err := find(ctx, tenant, o, max(0, s.Since-7*moat.Day), s.Until+2*moat.Day)
			if err != nil {
				return err
			}
			all = append(all, list...)
		}
		for _, f := range strongest(all, 5) {
			s.Findings = append(s.Findings, Finding{f.ID, f.Time, f.Detector, f.Score, f.Reason, f.Entity.String()})
			s.Reach.Since = min(s.Reach.Since, dayOf(f.Time))
		}
	}
	return nil
}

func kindOf(name string) moat.EntityKind {
	if name == "app version" {
		return Version
	}
	k, err := moat.ParseEntityKind(name)
	if err != nil {
		panic("BUG: " + err.Error()) // it was written by KindName
	}
	return k
}
