package world

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
)

// sent is an event on its way to the platform.
type sent struct {
	e    *moat.Event
	from *partner
	by   *thief // whose act it is; nil for the honest
}

// mail takes events from partners and hands them to the platform in the order in which it gets them.
type mail struct {
	w    *World
	box  []sent   // of the day that is being lived, not finished
	due  []letter // finished, by receipt, for later days
	n    uint64   // letters so far
	slab []moat.Event
}

// letter is a finished event; of those received at once the first sent comes first.
type letter struct {
	at   moat.Time
	n    uint64
	e    *moat.Event
	from *partner
}

// slabSize is how many events are allocated at once: fewer, larger pieces cost the collector less.
const slabSize = 32

// new returns an empty event.
func (m *mail) new() *moat.Event {
	if len(m.slab) == 0 {
		m.slab = make([]moat.Event, slabSize)
	}
	e := &m.slab[0]
	m.slab = m.slab[1:]
	return e
}

// habits is how a partner reports.
type habits struct {
	delay     moat.Time // median between act and receipt
	batch     moat.Time // reports are sent at multiples of it; 0 = one by one
	skew      moat.Time // by how much the clock is wrong
	skewUntil int       // day from which it is right
	retries   float64   // share of events that are sent twice
	device    string    // sent for every device; "" = the real one
	private   []string  // addresses that are sent for those of clients
	noRole    bool
	noSession bool
	noAgent   bool
	noDevice  bool
	noFields  bool
	form      int       // of ids
	down, up  moat.Time // between them nothing is sent
	loses     bool      // and lost, not sent later
}

// post takes an event of a partner, by a thief or not, and returns it. Until the end of the day it may be changed.
func (m *mail) post(p *partner, e *moat.Event, by *thief) *moat.Event {
	p.serial++
	e.Partner, e.ID = p.id, p.eventID(p.serial)
	m.box = append(m.box, sent{e, p, by})
	return e
}

// eventID returns an id in the form that the partner's software gives them.
func (p *partner) eventID(serial uint64) string {
	x := mix(p.seed, serial)
	switch p.habits.form {
	case 0:
		return hex(x, 16)
	case 1:
		h := hex(x, 32)
		return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
	case 2:
		return p.id + "-" + strconv.FormatUint(1_000_000+serial, 10)
	}
	return strconv.FormatUint(x, 36)
}

// deliver finishes the day's events and returns all that the platform gets before a time.
func (m *mail) deliver(until moat.Time, all bool) []*moat.Event {
	r := chance(m.w.cfg.Seed, "mail", m.w.day)
	for i := range m.box {
		s := &m.box[i]
		if s.e.Time < m.w.cfg.Start { // of the day before the first
			continue
		}
		if s.by == nil && s.from.veil != nil && s.from.veil(s.e) { // what thieves do there on their own account stays to be found
			continue
		}
		if h := &s.from.habits; h.loses && !operators(s.e.Type) && s.e.Time >= h.down && s.e.Time < h.up {
			m.w.note(outage)
			continue
		}
		m.finish(r, s)
		m.put(s.e, s.from)
		if yes(r, s.from.habits.retries) {
			again := *s.e
			again.Received += moat.Time(spread(r, 20, 1.2) * float64(moat.Second))
			m.put(&again, s.from)
			m.w.note(retry)
		}
	}
	clear(m.box)
	m.box = m.box[:0]
	slices.SortFunc(m.due, func(a, b letter) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.n, b.n)) })
	n := len(m.due)
	if !all {
		n, _ = slices.BinarySearchFunc(m.due, until, func(l letter, t moat.Time) int { return cmp.Compare(l.at, t) })
	}
	day := make([]*moat.Event, n)
	for i, l := range m.due[:n] {
		day[i] = l.e
		if operators(l.e.Type) {
			continue
		}
		if l.e.Type == moat.Heartbeat {
			l.e.Sent = l.from.sent
			l.e.Mark(moat.FieldSent)
		}
		l.from.sent++
	}
	m.due = slices.Clone(m.due[n:])
	return day
}

func (m *mail) put(e *moat.Event, from *partner) {
	m.n++
	m.due = append(m.due, letter{e.Received, m.n, e, from})
}

// finish brings an event into the form in which its partner reports, and notes it if it is a thief's.
func (m *mail) finish(r *rand.Rand, s *sent) {
	e, h := s.e, &s.from.habits
	happened := e.Time
	if !operators(e.Type) {
		m.distort(e, h)
	}
	e.MarkAll()
	e.Conclude()
	if e.Type == moat.AuthLogin || e.Type == moat.HostLogin || e.Type == moat.AuthChallenge {
		e.Mark(moat.FieldOutcome) // success, too, is said
	}
	switch e.Type {
	case moat.OrderAccess, moat.OrderTransmit, moat.OrderServed, moat.DataDecrypt, moat.DataDelete:
		e.Mark(moat.FieldCount) // none, too, is said
	case moat.APICall:
		if e.Operation != "" {
			e.Mark(moat.FieldCount)
		}
	}
	delay := moat.Time(spread(r, float64(h.delay), 0.7))
	if operators(e.Type) {
		delay = moat.Time(between(r, 0.05, 2) * float64(moat.Second))
	} else if h.batch > 0 {
		delay += h.batch - happened%h.batch
		if h.batch >= 3*moat.Hour {
			m.w.note(lateBatch)
		}
	}
	if !operators(e.Type) && happened >= h.down && happened < h.up {
		delay += h.up - happened
		m.w.note(outage)
	}
	e.Received = happened + delay
	if s.by != nil {
		s.by.record(e)
	}
}

// operators tells whether events of a type are the platform's own.
func operators(t moat.EventType) bool {
	return t == moat.OrderServed || t == moat.Complaint || t == moat.CanaryTouch
}

// distort changes what a partner reports badly.
func (m *mail) distort(e *moat.Event, h *habits) {
	if h.skew != 0 && m.w.day < h.skewUntil {
		e.Time += h.skew
		m.w.note(wrongClock)
	}
	person := e.Type <= moat.OrderAccess || e.Type == moat.DataDecrypt
	if !person || e.ActorKind == moat.ActorService || e.ActorKind == moat.ActorSystem {
		return
	}
	if h.device != "" && e.Device != "" {
		e.Device = h.device
		m.w.note(constantDevice)
	}
	if len(h.private) > 0 && e.IP != "" {
		e.IP = h.private[int(word(e.IP)%uint64(len(h.private)))]
		m.w.note(privateAddress)
	}
	lacks := false
	drop := func(yes bool, s *string) {
		if yes && *s != "" {
			*s, lacks = "", true
		}
	}
	drop(h.noRole, &e.Role)
	drop(h.noSession, &e.Session)
	drop(h.noAgent, &e.UserAgent)
	drop(h.noDevice, &e.Device)
	if h.noFields && len(e.Fields) > 0 {
		e.Fields, lacks = nil, true
	}
	if lacks {
		m.w.note(missingFields)
	}
}
