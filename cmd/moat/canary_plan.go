package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"math"
	"os"
	"strings"

	"github.com/moat-platform/moat/locate/canary"
)

type canaryPlanCmd struct {
	Orders int     `default:"10000" placeholder:"N" help:"Orders that the channel has in a month (${default})."`
	Leak   float64 `default:"0.1" placeholder:"SHARE" help:"Share of them that a thief takes (${default})."`
	Use    float64 `default:"0.2" placeholder:"SHARE" help:"Share of what was taken that is used: people called, parcels sent (${default})."`
	Power  float64 `default:"0.95" placeholder:"P" help:"Probability with which at least one canary is to be used (${default})."`
	HTML   string  `name:"html" placeholder:"FILE" help:"Also draw the curves into a page that needs nothing else."`
}

// Help shows how to use it.
func (canaryPlanCmd) Help() string {
	return "The probability is 1 − (1 − leak·use)^n for n canaries in a channel.\n\n" +
		examples("moat canary plan --orders 20000 --leak 0.1 --use 0.2", "moat canary plan --power 0.9 --html plan.html")
}

// Validate is called when the flags are known.
func (c *canaryPlanCmd) Validate() error {
	if c.Orders < 1 || !within(c.Leak) || !within(c.Use) || !within(c.Power) || c.Power == 1 {
		return errors.New("--orders wants a number, --leak and --use a share above 0 up to 1, --power one below 1")
	}
	return nil
}

func within(p float64) bool { return p > 0 && p <= 1 }

// plan is what is told.
type plan struct {
	Orders int         `json:"orders"`
	Leak   float64     `json:"leak"`
	Use    float64     `json:"use"`
	Power  float64     `json:"power"`
	Needed int         `json:"needed"` // canaries in the channel and month; -1: no number is enough
	Rate   float64     `json:"rate"`   // of canaries among all orders of the channel
	Table  []planShare `json:"table"`
	Curve  []planPoint `json:"curve"`
}

// planShare is for another thief.
type planShare struct {
	Leak   float64 `json:"leak"`
	Needed [3]int  `json:"needed"` // for the powers in planPowers
	Power  float64 `json:"power"`  // that Plan.Needed canaries have against this one
}

type planPoint struct {
	Canaries int     `json:"canaries"`
	Power    float64 `json:"power"`
}

var planPowers = [3]float64{0.5, 0.9, 0.99}

func (c *canaryPlanCmd) plan() plan {
	p := plan{Orders: c.Orders, Leak: c.Leak, Use: c.Use, Power: c.Power, Needed: canary.Needed(c.Power, c.Leak, c.Use)}
	n := max(p.Needed, 1)
	p.Rate = float64(n) / float64(n+c.Orders)
	for _, leak := range []float64{0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1} {
		s := planShare{Leak: leak, Power: canary.Power(n, leak, c.Use)}
		for i, want := range planPowers {
			s.Needed[i] = canary.Needed(want, leak, c.Use)
		}
		p.Table = append(p.Table, s)
	}
	for i := range 21 {
		k := int(math.Round(float64(2*n*i) / 20))
		p.Curve = append(p.Curve, planPoint{k, canary.Power(k, c.Leak, c.Use)})
	}
	return p
}

// Run plans.
func (c *canaryPlanCmd) Run(a *app) error {
	p := c.plan()
	if c.HTML != "" {
		if err := c.draw(&p); err != nil {
			return fmt.Errorf("cannot draw plan: %w", err)
		}
	}
	if a.JSON {
		return a.object(p)
	}
	o := a.out
	if p.Needed < 0 {
		o.line("No number of canaries is enough: what is taken is hardly ever used.")
		return nil
	}
	o.linef("%s in the channel each month, %.2g %% of what it has, are used with %g %% at least once when a thief takes %g %% of the orders and uses %g %% of them.",
		o.paint(bold, number(p.Needed)+" canaries"), 100*p.Rate, 100*p.Power, 100*p.Leak, 100*p.Use)
	o.line()
	t := newTable("rrrrr", "taken", "seen by "+number(p.Needed), "for 50 %", "for 90 %", "for 99 %")
	for _, s := range p.Table {
		t.row(fmt.Sprintf("%g %%", 100*s.Leak), fmt.Sprintf("%.1f %%", 100*s.Power), count(s.Needed[0]), count(s.Needed[1]), count(s.Needed[2]))
	}
	t.print(o)
	o.line()
	for _, x := range p.Curve {
		o.linef("%7s canaries  %5.1f %%  %s", number(x.Canaries), 100*x.Power, strings.Repeat("█", int(x.Power*50+0.5)))
	}
	if c.HTML != "" {
		o.line()
		o.linef("The curves are in %s.", clean(c.HTML))
	}
	return nil
}

func count(n int) string {
	if n < 0 {
		return "-"
	}
	return number(n)
}

//go:embed canary_plan.html
var planPage string

// curve is a line of the page, in its units.
type curve struct {
	Leak   string
	Shade  float64
	Points string
	X, Y   float64
}

// draw writes a page with a curve for each share that is taken.
func (c *canaryPlanCmd) draw(p *plan) error {
	t, err := template.New("plan").Parse(planPage)
	if err != nil {
		return err
	}
	const width, height = 640.0, 320.0
	most := max(10, 2*p.Needed)
	var curves []curve
	for i, s := range p.Table {
		x := curve{Leak: fmt.Sprintf("%g %%", 100*s.Leak), Shade: 0.35 + 0.65*float64(i)/float64(len(p.Table)-1)}
		var b strings.Builder
		for j := range 101 {
			n := most * j / 100
			px, py := width*float64(n)/float64(most), height*(1-canary.Power(n, s.Leak, p.Use))
			fmt.Fprintf(&b, "%.1f,%.1f ", px, py)
			// Steeper curves are named further down, where they lie apart.
			if x.X == 0 && (canary.Power(n, s.Leak, p.Use) > 0.95-0.1*float64(i) || j == 100) {
				x.X, x.Y = px, py
			}
		}
		x.Points = b.String()
		curves = append(curves, x)
	}
	f, err := os.Create(c.HTML)
	if err != nil {
		return err
	}
	return errors.Join(t.Execute(f, map[string]any{"Plan": p, "Curves": curves, "Most": number(most), "Half": number(most / 2), "Percent": 100 * p.Power,
		"Use": 100 * p.Use, "Leak": 100 * p.Leak, "Goal": height * (1 - p.Power)}), f.Close())
}
