package drill

import (
	"cmp"
	"context"
	"maps"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/dispose/playbook"
	"github.com/moat-platform/moat/sim/truth"
)

// Report is the figures of a drill. Rates are 0..1, but those per 1,000 staff-days; a rate of nothing is 0.
type Report struct {
	Seeds      []uint64 `json:"seeds"`
	Days       int      `json:"days"` // of the longest ecosystem
	WarmupDays float64  `json:"warmup_days"`
	Events     int      `json:"events"`
	Findings   int      `json:"findings"`
	StaffDays  int      `json:"staff_days"`

	Tally
	// RecallLow is the lower bound of Recall: Wilson, 95 %.
	RecallLow float64 `json:"recall_low"`
	// Contained is the share of thefts on a culprit of which the playbook took the data away: masked or more.
	Contained float64 `json:"contained"`

	TrueCases    int     `json:"true_cases"`
	FalseCases   int     `json:"false_cases"`
	Precision    float64 `json:"precision"` // of cases
	TruePer1000  float64 `json:"true_cases_per_1000_staff_days"`
	FalsePer1000 float64 `json:"false_cases_per_1000_staff_days"`
	// EchoCases counts those that an echo of a theft opened (a customer who is called, a planted order that is used) and
	// that name nobody. They are neither true nor false here.
	EchoCases int `json:"echo_cases"`
	// HarmPer1000 counts decisions to mask or worse that false cases brought.
	HarmPer1000 float64 `json:"false_decisions_per_1000_staff_days"`
	Early       Period  `json:"first_14_days"`
	Late        Period  `json:"after_14_days"`

	List        List         `json:"list"`
	ECE         float64      `json:"ece"` // of the scores of cases
	Reliability []Bin        `json:"reliability"`
	Budget      []Point      `json:"budget"`           // cases taken by damage, worst first
	BudgetScore []Point      `json:"budget_by_score"`  // and by score
	RecallAt    []Point      `json:"recall_at_budget"` // by damage
	Campaigns   []Campaign   `json:"campaigns"`
	Detectors   []Detector   `json:"detectors"`
	Missed      []Miss       `json:"missed"`
	Noisiest    []FalseAlarm `json:"noisiest"` // false cases by damage, worst first; at most MaxNoisiest

	delays []delay
}

// Noise lists the detectors without which no theft more would be missed and there would be fewer false cases, the
// noisiest first, at most five.
func (r *Report) Noise() (out []Detector) {
	for _, d := range r.Detectors {
		if d.MarginalRecall <= 0 && d.MarginalFalse > 0 {
			out = append(out, d)
		}
	}
	slices.SortStableFunc(out, func(a, b Detector) int { return cmp.Compare(b.MarginalFalse, a.MarginalFalse) })
	return out[:min(len(out), 5)]
}

// Tally is how thefts ended.
type Tally struct {
	Thefts   int              `json:"thefts"`
	Found    int              `json:"found"`
	Recall   float64          `json:"recall"`
	Median   float64          `json:"median_time_to_detect_s"` // of those found
	P90      float64          `json:"p90_time_to_detect_s"`
	Lost     int64            `json:"orders_lost"` // before they were found, or at all if missed
	Taken    int64            `json:"orders_taken"`
	LostPart float64          `json:"orders_lost_share"`
	Ranks    [moat.P4 + 1]int `json:"-"`
	RankOf   map[string]int   `json:"ranks"` // of the case that found it, as it ended

	seconds []float64
}

// Campaign is how the thefts of one name ended.
type Campaign struct {
	Name string `json:"name"`
	Slow bool   `json:"slow"`
	Tally
	Variants []Campaign `json:"variants,omitempty"` // if there is more than one
}

// Period is how many cases a part of the time brought.
type Period struct {
	StaffDays    int     `json:"staff_days"`
	TrueCases    int     `json:"true_cases"`
	FalseCases   int     `json:"false_cases"`
	TruePer1000  float64 `json:"true_cases_per_1000_staff_days"`
	FalsePer1000 float64 `json:"false_cases_per_1000_staff_days"`
}

// Detector is what one detector gave.
type Detector struct {
	ID           string  `json:"id"`
	Mode         string  `json:"mode"`
	Fires        int     `json:"fires"`
	True         int     `json:"true"` // findings that are about a theft
	Precision    float64 `json:"precision"`
	PrecisionLow float64 `json:"precision_low"` // lower bound: Wilson, 95 %
	Stated       float64 `json:"stated"`        // mean score of its findings: what Precision should be
	TruePart     int     `json:"true_cases"`    // thefts in whose case it took part
	FalsePart    int     `json:"false_cases"`   // false cases in which it took part
	Opened       int     `json:"opened_false"`  // false cases that its finding opened
	OpenedShare  float64 `json:"opened_false_share"`
	// MarginalRecall and MarginalFalse are how much recall and how many false cases go if it goes. They
	// come from folding the recorded findings again without it, not from another run of the engine.
	MarginalRecall float64 `json:"marginal_recall"`
	MarginalFalse  int     `json:"marginal_false_cases"`
}

