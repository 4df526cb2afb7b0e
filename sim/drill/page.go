package drill

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

//go:embed page.html
var pageText string

// The bars that the product sets itself, shown as lines.
const (
	wantRecall  = 0.95
	wantFalse   = 5.0 // cases per 1,000 staff-days
	maxMissed   = 100
	secondsADay = 24 * 3600
)

// page is what the template shows: the report, and pictures with their coordinates computed.
type page struct {
	*Report
	Tiles       []tile
	Curves      picture
	Delays      []picture
	Reliable    picture
	Heard       []Detector // those that found something
	Silent      []Detector
	MoreMissed  int
	FalseBudget float64
}

// tile is one figure at the top.
type tile struct {
	Name, Value, Unit, Note string
	Good                    string // "good", "bad" or ""
}

// picture is a drawing: axes, lines, bars and dots in a box of W by H.
type picture struct {
	Title      string
	W, H       float64
	L, R, T, B float64 // edges of the plane
	X, Y       []tick
	Lines      []line
	Bars       []bar
	Dots       []dot
	Words      []word
}

type tick struct {
	At    float64
	Label string
}

type line struct{ Class, D string }

type bar struct {
	Class      string
	X, Y, W, H float64
	Label      string
	Tip        string
}

type dot struct {
	X, Y, R   float64
	Low, High float64 // ends of its interval, as Y
	Tip       string
}

type word struct {
	X, Y          float64
	Class, Anchor string
	Text          string
}

// WritePage writes the figures as one HTML page that needs nothing else: no script, no request.
func WritePage(w io.Writer, r *Report) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"pct": pct, "num": grouped, "span": spanOf, "fix": fixed, "when": when, "mul": func(a, b float64) float64 { return a * b }, "ranks": ranksOf,
		"interval": interval, "title": titleOf, "int": func(n int) int64 { return int64(n) }, "float": func(n int) float64 { return float64(n) },
		"change": change, "breaks": breaks,
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("cannot read the page: %w", err)
	}
	p := page{Report: r, Tiles: tiles(r), Curves: curves(r), Reliable: reliable(r), FalseBudget: wantFalse}
	for _, slow := range []bool{false, true} {
		if slices.ContainsFunc(r.delays, func(d delay) bool { return d.slow == slow }) {
			p.Delays = append(p.Delays, delays(r, slow))
		}
	}
	for _, d := range r.Detectors {
		if d.Fires > 0 {
			p.Heard = append(p.Heard, d)
		} else {
			p.Silent = append(p.Silent, d)
		}
	}
	if p.MoreMissed = len(r.Missed) - maxMissed; p.MoreMissed > 0 {
		short := *r
		short.Missed = r.Missed[:maxMissed]
		p.Report = &short
	}
	if err := t.Execute(w, &p); err != nil {
		return fmt.Errorf("cannot write the page: %w", err)
	}
	return nil
}

func tiles(r *Report) []tile {
	good := func(ok bool) string {
		if ok {
			return "good"
		}
		return "bad"
	}
	return []tile{
		{"Recall", fixed(100*r.Recall, 1), "%", fmt.Sprintf("%d of %d thefts; at least %s", r.Found, r.Thefts, pct(r.RecallLow)), good(r.Recall >= wantRecall)},
		{"False cases", fixed(r.FalsePer1000, 2), "", "in 1,000 staff-days; wanted: at most 5", good(r.FalsePer1000 <= wantFalse)},
		{"Precision", fixed(100*r.Precision, 1), "%", fmt.Sprintf("%d true and %d false cases", r.TrueCases, r.FalseCases), ""},
		{"Time to detect", spanOf(r.Median), "", "median; nine in ten within " + spanOf(r.P90), ""},
		{"Taken before", fixed(100*r.LostPart, 1), "%", grouped(r.Lost) + " of " + grouped(r.Taken) + " orders", ""},
		{"Contained", fixed(100*r.Contained, 1), "%", "of thefts, by the playbook alone", ""},
	}
}

// budgetTicks are where the curve's axis is labelled.
var budgetTicks = []float64{0, 1, 2, 5, 10, 20, 50, 100, 200, 500}

