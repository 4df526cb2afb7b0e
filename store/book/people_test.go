package book

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

func testMaster(tb testing.TB) MasterKey {
	tb.Helper()
	m, err := Master(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestMaster(t *testing.T) {
	dir := t.TempDir()
	m, err := Master(dir)
	ok(t, err)
	again, err := Master(dir)
	if err != nil || again != m {
		t.Errorf("read again: another key, %v", err)
	}
	path := filepath.Join(dir, "master.key")
	info, err := os.Stat(path)
	ok(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if s := fmt.Sprintf("%v %+v %#v %s", m, m, m, m); s != strings.TrimSpace(strings.Repeat("master key ", 4)) {
		t.Errorf("it prints itself: %s", s)
	}
	raised := m
	raised.epoch++
	if Secret(m, "a") == Secret(m, "b") || Secret(m, "a") == Secret(raised, "a") || Secret(m, "a") == Secret(testMaster(t), "a") || len(Secret(m, "a")) != 52 {
		t.Error("secrets repeat")
	}
	ok(t, os.Chmod(path, 0o640))
	if _, err := Master(dir); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("others may read it: %v", err)
	}
	ok(t, os.Chmod(path, 0o600))
	for _, bad := range []string{"", "moat-master 1 AAAA\n", "moat-master x AAAA\n", strings.Repeat("x", 1000)} {
		ok(t, os.WriteFile(path, []byte(bad), 0o600))
		if _, err := Master(dir); err == nil {
			t.Errorf("%.30q passed for a master key", bad)
		}
	}
}

func FuzzMaster(f *testing.F) {
	f.Add("moat-master 1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
	f.Add("moat-master 4294967296 AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := parseMaster(s); err != nil && m != (MasterKey{}) {
			t.Errorf("%q: an error and a key", s)
		}
	})
}

func FuzzSplitKey(f *testing.F) {
	f.Add("mk_abcdefghijklmnop_" + strings.Repeat("a", 52))
	f.Add("mk__")
	f.Fuzz(func(t *testing.T, s string) {
		if id, secret, ok := splitKey(s); ok && "mk_"+id+"_"+secret != s {
			t.Errorf("%q splits to %q and %q", s, id, secret)
		}
	})
}

func TestKeys(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx, m := t.Context(), testMaster(t)
		for _, p := range []string{"a", "b"} {
			_, err := b.CreatePartner(ctx, everyone, Partner{ID: p, Name: "Partner " + p}, "root")
			ok(t, err)
		}
		k, text, err := b.CreateKey(ctx, moat.Only("a"), m, Key{Partner: "a", App: "erp", Name: "ERP", Revoked: 5}, "dev")
		ok(t, err)
		if got, err := b.Authenticate(ctx, m, text); err != nil || got != k || got.Tenant() != moat.Only("a") || got.App != "erp" || got.Revoked != 0 {
			t.Errorf("%+v %v", got, err)
		}
		op, opText, err := b.CreateKey(ctx, everyone, m, Key{Operator: true, Name: "shop"}, "root")
		ok(t, err)
		if got, err := b.Authenticate(ctx, m, opText); err != nil || got.Tenant() != everyone {
			t.Errorf("%+v %v", got, err)
		}
		wrong := map[string]error{
			"": ErrKey, "mk_": ErrKey, text[:len(text)-1] + "!": ErrKey, text + "a": ErrKey, strings.ToUpper(text): ErrKey,
			keyText(m, "aaaaaaaaaaaaaaaa"):                        ErrKey, // no such id
			"mk_" + op.ID + "_" + Secret(m, k.ID):                 ErrKey, // another key's secret
			"mk_" + k.ID + "_" + strings.Repeat("a", 52):          ErrKey,
			"mk_' OR 1=1 --aaa_" + Secret(m, "' OR 1=1 --aaa")[:]: ErrKey,
		}
		for s, want := range wrong {
			if _, err := b.Authenticate(ctx, m, s); !errors.Is(err, want) || strings.Contains(err.Error(), k.ID) {
				t.Errorf("%q: %v", s, err)
			}
		}
		if _, err := b.Authenticate(ctx, testMaster(t), text); !errors.Is(err, ErrMaster) {
			t.Errorf("another master key: %v", err)
		}
		for i := range 2 {
			if got, err := b.RevokeKey(ctx, moat.Only("a"), k.ID, "dev"); err != nil || got.Revoked == 0 {
				t.Errorf("revoking, time %d: %+v %v", i, got, err)
			}
		}
		if _, err := b.Authenticate(ctx, m, text); !errors.Is(err, ErrKey) {
			t.Errorf("revoked: %v", err)
		}
		if list, _, err := b.Keys(ctx, moat.Only("a"), Query{}); err != nil || len(list) != 1 {
			t.Errorf("%v %v", list, err)
		}
		for _, bad := range []struct {
			tenant moat.Tenant
			key    Key
			want   error
		}{
			{moat.Only("b"), Key{Partner: "a", Name: "x"}, ErrNotFound},
			{moat.Only("b"), Key{Operator: true, Name: "x"}, ErrOperator},
			{everyone, Key{Operator: true, Partner: "a", Name: "x"}, ErrInvalid},
			{everyone, Key{Partner: "nobody", Name: "x"}, ErrNotFound},
			{everyone, Key{Partner: "a"}, ErrInvalid},
		} {
			if _, _, err := b.CreateKey(ctx, bad.tenant, m, bad.key, "eve"); !errors.Is(err, bad.want) {
				t.Errorf("%+v: %v", bad.key, err)
			}
		}
		records, _, err := b.Audit(ctx, everyone, Query{})
		ok(t, err)
		for _, r := range records {
			if strings.Contains(fmt.Sprint(r), Secret(m, k.ID)) {
				t.Error("the audit trail holds a secret")
			}
		}
	})
}

