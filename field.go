package moat

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"
	"unsafe"
)

// FieldID names one field of an [Event]. Numbers are stored in logs and
// must never change; new fields are added at the end.
type FieldID uint8

// FieldKind is the shape of a field's value.
type FieldKind uint8

// The shapes of values. An enumeration is text in JSON and one byte in an Event.
const (
	KindString FieldKind = iota
	KindStrings
	KindInt
	KindBool
	KindTime
	KindEnum
	KindObject
	kindNone // of numbers that name no field
)

// Field describes one field of the contract.
type Field struct {
	ID   FieldID
	Name string // in JSON and in rules
	Kind FieldKind
	// Max bounds the bytes of a string or object, or of each element of a list.
	Max int
	// MaxItems bounds the elements of a list.
	MaxItems int
	// Enum holds the allowed texts, by number; nil for other kinds.
	Enum []string
	Doc  string

	offset uintptr
}

// The fields, in the order of their numbers.
const (
	FieldNone FieldID = iota
	FieldEventID
	FieldTime
	FieldType
	FieldActor
	FieldActorKind
	FieldRole
	FieldApp
	FieldShops
	FieldIP
	FieldDevice
	FieldUserAgent
	FieldSession
	FieldHost
	FieldOutlet
	FieldURL
	FieldOperation
	FieldOutcome
	FieldReason
	FieldOrders
	FieldCount
	FieldFields
	FieldEncrypted
	FieldBytes
	FieldExtra
	FieldMethod
	FieldMFA
	FieldObject
	FieldChange
	FieldBefore
	FieldAfter
	FieldFileHash
	FieldDestination
	FieldDestinationKind
	FieldPurpose
	FieldStatement
	FieldTemplate
	FieldDB
	FieldTables
	FieldRows
	FieldDurationMS
	FieldClient
	FieldStatus
	FieldLatencyMS
	FieldKeyID
	FieldPath
	FieldReferer
	FieldWAF
	FieldService
	FieldExe
	FieldArgs
	FieldParent
	FieldUser
	FieldPID
	FieldHash
	FieldVerdict
	FieldPeer
	FieldPort
	FieldDirection
	FieldName
	FieldAction
	FieldWebdriver
	FieldHeadless
	FieldTampered
	FieldScript
	FieldTimezone
	FieldLanguage
	FieldComplaintKind
	FieldContactedAt
	FieldToken
	FieldChannel
	FieldVersion
	FieldSeq
	FieldSent
	FieldPartner
	FieldReporter
	FieldsEnd // how many there are, FieldNone included
)

var zero Event

