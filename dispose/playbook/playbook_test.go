package playbook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

const now = 1_767_225_600 * moat.Second

func aCase(rank moat.Rank, entities ...moat.Entity) moat.Case {
	return moat.Case{ID: "c_1", Partner: "a", Rank: rank, Reason: "why", State: moat.CaseOpen, Entities: entities}
}

// brief writes decisions as "action scope value hours".
func brief(list []moat.Decision) string {
	var s []string
	for _, d := range list {
		s = append(s, fmt.Sprintf("%s %s %s %dh", d.Action, d.Scope, d.Value, (d.Until-d.From)/moat.Hour))
	}
	return strings.Join(s, ", ")
}

func TestDefault(t *testing.T) {
	clerk, phone, erp := moat.Entity{Kind: moat.Account, ID: "clerk"}, moat.Entity{Kind: moat.Device, ID: "phone"}, moat.Entity{Kind: moat.App, ID: "erp"}
	shop := moat.Entity{Kind: moat.Shop, ID: "s1"}
	// Of a takeover the thief's own device and address are denied, and the account is its owner's.
	taken := aCase(moat.P1, clerk, phone)
	taken.Strange = []moat.Entity{{Kind: moat.Device, ID: "strange"}, {Kind: moat.IP, ID: "192.0.2.9"}}
	milder := taken // of one witness nothing is denied, not even what a stranger brought
	milder.Rank = moat.P2
	closed, merged := aCase(moat.P1, clerk), aCase(moat.P1, clerk)
	closed.State, merged.Merged = moat.CaseClosed, "c_2"
	for _, c := range []struct {
		c       moat.Case
		subject moat.Entity
		want    string
	}{
		{aCase(moat.P1, clerk, phone, phone, erp), clerk, "deny account clerk 24h, verify device phone 24h"},
		{aCase(moat.P1, phone, clerk), phone, "deny device phone 24h"}, // the subject is not related to itself
		{aCase(moat.P1, erp, phone), erp, "deny app erp 24h, verify device phone 24h"},
		{aCase(moat.P2, clerk, phone), clerk, "mask account clerk 24h, verify account clerk 24h"},
		{aCase(moat.P3, clerk, phone), clerk, "verify account clerk 12h"},
		{aCase(moat.P4, clerk, phone), clerk, "observe account clerk 24h"},
		{aCase(moat.NoRank, clerk), clerk, ""},
		{aCase(77, clerk), clerk, ""},
		{aCase(moat.P1, shop), shop, ""},
		{aCase(moat.P1), moat.Entity{Kind: moat.Account}, ""},
		{taken, clerk, "deny device strange 24h, deny ip 192.0.2.9 24h, mask account clerk 24h, verify device phone 24h"},
		{milder, clerk, "mask device strange 24h, mask ip 192.0.2.9 24h, mask account clerk 24h, verify account clerk 24h"},
		{taken, phone, "deny device strange 24h, deny ip 192.0.2.9 24h, deny device phone 24h"},
		{closed, clerk, ""},
		{merged, clerk, ""},
	} {
		if got := brief(Default().Decide(c.c, c.subject, c.c.Reason, c.c.Rank, now)); got != c.want {
			t.Errorf("%s %s: %s\nwant %s", c.c.Rank, c.subject, got, c.want)
		}
	}
	// Who only joined a P1 is treated by what was found of him.
	if got := brief(Default().Decide(aCase(moat.P1, clerk, phone), phone, "", moat.P3, now)); got != "verify device phone 12h" {
		t.Error(got)
	}
	want := moat.Decision{ID: moat.DecisionID("c_1", "account", "clerk", moat.Verify, int64(now/(12*moat.Hour))), Partner: "a", Scope: "account", Value: "clerk",
		Action: moat.Verify, From: now, Until: now + 12*moat.Hour, Origin: "playbook", Case: "c_1", Reason: "it alone"}
	if got := Default().Decide(aCase(moat.P3, clerk), clerk, "it alone", moat.P3, now); len(got) != 1 || got[0] != want {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

// TestWorse: each worse rank brings new decisions and none milder on the subject.
func TestWorse(t *testing.T) {
	clerk := moat.Entity{Kind: moat.Account, ID: "clerk"}
	var had []string
	strongest := moat.Allow
	for r := moat.P4; r >= moat.P1; r-- {
		now := moat.Allow
		fresh := false
		for _, d := range Default().Decide(aCase(r, clerk), clerk, "why", r, 1) {
			now = max(now, d.Action)
			fresh = fresh || !slices.Contains(had, d.ID)
			had = append(had, d.ID)
		}
		if now <= strongest || !fresh {
			t.Errorf("%s brings %s after %s, anything new: %v", r, now, strongest, fresh)
		}
		strongest = now
	}
}

func TestManyTargets(t *testing.T) {
	var entities []moat.Entity
	for n := range 1000 {
		entities = append(entities, moat.Entity{Kind: moat.Device, ID: fmt.Sprint(n)})
	}
	if n := len(Default().Decide(aCase(moat.P1, entities...), moat.Entity{Kind: moat.Account, ID: "x"}, "why", moat.P1, now)); n != maxTargets {
		t.Errorf("%d decisions", n)
	}
}

func TestLoadErrors(t *testing.T) {
	step := "{action: verify, on: subject, kinds: [account], for: 12h}"
	for _, c := range []struct{ text, want string }{
		{"", "p.yaml: it is empty"},
		{"P1: [", "p.yaml:1:1: "},
		{"- a", "p.yaml:1:1: want a mapping of P1, P2, P3 and P4"},
		{"P1: []\n---\nP2: []", "more than one document"},
		{"P5: []", `p.yaml:1:1: unknown rank "P5" (did you mean P1?)`},
		{"P1: []\nP1: []", `p.yaml:2:1: "P1" is given twice`},
		{"P1: deny", "p.yaml:1:5: want a list of decisions"},
		{"P1: &x []\nP2: *x", "p.yaml:2:5: aliases are not read"},
		{"P1:\n  - " + strings.Replace(step, "verify", "denny", 1), `p.yaml:2:14: unknown action "denny" (did you mean deny?)`},
		{"P1:\n  - " + strings.Replace(step, "verify", "allow", 1), `unknown action "allow" (want one of observe, verify`},
		{"P1:\n  - " + strings.Replace(step, "subject", "suspect", 1), `unknown role "suspect" (did you mean subject?)`},
		{"P1:\n  - " + strings.Replace(step, "[account]", "[acount]", 1), `unknown entity kind "acount" (did you mean account?)`},
		{"P1:\n  - " + strings.Replace(step, "[account]", "account", 1), `want a list of entity kinds (write kinds: [account, device])`},
		{"P1:\n  - " + strings.Replace(step, "[account]", "[ip, ip]", 1), `ip is given twice`},
		{"P1:\n  - " + strings.Replace(step, "[account]", "[destination]", 1), `nothing can be decided about a destination`},
		{"P1:\n  - " + strings.Replace(step, "12h", "12", 1), `"12" is no duration (write 90m, 24h or 7d)`},
		{"P1:\n  - " + strings.Replace(step, "12h", "999d", 1), `999d is longer than 90 days`},
		{"P1:\n  - " + strings.Replace(step, "kinds", "kind", 1), `unknown key "kind" (did you mean kinds?)`},
		{"P1:\n  - {action: deny}", "p.yaml:2:5: on is missing"},
		{"P1:\n  - " + step + "\nP2:\n  - " + strings.Replace(step, "verify", "deny", 1), "p.yaml:2:5: P1 is milder on subject account than a rank that is less bad (give P1 at least deny on subject account)"},
		{"P1:" + strings.Repeat("\n  - "+step, 21), "P1 has 21 decisions"},
		{strings.Repeat("#", MaxSize+1), "at most 65536 are read"},
	} {
		_, err := Load("p.yaml", []byte(c.text))
		var e *Error
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &e) {
			t.Errorf("%q:\n%v\nwant %s", c.text[:min(len(c.text), 200)], err, c.want)
		}
	}
	two := "P1:\n  - " + strings.Replace(step, "12h", "x", 1) + "\nP2:\n  - " + strings.Replace(step, "verify", "x", 1)
	if _, err := Load("p.yaml", []byte(two)); strings.Count(err.Error(), "p.yaml:") != 2 {
		t.Errorf("two errors: %v", err)
	}
}

func TestLoadOwn(t *testing.T) {
	p, err := Load("own.yaml", []byte("P1:\n  - {action: isolate, on: subject, kinds: [host], for: 7d}\nP2: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	host := moat.Entity{Kind: moat.Host, ID: "db1"}
	if got := brief(p.Decide(aCase(moat.P1, host), host, "why", moat.P1, now)); got != "isolate host db1 168h" {
		t.Error(got)
	}
	if len(p.Steps(moat.P2))+len(p.Steps(moat.P3))+len(p.Steps(99)) != 0 || len(p.Steps(moat.P1)) != 1 {
		t.Error("steps")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(DefaultText())
	for _, s := range []string{"", "P1: []", "P1:\n  - {action: deny}", "P1: &a [*a]", "? [a]\n: b", "P1:\n- {on: {a: b}, kinds: [[x]], for: [1]}", "%YAML 9\n---", "P1: !!binary x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Load("f.yaml", []byte(s))
		if (p == nil) == (err == nil) {
			t.Fatalf("%q: %v %v", s, p, err)
		}
		if err == nil {
			clerk := moat.Entity{Kind: moat.Account, ID: "x"}
			for _, d := range p.Decide(aCase(moat.P1, clerk), clerk, "why", moat.P1, now) {
				if d.Until <= d.From || d.Until-d.From > MaxFor || d.Action == moat.Allow {
					t.Fatalf("%q: %+v", s, d)
				}
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	p := Default()
	clerk := moat.Entity{Kind: moat.Account, ID: "clerk"}
	c := aCase(moat.P1, clerk, moat.Entity{Kind: moat.Device, ID: "phone"})
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(c, clerk, "why", moat.P1, now)
	}
}
