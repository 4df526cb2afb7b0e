package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
)

// MaxReplayed bounds each of the lists in a [Replayed]. Its numbers count all.
const MaxReplayed = 10_000

// ReplayConfig says which detectors to try on which of the past events. Only Dir is needed.
type ReplayConfig struct {
	Dir  string
	Book string // DSN of the book; "" = Dir/book.db
	// Rules are tried in the place of the detectors with their ids, together with all others
	// of the folder, or Alone. Sources are their files, for messages.
	Rules   []*rule.Detector
	Sources map[string][]byte
	Alone   bool
	// From and To bound the time of the findings: From ≤ time < To; 0 means open. All events
	// are replayed: those before fill the statistics, and those after may have come in before others.
	From, To moat.Time
	Partner  string // "" = all
	Limits   engine.Limits
	Progress func(done, total uint64) // messages of the log; may be nil; one call at a time
	Logger   *slog.Logger             // nil = silent
}

// Tally counts findings of one detector, or of all: those of the replay are Same, if the live
// detectors found them too, or New; those that only the live ones found are Gone.
type Tally struct {
	Detector string `json:"detector,omitempty"`
	Found    int    `json:"found"`
	New      int    `json:"new"`
	Same     int    `json:"same"`
	Gone     int    `json:"gone"`
}

// Replayed is what came of a replay. Live findings count only if the event that made them is
// still in the lake and their detector took part.
type Replayed struct {
	Events    int64          `json:"events"`
	First     moat.Time      `json:"first"` // of the events
	Last      moat.Time      `json:"last"`
	Total     Tally          `json:"total"`
	Detectors []Tally        `json:"detectors"` // that found something or did so live, by id
	New       []moat.Finding `json:"new"`       // by time; the first MaxReplayed
	Gone      []moat.Finding `json:"gone"`
	Cases     []moat.Case    `json:"cases"` // that the findings in the span led to, as they ended; by rank, worst first
	Ranks     map[string]int `json:"ranks"` // how many cases of each rank
}

// Replay folds the events of a data folder's lake again, through fresh engines, and tells what is
// found now and what the live detectors found. It only reads, also beside a running node, and
// needs no more memory than the engines of such a node.
func Replay(ctx context.Context, cfg ReplayConfig) (*Replayed, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &replay{told: map[string]bool{}, cfg: cfg, tenant: moat.Everyone(), tallies: map[string]*Tally{}, out: &Replayed{Ranks: map[string]int{}}}
	if cfg.Partner != "" {
		r.tenant = moat.Only(cfg.Partner)
	}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	dsn := cfg.Book
	if dsn == "" {
		dsn = filepath.Join(cfg.Dir, "book.db")
	}
	b, err := book.OpenReadOnly(ctx, dsn, cfg.Logger)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if err := r.listPartitions(ctx, b); err != nil {
		return nil, err
	}
	if err := r.readLive(ctx, b); err != nil {
		return nil, err
	}
	if err := r.run(ctx); err != nil {
		return nil, fmt.Errorf("cannot replay: %w", err)
	}
	return r.out, r.finish(ctx, b)
}

// replay is one replay at work.
type replay struct {
	cfg    ReplayConfig
	tenant moat.Tenant
	plan   *rule.Plan
	seed   rule.HashSeed
	key    foresee.Key
	told   map[string]bool // findings over sightings, which come from one partition
	odds   risk.Calibration
	table  *indicator.Table
	lake   string

	// upTo is, for each partition with events, the last message whose findings the book had before
	// those were read: what comes in meanwhile would seem to be found by the replay alone.
	upTo    map[int]uint64
	total   uint64
	lessons map[int][]placed

	// What was found live. A finding's fields are written by the one goroutine that replays
	// its partner; the maps do not change then.
	live    map[string]*liveFinding
	byEvent map[eventKey][]*liveFinding

	mu      sync.Mutex // guards what follows
	done    uint64
	tallies map[string]*Tally
	out     *Replayed
}

type eventKey struct{ partner, id string }

type liveFinding struct {
	detector   string
	seen, same bool // its event, itself
}

