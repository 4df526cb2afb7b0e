package moat

import (
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// The codes of a [Problem]. They are part of the public contract.
const (
	// CodeSize: the text of the event is over [MaxLine] bytes.
	CodeSize = "size"
	// CodeUTF8: the text is not valid UTF-8.
	CodeUTF8 = "utf8"
	// CodeJSON: the text is not one JSON object.
	CodeJSON = "json"
	// CodeDepth: objects and lists are nested more than [MaxDepth] deep.
	CodeDepth = "depth"
	// CodeType: the event type is unknown.
	CodeType = "type"
	// CodeTime: a time is neither RFC 3339 nor an integer in range.
	CodeTime = "time"
	// CodeMissing: a field that this type must carry is not given, or empty.
	CodeMissing = "missing"
	// CodeTooLong: a text has more bytes than its field allows.
	CodeTooLong = "too_long"
	// CodeTooMany: a list has more elements than its field allows.
	CodeTooMany = "too_many"
	// CodeValue: a value is of the wrong JSON type, or not one of those allowed.
	CodeValue = "value"
	// CodeForbidden: the sender may not set this field.
	CodeForbidden = "forbidden"
)

// Bounds of one event in JSON.
const (
	MaxLine  = 1 << 20 // bytes
	MaxDepth = 32      // nested objects and lists, the event's own included
)

// Problem says why an event is not within the contract. It is safe to show to
// the sender: it quotes at most 40 bytes of a value.
type Problem struct {
	Code    string `json:"code"`            // one of the Code constants
	Field   string `json:"field,omitempty"` // JSON name; "a or b" when either would do
	Message string `json:"message"`         // what is wrong and what is wanted
}

// Error returns the field and the message.
func (p *Problem) Error() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}

// quote returns s in quotes, cut to 40 bytes.
func quote(s string) string {
	const most = 40
	if len(s) <= most {
		return fmt.Sprintf("%q", s)
	}
	n := most
	for n > most-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%q…", s[:n])
}

// need is fields of which an event must carry one; a single field stands twice.
type need [2]FieldID

var needs = [EventTypes][]need{
	AuthLogin:     {{FieldActor, FieldActor}, {FieldOutcome, FieldOutcome}},
	AuthLogout:    {{FieldActor, FieldActor}},
	AuthChallenge: {{FieldActor, FieldActor}, {FieldOutcome, FieldOutcome}},
	AccountChange: {{FieldActor, FieldActor}, {FieldObject, FieldObject}, {FieldChange, FieldChange}},
	OrderAccess:   {{FieldActor, FieldActor}, {FieldOperation, FieldOperation}, {FieldOrders, FieldCount}},
	OrderTransmit: {{FieldOrders, FieldCount}, {FieldDestination, FieldDestination}},
	OrderServed:   {{FieldApp, FieldApp}, {FieldOrders, FieldCount}},
	DataDecrypt:   {{FieldActor, FieldActor}, {FieldOrders, FieldCount}},
	DataDelete:    {{FieldOrders, FieldCount}},
	DBQuery:       {{FieldActor, FieldApp}, {FieldStatement, FieldTemplate}},
	APICall:       {{FieldMethod, FieldMethod}},
	HTTPRequest:   {{FieldMethod, FieldMethod}, {FieldPath, FieldPath}},
	HostLogin:     {{FieldActor, FieldActor}, {FieldHost, FieldHost}, {FieldOutcome, FieldOutcome}},
	HostProcess:   {{FieldHost, FieldHost}, {FieldExe, FieldExe}},
	HostFile:      {{FieldHost, FieldHost}, {FieldPath, FieldPath}, {FieldOperation, FieldOperation}},
	HostNetwork:   {{FieldHost, FieldHost}, {FieldPeer, FieldPeer}},
	HostMalware:   {{FieldHost, FieldHost}, {FieldPath, FieldPath}, {FieldName, FieldName}},
	ClientSignal:  {{FieldDevice, FieldDevice}},
	Complaint:     {{FieldOrders, FieldOrders}},
	CanaryTouch:   {{FieldOrders, FieldToken}},
	Heartbeat:     {{FieldHost, FieldApp}},
	Sighting:      {{FieldComplaintKind, FieldComplaintKind}},
}

// Needs returns what events of type t must carry besides type and time: of each
// group one field at least, not empty. It returns nil for an unknown type.
func (t EventType) Needs() [][]FieldID {
	if t >= EventTypes {
		return nil
	}
	var groups [][]FieldID
	for _, n := range needs[t] {
		if n[0] == n[1] {
			groups = append(groups, []FieldID{n[0]})
		} else {
			groups = append(groups, []FieldID{n[0], n[1]})
		}
	}
	return groups
}