// Fields is the event contract, by number; element 0 is unused. It must not be changed.
var Fields = [FieldsEnd]Field{
	FieldNone:            {Kind: kindNone},
	FieldEventID:         {Name: "id", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.ID), Doc: "unique per partner; the same id again within 7 days counts once"},
	FieldTime:            {Name: "time", Kind: KindTime, offset: unsafe.Offsetof(zero.Time), Doc: "when it happened"},
	FieldType:            {Name: "type", Kind: KindEnum, Enum: typeNames[:], offset: unsafe.Offsetof(zero.Type), Doc: "what happened"},
	FieldActor:           {Name: "actor", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Actor), Doc: "the person's account inside the app; system for a job"},
	FieldActorKind:       {Name: "actor_kind", Kind: KindEnum, Enum: actorKindNames[:], offset: unsafe.Offsetof(zero.ActorKind), Doc: "what sort of account acted"},
	FieldRole:            {Name: "role", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Role), Doc: "job of the account: customer_service, packer, courier, …"},
	FieldApp:             {Name: "app", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.App), Doc: "the application, if the credentials serve several"},
	FieldShops:           {Name: "shops", Kind: KindStrings, Max: 128, MaxItems: 100, offset: unsafe.Offsetof(zero.Shops), Doc: "shops whose data it is"},
	FieldIP:              {Name: "ip", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.IP), Doc: "the client's public address as the app saw it"},
	FieldDevice:          {Name: "device", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.Device), Doc: "device id; 0000000000 or absent means none"},
	FieldUserAgent:       {Name: "user_agent", Kind: KindString, Max: 1024, offset: unsafe.Offsetof(zero.UserAgent), Doc: "the client's user agent"},
	FieldSession:         {Name: "session", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Session), Doc: "session in the app"},
	FieldHost:            {Name: "host", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Host), Doc: "server that served it"},
	FieldOutlet:          {Name: "outlet", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.Outlet), Doc: "logistics outlet or warehouse"},
	FieldURL:             {Name: "url", Kind: KindString, Max: 2048, offset: unsafe.Offsetof(zero.URL), Doc: "request URL or task name; query values are stripped"},
	FieldOperation:       {Name: "operation", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Operation), Doc: "view, view_list, search, print, print_list, export, export_list, download, decrypt, modify, delete, send, api_pull, or free text"},
	FieldOutcome:         {Name: "outcome", Kind: KindEnum, Enum: outcomeNames[:], offset: unsafe.Offsetof(zero.Outcome), Doc: "how it ended"},
	FieldReason:          {Name: "reason", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Reason), Doc: "why it failed"},
	FieldOrders:          {Name: "orders", Kind: KindStrings, Max: 128, MaxItems: 1000, offset: unsafe.Offsetof(zero.Orders), Doc: "order or waybill ids touched"},
	FieldCount:           {Name: "count", Kind: KindInt, offset: unsafe.Offsetof(zero.Count), Doc: "records touched when ids are unknown or cut"},
	FieldFields:          {Name: "fields", Kind: KindStrings, Max: 64, MaxItems: 32, offset: unsafe.Offsetof(zero.Fields), Doc: "sensitive fields shown: name, phone, address, id_card, email, payment, goods, tracking_no"},
	FieldEncrypted:       {Name: "encrypted", Kind: KindBool, offset: unsafe.Offsetof(zero.Encrypted), Doc: "the fields stayed encrypted or masked"},
	FieldBytes:           {Name: "bytes", Kind: KindInt, offset: unsafe.Offsetof(zero.Bytes), Doc: "size sent out, in bytes"},
	FieldExtra:           {Name: "extra", Kind: KindObject, Max: 8 << 10, offset: unsafe.Offsetof(zero.Extra), Doc: "anything else; unknown fields are kept here"},
	FieldMethod:          {Name: "method", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.Method), Doc: "login method, API method or HTTP method"},
	FieldMFA:             {Name: "mfa", Kind: KindBool, offset: unsafe.Offsetof(zero.MFA), Doc: "a second factor was used"},
	FieldObject:          {Name: "object", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Object), Doc: "account or key that was changed"},
	FieldChange:          {Name: "change", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Change), Doc: "what was changed: password, phone, email, mfa, role, status, sub_account, key, …"},
	FieldBefore:          {Name: "before", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Before), Doc: "value before; never a secret"},
	FieldAfter:           {Name: "after", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.After), Doc: "value after; never a secret"},
	FieldFileHash:        {Name: "file_hash", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.FileHash), Doc: "hash of the exported file"},
	FieldDestination:     {Name: "destination", Kind: KindString, Max: 512, offset: unsafe.Offsetof(zero.Destination), Doc: "system that the orders went to"},
	FieldDestinationKind: {Name: "destination_kind", Kind: KindString, Max: 32, offset: unsafe.Offsetof(zero.DestinationKind), Doc: "courier, wms, erp, sms, isv, mail, other"},
	FieldPurpose:         {Name: "purpose", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.Purpose), Doc: "why the fields were decrypted"},
	FieldStatement:       {Name: "statement", Kind: KindString, Max: 8 << 10, offset: unsafe.Offsetof(zero.Statement), Doc: "SQL statement; literals are stripped"},
	FieldTemplate:        {Name: "template", Kind: KindString, Max: 8 << 10, offset: unsafe.Offsetof(zero.Template), Doc: "SQL statement without literals"},
	FieldDB:              {Name: "db", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.DB), Doc: "database instance"},
	FieldTables:          {Name: "tables", Kind: KindStrings, Max: 128, MaxItems: 64, offset: unsafe.Offsetof(zero.Tables), Doc: "tables read or written"},
	FieldRows:            {Name: "rows", Kind: KindInt, offset: unsafe.Offsetof(zero.Rows), Doc: "rows returned or affected"},
	FieldDurationMS:      {Name: "duration_ms", Kind: KindInt, offset: unsafe.Offsetof(zero.DurationMS), Doc: "how long it took, in milliseconds"},
	FieldClient:          {Name: "client", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Client), Doc: "database client program"},
	FieldStatus:          {Name: "status", Kind: KindInt, offset: unsafe.Offsetof(zero.Status), Doc: "HTTP or API status"},
	FieldLatencyMS:       {Name: "latency_ms", Kind: KindInt, offset: unsafe.Offsetof(zero.LatencyMS), Doc: "latency in milliseconds"},
	FieldKeyID:           {Name: "key_id", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.KeyID), Doc: "id of the API key used"},
	FieldPath:            {Name: "path", Kind: KindString, Max: 2048, offset: unsafe.Offsetof(zero.Path), Doc: "path of a request or file"},
	FieldReferer:         {Name: "referer", Kind: KindString, Max: 2048, offset: unsafe.Offsetof(zero.Referer), Doc: "page that led to the request"},
	FieldWAF:             {Name: "waf", Kind: KindStrings, Max: 64, MaxItems: 64, offset: unsafe.Offsetof(zero.WAF), Doc: "ids of web firewall rules hit"},
	FieldService:         {Name: "service", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Service), Doc: "sshd, sudo, console, …"},
	FieldExe:             {Name: "exe", Kind: KindString, Max: 1024, offset: unsafe.Offsetof(zero.Exe), Doc: "program file"},
	FieldArgs:            {Name: "args", Kind: KindString, Max: 4096, offset: unsafe.Offsetof(zero.Args), Doc: "arguments of the program"},
	FieldParent:          {Name: "parent", Kind: KindString, Max: 1024, offset: unsafe.Offsetof(zero.Parent), Doc: "parent program"},
	FieldUser:            {Name: "user", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.User), Doc: "operating system user"},
	FieldPID:             {Name: "pid", Kind: KindInt, offset: unsafe.Offsetof(zero.PID), Doc: "process id"},
	FieldHash:            {Name: "hash", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.Hash), Doc: "hash of the file"},
	FieldVerdict:         {Name: "verdict", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Verdict), Doc: "what a scanner said of the file"},
	FieldPeer:            {Name: "peer", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Peer), Doc: "other end of a connection"},
	FieldPort:            {Name: "port", Kind: KindInt, offset: unsafe.Offsetof(zero.Port), Doc: "port of the connection"},
	FieldDirection:       {Name: "direction", Kind: KindString, Max: 16, offset: unsafe.Offsetof(zero.Direction), Doc: "in or out"},
	FieldName:            {Name: "name", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Name), Doc: "name of what a scanner found"},
	FieldAction:          {Name: "action", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Action), Doc: "what was done about it"},
	FieldWebdriver:       {Name: "webdriver", Kind: KindBool, offset: unsafe.Offsetof(zero.Webdriver), Doc: "the browser is driven by a program"},
	FieldHeadless:        {Name: "headless", Kind: KindBool, offset: unsafe.Offsetof(zero.Headless), Doc: "the browser has no window"},
	FieldTampered:        {Name: "tampered", Kind: KindBool, offset: unsafe.Offsetof(zero.Tampered), Doc: "the client was tampered with"},
	FieldScript:          {Name: "script", Kind: KindString, Max: 1024, offset: unsafe.Offsetof(zero.Script), Doc: "unknown script on the page"},
	FieldTimezone:        {Name: "timezone", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Timezone), Doc: "the client's time zone"},
	FieldLanguage:        {Name: "language", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Language), Doc: "the client's language"},
	FieldComplaintKind:   {Name: "kind", Kind: KindString, Max: 32, offset: unsafe.Offsetof(zero.Kind), Doc: "of a complaint: scam_call, scam_sms, spam, fraud, other, dump; of a canary: order, phone, address, credential"},
	FieldContactedAt:     {Name: "contacted_at", Kind: KindTime, offset: unsafe.Offsetof(zero.ContactedAt), Doc: "when the customer was contacted"},
	FieldToken:           {Name: "token", Kind: KindString, Max: 256, offset: unsafe.Offsetof(zero.Token), Doc: "token of a canary"},
	FieldChannel:         {Name: "channel", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.Channel), Doc: "channel that a canary was placed in, or that a complaint came by"},
	FieldVersion:         {Name: "version", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Version), Doc: "version of the agent or app"},
	FieldSeq:             {Name: "seq", Kind: KindInt, offset: unsafe.Offsetof(zero.Seq), Doc: "running number of a heartbeat; of a complaint, which of the ways that the order took it tells"},
	FieldSent:            {Name: "sent", Kind: KindInt, offset: unsafe.Offsetof(zero.Sent), Doc: "events sent so far"},
	FieldPartner:         {Name: "partner", Kind: KindString, Max: 128, offset: unsafe.Offsetof(zero.Partner), Doc: "tenant; only the operator may name it"},
	FieldReporter:        {Name: "reporter", Kind: KindString, Max: 64, offset: unsafe.Offsetof(zero.Reporter), Doc: "who complains: a keyed hash, never a name or a number"},
}

