package moat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/moat-platform/moat/internal/digits"
)

// Decoder reads events from JSON. It learns in which order a sender writes the
// fields, so keep one for each stream of events. The zero value is ready; it is not safe for concurrent use.
type Decoder struct {
	// AllowPartner lets the text name the partner; else that is a [Problem]. Only the operator may.
	AllowPartner bool

	// after predicts the field that follows another in events of one type.
	after [EventTypes][FieldsEnd]FieldID

	arena   []byte // unescaped text since Release
	spilled int    // bytes in earlier arenas since Release

	// Of the event at hand.
	unknown []member
	problem *Problem
}

// member is an unknown member of an event: positions of its key and value in the text.
type member struct{ key, keyEnd, value, end int }

// NewDecoder returns a decoder of text from partners.
func NewDecoder() *Decoder { return new(Decoder) }

// Decode replaces e by the event in line, one JSON object, and checks it
// against the contract. Strings of e are views into line or into memory of d:
// line must not change while they are in use, and [Decoder.Release] ends their life.
// The lists of e are reused.
//
// Of a field that is given twice the last value counts; null is "not given".
// Unknown fields go to Extra, after the members of a given extra. Half a surrogate pair
// in an escape becomes U+FFFD.
//
// An error is always a *[Problem], and leaves e empty. When several things are
// wrong, size, UTF-8 and JSON come before single fields, in the order of the text.
func (d *Decoder) Decode(line []byte, e *Event) error {
	if p := d.decode(unsafe.String(unsafe.SliceData(line), len(line)), e); p != nil {
		e.Reset()
		return p
	}
	return nil
}

// Release ends the life of all strings decoded so far and reuses their memory.
func (d *Decoder) Release() {
	const most = 4 << 20
	if d.spilled > 0 {
		d.arena = make([]byte, 0, min(d.spilled+cap(d.arena), most))
		d.spilled = 0
	}
	d.arena = d.arena[:0]
}

func (d *Decoder) decode(s string, e *Event) *Problem {
	if len(s) > MaxLine {
		return &Problem{CodeSize, "", fmt.Sprintf("%d bytes; want at most %d", len(s), MaxLine)}
	}
	// Most fields of an event are those of the one before: what is not given
	// this time is cleared at the end.
	old := e.has
	e.has = [2]uint64{}
	e.Partner, e.Received, e.Flags, e.Type = "", 0, 0, NoType
	d.unknown, d.problem = d.unknown[:0], nil
	if cap(d.unknown) > 4<<10 { // more than fit into Extra: a hostile line
		d.unknown = nil
	}
	end := d.object(s, e)
	if end < 0 || skipSpace(s, end) != len(s) {
		e.has[0], e.has[1] = e.has[0]|old[0], e.has[1]|old[1]
		return d.explain(s)
	}
	e.forget(old[0]&^e.has[0], old[1]&^e.has[1])
	if len(d.unknown) > 0 {
		if p := d.gather(s, e); p != nil {
			return p
		}
	}
	return e.checkNeeds()
}

