package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/serve/node"
)

// ingestCmd loads files.
type ingestCmd struct {
	logFlags
	Follow  bool     `short:"f" help:"Go on with what is written to the file, until told to end."`
	Format  string   `enum:"auto,sshd,access,ndjson" default:"auto" placeholder:"FORMAT" help:"sshd (auth.log), access (nginx, Apache), ndjson (events), or auto (${default})."`
	Partner string   `placeholder:"ID" help:"Partner of lines that name none (local)."`
	App     string   `placeholder:"ID" help:"App of lines that name none."`
	Host    string   `placeholder:"NAME" help:"Host of log lines that name none (the file's name)."`
	Zone    zone     `placeholder:"ZONE" help:"Where the clock of a log without time zones stands, such as Asia/Shanghai (UTC)."`
	Year    int      `placeholder:"YEAR" help:"Year of the last line of a log without years (the latest that is not in the future)."`
	Files   []string `arg:"" name:"file" help:"Files, also compressed with gzip or zstd; - is standard input."`
}

// Help shows how to use it.
func (ingestCmd) Help() string {
	return "Returns when everything has been through the detectors and is stored, and tells what was found. Loading the same file again changes nothing, if it spans a week or less: ids are remembered for seven days of the events' own time. " +
		"Lines of NDJSON may name their partner. The lines that are refused are counted, and the first are told; when they are more than those taken, the exit code is 3.\n\n" +
		examples("moat ingest /var/log/auth.log", "moat ingest access.log.*.gz --partner acme --host web-1", "zcat events.gz | moat ingest -", "moat ingest -f /var/log/auth.log")
}

// zone is a time zone on the command line.
type zone struct{ *time.Location }

// UnmarshalText reads the name of a zone.
func (z *zone) UnmarshalText(b []byte) (err error) {
	z.Location, err = time.LoadLocation(string(b))
	return err
}

// Validate is called when the flags are known.
func (c *ingestCmd) Validate() error {
	if c.Follow && (len(c.Files) != 1 || c.Files[0] == "-" || c.Year != 0) {
		return errors.New("--follow wants one file, and no --year")
	}
	if c.Year != 0 && (c.Year < 1970 || c.Year > 9998) {
		return errors.New("--year wants a year")
	}
	return nil
}

