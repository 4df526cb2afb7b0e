package drill

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// Constants of the fit.
const (
	minSlope, maxSlope = 0.2, 3
	slopeFaith         = 10 // how many findings it takes to believe in another slope than 1
	fitSteps           = 50
	// Scores at which cases may open, and the false cases in 1,000 staff-days that are allowed where it is fitted: seeds
	// that it has not seen bring more.
	minOpen, maxOpen, openStep = 10, 80, 5
	room                       = 3.0
)

// Calibrated is what a calibration is, and what it is worth on seeds that it has not seen.
type Calibrated struct {
	Calibration risk.Calibration `json:"calibration"` // fitted to all seeds
	Before      Worth            `json:"before"`      // as detectors state it
	After       Worth            `json:"after"`       // each seed under a fit to the seeds of the other folds
	// Better says that After has fewer false cases with at least the recall, or more recall with no more
	// false cases, or more recall at the budget of five with a smaller error.
	Better bool `json:"better"`
}

// Worth is how good detection is.
type Worth struct {
	risk.Quality
	RecallAt []Point `json:"recall_at_budget"` // by damage
}

// at5 is the recall at the budget that the product wants to keep.
func (w *Worth) at5() float64 {
	for _, p := range w.RecallAt {
		if p.FalsePer1000 == wantFalse {
			return p.Recall
		}
	}
	return 0
}

