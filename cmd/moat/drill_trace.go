package main

import (
	"fmt"
	"os"

	"github.com/moat-platform/moat/locate/trace/measure"
)

// drillTraceCmd measures how well leaks are traced.
type drillTraceCmd struct {
	Seeds     seeds  `default:"1" placeholder:"LIST" help:"Which ecosystems, and which leaks in each, such as 1-3 (${default})."`
	Trials    int    `default:"60" placeholder:"N" help:"How many leaks of each sort in each ecosystem, 1 to 5000 (${default})."`
	Ecosystem string `enum:"world,flows" default:"world" placeholder:"NAME" help:"world, the one of moat drill; or flows, where everybody touches much (${default})."`
	HTML      string `name:"html" placeholder:"FILE" type:"path" help:"Write the report there, with its plots."`
}

// Help shows how to use it.
func (drillTraceCmd) Help() string {
	return "Makes leaks whose sources are known in a simulated ecosystem, from what accounts, devices, apps, servers, outlets and destinations had in hand and from what " +
		"thieves took, mixes other complaints in, has them traced as `moat trace` does, and compares.\n\n" +
		examples("moat drill trace", "moat drill trace --trials 200 --html trace.html", "moat drill trace --seeds 1-3 --json | jq '.bars, .missed'")
}

// Run measures.
func (c *drillTraceCmd) Run(a *app) error {
	if c.Trials < 1 || c.Trials > measure.MaxTrials {
		return fmt.Errorf("--trials wants 1 to %d leaks of each sort, not %d", measure.MaxTrials, c.Trials)
	}
	if len(c.Seeds) > measure.MaxSeeds {
		return fmt.Errorf("--seeds names %d ecosystems, want at most %d", len(c.Seeds), measure.MaxSeeds)
	}
	p := a.progress("tracing", "leaks")
	r, err := measure.Run(a.ctx, measure.Config{Seeds: c.Seeds, Trials: c.Trials, Ecosystem: c.Ecosystem, Progress: func(done, total int) { p.at(int64(done), int64(total)) }})
	p.end()
	if err != nil {
		return err
	}
	if c.HTML != "" {
		if err := c.page(r); err != nil {
			return err
		}
	}
	if a.JSON {
		return a.object(r)
	}
	c.show(a, r)
	return nil
}

func (c *drillTraceCmd) page(r *measure.Report) error {
	f, err := os.Create(c.HTML)
	if err != nil {
		return fmt.Errorf("cannot write page: %w", err)
	}
	if err := measure.WritePage(f, r); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("cannot write page: %w", err)
	}
	return nil
}

func (c *drillTraceCmd) show(a *app, r *measure.Report) {
	t := newTable("  rrrrrr", "leaks", "", "trials", "source 1st", "all in 3", "partner 1st", "named", "wrong")
	for _, x := range r.Rows {
		what := fmt.Sprintf("%.0f %% noise, %s", 100*x.Noise, many(x.Sources, "source"))
		switch {
		case x.Sources == 0:
			t.row(fmt.Sprintf("%d complaints", x.Complaints), "all noise", x.Trials, "", "", "", share(x.Named), share(x.Wrong))
			continue
		case x.Thieves:
			what = fmt.Sprintf("%.0f %% noise, taken by thieves", 100*x.Noise)
		}
		t.row(fmt.Sprintf("%d complaints", x.Complaints), what, x.Trials, share(x.First), share(x.Three), share(x.Partner), share(x.Named), share(x.Wrong))
	}
	t.print(a.out)
	a.out.line()
	bars := newTable(" rr", "bar", "want", "got", "")
	for _, b := range r.Bars {
		sign, met := "≥", cell{"met", green}
		if b.Most {
			sign = "≤"
		}
		if !b.Met {
			met = cell{"MISSED", red}
		}
		bars.row(b.Name, fmt.Sprintf("%s %.2f", sign, b.Want), fmt.Sprintf("%.3f", b.Got), met)
	}
	bars.print(a.out)
	a.out.line()
	cal := newTable("rrr", "posterior", "came true", "claims")
	for _, b := range r.Bins {
		cal.row(fmt.Sprintf("%.2f", b.Posterior), fmt.Sprintf("%.2f", b.True), b.Claims)
	}
	cal.print(a.out)
	a.out.line(a.out.paint(dim, fmt.Sprintf("A source is right if it stands in the name that is ranked; right names have %.1f entities on average. --html FILE draws all this.", r.Members)))
}

func share(p float64) string { return fmt.Sprintf("%.1f %%", 100*p) }