// Run loads.
func (c *ingestCmd) Run(a *app) (err error) {
	if err := c.check(a); err != nil {
		return err
	}
	began := time.Now()
	n, err := a.open(c.logFlags, a.log, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	before, err := n.Stats(a.ctx)
	if err != nil {
		return err
	}
	known, err := n.Heard(a.ctx)
	if err != nil {
		return err
	}
	report, failed := c.load(a, n)
	// What was read is worked on to the end, also when somebody has had enough of the rest.
	ctx := context.WithoutCancel(a.ctx)
	if err := c.drain(ctx, a, n); err != nil {
		return errors.Join(failed, err)
	}
	after, err := n.Stats(ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	s := outcome{Report: report, looked: after.Detectors}
	for i := range after.Partitions {
		was, is := before.Partitions[i].Engine, after.Partitions[i].Engine
		s.Duplicates, s.Late = s.Duplicates+is.Duplicates-was.Duplicates, s.Late+is.Late-was.Late
	}
	heard, err := n.Heard(ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	maps.DeleteFunc(heard, func(p string, _ bool) bool { return known[p] })
	s.NewPartners = slices.AppendSeq([]string{}, maps.Keys(heard))
	slices.Sort(s.NewPartners)
	s.Duration = time.Since(began)
	if err := s.sum(ctx, n); err != nil {
		return errors.Join(failed, err)
	}
	if a.JSON {
		err = a.object(s)
	} else {
		a.outcome(&s)
	}
	switch {
	case failed != nil:
		return failed
	case err == nil && s.Refused() > s.Events:
		return errProblems
	}
	return err
}

// check says what is wrong with the files before a folder is made for them: that one is not there, or that none can be loaded.
func (c *ingestCmd) check(a *app) error {
	for _, f := range c.Files {
		if _, err := os.Stat(f); f != "-" && err != nil {
			return fmt.Errorf("cannot load %s: %w", f, err)
		}
	}
	if _, err := os.Stat(a.Data); !errors.Is(err, os.ErrNotExist) || c.Follow || c.Format != "auto" {
		return nil
	}
	var first error
	for _, f := range c.Files {
		if f == "-" {
			return nil
		}
		err := ingest.Check(f)
		if err == nil {
			return nil
		}
		if first == nil {
			first = fmt.Errorf("cannot load %s: %w", f, err)
		}
	}
	return first
}

// load puts the events of the files into the river.
func (c *ingestCmd) load(a *app, n *node.Node) (ingest.Report, error) {
	bar := a.progress("read", "bytes")
	defer bar.end()
	l := ingest.Loader{River: n.River, Key: n.IngestKey(), Watch: n.Watch, Partner: c.Partner, App: c.App, Host: c.Host, Location: c.Zone.Location,
		Progress: func(p ingest.Progress) {
			name := "read " + p.File
			if p.Waits != "" {
				name += ", which waits for room in the log (" + p.Waits + ")"
			}
			bar.name(name)
			bar.at(p.Read, p.Total)
		}}
	if c.Format != "auto" {
		l.Format = c.Format
	}
	if c.Year != 0 {
		end := time.Date(c.Year+1, 1, 1, 0, 0, -1, 0, cmp.Or(c.Zone.Location, time.UTC))
		l.Now = func() time.Time { return end }
	}
	if c.Follow {
		return l.Follow(a.ctx, c.Files[0])
	}
	return l.Load(a.ctx, c.Files...)
}

// drain waits until all has been through the engine and is stored.
func (c *ingestCmd) drain(ctx context.Context, a *app, n *node.Node) error {
	bar := a.progress("judge", "batches")
	defer bar.end()
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(ctx) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-drained:
			return err
		case <-tick.C:
			if s, err := n.Stats(ctx); err == nil {
				var at, last uint64
				for _, p := range s.Partitions {
					at, last = at+p.Position, last+p.Last
				}
				bar.at(int64(at), int64(last))
			}
		}
	}
}

// outcome is the report of a load and what there is now in its span of time.
type outcome struct {
	ingest.Report
	Duplicates uint64         `json:"duplicates"`
	Late       uint64         `json:"late"`     // over an hour behind what their partner sent before
	Findings   map[string]int `json:"findings"` // by detector
	Cases      map[string]int `json:"cases"`    // by rank
	Decisions  int            `json:"decisions"`
	Waiting    int            `json:"waiting"` // of them, for a person
	Worst      []suspect      `json:"worst"`   // entities, the riskiest first
	// NewPartners are those that nothing was heard of before, by name.
	NewPartners []string `json:"new_partners"`

	looked int // detectors
}

// What of an outcome fits on one screen.
const (
	shownBad       = 5
	shownPartners  = 12
	shownDetectors = 8
	shownWorst     = 12
)

// outcome tells what was loaded and what was found.
func (a *app) outcome(s *outcome) {
	o := a.out
	o.linef("%s in %s: %s, %s of context", o.paint(bold, many(s.Lines, "line")), s.Duration.Round(time.Millisecond), many(s.Events, "event"), many(s.Context, "line"))
	var odd []string
	if n := s.Refused(); n > 0 {
		o.line(o.paint(red, fmt.Sprintf("%s of %s refused", number(n), number(n+s.Events))))
	}
	if s.Unreadable > 0 {
		odd = append(odd, many(s.Unreadable, "line")+" unreadable")
	}
	for _, code := range slices.Sorted(maps.Keys(s.Rejected)) {
		odd = append(odd, fmt.Sprintf("%s rejected: %s", many(s.Rejected[code], "event"), code))
	}
	if s.Duplicates > 0 {
		odd = append(odd, many(s.Duplicates, "event")+" known already")
	}
	if s.Clock > 0 {
		odd = append(odd, many(s.Clock, "event")+" with a wrong clock")
	}
	if s.Late > 0 {
		odd = append(odd, many(s.Late, "event")+" came over an hour after newer ones of their partner, where short windows no longer count them; load history before what is newer")
	}
	if len(odd) > 0 {
		o.wrap("  ", strings.Join(odd, ", "))
	}
	for _, b := range s.Bad[:min(len(s.Bad), shownBad)] {
		o.wrap("    ", fmt.Sprintf("%s:%d %s", b.File, b.Line, b.Reason))
	}
	if s.Events == 0 {
		o.line("Nothing was loaded.")
		return
	}
	o.linef("from %s to %s", instant(s.First), instant(s.Last))
	s.odd(o)
	o.line()
	total := 0
	for _, n := range s.Findings {
		total += n
	}
	if total == 0 {
		o.linef("%s looked; nothing suspicious was found in this time.", many(s.looked, "detector"))
		return
	}
	o.linef("%s, %s, %s", o.paint(bold, many(total, "finding")), countRanks(s.Cases), many(s.Decisions, "decision"))
	if s.Waiting > 0 {
		o.linef("%s of the decisions for a person to approve: moat%s decisions --waiting", number(s.Waiting), a.dataFlag())
	}
	ids := slices.SortedFunc(maps.Keys(s.Findings), func(x, y string) int { return cmp.Or(s.Findings[y]-s.Findings[x], cmp.Compare(x, y)) })
	t := newTable("r", "found", "by")
	for _, id := range ids[:min(len(ids), shownDetectors)] {
		t.row(number(s.Findings[id]), id)
	}
	t.print(o)
	if n := len(ids) - shownDetectors; n > 0 {
		o.line(o.paint(dim, fmt.Sprintf("       … and %s", many(n, "more detector"))))
	}
	o.line()
	w := newTable("r", "risk", "who", "partner", "found", "why")
	for _, x := range s.Worst[:min(len(s.Worst), shownWorst)] {
		st := plain
		if x.Score >= 50 {
			st = red
		}
		w.row(cell{fmt.Sprintf("%.0f", x.Score), st}, x.Kind.String()+":"+x.ID, x.Partner, number(x.Findings), x.Reason)
	}
	w.print(o)
	o.line()
	a.onward(0, "moat cases", "moat cases show ID", "moat entity KIND ID", "moat decisions")
}

// odd tells what may be a mistake of the file.
func (s *outcome) odd(o *screen) {
	if n := len(s.NewPartners); n > 0 {
		list := strings.Join(s.NewPartners[:min(n, shownPartners)], ", ")
		if n > shownPartners {
			list += fmt.Sprintf(" and %s more", number(n-shownPartners))
		}
		was := "were"
		if n == 1 {
			was = "was"
		}
		o.wrap("", fmt.Sprintf("%s %s not seen before: %s", many(n, "partner"), was, clean(list)))
	}
	if s.Unplaced > 0 {
		o.wrap("", fmt.Sprintf("%s without a partner went to %q: they are traced with all others, but to be counted with every partner that their orders passed through they want moat complaint import",
			many(s.Unplaced, "complaint"), "local"))
	}
}

func countRanks(m map[string]int) string {
	total, parts := 0, []string(nil)
	for r := moat.P1; r <= moat.P4; r++ {
		if n := m[r.String()]; n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%d %s", n, r))
		}
	}
	if total == 0 {
		return "no case"
	}
	return fmt.Sprintf("%s (%s)", many(total, "case"), strings.Join(parts, ", "))
}
