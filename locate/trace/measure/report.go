package measure

import (
	"fmt"
	"math"
	"slices"

	"github.com/moat-platform/moat/sim/leak"
)

// Report is what was measured.
type Report struct {
	Seeds     []uint64 `json:"seeds"`
	Ecosystem string   `json:"ecosystem"`
	Trials    int      `json:"trials"` // of each sort in each ecosystem
	Bars      []Bar    `json:"bars"`
	Rows      []Row    `json:"rows"`
	// ECE is the expected calibration error of what is ranked first, over all trials, noise included: how far
	// probabilities are from what comes true, on average. ECEAll is of all that is ranked.
	ECE       float64 `json:"ece"`
	ECEAll    float64 `json:"ece_all"`
	Bins      []Bin   `json:"bins"` // of what is ranked first
	BySize    []Part  `json:"by_size"`
	ByOverlap []Part  `json:"by_overlap"`
	ByKind    []Part  `json:"by_kind"`
	// Members is how many entities stand in a name that is ranked first and right, on average.
	Members float64 `json:"members"`
	// Missed are leaks in which no true source was ranked first, at most maxMissed.
	Missed []Missed `json:"missed"`
}

// Missed is a leak that was not traced to its source.
type Missed struct {
	Condition
	Leak   uint64        `json:"leak"` // its number: that of the ecosystem, and the place among its leaks in the lower 32 bits
	True   []leak.Source `json:"true"`
	Places []int         `json:"places"` // at which the true sources were ranked, 0 for not at all
	First  string        `json:"first"`  // what was ranked first
}

const maxMissed = 500

// Bar is what must be reached.
type Bar struct {
	Name string  `json:"name"`
	Got  float64 `json:"got"`
	Want float64 `json:"want"`
	Most bool    `json:"most,omitempty"` // Got must be at most Want, else at least
	Met  bool    `json:"met"`
}

// Row is the trials of one condition.
type Row struct {
	Condition
	Trials  int     `json:"trials"`
	First   float64 `json:"first"`   // a true source is ranked first
	Three   float64 `json:"three"`   // all true sources are among the first three
	Partner float64 `json:"partner"` // of a true source is ranked first among partners
	Named   float64 `json:"named"`   // something was named
	Wrong   float64 `json:"wrong"`   // something was named that is no source
}

// Bin is the claims of about one probability.
type Bin struct {
	Posterior float64 `json:"posterior"` // on average
	True      float64 `json:"true"`      // share that came true
	Claims    int     `json:"claims"`
}

// Part is the trials of some sort among those of 20 complaints, a fifth of them noise, or near it.
type Part struct {
	Name   string  `json:"name"`
	Trials int     `json:"trials"`
	First  float64 `json:"first"`
}

const bins = 10

func report(cfg Config, list []Condition, trials []Trial) *Report {
	r := &Report{Seeds: cfg.Seeds, Ecosystem: cfg.Ecosystem, Trials: cfg.Trials, Missed: []Missed{}}
	for _, c := range list {
		r.Rows = append(r.Rows, rowOf(c, trials))
	}
	var first, all []Claim
	members, named := 0, 0
	for i := range trials {
		t := &trials[i]
		all = append(all, t.Claims...)
		if t.Sources > 0 && !slices.Contains(t.Places, 1) && len(r.Missed) < maxMissed {
			r.Missed = append(r.Missed, Missed{t.Condition, t.Seed, t.True, t.Places, t.First})
		}
		if len(t.Claims) > 0 {
			first = append(first, t.Claims[0])
			if t.Claims[0].True {
				members += t.Claims[0].Members
				named++
			}
		}
	}
	r.ECE, r.Bins = calibration(first)
	r.ECEAll, _ = calibration(all)
	r.Members = float64(members) / float64(max(1, named))
	r.parts(trials)
	r.judge()
	return r
}

