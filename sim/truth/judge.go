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
	// Lost counts what the thief had taken before the case was opened, or in all if it was missed:
	// different orders, or rows of a database where no orders are named.
	Lost, All int64
}

// Delay is the time from the first act to the case.
func (o *Outcome) Delay() moat.Time { return o.Case.Opened - o.Theft.From }

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
	False    []moat.Case // those that are about no theft
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

// Judge compares cases with the truth. A case is about a theft if it is of one of its partners, names
// one of its culprits, and overlaps it in time, with an [Aftermath]. As an app is named in the
// cases of all who work with it, an app as culprit must be the subject of the case: its first
// entity. A theft is found by the first such case that was opened after its first act; one
// that was open before does not count. A case that is about no theft is false, unless it
// went into another, which then answers for it.
func Judge(thefts []Theft, cases []moat.Case) Verdict {
	var v Verdict
	for _, t := range thefts {
		v.Outcomes = append(v.Outcomes, Outcome{Theft: t})
	}
	cases = slices.Clone(cases)
	slices.SortFunc(cases, func(a, b moat.Case) int { return cmp.Or(cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID)) })
	for _, c := range cases {
		about := false
		for i := range v.Outcomes {
			o := &v.Outcomes[i]
			if !o.Theft.matches(&c) {
				continue
			}
			about = true
			if o.Case == nil && c.Opened >= o.Theft.From {
				o.Case = &c
			} else {
				o.Others = append(o.Others, c)
			}
		}
		if !about && c.Merged == "" {
			v.False = append(v.False, c)
		}
	}
	for i := range v.Outcomes {
		o := &v.Outcomes[i]
		if o.All = o.Theft.lost(o.Theft.To + 1); o.Case != nil {
			o.Lost = o.Theft.lost(o.Case.Opened)
		} else {
			o.Lost = o.All
		}
	}
	return v
}

func (t *Theft) matches(c *moat.Case) bool {
	if c.Partner != t.Partner && !slices.Contains(t.Elsewhere, c.Partner) || c.Opened > t.To+Aftermath || c.Updated < t.From {
		return false
	}
	for i, e := range c.Entities {
		if slices.Contains(t.Culprits, e) && (e.Kind != moat.App || i == 0) {
			return true
		}
	}
	return false
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
