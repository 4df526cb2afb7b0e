package engine

import (
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
	"github.com/moat-platform/moat/discover/rule"
)

// event runs one event through the features and detectors of its type.
func (e *Engine) event(s *slot, findings *[]moat.Finding) {
	tp := &e.plan.Types[s.ev.Type]
	if e.ask == nil {
		if l := e.watches[s.owner]; l != nil {
			e.overdue(s, l, findings)
		}
		e.count(s)
	}
	e.slot, e.tp = s, tp
	for _, k := range tp.Kinds {
		e.records[k] = nil
		if s.keys[k] != 0 && e.tables[k] != nil {
			e.records[k] = e.record(k, s)
		}
	}
	e.frame.Return(&s.scene)
	if tp.Sits {
		e.sit(s)
	}
	e.features(s)
	for i := range s.shape.Detectors {
		if ask := &s.shape.Detectors[i]; ask.Fires(&e.frame) {
			e.fire(s, ask.Compiled, findings)
		}
	}
	if e.ask == nil {
		for _, c := range tp.Waits {
			e.hear(s, c)
		}
	}
	sec := seconds(s.now)
	for _, k := range tp.Kinds {
		if h := (*entity)(e.records[k]); h != nil {
			h.seen = max(h.seen, sec)
		}
	}
}

// sit notes what the sitting of the account has become. What s concerns was found by the sitting as it stood
// before the events of its group: if one of them changed that, it is found again.
func (e *Engine) sit(s *slot) {
	account := e.records[moat.Account]
	if account == nil {
		return
	}
	likely := s.scene.Begins()
	at := e.sittingOf(account)
	if *at = e.frame.Sitting(*at, s.now); s.scene.Begins() != likely {
		e.sort(s)
	}
}

func (e *Engine) count(s *slot) {
	sec := seconds(s.now)
	newest := &e.newest[s.owner]
	late := sec+3600 < *newest
	*newest = max(*newest, sec)
	if s.ev.Type == moat.Sighting {
		return // Moat's own: the counts are of what partners send
	}
	e.stats.Events++
	if late && s.ev.Type != moat.Complaint && s.ev.Type != moat.CanaryTouch { // whose time is that of the contact, days ago as a rule
		e.stats.Late++
	}
	if s.ev.Flags&moat.FlagClock != 0 {
		e.stats.Clock++
	}
}

func seconds(t moat.Time) uint32 { return uint32(t / moat.Second) }

// features has the features that observe this event take it in, in order. The others are read when
// an expression asks for them.
func (e *Engine) features(s *slot) {
	e.epoch()
	e.depth = 1 // what a feature reads has inputs of its own
	in := &e.inputs[0]
	in.Now = s.now
	for i := range s.shape.Runs {
		run := &s.shape.Runs[i]
		at := e.records[run.Of]
		if at == nil {
			continue
		}
		in.Born, in.Seen = (*entity)(at).times()
		takes := run.Takes
		for j := range takes {
			e.take(&takes[j], in, at)
		}
	}
	e.depth = 0
}

// take has the feature of t, whose state lies in the record at a place, take in the event.
func (e *Engine) take(t *rule.Take, in *feature.Input, at unsafe.Pointer) {
	if t.Where != nil && !e.where(t) {
		return
	}
	switch t.Value {
	case feature.NoValue:
	case feature.Number:
		in.Num = t.Num(&e.frame)
	case feature.Key:
		if !e.key(t, in) {
			return // without a value there is nothing to take in: it is read when it is asked for
		}
	default:
		if !e.input(t.Op, in, e.slot, true) {
			return
		}
	}
	in.Value, in.Mute = t.Value, t.Mute
	t.Stat.Observe(unsafe.Add(at, t.Offset), in, e.frame.Out(int(t.Out)))
}

