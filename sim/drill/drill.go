// Package drill measures detection: it runs a simulated ecosystem with thieves in it through the
// real engine, risk keeper and playbook, in this process, and compares what they found with what
// the thieves did.
//
// Use [Run] for some seeds, then [NewReport] for the figures, [Explain] for what was missed or
// suspected wrongly and why, and [WritePage] to show it. The same [Config] gives the same figures.
//
// It will not measure speed (see package sim/bench), nor the way that events take to the engine
// (see package sim/retail/play): there is no server, no log and no store.
package drill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/sim/truth"
)

// Limits of a drill.
const (
	MaxSeeds    = 1000
	MaxFindings = 2_000_000 // of one seed
)

// World is an ecosystem: its days, the truth about its thieves, and how many staff-days of work
// it saw so far. Thefts lists each theft at the latest when the day of its first act was returned.
type World interface {
	Next() ([]*moat.Event, bool)
	Thefts() []truth.Theft
	Staff() int
}

// Config says what to run.
type Config struct {
	Seeds []uint64
	// World makes the ecosystem of a seed, the same each time.
	World func(seed uint64) (World, error)
	// Rules are tried in the place of the shipped detectors with their ids, or beside them. Sources
	// are their files, for messages.
	Rules   []*rule.Detector
	Sources map[string][]byte
	// Warmup is how long statistics fill before thefts are judged: earlier ones are not.
	Warmup moat.Time
	// Progress, if not nil, is called after each day that is done; from many goroutines.
	Progress func()
}

// Round is what came of one seed.
type Round struct {
	Seed     uint64
	Start    moat.Time // midnight before the first event
	Staff    []int     // staff-days of each day
	Events   int
	Stats    engine.Stats
	Thefts   []truth.Theft
	Findings []Finding // in the order in which they were made

	byPartner map[string][]*Finding
	partners  []string // sorted
}

// Finding is one with the truth about it.
type Finding struct {
	moat.Finding
	// Theft is the place in Thefts of the one that it is about, -1 if it is about none. A finding is
	// about a theft if an act of the thief or an echo of it triggered it, or if its entity names him and he
	// had acted within the day before.
	Theft int `json:"theft"`
	// Risk is the entity's risk after it, 0..100.
	Risk float64 `json:"risk"`
	// Case is where it went, "" if nowhere.
	Case string `json:"case,omitempty"`
}

// True tells whether it is about a theft.
func (f *Finding) True() bool { return f.Theft >= 0 }

// Set is the rounds of a drill and the detectors that took part.
type Set struct {
	Rounds    []*Round
	Detectors []*rule.Compiled
	Marks     map[string]string // of their texts, by id
	Warmup    moat.Time
}

// Shipped is the calibration that ships, as far as it holds for the detectors of the set.
func (s *Set) Shipped() (risk.Calibration, error) {
	c, err := risk.ParseCalibration(detectors.CalibrationText())
	if err != nil {
		return c, fmt.Errorf("cannot read the calibration that ships: %w", err)
	}
	return c.For(s.Marks), nil
}

// Run runs the ecosystem of each seed through an engine of its own, as many at a time as there are cores.
func Run(ctx context.Context, cfg Config) (*Set, error) {
	if len(cfg.Seeds) == 0 || len(cfg.Seeds) > MaxSeeds {
		return nil, fmt.Errorf("cannot drill: %d seeds, want 1 to %d", len(cfg.Seeds), MaxSeeds)
	}
	plan, marks, err := compile(cfg.Rules, cfg.Sources)
	if err != nil {
		return nil, err
	}
	table, err := indicator.Default()
	if err != nil {
		return nil, fmt.Errorf("cannot read what is known of addresses: %w", err)
	}
	s := &Set{Rounds: make([]*Round, len(cfg.Seeds)), Detectors: plan.Detectors, Marks: marks, Warmup: cfg.Warmup}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, seed := range cfg.Seeds {
		g.Go(func() error {
			w, err := cfg.World(seed)
			if err != nil {
				return fmt.Errorf("cannot drill: %w", err)
			}
			across := foresee.New(foresee.Config{Plan: plan})
			e, err := engine.New(engine.Config{Plan: plan, Net: func(ip string) rule.Net { return rule.NetOf(table, ip) }, After: across.See})
			if err != nil {
				return fmt.Errorf("cannot drill: %w", err)
			}
			r := &Round{Seed: seed}
			if err := r.run(ctx, w, e, across, cfg.Progress); err != nil {
				return fmt.Errorf("cannot drill with seed %d: %w", seed, err)
			}
			s.Rounds[i] = r
			return nil
		})
	}
	return s, g.Wait()
}

