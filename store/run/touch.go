package run

import (
	"encoding/binary"
	"slices"
	"unsafe"

	moat "github.com/moat-platform/moat"
)

// Touch is what is kept of one event.
type Touch struct {
	Time moat.Time `json:"time"`
	Source
	Act
	Shops []string `json:"shops,omitempty"`
	Count int64    `json:"count"`           // order records touched
	Event string   `json:"event,omitempty"` // id of the event
	// Orders are the ids that the event named; only of sets that keep them.
	Orders []string `json:"orders,omitempty"`
	At     At       `json:"at"`
}

// Source is from whom and where an event came.
type Source struct {
	Partner string `json:"partner"`
	App     string `json:"app,omitempty"`
	Outlet  string `json:"outlet,omitempty"`
	Role    string `json:"role,omitempty"`
	Actor   string `json:"actor,omitempty"`
	Device  string `json:"device,omitempty"`
	IP      string `json:"ip,omitempty"`
	Version string `json:"version,omitempty"` // of the app

	ActorKind moat.ActorKind `json:"-"`
}

// Act is what was done, and through which server to which end.
type Act struct {
	Type            moat.EventType `json:"-"`
	Outcome         moat.Outcome   `json:"-"`
	Encrypted       bool           `json:"encrypted,omitempty"` // the fields stayed encrypted or masked
	Host            string         `json:"host,omitempty"`
	Operation       string         `json:"operation,omitempty"`
	Destination     string         `json:"destination,omitempty"`
	DestinationKind string         `json:"destination_kind,omitempty"`
	Fields          []string       `json:"fields,omitempty"` // sensitive fields shown
}

// At is where an event stands in the log. Events are ordered by time, and
// those of one time by their place in the log.
type At struct {
	Partition int    `json:"partition"`
	Seq       uint64 `json:"seq"` // of the message
	Row       uint32 `json:"row"` // of the event in the message
}

// Compare orders touches by time and, at one time, by their place in the log.
func (t *Touch) Compare(o *Touch) int {
	switch {
	case t.Time != o.Time:
		return sign(t.Time < o.Time)
	case t.At.Partition != o.At.Partition:
		return sign(t.At.Partition < o.At.Partition)
	case t.At.Seq != o.At.Seq:
		return sign(t.At.Seq < o.At.Seq)
	case t.At.Row != o.At.Row:
		return sign(t.At.Row < o.At.Row)
	}
	return 0
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// Part is a group of fields that are kept together, once for all events that
// share them: hundreds of events share a source, thousands an act.
type Part uint8

// The parts of an event.
const (
	PartSource Part = iota // the fields of [Source]
	PartAct                // the fields of [Act]
	PartShops              // the shops
	parts
)

// A part is stored as the partner, so that keys of a partner follow from any
// part, and its fields one after the other, each with its length.

func appendText(b []byte, s string) []byte {
	if len(s) < 0x80 { // as nearly always
		b = append(b, byte(len(s)))
	} else {
		b = binary.AppendUvarint(b, uint64(len(s)))
	}
	return append(b, s...)
}

// appendPart appends part p of e to b.
func appendPart(b []byte, p Part, e *moat.Event) []byte {
	b = appendText(b, e.Partner)
	switch p {
	case PartSource:
		// The widest first: sorted neighbours then share most of their bytes.
		for _, s := range [...]string{e.App, e.Outlet, e.Role, e.Actor, e.Device, e.IP} {
			b = appendText(b, s)
		}
		b = append(b, byte(e.ActorKind))
		if e.Version != "" { // files of before end here
			b = appendText(b, e.Version)
		}
	case PartAct:
		b = append(b, byte(e.Type), byte(e.Outcome)<<1|oneIf(e.Encrypted))
		for _, s := range [...]string{e.Operation, e.DestinationKind, e.Destination, e.Host} {
			b = appendText(b, s)
		}
		for _, s := range e.Fields {
			b = appendText(b, s)
		}
	case PartShops:
		for _, s := range e.Shops {
			b = appendText(b, s)
		}
	}
	return b
}

func oneIf(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// fields reads the parts that appendPart wrote; bad is set by broken bytes.
type fields struct {
	b    []byte
	bad  bool
	view bool // texts are views of b
}

func (f *fields) text() string {
	if b := f.skip(); !f.view {
		return string(b)
	} else {
		return unsafe.String(unsafe.SliceData(b), len(b))
	}
}

func (f *fields) skip() []byte {
	n, k := binary.Uvarint(f.b)
	if k <= 0 || n > uint64(len(f.b)-k) {
		f.b, f.bad = nil, true
		return nil
	}
	s := f.b[k : k+int(n)]
	f.b = f.b[k+int(n):]
	return s
}

func (f *fields) list() (l []string) {
	for len(f.b) > 0 {
		l = append(l, f.text())
	}
	return slices.Clip(l)
}

func (f *fields) byte() byte {
	if len(f.b) == 0 {
		f.bad = true
		return 0
	}
	c := f.b[0]
	f.b = f.b[1:]
	return c
}

func (f *fields) source() (Source, bool) {
	s := Source{Partner: f.text(), App: f.text(), Outlet: f.text(), Role: f.text(), Actor: f.text(), Device: f.text(), IP: f.text(), ActorKind: moat.ActorKind(f.byte())}
	if len(f.b) > 0 {
		s.Version = f.text()
	}
	return s, !f.bad && len(f.b) == 0
}

func (f *fields) act() (Act, bool) {
	f.skip()
	a := Act{Type: moat.EventType(f.byte())}
	flags := f.byte()
	a.Outcome, a.Encrypted = moat.Outcome(flags>>1), flags&1 == 1
	a.Operation, a.DestinationKind, a.Destination, a.Host = f.text(), f.text(), f.text(), f.text()
	a.Fields = f.list()
	return a, !f.bad
}

func (f *fields) shops() ([]string, bool) {
	f.skip()
	l := f.list()
	return l, !f.bad
}

// viewPart sets the partner and the fields of part p of t to views of b, which
// appendPart wrote.
func (t *Touch) viewPart(p Part, b []byte) (ok bool) {
	f := fields{b: b, view: true}
	t.Partner = f.text()
	f.b = b
	switch p {
	case PartSource:
		t.Source, ok = f.source()
	case PartAct:
		t.Act, ok = f.act()
	case PartShops:
		t.Shops, ok = f.shops()
	}
	return ok
}