// key takes the key of t from the event; false means that the event has none. Most keys are of pairs that were
// fetched ahead and are where they probably are.
func (e *Engine) key(t *rule.Take, in *feature.Input) bool {
	if t.Early >= 0 && e.ask == nil {
		if p, known := e.slot.pair(int32(t.Early)); known && p.likely != nil {
			if h := (*header)(p.likely); h.key == p.key {
				if h.owner&touched == 0 {
					h.owner |= touched
				}
				in.Key, in.Pair = p.key, unsafe.Add(p.likely, pairHeader)
				return true
			}
		}
	}
	return e.input(t.Op, in, e.slot, true)
}

// own takes op's one pair; false means that there is none.
func (e *Engine) own(op *rule.Op, in *feature.Input, observe bool) bool {
	in.Key = 1
	pair := unsafe.Add(e.records[op.Of], op.Own)
	if !observe && (op.Single && *(*uint64)(pair) == 0 || !op.Single && (*feature.Pair)(pair).N == 0) {
		return false
	}
	in.Pair = pair
	return true
}

// where remembers what a condition that several ops share said of an event.
type where struct {
	epoch uint32
	holds bool
}

func (e *Engine) where(t *rule.Take) bool {
	if t.Asks < 0 {
		return t.Where(&e.frame)
	}
	w := &e.wheres[t.Asks]
	if w.epoch != e.frame.Epoch {
		*w = where{e.frame.Epoch, t.Where(&e.frame)}
	}
	return w.holds
}

// common returns the state of op that is kept once for the partner, nil if there is none.
func (e *Engine) common(op *rule.Op) unsafe.Pointer {
	if partner := e.records[moat.Partner]; partner != nil && op.Common > 0 {
		return unsafe.Add(partner, op.Common)
	}
	return nil
}

// epoch makes the frame forget what features said of the event before.
func (e *Engine) epoch() {
	e.frame.Epoch++
	if e.frame.Epoch == 0 { // after four billion events the stamps begin anew
		clear(e.frame.Stamp)
		clear(e.wheres)
		e.frame.Epoch = 1
	}
}

// fill reads the feature with that first slot: it has it write its outputs as they stand.
func (e *Engine) fill(first int) {
	i := e.tp.At[first]
	if i < 0 {
		return
	}
	op, in := &e.tp.Ops[i], &e.blind
	at := e.records[op.Of]
	if !op.Blind {
		in = &e.inputs[e.depth]
		in.Value, in.Key, in.Pair, in.Common = feature.NoValue, 0, nil, nil
	}
	state := unsafe.Pointer(&e.empty)
	in.Now, in.Born, in.Seen = e.slot.now, e.slot.now, 0
	if at != nil {
		state = unsafe.Add(at, op.Offset)
		in.Born, in.Seen = (*entity)(at).times()
		if !op.Blind {
			e.depth++
			if e.input(op, in, e.slot, false) {
				in.Value = op.Value
			}
			e.depth--
		}
	}
	op.Stat.Read(state, in, e.frame.Out(op.Out))
}

// input takes op's value from the event; false means that the event has none.
func (e *Engine) input(op *rule.Op, in *feature.Input, s *slot, observe bool) bool {
	if len(op.Steps) > 0 { // before the value, since a step may run features that need the same buffers
		in.Steps = 0
		for i, step := range op.Steps {
			if step(&e.frame) {
				in.Steps |= 1 << i
			}
		}
	}
	switch op.Value {
	case feature.Number:
		in.Num = op.Num(&e.frame)
	case feature.Key:
		if !observe && op.Vacant != nil && op.Vacant(unsafe.Add(e.records[op.Of], op.Offset)) {
			if in.Key = op.Key(&e.frame); in.Key&op.Mask != 0 {
				in.Key = 0
			}
			return false
		}
		if op.Own != 0 {
			return e.own(op, in, observe)
		}
		if op.Early >= 0 {
			p, known := s.pair(int32(op.Early))
			if !known {
				p = s.know(int32(op.Early), e.earlyKey(op, s))
			}
			if in.Key = p.key; in.Key == 0 {
				return false
			}
			in.Pair = e.pair(p.key, p.likely, s, observe)
			return in.Pair != nil
		}
		if in.Key = op.Key(&e.frame); in.Key == 0 {
			return false
		}
		if in.Key&op.Mask != 0 {
			in.Key = 0
			return false
		}
		if op.Pairs {
			in.Pair = e.pair(pairKey(op, in.Key, s.keys[op.Of]), nil, s, observe)
			return in.Pair != nil
		}
	case feature.Keys:
		in.Texts = op.List(&e.frame)
		if len(in.Texts) == 0 {
			return false
		}
		in.Keys, in.Pairs = e.hashes(s, in.Texts), nil
		if op.Mask != 0 {
			if in.Keys, in.Texts = e.sample(in.Keys, op.Mask), nil; len(in.Keys) == 0 {
				return false
			}
		}
		if op.Pairs {
			e.ptrs = e.ptrs[:0]
			for _, key := range in.Keys {
				e.ptrs = append(e.ptrs, e.pair(pairKey(op, key, s.keys[op.Of]), nil, s, observe))
			}
			in.Pairs = e.ptrs
		}
	case feature.Place:
		in.Place = e.frame.Net().Spot
		return in.Place.Known
	case feature.Levels:
		in.Common = e.common(op)
		return e.levels(op, in, s, observe)
	}
	return true
}

