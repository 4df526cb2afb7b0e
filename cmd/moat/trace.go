package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
)

// traceCmd leads from leaked orders to their source.
type traceCmd struct {
	span
	File     string        `placeholder:"FILE" help:"Read the orders from a file, or - for standard input. A line is an id; or id,time,reporter,weight; or a JSON object; or a complaint."`
	LeakedAt when          `placeholder:"TIME" help:"When the orders that come without a time had leaked: later touches do not count."`
	Skew     time.Duration `default:"5m" placeholder:"SPAN" help:"How far the clocks of partners may be apart (${default})."`
	IDs      []string      `arg:"" optional:"" name:"order" help:"Ids of leaked orders; - reads them from standard input."`
}

// Help shows how to use it.
func (traceCmd) Help() string {
	return "Ranks every account, device, address, server, app, outlet, destination and partner that had the orders in hand before they leaked, by how much better " +
		"each explains the leak than chance does. Posterior is the probability that it is a source; where none reaches one half, there is not enough evidence to name one.\n\n" +
		examples("moat trace 4401234567 4401234568 4401234569", "moat trace --file complaints.csv", "cut -d, -f1 leaked.csv | moat trace - --leaked-at 2026-03-09 --json")
}

// Run traces.
func (c *traceCmd) Run(a *app) error {
	orders, err := c.orders(os.Stdin)
	if err != nil {
		return err
	}
	if len(orders) == 0 {
		return usage(errors.New("no orders are named"), "name them, or a file with --file, or - for standard input")
	}
	answer, err := c.ask(a, orders)
	if err != nil {
		return err
	}
	a.damaged(answer.Damaged)
	if a.JSON {
		return a.object(answer)
	}
	a.traced(&answer)
	return nil
}

// orders reads the leaked orders from the command line, the file and standard input.
func (c *traceCmd) orders(in io.Reader) ([]trace.Leaked, error) {
	var list []trace.Leaked
	add := func(r io.Reader) error {
		more, err := trace.ReadOrders(r)
		if err != nil {
			return hint(err, "a line is an id, or id,time,reporter,weight, or a JSON object with id and at")
		}
		list = append(list, more...)
		return nil
	}
	for _, id := range c.IDs {
		if id != "-" {
			list = append(list, trace.Leaked{ID: id})
		} else if err := add(in); err != nil {
			return nil, err
		}
	}
	switch c.File {
	case "":
		return list, nil
	case "-":
		return list, add(in)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, fmt.Errorf("cannot read leaked orders: %w", err)
	}
	defer f.Close()
	err = add(f)
	return list, err
}

// ask asks the server, which knows the last half minute too, or the files: also for more orders than it takes.
func (c *traceCmd) ask(a *app, orders []trace.Leaked) (trace.Answer, error) {
	s, err := a.served()
	if err != nil {
		return trace.Answer{}, err
	}
	if s != nil && len(orders) <= api.MaxTraced {
		return s.Trace(a.ctx, api.TraceQuestion{Orders: orders, Since: moat.Time(c.Since), Until: moat.Time(c.Until), At: moat.Time(c.LeakedAt), Skew: int(c.Skew.Seconds())})
	}
	b, err := a.read()
	if err != nil {
		return trace.Answer{}, err
	}
	defer b.Close()
	t, closeIt, err := node.ReadTracer(a.ctx, a.Data, b, a.log)
	if err != nil {
		return trace.Answer{}, err
	}
	defer closeIt()
	answer, err := t.Trace(a.ctx, moat.Everyone(), trace.Question{Orders: orders, Since: moat.Time(c.Since), Until: moat.Time(c.Until), At: moat.Time(c.LeakedAt), Skew: moat.Time(c.Skew.Microseconds())})
	if err != nil {
		return trace.Answer{}, err
	}
	return *answer, nil
}

// traced shows an answer: what it comes to, the ranking, why, what is left, what to do next.
func (a *app) traced(t *trace.Answer) {
	o := a.out
	n := &t.Orders
	o.line(o.paint(bold, many(n.Distinct, "leaked order")+":"), verdictOf(a, t))
	counted := fmt.Sprintf("%s known here, %s not", number(n.Known), number(n.Unknown))
	if n.Looked < n.Distinct {
		counted = fmt.Sprintf("%s of them looked up, %s", number(n.Looked), counted)
	}
	o.linef("%s; compared with %s of about %s orders of the same time", counted, number(t.Population.Controls), number(int64(t.Population.Orders)))
	if len(t.Sources) > 0 {
		o.line()
		a.sources(t)
		a.whys(t)
	}
	if t.Verdict == trace.Found && n.Unexplained > 0 {
		o.line()
		o.wrap("not explained: ", fmt.Sprintf("%s: %s", many(n.Unexplained, "order"), sample(t.Unexplained, n.Unexplained)))
	}
	for i, c := range t.Canaries[:min(len(t.Canaries), shownGroup)] {
		if i == 0 {
			o.line()
			o.linef("%s: nobody bought these orders, they were planted to be found", many(len(t.Canaries), "canary"))
		}
		o.linef("  %s leaked by %s of partner %s", clean(c.Order), o.paint(red, clean(c.Channel)), o.paint(red, clean(c.Partner)))
	}
	if n.Unknown > 0 {
		o.line()
		o.wrap("never seen here: ", sample(n.UnknownIDs, n.Unknown))
	}
	if len(t.Warnings) > 0 {
		o.line()
	}
	for _, w := range t.Warnings {
		o.wrap("note: ", w.Text)
	}
	a.traceNext(t)
}

