package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/serve/node"
)

// replayCmd tries detectors on past events.
type replayCmd struct {
	Rule    []string `placeholder:"FILE" sep:"none" help:"Try only the detectors in these files or folders (repeatable)."`
	All     bool     `help:"Try all detectors of the data folder, with those of --rule in the place of their like."`
	Since   when     `placeholder:"TIME" help:"Only findings from this time on; events before it still fill the statistics."`
	Until   when     `placeholder:"TIME" help:"Only events and findings before this time."`
	Partner string   `placeholder:"ID" help:"Only this partner's events."`
	Limit   int      `default:"20" placeholder:"N" help:"Show at most N new and N gone findings (${default}); JSON has up to 10,000 of each."`
}

// Help shows how to use it.
func (replayCmd) Help() string {
	return "Folds the past events again, through fresh statistics, and compares with what was found when they came: " +
		"`new` is found by the replay alone, `gone` was found live alone, `same` by both. Nothing is changed.\n\n" +
		examples("moat replay", "moat replay --rule my-detector.yaml --since 7d", "moat replay --all --rule changed.yaml --partner acme --json")
}

// Run replays.
func (c *replayCmd) Run(a *app) error {
	cfg := node.ReplayConfig{Dir: a.Data, Book: a.Book, Partner: c.Partner, From: moat.Time(c.Since), To: moat.Time(c.Until),
		Alone: len(c.Rule) > 0 && !c.All, Logger: a.log}
	if len(c.Rule) > 0 {
		files, sources, err := readRules(c.Rule)
		if err != nil {
			return err
		}
		cfg.Sources = sources
		var problems rule.Problems
		for _, f := range files {
			problems = append(problems, f.Problems...)
			cfg.Rules = append(cfg.Rules, f.detector)
		}
		if len(files) == 0 {
			return fmt.Errorf("cannot replay: there is no .yaml file in %s", strings.Join(c.Rule, ", "))
		}
		if problems != nil {
			return hint(fmt.Errorf("cannot replay: %w", problems), "`moat check` says more")
		}
	}
	bar := a.progress("replay", "messages")
	cfg.Progress = func(done, total uint64) { bar.at(int64(done), int64(total)) }
	r, err := node.Replay(a.ctx, cfg)
	bar.end()
	if err != nil {
		if p := rule.AsProblems(err); p != nil {
			return hint(errors.Join(err), "`moat check` says more")
		}
		return err
	}
	if a.JSON {
		return a.object(r)
	}
	c.show(a, r)
	return nil
}

func (c *replayCmd) show(a *app, r *node.Replayed) {
	o := a.out
	if r.Events == 0 {
		o.line("No events to replay. `moat ingest FILE…` loads some.")
		return
	}
	o.linef("%s from %s to %s", many(r.Events, "event"), instant(r.First), instant(r.Last))
	o.linef("%s: %s new, %s same, %s gone", many(r.Total.Found, "finding"), number(r.Total.New), number(r.Total.Same), number(r.Total.Gone))
	if n := len(r.Cases); n > 0 {
		var ranks []string
		for k := moat.P1; k <= moat.P4; k++ {
			if m := r.Ranks[k.String()]; m > 0 {
				ranks = append(ranks, fmt.Sprintf("%d %s", m, k))
			}
		}
		o.linef("%s: %s", many(n, "case"), strings.Join(ranks, ", "))
	}
	if len(r.Detectors) > 0 {
		o.line()
		t := newTable(" rrrr", "detector", "found", "new", "same", "gone")
		for _, d := range r.Detectors {
			t.row(d.Detector, number(d.Found), changedCell(d.New, green), number(d.Same), changedCell(d.Gone, yellow))
		}
		t.print(o)
	}
	c.list(a, "New: found by the replay alone", r.New, r.Total.New)
	c.list(a, "Gone: found live alone", r.Gone, r.Total.Gone)
}

func changedCell(n int, s style) cell {
	if n == 0 {
		s = plain
	}
	return cell{number(n), s}
}

func (c *replayCmd) list(a *app, title string, list []moat.Finding, total int) {
	if total == 0 {
		return
	}
	a.out.line()
	a.out.line(a.out.paint(bold, title))
	list = list[:min(len(list), max(0, c.Limit))]
	a.findings(list)
	if len(list) < total {
		a.out.line(a.out.paint(dim, fmt.Sprintf("… the first %s of %s", number(len(list)), number(total))))
	}
}
