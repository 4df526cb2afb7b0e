package engine

import (
	"unsafe"

	"github.com/moat-platform/moat"
)

// scratch holds copies of the records that a question touches, so that the features
// can run on them and nothing of it stays.
type scratch struct {
	buf  []uint64 // 8-byte aligned
	used int
}

// copyOf returns a copy of t's record at a place, or an empty record when that is nil.
func (sc *scratch) copyOf(t *table, at unsafe.Pointer) unsafe.Pointer {
	words := (t.size + 7) / 8
	if sc.used+words > len(sc.buf) {
		// Copies handed out before keep their old memory.
		sc.buf, sc.used = make([]uint64, max(4096, 2*words)), 0
	}
	p := unsafe.Pointer(&sc.buf[sc.used])
	b := unsafe.Slice((*byte)(p), words*8)
	sc.used += words
	if at != nil {
		copy(b, unsafe.Slice((*byte)(at), t.size))
		return p
	}
	clear(b)
	return p
}

// Ask answers what [Engine.Step] would find if ev happened now, and changes nothing: the
// event itself goes into the log and comes back through Step. That others are silent is not asked. The findings alias nothing.
func (e *Engine) Ask(ev *moat.Event) []moat.Finding {
	e.ask = &e.scratch
	e.ask.used = 0
	defer func() { e.ask = nil }()
	s := &e.asked
	s.ev = *ev
	partner, known := e.partners[ev.Partner]
	s.owner = partner
	s.partner = e.cfg.Seed.Text(ev.Partner)
	s.now = plausible(ev)
	e.begin(s)
	for _, pass := range [...]func(*slot){e.identify, e.seek, e.prepare, e.touch} {
		pass(s) // a question is alone, but its own records are many: they are fetched at the same time
	}
	var found []moat.Finding
	if !known {
		// A partner that never sent an event has no number yet, and gets none by asking.
		e.names = append(e.names, ev.Partner)
		s.owner = uint32(len(e.names) - 1)
		defer func() { e.names = e.names[:len(e.names)-1] }()
	}
	e.event(s, &found)
	return found
}
