// Package engine is the pure core: it folds batches of events, in the order of the log, into
// the statistics of entities, and tells which detectors fire.
//
// Use one [Engine] per partition of the log, from one goroutine. The same batches in the
// same order under the same plan give the same findings, on any machine, live or in
// replay, however they are cut into batches and wherever the engine was stopped and restored.
//
// It will not do I/O, read a clock, draw random numbers or start a goroutine; its only time
// is that of the events.
package engine

import (
	"slices"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
	"github.com/moat-platform/moat/discover/rule"
)

// Config says how to build an Engine.
type Config struct {
	Plan *rule.Plan
	Seed rule.HashSeed // of the installation; the plan must be compiled with it
	// Net tells what is known of an address; nil = nothing. It must be pure.
	Net    func(ip string) rule.Net
	Limits Limits
	// After, if not nil, is called for each event that counts, in order, when its detectors were asked, with
	// the engine's time of the event, whether it begins a sitting (see [rule.Sitting]), and what was found at it. It must keep neither.
	After func(ev *moat.Event, now moat.Time, begins bool, found []moat.Finding)
	// Beside, if not nil, runs f at any time in any goroutine: what the engine does not wait for, and what changes nothing but how soon
	// the engine is done.
	Beside func(f func())
}

// Limits bound the memory of an engine. Zero fields take the defaults.
type Limits struct {
	// Records and Quota bound the entities of each kind, in all and per partner.
	Records, Quota [moat.EntityKinds]int
	Pairs          int // entity-with-value pairs in all
	PairQuota      int // of one partner
	IDs            int // event ids remembered
	Partners       int
	// Watches are entities that a detector waits for to be silent, in all; WatchQuota those of one partner.
	Watches, WatchQuota int
}

// DefaultLimits are made for a server of 24 GiB with two partitions.
func DefaultLimits() Limits {
	l := Limits{Pairs: 32 << 20, PairQuota: 4 << 20, IDs: 16 << 20, Partners: 1 << 20, Watches: 1 << 20, WatchQuota: 1 << 14}
	for k := range l.Records {
		l.Records[k], l.Quota[k] = 1<<20, 1<<16
	}
	l.Records[moat.Account], l.Quota[moat.Account] = 4<<20, 1<<18
	l.Records[moat.Device], l.Quota[moat.Device] = 8<<20, 1<<20
	l.Records[moat.IP], l.Quota[moat.IP] = 8<<20, 1<<20
	l.Records[moat.Partner], l.Quota[moat.Partner] = 1<<18, 1
	return l
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for k := range l.Records {
		if l.Records[k] == 0 {
			l.Records[k] = d.Records[k]
		}
		if l.Quota[k] == 0 {
			l.Quota[k] = min(d.Quota[k], l.Records[k])
		}
	}
	for _, p := range []struct{ v, d *int }{{&l.Pairs, &d.Pairs}, {&l.PairQuota, &d.PairQuota}, {&l.IDs, &d.IDs}, {&l.Partners, &d.Partners}, {&l.Watches, &d.Watches}, {&l.WatchQuota, &d.WatchQuota}} {
		if *p.v == 0 {
			*p.v = *p.d
		}
	}
	return l
}

// Stats counts what an engine did since it was made or restored.
type Stats struct {
	Events     uint64 `json:"events"` // taken into the statistics
	Duplicates uint64 `json:"duplicates"`
	Late       uint64 `json:"late"`  // over an hour behind the partner's newest event; complaints, which tell of the past, do not count
	Clock      uint64 `json:"clock"` // with an implausible time
	Findings   uint64 `json:"findings"`
	Repeats    uint64 `json:"repeats"` // findings left out because the same was said shortly before
	Evicted    uint64 `json:"evicted"` // records given up because a partner reached its quota
	Overflow   uint64 `json:"overflow"`
	Forgotten  uint64 `json:"forgotten_ids"`
}

// Result is what a batch led to.
type Result struct {
	Events int
	// Skip has bit i set when the i-th event of the batch was a duplicate.
	Skip     []uint64
	Findings []moat.Finding
	// Complaints are copies of the events of that type that were no duplicates.
	Complaints []*moat.Event
	// Newest is the newest Received of the batch.
	Newest moat.Time
}