// curves draws recall against alert budget; the budget's axis is logarithmic from 1 on.
func curves(r *Report) picture {
	p := picture{Title: "Recall against alert budget", W: 400, H: 264, L: 52, R: 378, T: 14, B: 214}
	most := 2 * wantFalse
	for _, list := range [][]Point{r.Budget, r.BudgetScore} {
		for _, x := range list {
			most = max(most, x.FalsePer1000)
		}
	}
	x := func(v float64) float64 { return p.L + (p.R-p.L)*math.Log1p(v)/math.Log1p(most) }
	y := func(v float64) float64 { return p.B - (p.B-p.T)*v }
	for _, v := range budgetTicks {
		if v <= most {
			p.X = append(p.X, tick{x(v), fixed(v, 0)})
		}
	}
	p.percent(y)
	p.Lines = append(p.Lines, line{"want", fmt.Sprintf("M%.1f %.1fV%.1f", x(wantFalse), p.T, p.B)}, line{"want", fmt.Sprintf("M%.1f %.1fH%.1f", p.L, y(wantRecall), p.R)},
		line{"second", steps(r.BudgetScore, x, y, p.R)}, line{"first", steps(r.Budget, x, y, p.R)})
	p.Words = append(p.Words, word{(p.L + p.R) / 2, p.H - 8, "axis", "middle", "false cases in 1,000 staff-days"})
	return p
}

func (p *picture) percent(y func(float64) float64) {
	for v := 0.0; v <= 1; v += 0.25 {
		p.Y = append(p.Y, tick{y(v), fixed(100*v, 0) + " %"})
	}
}

// steps draws points as stairs up to the right edge.
func steps(points []Point, x, y func(float64) float64, right float64) string {
	var b strings.Builder
	for i, p := range points {
		if i == 0 {
			fmt.Fprintf(&b, "M%.1f %.1f", x(p.FalsePer1000), y(p.Recall))
		} else {
			fmt.Fprintf(&b, "H%.1fV%.1f", x(p.FalsePer1000), y(p.Recall))
		}
	}
	fmt.Fprintf(&b, "H%.1f", right)
	return b.String()
}

// delayEdges cut times to detect into bars, in seconds.
var delayEdges = []float64{10, 60, 600, 3600, 4 * 3600, 12 * 3600, secondsADay, 2 * secondsADay, 4 * secondsADay, 8 * secondsADay}

// delays draws how many thefts were found after how long, and how many never.
func delays(r *Report, slow bool) picture {
	p := picture{Title: "Bursts", W: 400, H: 164, L: 8, R: 392, T: 42, B: 136}
	class := "burst"
	if slow {
		p.Title, class = "Slow drips", "slow"
	}
	counts, all := make([]int, len(delayEdges)+2), 0
	for _, d := range r.delays {
		if d.slow != slow {
			continue
		}
		all++
		if i := len(delayEdges) + 1; math.IsInf(d.seconds, 1) {
			counts[i]++
			continue
		}
		i := 0
		for i < len(delayEdges) && d.seconds >= delayEdges[i] {
			i++
		}
		counts[i]++
	}
	most := 1
	for _, n := range counts {
		most = max(most, n)
	}
	gap := 10.0 // before those that were missed
	width := (p.R - p.L - gap) / float64(len(counts))
	for i, n := range counts {
		b := bar{Class: class, X: p.L + float64(i)*width + 1.5, W: width - 3, H: (p.B - p.T) * float64(n) / float64(most)}
		switch {
		case i == len(counts)-1:
			b.Class, b.X, b.Tip = "never", b.X+gap, fmt.Sprintf("%d missed", n)
			p.Words = append(p.Words, word{b.X + b.W/2, p.B + 16, "axis", "middle", "never"})
		case i < len(delayEdges):
			b.Tip = fmt.Sprintf("%d within %s", n, spanOf(delayEdges[i]))
			if i%2 == 0 {
				p.X = append(p.X, tick{p.L + float64(i+1)*width, spanOf(delayEdges[i])})
			}
		default:
			b.Tip = fmt.Sprintf("%d after %s", n, spanOf(delayEdges[i-1]))
		}
		if b.Y = p.B - b.H; n > 0 {
			b.Label = strconv.Itoa(n)
		}
		p.Bars = append(p.Bars, b)
	}
	p.Words = append(p.Words, word{p.L, 14, "head", "start", fmt.Sprintf("%s (%d)", p.Title, all)})
	return p
}

