package main

import (
	"bufio"
	_ "embed" // for the README of a simulation
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
	"github.com/moat-platform/moat/sim/world"
)

// simCmd writes the events of a simulated ecosystem.
type simCmd struct {
	Seed     uint64   `default:"1" help:"Which ecosystem; the same one always gives the same events (${default})."`
	Partners int      `default:"40" help:"How many partners, 10 to 100,000 (${default})."`
	Days     int      `default:"28" help:"How many days, 1 to 366 (${default})."`
	Start    string   `placeholder:"DATE" help:"First day, such as 2026-03-02 (a Monday, so that the last day is over)."`
	Thefts   int      `default:"0" help:"How many thieves there are; 0 for a number that fits the partners, --thefts=-1 for none (${default})."`
	Only     []string `placeholder:"CAMPAIGN" sep:"none" help:"Only thieves of this campaign (repeatable)."`
	Out      string   `placeholder:"DIR" type:"path" help:"Folder to write into."`
	Force    bool     `help:"Overwrite what is there."`
	List     bool     `help:"List the campaigns and end."`
}

// The files of a simulation.
const (
	simEvents = "events.ndjson"
	simTruth  = "truth.json"
	simReadme = "README.txt"
)

//go:embed sim_readme.txt
var simReadmeText string

// Help shows how to use it.
func (simCmd) Help() string {
	return "Service providers, merchants, cross-border sellers, warehouses and couriers work on orders that flow from one to the next, honestly and oddly, and thieves are among them. " +
		"DIR gets " + simEvents + ", which moat ingest takes, " + simTruth + ", which says what the thieves did, and a " + simReadme + " that explains both.\n\n" +
		examples("moat sim --list", "moat sim --out sim/", "moat sim --seed 7 --partners 200 --days 60 --out sim/", "moat sim --only 'bribed clerk' --thefts 3 --out sim/",
			"moat ingest sim/events.ndjson --data sim/data")
}

// Validate is called when the flags are known.
func (c *simCmd) Validate() error {
	if !c.List && c.Out == "" {
		return errors.New("say where to write with --out DIR, or list the campaigns with --list")
	}
	return nil
}

// simReport is what was written.
type simReport struct {
	Config    world.Config    `json:"config"`
	Seed      uint64          `json:"seed"`
	Events    int64           `json:"events"`
	StaffDays int             `json:"staff_days"`
	Partners  []world.Partner `json:"partners"`
	Thefts    []truth.Theft   `json:"thefts"`
}

// Run writes.
func (c *simCmd) Run(a *app) error {
	if c.List {
		return a.campaigns()
	}
	start, err := c.start(time.Now())
	if err != nil {
		return usage(err)
	}
	w, err := world.New(world.Config{Seed: c.Seed, Partners: c.Partners, Days: c.Days, Start: start, Thefts: c.Thefts, Only: c.Only})
	if err != nil {
		return usage(err, "moat sim --list shows the campaigns, moat sim --help the bounds")
	}
	if err := c.vacant(); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("cannot make folder: %w", err)
	}
	began := time.Now()
	n, err := c.write(a, w)
	if err != nil {
		return err
	}
	r := simReport{Config: w.Config(), Seed: c.Seed, Events: n, StaffDays: w.Staff(), Partners: w.Partners(), Thefts: w.Thefts()}
	text, err := json.MarshalIndent(&r, "", " ")
	if err == nil {
		err = c.place(simTruth, append(text, '\n'))
	}
	if err == nil {
		err = c.place(simReadme, []byte(c.readme(w, &r)))
	}
	if err != nil {
		return fmt.Errorf("cannot write simulation: %w", err)
	}
	if a.JSON {
		return a.object(map[string]any{"out": c.Out, "events": n, "staff_days": r.StaffDays, "partners": len(r.Partners), "thefts": len(r.Thefts), "start": w.Start(), "end": w.End()})
	}
	a.out.linef("%s of %s over %s days, %s – %s, were written to %s in %s.", a.out.paint(bold, many(n, "event")), many(len(r.Partners), "partner"), number(w.Days()),
		w.Start().Std().Format("2 Jan"), w.End().Std().Add(-time.Hour).Format("2 Jan 2006"), filepath.Join(c.Out, simEvents), time.Since(began).Round(100*time.Millisecond))
	a.simThefts(r.Thefts)
	a.out.line(a.out.paint(dim, fmt.Sprintf("next: moat ingest %s --data %s", shell(filepath.Join(c.Out, simEvents)), shell(filepath.Join(c.Out, "data")))))
	return nil
}

