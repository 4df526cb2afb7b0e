package moat

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// reference is the decoder as a reader of the contract would write it, on
// encoding/json: slow, and nothing shared with the fast one but the tables.
func reference(line []byte, allowPartner bool) (*Event, *Problem) {
	bad := func(code, field string) (*Event, *Problem) { return nil, &Problem{Code: code, Field: field} }
	switch {
	case len(line) > MaxLine:
		return bad(CodeSize, "")
	case !utf8.Valid(line):
		return bad(CodeUTF8, "")
	case !json.Valid(line):
		return bad(CodeJSON, "")
	case nesting(line) > MaxDepth:
		return bad(CodeDepth, "")
	case bytes.TrimLeft(line, " \t\r\n")[0] != '{':
		return bad(CodeJSON, "")
	}
	e := new(Event)
	var own, rest []string
	dec := json.NewDecoder(bytes.NewReader(line))
	if _, err := dec.Token(); err != nil {
		panic(err)
	}
	for dec.More() {
		before := dec.InputOffset()
		token, err := dec.Token()
		if err != nil {
			panic(err)
		}
		key := line[before:dec.InputOffset()]
		key = key[bytes.IndexByte(key, '"'):]
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			panic(err)
		}
		f := FieldByName(token.(string))
		if f == nil {
			if nesting(raw)+2 > MaxDepth {
				return bad(CodeDepth, "extra")
			}
			rest = append(rest, string(key)+":"+oneLine(raw))
			continue
		}
		if f.ID == FieldExtra {
			own = nil
		}
		if string(raw) == "null" {
			e.has[f.ID>>6] &^= 1 << (f.ID & 63)
			continue
		}
		e.Mark(f.ID)
		if code := referenceValue(f, e, raw, allowPartner); code != "" {
			return bad(code, f.Name)
		}
		if f.ID == FieldExtra {
			if inner := strings.Trim(e.Extra[1:len(e.Extra)-1], " \t\r\n"); inner != "" {
				own = []string{inner}
			}
		}
	}
	for i := 1; i < int(FieldsEnd); i++ {
		if f := &Fields[i]; !e.Has(f.ID) { // null after a value
			e.forget([2]uint64{1 << (i & 63), 0}[i>>6], [2]uint64{0, 1 << (i & 63)}[i>>6])
		}
	}
	if rest != nil {
		e.Extra = "{" + strings.Join(append(own, rest...), ",") + "}"
		e.Mark(FieldExtra)
		if len(e.Extra) > 8<<10 {
			return bad(CodeTooLong, "extra")
		}
	}
	given := func(name string) bool {
		f := FieldByName(name)
		return e.Has(f.ID) && (f.Kind != KindString || f.Text(e) != "") && (f.Kind != KindStrings || len(f.List(e)) > 0)
	}
	must := append([]string{"type", "time"}, mustCarry[e.Type.String()]...)
	for _, m := range must {
		if !slices.ContainsFunc(strings.Split(m, " or "), given) {
			return bad(CodeMissing, m)
		}
	}
	return e, nil
}

// mustCarry repeats the contract's table, so that a slip in the code's shows.
var mustCarry = map[string][]string{
	"auth.login":     {"actor", "outcome"},
	"auth.logout":    {"actor"},
	"auth.challenge": {"actor", "outcome"},
	"account.change": {"actor", "object", "change"},
	"order.access":   {"actor", "operation", "orders or count"},
	"order.transmit": {"orders or count", "destination"},
	"order.served":   {"app", "orders or count"},
	"data.decrypt":   {"actor", "orders or count"},
	"data.delete":    {"orders or count"},
	"db.query":       {"actor or app", "statement or template"},
	"api.call":       {"method"},
	"http.request":   {"method", "path"},
	"host.login":     {"actor", "host", "outcome"},
	"host.process":   {"host", "exe"},
	"host.file":      {"host", "path", "operation"},
	"host.network":   {"host", "peer"},
	"host.malware":   {"host", "path", "name"},
	"client.signal":  {"device"},
	"complaint":      {"orders"},
	"canary.touch":   {"orders or token"},
	"heartbeat":      {"host or app"},
	"sighting":       {"kind"},
}

