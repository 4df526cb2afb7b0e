package lake

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

// The column detail is a JSON object of the given fields that have no column of
// their own, under their contract names. Times are integers of microseconds. What
// the sender put under extra stays as it is, verbatim; should it be no JSON, it is
// kept as text.

var errDetail = errors.New("detail is not what the lake writes")

// appendDetail appends the detail of e to b: nothing if no field goes there.
func appendDetail(b []byte, e *moat.Event) []byte {
	start := len(b)
	if e.Has(moat.FieldExtra) {
		b = appendKey(b, start, "extra")
		if isObject(e.Extra) {
			b = append(b, e.Extra...)
		} else {
			b = appendText(b, e.Extra)
		}
	}
	for id := range e.Given(detailFields) {
		if id == moat.FieldExtra {
			continue
		}
		f := &moat.Fields[id]
		b = appendKey(b, start, f.Name)
		switch f.Kind {
		case moat.KindStrings:
			b = append(b, '[')
			for i, s := range f.List(e) {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendText(b, s)
			}
			b = append(b, ']')
		case moat.KindInt, moat.KindTime:
			b = strconv.AppendInt(b, f.Number(e), 10)
		case moat.KindBool:
			b = strconv.AppendBool(b, f.Number(e) != 0)
		default:
			b = appendText(b, f.Text(e))
		}
	}
	if len(b) > start {
		b = append(b, '}')
	}
	return b
}

// isObject tells whether s is a JSON object from its first to its last byte.
func isObject(s string) bool {
	return len(s) >= 2 && s[0] == '{' && s[len(s)-1] == '}' && json.Valid([]byte(s))
}

func appendKey(b []byte, start int, name string) []byte {
	if len(b) == start {
		b = append(b, '{', '"')
	} else {
		b = append(b, ',', '"')
	}
	b = append(b, name...)
	return append(b, '"', ':')
}

const hex = "0123456789abcdef"

// appendText appends s as a JSON string.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// parseDetail sets the fields of e that s holds. Strings of e may be views into
// s. It reads what appendDetail writes, and refuses everything else.
func parseDetail(s string, e *moat.Event) error {
	if len(s) < 2 || s[0] != '{' {
		return errDetail
	}
	s = s[1:]
	for {
		name, rest, err := cutText(s)
		if err != nil || rest == "" || rest[0] != ':' {
			return errDetail
		}
		f := moat.FieldByName(name)
		if f == nil {
			return fmt.Errorf("field %.40q is unknown: %w", name, errDetail)
		}
		if s, err = setField(e, f, rest[1:]); err != nil {
			return err
		}
		e.Mark(f.ID)
		switch {
		case s == "}":
			return nil
		case s == "" || s[0] != ',':
			return errDetail
		}
		s = s[1:]
	}
}

// setField reads the value at the start of s into field f of e.
func setField(e *moat.Event, f *moat.Field, s string) (rest string, err error) {
	switch p := pointerTo(e, f.ID).(type) {
	case *string:
		if f.ID == moat.FieldExtra && s != "" && s[0] == '{' {
			*p, rest, err = cutObject(s)
			return rest, err
		}
		*p, rest, err = cutText(s)
		return rest, err
	case *[]string:
		*p, rest, err = cutList(s, (*p)[:0])
		return rest, err
	case *int64:
		*p, rest, err = cutInt(s)
		return rest, err
	case *moat.Time:
		var v int64
		v, rest, err = cutInt(s)
		*p = moat.Time(v)
		return rest, err
	case *bool:
		for text, v := range map[string]bool{"true": true, "false": false} {
			if len(s) >= len(text) && s[:len(text)] == text {
				*p = v
				return s[len(text):], nil
			}
		}
	}
	return "", errDetail
}

func cutInt(s string) (v int64, rest string, err error) {
	n := 0
	for n < len(s) && (s[n] == '-' || s[n] >= '0' && s[n] <= '9') {
		n++
	}
	if v, err = strconv.ParseInt(s[:n], 10, 64); err != nil {
		return 0, "", errDetail
	}
	return v, s[n:], nil
}

