package ingest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/moat-platform/moat"
)

// How far an event's time may be from its receipt before it is flagged.
const (
	clockAhead  = 5 * moat.Minute
	clockBehind = 30 * moat.Day
)

// minKey is the least length of the key of keyed hashes, in bytes.
const minKey = 16

var idText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Normaliser brings events into the one form in which they are kept. It is not
// safe for concurrent use; the strings that it makes live until its next call.
type Normaliser struct {
	mac   hash.Hash
	sum   [sha256.Size]byte
	canon [64 + 256]byte    // a phone number or address in its one form
	value [maxInjected]byte // of a query, while it is looked at
	arena []byte
	json  []byte

	unplaced bool // complaints of the operator need no partner: a [Watch] finds it
}

// NewNormaliser returns a normaliser whose hashes of ids, phone numbers and e-mail
// addresses are keyed with key. It must be secret, at least 16 bytes, and
// the same for as long as events are to be compared.
func NewNormaliser(key []byte) (*Normaliser, error) {
	if len(key) < minKey {
		return nil, fmt.Errorf("cannot make normaliser: key has %d bytes, want at least %d", len(key), minKey)
	}
	return &Normaliser{mac: hmac.New(sha256.New, key), arena: make([]byte, 0, 4<<10)}, nil
}

// maxTouched is more than anybody has: one event that claims more would drown all sums that people look at.
const maxTouched = 1_000_000_000

// Normalise stamps e with sender and receipt and brings it into normal form, or
// returns a *[moat.Problem] if it may not come in. Strings of e are then views into
// what they were before or into memory of n.
func (n *Normaliser) Normalise(e *moat.Event, from Caller, received moat.Time) error {
	n.arena = n.arena[:0]
	if p := n.stamp(e, from); p != nil {
		return p
	}
	e.Received = received
	if e.Time > received+clockAhead || e.Time < received-clockBehind {
		e.Flags |= moat.FlagClock
	}
	if e.ID == "" {
		n.identify(e)
	}
	return n.clean(e)
}

// clean is the part of Normalise that does not depend on sender and time.
func (n *Normaliser) clean(e *moat.Event) error {
	if p := n.ip(e); p != nil {
		return p
	}
	if e.Count > maxTouched || e.Rows > maxTouched {
		return problem(moat.CodeValue, moat.FieldCount, "one event touches a billion orders or rows at most")
	}
	if e.Device != "" && strings.Trim(e.Device, "0") == "" {
		e.Device = ""
	}
	if isSystem(e.Actor) {
		e.Actor, e.ActorKind = "system", moat.ActorSystem
		e.Mark(moat.FieldActorKind)
	}
	e.Conclude()
	if e.Operation != "" && e.Type != moat.HostFile {
		n.operation(e)
	}
	if e.Statement != "" || e.Template != "" {
		n.statement(e)
	}
	n.mark(e)
	n.location(&e.URL, moat.FieldURL)
	n.location(&e.Referer, moat.FieldReferer)
	if e.Type == moat.HTTPRequest {
		n.location(&e.Path, moat.FieldPath)
	} else {
		n.text(&e.Path, moat.FieldPath)
	}
	n.location(&e.Script, moat.FieldScript)
	n.text(&e.Reason, moat.FieldReason)
	n.text(&e.Args, moat.FieldArgs)
	n.text(&e.Before, moat.FieldBefore)
	n.text(&e.After, moat.FieldAfter)
	n.text(&e.Purpose, moat.FieldPurpose)
	n.text(&e.Destination, moat.FieldDestination)
	if e.Type == moat.Complaint {
		n.text(&e.Channel, moat.FieldChannel)
	}
	if e.Extra != "" {
		n.extra(e)
	}
	return nil
}

// stamp sets partner and app from the credentials, and refuses what the sender may not send.
func (n *Normaliser) stamp(e *moat.Event, from Caller) *moat.Problem {
	if e.Type == moat.Sighting {
		return problem(moat.CodeForbidden, moat.FieldType, "only Moat itself makes a sighting")
	}
	if !from.Operator {
		if e.Partner != "" && e.Partner != from.Partner {
			return problem(moat.CodeForbidden, moat.FieldPartner, "the partner follows from the credentials")
		}
		switch e.Type {
		case moat.OrderServed, moat.Complaint, moat.CanaryTouch:
			return problem(moat.CodeForbidden, moat.FieldType, "only the operator sends "+e.Type.String())
		}
	}
	if e.Partner == "" {
		e.Partner = from.Partner
	}
	switch {
	case e.Partner == "" && n.unplaced && e.Type == moat.Complaint:
	case e.Partner == "":
		return problem(moat.CodeMissing, moat.FieldPartner, "the credentials name no partner, so the event must")
	case !isName(e.Partner) || e.Partner[0] == '*':
		return problem(moat.CodeValue, moat.FieldPartner, "a partner's name has no spaces, no control characters and no * at its beginning")
	}
	if from.App != "" && e.App != from.App {
		if e.App != "" {
			return problem(moat.CodeForbidden, moat.FieldApp, "the credentials are another app's")
		}
		e.App = from.App
		e.Mark(moat.FieldApp)
	}
	return nil
}

func problem(code string, f moat.FieldID, message string) *moat.Problem {
	return &moat.Problem{Code: code, Field: moat.Fields[f].Name, Message: message}
}

