package lake

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/moat-platform/moat"
)

func TestDetail(t *testing.T) {
	for _, c := range []struct {
		name string
		e    moat.Event
		want string
	}{
		{"nothing", moat.Event{Actor: "ann", Count: 3}, ""},
		{"boolean and number", moat.Event{MFA: true, LatencyMS: -12}, `{"mfa":true,"latency_ms":-12}`},
		{"text", moat.Event{Before: "a\"b\\c\n", After: "店"}, `{"before":"a\"b\\c\u000a","after":"店"}`},
		{"list", moat.Event{WAF: []string{"942100", "x\""}}, `{"waf":["942100","x\""]}`},
		{"time", moat.Event{ContactedAt: 5}, `{"contacted_at":5}`},
		{"extra", moat.Event{Extra: `{"b": 1}`, Purpose: "ship"}, `{"extra":{"b": 1},"purpose":"ship"}`},
		{"extra that is no object", moat.Event{Extra: `nope`}, `{"extra":"nope"}`},
	} {
		c.e.MarkAll()
		if got := string(appendDetail(nil, &c.e)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzDetail checks that what is no detail is refused, and what is one reads back the same.
func FuzzDetail(f *testing.F) {
	f.Add(`{"mfa":true,"latency_ms":12}`)
	f.Add(`{"extra":{"a":[{"b":"}\""}]},"tables":["t","\u0000"],"before":"x"}`)
	f.Add(`{"extra":"{","waf":[]}`)
	f.Add(`{"actor":"ann"}`)
	r := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		f.Add(string(appendDetail(nil, randomEvent(r))))
	}
	f.Fuzz(func(t *testing.T, s string) {
		var e, again moat.Event
		if parseDetail(s, &e) != nil {
			return
		}
		out := string(appendDetail(nil, &e))
		if out == "" || !json.Valid([]byte(out)) && json.Valid([]byte(s)) {
			t.Fatalf("%q is read and written as %q", s, out)
		}
		if err := parseDetail(out, &again); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if twice := string(appendDetail(nil, &again)); twice != out {
			t.Fatalf("%q is read and written as %q", out, twice)
		}
	})
}
