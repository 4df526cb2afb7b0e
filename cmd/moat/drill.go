package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/sim/drill"
	"github.com/moat-platform/moat/sim/world"
)

// drillCmd measures what is found of simulated thefts.
type drillCmd struct {
	Run       drillRunCmd       `cmd:"" default:"withargs" help:"Measure what the detectors find in a simulated ecosystem, and whom they suspect wrongly."`
	Calibrate drillCalibrateCmd `cmd:"" help:"Measure what findings are worth, and whether detection gets better by it."`
	Trace     drillTraceCmd     `cmd:"" help:"Measure how well leaks are traced to their source."`
}

// drillFlags say which ecosystems are made.
type drillFlags struct {
	Seeds    seeds    `default:"1-8" placeholder:"LIST" help:"Which ecosystems, such as 1-8 or 1,4,10-12 (${default})."`
	Partners int      `default:"40" help:"How many partners each has (${default})."`
	Days     int      `default:"28" help:"How many days (${default})."`
	Thefts   int      `default:"0" help:"How many thieves each has; 0 for a number that fits the partners (${default})."`
	Only     []string `placeholder:"CAMPAIGN" sep:"none" help:"Only thieves of this campaign (repeatable)."`
	Warmup   warmup   `default:"14d" placeholder:"SPAN" help:"Thefts that begin before are not judged: 14d, 36h (${default})."`
	Rules    []string `placeholder:"DIR" sep:"none" type:"path" help:"Detector files or folders, in the place of the shipped ones with the same ids or beside them (repeatable)."`
}

type drillRunCmd struct {
	drillFlags
	Report   string `placeholder:"FILE" type:"path" help:"Write the figures as a page that needs nothing else."`
	Save     string `placeholder:"DIR" type:"path" help:"Write findings, cases and thefts there, as NDJSON."`
	Explain  string `placeholder:"WHAT" help:"Tell of a campaign what was missed, of a detector which false cases it took part in; or missed, or false, for all."`
	Verdicts bool   `help:"Measure what is learned from an analyst who judges four cases in five, one in twenty of them wrongly, from one ecosystem to the next."`
	Stated   bool   `help:"Believe what detectors state, not what was measured of them."`
	Limit    int    `default:"10" placeholder:"N" help:"Explain at most N (${default})."`
}

// Help shows how to use it.
func (drillRunCmd) Help() string {
	return "Runs each seed's ecosystem through the real engine, risk keeper and playbook in this process, and compares the cases with what the thieves did. " +
		"A theft is found by the first case that names who did it, between the first act and a day after the last; a case that finds no theft is false, from the first day on. " +
		"What removing a detector would change is computed from the recorded findings, without another run.\n\n" +
		examples("moat drill", "moat drill --seeds 1-2 --explain missed", "moat drill --rules my-detectors/ --json | jq .recall", "moat drill --report drill.html --save drill/")
}

// drillStart is midnight of the Monday on which ecosystems begin.
const drillStart = moat.Time(1_775_433_600) * moat.Second // 2026-04-06

// seeds is a list of numbers and ranges.
type seeds []uint64

// UnmarshalText reads "1-8,11".
func (s *seeds) UnmarshalText(b []byte) error {
	*s = nil
	bad := fmt.Errorf("%.40q is no list of seeds: want numbers and ranges such as 1-8,11, at most %d", b, drill.MaxSeeds)
	for part := range strings.SplitSeq(string(b), ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseUint(low, 10, 32)
		to, err2 := strconv.ParseUint(high, 10, 32)
		if err != nil || err2 != nil || to < from || to-from >= drill.MaxSeeds {
			return bad
		}
		for n := from; n <= to; n++ {
			if !slices.Contains(*s, n) {
				*s = append(*s, n)
			}
		}
	}
	if len(*s) > drill.MaxSeeds {
		return bad
	}
	return nil
}

// warmup is a span in days or as Go writes it.
type warmup moat.Time

// UnmarshalText reads "14d" or "36h".
func (w *warmup) UnmarshalText(b []byte) error {
	if days, ok := strings.CutSuffix(string(b), "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			*w = warmup(moat.Time(n) * moat.Day)
			return nil
		}
	}
	d, err := time.ParseDuration(string(b))
	if err != nil || d < 0 {
		return fmt.Errorf("%.40q is no span: want 14d or 36h", b)
	}
	*w = warmup(d.Microseconds())
	return nil
}