var (
	fieldByName = make(map[string]FieldID, FieldsEnd)
	// quotedNames are the names as they stand in JSON, and keys the same for quick comparison.
	quotedNames [FieldsEnd]string
	keys        [128]key
	typesByHash [128]EventType
)

// typeHash has no collision among the type names, all of 8 bytes or more.
func typeHash(name string) uint64 { return load64(name, len(name)-8) * 0x41f27cc6f3875d05 >> 57 }

// typeNamed returns the type of that name, or NoType.
func typeNamed(name string) EventType {
	if len(name) >= 8 {
		if t := typesByHash[typeHash(name)]; typeNames[t] == name {
			return t
		}
	}
	return NoType
}

// key is a quoted field name, cut for comparison with text: its first eight
// bytes under a mask, and the rest.
type key struct {
	head, mask uint64
	rest       string
	size       int
}

// keyAt returns the key of field id.
func keyAt(id FieldID) *key { return &keys[int(id)&(len(keys)-1)] }

func keyOf(quoted string) key {
	n := min(len(quoted), 8)
	return key{
		head: load64(quoted+"\x00\x00\x00\x00\x00\x00\x00\x00", 0) & (1<<(8*n) - 1),
		mask: 1<<(8*n) - 1,
		rest: quoted[n:],
		size: len(quoted),
	}
}

