package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/sim/truth"
)

// What [Explain] explains beside campaigns and detectors.
const (
	AllMissed = "missed"
	AllFalse  = "false"
)

// Explanation tells of one theft that was missed, or of one false case. Events holds those that
// are in the truth's acts or that made the findings, by id.
type Explanation struct {
	Seed     uint64                 `json:"seed"`
	Missed   *truth.Theft           `json:"missed,omitempty"`
	Case     *moat.Case             `json:"case,omitempty"` // the false one, or the one that named a culprit too early
	Highest  float64                `json:"highest_risk"`   // of an entity, after one of the findings
	OpensAt  float64                `json:"case_opens_at"`  // the risk that is worth a case
	Findings []*Finding             `json:"findings"`       // about the theft, or of the case
	Events   map[string]*moat.Event `json:"-"`
}

// ErrUnknown says that there is neither a campaign nor a detector of that name.
var ErrUnknown = errors.New("no campaign and no detector has this name")

// Explain tells of what is a campaign's name the thefts of it that were missed, of a detector's id
// the false cases in which it took part, of [AllMissed] or [AllFalse] all of them, at most
// limit. The ecosystems are made again to get at the events.
func Explain(ctx context.Context, s *Set, world func(uint64) (World, error), odds risk.Calibration, what string, limit int) ([]Explanation, error) {
	all, err := s.judge(ctx, odds)
	if err != nil {
		return nil, err
	}
	known := what == AllMissed || what == AllFalse || slices.ContainsFunc(s.detectorIDs(), func(id string) bool { return id == what })
	var out []Explanation
	for _, j := range all {
		for i := range j.Outcomes {
			o := &j.Outcomes[i]
			known = known || o.Theft.Name == what
			if o.Case == nil && (what == AllMissed || what == o.Theft.Name) {
				out = append(out, j.explainMiss(o))
			}
		}
		for i := range j.False {
			if c := &j.False[i]; what == AllFalse || slices.Contains(c.Detectors, what) {
				out = append(out, j.explainFalse(c))
			}
		}
	}
	if !known {
		return nil, fmt.Errorf("cannot explain %.80q: %w", what, ErrUnknown)
	}
	slices.SortStableFunc(out, func(a, b Explanation) int { return cmp.Compare(b.weight(), a.weight()) })
	out = out[:min(len(out), max(0, limit))]
	for i := range out {
		out[i].OpensAt = odds.OpensAt()
	}
	return out, attach(ctx, out, world)
}

func (s *Set) detectorIDs() (ids []string) {
	for _, d := range s.Detectors {
		ids = append(ids, d.ID)
	}
	return ids
}

// weight is what explanations are sorted by: missed thefts in their order, false cases by damage.
func (x *Explanation) weight() float64 {
	if x.Missed == nil {
		return x.Case.Damage
	}
	return 0
}

func (j *judged) explainMiss(o *truth.Outcome) Explanation {
	x := Explanation{Seed: j.Seed, Missed: &o.Theft, Findings: j.about(&o.Theft)}
	for _, f := range x.Findings {
		x.Highest = max(x.Highest, f.Risk)
	}
	if len(o.Others) > 0 {
		x.Case = &o.Others[0]
	}
	return x
}

func (j *judged) explainFalse(c *moat.Case) Explanation {
	x := Explanation{Seed: j.Seed, Case: c, Highest: c.Score}
	for i := range j.Findings {
		if f := &j.Findings[i]; slices.Contains(c.Findings, f.ID) {
			x.Findings = append(x.Findings, f)
		}
	}
	return x
}

// attach fills in the events: it makes each ecosystem again and keeps those that are wanted.
func attach(ctx context.Context, list []Explanation, world func(uint64) (World, error)) error {
	type key struct{ partner, id string }
	wanted := map[uint64]map[key][]*Explanation{}
	for i := range list {
		x := &list[i]
		x.Events = map[string]*moat.Event{}
		if wanted[x.Seed] == nil {
			wanted[x.Seed] = map[key][]*Explanation{}
		}
		want := func(partner, id string) {
			k := key{partner, id}
			wanted[x.Seed][k] = append(wanted[x.Seed][k], x)
		}
		for _, f := range x.Findings {
			for _, id := range f.Events {
				want(f.Partner, id)
			}
		}
		if t := x.Missed; t != nil {
			for _, p := range append([]string{t.Partner}, t.Elsewhere...) {
				for _, a := range t.Acts {
					want(p, a.Event)
				}
			}
		}
	}
	for seed, keys := range wanted {
		w, err := world(seed)
		if err != nil {
			return fmt.Errorf("cannot explain: %w", err)
		}
		for ctx.Err() == nil {
			day, ok := w.Next()
			if !ok {
				break
			}
			for _, e := range day {
				for _, x := range keys[key{e.Partner, e.ID}] {
					x.Events[e.ID] = e
				}
			}
		}
	}
	return ctx.Err()
}
