package moat

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestExtraText(t *testing.T) {
	f := func(extra, name, want string) {
		t.Helper()
		e := Event{Extra: extra}
		if got := e.ExtraText(name); got != want {
			t.Errorf("%s of %s is %q, want %q", name, extra, got, want)
		}
	}
	const all = ` {"approver": "bob", "n": -1.5e3, "yes":true,"no" :false, "nil":null, "deep":{"approver":"eve"}, "list":["a"], "":"empty", "esc":"a\"b", "approver":"carol"} `
	f(all, "approver", "bob")
	f(all, "n", "-1.5e3")
	f(all, "yes", "true")
	f(all, "no", "false")
	f(all, "nil", "")
	f(all, "deep", "")
	f(all, "list", "")
	f(all, "", "empty")
	f(all, "esc", `a\"b`)
	f(all, "missing", "")
	f("", "a", "")
	f("{}", "a", "")
	f("[1]", "a", "")
	f(`{"a":1`, "a", "1")
	f(`{"b":1 "a":2}`, "a", "")
	f(`{"a":}`, "a", "")
	f(`{"a`, "a", "")
	f(strings.Repeat(`{"a":`, 10000), "a", "")
}

// FuzzExtraText compares with encoding/json where that finds an object.
func FuzzExtraText(f *testing.F) {
	f.Add(`{"a":"x","b":[1,{"a":2}],"c":3}`, "c")
	f.Add(`{"a\u0062":1,"ab":2}`, "ab")
	f.Add("{\"a\":\"\xff\"}", "a")
	f.Fuzz(func(t *testing.T, extra, name string) {
		e := Event{Extra: extra}
		got := e.ExtraText(name)
		if n := testing.AllocsPerRun(1, func() { e.ExtraText(name) }); n > 0 {
			t.Fatalf("%v allocations", n)
		}
		var members map[string]json.RawMessage
		if json.Unmarshal([]byte(extra), &members) != nil || strings.ContainsAny(extra+name, "\\") {
			return
		}
		if _, there := members[name]; !there && got != "" {
			t.Fatalf("%q of %q is %q, which is not there", name, extra, got)
		}
		if raw := string(members[name]); strings.Count(extra, `"`+name+`"`) == 1 && got != "" && strings.Trim(raw, `"`) != got {
			t.Fatalf("%q of %q is %q, want %q", name, extra, got, raw)
		}
	})
}

func BenchmarkExtraText(b *testing.B) {
	e := Event{Extra: `{"trace":"00-4bf92f3577b34da6a3ce929d0e0e4736","menu":"orders","approver":"bob"}`}
	b.ReportAllocs()
	for range b.N {
		e.ExtraText("approver")
	}
}
