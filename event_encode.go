package moat

import (
	"bytes"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends the contract JSON of e on one line, without a line break:
// the given fields in the order of [Fields], times in RFC 3339 and UTC, Extra verbatim. The
// partner is written if there is one; what Moat notes on receipt is not. A
// [Decoder] that allows a partner reads it back to the same event, if e passes [Event.Check].
func AppendJSON(dst []byte, e *Event) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for w, m := range e.given() {
		for ; m != 0; m &= m - 1 {
			f := &Fields[w<<6+bits.TrailingZeros64(m)]
			if f.Kind == KindTime && *f.timeOf(e) == 0 || f.Kind == KindObject && *f.stringOf(e) == "" || f.ID == FieldType && e.Type == NoType {
				continue // marked, but there is nothing that JSON could say
			}
			if len(dst) > start {
				dst = append(dst, ',')
			}
			dst = append(append(dst, quotedNames[f.ID]...), ':')
			dst = f.appendJSON(dst, e)
		}
	}
	return append(dst, '}')
}

// appendJSON appends the value of f in e.
func (f *Field) appendJSON(dst []byte, e *Event) []byte {
	switch f.Kind {
	case KindString:
		return appendQuoted(dst, *f.stringOf(e))
	case KindObject:
		return appendOneLine(dst, *f.stringOf(e))
	case KindStrings:
		dst = append(dst, '[')
		for i, s := range *f.stringsOf(e) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuoted(dst, s)
		}
		return append(dst, ']')
	case KindInt:
		return strconv.AppendInt(dst, *f.intOf(e), 10)
	case KindBool:
		return strconv.AppendBool(dst, *f.boolOf(e))
	case KindTime:
		dst = f.timeOf(e).Std().AppendFormat(append(dst, '"'), time.RFC3339Nano)
		return append(dst, '"')
	}
	return appendQuoted(dst, f.Text(e))
}

// appendQuoted appends s as a JSON string: it escapes what JSON demands and
// nothing for the sake of HTML. Bytes that are not UTF-8 become U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		end, wide := scanText(s, i)
		if !wide {
			dst = append(dst, s[i:end]...)
		} else {
			dst = appendValid(dst, s[i:end])
		}
		if end == len(s) {
			break
		}
		switch c := s[end]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i = end + 1
	}
	return append(dst, '"')
}

func appendValid(dst []byte, s string) []byte {
	if utf8.ValidString(s) {
		return append(dst, s...)
	}
	for _, r := range s {
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// MarshalJSON returns what [AppendJSON] appends.
func (e *Event) MarshalJSON() ([]byte, error) { return AppendJSON(nil, e), nil }

// UnmarshalJSON reads one event of the contract, partner included: it is for
// events of one's own. Read what others send with a [Decoder]. An error is a *[Problem].
func (e *Event) UnmarshalJSON(b []byte) error {
	d := Decoder{AllowPartner: true}
	*e = Event{}
	return d.Decode(bytes.Clone(b), e)
}
