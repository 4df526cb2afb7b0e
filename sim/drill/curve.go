package drill

import (
	"cmp"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// Point is a place on the curve of recall against alert budget: when all cases down to some
// damage or score are worked.
type Point struct {
	FalsePer1000 float64 `json:"false_cases_per_1000_staff_days"`
	Recall       float64 `json:"recall"`
}

// Bin is the cases whose scores lie in a range.
type Bin struct {
	From   float64 `json:"from"` // probability
	To     float64 `json:"to"`
	N      int     `json:"n"`
	Stated float64 `json:"stated"` // mean
	True   float64 `json:"true"`   // share that found a theft
}

// Constants of the curves.
const (
	bins      = 10
	maxPoints = 200
)

// budgets are at which false cases per 1,000 staff-days recall is told.
var budgets = [...]float64{0.5, 1, 2, 5, 10, 20}

// ranked is a case in the order in which cases are worked.
type ranked struct {
	value  float64
	wrong  bool
	thefts []*bool // that it finds; true when found
	id     string
}

// curves computes how recall depends on the budget, and how reliable scores are.
func (r *Report) curves(all []*judged) {
	full := budget(all, r.StaffDays, func(c *moat.Case) float64 { return c.Damage })
	r.Budget, r.BudgetScore = thin(full), thin(budget(all, r.StaffDays, func(c *moat.Case) float64 { return c.Score }))
	r.RecallAt = recallAt(full)
	var scores []scored
	for _, j := range all {
		scores = append(scores, j.scores()...)
	}
	r.Reliability, r.ECE = reliability(scores, 0.5)
}

// recallAt reads a curve at the budgets.
func recallAt(curve []Point) (out []Point) {
	for _, b := range budgets {
		p := Point{FalsePer1000: b}
		for _, x := range curve {
			if x.FalsePer1000 <= b {
				p.Recall = max(p.Recall, x.Recall)
			}
		}
		out = append(out, p)
	}
	return out
}

// scores lists what the cases promise and whether they found something.
func (j *judged) scores() (out []scored) {
	for i := range j.cases {
		if c := &j.cases[i]; c.Merged == "" {
			out = append(out, scored{c.Score / 100, !j.wrong[c.ID]})
		}
	}
	return out
}

// budget walks the cases from the worst on. Cases of equal value are worked together.
func budget(all []*judged, staffDays int, value func(*moat.Case) float64) []Point {
	var list []ranked
	thefts := 0
	for _, j := range all {
		finds := map[string][]*bool{}
		for i := range j.Outcomes {
			thefts++
			found := new(bool)
			for _, c := range j.finders(&j.Outcomes[i]) {
				id := c.ID
				if c.Merged != "" { // its value is in the one that it went into
					id = j.into(c)
				}
				finds[id] = append(finds[id], found)
			}
		}
		for i := range j.cases {
			if c := &j.cases[i]; c.Merged == "" {
				list = append(list, ranked{value(c), j.wrong[c.ID], finds[c.ID], c.ID})
			}
		}
	}
	slices.SortFunc(list, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.id, b.id)) })
	out := []Point{{}}
	wrong, found := 0, 0
	for i, c := range list {
		if c.wrong {
			wrong++
		}
		for _, t := range c.thefts {
			if !*t {
				*t = true
				found++
			}
		}
		if i+1 == len(list) || list[i+1].value != c.value {
			out = append(out, Point{per1000(wrong, staffDays), share(found, thefts)})
		}
	}
	return out
}

// into returns the id of the case that one ended in.
func (j *judged) into(c moat.Case) string {
	for range 64 { // a case goes into another a few times at most
		i := slices.IndexFunc(j.cases, func(x moat.Case) bool { return x.ID == c.Merged })
		if i < 0 {
			break
		}
		if c = j.cases[i]; c.Merged == "" {
			break
		}
	}
	return c.ID
}

// thin keeps the corners of a curve, and of those every so many.
func thin(points []Point) []Point {
	var out []Point
	for i, p := range points {
		if i == 0 || i == len(points)-1 || p.Recall != points[i-1].Recall || p.Recall != points[i+1].Recall {
			out = append(out, p)
		}
	}
	if step := (len(out) + maxPoints - 1) / maxPoints; step > 1 {
		last := out[len(out)-1]
		n := 0
		for i := 0; i < len(out); i += step {
			out[n] = out[i]
			n++
		}
		out = append(out[:n], last)
	}
	return out
}

// scored is a stated probability and whether it came true.
type scored struct {
	p  float64
	is bool
}

// reliability compares stated probabilities from low to 1 with what came true, in bins of equal width, and
// returns the expected calibration error: the mean distance of the two, weighted by how many there are.
func reliability(scores []scored, low float64) (out []Bin, ece float64) {
	width := (1 - low) / bins
	for i := range bins {
		out = append(out, Bin{From: low + float64(i)*width, To: low + float64(i+1)*width})
	}
	for _, s := range scores {
		b := &out[min(bins-1, max(0, int((s.p-low)/width)))]
		b.N++
		b.Stated += s.p
		if s.is {
			b.True++
		}
	}
	for i := range out {
		if b := &out[i]; b.N > 0 {
			ece += math.Abs(b.Stated-b.True) / float64(len(scores))
			b.Stated, b.True = b.Stated/float64(b.N), b.True/float64(b.N)
		}
	}
	return out, ece
}
