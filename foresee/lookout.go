package foresee

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// The kinds of sighting, in its field kind.
const (
	met     = "met"     // an entity came to a partner, the first time in a shift of eight hours
	failed  = "failed"  // logins failed from an address: count of them in the hour, told at 1, 8, 64, …
	flagged = "flagged" // an entity was part of a finding of detector name, family service
	finding = "finding" // the partner had such a finding
	alive   = "alive"   // the partner sent events of type channel, the first time in an hour; count = orders in the hour of them before
	// Complaints have sightings of their own: see inquiry.
)

// shift is after how many hours it is told again that an entity is at a partner.
const shift = 8

const (
	// slots is how many pairs of partner and entity are remembered for the hour or shift. What falls out is told again,
	// under the same id, and counts once.
	slots    = 1 << 17
	ways     = 4 // slots that a pair may have: a cache line of them. With one, a tenth of 15,000 pairs displaced each other for ever
	setShift = 64 - 15
	// perSecond bounds the sightings of kind met in a second of event time: a flood of new addresses must not become a
	// flood of sightings, nor the start of a shift a second in which nobody is answered. What is over is told when it comes again later.
	perSecond = 1 << 10
	// maxHouses bounds the partners that are remembered.
	maxHouses = 1 << 16
)

// entry remembers that a pair was seen in an hour.
type entry struct {
	Key  uint64
	Hour uint32
	N    uint32
}

// pulse is what is kept of a partner.
type pulse struct {
	Hours   [moat.EventTypes]uint32 // in which each type came last
	Touched [moat.EventTypes]uint32 // orders in that hour
}

// lookout makes sightings of the events of one part of the log.
type lookout struct {
	seed   rule.HashSeed
	seal   *seal
	seen   [][ways]entry // of each, the newest first
	houses map[string]*house
	second int64
	made   int64 // in the second
	out    moat.BatchWriter

	Tide
	part, parts int
	run         string

	*house // of the last event: the next is mostly of the same
}

// house is a partner.
type house struct {
	name  string
	hash  uint64
	token string
	pulse
}

func newLookout(seed rule.HashSeed, s *seal) *lookout {
	return &lookout{seed: seed, seal: s, seen: make([][ways]entry, slots/ways), houses: map[string]*house{}}
}

// take returns the batch since the last take, nil if there is nothing in it. It holds until the next event.
func (l *lookout) take() []byte {
	l.mark()
	if l.out.Len() == 0 {
		return nil
	}
	b := slices.Clone(l.out.Bytes())
	l.out.Reset()
	return b
}

// see makes the sightings of an event. It costs a look into a small table for each entity of an event that begins a
// sitting, unless there is something to tell: with what the others come that one came, too.
func (l *lookout) see(ev *moat.Event, now moat.Time, begins bool, found []moat.Finding) {
	if l.house == nil || ev.Partner != l.name {
		l.turn(ev.Partner)
	}
	l.pass(ev)
	hour := uint32(now / moat.Hour)
	_, veiled := moat.Unveiled(ev.Partner)
	if l.Hours[ev.Type] != hour && ev.Type != moat.CanaryTouch && !veiled { // no partner waits for these
		l.alive(ev, now, hour)
	}
	if n := ev.Touched(); n > 0 {
		t := &l.Touched[ev.Type]
		*t = uint32(min(int64(*t)+n, 1<<31))
	}
	switch ev.Type {
	case moat.Complaint:
		l.complained(ev, now, hour, found)
		return
	case moat.OrderServed, moat.CanaryTouch:
		return // the operator's own, or a customer's: whom it names came to nobody
	case moat.AuthLogin:
		if ev.Outcome == moat.Failure {
			l.failed(ev, now, hour)
		} else if begins {
			l.meet(ev, now, hour, moat.Account, ev.Actor)
		}
	case moat.OrderTransmit:
		l.meet(ev, now, hour, moat.Host, rule.HostOf(ev.Destination))
	case moat.Heartbeat:
		l.meet(ev, now, hour, moat.App, release(ev))
	}
	if begins {
		l.meet(ev, now, hour, moat.IP, ev.IP)
		l.meet(ev, now, hour, moat.Device, ev.Device)
	}
	for i := range found {
		if found[i].Mode != moat.Shadow && !found[i].Background { // those who guess everywhere are no campaign
			l.flag(ev, now, hour, &found[i])
		}
	}
}

