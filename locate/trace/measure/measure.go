// Package measure tells how well leaks are traced: it makes leaks whose source is known, has them
// traced, and counts how often the source is named first, how often something is named where there is no source,
// and whether probabilities come true.
//
// Use [Run] for a whole report and [WritePage] to show it; `moat drill trace` does. The tracing is that of
// production ([trace.Tracer]), over touches in memory.
//
// It will not measure speed, or the detection of thieves by what they do, which package sim/drill does.
package measure

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/sim/leak"
	"github.com/moat-platform/moat/sim/truth"
	"github.com/moat-platform/moat/sim/world"
)

// Config says what to measure.
type Config struct {
	Seeds     []uint64              // ecosystems; none = 1
	Trials    int                   // leaks of each sort in each of them; 0 = 60
	Ecosystem string                // "world" (default) or "flows", see [leak.New]
	Progress  func(done, total int) // may be nil; called by several goroutines
}

// MaxTrials bounds [Config.Trials], MaxSeeds the ecosystems.
const (
	MaxTrials = 5000
	MaxSeeds  = 100
)

// Condition is leaks of one sort. Thieves says that they are what thieves of the ecosystem took.
type Condition struct {
	Complaints int     `json:"complaints"`
	Noise      float64 `json:"noise"`
	Sources    int     `json:"sources"` // 0: all complaints are noise
	Thieves    bool    `json:"thieves,omitempty"`
}

// Trial is one leak and what was answered.
type Trial struct {
	Condition
	Seed    uint64
	True    []leak.Source
	Size    int     // orders that the source had in hand; of several the smallest
	Overlap float64 // see [leak.Leak]; of several the largest
	// Places are the ranks at which the true sources stand, 0 for one that does not.
	Places  []int
	Partner bool    // the partner of a true source is the likeliest
	Owned   bool    // the true sources are of one partner each: Partner means something
	Named   int     // sources that were named
	Wrong   int     // of them those that are none
	Claims  []Claim // what was ranked
	First   string  // what was ranked first
}

// Claim is a probability and whether it came true.
type Claim struct {
	Posterior float64 `json:"posterior"`
	True      bool    `json:"true"`
	Members   int     `json:"members"`
}

// ecosystem is a past, ready to be traced in.
type ecosystem struct {
	past   *leak.World
	rows   *trace.Memory
	thefts []truth.Theft
}

// start is midnight of the Monday on which ecosystems begin: 2026-03-02.
const start = moat.Time(1_772_409_600) * moat.Second

func newEcosystem(name string, seed uint64) (*ecosystem, error) {
	e := &ecosystem{rows: trace.NewMemory()}
	switch name {
	case "world":
		w, err := world.New(world.Config{Seed: seed, Partners: 24, Days: 24, Start: start, Thefts: 16})
		if err != nil {
			return nil, fmt.Errorf("cannot measure traces: %w", err)
		}
		var events []*moat.Event
		for {
			day, more := w.Next()
			if !more {
				break
			}
			for _, e := range day {
				if len(e.Orders) > 0 {
					events = append(events, e)
				}
			}
		}
		e.past, e.thefts = leak.Of(events), w.Thefts()
	case "flows":
		e.past = leak.New(leak.Config{Seed: seed, Start: start})
	default:
		return nil, fmt.Errorf("cannot measure traces: no ecosystem is called %.40q: want world or flows", name)
	}
	for _, x := range e.past.Events {
		e.rows.Add(x)
	}
	e.rows.Ready()
	return e, nil
}

// Run measures. The same configuration gives the same report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	cfg.Trials, cfg.Ecosystem = cmp.Or(cfg.Trials, 60), cmp.Or(cfg.Ecosystem, "world")
	if len(cfg.Seeds) == 0 {
		cfg.Seeds = []uint64{1}
	}
	if cfg.Trials < 1 || cfg.Trials > MaxTrials {
		return nil, fmt.Errorf("cannot measure traces: %d trials, want 1 to %d", cfg.Trials, MaxTrials)
	}
	if len(cfg.Seeds) > MaxSeeds {
		return nil, fmt.Errorf("cannot measure traces: %d seeds, want at most %d", len(cfg.Seeds), MaxSeeds)
	}
	list := conditions()
	if cfg.Ecosystem == "world" {
		list = append(list, Condition{20, 0.2, 1, true})
	}
	var trials []Trial
	for i, seed := range cfg.Seeds {
		e, err := newEcosystem(cfg.Ecosystem, seed)
		if err != nil {
			return nil, err
		}
		more, err := e.try(ctx, list, cfg, seed, i*len(list)*cfg.Trials)
		if err != nil {
			return nil, err
		}
		trials = append(trials, more...)
	}
	return report(cfg, list, trials), nil
}

