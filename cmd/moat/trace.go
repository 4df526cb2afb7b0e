package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest/complaint"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
)

// traceCmd leads from leaked orders to their source.
type traceCmd struct {
	span
	File     string        `placeholder:"FILE" help:"Read the orders from a file, or - for standard input: ids, a table as moat complaint import takes it, id,time,reporter,weight, or JSON objects; one a line."`
	Zone     zone          `placeholder:"ZONE" help:"Where the clock of a table's times without a zone stands, such as Asia/Shanghai (UTC)."`
	LeakedAt when          `placeholder:"TIME" help:"When the orders that come without a time had leaked: later touches do not count."`
	Skew     time.Duration `default:"5m" placeholder:"SPAN" help:"How far the clocks of partners may be apart (${default})."`
	IDs      []string      `arg:"" optional:"" name:"order" help:"Ids of leaked orders; - reads them from standard input."`
}

// Help shows how to use it.
func (traceCmd) Help() string {
	return "Ranks every account, device, address, server, app, outlet, destination and partner that had the orders in hand before they leaked, by how much better " +
		"each explains the leak than chance does. Posterior is the probability that it is a source, weighed against all others. It names nobody alone: who is named has a posterior of " +
		"at least 0.5, at least 3 of the orders, p (the chance that somebody innocent has as many) of at most 0.01, and 2 times as many as chance would give (3 times where several leak at once), or orders that leaked 4 times as often as others. " +
		"Else there is not enough evidence, and the answer says what is missing.\n\n" +
		examples("moat trace 4401234567 4401234568 4401234569", "moat trace --file complaints.csv", "cut -d, -f1 leaked.csv | moat trace - --leaked-at 2026-03-09 --json")
}

// Run traces.
func (c *traceCmd) Run(a *app) error {
	orders, err := c.orders(a, os.Stdin)
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
func (c *traceCmd) orders(a *app, in io.Reader) ([]trace.Leaked, error) {
	var list []trace.Leaked
	add := func(name string, r io.Reader) error {
		more, bad, err := readLeaked(r, c.Zone.Location)
		if err != nil {
			return hint(err, "a line is an id, or id,time,reporter,weight, or a JSON object with id and at, or the file is a table with a column named order")
		}
		if n := len(bad); n > 0 {
			a.err.line(a.err.paint(yellow, "warning:"), fmt.Sprintf("%s of %s passed over: %s", many(n, "line"), name, strings.Join(bad[:min(n, shownBad)], "; ")))
		}
		list = append(list, more...)
		return nil
	}
	for _, id := range c.IDs {
		if id != "-" {
			list = append(list, trace.Leaked{ID: id})
		} else if err := add("standard input", in); err != nil {
			return nil, err
		}
	}
	switch c.File {
	case "":
		return list, nil
	case "-":
		return list, add("standard input", in)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, fmt.Errorf("cannot read leaked orders: %w", err)
	}
	defer f.Close()
	err = add(c.File, f)
	return list, err
}

// readLeaked reads leaked orders, one a line: a table of complaints as they are filed, or what [trace.ReadOrders] reads. It returns what is wrong with the lines
// of a table that are passed over.
func readLeaked(r io.Reader, clock *time.Location) (list []trace.Leaked, bad []string, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(64 << 10)
	if err != nil && err != io.EOF {
		return nil, nil, fmt.Errorf("cannot read leaked orders: %w", err)
	}
	first, err := complaint.NewReader(bytes.NewReader(head), complaint.Options{})
	if !isTable(first, err, head) {
		list, lines := trace.ReadOrders(in)
		if lines != nil && err != nil && !utf8.Valid(head) { // it says how to turn the file into UTF-8
			lines = fmt.Errorf("cannot read leaked orders: %w", err)
		}
		return list, nil, lines
	}
	t, err := complaint.NewReader(in, complaint.Options{Location: clock})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read leaked orders: %w", err)
	}
	for len(list) <= trace.MaxOrders {
		row, err := t.Next()
		var line *complaint.LineError
		switch {
		case err == io.EOF && len(list) == 0 && len(bad) > 0:
			return nil, nil, fmt.Errorf("cannot read leaked orders: %s", bad[0])
		case err == io.EOF:
			return list, bad, nil
		case errors.As(err, &line):
			bad = append(bad, line.Error())
		case err != nil:
			return nil, nil, fmt.Errorf("cannot read leaked orders: %w", err)
		default:
			list = append(list, trace.Leaked{ID: row.Order, At: row.ContactedAt, By: row.Reporter})
		}
	}
	return nil, nil, fmt.Errorf("cannot read leaked orders: there are more than %d; trace a part of them", trace.MaxOrders)
}

