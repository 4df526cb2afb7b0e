package moat

import (
	"fmt"
	"slices"
	"strconv"
)

// EventType says what happened.
type EventType uint8

// The types of the event contract, version 1. Their numbers are stored in
// logs and must never change; new types are added at the end.
const (
	NoType EventType = iota
	AuthLogin
	AuthLogout
	AuthChallenge
	AccountChange
	OrderAccess
	OrderTransmit
	OrderServed
	DataDecrypt
	DataDelete
	DBQuery
	APICall
	HTTPRequest
	HostLogin
	HostProcess
	HostFile
	HostNetwork
	HostMalware
	ClientSignal
	Complaint
	CanaryTouch
	Heartbeat
	Sighting   // of Moat itself: what was seen across partners; nobody sends it
	EventTypes // how many there are, NoType included
)

var typeNames = [EventTypes]string{"", "auth.login", "auth.logout", "auth.challenge", "account.change", "order.access", "order.transmit",
	"order.served", "data.decrypt", "data.delete", "db.query", "api.call", "http.request", "host.login", "host.process", "host.file",
	"host.network", "host.malware", "client.signal", "complaint", "canary.touch", "heartbeat", "sighting"}

// ActorKind says what sort of account acted.
type ActorKind uint8

// The kinds of actor; an event that names none is a user's.
const (
	ActorUser ActorKind = iota
	ActorService
	ActorAdmin
	ActorSystem
	actorKinds
)

var actorKindNames = [actorKinds]string{"user", "service", "admin", "system"}

// Outcome says how an act ended.
type Outcome uint8

// The outcomes; an event that names none succeeded.
const (
	Success Outcome = iota
	Failure
	Denied
	Challenged
	outcomes
)

var outcomeNames = [outcomes]string{"success", "failure", "denied", "challenged"}

// Flag is a mark that Moat puts on an event when it takes it in.
type Flag uint8

// The flags of an event.
const (
	// FlagClock: the time was over 5 minutes ahead of receipt, or over 30 days behind it.
	FlagClock Flag = 1 << iota
	// FlagHistory: loaded from a file, so that receipt says nothing about the sender's clock.
	FlagHistory
	// FlagQuestion: it came as a synchronous question.
	FlagQuestion
)

// Event is one act on order data, or one that bears on its safety: the public
// event contract, version 1. A field that is not given has its zero value;
// [Event.Has] tells the difference between "not given" and "given as zero".
//
// Events that come out of a [Decoder] or a [BatchReader] are views: their
// strings and slices alias the buffer that they were decoded from, and the
// decoder reuses the Event. Use [Event.Clone] to keep one. An Event is
// not safe for concurrent writing.
//
// Which fields a type must carry, and all limits, are in [Fields].
type Event struct {
	has [2]uint64

	// Set by Moat, never by a partner.
	Partner  string // tenant whose event it is, from the credentials
	Received Time   // when Moat took it in
	Flags    Flag

	ID        string // unique per partner
	Time      Time   // when it happened
	Type      EventType
	ActorKind ActorKind
	Outcome   Outcome

	Actor     string // the person's account inside the app
	Role      string // job of the account
	App       string
	Shops     []string
	IP        string
	Device    string
	UserAgent string
	Session   string
	Host      string
	Outlet    string
	URL       string
	Operation string
	Reason    string
	Orders    []string
	Count     int64 // records touched
	Fields    []string
	Encrypted bool
	Bytes     int64
	Extra     string // a JSON object, verbatim

	// Fields of single types.
	Method          string
	MFA             bool
	Object          string
	Change          string
	Before          string
	After           string
	FileHash        string
	Destination     string
	DestinationKind string
	Purpose         string
	Statement       string
	Template        string
	DB              string
	Tables          []string
	Rows            int64
	DurationMS      int64
	Client          string
	Status          int64
	LatencyMS       int64
	KeyID           string
	Path            string
	Referer         string
	WAF             []string
	Service         string
	Exe             string
	Args            string
	Parent          string
	User            string
	PID             int64
	Hash            string
	Verdict         string
	Peer            string
	Port            int64
	Direction       string
	Name            string
	Action          string
	Webdriver       bool
	Headless        bool
	Tampered        bool
	Script          string
	Timezone        string
	Language        string
	Kind            string
	ContactedAt     Time
	Token           string
	Channel         string
	Version         string
	Seq             int64
	Sent            int64
	Reporter        string
}

// Touched is the number of order records the event touched: the larger of
// Count and the orders that it names.
func (e *Event) Touched() int64 { return max(e.Count, int64(len(e.Orders))) }

// Has tells whether the sender gave field f.
func (e *Event) Has(f FieldID) bool { return e.has[f>>6]&(1<<(f&63)) != 0 }

// Mark records that field f is given; code that fills an Event by hand calls
// it for zero values that mean something. [Event.MarkAll] does so for all others.
func (e *Event) Mark(f FieldID) { e.has[f>>6] |= 1 << (f & 63) }

// Conclude gives an event that names no outcome the one that its status, of HTTP, says: refused, or failed. An
// event without either succeeded. Whoever makes events does so before anyone looks at the outcome.
func (e *Event) Conclude() {
	if e.Status < 400 || e.Has(FieldOutcome) {
		return
	}
	switch e.Status {
	case 401, 403, 407, 429:
		e.Outcome = Denied
	default:
		e.Outcome = Failure
	}
	e.Mark(FieldOutcome)
}

// EntityID returns the id of e's entity of kind k, or "" if the event concerns
// none of that kind. Orders are many: for them it returns "". An event is a shop's if it names no other.
// A job's actor ("system") is no account.
func (e *Event) EntityID(k EntityKind) string {
	switch k {
	case Account:
		if e.ActorKind == ActorSystem {
			return ""
		}
		return e.Actor
	case App:
		return e.App
	case Host:
		return e.Host
	case Device:
		return e.Device
	case IP:
		return e.IP
	case Outlet:
		return e.Outlet
	case Partner:
		return e.Partner
	case Shop:
		if len(e.Shops) == 1 {
			return e.Shops[0]
		}
		return ""
	case Peers:
		if e.ActorKind == ActorSystem {
			return ""
		}
		return e.Role
	}
	return ""
}

// SetText sets the field of that JSON name from text: a whole number, true or false,
// a time, the word of an enumeration; split makes the elements of a list of it.
func (e *Event) SetText(name, text string, split func(string) []string) error {
	f := FieldByName(name)
	if f == nil {
		return fmt.Errorf("the event has no field %.40q", name)
	}
	switch f.Kind {
	case KindString, KindObject:
		*f.stringOf(e) = text
	case KindStrings:
		*f.stringsOf(e) = split(text)
	case KindInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%s wants a whole number, not %.40q", name, text)
		}
		*f.intOf(e) = n
	case KindBool:
		*f.boolOf(e) = text == "true"
	case KindTime:
		t, err := ParseTime(text)
		if err != nil {
			return err
		}
		*f.timeOf(e) = t
	case KindEnum:
		i := slices.Index(f.Enum, text)
		if i < 0 {
			return fmt.Errorf("%s is never %.40q", name, text)
		}
		*f.enumOf(e) = uint8(i)
	}
	e.Mark(f.ID)
	return nil
}