func (r *replay) prepare() error {
	master, err := masterOf(r.cfg.Dir)
	if err != nil {
		return err
	}
	r.key = foresee.Key(hashKey(master, "foresee"))
	r.seed, r.lake = hashSeed(master), filepath.Join(r.cfg.Dir, "lake")
	known, err := loadRules(r.cfg.Dir)
	if err != nil {
		return err
	}
	if r.cfg.Alone {
		known.list, known.sources = nil, map[string][]byte{}
	}
	known.add(r.cfg.Rules, r.cfg.Sources)
	for id := range known.overrides {
		if !slices.ContainsFunc(known.list, func(d *rule.Detector) bool { return d.ID == id }) {
			delete(known.overrides, id)
		}
	}
	if len(known.list) == 0 {
		return errors.New("cannot replay: no detector was given")
	}
	if r.plan, err = known.compile(r.seed); err != nil {
		return err
	}
	for _, d := range r.plan.Detectors {
		r.tallies[d.ID] = &Tally{Detector: d.ID}
	}
	if r.odds, err = known.calibration(); err != nil {
		return err
	}
	indicators, err := OpenIndicators(r.cfg.Dir, r.cfg.Logger)
	if err != nil {
		return err
	}
	r.table = indicators.Table()
	return nil
}

func (r *replay) query() book.Query {
	return book.Query{Partner: r.cfg.Partner, Since: r.cfg.From, Until: r.cfg.To}
}

func (r *replay) readLive(ctx context.Context, b *book.Book) error {
	r.live, r.byEvent = map[string]*liveFinding{}, map[eventKey][]*liveFinding{}
	for f, err := range b.AllFindings(ctx, moat.Everyone(), r.query()) {
		if err != nil {
			return err
		}
		if r.tallies[f.Detector] == nil || len(f.Events) == 0 {
			continue
		}
		l := &liveFinding{detector: f.Detector}
		k := eventKey{f.Partner, f.Events[0]}
		r.live[f.ID], r.byEvent[k] = l, append(r.byEvent[k], l)
	}
	return nil
}

func (r *replay) listPartitions(ctx context.Context, b *book.Book) error {
	files, err := lake.List(r.lake)
	if err != nil {
		return err
	}
	r.upTo, r.lessons = map[int]uint64{}, map[int][]placed{}
	for _, f := range files {
		if _, ok := r.upTo[f.Partition]; !ok {
			if r.upTo[f.Partition], err = b.Position(ctx, f.Partition); err != nil {
				return err
			}
			if r.upTo[f.Partition] == 0 { // a new book: nothing was found live
				r.upTo[f.Partition] = math.MaxUint64
			}
			if _, r.lessons[f.Partition], err = recall(ctx, b, f.Partition, 0, risk.NewKeeper(r.odds)); err != nil {
				return err
			}
		}
		r.total += f.Last - f.First + 1
	}
	return nil
}

// run replays the partitions side by side.
func (r *replay) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for id := range r.upTo {
		g.Go(func() error { return r.partition(ctx, id) })
	}
	return g.Wait()
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// maxStep is how many events go into one step.
const maxStep = 4096

// partition replays the events of one partition.
func (r *replay) partition(ctx context.Context, id int) error {
	across := foresee.New(foresee.Config{Plan: r.plan, Seed: r.seed, Key: r.key, Limits: r.cfg.Limits})
	e, err := engine.New(engine.Config{Plan: r.plan, Seed: r.seed, Limits: r.cfg.Limits, Net: func(ip string) rule.Net { return rule.NetOf(r.table, ip) }, After: across.See})
	if err != nil {
		return err
	}
	keeper, cases := risk.NewKeeper(r.odds), map[string]moat.Case{}
	due := r.lessons[id]
	var w moat.BatchWriter
	var events int64
	var first, last moat.Time
	step := func() error {
		res, err := e.Step(w.Bytes(), nil)
		w.Reset()
		if err != nil {
			return err
		}
		out, err := across.Step()
		if err != nil {
			return err
		}
		for i := range res.Findings {
			keeper.Learned().Treat(&res.Findings[i])
			r.found(&res.Findings[i])
		}
		for _, f := range append(res.Findings, r.across(&out)...) {
			for _, c := range keeper.Fold(&f).Cases {
				cases[c.ID] = c
			}
		}
		return nil
	}
	var before uint64
	err = lake.ScanDir(ctx, r.lake, lake.Filter{Tenant: r.tenant, Partition: &id}, func(done, _ uint64) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.done += done - before
		if before = done; r.cfg.Progress != nil {
			r.cfg.Progress(min(r.done, r.total), r.total)
		}
	}, func(at lake.Position, ev *moat.Event) error {
		if at.Seq > r.upTo[id] {
			return errEnough
		}
		for len(due) > 0 && due[0].after < at.Seq {
			if err := step(); err != nil {
				return err
			}
			keeper.Learn(due[0].lesson)
			due = due[1:]
		}
		for _, l := range r.byEvent[eventKey{ev.Partner, ev.ID}] {
			l.seen = true
		}
		if ev.Type != moat.Sighting && (r.cfg.To == 0 || ev.Time < r.cfg.To) {
			if first == 0 || ev.Time < first {
				first = ev.Time
			}
			events, last = events+1, max(last, ev.Time)
		}
		w.Append(ev)
		if w.Len() < maxStep && w.Size() < 1<<20 {
			return nil
		}
		return step()
	})
	if err == nil || err == errEnough {
		err = step()
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out.Events += events; events > 0 && (r.out.First == 0 || first < r.out.First) {
		r.out.First = first
	}
	r.out.Last = max(r.out.Last, last)
	for _, c := range cases {
		if c.Merged == "" && c.Updated >= r.cfg.From && (r.cfg.To == 0 || c.Opened < r.cfg.To) {
			r.out.Cases = append(r.out.Cases, c)
		}
	}
	return nil
}