func TestPartners(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		p, err := b.CreatePartner(ctx, everyone, Partner{ID: "acme.eu", Name: "Acme", Edition: "logistics"}, "root")
		ok(t, err)
		if got, err := b.Partner(ctx, moat.Only("acme.eu"), "acme.eu"); err != nil || got != p {
			t.Errorf("%+v %v", got, err)
		}
		for _, c := range []struct {
			tenant moat.Tenant
			id, by string
			want   error
		}{
			{everyone, "acme.eu", "root", ErrExists}, {everyone, "", "root", ErrInvalid}, {everyone, "a b", "root", ErrInvalid},
			{everyone, strings.Repeat("a", 65), "root", ErrInvalid}, {everyone, "c", "", ErrInvalid}, {everyone, "c", "a\nb", ErrInvalid},
			{moat.Only("c"), "c", "eve", ErrOperator}, {moat.Tenant{}, "c", "eve", ErrOperator},
		} {
			if _, err := b.CreatePartner(ctx, c.tenant, Partner{ID: c.id, Name: "n"}, c.by); !errors.Is(err, c.want) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		ok(t, b.VerifyAudit(ctx))
	})
}

func TestDecideAndApprove(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx, a := t.Context(), moat.Only("a")
		now := b.now()
		d := moat.Decision{Partner: "a", Scope: "app", Value: "erp", Action: moat.Deny, Until: now + moat.Hour, Reason: "leak", Approval: "wide"}
		made, err := b.Decide(ctx, a, d, "mei")
		ok(t, err)
		if made.Origin != "mei" || made.From < now || made.ID == "" {
			t.Errorf("%+v", made)
		}
		for i, by := range []string{"mei", "mei", "lin"} { // the maker again, the maker again, someone else
			got, err := b.Approve(ctx, a, made.ID, 2, by)
			if err != nil || (got.Approval == "") != (i == 2) {
				t.Errorf("approval %d: %+v %v", i, got, err)
			}
		}
		if people, err := b.Approvals(ctx, a, made.ID); err != nil || !reflect.DeepEqual(people, []string{"mei", "lin"}) {
			t.Errorf("approved by %v, %v", people, err)
		}
		for i := range 2 {
			if got, err := b.Undo(ctx, everyone, made.ID, "lin"); err != nil || got.Undone == 0 || got.UndoneBy != "lin" {
				t.Errorf("undoing, time %d: %+v %v", i, got, err)
			}
		}
		if _, err := b.Approve(ctx, a, made.ID, 2, "kim"); !errors.Is(err, ErrInvalid) {
			t.Errorf("approving what was undone: %v", err)
		}
		acts := ""
		for r, err := range b.AllAudit(ctx, a, Query{Object: made.ID}) {
			ok(t, err)
			acts += r.Act + " " + r.By + "; "
		}
		if acts != "decision.make mei; decision.approve lin; decision.undo lin; " {
			t.Errorf("audit trail: %s", acts)
		}
	})
}

