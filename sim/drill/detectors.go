package drill

import (
	"cmp"
	"context"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/sim/truth"
)

// measureDetectors tells what each detector gave, the most useful first.
func measureDetectors(ctx context.Context, s *Set, all []*judged, odds risk.Calibration) ([]Detector, error) {
	out, at := make([]Detector, len(s.Detectors)), map[string]*Detector{}
	for i, d := range s.Detectors {
		out[i] = Detector{ID: d.ID, Mode: d.Mode.String()}
		at[d.ID] = &out[i]
	}
	thefts, wrong := 0, 0
	for _, j := range all {
		thefts, wrong = thefts+len(j.Outcomes), wrong+len(j.False)
		j.tally(at)
	}
	var gone, quiet = make([][]int, len(all)), make([][]int, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, j := range all {
		g.Go(func() error {
			gone[i], quiet[i] = make([]int, len(out)), make([]int, len(out))
			for n := range out {
				if d := &out[n]; d.TruePart+d.FalsePart > 0 {
					gone[i][n], quiet[i][n] = j.without(d.ID, odds)
				}
				if err := ctx.Err(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for n := range out {
		d := &out[n]
		lost := 0
		for i := range all {
			lost, d.MarginalFalse = lost+gone[i][n], d.MarginalFalse+quiet[i][n]
		}
		d.MarginalRecall = share(lost, thefts)
		d.Precision, d.PrecisionLow = share(d.True, d.Fires), risk.Wilson(d.True, d.Fires)
		d.OpenedShare = share(d.Opened, wrong)
		if d.Fires > 0 {
			d.Stated /= float64(d.Fires)
		}
	}
	slices.SortStableFunc(out, func(a, b Detector) int {
		return cmp.Or(cmp.Compare(b.MarginalRecall, a.MarginalRecall), cmp.Compare(b.TruePart, a.TruePart), cmp.Compare(b.Fires, a.Fires), cmp.Compare(a.ID, b.ID))
	})
	return out, nil
}

// tally counts findings and parts in cases.
func (j *judged) tally(at map[string]*Detector) {
	opener := map[string]string{} // detector, by case
	for i := range j.Findings {
		f := &j.Findings[i]
		d := at[f.Detector]
		d.Fires++
		d.Stated += f.Score
		if f.True() {
			d.True++
		}
		if f.Case != "" && moat.CaseID(f.ID) == f.Case {
			opener[f.Case] = f.Detector
		}
	}
	for i := range j.Outcomes {
		part := map[string]bool{}
		for _, c := range j.finders(&j.Outcomes[i]) {
			for _, id := range c.Detectors {
				part[id] = true
			}
		}
		for id := range part {
			at[id].TruePart++
		}
	}
	for i := range j.False {
		for _, id := range j.False[i].Detectors {
			at[id].FalsePart++
		}
		if d := at[opener[j.False[i].ID]]; d != nil {
			d.Opened++
		}
	}
}

// finders lists the cases that found a theft.
func (j *judged) finders(o *truth.Outcome) []moat.Case {
	if o.Case == nil {
		return nil
	}
	return slices.DeleteFunc(o.Cases(), func(c moat.Case) bool { return j.wrong[c.ID] })
}

// without tells how many thefts are found no more and how many false cases are gone if a detector is. Only
// the partners where it found something are folded again.
func (j *judged) without(detector string, odds risk.Calibration) (gone, quiet int) {
	parts := maps.Clone(j.parts)
	changed := false
	for _, p := range j.partners {
		if slices.ContainsFunc(j.byPartner[p], func(f *Finding) bool { return f.Detector == detector }) {
			parts[p], changed = fold(j.byPartner[p], odds, detector, nil), true
		}
	}
	if !changed {
		return 0, 0
	}
	rest := j.join(parts)
	v := j.verdict(&rest, j.warm)
	return j.Found() - v.Found(), len(j.False) - len(v.False)
}
