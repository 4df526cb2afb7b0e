package engine

import (
	"fmt"
	"math/bits"
	"slices"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// group is how many events are decoded and their records touched together.
const group = 32

// slot is one event of a group with what was computed before its turn.
type slot struct {
	ev      moat.Event
	partner uint64 // hash
	owner   uint32
	now     moat.Time
	keys    [moat.EntityKinds]uint64
	early   []uint64                 // keys of the pairs that TypePlan.Early counts; later if nothing is observed
	holds   []uint64                 // bit i: Conditions[i] holds
	asks    []uint64                 // bit i: Detectors[i] may fire, as far as the event alone tells
	takes   []uint64                 // bit i: Ops[i] observes this event, as far as the event alone tells
	lines   [moat.EntityKinds]uint64 // bit i: the i-th line of the record has state of takes
	ahead   []uint64                 // keys of pairs to fetch, the early ones among them
	id      uint64                   // hash of the event's id; 0 = none
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
				before := len(r.Findings)
				e.event(s, &r.Findings)
				if e.cfg.After != nil {
					e.cfg.After(&s.ev, s.now, r.Findings[before:])
				}
				if s.ev.Type == moat.Complaint {
					r.Complaints = append(r.Complaints, s.ev.Clone())
				}
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
		e.ids.touch(s.id)
	}
	tp := &e.plan.Types[ev.Type]
	e.identify(s, tp)
	for _, k := range tp.Kinds {
		if t := e.tables[k]; t != nil && s.keys[k] != 0 {
			t.touchIndex(s.keys[k])
		}
	}
	for _, key := range s.ahead {
		e.pairs.touchIndex(key)
	}
}

// touch brings the records of s into the cache. It comes after the index was touched for the whole group, so
// that neither waits for one miss after the other.
func (e *Engine) touch(s *slot) {
	for _, k := range e.plan.Types[s.ev.Type].Kinds {
		if t := e.tables[k]; t != nil && s.keys[k] != 0 {
			if rec := t.guess(s.keys[k]); rec != nil {
				for lines := s.lines[k] | 1; lines != 0; lines &= lines - 1 {
					prefetch(unsafe.Add(rec, rule.LineBytes*trailing(lines)))
				}
			}
		}
	}
	for _, key := range s.ahead {
		if rec := e.pairs.guess(key); rec != nil {
			prefetch(rec)
		}
	}
}

func trailing(b uint64) int { return bits.TrailingZeros64(b) }

// identify computes the keys of the entities of s, what features and detectors it concerns, and the pairs that can
// be told from the event alone.
func (e *Engine) identify(s *slot, tp *rule.TypePlan) {
	e.frame.Begin(&s.ev)
	for _, k := range tp.Kinds {
		s.keys[k], s.lines[k] = e.entityKey(s.partner, k), 0
	}
	s.takes, s.asks, s.holds = zeros(s.takes, len(tp.Fetch)), zeros(s.asks, (len(tp.Detectors)+63)/64), tp.Settle(&e.frame, s.holds[:0])
	for w, bits := range s.holds {
		for ; bits != 0; bits &= bits - 1 {
			c := &tp.Conditions[w<<6+trailing(bits)]
			for i, ops := range c.Ops {
				s.takes[i] |= ops
			}
			for i, detectors := range c.Detectors {
				s.asks[i] |= detectors
			}
			for _, l := range c.Lines {
				s.lines[l.Of] |= l.Bits
			}
		}
	}
	s.ahead, s.early = s.ahead[:0], s.early[:0]
	for range tp.Early {
		s.early = append(s.early, later)
	}
	for w, bits := range s.takes {
		for bits &= tp.Fetch[w]; bits != 0; bits &= bits - 1 {
			e.foresee(s, &tp.Ops[w<<6+trailing(bits)])
		}
	}
}

// foresee computes the keys of op's pairs.
func (e *Engine) foresee(s *slot, op *rule.Op) {
	if op.Early >= 0 {
		key := e.earlyKey(op, s)
		if s.early[op.Early] = key; key != 0 {
			s.ahead = append(s.ahead, key)
		}
		return
	}
	if s.keys[op.Of] == 0 {
		return
	}
	texts := op.List(&e.frame)
	for _, t := range texts[:min(len(texts), maxAhead)] {
		if key := e.cfg.Seed.Text(t); key&op.Mask == 0 {
			s.ahead = append(s.ahead, pairKey(op, key, s.keys[op.Of]))
		}
	}
}

// zeros returns n zeros in the memory of words.
func zeros(words []uint64, n int) []uint64 {
	words = slices.Grow(words[:0], n)[:n]
	clear(words)
	return words
}

// maxAhead is how many pairs of a list are fetched ahead.
const maxAhead = 4

// later stands for the key of a pair that nothing observes at this event: it is computed when it is
// read. Keys are odd.
const later = 2

// earlyKey returns the key of op's pair, 0 if there is none.
func (e *Engine) earlyKey(op *rule.Op, s *slot) uint64 {
	key := op.Key(&e.frame)
	if key == 0 || key&op.Mask != 0 || s.keys[op.Of] == 0 {
		return 0
	}
	return pairKey(op, key, s.keys[op.Of])
}

func pairKey(op *rule.Op, value, entity uint64) uint64 {
	return rule.Mix(rule.Mix(value, op.Salt), entity) | 1
}

// plausible returns the event's time, moved to what receipt allows. A clock that is ahead, by minutes or by
// years, must not drag the windows of its entities along: what comes after would be late for them. One that is behind
// may say what it likes of the last thirty days.
func plausible(ev *moat.Event) moat.Time {
	t := ev.Time
	if ev.Received != 0 {
		t = min(t, ev.Received)
		if ev.Flags&moat.FlagHistory == 0 {
			t = max(t, ev.Received-30*moat.Day)
		}
	}
	return t
}

func (e *Engine) entityKey(partner uint64, k moat.EntityKind) uint64 {
	id := e.frame.Entity(k)
	if id == 0 {
		return 0
	}
	return rule.Mix(id, partner+uint64(k)) | 1
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
	e.watches = append(e.watches, nil)
	return n
}

func (e *Engine) duplicate(s *slot) bool {
	if s.id != 0 && e.ids.add(s.id, day(s.ev.Received)) {
		if s.ev.Type != moat.Sighting {
			e.stats.Duplicates++
		}
		return true
	}
	return false
}

func day(t moat.Time) uint16 { return uint16(t / moat.Day) }