// TestUndoOwn: a partner ends what it may set itself; what an operator made, or approved, it may not lift, whichever of its keys asks.
func TestUndoOwn(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx, a := t.Context(), moat.Only("a")
		m, ids := testMaster(t), map[string]string{}
		for _, p := range []string{"a", "b"} {
			_, err := b.CreatePartner(ctx, everyone, Partner{ID: p, Name: p}, "root")
			ok(t, err)
		}
		for name, k := range map[string]Key{"mei": {Partner: "a"}, "lin": {Partner: "a"}, "gone": {Partner: "a"}, "bob": {Partner: "b"}, "boss": {Operator: true}, "deputy": {Operator: true}} {
			k.Name = name
			k, _, err := b.CreateKey(ctx, everyone, m, k, "root")
			ok(t, err)
			ids[name] = k.ID
		}
		_, err := b.RevokeKey(ctx, everyone, ids["gone"], "root")
		ok(t, err)
		ids["root"] = "cli:root"
		for i, c := range []struct {
			made     string // "" = the playbook
			approved []string
			may      bool
		}{
			{"", nil, true}, {"", []string{"mei"}, true}, {"", []string{"mei", "lin"}, true}, {"mei", nil, true}, {"gone", nil, true}, {"mei", []string{"lin"}, true},
			{"boss", nil, false}, {"root", nil, false}, {"bob", nil, false}, {"", []string{"boss", "deputy"}, false}, {"", []string{"root"}, false},
			{"mei", []string{"boss"}, false}, {"boss", []string{"lin"}, false}, {"boss", []string{"deputy"}, false},
		} {
			d := moat.Decision{Partner: "a", Scope: "host", Value: fmt.Sprint("db-", i), Action: moat.Deny, From: b.now(), Until: b.now() + moat.Hour, Reason: "r"}
			if len(c.approved) > 0 {
				d.Approval = "two people must approve"
			}
			if c.made == "" {
				d.ID, d.Origin = moat.DecisionID("c", d.Scope, d.Value, d.Action, 0), "playbook"
				ok(t, b.Commit(ctx, 1, uint64(100+i), Changes{Decisions: []moat.Decision{d}}))
			} else {
				var err error
				d, err = b.Decide(ctx, everyone, d, ids[c.made])
				ok(t, err)
			}
			for _, by := range c.approved {
				_, err := b.Approve(ctx, everyone, d.ID, 2, ids[by])
				ok(t, err)
			}
			for _, by := range []string{"lin", "mei"} {
				got, err := b.Undo(ctx, a, d.ID, ids[by])
				if c.may != (err == nil) || !c.may && !errors.Is(err, ErrOperator) || c.may && got.Undone == 0 {
					t.Errorf("made by %q, approved by %q: %s ends it: %+v, %v", c.made, c.approved, by, got, err)
				}
			}
			if got, err := b.Decision(ctx, a, d.ID); err != nil || (got.Undone != 0) != c.may {
				t.Errorf("made by %q, approved by %q: it is %+v, %v", c.made, c.approved, got, err)
			}
			if _, err := b.Undo(ctx, everyone, d.ID, ids["boss"]); err != nil {
				t.Errorf("an operator ends it: %v", err)
			}
		}
	})
}