// match returns the length of the key if it is at i, else 0. It does not see a
// key in the last eight bytes of s.
func (k *key) match(s string, i int) int {
	if i+8 > len(s) || (load64(s, i)^k.head)&k.mask != 0 || k.rest != "" && !hasWord(s, i+8, k.rest) {
		return 0
	}
	return k.size
}

func init() {
	for i := range Fields {
		f := &Fields[i]
		if i == 0 {
			continue
		}
		if f.Name == "" {
			panic(fmt.Sprintf("BUG: field %d has no entry in Fields", i))
		}
		f.ID = FieldID(i)
		fieldByName[f.Name] = f.ID
		quotedNames[i] = `"` + f.Name + `"`
		keys[i] = keyOf(quotedNames[i])
	}
	for i, name := range typeNames[1:] {
		at := &typesByHash[typeHash(name)]
		if *at != NoType {
			panic(fmt.Sprintf("BUG: types %s and %s have one hash: choose another multiplier", *at, name))
		}
		*at = EventType(i + 1)
	}
}

// FieldByName returns the field with that JSON name, or nil.
func FieldByName(name string) *Field {
	if id, ok := fieldByName[name]; ok {
		return &Fields[id]
	}
	return nil
}

// Accessors by table. Each must be called only for its own kind of field.

