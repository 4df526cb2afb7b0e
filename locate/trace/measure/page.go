package measure

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed page.html
var pageText string

// plot is a drawing of shares from 0 to 1 over something.
type plot struct {
	Title, XName string
	X            []tick
	Y            []tick
	Lines        []curve
}

type tick struct {
	At    float64
	Label string
}

type curve struct {
	Name, Class, D string
	Dots           []dot
}

type dot struct {
	X, Y, Low, High float64
	Tip             string
}

// The plane of a plot, in its coordinates.
const (
	left, right = 46.0, 430.0
	top, bottom = 16.0, 216.0
)

func yOf(share float64) float64 { return bottom - share*(bottom-top) }

// wilson is the interval in which a share lies with a chance of 95 %.
func wilson(share float64, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.96
	f := float64(n)
	mid := (share + z*z/2/f) / (1 + z*z/f)
	half := z / (1 + z*z/f) * math.Sqrt(share*(1-share)/f+z*z/4/f/f)
	return max(0, mid-half), min(1, mid+half)
}

// series is the points of one curve.
type series struct {
	name, class string
	share       []float64
	n           []int
}

func newPlot(title, xname string, labels []string, list ...series) plot {
	p := plot{Title: title, XName: xname}
	for _, y := range []float64{0, 0.25, 0.5, 0.75, 1} {
		p.Y = append(p.Y, tick{yOf(y), fmt.Sprintf("%.0f %%", 100*y)})
	}
	xOf := func(i int) float64 { return left + (right-left)*(float64(i)+0.5)/float64(max(1, len(labels))) }
	for i, l := range labels {
		p.X = append(p.X, tick{xOf(i), l})
	}
	for _, s := range list {
		c := curve{Name: s.name, Class: s.class}
		var d strings.Builder
		for i, v := range s.share {
			low, high := wilson(v, s.n[i])
			fmt.Fprintf(&d, "%c%.1f %.1f ", "ML"[min(i, 1)], xOf(i), yOf(v))
			c.Dots = append(c.Dots, dot{xOf(i), yOf(v), yOf(low), yOf(high), fmt.Sprintf("%s at %s: %.1f %% of %d (95 %% interval %.0f to %.0f %%)", s.name, labels[i], 100*v, s.n[i], 100*low, 100*high)})
		}
		c.D = d.String()
		p.Lines = append(p.Lines, c)
	}
	return p
}

// along draws the rows that want takes, by what label says of them.
func (r *Report) along(title, xname string, want func(Row) bool, label func(Row) string) plot {
	var labels []string
	first, partner, wrong := series{name: "source first", class: "a"}, series{name: "its partner first", class: "b"}, series{name: "something else named", class: "c"}
	for _, x := range r.Rows {
		if !want(x) || x.Trials == 0 {
			continue
		}
		labels = append(labels, label(x))
		first.share, first.n = append(first.share, x.First), append(first.n, x.Trials)
		partner.share, partner.n = append(partner.share, x.Partner), append(partner.n, x.Trials)
		wrong.share, wrong.n = append(wrong.share, x.Wrong), append(wrong.n, x.Trials)
	}
	return newPlot(title, xname, labels, first, partner, wrong)
}

func (r *Report) plots() []plot {
	list := []plot{
		r.along("More complaints", "complaints, a fifth of them noise", func(x Row) bool { return x.Sources == 1 && x.Noise == 0.2 && !x.Thieves }, func(x Row) string { return fmt.Sprint(x.Complaints) }),
		r.along("More noise", "noise among 20 complaints", func(x Row) bool { return x.Sources == 1 && x.Complaints == 20 && !x.Thieves }, func(x Row) string { return fmt.Sprintf("%.0f %%", 100*x.Noise) }),
	}
	var labels []string
	three := series{name: "all among the first three", class: "a"}
	quiet, quietLabels := series{name: "nothing named", class: "b"}, []string(nil)
	for _, x := range r.Rows {
		switch {
		case x.Complaints == 50 && x.Sources > 0:
			labels = append(labels, fmt.Sprint(x.Sources))
			three.share, three.n = append(three.share, x.Three), append(three.n, x.Trials)
		case x.Sources == 0:
			quietLabels = append(quietLabels, fmt.Sprint(x.Complaints))
			quiet.share, quiet.n = append(quiet.share, 1-x.Named), append(quiet.n, x.Trials)
		}
	}
	list = append(list, newPlot("Several sources", "sources of 50 complaints, a fifth of them noise", labels, three),
		newPlot("Nothing but noise", "complaints, all of them noise", quietLabels, quiet))
	for _, x := range []struct {
		title, xname string
		parts        []Part
	}{{"Size of the source", "orders that it had in hand", r.BySize}, {"Overlap", "share of it that one other account had in hand", r.ByOverlap}, {"Kind of source", "kind", r.ByKind}} {
		s := series{name: "source first of about 20 complaints", class: "a"}
		labels = nil
		for _, p := range x.parts {
			labels = append(labels, strings.TrimSuffix(strings.TrimSpace(p.Name), " orders"))
			s.share, s.n = append(s.share, p.First), append(s.n, p.Trials)
		}
		list = append(list, newPlot(x.title, x.xname, labels, s))
	}
	return append(list, r.reliability())
}

// reliability draws probabilities against what came true.
func (r *Report) reliability() plot {
	p := newPlot("Do probabilities come true?", "posterior of what is ranked first", nil)
	for i := range bins + 1 {
		if i%2 == 0 {
			p.X = append(p.X, tick{left + (right-left)*float64(i)/bins, fmt.Sprintf("%.1f", float64(i)/bins)})
		}
	}
	c := curve{Name: "came true", Class: "a"}
	for i, b := range r.Bins {
		low, high := wilson(b.True, b.Claims)
		x := left + (right-left)*b.Posterior
		c.D += fmt.Sprintf("%c%.1f %.1f ", "ML"[min(i, 1)], x, yOf(b.True))
		c.Dots = append(c.Dots, dot{x, yOf(b.True), yOf(low), yOf(high), fmt.Sprintf("of %d with a posterior of about %.2f, %.0f %% were right", b.Claims, b.Posterior, 100*b.True)})
	}
	p.Lines = []curve{{Name: "as it should be", Class: "d", D: fmt.Sprintf("M%.1f %.1f L%.1f %.1f", left, bottom, right, top)}, c}
	return p
}

// WritePage writes the report as one HTML file that needs nothing else.
func WritePage(w io.Writer, r *Report) error {
	t, err := template.New("page").Funcs(template.FuncMap{"percent": func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }}).Parse(pageText)
	if err != nil {
		panic("BUG: " + err.Error()) // the text is a constant
	}
	if err := t.Execute(w, struct {
		*Report
		Plots []plot
	}{r, r.plots()}); err != nil {
		return fmt.Errorf("cannot write page: %w", err)
	}
	return nil
}