func isName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// identify gives e an id made from its content. The hash is keyed, so that
// nobody can find a stripped value by trying all of them against the id.
func (n *Normaliser) identify(e *moat.Event) {
	n.json = moat.AppendJSON(n.json[:0], e) // without receipt and flags
	e.ID = n.id(n.json)
	e.Mark(moat.FieldEventID)
	if cap(n.json) > 64<<10 {
		n.json = nil
	}
}

// id returns 26 characters of base32 that stand for content: 130 bits.
func (n *Normaliser) id(content []byte) string {
	n.hash(content)
	var text [28]byte
	idText.Encode(text[:], n.sum[:17])
	start := len(n.arena)
	n.arena = append(n.arena, text[:26]...)
	return n.since(start)
}

func (n *Normaliser) hash(content []byte) {
	n.mac.Reset()
	n.mac.Write(content)
	n.mac.Sum(n.sum[:0])
}

// since returns a view of the arena from start. When the arena grows, older views
// keep the memory that they point to.
func (n *Normaliser) since(start int) string {
	return unsafe.String(unsafe.SliceData(n.arena[start:]), len(n.arena)-start)
}

// ip brings the address into its one text form; IPv4 in IPv6 becomes IPv4.
func (n *Normaliser) ip(e *moat.Event) *moat.Problem {
	if e.IP == "" || plainIPv4(e.IP) {
		return nil
	}
	a, err := netip.ParseAddr(e.IP)
	if err != nil || a.Zone() != "" {
		return problem(moat.CodeValue, moat.FieldIP, "want an IPv4 or IPv6 address without port or zone")
	}
	start := len(n.arena)
	n.arena = a.Unmap().AppendTo(n.arena)
	if s := n.since(start); s != e.IP {
		e.IP = s
	} else {
		n.arena = n.arena[:start]
	}
	return nil
}

// plainIPv4 tells whether s is an IPv4 address in its one text form, as nearly all are: that is far quicker to see than to read
// the address and to write it.
func plainIPv4(s string) bool {
	dots, number, digits := 0, 0, 0
	for i := range len(s) {
		switch c := s[i] - '0'; {
		case c <= 9 && digits > 0 && number == 0: // a zero in front
			return false
		case c <= 9:
			number, digits = 10*number+int(c), digits+1
			if number > 255 {
				return false
			}
		case s[i] == '.' && digits > 0:
			dots, number, digits = dots+1, 0, 0
		default:
			return false
		}
	}
	return dots == 3 && digits > 0
}

func isSystem(actor string) bool {
	return actor == "系统" || actor == "系統" || len(actor) == len("system") && strings.EqualFold(actor, "system")
}

// statement replaces the statement by its template. A template that the sender
// made goes the same way, as it may have left something in.
func (n *Normaliser) statement(e *moat.Event) {
	s := e.Statement
	if s == "" {
		s = e.Template
	}
	start := len(n.arena)
	n.arena = appendTemplate(n.arena, s)
	e.Statement, e.Template = "", n.since(start)
	e.Mark(moat.FieldTemplate)
	n.text(&e.Template, moat.FieldTemplate)
}

// operation maps free text to a word of the contract and keeps the text in extra.
func (n *Normaliser) operation(e *moat.Event) {
	word := operationOf(e.Operation)
	if word == e.Operation {
		return
	}
	if word == "" {
		n.text(&e.Operation, moat.FieldOperation)
		return
	}
	text := e.Operation
	e.Operation = word
	n.addExtra(e, "operation_text", text)
}

// addExtra adds a member to the end of extra, unless it has one of that name or would become too long.
func (n *Normaliser) addExtra(e *moat.Event, name, text string) {
	body := strings.TrimRight(e.Extra, " \t\r\n")
	if body == "" {
		body = "{}"
	}
	body = strings.TrimRight(body[:len(body)-1], " \t\r\n")
	if len(body)+len(name)+6*len(text)+8 > moat.Fields[moat.FieldExtra].Max || strings.Contains(body, name) {
		return
	}
	start := len(n.arena)
	n.arena = append(n.arena, body...)
	if body != "{" {
		n.arena = append(n.arena, ',')
	}
	n.arena = append(n.arena, '"')
	n.arena = append(n.arena, name...)
	n.arena = append(n.arena, '"', ':')
	n.arena = appendQuoted(n.arena, text)
	n.arena = append(n.arena, '}')
	e.Extra = n.since(start)
	e.Mark(moat.FieldExtra)
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ' || r == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// location strips the values of a URL's query, and personal data from the rest.
func (n *Normaliser) location(s *string, f moat.FieldID) {
	if *s == "" {
		return
	}
	if hasValues(*s) {
		start := len(n.arena)
		n.arena = appendLocation(n.arena, *s)
		*s = n.since(start)
	}
	*s = n.scrub(*s, true, f)
}

// text strips personal data from free text.
func (n *Normaliser) text(s *string, f moat.FieldID) {
	if *s != "" {
		*s = n.scrub(*s, false, f)
	}
}

// asProblem returns the problem in err, or one that says so little as to be safe.
func asProblem(err error) *moat.Problem {
	var p *moat.Problem
	if errors.As(err, &p) {
		return p
	}
	return &moat.Problem{Code: moat.CodeValue, Message: "the event cannot be read"}
}