// across counts what detectors over sightings found, and returns what their partners were given. The sightings of the log
// are folded again where they lie; with the events of one partner alone there are none, and what it was given live stands.
func (r *replay) across(out *foresee.Out) []moat.Finding {
	for _, w := range out.Warnings {
		if f, ok := foresee.Given(w); ok && !r.told[f.ID] { // surer of the same event: one finding
			r.told[f.ID] = true
			r.found(&f)
		}
	}
	given := slices.DeleteFunc(out.Given, func(f moat.Finding) bool { return r.tallies[f.Detector] == nil })
	if r.cfg.Partner != "" {
		for i := range given {
			r.found(&given[i])
		}
	}
	return given
}

// found counts a finding of the replay.
func (r *replay) found(f *moat.Finding) {
	if f.Time < r.cfg.From || r.cfg.To != 0 && f.Time >= r.cfg.To {
		return
	}
	l := r.live[f.ID]
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tallies[f.Detector]
	t.Found++
	if l != nil {
		if !l.same {
			t.Same++
		}
		l.same = true
		return
	}
	t.New++
	r.out.New = append(r.out.New, *f)
	if len(r.out.New) >= 2*MaxReplayed {
		r.out.New = cut(r.out.New)
	}
}

// cut keeps the earliest findings.
func cut(list []moat.Finding) []moat.Finding {
	slices.SortFunc(list, func(a, b moat.Finding) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.ID, b.ID)) })
	return list[:min(len(list), MaxReplayed)]
}

// finish sums up, and looks up what is gone.
func (r *replay) finish(ctx context.Context, b *book.Book) error {
	gone := 0
	for _, l := range r.live {
		if l.seen && !l.same {
			r.tallies[l.detector].Gone++
			gone++
		}
	}
	if gone > 0 {
		for f, err := range b.AllFindings(ctx, moat.Everyone(), r.query()) {
			if err != nil {
				return err
			}
			if l := r.live[f.ID]; l != nil && l.seen && !l.same {
				if r.out.Gone = append(r.out.Gone, f); len(r.out.Gone) == MaxReplayed {
					break
				}
			}
		}
	}
	o := r.out
	o.New, o.Gone = cut(o.New), cut(o.Gone)
	for _, t := range r.tallies {
		if t.Found+t.Gone > 0 {
			o.Detectors = append(o.Detectors, *t)
			o.Total.Found, o.Total.New, o.Total.Same, o.Total.Gone = o.Total.Found+t.Found, o.Total.New+t.New, o.Total.Same+t.Same, o.Total.Gone+t.Gone
		}
	}
	slices.SortFunc(o.Detectors, func(a, b Tally) int { return cmp.Compare(a.Detector, b.Detector) })
	for _, c := range o.Cases {
		o.Ranks[c.Rank.String()]++
	}
	slices.SortFunc(o.Cases, func(a, b moat.Case) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID))
	})
	o.Cases = o.Cases[:min(len(o.Cases), MaxReplayed)]
	return nil
}