// object reads the event at the start of s and returns where it ends, or -1.
func (d *Decoder) object(s string, e *Event) int {
	i := skipSpace(s, 0)
	if byteAt(s, i) != '{' {
		return -1
	}
	if i = skipSpace(s, i+1); byteAt(s, i) == '}' {
		return i + 1
	}
	for before := FieldNone; ; {
		key := i
		guess := &d.after[e.Type][before]
		id := *guess
		if n := keyAt(id).match(s, i); n > 0 {
			i += n
		} else if id, i = knownKey(s, i); i < 0 {
			return -1
		} else if id != FieldNone {
			*guess = id
		}
		keyEnd := i
		if byteAt(s, i) != ':' {
			if i = skipSpace(s, i); byteAt(s, i) != ':' {
				return -1
			}
		}
		if i++; byteAt(s, i) <= ' ' {
			i = skipSpace(s, i)
		}
		if id == FieldNone {
			if i = d.skipUnknown(s, key, keyEnd, i); i < 0 {
				return -1
			}
		} else {
			if i = d.value(s, i, id, e); i < 0 {
				return -1
			}
			before = id
		}
		if byteAt(s, i) <= ' ' {
			i = skipSpace(s, i)
		}
		switch byteAt(s, i) {
		case ',':
			if i++; byteAt(s, i) <= ' ' {
				i = skipSpace(s, i)
			}
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

// knownKey reads the key at i and returns its field, FieldNone if it is unknown, and where it ends.
func knownKey(s string, i int) (FieldID, int) {
	if byteAt(s, i) != '"' {
		return FieldNone, -1
	}
	end, escaped := skipText(s, i+1)
	if end < 0 {
		return FieldNone, -1
	}
	name := s[i+1 : end]
	if escaped {
		name = string(appendUnescaped(nil, name))
	}
	return fieldByName[name], end + 1
}

// skipUnknown notes an unknown member. Its value counts as nested in extra.
func (d *Decoder) skipUnknown(s string, key, keyEnd, value int) int {
	end, _ := skipValue(s, value, 2)
	if end == badDepth {
		return d.fail(&Problem{CodeDepth, Fields[FieldExtra].Name, fmt.Sprintf("an unknown field is nested more than %d deep", MaxDepth-2)})
	}
	if end >= 0 {
		d.unknown = append(d.unknown, member{key, keyEnd, value, end})
	}
	return end
}

// fail keeps p as the reason why the event is not good.
func (d *Decoder) fail(p *Problem) int {
	d.problem = p
	return -1
}

// explain says why s is not a good event: what is wrong with the whole text
// comes before what is wrong with a field.
func (d *Decoder) explain(s string) *Problem {
	if !utf8.ValidString(s) {
		return &Problem{CodeUTF8, "", "not valid UTF-8"}
	}
	start := skipSpace(s, 0)
	end, at := skipValue(s, start, 0)
	switch {
	case end == badDepth:
		return &Problem{CodeDepth, "", fmt.Sprintf("nested more than %d deep at byte %d", MaxDepth, at)}
	case end < 0:
		return &Problem{CodeJSON, "", fmt.Sprintf("not JSON at byte %d", at)}
	case skipSpace(s, end) != len(s):
		return &Problem{CodeJSON, "", fmt.Sprintf("text after the JSON object at byte %d", skipSpace(s, end))}
	case s[start] != '{':
		return &Problem{CodeJSON, "", "want a JSON object"}
	case d.problem != nil:
		return d.problem
	}
	return &Problem{CodeJSON, "", "not an event in JSON"}
}

// value reads the value at i into the field id of e and returns where it ends, or -1.
func (d *Decoder) value(s string, i int, id FieldID, e *Event) int {
	slot := slotAt(int(id))
	p := unsafe.Add(unsafe.Pointer(e), slot.offset)
	c := byteAt(s, i)
	if c == 'n' && hasWord(s, i, "null") {
		var bit [2]uint64
		bit[id>>6] = 1 << (id & 63)
		e.forget(bit[0], bit[1])
		e.has[id>>6] &^= bit[id>>6]
		return i + 4
	}
	e.Mark(id)
	switch slot.kind {
	case KindString:
		if id == FieldPartner && !d.AllowPartner {
			return d.fail(&Problem{CodeForbidden, Fields[id].Name, "the partner follows from the credentials"})
		}
		if c == '"' {
			*(*string)(p), i = d.text(s, i+1, id)
			return i
		}
	case KindStrings:
		if c == '[' {
			return d.list(s, i+1, id, (*[]string)(p))
		}
	case KindInt:
		if v, end := number(s, i); end != 0 {
			*(*int64)(p) = v
			return end
		}
	case KindTime:
		return d.time(s, i, id, (*Time)(p))
	case KindBool:
		if yes := hasWord(s, i, "true"); yes || hasWord(s, i, "false") {
			*(*bool)(p) = yes
			if yes {
				return i + 4
			}
			return i + 5
		}
	case KindEnum:
		if c == '"' {
			return d.enum(s, i+1, id, (*uint8)(p))
		}
	case KindObject:
		if c == '{' {
			return d.extra(s, i, (*string)(p))
		}
	}
	return d.fail(Fields[id].wrongType())
}

// text reads the string whose text starts at i and returns where it ends with its quote, or -1.
func (d *Decoder) text(s string, i int, id FieldID) (string, int) {
	end, wide := scanText(s, i)
	if n := end - i; byteAt(s, end) == '"' && !wide && n <= int(slotAt(int(id)).max) {
		return s[i:end], end + 1
	}
	return d.specialText(s, i, id)
}

// specialText is text for strings with escapes or letters beyond ASCII, and those too long.
func (d *Decoder) specialText(s string, i int, id FieldID) (string, int) {
	end, escaped := skipText(s, i)
	if end < 0 {
		return "", -1
	}
	t := s[i:end]
	if escaped {
		t = d.keep(appendUnescaped(d.room(len(t)), t))
	}
	if most := int(slotAt(int(id)).max); len(t) > most {
		return "", d.fail(Fields[id].tooLong(len(t)))
	}
	return t, end + 1
}

// room returns an empty slice of the arena that size bytes may be appended to.
func (d *Decoder) room(size int) []byte {
	const arena = 16 << 10
	if cap(d.arena)-len(d.arena) < size {
		d.spilled += cap(d.arena)
		d.arena = make([]byte, 0, max(size, arena))
	}
	return d.arena[len(d.arena):]
}

// keep returns a view of b, which was appended to what room returned last.
func (d *Decoder) keep(b []byte) string {
	d.arena = d.arena[:len(d.arena)+len(b)]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// list reads the list whose elements start at i into the memory of to.
func (d *Decoder) list(s string, i int, id FieldID, to *[]string) int {
	f, l := &Fields[id], (*to)[:0]
	if i = skipSpace(s, i); byteAt(s, i) == ']' {
		*to = l
		return i + 1
	}
	for {
		if byteAt(s, i) != '"' {
			return d.fail(f.wrongType())
		}
		if len(l) == f.MaxItems {
			return d.fail(f.tooMany())
		}
		var t string
		if t, i = d.text(s, i+1, id); i < 0 {
			return -1
		}
		l = append(l, t)
		if byteAt(s, i) <= ' ' {
			i = skipSpace(s, i)
		}
		switch byteAt(s, i) {
		case ',':
			if i++; byteAt(s, i) <= ' ' {
				i = skipSpace(s, i)
			}
		case ']':
			*to = l
			return i + 1
		default:
			return -1
		}
	}
}

// enum reads the text at i as a value of the enumeration id.
func (d *Decoder) enum(s string, i int, id FieldID, to *uint8) int {
	f := &Fields[id]
	t, end := d.text(s, i, id)
	if end < 0 {
		return -1
	}
	if id == FieldType {
		v := typeNamed(t)
		if v == NoType {
			return d.fail(f.unknown(t))
		}
		*to = uint8(v)
		return end
	}
	for v, name := range f.Enum {
		if t == name {
			*to = uint8(v)
			return end
		}
	}
	return d.fail(f.unknown(t))
}

// number reads the number at i; the end is 0 if it is no integer ≥ 0, and -1 if
// it is no number at all. A fraction or exponent is accepted if the value is whole.
func number(s string, i int) (v int64, end int) {
	first := i
	for i-first < 16 && i+8 <= len(s) { // a time in microseconds has 16 digits
		eight, ok := digits.Eight(load64(s, i))
		if !ok {
			break
		}
		v, i = v*100_000_000+eight, i+8
	}
	for ; i < len(s) && s[i]-'0' <= 9; i++ {
		if i-first == 18 { // the next digit could overflow
			return slowNumber(s, first)
		}
		v = v*10 + int64(s[i]-'0')
	}
	if c := byteAt(s, i); i == first || s[first] == '0' && i > first+1 || c == '.' || c|0x20 == 'e' {
		return slowNumber(s, first)
	}
	return v, i
}

func slowNumber(s string, i int) (int64, int) {
	if c := byteAt(s, i); c != '-' && c-'0' > 9 {
		return 0, 0
	}
	end, whole := skipNumber(s, i)
	if end < 0 {
		return 0, -1
	}
	if whole {
		v, err := strconv.ParseInt(s[i:end], 10, 64)
		if err != nil {
			return 0, 0
		}
		return v, end
	}
	const exact = 1 << 53
	v, err := strconv.ParseFloat(s[i:end], 64)
	if err != nil || v < 0 || v > exact || v != math.Trunc(v) {
		return 0, 0
	}
	return int64(v), end
}

// time reads the time at i, text or integer.
func (d *Decoder) time(s string, i int, id FieldID, to *Time) (end int) {
	var text string
	var err error
	if byteAt(s, i) == '"' {
		if text, end = d.text(s, i+1, id); end < 0 {
			return -1
		}
		*to, err = ParseTime(text)
	} else {
		var n int64
		if n, end = number(s, i); end < 0 {
			return -1
		}
		*to, err = TimeOfInt(n) // of 0, an error, if it is no number
	}
	if err != nil {
		return d.fail(Fields[id].wrongTime(text))
	}
	return end
}

// extra reads the object at i verbatim, on one line.
func (d *Decoder) extra(s string, i int, to *string) int {
	end, _ := skipValue(s, i, 1)
	if end < 0 {
		return -1 // depth counts from the event's own object, as explain does
	}
	if f := &Fields[FieldExtra]; end-i > f.Max {
		return d.fail(f.tooLong(end - i))
	}
	*to = s[i:end]
	if strings.ContainsAny(*to, "\r\n") {
		*to = d.keep(appendOneLine(d.room(end-i), *to))
	}
	return end
}

// appendOneLine appends JSON, in which line breaks are space between tokens.
func appendOneLine(dst []byte, s string) []byte {
	start := len(dst)
	dst = append(dst, s...)
	for i, c := range dst[start:] {
		if c == '\n' || c == '\r' {
			dst[start+i] = ' '
		}
	}
	return dst
}

// gather makes Extra of its own members and of the unknown ones.
func (d *Decoder) gather(s string, e *Event) *Problem {
	own := e.Extra
	if own != "" {
		own = strings.Trim(own[1:len(own)-1], " \t\r\n")
	}
	size := 1 + len(own)
	for _, m := range d.unknown {
		size += 2 + m.keyEnd - m.key + m.end - m.value
	}
	if own != "" {
		size++
	}
	if f := &Fields[FieldExtra]; size > f.Max {
		p := f.tooLong(size)
		p.Message += ", unknown fields included"
		return p
	}
	b := append(d.room(size), '{')
	if own != "" {
		b = append(append(b, own...), ',')
	}
	for i, m := range d.unknown {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, s[m.key:m.keyEnd]...), ':')
		b = appendOneLine(b, s[m.value:m.end])
	}
	e.Extra = d.keep(append(b, '}'))
	e.Mark(FieldExtra)
	return nil
}