func referenceValue(f *Field, e *Event, raw json.RawMessage, allowPartner bool) (code string) {
	if f.ID == FieldPartner && !allowPartner {
		return CodeForbidden
	}
	var v any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		panic(err)
	}
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	switch f.Kind {
	case KindString:
		if !isText {
			return CodeValue
		}
		if len(text) > f.Max {
			return CodeTooLong
		}
		*f.stringOf(e) = text
	case KindStrings:
		list, ok := v.([]any)
		if !ok {
			return CodeValue
		}
		*f.stringsOf(e) = nil
		for i, x := range list {
			s, ok := x.(string)
			switch {
			case !ok:
				return CodeValue
			case i == f.MaxItems:
				return CodeTooMany
			case len(s) > f.Max:
				return CodeTooLong
			}
			*f.stringsOf(e) = append(*f.stringsOf(e), s)
		}
	case KindInt:
		n, ok := wholeNumber(string(number))
		if !isNumber || !ok {
			return CodeValue
		}
		*f.intOf(e) = n
	case KindTime:
		n, ok := wholeNumber(string(number))
		if isText {
			var err error
			if n, err = referenceTime(text); err != nil {
				return CodeTime
			}
		} else if !isNumber || !ok {
			return CodeTime
		} else if t, err := TimeOfInt(n); err != nil {
			return CodeTime
		} else {
			n = int64(t)
		}
		*f.timeOf(e) = Time(n)
	case KindBool:
		b, ok := v.(bool)
		if !ok {
			return CodeValue
		}
		*f.boolOf(e) = b
	case KindEnum:
		i := slices.Index(f.Enum, text)
		switch {
		case !isText:
			return CodeValue
		case i < 0 || text == "":
			if f.ID == FieldType {
				return CodeType
			}
			return CodeValue
		}
		*f.enumOf(e) = uint8(i)
	case KindObject:
		if _, ok := v.(map[string]any); !ok {
			return CodeValue
		}
		if len(raw) > f.Max {
			return CodeTooLong
		}
		*f.stringOf(e) = oneLine(raw)
	}
	return ""
}

func oneLine(b []byte) string {
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(string(b))
}

// nesting returns how deep objects and lists in valid JSON are nested.
func nesting(b []byte) int {
	depth, most, inText := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case !inText && (c == '{' || c == '['):
			depth++
			most = max(most, depth)
		case !inText && (c == '}' || c == ']'):
			depth--
		}
	}
	return most
}

// wholeNumber is exact for digits, and goes to 2^53 with a fraction or exponent.
func wholeNumber(s string) (int64, bool) {
	if regexp.MustCompile(`^\d+$`).MatchString(s) {
		n, ok := new(big.Int).SetString(s, 10)
		return n.Int64(), ok && n.IsInt64()
	}
	v, err := json.Number(s).Float64()
	if err != nil || v != math.Trunc(v) || v < 0 || v > 1<<53 {
		return 0, false
	}
	return int64(v), true
}

