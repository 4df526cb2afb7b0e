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
	"fmt"
	"math/bits"
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
}

// Limits bound the memory of an engine. Zero fields take the defaults.
type Limits struct {
	// Records and Quota bound the entities of each kind, in all and per partner.
	Records, Quota [moat.EntityKinds]int
	Pairs          int // entity-with-value pairs in all
	PairQuota      int // of one partner
	IDs            int // event ids remembered
	Partners       int
}

// DefaultLimits are made for a server of 24 GiB with two partitions.
func DefaultLimits() Limits {
	l := Limits{Pairs: 32 << 20, PairQuota: 4 << 20, IDs: 16 << 20, Partners: 1 << 20}
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
	for _, p := range []struct{ v, d *int }{{&l.Pairs, &d.Pairs}, {&l.PairQuota, &d.PairQuota}, {&l.IDs, &d.IDs}, {&l.Partners, &d.Partners}} {
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
	Late       uint64 `json:"late"`  // over an hour behind the partner's newest event
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
	// Newest is the newest Received of the batch.
	Newest moat.Time
}

// group is how many events are decoded and their records touched together.
const group = 32

// Engine holds the statistics of one partition.
type Engine struct {
	cfg    Config
	plan   *rule.Plan
	tables [moat.EntityKinds]*table
	pairs  *table
	fired  *table // entity-with-detector: when it last found something
	ids    *ids

	partners map[string]uint32
	names    []string // of partners, by number
	newest   []uint32 // seconds, by partner: newest event

	reader moat.BatchReader
	slots  [group]slot
	frame  rule.Frame
	out    []float64 // frame.Slots
	// Of the event that is being worked on:
	slot     *slot
	tp       *rule.TypePlan
	records  [moat.EntityKinds]unsafe.Pointer
	inputs   [rule.MaxFeatures + 1]feature.Input // one for each feature that reads another
	depth    int
	keys     []uint64 // hashes of a list
	hashed   *string  // the list that they are of, and the event that it is of
	hashedAt uint32
	ptrs     []unsafe.Pointer
	empty    [4096]byte // what a read of an entity without a record sees
	sink     uint64
	stats    Stats
	ask      *scratch // set while a question is answered, to &e.scratch
	scratch  scratch
	net      []netCache
	last     lastPartner
}

// slot is one event of a group with what was computed before its turn.
type slot struct {
	ev      moat.Event
	partner uint64 // hash
	owner   uint32
	now     moat.Time
	keys    [moat.EntityKinds]uint64
	early   []uint64 // keys of the pairs of TypePlan.Early
	takes   []uint64 // bit i: Ops[i] observes this event, as far as the event alone tells
	id      uint64   // hash of the event's id; 0 = none
}

// lastPartner is the partner of the last event: the next is mostly of the same.
type lastPartner struct {
	name   string
	hash   uint64
	number uint32
}

// netCache remembers what was said of an address, by its hash.
type netCache struct {
	ip  uint64
	net rule.Net
}

const netCacheSize = 1 << 13

const pairBytes = rule.HeaderBytes + 16

// New returns an empty engine.
func New(cfg Config) (*Engine, error) {
	cfg.Limits = cfg.Limits.orDefault()
	e := &Engine{cfg: cfg, plan: cfg.Plan, partners: map[string]uint32{}, ids: newIDs(cfg.Limits.IDs)}
	if cfg.Net == nil {
		e.cfg.Net = func(string) rule.Net { return rule.Net{} }
	}
	var err error
	for k, size := range cfg.Plan.Records {
		if size == 0 {
			continue
		}
		if e.tables[k], err = newTable(size, cfg.Limits.Records[k], cfg.Limits.Quota[k]); err != nil {
			return nil, err
		}
	}
	if e.pairs, err = newTable(pairBytes, cfg.Limits.Pairs, cfg.Limits.PairQuota); err != nil {
		return nil, err
	}
	if e.fired, err = newTable(pairBytes, 1<<20, 1<<16); err != nil {
		return nil, err
	}
	e.net = make([]netCache, netCacheSize)
	e.frame = cfg.Plan.NewFrame()
	e.out, e.frame.Fill = e.frame.Slots, e.fill
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
	for k, t := range e.tables {
		if t != nil {
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
		if t != nil {
			m.PerEntity[k] = float64(t.bytes()) / float64(max(t.n, 1))
			m.Bytes += t.bytes()
		}
	}
	m.PerPair = float64(e.pairs.bytes()) / float64(max(e.pairs.n, 1))
	m.Bytes += e.pairs.bytes() + e.fired.bytes()
	for i := range e.ids.segments {
		m.Bytes += 10 * len(e.ids.segments[i].hashes)
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

// Pairs returns how many entity-with-value pairs are kept.
func (e *Engine) Pairs() int { return e.pairs.n }

// pauseEvery is how many events Step takes in between two pauses.
const pauseEvery = 8 * group

// Step takes in one batch. An error means that the batch is corrupt; then nothing of it was
// taken in after the row that the error names. The result aliases nothing. If pause is not
// nil it is called every few hundred events; it may call [Engine.Ask] and nothing else.
func (e *Engine) Step(batch []byte, pause func()) (Result, error) {
	var r Result
	if err := e.reader.Open(batch); err != nil {
		return r, fmt.Errorf("cannot open batch: %w", err)
	}
	for {
		n := 0
		for n < group && e.reader.Next(&e.slots[n].ev) {
			e.prepare(&e.slots[n])
			n++
		}
		for i := range n {
			e.touch(&e.slots[i])
		}
		for i := range n {
			s := &e.slots[i]
			r.Newest = max(r.Newest, s.ev.Received)
			if e.duplicate(s) {
				for len(r.Skip) <= r.Events>>6 {
					r.Skip = append(r.Skip, 0)
				}
				r.Skip[r.Events>>6] |= 1 << (r.Events & 63)
			} else {
				e.event(s, &r.Findings)
			}
			r.Events++
		}
		if n < group {
			break
		}
		if pause != nil && r.Events%pauseEvery == 0 {
			pause()
		}
	}
	if err := e.reader.Err(); err != nil {
		return r, fmt.Errorf("cannot read row %d of batch: %w", r.Events, err)
	}
	return r, nil
}

// prepare computes the keys of s and touches their places in the index.
func (e *Engine) prepare(s *slot) {
	ev := &s.ev
	if ev.Partner != e.last.name || e.last.name == "" {
		n := e.partner(ev.Partner)
		e.last = lastPartner{e.names[n], e.cfg.Seed.Text(ev.Partner), n}
		if e.last.name != ev.Partner { // one too many shares a number, not a name
			e.last.name = ""
		}
	}
	s.owner, s.partner = e.last.number, e.last.hash
	s.now = plausible(ev)
	if s.id = 0; ev.ID != "" {
		s.id = rule.Mix(e.cfg.Seed.Text(ev.ID), s.partner) | 1
		e.sink += e.ids.touch(s.id)
	}
	tp := &e.plan.Types[ev.Type]
	e.identify(s, tp)
	for _, k := range tp.Kinds {
		if t := e.tables[k]; t != nil && s.keys[k] != 0 {
			e.sink += t.touchIndex(s.keys[k])
		}
	}
	for _, key := range s.early {
		e.sink += e.pairs.touchIndex(key)
	}
}

// touch brings the records of s into the cache. It comes after the index was touched for the whole group, so
// that neither waits for one miss after the other.
func (e *Engine) touch(s *slot) {
	tp := &e.plan.Types[s.ev.Type]
	var records [moat.EntityKinds]unsafe.Pointer
	for _, k := range tp.Kinds {
		if t := e.tables[k]; t != nil && s.keys[k] != 0 {
			records[k] = t.touch(s.keys[k])
		}
	}
	for w, bits := range s.takes {
		for ; bits != 0; bits &= bits - 1 {
			op := &tp.Ops[w<<6+trailing(bits)]
			if rec := records[op.Of]; rec != nil && op.Size > 0 {
				e.sink += *(*uint64)(unsafe.Add(rec, op.Offset)) + *(*uint64)(unsafe.Add(rec, op.Offset+op.Size-8))
			}
		}
	}
	for _, key := range s.early {
		if key != 0 {
			if rec := e.pairs.touch(key); rec != nil {
				e.sink += *(*uint64)(rec)
			}
		}
	}
}

func trailing(b uint64) int { return bits.TrailingZeros64(b) }

// identify computes the keys of the entities of s, and of the pairs that can be told from the
// event alone.
func (e *Engine) identify(s *slot, tp *rule.TypePlan) {
	for _, k := range tp.Kinds {
		s.keys[k] = e.entityKey(s.partner, k, s.ev.EntityID(k))
	}
	s.early, s.takes = s.early[:0], s.takes[:0]
	e.frame.Event = &s.ev
	for i := range tp.Ops {
		if i&63 == 0 {
			s.takes = append(s.takes, 0)
		}
		if op := &tp.Ops[i]; op.Observe && s.keys[op.Of] != 0 && (!op.Ahead || op.Where == nil || op.Where(&e.frame)) {
			s.takes[i>>6] |= 1 << (i & 63)
		}
	}
	for _, i := range tp.Early {
		op := &tp.Ops[i]
		key := op.Key(&e.frame)
		if key != 0 && s.keys[op.Of] != 0 {
			key = pairKey(op, key, s.keys[op.Of])
		} else {
			key = 0
		}
		s.early = append(s.early, key)
	}
}

func pairKey(op *rule.Op, value, entity uint64) uint64 {
	return rule.Mix(rule.Mix(value, op.Salt), entity) | 1
}

// plausible returns the event's time, moved to the edge of what receipt allows, so that a
// wrong clock cannot drag the windows of its entities along.
func plausible(ev *moat.Event) moat.Time {
	t := ev.Time
	if ev.Received != 0 {
		t = min(t, ev.Received+5*moat.Minute)
		if ev.Flags&moat.FlagHistory == 0 {
			t = max(t, ev.Received-30*moat.Day)
		}
	}
	return t
}

func (e *Engine) entityKey(partner uint64, k moat.EntityKind, id string) uint64 {
	if id == "" {
		return 0
	}
	return rule.Mix(e.cfg.Seed.Text(id), partner+uint64(k)) | 1
}

// partner returns the number of a partner, a new one if it was never seen.
func (e *Engine) partner(name string) uint32 {
	if n, ok := e.partners[name]; ok {
		return n
	}
	if len(e.names) >= e.cfg.Limits.Partners {
		return 0 // shares the quota of the first; ingest admits only known partners
	}
	n := uint32(len(e.names))
	name = string(append([]byte(nil), name...))
	e.partners[name] = n
	e.names = append(e.names, name)
	e.newest = append(e.newest, 0)
	return n
}

func (e *Engine) duplicate(s *slot) bool {
	if s.id != 0 && e.ids.add(s.id, day(s.ev.Received)) {
		e.stats.Duplicates++
		return true
	}
	return false
}

func day(t moat.Time) uint16 { return uint16(t / moat.Day) }

// event runs one event through the features and detectors of its type.
func (e *Engine) event(s *slot, findings *[]moat.Finding) {
	ev, tp := &s.ev, &e.plan.Types[s.ev.Type]
	e.count(s)
	e.slot, e.tp = s, tp
	for _, k := range tp.Kinds {
		e.records[k] = nil
		if s.keys[k] != 0 && e.tables[k] != nil {
			e.records[k] = e.record(k, s.keys[k], s)
		}
	}
	e.frame.Event, e.frame.Net = ev, rule.Net{}
	if tp.Net && ev.IP != "" {
		e.frame.Net = e.lookup(ev.IP)
	}
	e.features(s, tp)
	for _, c := range tp.Detectors {
		if c.When(&e.frame) {
			e.fire(s, c, findings)
		}
	}
	sec := seconds(s.now)
	for _, k := range tp.Kinds {
		if h := (*header)(e.records[k]); h != nil {
			h.seen = max(h.seen, sec)
		}
	}
}

func (e *Engine) count(s *slot) {
	if e.ask != nil {
		return
	}
	e.stats.Events++
	if s.ev.Flags&moat.FlagClock != 0 {
		e.stats.Clock++
	}
	sec := seconds(s.now)
	if newest := &e.newest[s.owner]; sec > *newest {
		*newest = sec
	} else if sec+3600 < *newest {
		e.stats.Late++
	}
}

func seconds(t moat.Time) uint32 { return uint32(t / moat.Second) }

// features has the features that observe this event take it in, in order. The others are read when
// an expression asks for them.
func (e *Engine) features(s *slot, tp *rule.TypePlan) {
	e.frame.Epoch++
	if e.frame.Epoch == 0 { // after four billion events the stamps begin anew
		clear(e.frame.Stamp)
		e.frame.Epoch = 1
	}
	for w, bits := range s.takes {
		for ; bits != 0; bits &= bits - 1 {
			op := &tp.Ops[w<<6+trailing(bits)]
			if e.records[op.Of] != nil && (op.Ahead || op.Where(&e.frame)) {
				e.run(op, s, true)
			}
		}
	}
}

// fill reads the feature with that first slot.
func (e *Engine) fill(first int) {
	if i := e.tp.At[first]; i >= 0 {
		e.run(&e.tp.Ops[i], e.slot, false)
	}
}

// run observes or reads one feature and writes its outputs. What has no record, or no value in this event, is read.
func (e *Engine) run(op *rule.Op, s *slot, observe bool) {
	in := &e.inputs[e.depth]
	e.depth++
	in.Now, in.Born, in.Seen, in.Value, in.Key, in.Pair = s.now, s.now, 0, feature.NoValue, 0, nil
	state := unsafe.Pointer(&e.empty)
	if rec := e.records[op.Of]; rec != nil {
		h := (*header)(rec)
		in.Born, in.Seen = moat.Time(h.born)*moat.Second, moat.Time(h.seen)*moat.Second
		state = unsafe.Add(rec, op.Offset)
		if e.input(op, in, s, observe) {
			in.Value = op.Value
		} else {
			observe = false
		}
	} else {
		*in, observe = feature.Input{Now: s.now, Born: s.now}, false
	}
	out := e.out[op.Out : op.Out+len(op.Kind.Outputs)]
	if observe {
		op.Stat.Observe(state, in, out)
	} else {
		op.Stat.Read(state, in, out)
	}
	e.frame.Stamp[op.Out] = e.frame.Epoch
	e.depth--
}

// input takes op's value from the event; false means that the event has none.
func (e *Engine) input(op *rule.Op, in *feature.Input, s *slot, observe bool) bool {
	switch op.Value {
	case feature.Number:
		in.Num = op.Num(&e.frame)
	case feature.Key:
		if op.Early >= 0 {
			if in.Key = s.early[op.Early]; in.Key == 0 {
				return false
			}
			in.Pair = e.pair(in.Key, s, observe)
			return in.Pair != nil
		}
		if in.Key = op.Key(&e.frame); in.Key == 0 {
			return false
		}
		if op.Kind.Pairs {
			in.Pair = e.pair(pairKey(op, in.Key, s.keys[op.Of]), s, observe)
			return in.Pair != nil
		}
	case feature.Keys:
		in.Texts = op.List(&e.frame)
		if len(in.Texts) == 0 {
			return false
		}
		in.Keys, in.Pairs = e.hashes(in.Texts), nil
		if op.Kind.Pairs {
			e.ptrs = e.ptrs[:0]
			for _, key := range in.Keys {
				p := e.pair(pairKey(op, key, s.keys[op.Of]), s, observe)
				if p == nil {
					p = unsafe.Pointer(&e.empty)
				}
				e.ptrs = append(e.ptrs, p)
			}
			in.Pairs = e.ptrs
		}
	case feature.Place:
		in.Place = e.frame.Net.Spot
		return in.Place.Known
	case feature.Steps:
		in.Steps = 0
		for i, step := range op.Steps {
			if step(&e.frame) {
				in.Steps |= 1 << i
			}
		}
	}
	return true
}

// hashes returns the hashes of a list of the event. Several features take the same list, mostly the
// orders: they are hashed once an event.
func (e *Engine) hashes(texts []string) []uint64 {
	if e.hashed != unsafe.SliceData(texts) || e.hashedAt != e.frame.Epoch || len(e.keys) != len(texts) {
		e.keys = e.keys[:0]
		for _, t := range texts {
			e.keys = append(e.keys, e.cfg.Seed.Text(t))
		}
		e.hashed, e.hashedAt = unsafe.SliceData(texts), e.frame.Epoch
	}
	return e.keys
}

func (e *Engine) lookup(ip string) rule.Net {
	h := e.cfg.Seed.Text(ip) | 1
	c := &e.net[h>>40&(netCacheSize-1)]
	if c.ip != h {
		c.ip, c.net = h, e.cfg.Net(ip)
	}
	return c.net
}

// NetChanged makes the engine ask again what is known of every address.
func (e *Engine) NetChanged() { clear(e.net) }

// record returns the record of a key, a new one if there is none.
func (e *Engine) record(k moat.EntityKind, key uint64, s *slot) unsafe.Pointer {
	t := e.tables[k]
	rec := t.find(key)
	if e.ask != nil {
		return e.ask.copyOf(t, rec, s)
	}
	if rec < 0 {
		if rec = t.insert(key, s.owner); rec < 0 {
			return nil
		}
		h := t.header(rec)
		h.born = seconds(s.now)
		return unsafe.Pointer(h)
	}
	h := t.header(rec)
	h.again = 1
	return unsafe.Pointer(h)
}

// pair returns what is kept of an entity together with a value.
func (e *Engine) pair(key uint64, s *slot, observe bool) unsafe.Pointer {
	rec := e.pairs.find(key)
	if e.ask != nil {
		return unsafe.Add(e.ask.copyOf(e.pairs, rec, s), rule.HeaderBytes)
	}
	if rec < 0 {
		if !observe {
			return nil
		}
		if rec = e.pairs.insert(key, s.owner); rec < 0 {
			return nil
		}
	} else {
		e.pairs.header(rec).again = 1
	}
	return unsafe.Add(e.pairs.at(rec), rule.HeaderBytes)
}

// said is what is kept of a detector's last finding about an entity.
type said struct {
	at    uint32 // seconds
	score float32
	_     [2]uint32
}

// fire makes a finding, unless the same was said shortly before.
func (e *Engine) fire(s *slot, c *rule.Compiled, findings *[]moat.Finding) {
	ev := &s.ev
	key := s.keys[c.Subject]
	if key == 0 {
		return
	}
	score := min(max(c.Confidence(&e.frame), 0.01), 0.99)
	now := seconds(s.now)
	if last := e.lastSaid(rule.Mix(key, e.cfg.Seed.Text(c.ID))|1, s); last != nil {
		fresh := last.at == 0 || now >= last.at && float64(now-last.at) >= c.Every.Seconds()
		if !fresh && score < float64(last.score)+0.1 {
			e.stats.Repeats++
			return
		}
		last.at, last.score = max(now, 1), float32(score)
	}
	entity := moat.Entity{Kind: c.Subject, ID: clone(ev.EntityID(c.Subject))}
	f := moat.Finding{
		Time: s.now, Partner: e.names[s.owner], Detector: c.ID, Dimension: c.Dimension, Family: c.Family, Title: c.Title,
		Mode: c.Mode, Entity: entity, Related: related(ev, entity), Score: score,
		Reason: c.Reason(&e.frame), Evidence: c.Evidence(&e.frame), Events: []string{clone(ev.ID)},
		Weight: rule.Sensitivity(ev), Egress: c.Egress || rule.Leaves(ev), Attack: c.Attack,
		Stake:  c.Stake,
		Orders: e.exposure(c.Subject, e.records[c.Subject], s.now),
	}
	f.ID = moat.FindingID(f.Partner, f.Detector, entity, f.Events[0])
	if e.ask == nil {
		e.stats.Findings++
	}
	*findings = append(*findings, f)
}

func (e *Engine) lastSaid(key uint64, s *slot) *said {
	rec := e.fired.find(key)
	if e.ask != nil {
		return (*said)(unsafe.Add(e.ask.copyOf(e.fired, rec, s), rule.HeaderBytes))
	}
	if rec < 0 {
		if rec = e.fired.insert(key, s.owner); rec < 0 {
			return nil
		}
	} else {
		e.fired.header(rec).again = 1
	}
	return (*said)(unsafe.Add(e.fired.at(rec), rule.HeaderBytes))
}

// exposure returns how many orders the subject touched in the last 24 hours.
func (e *Engine) exposure(k moat.EntityKind, rec unsafe.Pointer, now moat.Time) int64 {
	x := e.plan.Exposure[k]
	if x == nil || rec == nil {
		return 0
	}
	in := feature.Input{Now: now}
	var a, b [8]float64
	x.Distinct.Read(unsafe.Add(rec, x.DistinctOffset), &in, a[:])
	x.Sum.Read(unsafe.Add(rec, x.SumOffset), &in, b[:])
	return int64(a[0] + b[0] + 0.5)
}

// related lists the other entities of the event, narrowest first.
func related(ev *moat.Event, subject moat.Entity) []moat.Entity {
	var out []moat.Entity
	for _, k := range [...]moat.EntityKind{moat.Account, moat.Device, moat.IP, moat.Host, moat.App, moat.Outlet} {
		if id := ev.EntityID(k); id != "" && k != subject.Kind {
			out = append(out, moat.Entity{Kind: k, ID: clone(id)})
		}
	}
	return slices.Clip(out)
}

func clone(s string) string { return string(append([]byte(nil), s...)) }