// compile compiles the shipped detectors, with others in the place of their like.
func compile(own []*rule.Detector, sources map[string][]byte) (*rule.Plan, map[string]string, error) {
	list, texts, err := detectors.All()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the detectors that ship: %w", err)
	}
	list = slices.DeleteFunc(list, func(old *rule.Detector) bool {
		return slices.ContainsFunc(own, func(d *rule.Detector) bool { return d.ID == old.ID })
	})
	maps.Copy(texts, sources)
	list = append(list, own...)
	plan, err := rule.Compile(list, rule.Options{Sources: texts})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot compile the detectors: %w", err)
	}
	return plan, detectors.Marks(list, texts), nil
}

// maxStep is how many events go into one step of the engine.
const maxStep = 4096

// transit is how long an event takes to us if the world does not say.
const transit = 100 * moat.Millisecond

// run takes the days of the world one by one, so that only one is held.
func (r *Round) run(ctx context.Context, w World, e *engine.Engine, across *foresee.Across, progress func()) error {
	var b moat.BatchWriter
	sharers, staff := newSharers(), 0
	step := func() error {
		found, err := across.Run(e, b.Bytes())
		b.Reset()
		if err != nil {
			return err
		}
		for i := range found {
			r.Findings = append(r.Findings, Finding{Finding: found[i], Theft: -1})
		}
		if len(r.Findings) > MaxFindings {
			return fmt.Errorf("there are over %d findings", MaxFindings)
		}
		return nil
	}
	for {
		day, ok := w.Next()
		if !ok {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		sharers.see(day, w.Thefts())
		for i, ev := range day {
			if ev.Received == 0 {
				ev.Received = ev.Time + transit
			}
			if r.Start == 0 {
				r.Start = ev.Time / moat.Day * moat.Day
			}
			if b.Append(ev); (i+1)%maxStep == 0 {
				if err := step(); err != nil {
					return err
				}
			}
		}
		if err := step(); err != nil {
			return err
		}
		r.Events += len(day)
		r.Staff = append(r.Staff, w.Staff()-staff)
		if staff = w.Staff(); progress != nil {
			progress()
		}
	}
	if r.Stats, r.Thefts = e.Stats(), slices.Clone(w.Thefts()); r.Events == 0 {
		return errors.New("the ecosystem has no events")
	}
	for i := range r.Thefts {
		sharers.mark(&r.Thefts[i])
	}
	r.label()
	return nil
}

// label writes the truth to the findings.
func (r *Round) label() {
	type key struct{ partner, event string }
	acts := map[key]int{}
	for i := range r.Thefts {
		t := &r.Thefts[i]
		slices.SortStableFunc(t.Acts, func(a, b truth.Act) int { return int(min(1, max(-1, a.Time-b.Time))) })
		for _, a := range t.Acts {
			acts[key{t.Partner, a.Event}] = i
			for _, p := range t.Elsewhere {
				acts[key{p, a.Event}] = i
			}
		}
		for _, e := range t.Echoes {
			acts[key{e.Partner, e.Event}] = i
		}
	}
	r.byPartner = map[string][]*Finding{}
	for n := range r.Findings {
		f := &r.Findings[n]
		r.byPartner[f.Partner] = append(r.byPartner[f.Partner], f)
		if len(f.Events) > 0 {
			if i, ok := acts[key{f.Partner, f.Events[0]}]; ok {
				f.Theft = i
				continue
			}
		}
		f.Theft = slices.IndexFunc(r.Thefts, func(t truth.Theft) bool {
			return t.Of(f.Partner) && t.Names(f.Entity, true) && actedBefore(&t, f.Time)
		})
	}
	r.partners = slices.Sorted(maps.Keys(r.byPartner))
}

// actedBefore tells whether the thief did something in the aftermath before at.
func actedBefore(t *truth.Theft, at moat.Time) bool {
	n, _ := slices.BinarySearchFunc(t.Acts, at+1, func(a truth.Act, at moat.Time) int { return int(min(1, max(-1, a.Time-at))) })
	return n > 0 && at-t.Acts[n-1].Time <= truth.Aftermath
}