// isTable tells whether a file that begins with head, and that first reads or err refuses, is a table of complaints: with names of columns, none of which is a weight,
// or with several columns of which the second says what the complaint is about.
func isTable(first *complaint.Reader, err error, head []byte) bool {
	if err != nil || bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n\ufeff"), []byte("{")) {
		return false
	}
	if named, dropped := first.Header(); named {
		return !slices.ContainsFunc(dropped, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), "weight") })
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	return bytes.ContainsAny(line, ",;\t")
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
	a.leaks(t.Canaries)
	counted := fmt.Sprintf("%s known here, %s not", number(n.Known), number(n.Unknown))
	if planted := n.Looked - n.Known - n.Unknown; planted > 0 {
		counted += fmt.Sprintf(", %s planted and touched by nobody", number(planted))
	}
	if n.Looked < n.Distinct {
		counted = fmt.Sprintf("%s of them looked up, %s", number(n.Looked), counted)
	}
	if t.Population.Controls > 0 || len(t.Canaries) == 0 {
		counted += fmt.Sprintf("; compared with %s of about %s orders of the same time", number(t.Population.Controls), number(int64(t.Population.Orders)))
	}
	o.line(counted)
	if t.Why != "" {
		o.wrap("why: ", t.Why+".")
		o.wrap("missing: ", t.Missing+".")
	}
	if len(t.Sources) > 0 {
		o.line()
		a.sources(t)
		a.whys(t)
	}
	if t.Verdict == trace.Found && n.Unexplained > 0 {
		o.line()
		o.wrap("not explained: ", fmt.Sprintf("%s, likelier leaked elsewhere, even where a source had them in hand: %s", many(n.Unexplained, "order"), sample(t.Unexplained, n.Unexplained)))
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

// leaks tells which channels the canaries among the orders were planted in: it needs no statistics, and so stands first.
func (a *app) leaks(list []trace.Canary) {
	type channel struct{ partner, name, kind string }
	of := map[channel][]string{}
	var order []channel
	for _, c := range list {
		k := channel{c.Partner, c.Channel, c.Kind}
		if of[k] == nil {
			order = append(order, k)
		}
		of[k] = append(of[k], c.Order)
	}
	for _, k := range order {
		a.out.wrap(a.out.paint(red, "ALARM: "), fmt.Sprintf("%s of partner %s leaked: %s among them stood there and nowhere else: %s", a.out.paint(red, clean(k.name)), a.out.paint(red, clean(k.partner)),
			many(len(of[k]), "planted "+k.kind), sample(of[k], len(of[k]))))
	}
	if len(order) > 0 {
		a.out.wrap("", "Once it is filed a case tells of it: moat complaint import, --dump for a list that was found.")
	}
}

// shownNames is how many sources the first line names, and how many the last lines say what to do about.
const shownNames = 3

func verdictOf(a *app, t *trace.Answer) string {
	if t.Verdict != trace.Found && len(t.Canaries) > 0 {
		return "the channel is known; " + a.out.paint(yellow, "not enough evidence") + " to say who"
	}
	text := a.out.paint(yellow, "not enough evidence") + " to name a source "
	switch {
	case t.Verdict == trace.Found:
	case len(t.Sources) > 0 && t.Sources[0].Unnamed != "":
		return text + "(the likeliest may be innocent: see why)"
	default:
		return text + fmt.Sprintf("(%s that none was seen here)", percent(t.None))
	}
	var names []string
	list := named(t)
	for _, s := range list[:min(shownNames, len(list))] {
		name := s.Name
		if len(list) > 1 { // the table has what cannot be told from it
			name = strings.TrimPrefix(s.Kind+" "+s.ID, "account ")
		}
		names = append(names, a.out.paint(red, clean(name)))
	}
	if more := len(list) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	if n := len(names); n > 1 {
		names = []string{strings.Join(names[:n-1], ", ") + " and " + names[n-1]}
	}
	return fmt.Sprintf("%d of %d explained by %s", t.Orders.Explained, t.Orders.Known, names[0])
}

// named returns the sources that are named.
func named(t *trace.Answer) []trace.Source {
	return slices.DeleteFunc(slices.Clone(t.Sources), func(s trace.Source) bool { return !s.Named })
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
	likely := false
	for _, s := range t.Sources {
		st := plain
		if s.Named {
			st = red
		}
		touched := number(int64(s.Touched))
		if !s.Exact {
			touched = "≈ " + touched
		}
		likely = likely || s.Unnamed != ""
		tab.row(s.Rank, cell{s.Name, st}, s.Kind, cmp.Or(s.Partner, "several"), cell{bar(s.Posterior) + " " + trace.Probability(s.Posterior), st},
			fmt.Sprintf("%d/%d", s.Leaked, t.Orders.Known), touched, fmt.Sprintf("%.3g×", math.Floor(100*s.Lift)/100), trace.Chance(s.P), percent(s.Share), instant(s.Since))
	}
	tab.print(a.out)
	if likely {
		a.out.wrap("", "A posterior of one half or more names nobody alone: it weighs these sources against each other. What the likely one lacks stands below.")
	}
	var words []string
	for _, p := range t.Partners {
		if p.Posterior >= 0.01 && len(words) < 4 {
			words = append(words, fmt.Sprintf("%s %.2f", clean(p.Partner), p.Posterior))
		}
	}
	if len(words) > 0 {
		by := "partners: "
		if len(t.Canaries) > 0 { // what was planted says by whom it leaked, and needs no odds
			by = "partners by who had the orders in hand, beside what the planted ones prove: "
		}
		a.out.line(a.out.paint(dim, fmt.Sprintf("%s%s · none of those seen: %.2f", by, strings.Join(words, ", "), t.None)))
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
	next := scopesOf(t)
	if len(next) > 0 {
		a.out.line()
	}
	for i, s := range next {
		a.onward(i, "moat scope "+s)
	}
}

// scopesOf is what scope is to be asked of: the first sources that are named, else a channel that leaked a canary, else the first of the list.
func scopesOf(t *trace.Answer) (list []string) {
	for i := range t.Canaries {
		c := &t.Canaries[i]
		if kind, id, ok := strings.Cut(c.Channel, ":"); ok && t.Verdict != trace.Found {
			if k, err := moat.ParseEntityKind(kind); err == nil {
				return []string{fmt.Sprintf("%s %s --partner %s", k, shell(id), shell(c.Partner))}
			}
		}
	}
	sources := named(t)
	if len(sources) == 0 {
		sources = t.Sources[:min(1, len(t.Sources))]
	}
	for _, s := range sources[:min(shownNames, len(sources))] {
		list = append(list, scopeOf(&s))
	}
	return list
}

// scopeOf is what scope is to be asked of a source.
func scopeOf(s *trace.Source) string {
	kind, id := s.Kind, s.ID
	if i := strings.LastIndexByte(id, ' '); kind == trace.KindName(trace.Version) && i > 0 { // only the app has a diary
		kind, id = "app", id[:i]
	}
	next := fmt.Sprintf("%s %s", kind, shell(id))
	if s.Partner != "" && s.Kind != "partner" {
		next += " --partner " + shell(s.Partner)
	}
	if w := s.Reach; w.Since != 0 {
		next += " --since " + w.Since.Std().Format(time.DateOnly)
		if w.Until != 0 {
			next += " --until " + w.Until.Std().Format(time.RFC3339)
		}
	}
	return next
}
