package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/moat-platform/moat/locate/canary"
)

type canaryPlanCmd struct {
	Orders int     `default:"10000" placeholder:"N" help:"Orders that the channel has in a month (${default})."`
	Leak   float64 `default:"0.1" placeholder:"SHARE" help:"Share of them that a thief takes (${default})."`
	Use    float64 `default:"0.2" placeholder:"SHARE" help:"Share of what was taken that is used: people called, parcels sent (${default})."`
	Power  float64 `default:"0.95" placeholder:"P" help:"Probability with which at least one canary is to be used (${default})."`
	Rate   float64 `placeholder:"SHARE" help:"Share of canaries among the channel's orders: tells what so many see, instead of how many --power wants."`
	HTML   string  `name:"html" placeholder:"FILE" help:"Also draw the curves into a page that needs nothing else."`
}

// Help shows how to use it.
func (canaryPlanCmd) Help() string {
	return "The probability is 1 − (1 − leak·use)^n for n canaries in a channel, or 1 − (1 − rate)^k for k leaked orders that are used. A server draws it at /canaries/plan.\n\n" +
		examples("moat canary plan --orders 20000 --leak 0.1 --use 0.2", "moat canary plan --rate 0.01", "moat canary plan --power 0.9 --html plan.html")
}

// Run plans.
func (c *canaryPlanCmd) Run(a *app) error {
	p, err := canary.NewPlan(canary.PlanQuestion{Orders: c.Orders, Leak: c.Leak, Use: c.Use, Power: c.Power, Rate: c.Rate})
	if err != nil {
		return usage(err, "such as --orders 20000 --leak 0.1 --use 0.2 --power 0.95")
	}
	if c.HTML != "" {
		if err := c.draw(p); err != nil {
			return err
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
	o.linef("%s in the channel each month, %.2g %% of what it has, are used with %.3g %% at least once when a thief takes %g %% of the orders and uses %g %% of them.",
		o.paint(bold, number(p.Needed)+" canaries"), 100*p.Rate, 100*p.Has, 100*p.Leak, 100*p.Use)
	o.line()
	t := newTable("rrrrr", "taken", "seen by "+number(p.Needed), "for 50 %", "for 90 %", "for 99 %")
	for _, s := range p.Shares {
		t.row(fmt.Sprintf("%g %%", 100*s.Leak), fmt.Sprintf("%.1f %%", 100*s.Power), count(s.Needed[0]), count(s.Needed[1]), count(s.Needed[2]))
	}
	t.print(o)
	o.line()
	for _, x := range p.Curve {
		o.linef("%7s canaries  %5.1f %%  %s", number(x.Canaries), 100*x.Power, strings.Repeat("█", int(x.Power*50+0.5)))
	}
	o.line()
	used := newTable("rr", "leaked and used", "one is a canary", "")
	for _, u := range p.Used {
		used.row(number(u.Orders), fmt.Sprintf("%.1f %%", 100*u.Power), bar(u.Power))
	}
	used.print(o)
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

// draw writes the page.
func (c *canaryPlanCmd) draw(p *canary.Plan) error {
	f, err := os.Create(c.HTML)
	if err != nil {
		return fmt.Errorf("cannot draw plan: %w", err)
	}
	if err := canary.WritePlan(f, p, false); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("cannot draw plan: %w", err)
	}
	return nil
}