// Miss is a theft that was not found.
type Miss struct {
	Seed     uint64        `json:"seed"`
	Name     string        `json:"name"`
	Variant  string        `json:"variant,omitempty"`
	Partner  string        `json:"partner"`
	From     moat.Time     `json:"from"`
	To       moat.Time     `json:"to"`
	Taken    int64         `json:"orders"`
	Culprits []moat.Entity `json:"culprits"`
	Highest  float64       `json:"highest_risk"` // that findings about it brought an entity to
	Findings int           `json:"findings"`     // about it
	Before   bool          `json:"case_before"`  // a case named a culprit before, and went on
}

// FalseAlarm is a case about nothing.
type FalseAlarm struct {
	Seed uint64    `json:"seed"`
	Case moat.Case `json:"case"`
}

// delay is how long one theft went undetected, for ever if it was missed.
type delay struct {
	seconds float64
	slow    bool
}

// Limits of lists and constants of the figures.
const (
	MaxNoisiest = 50
	earlyDays   = 14
)

// Median and the rest of a sorted list by nearest rank; 0 if it is empty.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func share[A, B int | int64](part A, whole B) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func per1000(n, staffDays int) float64 { return 1000 * share(n, staffDays) }

func (t *Tally) add(o *truth.Outcome) {
	t.Thefts++
	t.Lost, t.Taken = t.Lost+o.Lost, t.Taken+o.All
	if o.Case != nil {
		t.Found++
		t.Ranks[o.Case.Rank]++
		t.seconds = append(t.seconds, float64(o.Delay())/float64(moat.Second))
	}
}

func (t *Tally) finish() {
	slices.Sort(t.seconds)
	t.Recall, t.LostPart = share(t.Found, t.Thefts), share(t.Lost, t.Taken)
	t.Median, t.P90 = quantile(t.seconds, 0.5), quantile(t.seconds, 0.9)
	t.RankOf = map[string]int{}
	for r := moat.P1; r <= moat.P4; r++ {
		if t.Ranks[r] > 0 {
			t.RankOf[r.String()] = t.Ranks[r]
		}
	}
}

// NewReport folds the findings of the rounds with a calibration and computes the figures.
func NewReport(ctx context.Context, s *Set, odds risk.Calibration) (*Report, error) {
	all, err := s.judge(ctx, odds)
	if err != nil {
		return nil, err
	}
	r := &Report{WarmupDays: float64(s.Warmup) / float64(moat.Day), Missed: []Miss{}, Noisiest: []FalseAlarm{}}
	campaigns, variants := map[string]*Campaign{}, map[[2]string]*Campaign{}
	var harm, contained int
	for _, j := range all {
		r.Seeds = append(r.Seeds, j.Seed)
		r.Days = max(r.Days, len(j.Staff))
		r.Events, r.Findings = r.Events+j.Events, r.Findings+len(j.Findings)
		for i := range j.Outcomes {
			o := &j.Outcomes[i]
			r.add(o)
			entry(campaigns, o.Theft.Name, o).add(o)
			entry(variants, [2]string{o.Theft.Name, o.Theft.Variant}, o).add(o)
			if o.Case == nil {
				r.Missed = append(r.Missed, j.miss(o))
				r.delays = append(r.delays, delay{math.Inf(1), o.Theft.Slow})
				continue
			}
			r.delays = append(r.delays, delay{float64(o.Delay()) / float64(moat.Second), o.Theft.Slow})
			if j.contained(o) {
				contained++
			}
		}
		r.periods(j)
		harm += j.harm()
		r.EchoCases += len(j.Echoes)
		for _, c := range j.False {
			r.Noisiest = append(r.Noisiest, FalseAlarm{j.Seed, c})
		}
	}
	r.finish()
	r.RecallLow, r.Contained = risk.Wilson(r.Found, r.Thefts), share(contained, r.Thefts)
	r.StaffDays = r.Early.StaffDays + r.Late.StaffDays
	r.TrueCases, r.FalseCases = r.Early.TrueCases+r.Late.TrueCases, r.Early.FalseCases+r.Late.FalseCases
	r.Precision = share(r.TrueCases, r.TrueCases+r.FalseCases)
	r.TruePer1000, r.FalsePer1000, r.HarmPer1000 = per1000(r.TrueCases, r.StaffDays), per1000(r.FalseCases, r.StaffDays), per1000(harm, r.StaffDays)
	slices.SortStableFunc(r.Noisiest, func(a, b FalseAlarm) int { return cmp.Compare(b.Case.Damage, a.Case.Damage) })
	r.Noisiest = r.Noisiest[:min(len(r.Noisiest), MaxNoisiest)]
	r.Campaigns = listCampaigns(campaigns, variants)
	r.curves(all)
	r.List = list(all)
	r.Detectors, err = measureDetectors(ctx, s, all, odds)
	return r, err
}

