package rule

import (
	"net/netip"
	"regexp"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
	"github.com/moat-platform/moat/discover/indicator"
)

// Frame is what a compiled expression sees: one event, what is known of its
// address, and the outputs of the features at this event. It is reused from event
// to event and must not be kept.
type Frame struct {
	Event *moat.Event
	// Look tells what is known of an address; nil = nothing.
	Look  func(ip string) Net
	Slots []float64
	// Stamp says, for the first slot of each feature, at which Epoch its outputs were computed. One that
	// is read and was not observed at this event is computed when an expression asks for it,
	// by Fill: most are never asked for.
	Stamp []uint32
	Epoch uint32
	Fill  func(first int)
	// Memos remember what patterns said of texts; see [Plan.NewFrame].
	Memos []Memo

	slots   unsafe.Pointer // of Slots and Stamp: where features write and are read, a hundred times an event
	stamps  unsafe.Pointer
	seed    HashSeed
	agents  []agentMemo
	day     dayMemo
	follows []followed
	buffer  [maxRoute]byte // of the text that was made last
	texts   []textMemo     // of the scene
	turn    uint64         // of the scene
	turns   uint64         // scenes that began
	scene   *Scene
	own     Scene
}

// Scene is what a frame works out about an event, so that it can turn to others and come back.
type Scene struct {
	event  *moat.Event
	turn   uint64
	texts  []textMemo // the first are those of entities
	net    Net
	agent  agent
	weight float64
	looked bool // net is known
	read   bool // agent is known
	judged bool // weight is known
	begins bool // a sitting
	// sitting is one that had this event alone; 0 = not worked out.
	sitting Sitting
}

// NewScene returns a scene for frames of p.
func (p *Plan) NewScene() Scene { return Scene{texts: make([]textMemo, p.Texts)} }

// textMemo remembers the hash of a text of the event of a turn: several features ask for the same.
type textMemo struct {
	turn uint64
	hash uint64
}

// Begin makes ev the event of the frame.
func (f *Frame) Begin(ev *moat.Event) { f.Open(&f.own, ev) }

// Open begins the scene of ev, which must stay as it is as long as somebody returns to it.
func (f *Frame) Open(sc *Scene, ev *moat.Event) {
	f.turns++
	sc.event, sc.turn, sc.looked, sc.read, sc.judged, sc.begins, sc.sitting = ev, f.turns, false, false, false, true, 0
	f.Return(sc)
}

// Return makes a scene that was opened the one that the frame sees.
func (f *Frame) Return(sc *Scene) {
	f.Event, f.scene, f.texts, f.turn = sc.event, sc, sc.texts, sc.turn
}

// hash returns the hash of s, which has that place among the texts that are remembered; 0 if it is empty.
func (f *Frame) hash(place int, s string) uint64 {
	m := &f.texts[place]
	if m.turn != f.turn {
		*m = textMemo{f.turn, f.seed.key(s)}
	}
	return m.hash
}

// followed remembers the hash of a text that follows from another, by the hash of that.
type followed struct{ from, hash uint64 }

// follow returns the hash of the text that is worked out by s from the text whose hash is given, and has that place; 0 if it is empty.
func (f *Frame) follow(text uint64, place int, s strFn) uint64 {
	if f.follows == nil {
		f.follows = make([]followed, memoSize)
	}
	from := Mix(text, uint64(place)) | 1
	m := &f.follows[from>>1%memoSize]
	if m.from != from {
		*m = followed{from, f.seed.key(s(f))}
	}
	f.texts[place] = textMemo{f.turn, m.hash}
	return m.hash
}

// Entity returns the hash of the id of the event's entity of that kind, 0 if it has none.
func (f *Frame) Entity(k moat.EntityKind) uint64 {
	m := &f.texts[k]
	if m.turn != f.turn {
		*m = textMemo{f.turn, f.seed.key(f.Event.EntityID(k))}
	}
	return m.hash
}

// entityTexts are the words of texts that are ids of entities, too, and share their places.
func entityTexts() map[string]int {
	return map[string]int{"event.app": int(moat.App), "event.host": int(moat.Host), "event.device": int(moat.Device), "event.ip": int(moat.IP), "event.outlet": int(moat.Outlet), "event.shop": int(moat.Shop), "event.user_agent": agentPlace, "event.session": sessionPlace}
}

// The places of the hashes of the event's user agent and session, behind those of entities.
const (
	agentPlace = int(moat.EntityKinds) + iota
	sessionPlace
)

// Net returns what is known of the event's address. It is looked up when it is first asked for: most
// conditions are decided before.
func (f *Frame) Net() *Net {
	sc := f.scene
	if !sc.looked {
		sc.net, sc.looked = Net{}, true
		if f.Event.IP != "" && f.Look != nil {
			sc.net = f.Look(f.Event.IP)
		}
	}
	return &sc.net
}

// Weight is the [Sensitivity] of the event.
func (f *Frame) Weight() float64 {
	if sc := f.scene; !sc.judged {
		sc.weight, sc.judged = Sensitivity(f.Event), true
	}
	return f.scene.weight
}

// text returns the first n bytes of the buffer. It is good until the next text is made there.
func (f *Frame) text(n int) string { return unsafe.String(&f.buffer[0], n) }