// turn takes up another partner.
func (l *lookout) turn(partner string) {
	if l.house = l.houses[partner]; l.house != nil {
		return
	}
	partner = string(append([]byte(nil), partner...))
	l.house = &house{name: partner, hash: l.seed.Text(partner), token: l.seal.name("partner", partner)}
	if len(l.houses) < maxHouses {
		l.houses[partner] = l.house
	}
}

// release is an app with its version, "" if either is missing.
func release(ev *moat.Event) string {
	if ev.App == "" || ev.Version == "" {
		return ""
	}
	return ev.App + "@" + ev.Version
}

// find returns the entry of a pair, or nil.
func (l *lookout) find(key uint64) *entry {
	set := &l.seen[key>>setShift]
	for i := range set {
		if e := &set[i]; e.Key == key && e.N > 0 {
			return e
		}
	}
	return nil
}

// remember counts how often a pair was seen in the hour.
func (l *lookout) remember(key uint64, hour uint32) uint32 {
	e := l.find(key)
	if e == nil {
		set := &l.seen[key>>setShift]
		copy(set[1:], set[:])
		set[0] = entry{key, hour, 0}
		e = &set[0]
	}
	if e.Hour != hour {
		e.Hour, e.N = hour, 0
	}
	e.N++
	return e.N
}

// known tells whether a pair was seen in the hour.
func (l *lookout) known(key uint64, hour uint32) bool {
	e := l.find(key)
	return e != nil && e.Hour == hour
}

func (l *lookout) meet(ev *moat.Event, now moat.Time, hour uint32, k moat.EntityKind, id string) {
	if id == "" {
		return
	}
	hour = hour / shift * shift
	key := rule.Mix(l.seed.Text(id), l.hash+uint64(k))
	if l.known(key, hour) {
		return
	}
	if second := int64(now / moat.Second); second != l.second {
		l.second, l.made = second, 0
	}
	if l.made >= perSecond || k == moat.IP && !public(id) {
		return
	}
	l.made++
	l.remember(key, hour)
	l.tell(ev, now, hour, &moat.Event{Kind: met}, k, id)
}

// public tells whether an address means the same to everybody.
func public(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsGlobalUnicast() && !a.IsPrivate()
}

func (l *lookout) failed(ev *moat.Event, now moat.Time, hour uint32) {
	if ev.IP == "" {
		return
	}
	n := l.remember(rule.Mix(l.seed.Text(ev.IP), l.hash+failedSalt), hour)
	if n&(n-1) == 0 && n&0x49249249 != 0 && public(ev.IP) { // 1, 8, 64, …
		l.tell(ev, now, hour, &moat.Event{Kind: failed, Count: int64(n)}, moat.IP, ev.IP)
	}
}

const failedSalt = 0x6661696c

// alive tells that a channel of the partner works. It is not bounded by perMinute: there are few, and silence must mean something.
func (l *lookout) alive(ev *moat.Event, now moat.Time, hour uint32) {
	n := l.Touched[ev.Type]
	l.Hours[ev.Type], l.Touched[ev.Type] = hour, 0
	if ev.Flags&moat.FlagQuestion != 0 {
		return
	}
	l.tell(ev, now, hour, &moat.Event{Kind: alive, Channel: ev.Type.String(), Count: int64(n)}, moat.Peers, ev.Type.String())
}

// complained tells which order a complaint is about, and whether it made a detector find that there are many.
func (l *lookout) complained(ev *moat.Event, now moat.Time, hour uint32, found []moat.Finding) {
	rise := ""
	for i := range found {
		if found[i].Mode != moat.Shadow {
			rise = "surge"
		}
	}
	if ev.Seq > 0 && rise == "" {
		return // one stop more on the way of an order that was told
	}
	for _, o := range ev.Orders {
		if o == "" {
			continue
		}
		l.tell(ev, now, hour, &moat.Event{Kind: complained, Name: rise, ContactedAt: ev.ContactedAt, Reporter: ev.Reporter}, moat.Partner, o)
	}
}

