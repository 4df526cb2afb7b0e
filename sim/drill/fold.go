package drill

import (
	"cmp"
	"maps"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/dispose/playbook"
	"github.com/moat-platform/moat/sim/truth"
)

// folded is what findings add up to.
type folded struct {
	cases     []moat.Case // as they ended
	named     truth.Named
	openers   truth.Openers
	decisions map[string][]moat.Decision // by case, each once
}

// fold takes findings of one partner through a risk keeper, without those of one detector. No partner's findings
// touch another's cases, so that partners may be folded one by one. With play it also asks what
// would be decided, and notes in the findings where they went.
func fold(findings []*Finding, odds risk.Calibration, without string, play *playbook.Playbook) folded {
	out := folded{named: truth.Named{}, openers: truth.Openers{}, decisions: map[string][]moat.Decision{}}
	keeper, at := risk.NewKeeper(odds), map[string]int{}
	for _, f := range findings {
		if f.Detector == without {
			continue
		}
		ch := keeper.Fold(&f.Finding)
		for _, c := range ch.Cases {
			i, ok := at[c.ID]
			if !ok {
				i = len(out.cases)
				at[c.ID], out.cases = i, append(out.cases, c)
				if c.ID == moat.CaseID(f.ID) && len(f.Events) > 0 {
					out.openers[c.ID] = f.Events[0]
				}
			}
			out.cases[i] = c
			times := out.named[c.ID]
			for len(times) < len(c.Entities) {
				times = append(times, f.Time)
			}
			out.named[c.ID] = times
		}
		if play == nil {
			continue
		}
		if f.Risk, f.Case = ch.Risk.Score, ""; len(ch.Cases) == 0 {
			continue
		}
		worst := ch.Cases[len(ch.Cases)-1]
		if f.Case = worst.ID; !ch.Enforce {
			continue
		}
		for _, d := range play.Decide(worst, ch.Subject, ch.Reason, ch.Rank, f.Time) {
			have := out.decisions[d.Case]
			if !slices.ContainsFunc(have, func(old moat.Decision) bool { return old.ID == d.ID }) {
				out.decisions[d.Case] = append(have, d)
			}
		}
	}
	return out
}

// add puts what came of another partner beside it.
func (f *folded) add(o folded) {
	f.cases = append(f.cases, o.cases...)
	maps.Copy(f.named, o.named)
	maps.Copy(f.openers, o.openers)
	maps.Copy(f.decisions, o.decisions)
}

// fold folds all partners.
func (r *Round) fold(odds risk.Calibration, play *playbook.Playbook) map[string]folded {
	out := make(map[string]folded, len(r.partners))
	for _, p := range r.partners {
		out[p] = fold(r.byPartner[p], odds, "", play)
	}
	return out
}

// join puts the partners' parts together, in a fixed order.
func (r *Round) join(parts map[string]folded) folded {
	out := folded{named: truth.Named{}, openers: truth.Openers{}, decisions: map[string][]moat.Decision{}}
	for _, p := range r.partners {
		out.add(parts[p])
	}
	slices.SortFunc(out.cases, func(a, b moat.Case) int { return cmp.Or(cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID)) })
	return out
}

// judged is a round with what its findings added up to and how that compares with the truth.
type judged struct {
	*Round
	folded
	truth.Verdict // outcomes of the thefts after the warm-up only
	warm          moat.Time
	parts         map[string]folded
	wrong         map[string]bool // cases that are false
	echoes        map[string]bool // and those that are right and name nobody
}

// judge compares. Thefts that began before warm are not judged, but cases about them are not false.
func (r *Round) judge(parts map[string]folded, warm moat.Time) *judged {
	j := &judged{Round: r, folded: r.join(parts), warm: warm, parts: parts, wrong: map[string]bool{}, echoes: map[string]bool{}}
	j.Verdict = r.verdict(&j.folded, warm)
	for i := range j.False {
		j.wrong[j.False[i].ID] = true
	}
	for i := range j.Echoes {
		j.echoes[j.Echoes[i].ID] = true
	}
	return j
}

func (r *Round) verdict(f *folded, warm moat.Time) truth.Verdict {
	v := truth.Judge(r.Thefts, f.cases, f.named, f.openers)
	v.Outcomes = slices.DeleteFunc(v.Outcomes, func(o truth.Outcome) bool { return o.Theft.From < warm })
	return v
}

// trueCases lists those that found something, without those that went into another.
func (j *judged) trueCases() (out []moat.Case) {
	for i := range j.cases {
		if c := &j.cases[i]; c.Merged == "" && !j.wrong[c.ID] && !j.echoes[c.ID] {
			out = append(out, *c)
		}
	}
	return out
}
