package decision

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

const start = 1_767_225_600 * moat.Second // 2026-01-01

func deny(partner, scope, value string, from moat.Time) moat.Decision {
	return moat.Decision{ID: moat.DecisionID("c"+from.String(), scope, value, moat.Deny, 0), Partner: partner, Scope: scope, Value: value,
		Action: moat.Deny, From: from, Until: from + moat.Day, Origin: "playbook", Reason: "r"}
}

func TestWide(t *testing.T) {
	for _, c := range []struct {
		scope, value string
		action       moat.Action
		want         int
	}{
		{"account", "a", moat.Ban, 1}, {"app", "erp", moat.Deny, 2}, {"app", "erp", moat.ReadOnly, 1}, {"partner", "a", moat.Isolate, 2},
		{"peers", "packer", moat.Ban, 2}, {"range", "192.0.2.0/24", moat.Deny, 1}, {"range", "192.0.2.0/23", moat.Deny, 2},
		{"range", "2001:db8::/48", moat.Deny, 1}, {"range", "2001:db8::/32", moat.Deny, 2}, {"range", "0.0.0.0/0", moat.Verify, 1},
		{"range", "nonsense", moat.Deny, 2}, {"host", "h", moat.Isolate, 2}, {"host", "h", moat.Verify, 1},
	} {
		d := moat.Decision{Scope: c.scope, Value: c.value, Action: c.action}
		if got := Approvers(&d); got != c.want || Wide(&d) != (c.want == 2) {
			t.Errorf("%+v: %d approvers", c, got)
		}
	}
}

func TestBudget(t *testing.T) {
	type step struct {
		d       moat.Decision
		active  int
		waits   string // what Approval must hold; "" for none
		nothing bool
	}
	account := func(n int, at moat.Time) moat.Decision {
		return deny("a", "account", fmt.Sprint("clerk-", n), start+at)
	}
	verify := account(0, 0)
	verify.Action, verify.ID = moat.Verify, "d_verify"
	other := account(1, 0)
	other.ID, other.Case = "d_other", "c_other"
	for name, steps := range map[string][]step{
		"blocks an hour": {
			{d: deny("a", "ip", "192.0.2.1", start)}, {d: deny("a", "ip", "192.0.2.2", start+1)}, {d: deny("a", "ip", "192.0.2.3", start+2)},
			{d: deny("a", "ip", "192.0.2.4", start+3), waits: "3 blocks began within an hour"},
			{d: deny("b", "ip", "192.0.2.4", start+3)}, // another partner's budget
			{d: verify, active: 1}, // no block
			{d: deny("a", "ip", "192.0.2.5", start+moat.Hour-1), waits: "3 blocks"},
			{d: deny("a", "ip", "192.0.2.6", start+moat.Hour)}, // the first is an hour old
			{d: deny("a", "ip", "192.0.2.7", start+moat.Hour), waits: "3 blocks"},
			{d: deny("a", "ip", "192.0.2.8", start), waits: "3 blocks"}, // a late event does not turn time back
		},
		"share of accounts": {
			{d: account(1, 0), active: 25}, {d: account(2, moat.Hour), active: 25},
			{d: account(3, 2*moat.Hour), active: 25, waits: "2 of 25 active accounts"},
			{d: deny("a", "device", "d1", start+2*moat.Hour), active: 25}, // no account
			{d: account(4, 3*moat.Hour), active: 30},                      // more at work, more may be blocked
			{d: account(5, moat.Day), active: 25, waits: "2 of 25"},       // the first is over: two are left
			{d: account(6, 2*moat.Day), active: 25},
		},
		"the same again": {
			{d: account(1, 0), active: 100}, {d: account(1, 0), active: 100, nothing: true},
			{d: other, active: 100}, // another case, the same account, as long: does no more harm
			{d: account(2, 1), active: 100}, {d: account(3, 2), active: 100}, {d: account(4, 3), active: 100, waits: "3 blocks"},
		},
		"wide": {{d: deny("a", "app", "erp", start), active: 1000, waits: "two people"}, {d: deny("a", "partner", "a", start), waits: "two people"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(Limits{BlocksPerHour: 3, AccountShare: 0.1, AccountsFree: 2})
			for i, s := range steps {
				got := b.Rule([]moat.Decision{s.d}, s.active)
				if s.nothing != (len(got) == 0) {
					t.Fatalf("step %d: %d decisions", i, len(got))
				}
				if len(got) == 1 && ((got[0].Approval == "") != (s.waits == "") || !strings.Contains(got[0].Approval, s.waits)) {
					t.Errorf("step %d: approval %q, want %q", i, got[0].Approval, s.waits)
				}
			}
		})
	}
}

