package canary

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
)

// PlanPage is the page of [WritePlan] before it is filled in: its style is what a policy of content may allow.
//
//go:embed plan.html
var PlanPage string

// planLine is the curve of one share that is taken, in the coordinates of the page.
type planLine struct {
	Leak, Points string
	Tone         int
	X, Y         float64 // of its name
	Power        string
}

// planBar is one of the used orders.
type planBar struct {
	Orders, Power string
	Y, Width      float64
}

// namedAt is the power at which the curve of each share bears its name.
var namedAt = [...]float64{1, 1, 0.78, 0.66, 0.42, 0.62, 0.83}

const planWidth, planHeight = 640.0, 300.0

// WritePlan writes a plan as a page that needs nothing else. A page that is served has a form to ask again, which leads back
// to the page's own address.
func WritePlan(w io.Writer, p *Plan, served bool) error {
	t, err := template.New("plan").Funcs(template.FuncMap{"percent": percent, "count": count}).Parse(PlanPage)
	if err != nil {
		return fmt.Errorf("cannot draw plan: %w", err)
	}
	most := max(10, 2*p.Needed)
	xOf := func(n int) float64 { return planWidth * float64(n) / float64(most) }
	var lines []planLine
	for i, s := range p.Shares {
		l := planLine{Leak: percent(s.Leak), Tone: i, Power: percent(s.Power)}
		var b strings.Builder
		last := 0.0
		for j := range 201 {
			n := int(float64(most) * float64(j) / 200)
			last = Power(n, s.Leak, p.Use)
			fmt.Fprintf(&b, "%.1f,%.1f ", xOf(n), planHeight*(1-last))
			// Each is named where it lies apart from its neighbours, flat ones at their end.
			if l.X == 0 && (last > namedAt[i] || j == 200) {
				l.X, l.Y = xOf(n), planHeight*(1-last)
			}
		}
		l.Points = b.String()
		lines = append(lines, l)
	}
	var bars []planBar
	for i, u := range p.Used {
		bars = append(bars, planBar{count(u.Orders), percent(u.Power), 27 * float64(i), 560 * u.Power})
	}
	var ticks []map[string]any
	for i := range 5 {
		ticks = append(ticks, map[string]any{"X": planWidth * float64(i) / 4, "Y": planHeight * float64(4-i) / 4, "N": count(most * i / 4), "P": fmt.Sprintf("%d %%", 25*i)})
	}
	err = t.Execute(w, map[string]any{"Plan": p, "Lines": lines, "Bars": bars, "Ticks": ticks, "Served": served, "Width": planWidth, "Height": planHeight,
		"GoalY": planHeight * (1 - p.Power), "NeedX": xOf(max(p.Needed, 0)), "HasY": planHeight * (1 - p.Has)})
	if err != nil {
		return fmt.Errorf("cannot draw plan: %w", err)
	}
	return nil
}

func percent(share float64) string {
	if share < 1 && share > 0.9995 {
		return "> 99.9 %"
	}
	return fmt.Sprintf("%.3g %%", 100*share)
}

// count writes a number with commas; below 0 there is none.
func count(n int) string {
	if n < 0 {
		return "–"
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
