package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/retail"
	"github.com/moat-platform/moat/sim/retail/play"
)

// demoCmd shows Moat at work on a small ecosystem with thieves in it.
type demoCmd struct {
	Speed speed  `placeholder:"1000x" help:"Simulated seconds in a second. Default: all of it in a minute and a half."`
	Fast  bool   `help:"As fast as events are taken."`
	Days  int    `default:"56" help:"How many days, 28 to 70."`
	Start when   `placeholder:"DATE" help:"The Monday that it begins on (it ends about today)."`
	Seed  uint64 `default:"1" help:"Which people, oddities and thieves; the orders are always the same real ones."`
	Keep  bool   `help:"Keep the temporary data folder. One named with --data, which must be empty, is always kept."`
}

// demoTakes is how long the demo takes by itself.
const demoTakes = 90 * time.Second

// Help shows how to use it.
func (demoCmd) Help() string {
	return "Two service providers, a warehouse and a courier work on ten weeks of real orders; six thieves are among them. " +
		"Everything takes the real way: signed HTTP, the log, the detectors, cases, decisions. The thieves do not notice what is decided " +
		"about them, so that what they took before they were found can be counted.\n\n" +
		examples("moat demo", "moat demo --fast --seed 7", "moat demo --speed 20000x --data ./demo-data")
}

// Run plays the ecosystem and tells how it went.
func (c *demoCmd) Run(a *app, line *kong.Context) error {
	start := moat.Time(c.Start)
	if start == 0 {
		day := moat.TimeOf(time.Now())/moat.Day - moat.Time(c.Days)
		start = (day - (day+3)%7) * moat.Day // 1970 began on a Thursday
	}
	w, err := retail.New(retail.Config{Seed: c.Seed, Start: start, Days: c.Days})
	if err != nil {
		return usage(err)
	}
	dir, kept, err := c.folder(a, line)
	if err != nil {
		return err
	}
	secret := ""
	if !kept {
		defer os.RemoveAll(dir)
		secret = fmt.Sprint("demo ", c.Seed)
	}
	pace := float64(c.Speed)
	switch {
	case c.Fast:
		pace = 0
	case pace == 0:
		pace = float64(c.Days) * 24 * 3600 / demoTakes.Seconds()
	}
	a.err.linef("%d days of %s, on real orders moved to %s – %s", c.Days, "two service providers, a warehouse, a courier, and six thieves", w.Start().Std().Format("2 Jan"),
		w.End().Std().Format("2 Jan 2006"))
	shown := demoScreen{a: a}
	r, err := play.Run(a.ctx, play.Config{Dir: dir, Secret: secret, World: w, Speed: pace, Logger: a.log, Shown: shown.show})
	shown.end()
	if errors.Is(err, play.ErrInUse) {
		return hint(err, "name a folder that is empty or does not exist, or none")
	}
	if err != nil {
		return err
	}
	if a.JSON {
		return a.demoObjects(&r)
	}
	a.demoReport(w, &r)
	a.demoNext(&r, dir, kept)
	return nil
}

// folder returns where the data goes: never the usual data folder, unless it is named.
func (c *demoCmd) folder(a *app, line *kong.Context) (dir string, kept bool, err error) {
	for _, p := range line.Path {
		if p.Flag != nil && p.Flag.Name == "data" {
			return a.Data, true, nil
		}
	}
	if dir, err = os.MkdirTemp("", "moat-demo-"); err != nil {
		return "", false, fmt.Errorf("cannot make data folder: %w", err)
	}
	return dir, c.Keep, nil
}

// speed is a number with or without an x behind it.
type speed float64

// UnmarshalText reads "1000x".
func (s *speed) UnmarshalText(b []byte) error {
	v, err := strconv.ParseFloat(strings.TrimSuffix(string(b), "x"), 64)
	if err != nil || !(v >= 1 && v <= 1e9) {
		return fmt.Errorf("a speed is a number from 1 to 1000000000, such as 1000x, not %.20q", b)
	}
	*s = speed(v)
	return nil
}