func referenceTime(s string) (int64, error) {
	if n, err := json.Number(s).Int64(); err == nil {
		t, err := TimeOfInt(n)
		return int64(t), err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err == nil && (t.UnixMicro() <= 0 || t.UTC().Year() > 9999) {
		err = errors.New("out of range")
	}
	return t.UnixMicro(), err
}

// agree fails unless the decoder and the reference say the same of line.
func agree(t *testing.T, d *Decoder, e *Event, line []byte) {
	t.Helper()
	want, wantProblem := reference(line, d.AllowPartner)
	err := d.Decode(line, e)
	var p *Problem
	if err != nil && !errors.As(err, &p) {
		t.Fatalf("%q: error is no Problem: %v", line, err)
	}
	switch {
	case p == nil && wantProblem == nil:
		if diff := differs(want, e); diff != "" {
			t.Fatalf("%q: %s", line, diff)
		}
		if err := e.Check(); err != nil {
			t.Fatalf("%q: accepted, but Check says %v", line, err)
		}
	case p == nil || wantProblem == nil:
		t.Fatalf("%q: decoder says %+v, reference %+v", line, p, wantProblem)
	case p.Code != wantProblem.Code || p.Field != wantProblem.Field:
		if wantProblem.Code == CodeJSON && p.Code == CodeDepth {
			break // broken behind the point where it is too deep
		}
		t.Fatalf("%q: decoder says %+v, reference %+v", line, p, wantProblem)
	default:
		if diff := differs(&Event{}, e); diff != "" {
			t.Fatalf("%q: an error leaves %s", line, diff)
		}
	}
}

func TestDecodeAgainstReference(t *testing.T) {
	var d, op Decoder
	op.AllowPartner = true
	var e Event
	for _, line := range trickyLines() {
		agree(t, &d, &e, []byte(line))
		agree(t, &op, &e, []byte(line))
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		line := AppendJSON(nil, randomEvent(r, r.Float64()/2))
		agree(t, &op, &e, line)
		for range r.IntN(3) { // and broken ones
			line[r.IntN(len(line))] = `"\{}[],:0x9-e.u`[r.IntN(15)]
		}
		agree(t, &d, &e, line)
		d.Release()
		op.Release()
	}
}

// trickyLines are lines at the edges of the contract, good and bad.
func trickyLines() []string {
	with := func(members string) string {
		return `{"time":"2025-11-21T08:00:00.123Z","type":"data.delete","count":1` + members + `}`
	}
	lines := []string{
		"", " ", "{", "}", "{}", " {} ", "{}x", "{}{}", "[]", "[{}]", "null", "1", `"x"`, "{,}", `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a" 1}`,
		`{a:1}`, `{"":1}`, `{"\u0000":1}`, "{\"\x00\":1}", "\xef\xbb\xbf{}", "{\"a\":\"\x01\"}", `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12G4"}`,
		`{"a":tru}`, `{"a":truex}`, `{"a":nul}`, `{"a":+1}`, `{"a":01}`, `{"a":-}`, `{"a":-01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":1e+}`, `{"a":1E-07}`,
		`{"a":[}`, `{"a":{]}`, `{"a":[1,]}`, `{"a":[,1]}`, `{"a":{"b":1,}}`, `{"a":[1 2]}`, `{"a":"`, `{"a":"\`, `{"a":"\"`, `{"a`, `{"a":[[[`, `{"time"`, `{"time":`, `{"time":"`,
		with(""), with(`,"actor":null`), with(`,"actor":"a","actor":null`), with(`,"actor":"a","actor":"b"`), with(`,"actor":1,"actor":"b"`),
		with(`,"\u0061ctor":"li"`), with(`,"Actor":"li"`), with(`,"actor" : "li"`), with("\t,\r\n\"actor\"\t:\n\"li\" "), with(`,"actor":"\u00e9\ud83d\ude00\ud83d\"\\\/\b\f\n\r\t"`),
		with(`,"actor":"\ud83dx"`), with(`,"actor":"\ude00\ud83d\ude00"`), with(`,"actor":"\ud83d\u12"`), with(`,"actor":"\u0000"`), with(",\"actor\":\"\xff\""), with(",\"x\":\"\xff\""), with(",\"\xff\":1"),
		with(`,"actor":"` + strings.Repeat("a", 256) + `"`), with(`,"actor":"` + strings.Repeat("a", 257) + `"`), with(`,"actor":"` + strings.Repeat(`\u0061`, 256) + `"`), with(`,"actor":"` + strings.Repeat("é", 129) + `"`),
		with(`,"count":-1`), with(`,"count":-0`), with(`,"count":0`), with(`,"count":1.0`), with(`,"count":1.5`), with(`,"count":1e3`), with(`,"count":1e400`), with(`,"count":1e19`), with(`,"count":"1"`), with(`,"count":true`),
		with(`,"count":9223372036854775807`), with(`,"count":9223372036854775808`), with(`,"count":999999999999999999`), with(`,"count":1000000000000000000`), with(`,"count":00`), with(`,"count":-`), with(`,"count":12x`), with(`,"count":null`), with(`,"count":9007199254740993.0`),
		with(`,"orders":[]`), with(`,"orders":[ ]`), with(`,"orders":["a","b"]`), with(`,"orders":[ "a" , "b" ]`), with(`,"orders":[1]`), with(`,"orders":["a",null]`), with(`,"orders":"a"`), with(`,"orders":["a",]`), with(`,"orders":["a"`), with(`,"orders":{}`), with(`,"orders":["\u0061\n","é"]`),
		with(`,"orders":["a","b"],"orders":["c"]`), with(`,"orders":["a"],"orders":null`), with(`,"orders":["a"` + strings.Repeat(`,"a"`, 999) + `]`), with(`,"orders":["a"` + strings.Repeat(`,"a"`, 1000) + `]`), with(`,"orders":["` + strings.Repeat("a", 129) + `"]`),
		with(`,"mfa":true`), with(`,"mfa":false`), with(`,"mfa":1`), with(`,"mfa":"true"`), with(`,"mfa":truefalse`),
		with(`,"outcome":"denied"`), with(`,"outcome":"\u0064enied"`), with(`,"outcome":"Denied"`), with(`,"outcome":""`), with(`,"outcome":0`), with(`,"type":""`), with(`,"type":"x.y"`), with(`,"type":7`), with(`,"type":null`), with(`,"type":"heartbeat"`), with(`,"type":"heartbeat","app":""`), with(`,"type":"complaint","orders":[]`),
		with(`,"partner":"p"`), with(`,"partner":null`), with(`,"partner":5`), with(`,"partner":""`), with(`,"partner":"` + strings.Repeat("p", 129) + `"`),
		with(`,"extra":{}`), with(`,"extra":{ }`), with(`,"extra":[]`), with(`,"extra":"{}"`), with(`,"extra":null`), with(`,"extra":{"a":1},"b":2`), with(`,"b":2,"extra": { "a":1 } ,"c":[3, 4]`), with(`,"extra":{ },"b":2`), with(`,"extra":{"a":1},"extra":null,"b":2`), with(`,"extra":{"a":1},"extra":{"c":1}`),
		with(",\"extra\":{\"a\":\n1},\"b\":[1,\r\n2]"), with(",\"extra\":{\n}"), with(`,"b":"\u00e9\ud800"`), with(`,"b":1,"b":2`), with(`,"extra":{"a":"` + strings.Repeat("x", 8<<10) + `"}`), with(`,"b":"` + strings.Repeat("x", 8<<10) + `"`), with(`,"b":"` + strings.Repeat("x", 8<<10-8) + `"`), with(`,"b":"` + strings.Repeat("x", 8<<10-7) + `"`),
		with(`,"b":"` + strings.Repeat("x", 4000) + `","extra":{"c":"` + strings.Repeat("x", 4170) + `"}`), with(`,"b":"` + strings.Repeat("x", 4000) + `","extra":{"c":"` + strings.Repeat("x", 4180) + `"}`),
	}
	for _, n := range []int{1, 28, 29, 30, 31, 32, 33, 70} {
		lines = append(lines, with(`,"b":`+strings.Repeat("[", n)+strings.Repeat("]", n)), with(`,"extra":`+strings.Repeat(`{"a":`, n)+"1"+strings.Repeat("}", n)),
			with(`,"actor":`+strings.Repeat("[", n)+strings.Repeat("]", n)), with(`,"b":`+strings.Repeat("[", n)), with(`,"b":`+strings.Repeat("[{\"k\":", n)+"1"+strings.Repeat("}]", n)))
	}
	for _, v := range []string{`"2025-11-21T08:00:00Z"`, `"2025-11-21T08:00:00+08:00"`, `"2025-11-21T08:00:00.5-00:30"`, `"2025-11-21T08:00:00.123456789Z"`, `"2025-11-21T08:00:00.1234567891Z"`, `"2025-11-21T08:00:00.Z"`, `"2025-11-21T08:00:00,5Z"`,
		`"2025-11-21T8:00:00Z"`, `"2025-11-21 08:00:00Z"`, `"2025-11-21T08:00:00"`, `"2025-11-21t08:00:00z"`, `"2025-02-28T00:00:00Z"`, `"2025-02-29T00:00:00Z"`, `"2024-02-29T00:00:00Z"`, `"2100-02-29T00:00:00Z"`, `"2000-02-29T00:00:00Z"`, `"2025-02-30T00:00:00Z"`,
		`"2025-04-31T00:00:00Z"`, `"2025-12-31T23:59:59Z"`, `"2025-12-32T00:00:00Z"`, `"2025-00-01T00:00:00Z"`, `"2025-13-01T00:00:00Z"`, `"2025-01-00T00:00:00Z"`, `"2016-12-31T23:59:60Z"`, `"2025-11-21T24:00:00Z"`, `"2025-11-21T08:60:00Z"`, `"2025-11-21T08:00:00+24:00"`, `"2025-11-21T08:00:00+23:60"`, `"2025-11-21T08:00:00+0800"`, `"2025-11-21T08:00:00Zx"`,
		`"1970-01-01T00:00:00Z"`, `"1970-01-01T00:00:00.000001Z"`, `"1970-01-01T00:30:00+01:00"`, `"1969-12-31T23:59:59-01:00"`, `"9999-12-31T23:59:59.999999999Z"`, `"9999-12-31T23:59:59-00:01"`, `"10000-01-01T00:00:00Z"`, `"0000-01-01T00:00:00Z"`, `"2025\u002d11-21T08:00:00Z"`, `""`, `"now"`, `"1763712000"`, `"+1763712000"`, `"-5"`, `"1763712000.5"`,
		`1763712000`, `1763712000123`, `1763712000123456`, `0`, `-1`, `1`, `1763712000.0`, `1763712000.5`, `1.763712e9`, `99999999999`, `100000000000`, `99999999999999`, `100000000000000`, `253402300799`, `253402300800`, `253402300800000000`, `9223372036854775807`, `9223372036854775808`, `true`, `[]`, `{}`, `null`} {
		lines = append(lines, `{"type":"data.delete","count":1,"time":`+v+`}`)
	}
	for name, must := range mustCarry {
		for i := range len(must) + 1 {
			line := `{"time":1763712000,"type":"` + name + `"`
			for j, m := range must {
				f := FieldByName(strings.Split(m, " or ")[(i+j)%len(strings.Split(m, " or "))])
				switch {
				case j == i:
				case f.Kind == KindStrings:
					line += `,"` + f.Name + `":["x"]`
				case f.Kind == KindInt:
					line += `,"` + f.Name + `":0`
				case f.Kind == KindEnum:
					line += `,"` + f.Name + `":"` + f.Enum[1] + `"`
				default:
					line += `,"` + f.Name + `":"x"`
				}
			}
			lines = append(lines, line+"}")
		}
	}
	return lines
}

func TestMustCarryNamesEveryType(t *testing.T) {
	for _, name := range typeNames[1:] {
		if len(mustCarry[name]) == 0 {
			t.Errorf("%s: no fields in the test's table", name)
		}
		typ, err := ParseEventType(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, group := range typ.Needs() {
			var names []string
			for _, f := range group {
				names = append(names, Fields[f].Name)
			}
			got = append(got, strings.Join(names, " or "))
		}
		if !slices.Equal(got, mustCarry[name]) {
			t.Errorf("%s: needs %q, want %q", name, got, mustCarry[name])
		}
	}
	if len(mustCarry) != int(EventTypes)-1 || EventTypes.Needs() != nil {
		t.Errorf("%d types in the test's table", len(mustCarry))
	}
}

func TestProblems(t *testing.T) {
	long := strings.Repeat("é", 30)
	for _, row := range []struct{ name, members, want string }{
		{"size", `,"x":"` + strings.Repeat("a", MaxLine) + `"`, `size||1048645 bytes; want at most 1048576`},
		{"utf8", ",\"x\":\"\xff\"", `utf8||not valid UTF-8`},
		{"json", `,"x":}`, `json||not JSON at byte 66`},
		{"json, cut", `,"x":[1`, `json||not JSON at byte 68`},
		{"json before a field", `,"count":-1,"x":}`, `json||not JSON at byte 77`},
		{"text behind", `}}`, `json||text after the JSON object at byte 62`},
		{"depth", `,"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32), `depth||nested more than 32 deep at byte 97`},
		{"depth of an unknown field", `,"x":` + strings.Repeat("[", 31) + strings.Repeat("]", 31), `depth|extra|an unknown field is nested more than 30 deep`},
		{"type", `,"type":"order.acess"`, `type|type|unknown event type "order.acess"`},
		{"type, cut to 40 bytes", `,"type":"` + long + `"`, `type|type|unknown event type "` + long[:40] + `"…`},
		{"type, cut before a letter", `,"type":"a` + long + `"`, `type|type|unknown event type "a` + long[:38] + `"…`},
		{"time", `,"time":"yesterday"`, `time|time|want RFC 3339, or an integer of s, ms or µs since 1970, in the years 1970–9999, not "yesterday"`},
		{"time as a fraction", `,"contacted_at":1.5`, `time|contacted_at|want RFC 3339, or an integer of s, ms or µs since 1970, in the years 1970–9999`},
		{"no time", `,"time":null`, `missing|time|every event needs the time when it happened`},
		{"no type", `,"type":null`, `missing|type|every event needs a type`},
		{"missing", `,"count":null`, `missing|orders or count|data.delete needs orders or count`},
		{"missing one", `,"type":"api.call"`, `missing|method|api.call needs method`},
		{"empty is missing", `,"type":"api.call","method":""`, `missing|method|api.call needs method`},
		{"too long", `,"id":"` + strings.Repeat("a", 65) + `"`, `too_long|id|65 bytes; want at most 64`},
		{"too long an element", `,"orders":["` + strings.Repeat("a", 129) + `"]`, `too_long|orders|129 bytes; want at most 128`},
		{"too long an extra", `,"extra":{"a":"` + strings.Repeat("a", 8192) + `"}`, `too_long|extra|8200 bytes; want at most 8192`},
		{"too long with unknown", `,"a":"` + strings.Repeat("a", 8192) + `"`, `too_long|extra|8200 bytes; want at most 8192, unknown fields included`},
		{"too many", `,"fields":["a"` + strings.Repeat(`,"a"`, 32) + `]`, `too_many|fields|more than 32 elements; split the event`},
		{"order as a number", `,"orders":[4030112233445566]`, `value|orders|want a list of strings`},
		{"orders as text", `,"orders":"4030112233445566"`, `value|orders|want a list of strings`},
		{"actor as a number", `,"actor":13800138000`, `value|actor|want a string`},
		{"negative", `,"count":-1`, `value|count|want an integer from 0 to 2^63-1`},
		{"bool as text", `,"mfa":"yes"`, `value|mfa|want true or false`},
		{"extra as a list", `,"extra":[]`, `value|extra|want an object`},
		{"outcome as a number", `,"outcome":1`, `value|outcome|want a string`},
		{"unknown outcome", `,"outcome":"ok"`, `value|outcome|unknown value "ok"; want one of success, failure, denied, challenged`},
		{"forbidden", `,"partner":"other"`, `forbidden|partner|the partner follows from the credentials`},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := Event{Partner: "stale", Received: 1, Flags: 1, Actor: "stale"}
			e.MarkAll()
			err := NewDecoder().Decode([]byte(`{"time":"2025-11-21T08:00:00Z","type":"data.delete","count":1`+row.members+"}"), &e)
			var p *Problem
			if !errors.As(err, &p) {
				t.Fatalf("got %v, want a Problem", err)
			}
			if got := p.Code + "|" + p.Field + "|" + p.Message; got != row.want {
				t.Errorf("\n got %s\nwant %s", got, row.want)
			}
			if d := differs(&Event{}, &e); d != "" {
				t.Errorf("an error leaves %s", d)
			}
			if text := p.Error(); !strings.HasSuffix(text, p.Message) || !strings.HasPrefix(text, p.Field) {
				t.Errorf("text %q", text)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	good := func() *Event {
		e := &Event{Time: Second, Type: DataDelete, Count: 1}
		e.MarkAll()
		return e
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Event){
		"too_long actor":          func(e *Event) { e.Actor = strings.Repeat("a", 257) },
		"utf8 actor":              func(e *Event) { e.Actor = "\xff" },
		"too_many fields":         func(e *Event) { e.Fields = make([]string, 33) },
		"too_long shops":          func(e *Event) { e.Shops = []string{strings.Repeat("a", 129)} },
		"value count":             func(e *Event) { e.Count = -1 },
		"time time":               func(e *Event) { e.Time = -1 },
		"time contacted_at":       func(e *Event) { e.ContactedAt = endOfTime },
		"value outcome":           func(e *Event) { e.Outcome = outcomes },
		"type type":               func(e *Event) { e.Type = EventTypes },
		"value extra":             func(e *Event) { e.Extra = "[]" },
		"too_long extra":          func(e *Event) { e.Extra = `{"a":"` + strings.Repeat("a", 8<<10) + `"}` },
		"missing time":            func(e *Event) { e.Reset(); e.Type = DataDelete },
		"missing type":            func(e *Event) { e.Type = NoType },
		"missing orders or count": func(e *Event) { e.Count = 0; e.has[0] &^= 1 << FieldCount },
	} {
		e := good()
		change(e)
		e.MarkAll()
		var p *Problem
		if err := e.Check(); !errors.As(err, &p) || p.Code+" "+p.Field != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, extra := range []string{"{", "{}x", " {}", "{\n}", "{\"a\":1,}", "1", ""} {
		e := good()
		e.Extra = extra
		e.Mark(FieldExtra)
		var p *Problem
		if err := e.Check(); !errors.As(err, &p) || p.Code != CodeValue {
			t.Errorf("extra %q: %v", extra, err)
		}
	}
}

func TestDecoderLearnsOrder(t *testing.T) {
	var d Decoder
	var e Event
	for range 2 {
		if err := d.Decode(jsonEvent, &e); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := reference(jsonEvent, false)
	if diff := differs(want, &e); diff != "" {
		t.Fatal(diff)
	}
	if d.after[OrderAccess][FieldActor] != FieldRole || d.after[NoType][FieldNone] != FieldEventID {
		t.Errorf("learned %v after actor", d.after[OrderAccess][FieldActor])
	}
}

func TestReleaseKeepsOneArena(t *testing.T) {
	var d Decoder
	var e Event
	line := []byte(`{"time":1763712000,"type":"api.call","method":"` + strings.Repeat(`\u0061`, 20) + `"}`)
	want := strings.Repeat("a", 20)
	decode := func() {
		for range 5000 {
			if err := d.Decode(line, &e); err != nil || e.Method != want {
				t.Fatalf("%q, %v", e.Method, err)
			}
		}
		d.Release()
	}
	decode()
	if n := testing.AllocsPerRun(5, decode); n > 0 {
		t.Errorf("%v allocations per run once the arena has grown", n)
	}
}

func TestDecodeAllocs(t *testing.T) {
	d := NewDecoder()
	var e Event
	escaped := bytes.Replace(jsonEvent, []byte("web-03"), []byte(`web\u002d03`), 1)
	unknown := bytes.Replace(jsonEvent, []byte(`"host"`), []byte(`"server_name"`), 1)
	if n := testing.AllocsPerRun(100, func() {
		for _, line := range [][]byte{jsonEvent, escaped, unknown} {
			if err := d.Decode(line, &e); err != nil {
				t.Fatal(err)
			}
		}
		d.Release()
	}); n != 0 {
		t.Errorf("%v allocations per three events", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, line := range trickyLines() {
		if len(line) < 4<<10 {
			f.Add([]byte(line))
		}
	}
	f.Add(jsonEvent)
	f.Fuzz(func(t *testing.T, line []byte) {
		d := Decoder{AllowPartner: len(line)%2 == 0}
		var e Event
		agree(t, &d, &e, line)
		agree(t, &d, &e, line) // with what the first time has taught
	})
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2025-11-21T08:00:00Z", "2024-02-29T23:59:59.999999+08:00", "1763712000", "1969-12-31T23:59:59-23:59"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s)
		want, wantErr := referenceTime(s)
		if (err == nil) != (wantErr == nil) || err == nil && int64(got) != want {
			t.Fatalf("%q: got %d, %v; want %d, %v", s, got, err, want, wantErr)
		}
	})
}

// jsonEvent is the usual access to orders: 15 fields, 389 bytes.
var jsonEvent = []byte(`{"id":"e-7f3a9c1b2d4e","time":"2025-11-21T08:00:00.123Z","type":"order.access","actor":"cs-wang.li@shop-1041","role":"customer_service","app":"erp-river",` +
	`"shops":["shop-1041"],"ip":"203.0.113.57","device":"d-91ab77c2e05f","session":"s-55e0c1a4","operation":"view","orders":["4030112233445566","4030112233445567"],` +
	`"fields":["name","phone"],"bytes":2310,"host":"web-03.erp-river.example"}`)

func BenchmarkDecode(b *testing.B) {
	run := func(name string, line []byte) {
		b.Run(name, func(b *testing.B) {
			var d Decoder
			var e Event
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				if err := d.Decode(line, &e); err != nil {
					b.Fatal(err)
				}
				d.Release()
			}
		})
	}
	run("usual", jsonEvent)
	run("spaced", bytes.ReplaceAll(bytes.ReplaceAll(jsonEvent, []byte(`,"`), []byte(`, "`)), []byte(`":`), []byte(`": `)))
	run("escaped", bytes.ReplaceAll(jsonEvent, []byte("-"), []byte(`\u002d`)))
	run("unknown", bytes.Replace(jsonEvent, []byte(`"host"`), []byte(`"server_name"`), 1))
	b.Run("changing order", func(b *testing.B) {
		var members []json.RawMessage
		for _, m := range regexp.MustCompile(`"[a-z]+":("[^"]*"|\[[^\]]*\]|\d+)`).FindAll(jsonEvent, -1) {
			members = append(members, m)
		}
		r := rand.New(rand.NewPCG(7, 8))
		var lines [][]byte
		for range 64 {
			r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
			line := []byte("{")
			for i, m := range members {
				if i > 0 {
					line = append(line, ',')
				}
				line = append(line, m...)
			}
			lines = append(lines, append(line, '}'))
		}
		var d Decoder
		var e Event
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := d.Decode(lines[i%len(lines)], &e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		type plain struct {
			ID        string    `json:"id"`
			Time      time.Time `json:"time"`
			Type      string    `json:"type"`
			Actor     string    `json:"actor"`
			Role      string    `json:"role"`
			App       string    `json:"app"`
			Shops     []string  `json:"shops"`
			IP        string    `json:"ip"`
			Device    string    `json:"device"`
			Session   string    `json:"session"`
			Operation string    `json:"operation"`
			Orders    []string  `json:"orders"`
			Fields    []string  `json:"fields"`
			Bytes     int64     `json:"bytes"`
			Host      string    `json:"host"`
		}
		b.ReportAllocs()
		b.SetBytes(int64(len(jsonEvent)))
		for b.Loop() {
			var e plain
			if err := json.Unmarshal(jsonEvent, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	e := benchEvent()
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Check(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseTime(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseTime("2025-11-21T08:00:00.123Z"); err != nil {
			b.Fatal(err)
		}
	}
}