func cutList(s string, l []string) (list []string, rest string, err error) {
	if len(s) < 2 || s[0] != '[' {
		return nil, "", errDetail
	}
	if s = s[1:]; s[0] == ']' {
		return l, s[1:], nil
	}
	for {
		var v string
		if v, s, err = cutText(s); err != nil || s == "" {
			return nil, "", errDetail
		}
		l = append(l, v)
		switch s[0] {
		case ']':
			return l, s[1:], nil
		case ',':
			s = s[1:]
		default:
			return nil, "", errDetail
		}
	}
}

// cutText reads the JSON string at the start of s; without escapes it is a view.
func cutText(s string) (v, rest string, err error) {
	if s == "" || s[0] != '"' {
		return "", "", errDetail
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if !escaped {
				return s[1:i], s[i+1:], nil
			}
			if json.Unmarshal([]byte(s[:i+1]), &v) != nil {
				return "", "", errDetail
			}
			return v, s[i+1:], nil
		case '\\':
			escaped = true
			i++
		}
	}
	return "", "", errDetail
}

// cutObject cuts the JSON object at the start of s, which it does not check further.
func cutObject(s string) (v, rest string, err error) {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return s[:i+1], s[i+1:], nil
			}
		}
	}
	return "", "", errDetail
}

// pointerTo returns where e keeps field f, or nil for a field that has a column.
func pointerTo(e *moat.Event, f moat.FieldID) any {
	switch f {
	case moat.FieldMFA:
		return &e.MFA
	case moat.FieldObject:
		return &e.Object
	case moat.FieldChange:
		return &e.Change
	case moat.FieldBefore:
		return &e.Before
	case moat.FieldAfter:
		return &e.After
	case moat.FieldFileHash:
		return &e.FileHash
	case moat.FieldPurpose:
		return &e.Purpose
	case moat.FieldStatement:
		return &e.Statement
	case moat.FieldTables:
		return &e.Tables
	case moat.FieldDurationMS:
		return &e.DurationMS
	case moat.FieldClient:
		return &e.Client
	case moat.FieldLatencyMS:
		return &e.LatencyMS
	case moat.FieldReferer:
		return &e.Referer
	case moat.FieldWAF:
		return &e.WAF
	case moat.FieldService:
		return &e.Service
	case moat.FieldExe:
		return &e.Exe
	case moat.FieldArgs:
		return &e.Args
	case moat.FieldParent:
		return &e.Parent
	case moat.FieldUser:
		return &e.User
	case moat.FieldPID:
		return &e.PID
	case moat.FieldHash:
		return &e.Hash
	case moat.FieldVerdict:
		return &e.Verdict
	case moat.FieldPeer:
		return &e.Peer
	case moat.FieldPort:
		return &e.Port
	case moat.FieldDirection:
		return &e.Direction
	case moat.FieldName:
		return &e.Name
	case moat.FieldAction:
		return &e.Action
	case moat.FieldWebdriver:
		return &e.Webdriver
	case moat.FieldHeadless:
		return &e.Headless
	case moat.FieldTampered:
		return &e.Tampered
	case moat.FieldScript:
		return &e.Script
	case moat.FieldTimezone:
		return &e.Timezone
	case moat.FieldLanguage:
		return &e.Language
	case moat.FieldContactedAt:
		return &e.ContactedAt
	case moat.FieldToken:
		return &e.Token
	case moat.FieldChannel:
		return &e.Channel
	case moat.FieldVersion:
		return &e.Version
	case moat.FieldSeq:
		return &e.Seq
	case moat.FieldSent:
		return &e.Sent
	case moat.FieldExtra:
		return &e.Extra
	case moat.FieldReporter:
		return &e.Reporter
	case moat.FieldComplaintKind:
		return &e.Kind
	}
	return nil
}