// Engine holds the statistics of one partition.
type Engine struct {
	cfg    Config
	plan   *rule.Plan
	tables [moat.EntityKinds]*table
	pairs  *table
	fired  *table // entity-with-detector: when it last found something
	ids    *ids

	partners map[string]uint32
	names    []string   // of partners, by number
	newest   []uint32   // seconds, by partner: newest event
	watches  []*watches // by partner; nil while none of its entities is waited for
	watched  int        // of all partners
	silent   slot       // stands for the event that did not come

	reader moat.BatchReader
	slots  [group]slot
	sorter *rule.Sorter
	frame  rule.Frame
	asked  slot // of a question
	// Of the event that is being worked on:
	slot    *slot
	tp      *rule.TypePlan
	records [moat.EntityKinds]unsafe.Pointer    // that the event concerns; nil = there is none
	inputs  [rule.MaxFeatures + 1]feature.Input // one for each feature that reads another
	blind   feature.Input                       // for those that need no value
	depth   int
	wheres  []where  // what the conditions of ops said, by Op.Asks
	sampled []uint64 // hashes of a list that a feature looks at
	ptrs    []unsafe.Pointer
	far     []uintptr  // what is fetched next
	empty   [4096]byte // what a read of an entity without a record sees
	stats   Stats
	ask     *scratch // set while a question is answered, to &e.scratch
	scratch scratch
	net     []netCache
	known   []partnerCache
}

const pairBytes = pairHeader + 16

// New returns an empty engine.
func New(cfg Config) (*Engine, error) {
	cfg.Limits = cfg.Limits.orDefault()
	e := &Engine{cfg: cfg, plan: cfg.Plan, partners: map[string]uint32{}}
	if cfg.Net == nil {
		e.cfg.Net = func(string) rule.Net { return rule.Net{} }
	}
	var err error
	if e.ids, err = newIDs(cfg.Limits.IDs, cfg.Beside); err != nil {
		return nil, err
	}
	for k, size := range cfg.Plan.Records {
		if size == 0 {
			continue
		}
		if e.tables[k], err = newTable(size, cfg.Limits.Records[k], cfg.Limits.Quota[k], cfg.Beside); err != nil {
			return nil, err
		}
	}
	if e.pairs, err = newTable(pairBytes, cfg.Limits.Pairs, cfg.Limits.PairQuota, cfg.Beside); err != nil {
		return nil, err
	}
	if e.fired, err = newTable(pairBytes, 1<<20, 1<<16, cfg.Beside); err != nil {
		return nil, err
	}
	e.net, e.known = make([]netCache, netCacheSize), make([]partnerCache, partnerCacheSize)
	early, wheres := 0, 0
	for i := range cfg.Plan.Types {
		early, wheres = max(early, cfg.Plan.Types[i].Early), max(wheres, cfg.Plan.Types[i].Wheres)
	}
	e.wheres = make([]where, wheres)
	for i := range e.slots {
		e.slots[i].make(cfg.Plan, early)
	}
	e.asked.make(cfg.Plan, early)
	e.silent.make(cfg.Plan, early)
	e.sorter = cfg.Plan.NewSorter()
	e.frame = cfg.Plan.NewFrame()
	e.frame.Fill, e.frame.Look = e.fill, e.lookup
	return e, nil
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.Forgotten = e.ids.forgot
	for _, t := range append(e.tables[:], e.pairs, e.fired) {
		if t != nil {
			s.Evicted += t.evicted
			s.Overflow += t.overflow
		}
	}
	return s
}

// Entities returns how many entities of each kind are kept.
func (e *Engine) Entities() (n [moat.EntityKinds]int) {
	for k := range n {
		if t := e.tables[k]; t != nil {
			n[k] = t.n
		}
	}
	return n
}

// Memory is what entities take, index included, in bytes.
type Memory struct {
	PerEntity [moat.EntityKinds]float64
	PerPair   float64
	Bytes     int // of everything
}

// Memory returns what the entities that are kept take.
func (e *Engine) Memory() (m Memory) {
	for k, t := range e.tables {
		if t == nil {
			continue
		}
		m.PerEntity[k] = float64(t.bytes()) / float64(max(t.n, 1))
		m.Bytes += t.bytes()
	}
	m.PerPair = float64(e.pairs.bytes()) / float64(max(e.pairs.n, 1))
	m.Bytes += e.pairs.bytes() + e.fired.bytes()
	for i := range e.ids.segments {
		m.Bytes += 8 * len(e.ids.segments[i].slots)
	}
	return m
}

// Accounts returns how many accounts of a partner are kept.
func (e *Engine) Accounts(partner string) int {
	n, ok := e.partners[partner]
	if t := e.tables[moat.Account]; ok && t != nil && int(n) < len(t.owners) {
		return int(t.owners[n].count)
	}
	return 0
}

// Partners returns the names of the partners whose events were taken in.
func (e *Engine) Partners() []string { return slices.Clone(e.names) }

// Pairs returns how many entity-with-value pairs are kept.
func (e *Engine) Pairs() int { return e.pairs.n }