// carries tells whether f is given and, if it is text or a list, not empty.
func (e *Event) carries(f FieldID) bool {
	if !e.Has(f) {
		return false
	}
	switch field := &Fields[f]; field.Kind {
	case KindString, KindObject:
		return *field.stringOf(e) != ""
	case KindStrings:
		return len(*field.stringsOf(e)) > 0
	}
	return true
}

// checkNeeds returns what e must carry and does not.
func (e *Event) checkNeeds() *Problem {
	if e.Type == NoType || !e.Has(FieldType) {
		return &Problem{CodeMissing, Fields[FieldType].Name, "every event needs a type"}
	}
	if e.Time == 0 || !e.Has(FieldTime) {
		return &Problem{CodeMissing, Fields[FieldTime].Name, "every event needs the time when it happened"}
	}
	for _, n := range needs[e.Type] {
		if !e.carries(n[0]) && !e.carries(n[1]) {
			name := Fields[n[0]].Name
			if n[0] != n[1] {
				name += " or " + Fields[n[1]].Name
			}
			return &Problem{CodeMissing, name, e.Type.String() + " needs " + name}
		}
	}
	return nil
}

// Check returns a *[Problem] if the given fields of e are not within the
// contract. A [Decoder] has checked what it returns; call Check for events
// that were filled by hand or come in a batch from outside. What a batch from outside says of
// partner, receipt and flags is its sender's word: overwrite it.
func (e *Event) Check() error {
	if e.Type >= EventTypes {
		return &Problem{CodeType, Fields[FieldType].Name, fmt.Sprintf("unknown event type %d", e.Type)}
	}
	for w, m := range e.given() {
		for ; m != 0; m &= m - 1 {
			if p := Fields[w<<6+bits.TrailingZeros64(m)].check(e); p != nil {
				return p
			}
		}
	}
	if p := e.checkNeeds(); p != nil {
		return p
	}
	return nil
}

// check returns what is wrong with the value of f in e.
func (f *Field) check(e *Event) *Problem {
	switch f.Kind {
	case KindString:
		return f.checkText(*f.stringOf(e))
	case KindObject:
		s := *f.stringOf(e)
		if p := f.checkText(s); p != nil {
			return p
		}
		if end, _ := skipValue(s, 0, 1); end != len(s) || s[0] != '{' || strings.ContainsAny(s, "\r\n") {
			return &Problem{CodeValue, f.Name, "want a JSON object on one line"}
		}
	case KindStrings:
		list := *f.stringsOf(e)
		if len(list) > f.MaxItems {
			return f.tooMany()
		}
		for _, s := range list {
			if p := f.checkText(s); p != nil {
				return p
			}
		}
	case KindInt:
		if *f.intOf(e) < 0 {
			return f.wrongType()
		}
	case KindTime:
		if t := *f.timeOf(e); t <= 0 || t >= endOfTime {
			return &Problem{CodeTime, f.Name, "want a time in the years 1970–9999"}
		}
	case KindEnum:
		if v := *f.enumOf(e); int(v) >= len(f.Enum) {
			return f.unknown(fmt.Sprint(v))
		}
	}
	return nil
}

// checkText returns what is wrong with one text of f.
func (f *Field) checkText(s string) *Problem {
	if len(s) > f.Max {
		return f.tooLong(len(s))
	}
	if !utf8.ValidString(s) {
		return &Problem{CodeUTF8, f.Name, "not valid UTF-8"}
	}
	return nil
}

func (f *Field) tooLong(n int) *Problem {
	return &Problem{CodeTooLong, f.Name, fmt.Sprintf("%d bytes; want at most %d", n, f.Max)}
}

func (f *Field) tooMany() *Problem {
	return &Problem{CodeTooMany, f.Name, fmt.Sprintf("more than %d elements; split the event", f.MaxItems)}
}

// unknown is for a text that is not in the enumeration f.
func (f *Field) unknown(s string) *Problem {
	if f.ID == FieldType {
		return &Problem{CodeType, f.Name, "unknown event type " + quote(s)}
	}
	return &Problem{CodeValue, f.Name, "unknown value " + quote(s) + "; want one of " + strings.Join(f.Enum, ", ")}
}

// wrongType is for a JSON value that is not of the kind of f.
func (f *Field) wrongType() *Problem {
	want := map[FieldKind]string{KindString: "a string", KindStrings: "a list of strings", KindInt: "an integer from 0 to 2^63-1",
		KindBool: "true or false", KindEnum: "a string", KindObject: "an object"}[f.Kind]
	if f.Kind == KindTime {
		return f.wrongTime("")
	}
	return &Problem{CodeValue, f.Name, "want " + want}
}

func (f *Field) wrongTime(s string) *Problem {
	m := "want RFC 3339, or an integer of s, ms or µs since 1970, in the years 1970–9999"
	if s != "" {
		m += ", not " + quote(s)
	}
	return &Problem{CodeTime, f.Name, m}
}