// TestProlong: a decision that its case goes on asking for is prolonged when half of it is over, and made anew when it is over.
func TestProlong(t *testing.T) {
	b := NewBudget(Limits{BlocksPerHour: 1})
	ask := func(n int, after moat.Time) moat.Decision {
		d := deny("a", "account", "x", start+after)
		d.ID, d.Until = fmt.Sprint("d", n), d.From+12*moat.Hour
		return d
	}
	for i, x := range []struct {
		after moat.Time
		id    string // "" = nothing is ruled
		until moat.Time
	}{
		{0, "d0", 12 * moat.Hour}, {5 * moat.Hour, "", 0}, {7 * moat.Hour, "d0", 19 * moat.Hour}, {6*moat.Hour + 1, "", 0}, {18 * moat.Hour, "d0", 30 * moat.Hour}, {31 * moat.Hour, "d5", 43 * moat.Hour},
	} {
		got := b.Rule([]moat.Decision{ask(i, x.after)}, 100)
		if len(got) != min(1, len(x.id)) {
			t.Fatalf("step %d: %v", i, got)
		}
		if len(got) == 1 && (got[0].ID != x.id || got[0].Until != start+x.until || got[0].Approval != "") {
			t.Errorf("step %d: %s until %v, approval %q", i, got[0].ID, got[0].Until-start, got[0].Approval)
		}
	}
	late := deny("a", "ip", "192.0.2.1", start+31*moat.Hour)
	late.Until = late.From + 12*moat.Hour
	if got := b.Rule([]moat.Decision{late}, 100); len(got) != 1 || got[0].Approval == "" {
		t.Fatalf("beyond the budget: %v", got)
	}
	late.From, late.Until = late.From+11*moat.Hour, late.Until+11*moat.Hour
	if got := b.Rule([]moat.Decision{late}, 100); len(got) != 0 {
		t.Errorf("what waits was prolonged: %v", got)
	}
}

// TestBudgetReplays rules random decisions in batches of any size and with
// restarts from a snapshot: what comes out is the same.
func TestBudgetReplays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var stream []moat.Decision
	now := start
	for range 2000 {
		now += moat.Time(r.Int64N(int64(5 * moat.Minute)))
		late := moat.Time(r.Int64N(int64(moat.Minute)))
		d := deny([]string{"a", "b"}[r.IntN(2)], []string{"account", "ip", "app"}[r.IntN(3)], fmt.Sprint(r.IntN(30)), now-late)
		d.Until = d.From + moat.Time(r.Int64N(int64(6*moat.Hour)))
		stream = append(stream, d)
		if r.IntN(4) == 0 {
			stream = append(stream, stream[r.IntN(len(stream))])
		}
	}
	limits := Limits{BlocksPerHour: 5, AccountShare: 0.1, AccountsFree: 2}
	want := NewBudget(limits).Rule(stream, 40)
	b := NewBudget(limits)
	var got []moat.Decision
	for rest := stream; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(100))
		got = append(got, b.Rule(rest[:n], 40)...)
		rest = rest[n:]
		state, err := b.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		restored := NewBudget(limits)
		if err := restored.UnmarshalBinary(state); err != nil {
			t.Fatal(err)
		}
		if again, err := restored.MarshalBinary(); err != nil || !bytes.Equal(again, state) {
			t.Fatalf("a snapshot of a snapshot differs: %v", err)
		}
		b = restored
	}
	waiting := 0
	for _, d := range want {
		if d.Approval != "" {
			waiting++
		}
	}
	if !reflect.DeepEqual(got, want) || waiting == 0 || waiting == len(want) {
		t.Errorf("%d decisions with restarts, %d without, %d of them waiting", len(got), len(want), waiting)
	}
}