// start is the first day.
func (c *simCmd) start(now time.Time) (moat.Time, error) {
	if c.Start == "" {
		today := moat.TimeOf(now) / moat.Day
		first := today - moat.Time(min(max(c.Days, 0), world.MaxDays))
		return (first - (first+3)%7) * moat.Day, nil // 1970 began on a Thursday
	}
	t, err := time.Parse(time.DateOnly, c.Start)
	if err != nil {
		return 0, fmt.Errorf("--start wants a day such as 2026-03-02, not %.40q", c.Start)
	}
	return moat.TimeOf(t), nil
}

// vacant tells that nothing would be overwritten.
func (c *simCmd) vacant() error {
	for _, name := range []string{simEvents, simTruth, simReadme} {
		switch _, err := os.Lstat(filepath.Join(c.Out, name)); {
		case c.Force || errors.Is(err, fs.ErrNotExist):
		case err == nil:
			return hint(fmt.Errorf("cannot write simulation: %s is there already", filepath.Join(c.Out, name)), "name another folder, or overwrite with --force")
		default:
			return fmt.Errorf("cannot write simulation: %w", err)
		}
	}
	return nil
}

// write lets the world live and writes its events.
func (c *simCmd) write(a *app, w *world.World) (n int64, err error) {
	path := filepath.Join(c.Out, simEvents)
	f, err := os.Create(path + ".part")
	if err != nil {
		return 0, fmt.Errorf("cannot write events: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(path+".part", path)
		}
		if err != nil {
			os.Remove(path + ".part")
		}
	}()
	bar := a.progress("simulate", "days")
	defer bar.end()
	out, line := bufio.NewWriterSize(f, 1<<20), []byte(nil)
	for day := int64(0); ; day++ {
		bar.at(day, int64(w.Days()))
		if err := a.ctx.Err(); err != nil {
			return n, err
		}
		events, ok := w.Next()
		if !ok {
			break
		}
		for _, e := range events {
			line = append(moat.AppendJSON(line[:0], e), '\n')
			if _, err := out.Write(line); err != nil {
				return n, fmt.Errorf("cannot write events: %w", err)
			}
		}
		n += int64(len(events))
	}
	if err := out.Flush(); err != nil {
		return n, fmt.Errorf("cannot write events: %w", err)
	}
	return n, nil
}

// place writes a small file whole.
func (c *simCmd) place(name string, text []byte) error {
	path := filepath.Join(c.Out, name)
	if err := os.WriteFile(path+".part", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// readme explains the files.
func (c *simCmd) readme(w *world.World, r *simReport) string {
	again := fmt.Sprintf("moat sim --seed %d --partners %d --days %d --start %s --thefts %d", c.Seed, w.Config().Partners, w.Days(), w.Start().Std().Format(time.DateOnly), c.Thefts)
	for _, o := range c.Only {
		again += " --only " + shell(o)
	}
	return strings.NewReplacer("{events}", number(r.Events), "{partners}", number(len(r.Partners)), "{days}", number(w.Days()), "{start}", w.Start().String(), "{end}", w.End().String(),
		"{thefts}", number(len(r.Thefts)), "{staff}", number(r.StaffDays), "{again}", again).Replace(simReadmeText)
}

// simThefts counts the thefts by campaign.
func (a *app) simThefts(thefts []truth.Theft) {
	if len(thefts) == 0 {
		a.out.line("There are no thieves among them.")
		return
	}
	t := newTable("  rr", "campaign", "partner", "began", "acts", "orders")
	for i := range thefts {
		x := &thefts[i]
		var orders int64
		for _, act := range x.Acts {
			orders += int64(len(act.Orders)) + act.Rows
		}
		name := x.Name
		if x.Variant != "" {
			name += ", " + x.Variant
		}
		t.row(name, x.Partner, x.From.Std().Format("2 Jan 15:04"), number(len(x.Acts)), number(orders))
	}
	t.print(a.out)
}

// campaigns prints the ways to steal.
func (a *app) campaigns() error {
	t := newTable("", "campaign", "how")
	for _, c := range world.Campaigns() {
		if a.JSON {
			if err := a.object(c); err != nil {
				return err
			}
			continue
		}
		t.row(c.Name, c.Doc)
	}
	if !a.JSON {
		t.print(a.out)
	}
	return nil
}
