package truth

import (
	"cmp"
	"slices"

	"github.com/moat-platform/moat"
)

// Aftermath is how long after a theft's last act a case may still be about it.
const Aftermath = moat.Day

// Outcome is what became of one theft.
type Outcome struct {
	Theft Theft
	// Case is the one that found it, nil if it was missed; Others are further ones about it.
	Case   *moat.Case
	Others []moat.Case
	// At is when Case first named a culprit, which may be later than when it was opened.
	At moat.Time
	// Lost counts what the thief had taken before it was found, or in all if it was missed:
	// different orders, or rows of a database where no orders are named.
	Lost, All int64
}

// Delay is the time from the first act until a case named a culprit.
func (o *Outcome) Delay() moat.Time { return o.At - o.Theft.From }

// Cases returns all cases about the theft, the one that found it first.
func (o *Outcome) Cases() []moat.Case {
	if o.Case == nil {
		return o.Others
	}
	return append([]moat.Case{*o.Case}, o.Others...)
}

// Verdict is what came of a run.
type Verdict struct {
	Outcomes []Outcome
	// Echoes are cases that an [Echo] of a theft opened and that name no culprit: the alarm was right, who it was is not known.
	Echoes []moat.Case
	False  []moat.Case // those that are about no theft
}

// Found counts the thefts that were found.
func (v *Verdict) Found() int {
	n := 0
	for i := range v.Outcomes {
		if v.Outcomes[i].Case != nil {
			n++
		}
	}
	return n
}

// Named tells, by case, when each of its entities was first named in it. What it does not know of
// was named when the case was opened.
type Named map[string][]moat.Time

func (n Named) at(c *moat.Case, entity int) moat.Time {
	if times := n[c.ID]; entity < len(times) {
		return max(times[entity], c.Opened)
	}
	return c.Opened
}

// Openers tells, by case, the event whose finding opened it.
type Openers map[string]string

// Judge compares cases with the truth. A case finds a theft if it is of one of its partners and
// first names one of its culprits between the theft's first act and an [Aftermath] after its last. What
// many use names nobody by being there: an app, an outlet, a shop, a partner, and a device that is
// [Theft.Shared] must be the subject of the case, its first entity; a shared address is never
// enough. The first case that finds a theft is its Case; others, and those that named a
// culprit before the theft and went on into it, are Others, and so are those of mere background. A case that finds no theft is
// false, also if it was about the later thief before he stole, unless it went into
// another, which then answers for it. One that names no culprit but was opened by an [Echo] of a theft is neither
// false nor has it found anything.
func Judge(thefts []Theft, cases []moat.Case, named Named, openers Openers) Verdict {
	var v Verdict
	for _, t := range thefts {
		v.Outcomes = append(v.Outcomes, Outcome{Theft: t})
	}
	type place struct{ partner, event string }
	echoes := map[place]bool{}
	for i := range thefts {
		for _, e := range thefts[i].Echoes {
			echoes[place{e.Partner, e.Event}] = true
		}
	}
	found := make([][]find, len(thefts))
	cases = slices.Clone(cases)
	slices.SortFunc(cases, func(a, b moat.Case) int { return cmp.Or(cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID)) })
	for n := range cases {
		c, about := &cases[n], false
		for i := range thefts {
			switch at, ok := thefts[i].namedBy(c, named); {
			case ok && c.Background: // who guesses at doors is named, that he got in is not said
				about = true
				v.Outcomes[i].Others = append(v.Outcomes[i].Others, *c)
			case ok && at >= thefts[i].From:
				about = true
				found[i] = append(found[i], find{c, at})
			case ok:
				v.Outcomes[i].Others = append(v.Outcomes[i].Others, *c)
			}
		}
		switch {
		case about || c.Merged != "":
		case echoes[place{c.Partner, openers[c.ID]}]:
			v.Echoes = append(v.Echoes, *c)
		default:
			v.False = append(v.False, *c)
		}
	}
	for i := range v.Outcomes {
		v.Outcomes[i].settle(found[i])
	}
	return v
}

// find is a case that found a theft, and when.
type find struct {
	c  *moat.Case
	at moat.Time
}

func (o *Outcome) settle(found []find) {
	o.All = o.Theft.lost(o.Theft.To + 1)
	o.Lost = o.All
	slices.SortStableFunc(found, func(a, b find) int { return cmp.Compare(a.at, b.at) })
	for n, f := range found {
		if n > 0 {
			o.Others = append(o.Others, *f.c)
			continue
		}
		o.Case, o.At, o.Lost = f.c, f.at, o.Theft.lost(f.at)
	}
}

// Of tells whether the theft was from a partner.
func (t *Theft) Of(partner string) bool {
	return partner == t.Partner || slices.Contains(t.Elsewhere, partner)
}

// Names tells whether naming an entity names who did it.
func (t *Theft) Names(e moat.Entity, subject bool) bool {
	if !slices.Contains(t.Culprits, e) {
		return false
	}
	switch shared := slices.Contains(t.Shared, e); e.Kind {
	case moat.IP:
		return !shared
	case moat.App, moat.Outlet, moat.Shop, moat.Partner, moat.Peers:
		return subject
	default:
		return subject || !shared
	}
}

// namedBy tells when a case first named a culprit; it prefers a time within the theft to one before it.
func (t *Theft) namedBy(c *moat.Case, named Named) (first moat.Time, ok bool) {
	if !t.Of(c.Partner) || c.Updated < t.From {
		return 0, false
	}
	for i, e := range c.Entities {
		at := named.at(c, i)
		if at > t.To+Aftermath || !t.Names(e, i == 0) {
			continue
		}
		if during := at >= t.From; !ok || during && (first < t.From || at < first) {
			first, ok = at, true
		}
	}
	return first, ok
}

// lost counts what was taken before a time.
func (t *Theft) lost(before moat.Time) (n int64) {
	seen := map[string]bool{}
	for _, a := range t.Acts {
		if a.Time >= before {
			continue
		}
		n += a.Rows
		for _, o := range a.Orders {
			if !seen[o] {
				seen[o] = true
				n++
			}
		}
	}
	return n
}