func TestDecideRefuses(t *testing.T) {
	b := openTest(t, filepath.Join(t.TempDir(), "book.db"))
	now := b.now()
	good := moat.Decision{Partner: "a", Scope: "ip", Value: "192.0.2.1", Action: moat.Deny, Until: now + moat.Hour, Reason: "r"}
	if _, err := b.Decide(t.Context(), everyone, good, "mei"); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(d *moat.Decision){
		"no partner": func(d *moat.Decision) { d.Partner = "" }, "allow": func(d *moat.Decision) { d.Action = moat.Allow },
		"unknown action": func(d *moat.Decision) { d.Action = 77 }, "no end": func(d *moat.Decision) { d.Until = 0 },
		"over already": func(d *moat.Decision) { d.From, d.Until = now-2, now-1 }, "for ever": func(d *moat.Decision) { d.Until = now + 400*moat.Day },
		"no reason": func(d *moat.Decision) { d.Reason = "" }, "scope": func(d *moat.Decision) { d.Scope = "planet" }, "no enforcer": func(d *moat.Decision) { d.Scope = "destination" },
		"address": func(d *moat.Decision) { d.Value = "192.0.2.01" }, "zone": func(d *moat.Decision) { d.Value = "fe80::1%eth0" },
		"range":   func(d *moat.Decision) { d.Scope, d.Value = "range", "192.0.2.1/24" },
		"partner": func(d *moat.Decision) { d.Scope, d.Value = "partner", "b" },
		"long":    func(d *moat.Decision) { d.Scope, d.Value = "account", strings.Repeat("x", 257) },
	} {
		d := good
		spoil(&d)
		if _, err := b.Decide(t.Context(), everyone, d, "mei"); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuditBreaks(t *testing.T) {
	for i, c := range []struct {
		tamper string
		seq    uint64
	}{
		{"UPDATE audit SET person = 'nobody' WHERE seq = 3", 3},
		{"UPDATE audit SET detail = '{}' WHERE seq = 2", 2},
		{"UPDATE audit SET time = time + 1 WHERE seq = 1", 1},
		{"UPDATE audit SET partner = '', person = 'aengine' WHERE seq = 2", 2}, // lengths are hashed too
		{"DELETE FROM audit WHERE seq = 3", 3},
		{"DELETE FROM audit WHERE seq >= 4", 4},
		{"DELETE FROM audit", 1},
		{"UPDATE audit SET hash = '' WHERE seq = 4", 4},
		{"UPDATE audit_head SET hash = ''", 4},
		{"UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)", 4},
	} {
		check := func(t *testing.T, b *Book) {
			fill(t, b, "a", 1)
			fill(t, b, "b", 2)
			ok(t, b.VerifyAudit(t.Context()))
			if _, err := b.write.Exec(c.tamper); err != nil {
				t.Fatal(err)
			}
			var broken *BrokenError
			if err := b.VerifyAudit(t.Context()); !errors.As(err, &broken) || broken.Seq != c.seq {
				t.Errorf("%s: %v, want record %d", c.tamper, err, c.seq)
			}
		}
		if i == 0 {
			each(t, check)
		} else { // the same code reads both
			check(t, openTest(t, filepath.Join(t.TempDir(), "book.db")))
		}
	}
}

// TestTogether commits two partitions and a person's acts at the same time:
// the trail stays one chain.
func TestTogether(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		errs := make(chan error)
		for _, partner := range []string{"a", "b", "c"} {
			go func() {
				for n := range 20 {
					c := story(partner, n*10, n*10+3)
					if err := b.Commit(ctx, int(partner[0]), uint64(n), Changes{Cases: []moat.Case{c}, Decisions: []moat.Decision{decided(c, moat.Mask)}}); err != nil {
						errs <- err
						return
					}
					if err := b.CloseCase(ctx, moat.Only(partner), c.ID, "mei"); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range 3 {
			ok(t, <-errs)
		}
		ok(t, b.Check(ctx))
		if seq, _, err := b.AuditHead(ctx); err != nil || seq != 3*20*3 {
			t.Errorf("%d records, %v", seq, err)
		}
	})
}

// TestTenants asks every method of the book as partner b, and as no one, for
// what is a's. A method that is added must be added here.
func TestTenants(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx, m := t.Context(), testMaster(t)
		_, err := b.CreatePartner(ctx, everyone, Partner{ID: "a", Name: "A"}, "root")
		ok(t, err)
		k, _, err := b.CreateKey(ctx, everyone, m, Key{Partner: "a", Name: "k"}, "root")
		ok(t, err)
		_, _, err = b.CreateKey(ctx, everyone, m, Key{Operator: true, Name: "op"}, "root")
		ok(t, err)
		c, d := fill(t, b, "a", 1)
		told := complaint("a", "r", 1)
		_, err = b.AddComplaints(ctx, []Complaint{told})
		ok(t, err)
		planted := CanaryLot{ID: "cl_1", Partner: "b", Channel: "app:erp", Period: "2026-11", Kind: "order", Placed: start, Body: []byte("{}")} // at b, by the operator
		ok(t, b.PlaceCanaries(ctx, everyone, planted, "root"))
		ok(t, want(b.PlaceCanaries(ctx, everyone, planted, "root"), ErrExists))
		manual := moat.Decision{Partner: "a", Scope: "account", Value: "x", Action: moat.Deny, Until: b.now() + moat.Hour, Reason: "r"}
		asleep, err := b.Snooze(ctx, everyone, Snooze{Partner: "a", Entity: c.Entities[0], Until: b.now() + moat.Hour}, "root")
		ok(t, err)
		ofMine := manual
		ofMine.Partner, ofMine.Case = "b", c.ID // my decision, hung on another's case
		mine, _, err := b.AuditHead(ctx)
		ok(t, err)

		hidden := func(_ any, err error) error { return want(err, ErrNotFound) }
		empty := func(list any, next string, err error) error {
			if err == nil && (reflect.ValueOf(list).Len() != 0 || next != "") {
				return fmt.Errorf("saw %v", list)
			}
			return err
		}
		walk := map[string]func(context.Context, moat.Tenant) error{
			"Findings":  func(ctx context.Context, x moat.Tenant) error { return empty(b.Findings(ctx, x, Query{Case: c.ID})) },
			"Cases":     func(ctx context.Context, x moat.Tenant) error { return empty(b.Cases(ctx, x, Query{Partner: "a"})) },
			"Decisions": func(ctx context.Context, x moat.Tenant) error { return empty(b.Decisions(ctx, x, Query{})) },
			"Audit":     func(ctx context.Context, x moat.Tenant) error { return empty(b.Audit(ctx, x, Query{Object: c.ID})) },
			"Partners":  func(ctx context.Context, x moat.Tenant) error { return empty(b.Partners(ctx, x, Query{})) },
			"Keys":      func(ctx context.Context, x moat.Tenant) error { return empty(b.Keys(ctx, x, Query{})) },
			"AllFindings": func(ctx context.Context, x moat.Tenant) error {
				for v := range b.AllFindings(ctx, x, Query{}) {
					return fmt.Errorf("saw %v", v)
				}
				return nil
			},
			"Canaries": func(ctx context.Context, x moat.Tenant) error { return empty(b.Canaries(ctx, x, Query{Planted: "b"})) },
			"AllCanaries": func(ctx context.Context, x moat.Tenant) error {
				for v := range b.AllCanaries(ctx, x, Query{}) {
					return fmt.Errorf("saw %v", v)
				}
				return nil
			},
			"Canary": func(ctx context.Context, x moat.Tenant) error { return hidden(b.Canary(ctx, x, planted.ID)) },
			"PlaceCanaries": func(ctx context.Context, x moat.Tenant) error {
				l := planted
				l.ID, l.Owner, l.Partner = "cl_2", "a", "a"
				return hidden(nil, errors.Join(b.PlaceCanaries(ctx, x, l, "eve"), b.PlaceCanaries(ctx, x, planted, "eve")))
			},
			"Complaints": func(ctx context.Context, x moat.Tenant) error { return empty(b.Complaints(ctx, x, Query{Order: "o1"})) },
			"AllComplaints": func(ctx context.Context, x moat.Tenant) error {
				for v := range b.AllComplaints(ctx, x, Query{}) {
					return fmt.Errorf("saw %v", v)
				}
				return nil
			},
			"Complained": func(ctx context.Context, x moat.Tenant) error {
				list, err := b.Complained(ctx, x, []string{"o1"})
				return empty(list, "", err)
			},
			"ComplaintTimes": func(ctx context.Context, x moat.Tenant) error {
				list, err := b.ComplaintTimes(ctx, x, []string{"o1"})
				if len(list) > 0 {
					return fmt.Errorf("saw %v", list)
				}
				return err
			},
			"KnownComplaints": func(ctx context.Context, x moat.Tenant) error {
				list, err := b.KnownComplaints(ctx, x, []string{told.ID})
				return empty(list, "", err)
			},
			"Reporters": func(ctx context.Context, x moat.Tenant) error {
				if r, err := b.Reporters(ctx, x, Query{}); err != nil || r != (Reporters{}) {
					return fmt.Errorf("saw %v, %v", r, err)
				}
				return nil
			},
			"AllCases": func(ctx context.Context, x moat.Tenant) error {
				for v := range b.AllCases(ctx, x, Query{}) {
					return fmt.Errorf("saw %v", v)
				}
				return nil
			},
			"AllDecisions": func(ctx context.Context, x moat.Tenant) error {
				for v := range b.AllDecisions(ctx, x, Query{}) {
					return fmt.Errorf("saw %v", v)
				}
				return nil
			},
			"AllAudit": func(ctx context.Context, x moat.Tenant) error {
				for v := range b.AllAudit(ctx, x, Query{}) {
					return fmt.Errorf("saw %v", v)
				}
				return nil
			},
			"Case": func(ctx context.Context, x moat.Tenant) error {
				got, timeline, err := b.Case(ctx, x, c.ID)
				if len(timeline) != 0 || got.ID != "" {
					return errors.New("saw the case")
				}
				return want(err, ErrNotFound)
			},
			"Campaigns": func(ctx context.Context, x moat.Tenant) error { return empty(b.Campaigns(ctx, x, Query{})) },
			"Together":  func(ctx context.Context, x moat.Tenant) error { return hidden(b.Together(ctx, x, c.ID)) },
			"Act": func(ctx context.Context, x moat.Tenant) error {
				act := func(id string) error { return b.CloseCase(ctx, x, id, "eve") }
				return errors.Join(hidden(b.Act(ctx, x, c.ID, false, act)), hidden(b.Act(ctx, x, c.ID, true, act)))
			},
			"Incidents": func(ctx context.Context, x moat.Tenant) error {
				if in, err := b.Incidents(ctx, x, "a", 0); in != (risk.Incidents{}) || err != nil {
					return fmt.Errorf("saw %+v, %v", in, err)
				}
				return nil
			},
			"Heard": func(ctx context.Context, x moat.Tenant) error {
				list, err := b.Heard(ctx, x)
				return empty(list, "", err)
			},
			"Decision":   func(ctx context.Context, x moat.Tenant) error { return hidden(b.Decision(ctx, x, d.ID)) },
			"Approvals":  func(ctx context.Context, x moat.Tenant) error { return hidden(b.Approvals(ctx, x, d.ID)) },
			"Partner":    func(ctx context.Context, x moat.Tenant) error { return hidden(b.Partner(ctx, x, "a")) },
			"Key":        func(ctx context.Context, x moat.Tenant) error { return hidden(b.Key(ctx, x, k.ID)) },
			"CloseCase":  func(ctx context.Context, x moat.Tenant) error { return hidden(nil, b.CloseCase(ctx, x, c.ID, "eve")) },
			"ReopenCase": func(ctx context.Context, x moat.Tenant) error { return hidden(nil, b.ReopenCase(ctx, x, c.ID, "eve")) },
			"AssignCase": func(ctx context.Context, x moat.Tenant) error {
				return hidden(nil, b.AssignCase(ctx, x, c.ID, "eve", "eve"))
			},
			"Judge": func(ctx context.Context, x moat.Tenant) error {
				return hidden(nil, b.Judge(ctx, x, c.ID, moat.FalseAlarm, "eve"))
			},
			"Snoozes": func(ctx context.Context, x moat.Tenant) error { return empty(b.Snoozes(ctx, x, Query{})) },
			"Snooze": func(ctx context.Context, x moat.Tenant) error {
				return hidden(b.Snooze(ctx, x, Snooze{Partner: "a", Entity: c.Entities[0], Until: b.now() + moat.Hour}, "eve"))
			},
			"Wake":    func(ctx context.Context, x moat.Tenant) error { return hidden(b.Wake(ctx, x, asleep.ID, "eve")) },
			"Promote": func(ctx context.Context, x moat.Tenant) error { return hidden(b.Promote(ctx, x, "d.one", "eve")) },
			"Changed": func(ctx context.Context, x moat.Tenant) error {
				list, _, err := b.Changed(ctx, x, 0)
				return empty(list, "", err)
			},
			"Undo":      func(ctx context.Context, x moat.Tenant) error { return hidden(b.Undo(ctx, x, d.ID, "eve")) },
			"Approve":   func(ctx context.Context, x moat.Tenant) error { return hidden(b.Approve(ctx, x, d.ID, 1, "eve")) },
			"RevokeKey": func(ctx context.Context, x moat.Tenant) error { return hidden(b.RevokeKey(ctx, x, k.ID, "eve")) },
			"Decide": func(ctx context.Context, x moat.Tenant) error {
				return errors.Join(hidden(b.Decide(ctx, x, manual, "eve")), hidden(b.Decide(ctx, x, ofMine, "eve")))
			},
			"CreateKey": func(ctx context.Context, x moat.Tenant) error {
				_, _, err := b.CreateKey(ctx, x, m, Key{Partner: "a", Name: "eve"}, "eve")
				return want(err, ErrNotFound)
			},
			"CreatePartner": func(ctx context.Context, x moat.Tenant) error {
				_, err := b.CreatePartner(ctx, x, Partner{ID: "c", Name: "C"}, "eve")
				return want(err, ErrOperator)
			},
		}
		// These take no tenant: they are the engine's, tell the tenant, or show nobody's data.
		for _, name := range []string{"Commit", "Position", "Authenticate", "LookUpKey", "AuditHead", "VerifyAudit", "Check", "Backup", "Close", "Prune", "AddComplaints", "Lessons", "Learned", "LearnInto", "Places", "PutPlaces", "Demote"} {
			walk[name] = func(context.Context, moat.Tenant) error { return nil }
		}
		methods := reflect.TypeFor[*Book]()
		for i := range methods.NumMethod() {
			name := methods.Method(i).Name
			ask, known := walk[name]
			if !known {
				t.Errorf("%s: not walked", name)
				continue
			}
			for _, x := range []moat.Tenant{moat.Only("b"), moat.Only(""), {}} {
				if err := ask(ctx, x); err != nil {
					t.Errorf("%s as %+v: %v", name, x, err)
				}
			}
		}
		if len(walk) != methods.NumMethod() {
			t.Errorf("%d methods walked, the book has %d", len(walk), methods.NumMethod())
		}
		if seq, _, err := b.AuditHead(ctx); err != nil || seq != mine {
			t.Errorf("the walk left %d records in the audit trail, %v", seq-mine, err)
		}
	})
}

// want turns the error that must come into nil, and anything else into an error.
func want(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return fmt.Errorf("got %v, want %v", err, target)
}