// NewFrame returns a frame for the expressions of p.
func (p *Plan) NewFrame() Frame {
	slots, stamps := make([]float64, p.Slots+feature.MaxOutputs), make([]uint32, p.Slots+1)
	return Frame{own: p.NewScene(), Slots: slots, Stamp: stamps, Memos: make([]Memo, p.Memos), seed: p.seed, slots: unsafe.Pointer(&slots[0]), stamps: unsafe.Pointer(&stamps[0])}
}

// at returns a slot of the feature whose first slot is given. Both are numbers that the compiler gave.
func (f *Frame) at(first, slot int) float64 {
	if *(*uint32)(unsafe.Add(f.stamps, first*4)) != f.Epoch {
		f.Fill(first)
	}
	return *(*float64)(unsafe.Add(f.slots, slot*8))
}

// Out says that the outputs of the feature with that first slot are of this event, and returns where they go: its
// slots and those after it.
func (f *Frame) Out(first int) *feature.Outputs {
	*(*uint32)(unsafe.Add(f.stamps, first*4)) = f.Epoch
	return (*feature.Outputs)(unsafe.Add(f.slots, first*8)) // there is room behind the last
}

// Memo remembers what one pattern said of the texts seen lately. Statements and paths repeat, and a
// hash costs a fiftieth of a match. It is a function of the text alone, so
// forgetting and remembering change nothing.
type Memo struct {
	entries []uint64 // the hash with its lowest bit replaced by the answer; 0 = empty
}

const memoSize = 4096

// recall tells what was learned of the text with that hash, if that is known still.
func (m *Memo) recall(h uint64) (is, known bool) {
	if m.entries == nil {
		m.entries = make([]uint64, memoSize)
	}
	h |= 2
	e := m.entries[h>>2%memoSize]
	return e&1 == 1, e&^1 == h&^1
}

// learn remembers whether re matches s, whose hash is given, and tells it.
func (m *Memo) learn(h uint64, re *regexp.Regexp, s string) bool {
	h = (h | 2) &^ 1
	is := re.MatchString(s)
	if is {
		h |= 1
	}
	m.entries[h>>2%memoSize] = h
	return is
}

// Net is what is known of a network address.
type Net struct {
	Spot    feature.Spot
	ASN     uint32
	Hosting bool // of a data centre
	VPN     bool
	Tor     bool
	Listed  bool // on public blocklists
	Private bool // not of the public Internet
	Mobile  bool // of a mobile carrier
	Self    bool // of the machine itself
}

// NetOf returns what the table knows of an address given as text.
func NetOf(t *indicator.Table, ip string) Net {
	var n Net
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return n
	}
	i := t.Lookup(addr)
	n.ASN = i.ASN
	n.Hosting, n.VPN, n.Tor = i.Kinds&indicator.Hosting != 0, i.Kinds&indicator.VPN != 0, i.Kinds&indicator.Tor != 0
	n.Listed, n.Private = i.Kinds&indicator.Listed != 0, i.Kinds&(indicator.Private|indicator.Loopback) != 0
	n.Mobile, n.Self = i.Kinds.Has(indicator.Mobile), i.Kinds.Has(indicator.Loopback)
	if len(i.Country) == 2 {
		n.Spot = feature.Spot{Known: true, Country: uint16(i.Country[0])<<8 | uint16(i.Country[1]), Lat: i.Lat, Lon: i.Lon, RadiusKM: i.RadiusKM}
	}
	return n
}

// truths is all that is true or false of n.
func (n *Net) truths() (set uint64) {
	for i, is := range [...]bool{n.Hosting, n.VPN, n.Tor, n.Listed, n.Private, n.Mobile, n.Self} {
		if is {
			set |= 1 << i
		}
	}
	return set
}

// Country returns the two letters of the country, or "".
func (n *Net) Country() string {
	if n.Spot.Country == 0 {
		return ""
	}
	return string([]byte{byte(n.Spot.Country >> 8), byte(n.Spot.Country)})
}

// unseen is the [Sensitivity] of what shows nothing of a person.
const unseen = 0.1

// Sensitivity is how much the event's data could harm the people that it is about, 0..1: the
// largest weight of a field that was shown in the clear. Fields that
// stayed encrypted or masked weigh 0.1; an event that does not say which fields it
// showed weighs 0.7, as order data without a phone number is rare.
func Sensitivity(e *moat.Event) float64 {
	if e.Encrypted {
		return unseen
	}
	if len(e.Fields) == 0 {
		return 0.7
	}
	w, goods, address := unseen, false, false
	phone := false
	for _, f := range e.Fields {
		switch f {
		case "phone", "email":
			phone = true
			w = max(w, 0.7)
		case "id_card", "payment":
			w = 1
		case "address":
			address = true
			w = max(w, 0.5)
		case "name":
			w = max(w, 0.3)
		case "goods", "tracking_no":
			goods = true
			w = max(w, 0.2)
		}
	}
	if phone && (address || goods) {
		w = 1
	}
	return w
}

// Leaves tells whether the event carries data out of the application: a file, a
// print, a transmission or a pull by a program, rather than a screen.
func Leaves(e *moat.Event) bool {
	switch e.Type {
	case moat.OrderTransmit:
		return true
	case moat.OrderAccess, moat.DataDecrypt, moat.APICall:
		switch e.Operation {
		case "print", "print_list", "export", "export_list", "download", "send", "api_pull":
			return true
		}
		return e.Type == moat.APICall && e.Touched() > 0
	case moat.DBQuery:
		return e.Rows > 1
	}
	return false
}