// Calibrate measures how often what each detector found was about a theft as a function of what its
// findings state, and how well detection does with that on the rounds of each fold when
// it is fitted to those of the others. World says in words which ecosystem it was.
func Calibrate(ctx context.Context, s *Set, folds int, world string) (*Calibrated, error) {
	if folds < 2 || folds > len(s.Rounds) {
		return nil, fmt.Errorf("cannot calibrate: %d folds of %d seeds; want at least 2 folds and a seed in each", folds, len(s.Rounds))
	}
	before, err := s.judge(ctx, risk.Calibration{})
	if err != nil {
		return nil, err
	}
	after := make([]*judged, len(s.Rounds))
	fits := make([]risk.Calibration, folds)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for fold := range folds {
		g.Go(func() error {
			var training []*Round
			for i, r := range s.Rounds {
				if i%folds != fold {
					training = append(training, r)
				}
			}
			fits[fold] = s.fitted(training)
			for i, r := range s.Rounds {
				if i%folds == fold {
					after[i] = r.judge(r.fold(fits[fold], nil), r.Start+s.Warmup)
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := &Calibrated{Calibration: s.fitted(s.Rounds)}
	out.Before = worth(before, func(int) risk.Calibration { return risk.Calibration{} })
	out.After = worth(after, func(i int) risk.Calibration { return fits[i%folds] })
	b, a := &out.Before, &out.After
	out.Better = a.FalseCases < b.FalseCases && a.Recall >= b.Recall || a.FalseCases <= b.FalseCases && a.Recall > b.Recall || a.at5() > b.at5() && a.FindingECE < b.FindingECE
	m := &out.Calibration.Made
	m.World, m.Folds, m.Before, m.After = world, folds, &b.Quality, &a.Quality
	for _, r := range s.Rounds {
		m.Training, m.HeldOut, m.Findings = append(m.Training, r.Seed), append(m.HeldOut, r.Seed), m.Findings+len(r.Findings)
	}
	return out, nil
}

// fitted is the calibration of some rounds. A case opens at the score with the highest recall among
// those that keep false cases within the room of the budget; of several at the one nearest to [risk.OpenAt].
func (s *Set) fitted(rounds []*Round) risk.Calibration {
	c := risk.Calibration{Version: risk.CalibrationVersion, Detectors: fit(rounds, s.Marks)}
	best, recall := float64(maxOpen), -1.0
	for at := maxOpen; at >= minOpen; at -= openStep {
		c.OpenAt = float64(at)
		var tally Tally
		wrong, staff := 0, 0
		for _, r := range rounds {
			j := r.judge(r.fold(c, nil), r.Start+s.Warmup)
			for i := range j.Outcomes {
				tally.add(&j.Outcomes[i])
			}
			wrong += len(j.False)
			for _, n := range j.Staff {
				staff += n
			}
		}
		if tally.finish(); per1000(wrong, staff) > room {
			break
		}
		if tally.Recall > recall || tally.Recall == recall && at >= risk.OpenAt {
			best, recall = float64(at), tally.Recall
		}
	}
	c.OpenAt = best
	return c
}

// worth computes how good detection was; odds is the calibration of the i-th round.
func worth(all []*judged, odds func(i int) risk.Calibration) (w Worth) {
	var findings, cases []scored
	var tally Tally
	wrong, staff := 0, 0
	for i, j := range all {
		for n := range j.Outcomes {
			tally.add(&j.Outcomes[n])
		}
		wrong += len(j.False)
		for _, n := range j.Staff {
			staff += n
		}
		c := odds(i)
		for _, e := range episodes([]*Round{j.Round}) {
			o := c.Odds(e.detector, e.score)
			findings = append(findings, scored{o / (1 + o), e.is})
		}
		cases = append(cases, j.scores()...)
	}
	tally.finish()
	w.Recall, w.FalseCases = tally.Recall, per1000(wrong, staff)
	_, w.ECE = reliability(cases, 0.5)
	_, w.FindingECE = reliability(findings, 0)
	w.RecallAt = recallAt(budget(all, staff, func(c *moat.Case) float64 { return c.Damage }))
	return w
}

// episode is what one detector said about one entity, with no pause as long as a case waits for more. What
// is said again and again is one thing to be right or wrong about.
type episode struct {
	detector string
	score    float64 // the highest
	is       bool
}

func episodes(rounds []*Round) (out []episode) {
	type key struct {
		partner, detector string
		entity            moat.Entity
	}
	type open struct {
		at   int
		last moat.Time
	}
	for _, r := range rounds {
		running := map[key]open{}
		for i := range r.Findings {
			f := &r.Findings[i]
			k := key{f.Partner, f.Detector, f.Entity}
			o, ok := running[k]
			if !ok || f.Time-o.last > risk.Quiet {
				o = open{at: len(out)}
				out = append(out, episode{detector: f.Detector})
			}
			e := &out[o.at]
			e.score, e.is = max(e.score, f.Score), e.is || f.True()
			o.last = f.Time
			running[k] = o
		}
	}
	return out
}

// fit measures each detector.
func fit(rounds []*Round, marks map[string]string) map[string]risk.Measure {
	by := map[string][]scored{}
	for _, e := range episodes(rounds) {
		by[e.detector] = append(by[e.detector], scored{e.score, e.is})
	}
	out := map[string]risk.Measure{}
	for _, id := range slices.Sorted(maps.Keys(by)) {
		m := risk.Measure{N: len(by[id]), Source: marks[id]}
		for _, s := range by[id] {
			if s.is {
				m.True++
			}
		}
		m.Low = round(risk.Wilson(m.True, m.N))
		m.Slope, m.Shift = platt(by[id])
		out[id] = m
	}
	return out
}

// platt fits the log-odds slope·x + shift to what came true, x being the stated log-odds (Platt 1999). The
// targets are smoothed as there, so that a detector that was always right does not become
// certain; the slope is held near 1 as if so many more findings had confirmed it.
func platt(list []scored) (slope, shift float64) {
	yes := 0
	for _, s := range list {
		if s.is {
			yes++
		}
	}
	high, low := float64(yes+1)/float64(yes+2), 1/float64(len(list)-yes+2)
	slope = 1
	for range fitSteps {
		// Newton's method on the loss; g is its gradient, h its Hessian.
		ga, gb := slopeFaith*(slope-1), 0.0
		haa, hab, hbb := float64(slopeFaith), 0.0, 1e-6
		for _, s := range list {
			x := logit(s.p)
			p, want := 1/(1+math.Exp(-slope*x-shift)), low
			if s.is {
				want = high
			}
			d, v := p-want, max(p*(1-p), 1e-6)
			ga, gb = ga+d*x, gb+d
			haa, hab, hbb = haa+v*x*x, hab+v*x, hbb+v
		}
		det := haa*hbb - hab*hab
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		step := min(1, 2/max(math.Abs(da), math.Abs(db), 1e-12)) // not too far at once
		slope, shift = slope-step*da, shift-step*db
		if math.Abs(da)+math.Abs(db) < 1e-9 {
			break
		}
	}
	slope = min(max(slope, minSlope), maxSlope)
	return round(slope), round(min(max(shift, -20), 20))
}

func logit(p float64) float64 {
	p = min(max(p, 0.001), 0.999)
	return math.Log(p / (1 - p))
}

// round keeps four digits, so that the file is short and the same on any machine.
func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// Fit is a detector's measure beside what it states.
type Fit struct {
	ID string
	risk.Measure
	Stated     float64 // mean score of its episodes
	Precision  float64
	Calibrated float64 // probability at the mean score
}

// Fits lists the measures, those that change most first.
func (c *Calibrated) Fits(s *Set) []Fit {
	sum := map[string]float64{}
	for _, e := range episodes(s.Rounds) {
		sum[e.detector] += e.score
	}
	var out []Fit
	for id, m := range c.Calibration.Detectors {
		f := Fit{ID: id, Measure: m, Stated: sum[id] / float64(m.N), Precision: share(m.True, m.N)}
		o := c.Calibration.Odds(id, f.Stated)
		f.Calibrated = o / (1 + o)
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Fit) int {
		return cmp.Or(cmp.Compare(math.Abs(logit(b.Calibrated)-logit(b.Stated)), math.Abs(logit(a.Calibrated)-logit(a.Stated))), cmp.Compare(a.ID, b.ID))
	})
	return out
}
