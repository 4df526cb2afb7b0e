package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// Analyst is somebody who looks at each day's new cases in the evening.
type Analyst struct {
	Judges float64 // share of the cases that are judged, 0..1
	Errs   float64 // share of these that are judged wrongly, 0..1
}

// Taught is how good detection is without verdicts and with those of an analyst.
type Taught struct {
	Verdicts int   `json:"verdicts"`
	Wrong    int   `json:"wrong"`   // of them
	Demoted  int   `json:"demoted"` // detectors, in all rounds
	Before   Worth `json:"before"`
	After    Worth `json:"after"`
}

// Teach has an analyst judge the cases of each day, once, by whether a finding of theirs was about a theft, and measures what
// that does. The rounds are taken for months of one installation, each with new partners: what is said of a detector in one holds in
// those after it. The same set and analyst give the same figures.
func (s *Set) Teach(ctx context.Context, odds risk.Calibration, a Analyst) (*Taught, error) {
	before, err := s.judge(ctx, odds)
	if err != nil {
		return nil, err
	}
	out := &Taught{}
	after := make([]*judged, len(s.Rounds))
	var past []*risk.Lesson
	for i, r := range s.Rounds {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		parts := r.taught(odds, a, &past, out)
		after[i] = r.judge(parts, r.Start+s.Warmup)
	}
	same := func(int) risk.Calibration { return odds }
	out.Before, out.After = worth(before, same), worth(after, same)
	return out, nil
}

type caseOf struct{ partner, id string }

// class is an analyst at work on a round.
type class struct {
	round   *Round
	analyst Analyst
	keeper  *risk.Keeper
	draw    *rand.Rand
	at      map[string]*Finding // by id
	fresh   []caseOf            // of the day
	past    *[]*risk.Lesson     // of this round and those before
	out     *Taught
}

// taught folds all findings in the order in which they were made, and teaches between the days.
func (r *Round) taught(odds risk.Calibration, a Analyst, past *[]*risk.Lesson, out *Taught) map[string]folded {
	c := &class{round: r, analyst: a, keeper: risk.NewKeeper(odds), draw: rand.New(rand.NewPCG(r.Seed, 7)), at: map[string]*Finding{}, past: past, out: out}
	for i, l := range *past { // of partners that only have the same names
		old := *l
		old.Partner = fmt.Sprintf("before %d", i)
		(*past)[i] = &old
		c.keeper.Learned().Learn(&old)
	}
	parts := map[string]folded{}
	for _, p := range r.partners {
		parts[p] = folded{named: map[string][]moat.Time{}}
	}
	places, day := map[string]int{}, int64(0)
	for i := range r.Findings {
		f := r.Findings[i] // what becomes of it must not reach other folds
		if today := int64((f.Time - r.Start) / moat.Day); today > day {
			day = today
			c.evening(parts, places)
		}
		c.at[f.ID] = &r.Findings[i]
		c.keeper.Learned().Treat(&f.Finding)
		part := parts[f.Partner]
		for _, x := range c.keeper.Fold(&f.Finding).Cases {
			n, ok := places[x.ID]
			if !ok {
				n = len(part.cases)
				places[x.ID], part.cases = n, append(part.cases, x)
				c.fresh = append(c.fresh, caseOf{f.Partner, x.ID})
			}
			part.cases[n] = x
			for len(part.named[x.ID]) < len(x.Entities) {
				part.named[x.ID] = append(part.named[x.ID], f.Time)
			}
		}
		parts[f.Partner] = part
	}
	return parts
}

// evening judges the new cases of the day.
func (c *class) evening(parts map[string]folded, places map[string]int) {
	for _, k := range c.fresh {
		x := &parts[k.partner].cases[places[k.id]]
		if judges, errs := c.draw.Float64() < c.analyst.Judges, c.draw.Float64() < c.analyst.Errs; judges && x.Merged == "" {
			c.teach(x, errs)
		}
	}
	c.fresh = c.fresh[:0]
}

func (c *class) teach(x *moat.Case, errs bool) {
	l := &risk.Lesson{Kind: risk.Judged, Partner: x.Partner, Object: x.ID, Score: x.Score, Rank: x.Rank, Updated: x.Updated, Detectors: x.Detectors}
	theft := false
	for _, id := range x.Findings {
		f := c.at[id]
		theft = theft || f.True()
		if !slices.Contains(l.Families, f.Family) {
			l.Families = append(l.Families, f.Family)
		}
		if !slices.Contains(l.Entities, f.Entity) && len(l.Entities) < risk.MaxEntities {
			l.Entities = append(l.Entities, f.Entity)
		}
	}
	if c.out.Verdicts++; errs {
		theft = !theft
		c.out.Wrong++
	}
	if l.Verdict = moat.FalseAlarm; theft {
		l.Verdict = moat.Confirmed
	}
	c.learn(l)
	for id, why := range c.keeper.Learned().Spent(risk.DefaultBudget()) {
		c.out.Demoted++
		c.learn(&risk.Lesson{Kind: risk.Demoted, Object: id, Reason: why})
	}
}

func (c *class) learn(l *risk.Lesson) {
	*c.past = append(*c.past, l)
	l.Seq = uint64(len(*c.past))
	c.keeper.Learn(l)
}