// demoScreen is the line that shows how far the demo is.
type demoScreen struct {
	a    *app
	last time.Time
}

func (d *demoScreen) show(s play.State) {
	var open []string
	for r := moat.P1; r <= moat.P4; r++ {
		if s.Open[r] > 0 {
			cell := rankCell(r)
			open = append(open, d.a.err.paint(cell.style, fmt.Sprintf("%d %s", s.Open[r], cell.text)))
		}
	}
	cases := "none"
	if len(open) > 0 {
		cases = strings.Join(open, ", ")
	}
	text := fmt.Sprintf("day %d of %d, %s · %s events, %s/s · open cases: %s", min(s.Day+1, s.Days), s.Days, s.Now.Std().Format("Mon 2 Jan 15:04"), number(s.Events),
		number(int64(s.PerSecond)), cases)
	switch {
	case terminal(os.Stderr):
		fmt.Fprintf(d.a.err.w, "\r\x1b[K%s", text)
	case time.Since(d.last) >= plainEvery:
		d.last = time.Now()
		d.a.err.line(text)
	}
}

func (d *demoScreen) end() {
	if terminal(os.Stderr) {
		fmt.Fprint(d.a.err.w, "\r\x1b[K")
	}
}

// demoReport tells of each theft, then of those who were suspected wrongly.
func (a *app) demoReport(w *retail.World, r *play.Result) {
	v := &r.Verdict
	a.out.linef("%s events of %s staff-days went over signed HTTP into the log, the detectors and the store in %s: %s.", number(r.Events), number(r.StaffDays),
		r.Took.Round(100*time.Millisecond), many(r.Findings, "finding"))
	a.out.line()
	t := newTable("  r r  ", "theft", "began", "found after", "rank", "taken before", "decided")
	for i := range v.Outcomes {
		o := &v.Outcomes[i]
		began := o.Theft.From.Std().Format("2 Jan 15:04")
		if o.Case == nil {
			t.row(o.Theft.Name, began, cell{"MISSED", red}, "", "all "+number(o.All), "")
			continue
		}
		rank, decisions := o.Case.Rank, []moat.Decision(nil)
		for _, x := range o.Cases() {
			rank = min(rank, x.Rank)
			decisions = append(decisions, r.Decisions[x.ID]...)
		}
		t.row(o.Theft.Name, began, cell{lapse(o.Delay()), green}, rankCell(rank), number(o.Lost)+" of "+number(o.All), decided(decisions))
	}
	t.print(a.out)
	a.out.line()
	how := newTable("", "theft", "case", "rank", "found by")
	for i := range v.Outcomes {
		name := v.Outcomes[i].Theft.Name
		for _, x := range v.Outcomes[i].Cases() {
			if x.Merged == "" || name != "" {
				how.row(name, x.ID, rankCell(x.Rank), strings.Join(x.Detectors, ", "))
				name = "" // the further cases stand below
			}
		}
	}
	how.print(a.out)
	a.out.line()
	a.out.linef("%d of %d thefts were found. %s.", v.Found(), len(v.Outcomes), falseWords(len(v.False), r.StaffDays))
	for i := range v.False {
		c := &v.False[i]
		a.out.wrap(fmt.Sprintf("  %s %s %s at %s: ", c.Opened.Std().Format("2 Jan 15:04"), c.Rank, subjectOf(c), c.Partner), c.Reason)
	}
	a.out.line(a.out.paint(dim, "A theft is found by the first case opened after its first act that names who did it; a case about no theft is false."))
	a.out.line(a.out.paint(dim, "Orders: UCI Online Retail, Chen, D. (2015), CC BY 4.0. People, companies and thieves are invented."))
}

func falseWords(n, staffDays int) string {
	if n == 0 {
		return "Nobody was suspected wrongly"
	}
	return fmt.Sprintf("%s, %.1f in a thousand staff-days", many(n, "false case"), 1000*float64(n)/float64(max(staffDays, 1)))
}