func rowOf(c Condition, trials []Trial) Row {
	row := Row{Condition: c}
	owned := 0
	for i := range trials {
		t := &trials[i]
		if t.Condition != c {
			continue
		}
		row.Trials++
		if slices.Contains(t.Places, 1) {
			row.First++
		}
		if len(t.Places) > 0 && !slices.ContainsFunc(t.Places, func(p int) bool { return p == 0 || p > 3 }) {
			row.Three++
		}
		if t.Owned {
			owned++
			if t.Partner {
				row.Partner++
			}
		}
		if t.Named > 0 {
			row.Named++
		}
		if t.Wrong > 0 {
			row.Wrong++
		}
	}
	n := float64(max(1, row.Trials))
	row.First, row.Three, row.Named, row.Wrong = row.First/n, row.Three/n, row.Named/n, row.Wrong/n
	row.Partner /= float64(max(1, owned))
	return row
}

// calibration compares probabilities with what came true, in bins of equal width (Naeini et al. 2015).
func calibration(list []Claim) (ece float64, out []Bin) {
	var b [bins]Bin
	for _, c := range list {
		x := &b[min(bins-1, int(c.Posterior*bins))]
		x.Claims++
		x.Posterior += c.Posterior
		if c.True {
			x.True++
		}
	}
	for _, x := range b {
		if x.Claims == 0 {
			continue
		}
		n := float64(x.Claims)
		x.Posterior, x.True = x.Posterior/n, x.True/n
		ece += n / float64(len(list)) * math.Abs(x.Posterior-x.True)
		out = append(out, x)
	}
	return ece, out
}

// parts looks at leaks of one source and 20 complaints by what the source is like.
func (r *Report) parts(trials []Trial) {
	cut := func(name func(t *Trial) string) (list []Part) {
		for i := range trials {
			t := &trials[i]
			if t.Sources != 1 || t.Complaints != 20 || t.Noise > 0.3 || t.Thieves {
				continue
			}
			k := slices.IndexFunc(list, func(p Part) bool { return p.Name == name(t) })
			if k < 0 {
				k = len(list)
				list = append(list, Part{Name: name(t)})
			}
			list[k].Trials++
			if slices.Contains(t.Places, 1) {
				list[k].First++
			}
		}
		for i := range list {
			list[i].First /= float64(list[i].Trials)
		}
		slices.SortFunc(list, func(a, b Part) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
		return list
	}
	r.BySize = cut(func(t *Trial) string {
		low := 1
		for low*4 <= t.Size {
			low *= 4
		}
		return fmt.Sprintf("%6d to %d orders", low, 4*low-1)
	})
	r.ByOverlap = cut(func(t *Trial) string {
		n := min(9, int(t.Overlap*10))
		return fmt.Sprintf("%.1f to %.1f", float64(n)/10, float64(n+1)/10)
	})
	r.ByKind = cut(func(t *Trial) string { return t.True[0].Kind })
}

// judge holds the figures against the bars.
func (r *Report) judge() {
	row := func(c Condition) Row {
		return r.Rows[slices.IndexFunc(r.Rows, func(x Row) bool { return x.Condition == c })]
	}
	add := func(name string, got, want float64, most bool) {
		r.Bars = append(r.Bars, Bar{Name: name, Got: got, Want: want, Most: most, Met: got >= want && !most || got <= want && most})
	}
	usual := row(Condition{Complaints: 20, Noise: 0.2, Sources: 1})
	add("source first of 20 complaints, a fifth of them noise", usual.First, 0.95, false)
	add("its partner first", usual.Partner, 0.99, false)
	add("source first of 5 complaints", row(Condition{Complaints: 5, Noise: 0.2, Sources: 1}).First, 0.75, false)
	add("two sources of 50 complaints, both among the first three", row(Condition{Complaints: 50, Noise: 0.2, Sources: 2}).Three, 0.9, false)
	quiet, n := 0.0, 0.0
	for _, x := range r.Rows {
		if x.Sources == 0 {
			quiet, n = quiet+1-x.Named, n+1
		}
	}
	add("nothing named where all is noise", quiet/n, 0.9, false)
	add("expected calibration error", r.ECE, 0.05, true)
}