func (f *drillFlags) world(seed uint64) (drill.World, error) {
	return world.New(world.Config{Seed: seed, Start: drillStart, Partners: f.Partners, Days: f.Days, Thefts: f.Thefts, Only: f.Only})
}

// run runs the seeds with a progress bar.
func (f *drillFlags) run(a *app) (*drill.Set, error) {
	cfg := drill.Config{Seeds: f.Seeds, World: f.world, Warmup: moat.Time(f.Warmup)}
	if len(f.Rules) > 0 {
		files, sources, err := readRules(f.Rules)
		if err != nil {
			return nil, err
		}
		var problems rule.Problems
		for _, x := range files {
			problems = append(problems, x.Problems...)
			cfg.Rules = append(cfg.Rules, x.detector)
		}
		if problems != nil {
			return nil, hint(fmt.Errorf("cannot drill: %w", problems), "`moat check` says more")
		}
		if cfg.Sources = sources; len(files) == 0 {
			return nil, fmt.Errorf("cannot drill: there is no .yaml file in %s", strings.Join(f.Rules, ", "))
		}
	}
	var done atomic.Int64
	bar := a.progress("drill", "days")
	cfg.Progress = func() { bar.at(done.Add(1), int64(len(f.Seeds)*f.Days)) }
	defer bar.end()
	return drill.Run(a.ctx, cfg)
}

// Run measures.
func (c *drillRunCmd) Run(a *app) error {
	set, err := c.run(a)
	if err != nil {
		return err
	}
	odds, err := set.Shipped()
	if err != nil {
		return err
	}
	if c.Stated {
		odds = risk.Calibration{}
	}
	if c.Save != "" {
		if err := drill.Save(a.ctx, set, odds, c.Save); err != nil {
			return err
		}
	}
	if c.Explain != "" {
		list, err := drill.Explain(a.ctx, set, c.world, odds, c.Explain, c.Limit)
		if errors.Is(err, drill.ErrUnknown) {
			return hint(err, "moat drill lists the campaigns and detectors; missed and false tell of all")
		}
		if err != nil {
			return err
		}
		return a.explained(list)
	}
	if c.Verdicts {
		return a.taught(set, odds)
	}
	r, err := drill.NewReport(a.ctx, set, odds)
	if err != nil {
		return err
	}
	if c.Report != "" {
		if err := writePage(c.Report, r); err != nil {
			return err
		}
		a.err.line("The page is", c.Report)
	}
	if a.JSON {
		return a.object(r)
	}
	a.drilled(r)
	return nil
}

func writePage(path string, r *drill.Report) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return errors.Join(drill.WritePage(f, r), f.Close())
}

// rate writes a share as a percentage.
func rate(x float64) string { return strconv.FormatFloat(100*x, 'f', 1, 64) + " %" }

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func after(seconds float64) string {
	return lapse(moat.Time(seconds * float64(moat.Second)))
}

