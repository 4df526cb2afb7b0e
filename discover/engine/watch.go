package engine

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// Silence: a detector with `after` fires when an entity has not been heard of for so long. Since the
// engine has no clock, a deadline passes when another event of the same partner is
// newer; of a partner that is silent as a whole nothing is found here.

const (
	// askedMost is how often a condition that says no at the deadline is asked again, each time after twice the time.
	askedMost = 8
	// leapLeast is the least step of a partner's clock, in seconds, that is remembered.
	leapLeast = 30
	// afterMost bounds how long an entity may be silent, in seconds.
	afterMost = 400 * 86400
)

// watch waits for an entity to be heard of again by one detector.
type watch struct {
	key      uint64 // of entity and detector
	detector *rule.Compiled
	typ      moat.EventType // of the event that was heard last
	asked    uint8          // times that the condition said no
	after    uint32         // s
	due      uint32         // s; the deadline
	queued   uint32         // the deadline that its place in the queue is for: due, or earlier
	at       int            // place in the queue
	entity   []byte         // its id
	event    []byte         // id of the event that was heard last
}

// watches are those of one partner.
type watches struct {
	byKey map[uint64]*watch
	queue queueOf
	// The last leap of the partner's clock: up to when, and how long nothing at all was heard before.
	leapt, leap uint32
}

// queueOf is a heap by deadline. A watch that is heard of again stays where it is until its old deadline
// has passed, so that hearing costs nothing but a look-up.
type queueOf []*watch

func (q queueOf) Len() int { return len(q) }
func (q queueOf) Less(i, j int) bool {
	return q[i].queued < q[j].queued || q[i].queued == q[j].queued && q[i].key < q[j].key
}
func (q queueOf) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

// Push is for container/heap.
func (q *queueOf) Push(x any) {
	w := x.(*watch)
	w.at = len(*q)
	*q = append(*q, w)
}

// Pop is for container/heap.
func (q *queueOf) Pop() any {
	old := *q
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return w
}

// hear has the entities of s, which is happening, be heard of by the detectors that wait for silence.
func (e *Engine) hear(s *slot, c *rule.Compiled) {
	entity := s.keys[c.Subject]
	if entity == 0 {
		return
	}
	l := e.watches[s.owner]
	if l == nil {
		l = &watches{byKey: map[uint64]*watch{}}
		e.watches[s.owner] = l
	}
	key := rule.Mix(entity, e.cfg.Seed.Text(c.ID))
	w := l.byKey[key]
	after := c.After(&e.frame)
	if !(after > 0) {
		if w != nil {
			l.drop(w)
			e.watched--
		}
		return
	}
	if w == nil {
		if len(l.byKey) >= e.cfg.Limits.WatchQuota || e.watched >= e.cfg.Limits.Watches {
			e.stats.Overflow++
			return
		}
		w = &watch{key: key, detector: c, at: -1, entity: []byte(s.ev.EntityID(c.Subject))}
		l.byKey[key] = w
		e.watched++
	}
	w.typ, w.asked, w.event = s.ev.Type, 0, append(w.event[:0], s.ev.ID...)
	w.after = uint32(min(max(after, 1), afterMost))
	// From the newest event on, not from this one: what comes late was heard of just now.
	w.due = e.newest[s.owner] + w.after
	switch {
	case w.at < 0:
		w.queued = w.due
		heap.Push(&l.queue, w)
	case w.due < w.queued:
		w.queued = w.due
		heap.Fix(&l.queue, w.at)
	}
}

func (l *watches) drop(w *watch) {
	delete(l.byKey, w.key)
	heap.Remove(&l.queue, w.at)
}

// overdue fires for those of the partner of s that were not heard of until s. It comes before s is counted.
func (e *Engine) overdue(s *slot, l *watches, findings *[]moat.Finding) {
	now, was := seconds(s.now), e.newest[s.owner]
	if now <= was {
		return
	}
	if now-was >= leapLeast {
		l.leapt, l.leap = now, now-was
	}
	for len(l.queue) > 0 && l.queue[0].queued <= now {
		w := l.queue[0]
		if w.queued == w.due {
			if half := w.after / 2; l.leap > half && w.due < l.leapt+half {
				w.due = l.leapt + half // the partner as a whole was silent: let everybody come back first
			} else if found := e.quiet(s, w, findings); found || w.asked >= askedMost {
				l.drop(w)
				e.watched--
				continue
			}
		}
		w.queued = w.due
		heap.Fix(&l.queue, 0)
	}
}