// sample returns those of keys that have none of the bits of mask.
func (e *Engine) sample(keys []uint64, mask uint64) []uint64 {
	e.sampled = e.sampled[:0]
	for _, k := range keys {
		if k&mask == 0 {
			e.sampled = append(e.sampled, k)
		}
	}
	return e.sampled
}

// hashes returns the hashes of a list of the event of s. Several features take the same list, mostly the
// orders: they are hashed once an event.
func (e *Engine) hashes(s *slot, texts []string) []uint64 {
	if list := unsafe.SliceData(texts); s.list != list || len(s.hashes) != len(texts) {
		s.list, s.hashes = list, s.hashes[:0]
		for _, t := range texts {
			s.hashes = append(s.hashes, e.cfg.Seed.Text(t))
		}
	}
	return s.hashes
}

func (e *Engine) lookup(ip string) rule.Net {
	h, c := e.netOf() // of no other address is asked
	if c.ip != h {
		c.ip, c.net = h, e.cfg.Net(ip)
	}
	return c.net
}

// netOf returns the hash of the event's address, and where what was said of it is remembered.
func (e *Engine) netOf() (hash uint64, at *netCache) {
	hash = e.frame.Entity(moat.IP) | 1
	return hash, &e.net[hash>>40%netCacheSize]
}

// NetChanged makes the engine ask again what is known of every address.
func (e *Engine) NetChanged() { clear(e.net) }

// record returns the record of the event's entity of that kind, a new one if there is none.
func (e *Engine) record(k moat.EntityKind, s *slot) unsafe.Pointer {
	t, key := e.tables[k], s.keys[k]
	at := t.look(key, s.likely[k])
	if e.ask != nil {
		p := e.ask.copyOf(t, at)
		if at == nil {
			(*entity)(p).born = seconds(s.now)
		}
		return p
	}
	if at != nil {
		(*header)(at).owner |= touched
	} else if at = t.insert(key, s.owner); at != nil {
		(*entity)(at).born = seconds(s.now)
	}
	return at
}

// pair returns what is kept of an entity together with a value, which probably is at a place.
func (e *Engine) pair(key uint64, likely unsafe.Pointer, s *slot, observe bool) unsafe.Pointer {
	return e.kept(e.pairs, key, likely, s, observe)
}

// kept returns what t keeps under a key behind the header. If there is nothing, it returns something new or nil.
func (e *Engine) kept(t *table, key uint64, likely unsafe.Pointer, s *slot, make bool) unsafe.Pointer {
	at := t.look(key, likely)
	switch {
	case e.ask != nil:
		at = e.ask.copyOf(t, at)
	case at != nil:
		(*header)(at).owner |= touched
	case !make:
		return nil
	default:
		if at = t.insert(key, s.owner); at == nil {
			return nil
		}
	}
	return unsafe.Add(at, pairHeader)
}