// drilled prints the figures.
func (a *app) drilled(r *drill.Report) {
	o := a.out
	o.linef("%s, %d days: %s events, %s, %s staff-days", many(len(r.Seeds), "ecosystem"), r.Days, number(r.Events), many(r.Findings, "finding"), number(r.StaffDays))
	o.line()
	t := newTable(" rrrrrrrr", "campaign", "thefts", "recall", "found after", "90 %", "taken before", "share", "P1 P2 P3 P4")
	row := func(name string, y *drill.Tally, s style) {
		median, p90 := "-", "-"
		if y.Found > 0 {
			median, p90 = after(y.Median), after(y.P90)
		}
		t.row(cell{name, s}, number(y.Thefts), recallCell(y.Recall), median, p90, number(y.Lost), rate(y.LostPart),
			fmt.Sprintf("%2d %2d %2d %2d", y.Ranks[1], y.Ranks[2], y.Ranks[3], y.Ranks[4]))
	}
	for i := range r.Campaigns {
		c := &r.Campaigns[i]
		row(c.Name, &c.Tally, plain)
		for n := range c.Variants {
			row("  "+cmp.Or(c.Variants[n].Name, "plain"), &c.Variants[n].Tally, dim)
		}
	}
	row("all", &r.Tally, bold)
	t.print(o)
	o.line()
	o.linef("recall            %s of %s (at least %s with 95 %% confidence), %s contained by the playbook", rate(r.Recall), many(r.Thefts, "theft"), rate(r.RecallLow), rate(r.Contained))
	o.linef("cases             %s true and %s false in 1,000 staff-days: precision %s", decimal(r.TruePer1000), decimal(r.FalsePer1000), rate(r.Precision))
	o.linef("                  first 14 days %s true and %s false, after them %s true and %s false", decimal(r.Early.TruePer1000), decimal(r.Early.FalsePer1000),
		decimal(r.Late.TruePer1000), decimal(r.Late.FalsePer1000))
	if r.EchoCases > 0 {
		o.linef("                  %d more were opened by a complaint or a planted order of a theft and name nobody", r.EchoCases)
	}
	var at []string
	for _, p := range r.RecallAt {
		at = append(at, fmt.Sprintf("%g: %s", p.FalsePer1000, rate(p.Recall)))
	}
	o.linef("recall at budget  %s (false cases in 1,000 staff-days, worst damage first)", strings.Join(at, " · "))
	o.linef("harm              %s decisions to mask or worse about honest ones in 1,000 staff-days", decimal(r.HarmPer1000))
	l := &r.List
	o.linef("list              %s of the first 10 rows are about a theft and %s of the first 20, average precision %s", rate(l.First10), rate(l.First20), rate(l.Average))
	o.linef("                  a theft that was found has %s cases in %s rows, %s at the most", decimal(l.CasesEach), decimal(l.PerTheft), number(l.MostRows))
	var noise []string
	for _, d := range r.Noise() {
		noise = append(noise, fmt.Sprintf("%s %s", d.ID, number(d.MarginalFalse)))
	}
	if len(noise) > 0 {
		o.linef("noise             %s (false cases fewer without it, and no theft missed more)", strings.Join(noise, " · "))
	}
	o.linef("calibration       expected error of case scores %s", rate(r.ECE))
	o.line()
	d := newTable(" rrrrrrrrr", "detector", "found", "true", "stated", "in thefts", "in false", "opened", "if removed: recall", "false", "mode")
	silent := 0
	for i := range r.Detectors {
		x := &r.Detectors[i]
		if x.Fires == 0 {
			silent++
			continue
		}
		gone := cell{"0", dim}
		if x.MarginalRecall != 0 {
			gone = cell{strconv.FormatFloat(-100*x.MarginalRecall, 'f', 1, 64) + " %", plain}
		}
		d.row(x.ID, number(x.Fires), rate(x.Precision), rate(x.Stated), number(x.TruePart), number(x.FalsePart), number(x.Opened), gone, number(-x.MarginalFalse), cell{x.Mode, dim})
	}
	d.print(o)
	if silent > 0 {
		o.line(o.paint(dim, many(silent, "detector")+" found nothing."))
	}
	if len(r.Missed)+r.FalseCases > 0 {
		o.line()
		o.line(o.paint(dim, "next: the same with --explain missed, false, CAMPAIGN or DETECTOR · the same with --report drill.html"))
	}
}

func recallCell(x float64) cell {
	switch {
	case x >= 0.95:
		return cell{rate(x), green}
	case x >= 0.5:
		return cell{rate(x), yellow}
	}
	return cell{rate(x), red}
}

// taught shows what verdicts do to detection.
func (a *app) taught(set *drill.Set, odds risk.Calibration) error {
	x, err := set.Teach(a.ctx, odds, drill.Analyst{Judges: 0.8, Errs: 0.05})
	if err != nil {
		return err
	}
	if a.JSON {
		return a.object(x)
	}
	a.out.linef("%s, %s of them wrong; %s demoted", many(x.Verdicts, "verdict"), number(x.Wrong), many(x.Demoted, "detector"))
	a.out.line()
	header := []string{"", "recall", "false cases in 1,000 staff-days", "error of case scores"}
	budgets := x.Before.RecallAt[:min(len(x.Before.RecallAt), len(x.After.RecallAt), 3)]
	for _, p := range budgets {
		header = append(header, fmt.Sprintf("recall at %g", p.FalsePer1000))
	}
	t := newTable(" "+strings.Repeat("r", len(header)-1), header...)
	for _, row := range []struct {
		name string
		drill.Worth
	}{{"without verdicts", x.Before}, {"with verdicts", x.After}} {
		cells := []any{row.name, rate(row.Recall), decimal(row.FalseCases), rate(row.ECE)}
		for _, p := range row.RecallAt[:len(budgets)] {
			cells = append(cells, rate(p.Recall))
		}
		t.row(cells...)
	}
	t.print(a.out)
	a.out.line()
	a.out.line(a.out.paint(dim, "recall at 1: if people look at no more false cases than one in 1,000 staff-days, the worst damage first"))
	return nil
}
