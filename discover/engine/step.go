package engine

import (
	"fmt"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// group is how many events are decoded and their records touched together.
const group = 8

// slot is one event of a group with what was computed before its turn.
type slot struct {
	ev      moat.Event
	partner uint64 // hash
	owner   uint32
	now     moat.Time
	keys    [moat.EntityKinds]uint64
	likely  [moat.EntityKinds]unsafe.Pointer // where the records probably are; nil = nobody knows
	early   []pairOf                         // the pairs that TypePlan.Early counts
	known   []uint64                         // bit i: early[i] is of this event
	ahead   []uint64                         // keys of the pairs of lists that are
	hashes  []uint64                         // of a list of the event
	list    *string                          // the list that they are of; nil = none yet
	shape   *rule.Shape
	scene   rule.Scene
	id      uint64 // hash of the event's id; 0 = none
}

// make makes room in s for events under p, of which no type has more early pairs.
func (s *slot) make(p *rule.Plan, early int) {
	s.scene, s.early, s.known = p.NewScene(), make([]pairOf, early), make([]uint64, (early+63)/64)
}

// pairOf is the key of a pair, 0 if there is none, and where it probably is.
type pairOf struct {
	key    uint64
	likely unsafe.Pointer
}

// pair returns the i-th early pair, if it is known.
func (s *slot) pair(i int32) (p *pairOf, known bool) {
	return &s.early[i], s.known[i>>6]>>(i&63)&1 != 0
}

// know sets the key of the i-th early pair.
func (s *slot) know(i int32, key uint64) *pairOf {
	s.known[i>>6] |= 1 << (i & 63)
	s.early[i] = pairOf{key, nil}
	return &s.early[i]
}

// partnerCache remembers the number of a partner, by the hash of its name.
type partnerCache struct {
	hash   uint64
	number uint32
}

const partnerCacheSize = 1 << 12

// netCache remembers what was said of an address, by its hash.
type netCache struct {
	ip  uint64
	net rule.Net
}

const netCacheSize = 1 << 13

// Step takes in one batch. An error means that the batch is corrupt; then nothing of it was
// taken in after the row that the error names. The result aliases nothing. If pause is not
// nil it is called between groups of events, every few hundred microseconds; it may call [Engine.Ask] and nothing else.
func (e *Engine) Step(batch []byte, pause func()) (Result, error) {
	var r Result
	if err := e.reader.Open(batch); err != nil {
		return r, fmt.Errorf("cannot open batch: %w", err)
	}
	for {
		n := 0
		for n < group && e.reader.Next(&e.slots[n].ev) {
			e.open(&e.slots[n])
			n++
		}
		// Each pass asks memory for what the next one looks at, of the whole group, so that none waits for one miss after the other.
		for i := range n {
			e.identify(&e.slots[i])
		}
		for i := range n {
			e.seek(&e.slots[i])
		}
		for i := range n {
			e.prepare(&e.slots[i])
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
					e.cfg.After(&s.ev, s.now, s.scene.Begins(), r.Findings[before:])
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
		if pause != nil {
			pause()
		}
	}
	if err := e.reader.Err(); err != nil {
		return r, fmt.Errorf("cannot read row %d of batch: %w", r.Events, err)
	}
	return r, nil
}

// open begins the work on s: whose it is, when it was, and what is remembered of it by its own words.
func (e *Engine) open(s *slot) {
	ev := &s.ev
	e.begin(s)
	s.partner = e.cfg.Seed.Text(ev.Partner)
	known := &e.known[s.partner%partnerCacheSize]
	if known.hash != s.partner {
		*known = partnerCache{s.partner, e.partner(ev.Partner)}
	}
	s.owner, s.now = known.number, plausible(ev)
	if s.id = 0; ev.ID != "" {
		s.id = idHash(rule.Mix(e.cfg.Seed.Text(ev.ID), s.partner))
		e.ids.touch(s.id)
	}
	if ev.IP != "" {
		_, at := e.netOf()
		prefetch(unsafe.Pointer(at))
	}
}

// begin has the frame see the event of s, of which nothing is known yet.
func (e *Engine) begin(s *slot) {
	s.list = nil
	e.frame.Open(&s.scene, &s.ev)
}

// identify computes the keys of the entities of s and reaches for their places in the index.
func (e *Engine) identify(s *slot) {
	e.frame.Return(&s.scene)
	e.far = e.far[:0]
	for _, k := range e.plan.Types[s.ev.Type].Kinds {
		s.keys[k], s.likely[k] = e.entityKey(s, k), nil
		if t := e.tables[k]; t != nil && s.keys[k] != 0 {
			e.far = append(e.far, t.indexAt(s.keys[k]))
		}
	}
	prefetchAll(e.far)
}

// seek finds where the records of the entities of s probably are, and reaches for the account's sitting.
func (e *Engine) seek(s *slot) {
	tp := &e.plan.Types[s.ev.Type]
	for _, k := range tp.Kinds {
		if t := e.tables[k]; t != nil && s.keys[k] != 0 {
			if rec := t.guess(s.keys[k]); rec >= 0 {
				s.likely[k] = t.at(rec)
			}
		}
	}
	if account := s.likely[moat.Account]; tp.Sits && account != nil {
		prefetch(unsafe.Pointer(e.sittingOf(account)))
	}
}

// sittingOf is where the last sitting of an account is remembered.
func (e *Engine) sittingOf(account unsafe.Pointer) *rule.Sitting {
	return (*rule.Sitting)(unsafe.Add(account, e.plan.Sitting))
}

// prepare finds what s is likely to concern, and reaches for it.
func (e *Engine) prepare(s *slot) {
	e.frame.Return(&s.scene)
	if e.plan.Types[s.ev.Type].Sits {
		var last rule.Sitting
		if account := s.likely[moat.Account]; account != nil {
			last = *e.sittingOf(account)
		}
		e.frame.Sitting(last, s.now)
	}
	e.sort(s)
	e.reach(s)
}

// reach brings the lines of the records of s into the cache, and the places of its pairs in the index.
func (e *Engine) reach(s *slot) {
	for i := range s.shape.Far {
		l := &s.shape.Far[i]
		if at := s.likely[l.Of]; at != nil {
			prefetchLines(unsafe.Add(at, l.Offset), l.Bits)
		}
	}
	e.far = e.far[:0]
	for i := range s.shape.Fetch {
		if key := s.early[s.shape.Fetch[i].Early].key; key != 0 {
			e.far = append(e.far, e.pairs.indexAt(key))
		}
	}
	for _, key := range s.ahead {
		e.far = append(e.far, e.pairs.indexAt(key))
	}
	prefetchAll(e.far)
}

// touch brings the pairs of s into the cache.
func (e *Engine) touch(s *slot) {
	e.far = e.far[:0]
	for i := range s.shape.Fetch {
		p := &s.early[s.shape.Fetch[i].Early]
		if p.key == 0 {
			continue
		}
		if rec := e.pairs.guess(p.key); rec >= 0 {
			p.likely = e.pairs.at(rec)
			e.far = append(e.far, uintptr(p.likely))
		}
	}
	for _, key := range s.ahead {
		if rec := e.pairs.guess(key); rec >= 0 {
			e.far = append(e.far, uintptr(e.pairs.at(rec)))
		}
	}
	prefetchAll(e.far)
}

// sort finds what features and detectors s concerns, and the keys of the pairs that can be told from the event alone.
func (e *Engine) sort(s *slot) {
	s.shape = e.sorter.Shape(&e.frame)
	clear(s.known)
	copy(s.known, s.shape.Known)
	for i := range s.shape.Fetch {
		x := &s.shape.Fetch[i]
		p := &s.early[x.Early]
		*p = pairOf{}
		entity := s.keys[x.Of]
		if entity == 0 {
			continue
		}
		if k := x.Key(&e.frame); k != 0 && k&x.Mask == 0 {
			p.key = rule.Mix(rule.Mix(k, x.Salt), entity) | 1
		}
	}
	s.ahead = s.ahead[:0]
	for _, op := range s.shape.Lists {
		e.foresee(s, op)
	}
	for _, op := range s.shape.Levels {
		e.foreseeLevels(s, op)
	}
}

// foresee computes the keys of the first of op's pairs.
func (e *Engine) foresee(s *slot, op *rule.Op) {
	if s.keys[op.Of] == 0 {
		return
	}
	keys := e.hashes(s, op.List(&e.frame))
	for _, key := range keys[:min(len(keys), maxAhead)] {
		if key&op.Mask == 0 {
			s.ahead = append(s.ahead, pairKey(op, key, s.keys[op.Of]))
		}
	}
}

// foreseeLevels computes the keys of the pairs of op's levels.
func (e *Engine) foreseeLevels(s *slot, op *rule.Op) {
	if s.keys[op.Of] == 0 {
		return
	}
	for i, level := range op.Levels {
		if key := level(&e.frame); key != 0 {
			own, common := levelKeys(op, i, key, s)
			s.ahead = append(s.ahead, own, common)
		}
	}
}

// maxAhead is how many pairs of a list are fetched ahead.
const maxAhead = 4

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
// may say what it likes of the last thirty days; a complaint, whose time is that of the contact, may be older.
func plausible(ev *moat.Event) moat.Time {
	t := ev.Time
	if ev.Received != 0 {
		t = min(t, ev.Received)
		if ev.Flags&moat.FlagHistory == 0 && ev.Type != moat.Complaint {
			t = max(t, ev.Received-30*moat.Day)
		}
	}
	return t
}

func (e *Engine) entityKey(s *slot, k moat.EntityKind) uint64 {
	id := s.partner
	if k != moat.Partner || s.ev.Partner == "" {
		id = e.frame.Entity(k)
	}
	if id == 0 {
		return 0
	}
	return rule.Mix(id, s.partner+uint64(k)) | 1
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
		if s.ev.Type != moat.Sighting && s.ev.Type != moat.CanaryTouch { // Moat's own
			e.stats.Duplicates++
		}
		return true
	}
	return false
}

// day numbers the days, from the beginning again after 256.
func day(t moat.Time) uint8 { return uint8(t / moat.Day) }