func (f *Field) stringOf(e *Event) *string { return (*string)(unsafe.Add(unsafe.Pointer(e), f.offset)) }
func (f *Field) stringsOf(e *Event) *[]string {
	return (*[]string)(unsafe.Add(unsafe.Pointer(e), f.offset))
}
func (f *Field) intOf(e *Event) *int64  { return (*int64)(unsafe.Add(unsafe.Pointer(e), f.offset)) }
func (f *Field) timeOf(e *Event) *Time  { return (*Time)(unsafe.Add(unsafe.Pointer(e), f.offset)) }
func (f *Field) boolOf(e *Event) *bool  { return (*bool)(unsafe.Add(unsafe.Pointer(e), f.offset)) }
func (f *Field) enumOf(e *Event) *uint8 { return (*uint8)(unsafe.Add(unsafe.Pointer(e), f.offset)) }

// Text returns the value of a string, object or enumeration field of e, else "".
func (f *Field) Text(e *Event) string {
	switch f.Kind {
	case KindString, KindObject:
		return *f.stringOf(e)
	case KindEnum:
		if v := *f.enumOf(e); int(v) < len(f.Enum) {
			return f.Enum[v]
		}
	}
	return ""
}

// Ordinal returns the number of an enumeration field's value, else 0.
func (f *Field) Ordinal(e *Event) uint8 {
	if f.Kind == KindEnum {
		return *f.enumOf(e)
	}
	return 0
}

// List returns the value of a list field of e, else nil. It aliases e.
func (f *Field) List(e *Event) []string {
	if f.Kind == KindStrings {
		return *f.stringsOf(e)
	}
	return nil
}

// Number returns the value of a number, time (in microseconds) or boolean
// field of e, else 0.
func (f *Field) Number(e *Event) int64 {
	switch f.Kind {
	case KindInt:
		return *f.intOf(e)
	case KindTime:
		return int64(*f.timeOf(e))
	case KindBool:
		if *f.boolOf(e) {
			return 1
		}
	}
	return 0
}

// slot is what the codecs need of a Field, small enough to stay in the cache.
type slot struct {
	offset uint16
	max    uint16 // bytes of a text in JSON
	kind   FieldKind
	values uint8  // how many values an enumeration or boolean has
	_      uint16 // eight bytes are found without a multiplication
}

var (
	slots = slotsOf(&Fields)
	// knownFields has a bit for each field that exists.
	knownFields = [2]uint64{^uint64(1), 1<<(FieldsEnd-64) - 1}
	// textFields has a bit for each field that is one text.
	textFields = fieldsOf(&Fields, KindString, KindObject)
)

// fieldsOf returns a bit for each field of these kinds.
func fieldsOf(fields *[FieldsEnd]Field, kinds ...FieldKind) (set [2]uint64) {
	for i := 1; i < len(fields); i++ {
		if slices.Contains(kinds, fields[i].Kind) {
			set[i>>6] |= 1 << (i & 63)
		}
	}
	return set
}

// slotsOfWord returns the slots of the fields that a word of marks stands for.
func slotsOfWord(w int) *[64]slot { return (*[64]slot)(slots[w<<6:]) }

// slotAt returns the slot of field n. The mask spares the check of the bounds.
func slotAt(n int) *slot { return &slots[n&(len(slots)-1)] }

func slotsOf(fields *[FieldsEnd]Field) (s [128]slot) {
	for i := range s {
		s[i].kind = kindNone
	}
	for i := 1; i < len(fields); i++ {
		f := &fields[i]
		s[i] = slot{offset: uint16(f.offset), max: uint16(f.Max), kind: f.Kind, values: uint8(len(f.Enum))}
		if f.Max == 0 {
			s[i].max = 1<<16 - 1
		}
		if f.Kind == KindBool {
			s[i].values = 2
		}
	}
	return s
}