func FuzzBudget(f *testing.F) {
	b := NewBudget(Limits{})
	b.Rule([]moat.Decision{deny("a", "account", "x", start), deny("b", "app", "erp", start)}, 10)
	state, err := b.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add([]byte(`{"a":null}`))
	f.Add([]byte(`{"a":{"latest":5,"begun":[9],"blocked":{},"held":{}}}`))
	f.Fuzz(func(t *testing.T, state []byte) {
		b := NewBudget(Limits{})
		if b.UnmarshalBinary(state) == nil {
			b.Rule([]moat.Decision{deny("a", "account", "x", start)}, 10) // must not panic
		}
	})
}

func openDesk(t *testing.T) (*Desk, *book.Book, moat.Time) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	b, err := book.Open(t.Context(), filepath.Join(t.TempDir(), "book.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	now := moat.TimeOf(time.Now())
	d, err := Open(t.Context(), b, now, log)
	if err != nil {
		t.Fatal(err)
	}
	return d, b, now
}

func TestDesk(t *testing.T) {
	d, b, now := openDesk(t)
	ctx, everyone := t.Context(), moat.Everyone()
	account := Target{"account", "clerk"}
	mild := deny("a", "account", "clerk", now)
	mild.Action, mild.ID = moat.Verify, "d_mild"
	hard := deny("a", "account", "clerk", now)
	hard.Until, hard.Case = now+moat.Hour, "c_1"
	waiting := deny("a", "ip", "192.0.2.1", now)
	waiting.Approval = "harm budget"
	future := deny("a", "account", "night", now+moat.Hour)

	changed := d.Changed()
	if err := b.Commit(ctx, 1, 1, book.Changes{Decisions: []moat.Decision{mild, hard, waiting, future}}); err != nil {
		t.Fatal(err)
	}
	must(t, d.Refresh(ctx, now))
	<-changed

	strongest := func(now moat.Time, partner, want string, targets ...Target) {
		t.Helper()
		if got, ok := d.Strongest(now, partner, targets...); got.ID != want || ok != (want != "") {
			t.Errorf("strongest of %s %v: %q, want %q", partner, targets, got.ID, want)
		}
	}
	strongest(now, "a", hard.ID, Target{"ip", "192.0.2.1"}, account)
	strongest(now, "b", "", account)
	strongest(now, "a", "", Target{"ip", "192.0.2.1"}, Target{"app", "clerk"})
	strongest(now-1, "a", "", account)
	strongest(now+moat.Hour, "a", mild.ID, account) // the hard one is over
	strongest(now+moat.Day, "a", "", account)
	strongest(now, "a", "", Target{"account", "night"})
	strongest(now+moat.Hour, "a", future.ID, Target{"account", "night"})
	if all := d.At(now, "a", account); len(all) != 2 || all[0].ID != hard.ID || all[1].ID != mild.ID {
		t.Errorf("at: %+v", all)
	}
	if n, m := len(d.All(moat.Only("a"), now)), len(d.All(moat.Only("b"), now)); n != 2 || m != 0 {
		t.Errorf("%d and %d decisions in force", n, m)
	}

	// A person's acts show at once, and the fold's repetition does not undo them.
	if _, err := d.Approve(ctx, everyone, now, waiting.ID, "mei"); err != nil {
		t.Fatal(err)
	}
	strongest(now, "a", waiting.ID, Target{"ip", "192.0.2.1"})
	if undone, err := d.UndoCase(ctx, everyone, now, "c_1", "mei"); err != nil || len(undone) != 1 || undone[0].UndoneBy != "mei" {
		t.Errorf("%+v %v", undone, err)
	}
	must(t, b.Commit(ctx, 1, 1, book.Changes{Decisions: []moat.Decision{mild, hard, waiting, future}}))
	must(t, d.Refresh(ctx, now))
	strongest(now, "a", mild.ID, account)

	// Another process's act shows after Refresh.
	if _, err := b.Undo(ctx, everyone, mild.ID, "lin"); err != nil {
		t.Fatal(err)
	}
	strongest(now, "a", mild.ID, account)
	must(t, d.Refresh(ctx, now+2*moat.Minute))
	strongest(now, "a", "", account)

	again, err := Open(ctx, b, now, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.All(everyone, now+moat.Hour), d.All(everyone, now+moat.Hour); !reflect.DeepEqual(got, want) || len(got) != 2 {
		t.Errorf("opened again: %+v\nwant %+v", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDeskTwoPeople(t *testing.T) {
	d, _, now := openDesk(t)
	ctx, a := t.Context(), moat.Only("a")
	v, err := d.Decide(ctx, a, now, moat.Decision{Partner: "a", Scope: "app", Value: "erp", Action: moat.Deny, Until: now + moat.Hour,
		Reason: "leaks", Approval: "please no"}, "mei")
	if err != nil || !strings.Contains(v.Approval, "two people") {
		t.Fatalf("%+v %v", v, err)
	}
	for i, by := range []string{"mei", "lin"} {
		if v, err = d.Approve(ctx, a, now, v.ID, by); err != nil || (v.Approval == "") != (i == 1) {
			t.Fatalf("%s: %+v %v", by, v, err)
		}
	}
	if _, ok := d.Strongest(now+moat.Minute, "a", Target{"app", "erp"}); !ok {
		t.Error("approved by two and not in force")
	}
	narrow, err := d.Decide(ctx, a, now, moat.Decision{Partner: "a", Scope: "session", Value: "s1", Action: moat.Ban, Until: now + moat.Hour,
		Reason: "leaks", Approval: "please no"}, "mei")
	if err != nil || narrow.Approval != "" {
		t.Errorf("%+v %v", narrow, err)
	}
}

func TestRanges(t *testing.T) {
	x := newIndex()
	for _, r := range []string{"192.0.2.0/24", "198.51.100.7/32", "0.0.0.0/0", "2001:db8::/48", "2001:db8:1::1/128", "nonsense"} {
		d := deny("a", "range", r, start)
		d.Partner = map[bool]string{true: "zero", false: "a"}[r == "0.0.0.0/0"]
		x.put(&d)
	}
	hits := func(partner, ip string) (values []string) {
		for list := range x.lists(partner, Target{"ip", ip}) {
			for _, d := range list {
				values = append(values, d.Value)
			}
		}
		return values
	}
	for _, c := range []struct{ partner, ip, want string }{
		{"a", "192.0.2.255", "192.0.2.0/24"}, {"a", "::ffff:192.0.2.1", "192.0.2.0/24"}, {"a", "192.0.3.0", ""}, {"a", "198.51.100.7", "198.51.100.7/32"},
		{"a", "198.51.100.6", ""}, {"a", "2001:db8::ffff", "2001:db8::/48"}, {"a", "2001:db8:1::1%eth0", "2001:db8:1::1/128"}, {"a", "2001:db8:1::2", ""},
		{"b", "192.0.2.1", ""}, {"zero", "8.8.8.8", "0.0.0.0/0"}, {"zero", "::1", ""}, {"a", "not an address", ""},
	} {
		if got := strings.Join(hits(c.partner, c.ip), " "); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.partner, c.ip, got, c.want)
		}
	}
	x.sweep(start + 2*moat.Day)
	if len(x.byID)+len(x.targets)+len(x.ranges)+len(x.lengths) != 0 {
		t.Errorf("left after all is over: %+v", x)
	}
}

func BenchmarkStrongest(b *testing.B) {
	x := newIndex()
	for n := range 300_000 {
		d := deny("a", "account", fmt.Sprint("clerk-", n), start)
		x.put(&d)
	}
	r := deny("a", "range", "192.0.2.0/24", start)
	x.put(&r)
	d := Desk{index: x}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if _, ok := d.Strongest(start, "a", Target{"account", "clerk-777"}, Target{"device", "d1"}, Target{"ip", "192.0.2.9"}, Target{"app", "erp"}); ok {
			n++
		}
	}
	if n == 0 {
		b.Fatal("nothing found")
	}
}

func TestStrongestAllocatesNothing(t *testing.T) {
	x := newIndex()
	v, r := deny("a", "account", "clerk", start), deny("a", "range", "192.0.2.0/24", start)
	x.put(&v)
	x.put(&r)
	d := Desk{index: x}
	if n := testing.AllocsPerRun(100, func() {
		d.Strongest(start, "a", Target{"account", "clerk"}, Target{"ip", "192.0.2.9"})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