// shownNames is how many sources the first line names.
const shownNames = 4

func verdictOf(a *app, t *trace.Answer) string {
	if t.Verdict != trace.Found {
		return a.out.paint(yellow, "not enough evidence") + fmt.Sprintf(" to name a source (%s that none was seen here)", percent(t.None))
	}
	var names []string
	more := 0
	for _, s := range t.Sources {
		switch {
		case s.Named && len(names) < shownNames:
			names = append(names, a.out.paint(red, clean(s.Name)))
		case s.Named:
			more++
		}
	}
	text := fmt.Sprintf("%d of %d explained by %s", t.Orders.Explained, t.Orders.Known, strings.Join(names, " and "))
	if more > 0 {
		text += fmt.Sprintf(" and %s", many(more, "more source"))
	}
	return text
}

func percent(p float64) string {
	switch {
	case p > 0.995 && p < 1:
		return "> 99 %"
	case p < 0.005 && p > 0:
		return "< 1 %"
	}
	return fmt.Sprintf("%.0f %%", 100*p)
}

// sources shows the ranking.
func (a *app) sources(t *trace.Answer) {
	tab := newTable("r    rrrrr", "#", "source", "kind", "partner", "posterior", "leaked", "touched", "lift", "p", "share", "since")
	for _, s := range t.Sources {
		st := plain
		if s.Named {
			st = red
		}
		touched := number(int64(s.Touched))
		if !s.Exact {
			touched = "≈ " + touched
		}
		p := fmt.Sprintf("%.1g", s.P)
		if s.P < 1e-12 {
			p = "< 1e-12"
		}
		tab.row(s.Rank, cell{s.Name, st}, s.Kind, cmp.Or(s.Partner, "several"), cell{bar(s.Posterior) + fmt.Sprintf(" %.2f", s.Posterior), st},
			fmt.Sprintf("%d/%d", s.Leaked, t.Orders.Known), touched, fmt.Sprintf("%.3g×", s.Lift), p, percent(s.Share), instant(s.Since))
	}
	tab.print(a.out)
	var words []string
	for _, p := range t.Partners {
		if p.Posterior >= 0.01 && len(words) < 4 {
			words = append(words, fmt.Sprintf("%s %.2f", clean(p.Partner), p.Posterior))
		}
	}
	if len(words) > 0 {
		a.out.line(a.out.paint(dim, fmt.Sprintf("partners: %s · none of those seen: %.2f", strings.Join(words, ", "), t.None)))
	}
}

// bar draws a share in ten columns.
func bar(p float64) string {
	n := int(p*10 + 0.5)
	return strings.Repeat("█", n) + strings.Repeat("░", 10-n)
}

// whys tells the reasons of the sources that are named, or of the first if none is, and why likely ones are not.
func (a *app) whys(t *trace.Answer) {
	for i, s := range t.Sources {
		if !s.Named && i > 0 {
			if s.Unnamed != "" {
				a.out.line()
				a.out.wrap(fmt.Sprintf("%d not named: ", s.Rank), s.Unnamed+".")
			}
			continue
		}
		a.out.line()
		a.out.wrap(fmt.Sprintf("%d why: ", s.Rank), s.Reason)
		if s.Unnamed != "" {
			a.out.wrap("  not named: ", s.Unnamed+".")
		}
		var path []string
		for _, p := range s.Path {
			path = append(path, fmt.Sprintf("%s %s (%d)", p.Kind, p.ID, p.Orders))
		}
		a.out.wrap("  path: ", strings.Join(path, " → "))
		for _, f := range s.Findings {
			a.out.wrap("  seen: ", fmt.Sprintf("%s %s: %s (%.2f)", instant(f.Time), f.Detector, f.Reason, f.Score))
		}
	}
}

// sample lists the first of some ids.
func sample(ids []string, all int) string {
	const most = 8
	s := strings.Join(ids[:min(most, len(ids))], " ")
	if all > most {
		s += fmt.Sprintf(" … (%s in all; --json lists up to 100)", number(all))
	}
	return s
}

// traceNext says what to do with an answer.
func (a *app) traceNext(t *trace.Answer) {
	if len(t.Sources) == 0 {
		return
	}
	a.out.line()
	s := &t.Sources[0]
	kind, id := s.Kind, s.ID
	if i := strings.LastIndexByte(id, ' '); kind == trace.KindName(trace.Version) && i > 0 { // only the app has a diary
		kind, id = "app", id[:i]
	}
	next := fmt.Sprintf("%s %s", kind, shell(id))
	if s.Partner != "" && s.Kind != "partner" {
		next += " --partner " + shell(s.Partner)
	}
	if s.Since != 0 {
		next += fmt.Sprintf(" --since %s --until %s", s.Since.Std().Format(time.RFC3339), (s.Until + moat.Second).Std().Format(time.RFC3339))
	}
	a.out.line(a.out.paint(dim, "next: moat scope "+next))
}
