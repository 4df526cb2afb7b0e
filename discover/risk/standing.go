package risk

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// The constants of a standing. They are proposals: nobody has measured yet how well they foretell a breach.
const (
	// HouseHalfLife is how long what was found of a partner's house takes to lose half of its log-odds. A clock that
	// is wrong, or a contract that has ended, is mended in weeks and not in days as a thief's acts are over.
	HouseHalfLife = 30 * moat.Day
	// Remembered is how far back a standing looks.
	Remembered = 90 * moat.Day
	// LateAfter is how long a case of rank P1 or P2 may wait for somebody to judge it.
	LateAfter = 3 * moat.Day

	perDoubling = 0.5 // log-odds, of cases
	lateWeight  = 0.5 // log-odds
)

// Standing is the risk of a partner itself, apart from who works there: whether its apps report honestly, how its house
// is kept, what was found of it as a whole, and what became of its cases.
type Standing struct {
	Partner string    `json:"partner"`
	Time    moat.Time `json:"time"`
	Score   float64   `json:"score"`   // 0..100, to a tenth
	Reasons []Reason  `json:"reasons"` // strongest first; with the prior they sum to the log-odds of Score
}

// Reason is one thing that a [Standing] rests on: a detector's strongest finding, or cases.
type Reason struct {
	LogOdds  float64     `json:"log_odds"`           // what is left of it after decay, to a hundredth
	Detector string      `json:"detector,omitempty"` // none: cases
	Title    string      `json:"title"`
	Text     string      `json:"reason"`
	Entity   moat.Entity `json:"entity"` // the partner, or its app
	Time     moat.Time   `json:"time"`   // of the finding, or of the oldest case
	Finding  string      `json:"finding,omitempty"`
}

// Incidents are what became of a partner's cases of rank P1 and P2 that were opened within [Remembered].
type Incidents struct {
	Waiting   int // open and judged by nobody
	Oldest    moat.Time
	Confirmed int
	Last      moat.Time // when the last confirmed one was opened
}

// Add counts a case, if it is one of these. Cases that went into others are counted there.
func (in *Incidents) Add(c *moat.Case) {
	switch {
	case c.Merged != "" || c.Rank > moat.P2:
	case c.Verdict == moat.Confirmed:
		in.Confirmed, in.Last = in.Confirmed+1, max(in.Last, c.Opened)
	case c.Verdict == moat.NoVerdict && c.State == moat.CaseOpen:
		if in.Waiting == 0 || c.Opened < in.Oldest {
			in.Oldest = c.Opened
		}
		in.Waiting++
	}
}

// OfHouse tells whether a finding says something of a partner's house and not of who works there: what it reports of
// itself, its posture, and what is seen of it beside other partners.
func OfHouse(f *moat.Finding) bool {
	return f.Mode != moat.Shadow && (f.Family == "partner" || f.Family == "across" && f.Entity.Kind == moat.Partner)
}

// Stand adds up what was found of a partner. Detectors that look at its house each count with their strongest finding of
// whichever app, since each looks at something else; other findings about the partner count as for any entity, one a
// family, and fade in days ([HalfLife]). Those that are neither are passed over. Learned may be nil.
func Stand(odds Calibration, learned *Learned, partner string, found []moat.Finding, in Incidents, now moat.Time) Standing {
	if learned == nil {
		learned = NewLearned()
	}
	strongest := map[string]Reason{}
	for i := range found {
		f := &found[i]
		house := OfHouse(f)
		if f.Partner != partner || f.Time > now || f.Mode == moat.Shadow || !house && f.Entity.Kind != moat.Partner {
			continue
		}
		key, life := f.Family, HalfLife
		if house {
			key, life = f.Detector, HouseHalfLife
		}
		left := worth(odds, learned, f) * math.Exp2(-float64(now-f.Time)/float64(life))
		if old, ok := strongest[key]; left >= forgotten && (!ok || left > old.LogOdds || left == old.LogOdds && f.ID < old.Finding) {
			strongest[key] = Reason{left, f.Detector, f.Title, f.Reason, f.Entity, f.Time, f.ID}
		}
	}
	s := Standing{Partner: partner, Time: now, Reasons: in.reasons(partner, now)}
	for _, r := range strongest {
		s.Reasons = append(s.Reasons, r)
	}
	slices.SortFunc(s.Reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.LogOdds, a.LogOdds), cmp.Compare(a.Detector, b.Detector), cmp.Compare(a.Title, b.Title))
	})
	x := logit(Prior)
	for i := range s.Reasons {
		r := &s.Reasons[i]
		r.LogOdds = math.Round(100*r.LogOdds) / 100
		x += r.LogOdds
	}
	s.Score = math.Round(1000*sigmoid(x)) / 10
	return s
}

// reasons says what cases add.
func (in Incidents) reasons(partner string, now moat.Time) []Reason {
	list := []Reason{}
	add := func(x float64, title, text string, at moat.Time) {
		if x >= forgotten {
			list = append(list, Reason{LogOdds: x, Title: title, Text: text, Entity: moat.Entity{Kind: moat.Partner, ID: partner}, Time: at})
		}
	}
	doublings := func(n int) float64 { return perDoubling * math.Log2(1+float64(n)) }
	if in.Confirmed > 0 {
		add(doublings(in.Confirmed)*math.Exp2(-float64(max(now-in.Last, 0))/float64(HouseHalfLife)), "Thefts were confirmed",
			fmt.Sprintf("confirmed cases of rank P1 or P2 within 90 days: %d", in.Confirmed), in.Last)
	}
	if in.Waiting > 0 {
		add(doublings(in.Waiting), "Cases wait for somebody", fmt.Sprintf("open cases of rank P1 or P2 that nobody has judged: %d", in.Waiting), in.Oldest)
		if wait := now - in.Oldest; wait > LateAfter {
			add(lateWeight, "A case waits for long", fmt.Sprintf("the oldest of them for %d days", wait/moat.Day), in.Oldest)
		}
	}
	return list
}