// quiet asks the detector of w whether its silence means anything, as of the deadline. If not, it
// sets the next.
func (e *Engine) quiet(now *slot, w *watch, findings *[]moat.Finding) bool {
	s, c := &e.silent, w.detector
	s.ev = moat.Event{Partner: now.ev.Partner, Type: w.typ, ID: string(w.event), Time: moat.Time(w.due) * moat.Second, Received: now.ev.Received}
	setEntity(&s.ev, c.Subject, string(w.entity))
	s.ev.MarkAll()
	s.owner, s.partner, s.now = now.owner, now.partner, s.ev.Time
	tp := &e.plan.Types[w.typ]
	e.begin(s)
	e.identify(s)
	e.sort(s)
	e.slot, e.tp = s, tp
	clear(e.records[:])
	for _, k := range tp.Kinds {
		if t := e.tables[k]; t != nil && s.keys[k] != 0 {
			e.records[k] = t.look(s.keys[k], nil)
		}
	}
	e.epoch()
	if !c.When(&e.frame) {
		w.asked++
		w.due += min(w.after<<min(w.asked-1, 16), afterMost)
		return false
	}
	before := len(*findings)
	e.fire(s, c, findings)
	for i := before; i < len(*findings); i++ {
		(*findings)[i].Egress = c.Egress // whatever the last event was, nothing left just now
	}
	return true
}

// setEntity makes id the event's entity of that kind.
func setEntity(ev *moat.Event, k moat.EntityKind, id string) {
	switch k {
	case moat.Account:
		ev.Actor = id
	case moat.App:
		ev.App = id
	case moat.Host:
		ev.Host = id
	case moat.Device:
		ev.Device = id
	case moat.IP:
		ev.IP = id
	case moat.Outlet:
		ev.Outlet = id
	case moat.Peers:
		ev.Role = id
	}
}

// sorted returns the watches in the order of their keys.
func (l *watches) sorted() []*watch {
	list := slices.Clone(l.queue)
	slices.SortFunc(list, func(a, b *watch) int { return cmp.Compare(a.key, b.key) })
	return list
}

func (s *saver) watches(lists []*watches) {
	for _, l := range lists {
		if l == nil {
			s.num(0)
			continue
		}
		s.num(uint64(len(l.queue)) + 1)
		s.num(uint64(l.leapt)<<32 | uint64(l.leap))
		for _, w := range l.sorted() {
			s.num(w.key)
			s.text(w.detector.ID)
			s.num(uint64(w.typ)<<8 | uint64(w.asked))
			s.num(uint64(w.after)<<32 | uint64(w.due))
			s.text(string(w.entity))
			s.text(string(w.event))
		}
	}
}

// watches reads those of every partner that e knows. Those of detectors that are no more, or do not wait for silence
// at that type of event, are left out.
func (l *loader) watches(e *Engine) {
	waits := map[string]*rule.Compiled{}
	for _, c := range e.plan.Detectors {
		if c.After != nil {
			waits[c.ID] = c
		}
	}
	for i := range e.watches {
		n := l.count(uint64(e.cfg.Limits.WatchQuota) + 1)
		if n == 0 || l.err != nil {
			continue
		}
		list := &watches{byKey: map[uint64]*watch{}}
		leap := l.num()
		list.leapt, list.leap = uint32(leap>>32), uint32(leap)
		for range n - 1 {
			w := &watch{key: l.num(), detector: waits[l.text(1<<10)]}
			kind, times := l.num(), l.num()
			w.typ, w.asked, w.after, w.due = moat.EventType(kind>>8), uint8(kind), uint32(times>>32), uint32(times)
			w.queued = w.due
			w.entity, w.event = []byte(l.text(1<<10)), []byte(l.text(1<<10))
			if l.err != nil {
				return
			}
			if w.detector == nil || !slices.Contains(w.detector.On, w.typ) || list.byKey[w.key] != nil || e.watched >= e.cfg.Limits.Watches {
				continue
			}
			list.byKey[w.key] = w
			heap.Push(&list.queue, w)
			e.watched++
		}
		e.watches[i] = list
	}
}