// reliable draws what scores of cases promise against what came true.
func reliable(r *Report) picture {
	p := picture{Title: "Reliability of case scores", W: 400, H: 264, L: 52, R: 378, T: 14, B: 214}
	low, most := 0.5, 1
	for _, b := range r.Reliability {
		most = max(most, b.N)
	}
	x := func(v float64) float64 { return p.L + (p.R-p.L)*(v-low)/(1-low) }
	y := func(v float64) float64 { return p.B - (p.B-p.T)*v }
	for v := low; v < 1.01; v += 0.1 {
		p.X = append(p.X, tick{x(v), fixed(100*v, 0) + " %"})
	}
	p.percent(y)
	p.Lines = append(p.Lines, line{"want", fmt.Sprintf("M%.1f %.1fL%.1f %.1f", x(low), y(low), x(1), y(1))})
	for _, b := range r.Reliability {
		if b.N == 0 {
			continue
		}
		yes := int(math.Round(b.True * float64(b.N)))
		p.Dots = append(p.Dots, dot{x(b.Stated), y(b.True), 3.5 + 6*math.Sqrt(float64(b.N)/float64(most)), y(risk.Wilson(yes, b.N)), y(1 - risk.Wilson(b.N-yes, b.N)),
			fmt.Sprintf("%d cases promised %s, %s were true", b.N, pct(b.Stated), pct(b.True))})
	}
	p.Words = append(p.Words, word{(p.L + p.R) / 2, p.H - 8, "axis", "middle", "score of the case"})
	return p
}

// span is a detector's precision with its interval, 0..100.
type span struct{ Low, At, High, Stated float64 }

func interval(d Detector) span {
	return span{100 * d.PrecisionLow, 100 * d.Precision, 100 * (1 - risk.Wilson(d.Fires-d.True, d.Fires)), 100 * d.Stated}
}

// rankPart is a piece of a bar of ranks.
type rankPart struct {
	Rank string
	N    int
	X, W float64
}

func ranksOf(t Tally) (out []rankPart) {
	x := 0.0
	for r := moat.P1; r <= moat.P4; r++ {
		if n := t.Ranks[r]; n > 0 {
			w := 100 * share(n, t.Found)
			out = append(out, rankPart{r.String(), n, x, w})
			x += w
		}
	}
	return out
}

func pct(x float64) string { return fixed(100*x, 1) + " %" }

func fixed(x float64, digits int) string { return strconv.FormatFloat(x, 'f', digits, 64) }

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// spanOf writes seconds in the largest unit that gives at least one.
func spanOf(seconds float64) string {
	for _, u := range []struct {
		name   string
		length float64
	}{{"d", secondsADay}, {"h", 3600}, {"min", 60}} {
		if n := seconds / u.length; n >= 1 {
			return strings.TrimSuffix(fixed(n, 1), ".0") + " " + u.name
		}
	}
	return fixed(seconds, 0) + " s"
}

// breaks cuts an id where a line may end: behind each dot and underscore.
func breaks(id string) (parts []string) {
	for {
		i := strings.IndexAny(id, "._")
		if i < 0 {
			return append(parts, id)
		}
		parts, id = append(parts, id[:i+1]), id[i+1:]
	}
}

// change writes a number with its sign, or a dash for nothing.
func change(x float64, digits int) string {
	switch {
	case x < 0:
		return "−" + fixed(-x, digits)
	case x > 0:
		return "+" + fixed(x, digits)
	}
	return "–"
}

func when(t moat.Time) string { return t.Std().Format("2 Jan 15:04") }

func titleOf(s string) string {
	if s == "" {
		return "plain"
	}
	return s
}