// flag tells of a finding, and of what came with it.
func (l *lookout) flag(ev *moat.Event, now moat.Time, hour uint32, f *moat.Finding) {
	tell := func(kind string, k moat.EntityKind, id string) {
		if id == "" || k == moat.IP && !public(id) {
			return
		}
		key := rule.Mix(rule.Mix(l.seed.Text(id), l.hash+uint64(k)), l.seed.Text(f.Detector))
		if l.remember(key, hour) == 1 {
			l.tell(ev, now, hour, &moat.Event{Kind: kind, Name: f.Detector, Service: f.Family, Count: int64(1000 * f.Score)}, k, id)
		}
	}
	tell(finding, moat.Partner, f.Partner)
	if f.Entity.Kind == moat.Partner {
		return // says nothing of whose event it was
	}
	tell(flagged, moat.IP, ev.IP)
	tell(flagged, moat.Device, ev.Device)
	tell(flagged, moat.Host, rule.HostOf(ev.Destination))
	tell(flagged, moat.App, release(ev))
}

// tell completes a sighting and adds it to the batch.
func (l *lookout) tell(ev *moat.Event, now moat.Time, hour uint32, s *moat.Event, k moat.EntityKind, id string) {
	s.Partner, s.Type, s.Time, s.Received, s.Flags = Everyone, moat.Sighting, now, ev.Received, ev.Flags&moat.FlagHistory
	if s.Outlet = l.token; l.parts > 0 {
		s.Seq = int64(max(ev.Received, l.Upto))
	}
	own := id
	switch k {
	case moat.IP:
		s.IP = l.seal.name("ip", id)
	case moat.Device:
		s.Device = l.seal.name("device", id)
	case moat.Host:
		s.Host, own = l.seal.name("host", id), ev.Destination
	case moat.Account:
		s.Actor = l.seal.name("account", id)
	case moat.App:
		s.App, s.Version, own = l.seal.name("app", id), ev.Version, ev.App
	case moat.Peers: // a channel is its partner's alone
		s.Role = l.seal.name("channel", l.name, id)
	}
	level := ""
	if s.Kind == failed {
		level = strconv.FormatInt(s.Count, 10)
	}
	s.Token = l.seal.close(l.name, own, ev.ID)
	s.ID = l.seal.name(s.Kind, l.name, k.String(), id, s.Name, strconv.Itoa(int(hour)), level)
	s.MarkAll()
	l.out.Append(s)
}

// append writes the state.
func (l *lookout) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(l.second))
	b = binary.LittleEndian.AppendUint64(b, uint64(l.made))
	var used []entry
	for i := range l.seen {
		for _, e := range l.seen[i] {
			if e.N > 0 {
				used = append(used, e)
			}
		}
	}
	b = lengthed(b, must(binary.Append(nil, binary.LittleEndian, used)))
	var p []byte
	for _, name := range slices.Sorted(maps.Keys(l.houses)) {
		p = lengthed(p, []byte(name))
		p = must(binary.Append(p, binary.LittleEndian, &l.houses[name].pulse))
	}
	return lengthed(b, p)
}

// must is for writing to memory, which cannot fail.
func must(b []byte, err error) []byte {
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

func (l *lookout) read(r io.Reader) error {
	var n [2]uint64
	if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
		return err
	}
	l.second, l.made = int64(n[0]), int64(n[1])
	b, err := readPart(r)
	if err != nil {
		return err
	}
	used := make([]entry, len(b)/16)
	if _, err := binary.Decode(b, binary.LittleEndian, used); err != nil && len(used) > 0 {
		return err
	}
	for _, e := range used {
		set := &l.seen[e.Key>>setShift]
		if i := slices.IndexFunc(set[:], func(o entry) bool { return o.N == 0 }); i >= 0 {
			set[i] = e
		}
	}
	if b, err = readPart(r); err != nil {
		return err
	}
	for rest := bytes.NewReader(b); rest.Len() > 0; {
		name, err := readPart(rest)
		if err != nil {
			return err
		}
		l.turn(string(name))
		if err := binary.Read(rest, binary.LittleEndian, &l.pulse); err != nil {
			return err
		}
	}
	return nil
}