// judge folds and judges all rounds, as many at a time as there are cores.
func (s *Set) judge(ctx context.Context, odds risk.Calibration) ([]*judged, error) {
	out, play := make([]*judged, len(s.Rounds)), playbook.Default()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, r := range s.Rounds {
		g.Go(func() error {
			out[i] = r.judge(r.fold(odds, play), r.Start+s.Warmup)
			return ctx.Err()
		})
	}
	return out, g.Wait()
}

func entry[K comparable](all map[K]*Campaign, k K, o *truth.Outcome) *Tally {
	c := all[k]
	if c == nil {
		c = &Campaign{Name: o.Theft.Name}
		all[k] = c
	}
	c.Slow = c.Slow || o.Theft.Slow
	return &c.Tally
}

// listCampaigns lists campaigns by name, each with its variants if it has several.
func listCampaigns(campaigns map[string]*Campaign, variants map[[2]string]*Campaign) []Campaign {
	out := []Campaign{}
	keys := slices.SortedFunc(maps.Keys(variants), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, name := range slices.Sorted(maps.Keys(campaigns)) {
		c := *campaigns[name]
		c.finish()
		for _, k := range keys {
			if k[0] == name {
				v := *variants[k]
				v.Name = k[1]
				v.finish()
				c.Variants = append(c.Variants, v)
			}
		}
		if len(c.Variants) < 2 {
			c.Variants = nil
		}
		out = append(out, c)
	}
	return out
}

// periods counts staff-days and cases of the first two weeks and of what came after.
func (r *Report) periods(j *judged) {
	for day, n := range j.Staff {
		if day < earlyDays {
			r.Early.StaffDays += n
		} else {
			r.Late.StaffDays += n
		}
	}
	in := func(c *moat.Case) *Period {
		if c.Opened < j.Start+earlyDays*moat.Day {
			return &r.Early
		}
		return &r.Late
	}
	for _, c := range j.trueCases() {
		in(&c).TrueCases++
	}
	for i := range j.False {
		in(&j.False[i]).FalseCases++
	}
	for _, p := range []*Period{&r.Early, &r.Late} {
		p.TruePer1000, p.FalsePer1000 = per1000(p.TrueCases, p.StaffDays), per1000(p.FalseCases, p.StaffDays)
	}
}

// contained tells whether the playbook took the data away from a culprit.
func (j *judged) contained(o *truth.Outcome) bool {
	for _, c := range o.Cases() {
		for _, d := range j.decisions[c.ID] {
			kind, err := moat.ParseEntityKind(d.Scope)
			if err == nil && d.Action >= moat.Mask && d.From >= o.Theft.From && slices.Contains(o.Theft.Culprits, moat.Entity{Kind: kind, ID: d.Value}) {
				return true
			}
		}
	}
	return false
}

// harm counts the decisions to mask or worse that false cases brought.
func (j *judged) harm() (n int) {
	for i := range j.False {
		for _, d := range j.decisions[j.False[i].ID] {
			if d.Action >= moat.Mask {
				n++
			}
		}
	}
	return n
}

// miss tells how near it was.
func (j *judged) miss(o *truth.Outcome) Miss {
	t := &o.Theft
	m := Miss{Seed: j.Seed, Name: t.Name, Variant: t.Variant, Partner: t.Partner, From: t.From, To: t.To, Taken: o.All, Culprits: t.Culprits, Before: len(o.Others) > 0}
	for _, f := range j.about(t) {
		m.Findings++
		m.Highest = max(m.Highest, f.Risk)
	}
	return m
}

// about lists the findings that are about a theft.
func (r *Round) about(t *truth.Theft) (out []*Finding) {
	for i := range r.Findings {
		if f := &r.Findings[i]; f.True() && r.Thefts[f.Theft].From == t.From && r.Thefts[f.Theft].Name == t.Name && r.Thefts[f.Theft].Partner == t.Partner {
			out = append(out, f)
		}
	}
	return out
}