// try makes the leaks of an ecosystem, as many of each sort, and has them traced. before is how many there were in others.
func (e *ecosystem) try(ctx context.Context, list []Condition, cfg Config, seed uint64, before int) ([]Trial, error) {
	trials := make([]Trial, len(list)*cfg.Trials)
	var next, done atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, runtime.GOMAXPROCS(0))
	for range cap(failed) {
		group.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				if i >= len(trials) {
					return
				}
				if ctx.Err() != nil { // tracing in memory does not look
					failed <- ctx.Err()
					return
				}
				t, err := e.one(ctx, list[i/cfg.Trials], seed<<32+uint64(i))
				if err != nil {
					failed <- err
					return
				}
				trials[i] = t
				if n := before + int(done.Add(1)); cfg.Progress != nil {
					cfg.Progress(n, len(trials)*len(cfg.Seeds))
				}
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return nil, err
	default:
	}
	return slices.DeleteFunc(trials, func(t Trial) bool { return t.Complaints == 0 }), nil
}

// conditions are the leaks that are made: along each of the axes about 20 complaints of one source, a fifth of them noise.
func conditions() (list []Condition) {
	for _, n := range []int{5, 10, 20, 50, 100} {
		list = append(list, Condition{Complaints: n, Noise: 0.2, Sources: 1}, Condition{Complaints: n})
	}
	for _, x := range []float64{0, 0.1, 0.3, 0.4, 0.5} {
		list = append(list, Condition{Complaints: 20, Noise: x, Sources: 1})
	}
	for _, n := range []int{2, 3} {
		list = append(list, Condition{Complaints: 50, Noise: 0.2, Sources: n})
	}
	return list
}

// one makes a leak and has it traced. A theft of too few orders gives no trial.
func (e *ecosystem) one(ctx context.Context, c Condition, seed uint64) (Trial, error) {
	p := leak.Plan{Seed: seed, Complaints: c.Complaints, Noise: c.Noise, Sources: c.Sources}
	right := func(s leak.Source, m trace.Member) bool { return m.Kind == s.Kind && m.ID == s.ID }
	if c.Thieves {
		if len(e.thefts) == 0 {
			return Trial{}, nil
		}
		p.Theft = &e.thefts[seed%uint64(len(e.thefts))]
		if len(p.Theft.Culprits) == 0 {
			return Trial{}, nil
		}
		// Whoever names what the thief acted as, or from, is right.
		right = func(_ leak.Source, m trace.Member) bool {
			return slices.ContainsFunc(p.Theft.Culprits, func(x moat.Entity) bool { return x.Kind.String() == m.Kind && x.ID == m.ID })
		}
	}
	l := e.past.Leak(p)
	if c.Thieves {
		stolen := 0
		for _, x := range l.Complaints {
			if x.Source >= 0 {
				stolen++
			}
		}
		if stolen < int(float64(c.Complaints)*(1-c.Noise)) {
			return Trial{}, nil
		}
	}
	q := trace.Question{}
	for _, x := range l.Complaints {
		q.Orders = append(q.Orders, trace.Leaked{ID: x.Order, At: x.At})
	}
	a, err := (&trace.Tracer{Rows: e.rows}).Trace(ctx, moat.Everyone(), q)
	if err != nil {
		return Trial{}, fmt.Errorf("cannot trace leak %d: %w", seed, err)
	}
	t := Trial{Condition: c, Seed: seed, True: l.Sources, Places: make([]int, len(l.Sources)), Owned: len(l.Sources) > 0}
	for i, s := range l.Sources {
		if t.Size == 0 || l.Size[i] < t.Size {
			t.Size = l.Size[i]
		}
		t.Overlap = max(t.Overlap, l.Overlap[i])
		t.Owned = t.Owned && s.Partner != ""
	}
	for _, s := range a.Sources {
		claim := Claim{Posterior: s.Posterior, Members: len(s.Members)}
		for i, x := range l.Sources {
			if slices.ContainsFunc(s.Members, func(m trace.Member) bool { return right(x, m) }) {
				claim.True = true
				t.Places[i] = cmp.Or(t.Places[i], s.Rank)
			}
		}
		if s.Named {
			t.Named++
			if !claim.True {
				t.Wrong++
			}
		}
		t.Claims = append(t.Claims, claim)
	}
	if len(a.Sources) > 0 {
		t.First = a.Sources[0].Name
	}
	if len(a.Partners) > 0 {
		first := a.Partners[0].Partner
		t.Partner = slices.ContainsFunc(l.Sources, func(s leak.Source) bool { return s.Partner == first }) ||
			p.Theft != nil && slices.Contains(p.Theft.Elsewhere, first)
	}
	return t, nil
}