// decided puts decisions into few words: "deny ip, account; verify device (1 to approve)".
func decided(list []moat.Decision) string {
	slices.SortStableFunc(list, func(a, b moat.Decision) int { return int(b.Action) - int(a.Action) })
	var words []string
	scopes := map[string][]string{}
	waiting := 0
	for _, d := range list {
		act := d.Action.String()
		if d.Approval != "" {
			waiting++
		}
		if _, ok := scopes[act]; !ok {
			words = append(words, act)
		}
		if !slices.Contains(scopes[act], d.Scope) {
			scopes[act] = append(scopes[act], d.Scope)
		}
	}
	for i, act := range words {
		words[i] = act + " " + strings.Join(scopes[act], ", ")
	}
	text := strings.Join(words, "; ")
	switch {
	case len(list) == 0:
		return "nothing"
	case waiting > 0:
		return fmt.Sprintf("%s (%d to approve)", text, waiting)
	}
	return text
}

// lapse writes a time span in its two largest units.
func lapse(t moat.Time) string {
	switch {
	case t < moat.Second:
		return "at once"
	case t < moat.Minute:
		return fmt.Sprintf("%d s", t/moat.Second)
	case t < moat.Hour:
		return fmt.Sprintf("%d min %d s", t/moat.Minute, t%moat.Minute/moat.Second)
	case t < moat.Day:
		return fmt.Sprintf("%d h %d min", t/moat.Hour, t%moat.Hour/moat.Minute)
	}
	return fmt.Sprintf("%d d %d h", t/moat.Day, t%moat.Day/moat.Hour)
}

// demoNext says what to try with the data.
func (a *app) demoNext(r *play.Result, dir string, kept bool) {
	a.out.line()
	if !kept {
		a.out.line("The data was thrown away. With --keep, or --data DIR, it stays to be looked at.")
		return
	}
	a.out.line("The data is in", dir+". Try:")
	flag := "--data " + shell(dir)
	a.out.line("  moat cases", flag)
	for i := range r.Verdict.Outcomes {
		if o := &r.Verdict.Outcomes[i]; o.Case != nil {
			a.out.line("  moat cases show", o.Case.ID, flag)
			e := o.Case.Entities[0]
			a.out.linef("  moat entity %s %s %s", e.Kind, shell(e.ID), flag)
			if act := o.Theft.Acts[len(o.Theft.Acts)-1]; len(act.Orders) > 0 {
				a.out.line("  moat orders", act.Orders[0], flag)
			}
			break
		}
	}
	a.out.line("  moat decisions", flag)
	a.out.line("  moat serve", flag)
}

// demoObjects prints the outcome of each theft and each false case as JSON.
func (a *app) demoObjects(r *play.Result) error {
	type outcome struct {
		Theft     string          `json:"theft"`
		Partner   string          `json:"partner"`
		From      moat.Time       `json:"from"`
		To        moat.Time       `json:"to"`
		Culprits  []moat.Entity   `json:"culprits"`
		Found     bool            `json:"found"`
		Seconds   float64         `json:"seconds_to_detect,omitempty"`
		Taken     int64           `json:"taken_before"`
		All       int64           `json:"taken_in_all"`
		Case      *moat.Case      `json:"case,omitempty"`
		Decisions []moat.Decision `json:"decisions,omitempty"`
	}
	for i := range r.Verdict.Outcomes {
		o := &r.Verdict.Outcomes[i]
		x := outcome{Theft: o.Theft.Name, Partner: o.Theft.Partner, From: o.Theft.From, To: o.Theft.To, Culprits: o.Theft.Culprits, Taken: o.Lost, All: o.All, Case: o.Case}
		if o.Case != nil {
			x.Found, x.Seconds, x.Decisions = true, float64(o.Delay())/float64(moat.Second), r.Decisions[o.Case.ID]
		}
		if err := a.object(x); err != nil {
			return err
		}
	}
	for i := range r.Verdict.False {
		if err := a.object(map[string]any{"false_case": &r.Verdict.False[i]}); err != nil {
			return err
		}
	}
	return nil
}
