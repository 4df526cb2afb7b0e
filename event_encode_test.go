package moat

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestAppendJSON(t *testing.T) {
	f := func(e *Event, want string) {
		t.Helper()
		e.MarkAll()
		if got := string(AppendJSON([]byte("> "), e)); got != "> "+want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		if !json.Valid(AppendJSON(nil, e)) {
			t.Errorf("not JSON: %s", AppendJSON(nil, e))
		}
	}
	f(&Event{}, `{}`)
	f(&Event{Time: 1_763_712_000_123_000, Type: AuthLogin, Outcome: Denied, Actor: "li"}, `{"time":"2025-11-21T08:00:00.123Z","type":"auth.login","actor":"li","outcome":"denied"}`)
	// What Moat notes on receipt is not part of the contract; the partner is.
	f(&Event{Received: 1, Flags: FlagClock, Partner: "p", ID: "1"}, `{"id":"1","partner":"p"}`)
	// Escapes: what JSON demands, nothing for HTML.
	f(&Event{Actor: "a\"\\\n\r\t\x00\x1f\x7f<&>é😀\u2028"}, "{\"actor\":\"a\\\"\\\\\\n\\r\\t\\u0000\\u001f\x7f<&>é😀\u2028\"}")
	// Bytes that are not UTF-8 become U+FFFD.
	f(&Event{Actor: "a\xffb\xed\xa0\x80"}, `{"actor":"a�b���"}`)
	f(&Event{Orders: []string{"1", "\"2"}, Count: 3, MFA: true}, `{"orders":["1","\"2"],"count":3,"mfa":true}`)
	f(&Event{Extra: "{\"a\":\n1}"}, `{"extra":{"a": 1}}`)

	// Given as zero is written, except what has no zero in JSON.
	e := new(Event)
	for i := 1; i < int(FieldsEnd); i++ {
		e.Mark(FieldID(i))
	}
	got := string(AppendJSON(nil, e))
	if !strings.HasPrefix(got, `{"id":"","actor":"","actor_kind":"user",`) || strings.Contains(got, `"partner"`) || !json.Valid([]byte(got)) {
		t.Errorf("zeros: %s", got)
	}
}

func TestMarshalJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for range 500 {
		want := randomEvent(r, 0.5)
		want.Received, want.Flags = 0, 0
		want.Type, want.Time, want.Actor, want.Operation, want.Count = OrderAccess, max(want.Time, 1), "li", "view", 1
		want.MarkAll()
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Event
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		// json.Marshal writes Extra compactly and escapes for HTML.
		var a, c any
		if want.Has(FieldExtra) && (json.Unmarshal([]byte(want.Extra), &a) != nil || json.Unmarshal([]byte(got.Extra), &c) != nil) {
			t.Fatalf("extra %q and %q", want.Extra, got.Extra)
		}
		got.Extra = want.Extra
		if d := differs(want, &got); d != "" {
			t.Fatalf("%s: %s", b, d)
		}
	}
	var e Event
	var p *Problem
	if err := json.Unmarshal([]byte(`{"type":"x"}`), &e); !errors.As(err, &p) || p.Code != CodeType {
		t.Errorf("got %v", err)
	}
	// The event keeps nothing of the text.
	text := bytes.Clone(jsonEvent)
	if err := e.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	clear(text)
	if e.ID != "e-7f3a9c1b2d4e" {
		t.Errorf("id %q", e.ID)
	}
}

// complete gives e what its type must carry.
func complete(e *Event) {
	e.Type, e.Time = max(e.Type, AuthLogin), max(e.Time, 1)
	for _, group := range e.Type.Needs() {
		if f := &Fields[group[0]]; !e.carries(f.ID) {
			switch f.Kind {
			case KindString:
				*f.stringOf(e) = "x"
			case KindStrings:
				*f.stringsOf(e) = []string{"x"}
			}
			e.Mark(f.ID)
		}
	}
}

// FuzzRoundTrip: an event that is within the contract is the same after JSON, and after a batch.
func FuzzRoundTrip(f *testing.F) {
	for i := range uint64(20) {
		f.Add(i, "actor\u2028\"", "{\"a\":1}")
	}
	f.Fuzz(func(t *testing.T, seed uint64, actor, extra string) {
		r := rand.New(rand.NewPCG(seed, 0))
		want := randomEvent(r, r.Float64())
		want.Actor, want.Extra = actor, extra
		if seed%4 > 0 {
			complete(want)
		}
		want.MarkAll()
		if want.Extra == "" {
			want.forget(1<<FieldExtra, 0)
			want.has[0] &^= 1 << FieldExtra
		}
		var w BatchWriter
		var rd BatchReader
		var got Event
		w.Append(want)
		if err := rd.Open(w.Bytes()); err != nil || !rd.Next(&got) {
			t.Fatal(err, rd.Err())
		}
		if d := differs(want, &got); d != "" {
			t.Fatalf("batch: %s", d)
		}
		line := AppendJSON(nil, want)
		d := Decoder{AllowPartner: true}
		err, check := d.Decode(line, &got), want.Check()
		if check != nil {
			if err == nil && !strings.Contains(check.Error(), "UTF-8") && !strings.Contains(check.Error(), "one line") {
				t.Fatalf("Check says %v, but %s is read", check, line)
			}
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		got.Received, got.Flags = want.Received, want.Flags
		if diff := differs(want, &got); diff != "" {
			t.Fatalf("%s: %s", line, diff)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	e := benchEvent()
	buf := AppendJSON(nil, e)
	b.ReportAllocs()
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = AppendJSON(buf[:0], e)
	}
}