// FieldSet is a set of fields. The zero value is empty.
type FieldSet struct{ marks [2]uint64 }

// Add adds field f to the set.
func (s *FieldSet) Add(f FieldID) { s.marks[f>>6] |= 1 << (f & 63) }

// Given returns the fields of the set that the sender of e gave, in the order of their numbers.
func (e *Event) Given(set FieldSet) iter.Seq[FieldID] {
	return func(yield func(FieldID) bool) {
		for i, m := range set.marks {
			for m &= e.has[i]; m != 0; m &= m - 1 {
				if !yield(FieldID(i<<6 | bits.TrailingZeros64(m))) {
					return
				}
			}
		}
	}
}

// given returns the marks of the fields that e carries to others. The partner
// counts if there is one, marked or not: Moat sets it without a mark.
func (e *Event) given() [2]uint64 {
	has := [2]uint64{e.has[0] & knownFields[0], e.has[1] & knownFields[1]}
	const word, bit = FieldPartner >> 6, 1 << (FieldPartner & 63)
	if has[word] &^= bit; e.Partner != "" {
		has[word] |= bit
	}
	return has
}

// Reset makes e empty and keeps the memory of its lists.
func (e *Event) Reset() {
	e.forget(e.has[0], e.has[1])
	e.has = [2]uint64{}
	e.Partner, e.Received, e.Flags = "", 0, 0
}

// forget zeroes the fields in the two words of marks, and leaves the marks.
func (e *Event) forget(low, high uint64) {
	for i, m := range [2]uint64{low, high} {
		for t := m & textFields[i]; t != 0; t &= t - 1 { // most are texts
			*(*string)(e.at(i<<6 | bits.TrailingZeros64(t))) = ""
		}
		for m &^= textFields[i]; m != 0; m &= m - 1 {
			n := i<<6 | bits.TrailingZeros64(m)
			switch p := e.at(n); slotAt(n).kind {
			case KindStrings:
				l := (*[]string)(p)
				*l = (*l)[:0]
			case KindInt, KindTime:
				*(*int64)(p) = 0
			case KindBool, KindEnum:
				*(*uint8)(p) = 0
			}
		}
	}
}

// at returns where e keeps field n.
func (e *Event) at(n int) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(e), slotAt(n).offset) }

// MarkAll marks every field that has a non-zero value as given.
func (e *Event) MarkAll() {
	for i := 1; i < int(FieldsEnd); i++ {
		f := &Fields[i]
		if f.Text(e) != "" && f.Kind != KindEnum || f.Kind == KindEnum && *f.enumOf(e) != 0 || len(f.List(e)) > 0 || f.Number(e) != 0 {
			e.Mark(f.ID)
		}
	}
}

// Clone returns a copy that shares no memory with e.
func (e *Event) Clone() *Event {
	c := *e
	for i := 1; i < int(FieldsEnd); i++ {
		f := &Fields[i]
		switch f.Kind {
		case KindString, KindObject:
			s := f.stringOf(&c)
			*s = strings.Clone(*s)
		case KindStrings:
			l := f.stringsOf(&c)
			*l = slices.Clone(*l)
			for j, s := range *l {
				(*l)[j] = strings.Clone(s)
			}
		}
	}
	return &c
}

func enumText(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

// String returns the type as it is written in JSON: "auth.login", …
func (t EventType) String() string { return enumText(typeNames[:], uint8(t)) }

// String returns the kind as it is written in JSON: "user", …
func (k ActorKind) String() string { return enumText(actorKindNames[:], uint8(k)) }

// String returns the outcome as it is written in JSON: "success", …
func (o Outcome) String() string { return enumText(outcomeNames[:], uint8(o)) }

// ParseEventType is the inverse of [EventType.String].
func ParseEventType(s string) (EventType, error) {
	if t := typeNamed(s); t != NoType {
		return t, nil
	}
	return NoType, fmt.Errorf("unknown event type %.64q", s)
}
