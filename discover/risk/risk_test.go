package risk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

var (
	start, _ = moat.ParseTime("2026-03-02T09:00:00Z")
	alice    = moat.Entity{Kind: moat.Account, ID: "alice"}
	bob      = moat.Entity{Kind: moat.Account, ID: "bob"}
	phone    = moat.Entity{Kind: moat.Device, ID: "phone"}
	office   = moat.Entity{Kind: moat.IP, ID: "1.2.3.4"}
	server   = moat.Entity{Kind: moat.Host, ID: "db1"}
	erp      = moat.Entity{Kind: moat.App, ID: "erp"}
	outlet   = moat.Entity{Kind: moat.Outlet, ID: "north"}
)

// finding returns one of a family about an entity, at hours after start. Change what matters.
func finding(id, family string, e moat.Entity, hours, score float64, change ...func(*moat.Finding)) *moat.Finding {
	f := &moat.Finding{ID: id, Partner: "p", Family: family, Detector: family + "." + id, Entity: e, Title: "T " + id, Reason: "because " + id,
		Time: start + moat.Time(hours*float64(moat.Hour)), Score: score, Mode: moat.Enforce, Orders: 10, Weight: 1, Events: []string{"e" + id}}
	for _, c := range change {
		c(f)
	}
	return f
}

func related(e ...moat.Entity) func(*moat.Finding) {
	return func(f *moat.Finding) { f.Related = e }
}

func mode(m moat.Mode) func(*moat.Finding) { return func(f *moat.Finding) { f.Mode = m } }

func after(hours float64) moat.Time { return start + moat.Time(hours*float64(moat.Hour)) }

func near(a, b float64) bool { return math.Abs(a-b) < 1e-6*max(1, math.Abs(b)) }

// odds turns a sum of log-odds into a score of 0..100.
func odds(parts ...float64) float64 {
	x := math.Log(risk.Prior / (1 - risk.Prior))
	for _, p := range parts {
		x += p
	}
	return 100 / (1 + math.Exp(-x))
}

// gives is the log-odds that a finding of that score adds when it is fresh.
func gives(score float64) float64 {
	return math.Log(score/(1-score)) - math.Log(risk.Prior/(1-risk.Prior))
}

// TestScore checks how findings add up and fade.
func TestScore(t *testing.T) {
	for _, c := range []struct {
		name  string
		found []*moat.Finding
		at    float64 // hours after start
		want  float64
	}{
		{"nothing", nil, 0, 1},
		{"one finding gives its own score", []*moat.Finding{finding("1", "a", alice, 0, 0.3)}, 0, 30},
		{"a family does not add up: the stronger counts", []*moat.Finding{finding("1", "a", alice, 0, 0.3), finding("2", "a", alice, 0, 0.2)}, 0, 30},
		{"a family does not add up, stronger last", []*moat.Finding{finding("1", "a", alice, 0, 0.2), finding("2", "a", alice, 0, 0.3)}, 0, 30},
		{"families do", []*moat.Finding{finding("1", "a", alice, 0, 0.3), finding("2", "b", alice, 0, 0.2)}, 0, odds(gives(0.3), gives(0.2))},
		{"three families", []*moat.Finding{finding("1", "a", alice, 0, 0.1), finding("2", "b", alice, 0, 0.1), finding("3", "c", alice, 0, 0.1)}, 0, odds(gives(0.1) * 3)},
		{"half is left after a half-life", []*moat.Finding{finding("1", "a", alice, 0, 0.9)}, 48, odds(gives(0.9) / 2)},
		{"a quarter after two", []*moat.Finding{finding("1", "a", alice, 0, 0.9)}, 96, odds(gives(0.9) / 4)},
		{"nothing after many", []*moat.Finding{finding("1", "a", alice, 0, 0.99)}, 48 * 9, 1},
		{"a faded one gives way to a weaker fresh one", []*moat.Finding{finding("1", "a", alice, 0, 0.5), finding("2", "a", alice, 96, 0.2)}, 96, 20},
		{"a faded one stays before one that is weaker still", []*moat.Finding{finding("1", "a", alice, 0, 0.9), finding("2", "a", alice, 48, 0.02)}, 48, odds(gives(0.9) / 2)},
		{"before it was found it counts in full", []*moat.Finding{finding("1", "a", alice, 5, 0.3)}, 0, 30},
		{"others' findings do not count", []*moat.Finding{finding("1", "a", bob, 0, 0.9)}, 0, 1},
		{"nor do another partner's", []*moat.Finding{finding("1", "a", alice, 0, 0.9, func(f *moat.Finding) { f.Partner = "q" })}, 0, 1},
		{"shadow does not count", []*moat.Finding{finding("1", "a", alice, 0, 0.9, mode(moat.Shadow))}, 0, 1},
		{"observe does", []*moat.Finding{finding("1", "a", alice, 0, 0.4, mode(moat.Observe))}, 0, 40},
		{"a score under the prior lowers nothing", []*moat.Finding{finding("1", "a", alice, 0, 0.3), finding("2", "b", alice, 0, 0.0001)}, 0, 30},
		{"nothing is certain", []*moat.Finding{finding("1", "a", alice, 0, 1)}, 0, 99.9},
		{"nor impossible", []*moat.Finding{finding("1", "a", alice, 0, 0)}, 0, 1},
		{"not a number is nothing", []*moat.Finding{finding("1", "a", alice, 0, math.NaN())}, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := risk.NewKeeper(risk.Calibration{})
			for _, f := range c.found {
				k.Fold(f)
			}
			r := k.Risk("p", alice, after(c.at))
			if !near(r.Score, c.want) {
				t.Errorf("score %v, want %v", r.Score, c.want)
			}
			sum := []float64{}
			for i, s := range r.Shares {
				sum = append(sum, s.LogOdds)
				if i > 0 && s.LogOdds > r.Shares[i-1].LogOdds {
					t.Error("shares are not strongest first")
				}
			}
			if !near(odds(sum...), r.Score) {
				t.Errorf("shares %v do not explain %v", r.Shares, r.Score)
			}
		})
	}
}

// TestWith checks that asking what would be changes nothing.
func TestWith(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	k.Fold(finding("1", "a", alice, 0, 0.3))
	more := []moat.Finding{*finding("2", "b", alice, 1, 0.2), *finding("3", "c", bob, 1, 0.9), *finding("4", "d", alice, 1, 0.9, mode(moat.Shadow))}
	before := snapshot(t, k)
	got := k.With("p", alice, more, after(1)).Score
	if want := odds(gives(0.3)*math.Exp2(-1./48), gives(0.2)); !near(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := k.With("p", office, nil, after(1)).Score; !near(got, 1) {
		t.Errorf("an address that was never found has %v", got)
	}
	if !bytes.Equal(before, snapshot(t, k)) {
		t.Error("a question changed the state")
	}
}

// TestDamage pins the documented meaning of damage and the thresholds of ranks.
func TestDamage(t *testing.T) {
	for _, c := range []struct {
		p      float64
		people int64
		weight float64
		egress bool
		want   float64
	}{
		{1, 100, 1, true, 100}, {0.5, 100, 1, true, 50}, {1, 100, 0.3, true, 30}, {1, 100, 1, false, 33}, {0.9, 0, 1, true, 0},
	} {
		if got := risk.Damage(c.p, c.people, c.weight, c.egress); !near(got, c.want) {
			t.Errorf("Damage(%v, %v, %v, %v) = %v, want %v", c.p, c.people, c.weight, c.egress, got, c.want)
		}
	}
	for _, c := range []struct {
		damage float64
		want   moat.Rank
	}{
		{0, moat.P4}, {4.99, moat.P4}, {5, moat.P3}, {49.9, moat.P3}, {50, moat.P2}, {499, moat.P2}, {500, moat.P1}, {1e9, moat.P1},
	} {
		if got := risk.RankOf(c.damage); got != c.want {
			t.Errorf("RankOf(%v) = %v, want %v", c.damage, got, c.want)
		}
	}
}

// story runs findings and says after each one which cases changed: id of the finding that
// opened it, entities, and → where it went into.
func story(k *risk.Keeper, found ...*moat.Finding) string {
	names := map[string]string{}
	var out []string
	for _, f := range found {
		names[moat.CaseID(f.ID)] = f.ID
		var s []string
		for _, c := range k.Fold(f).Cases {
			text := names[c.ID]
			if c.Merged != "" {
				text += "→" + names[c.Merged]
			}
			s = append(s, text)
		}
		out = append(out, strings.Join(s, "+"))
	}
	return strings.Join(out, " ")
}

// TestCases checks when a case opens, what joins it, and what makes two of them one.
func TestCases(t *testing.T) {
	sure := func(id string, e moat.Entity, hours float64, with ...moat.Entity) *moat.Finding {
		return finding(id, "a", e, hours, 0.8, related(with...))
	}
	for _, c := range []struct {
		name  string
		found []*moat.Finding
		want  string
	}{
		{"under the threshold", []*moat.Finding{finding("1", "a", alice, 0, 0.499)}, ""},
		{"at the threshold", []*moat.Finding{finding("1", "a", alice, 0, 0.5)}, "1"},
		{"two weak ones together", []*moat.Finding{finding("1", "a", alice, 0, 0.2), finding("2", "b", alice, 1, 0.2)}, " 2"},
		{"weak ones join an open case", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 1, 0.05)}, "1 1"},
		{"shadow opens nothing", []*moat.Finding{finding("1", "a", alice, 0, 0.9, mode(moat.Shadow))}, ""},
		{"shadow joins nothing", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 1, 0.9, mode(moat.Shadow))}, "1 "},
		{"quiet for too long", []*moat.Finding{sure("1", alice, 0), sure("2", alice, 73)}, "1 2"},
		{"not yet quiet", []*moat.Finding{sure("1", alice, 0), sure("2", alice, 72), sure("3", alice, 144)}, "1 1 1"},
		{"an address's case does not take in the accounts that it tried", []*moat.Finding{sure("1", office, 0, alice), sure("2", alice, 1)}, "1 2"},
		{"an account's case takes in its address by the account", []*moat.Finding{sure("1", alice, 0, office), sure("2", office, 1, alice)}, "1 1"},
		{"an account's address alone is shared by too many", []*moat.Finding{sure("1", alice, 0, office), sure("2", bob, 1, office)}, "1 2"},
		{"by device", []*moat.Finding{sure("1", phone, 0), sure("2", bob, 1, phone)}, "1 1"},
		{"by address", []*moat.Finding{sure("1", office, 0), sure("2", bob, 1, office)}, "1 1"},
		{"by host, what is done on it", []*moat.Finding{sure("1", server, 0), finding("2", "database", bob, 1, 0.8, related(server))}, "1 1"},
		{"not by the host that serves a page", []*moat.Finding{sure("1", server, 0), sure("2", bob, 1, server)}, "1 2"},
		{"a victim does not draw its own story in", []*moat.Finding{sure("1", office, 0), finding("2", "b", bob, 1, 0.05, related(office)), sure("3", bob, 2)}, "1 1 3"},
		{"a suspect of its own does", []*moat.Finding{sure("1", office, 0), sure("2", bob, 1, office), sure("3", bob, 2)}, "1 1 1"},
		{"an app is not drawn in by whoever used it", []*moat.Finding{sure("1", alice, 0, erp), sure("2", erp, 1, alice)}, "1 2"},
		{"not by app", []*moat.Finding{sure("1", erp, 0), sure("2", bob, 1, erp)}, "1 2"},
		{"not by outlet", []*moat.Finding{sure("1", outlet, 0), sure("2", bob, 1, outlet)}, "1 2"},
		{"an app's own findings go together", []*moat.Finding{sure("1", erp, 0), sure("2", erp, 1)}, "1 1"},
		{"not across partners", []*moat.Finding{sure("1", alice, 0), finding("2", "a", alice, 1, 0.8, func(f *moat.Finding) { f.Partner = "q" })}, "1 2"},
		{"two are found to be one: the older goes on", []*moat.Finding{sure("1", alice, 0), sure("2", office, 1), sure("3", alice, 2, office), sure("4", office, 3)}, "1 2 2→1+1 1"},
		{"the older goes on whoever is the subject", []*moat.Finding{sure("1", alice, 0, office), sure("2", phone, 1), sure("3", office, 2, alice), sure("4", phone, 3, office)}, "1 2 1 2→1+1"},
		{"an address does not join the case of an account that it was never seen with", []*moat.Finding{sure("1", alice, 0), sure("2", office, 1, alice)}, "1 2"},
		{"three at once", []*moat.Finding{sure("1", phone, 0), sure("2", office, 1), sure("3", bob, 2), sure("4", bob, 3, phone, office)}, "1 2 3 3→1+2→1+1"},
		{"a quiet case is not drawn in", []*moat.Finding{sure("1", office, 0), sure("2", alice, 80), sure("3", alice, 81, office)}, "1 2 2"},
		{"something else, while the case is young", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 24, 0.8)}, "1 1"},
		{"something else, a day later", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 25, 0.8), sure("3", alice, 26), finding("4", "b", alice, 40, 0.8)}, "1 2 2 2"},
		{"something else that opens no case", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 25, 0.4), finding("3", "c", alice, 26, 0.3)}, "1 1 3"},
		{"of what was told of on the first day there is more", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 2, 0.1), finding("3", "b", alice, 30, 0.9)}, "1 1 1"},
		{"a third story", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 25, 0.8), finding("3", "c", alice, 60, 0.8), sure("4", alice, 61)}, "1 2 3 3"},
		{"stories of one subject stay apart", []*moat.Finding{sure("1", alice, 0, office), sure("2", office, 1, alice), finding("3", "b", alice, 30, 0.8, related(office)), finding("4", "b", office, 31, 0.3, related(alice))}, "1 1 3 3"},
		{"a trifle on top of what was told", []*moat.Finding{sure("1", alice, 0), finding("2", "b", alice, 80, 0.2)}, "1 "},
		{"a trifle on top of what was told of a victim", []*moat.Finding{sure("1", office, 0), finding("2", "b", bob, 1, 0.3, related(office)), finding("3", "c", bob, 2, 0.3)}, "1 1 3"},
		{"found twice", []*moat.Finding{sure("1", alice, 0), sure("1", alice, 0)}, "1 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := story(risk.NewKeeper(risk.Calibration{}), c.found...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestCaseContent checks what a case says after a story of two that became one.
func TestCaseContent(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	set := func(orders, stake int64, weight float64, egress bool) func(*moat.Finding) {
		return func(f *moat.Finding) { f.Orders, f.Stake, f.Weight, f.Egress = orders, stake, weight, egress }
	}
	k.Fold(finding("w", "weak", alice, 0, 0.1, set(1, 0, 0.1, false), mode(moat.Observe)))
	first := k.Fold(finding("1", "a", alice, 1, 0.8, related(phone, erp), set(40, 0, 0.5, false), mode(moat.Observe)))
	if first.Enforce {
		t.Error("detectors in observe mode bring decisions")
	}
	k.Fold(finding("2", "b", office, 2, 0.6, set(900, 0, 0.1, true)))
	k.Fold(finding("4", "c", office, 4, 0.6, set(900, 0, 0.1, true)))
	last := k.Fold(finding("3", "d", alice, 3, 0.3, related(office), set(60, 5, 1, false)))
	if !last.Enforce || last.Subject != alice {
		t.Errorf("change %+v", last)
	}
	c := last.Cases[1]
	want := moat.Case{
		ID: moat.CaseID("1"), Partner: "p", Opened: after(1), Updated: after(3), State: moat.CaseOpen,
		Entities: []moat.Entity{alice, phone, erp, office}, Findings: []string{"w", "1", "2", "3", "4"}, Detectors: []string{"weak.w", "a.1", "b.2", "c.4", "d.3"},
		Title: "T 1", Orders: 900, Rank: moat.P1, Reason: "because 1; because 4; because 2",
		Score: c.Score, Damage: c.Damage,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if d := risk.Damage(c.Score/100, 900, 1, true); !near(c.Damage, d) || c.Score < 90 {
		t.Errorf("damage %v at score %v, want %v", c.Damage, c.Score, d)
	}
	if m := last.Cases[0]; m.Merged != c.ID || m.Updated != after(3) || len(m.Findings) != 2 {
		t.Errorf("the merged case is %+v", m)
	}
	// A change is a copy: the caller may keep it and change it.
	c.Findings[0], c.Entities[0] = "changed", bob
	if again := k.Fold(finding("5", "e", alice, 5, 0.3)).Cases[0]; again.Findings[0] != "w" || again.Entities[0] != alice {
		t.Error("the keeper shares memory with what it returned")
	}
}

// TestStake checks that a case ranks by the people at risk before anything was taken.
func TestStake(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	k.Fold(finding("0", "b", alice, 0, 0.05))
	c := k.Fold(finding("1", "a", alice, 0, 0.5, func(f *moat.Finding) { f.Orders, f.Stake, f.Egress = 0, 1000, true })).Cases[0]
	if c.Rank != moat.P1 || c.Orders != 0 || c.Damage < 500 {
		t.Errorf("rank %v, orders %d, damage %v", c.Rank, c.Orders, c.Damage)
	}
}

// TestRanksOnlyRise checks that time does not make a case look smaller than it was.
func TestRanksOnlyRise(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	k.Fold(finding("0", "c", alice, 0, 0.1))
	was := k.Fold(finding("1", "a", alice, 0, 0.95, func(f *moat.Finding) { f.Orders, f.Egress = 1000, true })).Cases[0]
	is := k.Fold(finding("2", "b", alice, 70, 0.05, func(f *moat.Finding) { f.Orders = 1 })).Cases[0]
	if is.Rank != was.Rank || is.Score < was.Score || is.Damage < was.Damage || is.Orders != was.Orders {
		t.Errorf("was %+v\nis %+v", was, is)
	}
}

// TestWitnesses checks what may become of a finding that no other bears out.
func TestWitnesses(t *testing.T) {
	large := func(f *moat.Finding) { f.Orders, f.Egress = 5000, true }
	basis := func(b string) func(*moat.Finding) { return func(f *moat.Finding) { f.Basis = b } }
	certain := func(f *moat.Finding) { f.Certain = true }
	for _, c := range []struct {
		name  string
		found []*moat.Finding
		rank  moat.Rank // of the case
		acts  moat.Rank // of the subject, for decisions
	}{
		{"one witness, more likely wrong", []*moat.Finding{finding("1", "a", alice, 0, 0.45, large)}, moat.P2, moat.P3},
		{"one witness, more likely right", []*moat.Finding{finding("1", "a", alice, 0, 0.8, large)}, moat.P2, moat.P2},
		{"one that is certain", []*moat.Finding{finding("1", "a", alice, 0, 0.8, large, certain)}, moat.P1, moat.P1},
		{"certain in nature, but hardly so this time", []*moat.Finding{finding("1", "a", alice, 0, 0.4, large, certain)}, moat.P2, moat.P3},
		{"two of one family", []*moat.Finding{finding("1", "a", alice, 0, 0.45, large), finding("2", "a", alice, 0, 0.45, large)}, moat.P2, moat.P3},
		{"two families with the same basis", []*moat.Finding{finding("1", "a", alice, 0, 0.45, large, basis("volume")), finding("2", "b", alice, 0, 0.45, large, basis("volume"))}, moat.P2, moat.P3},
		{"two witnesses", []*moat.Finding{finding("1", "a", alice, 0, 0.45, large), finding("2", "b", alice, 0, 0.1)}, moat.P1, moat.P1},
		{"the second says next to nothing", []*moat.Finding{finding("1", "a", alice, 0, 0.45, large), finding("2", "b", alice, 0, 0.02)}, moat.P2, moat.P2},
	} {
		k := risk.NewKeeper(risk.Calibration{OpenAt: 20})
		var ch risk.Change
		for _, f := range c.found {
			ch = k.Fold(f)
		}
		if got := ch.Cases[0].Rank; got != c.rank || ch.Rank != c.acts {
			t.Errorf("%s: %v, treated as %v; want %v and %v (score %v)", c.name, got, ch.Rank, c.rank, c.acts, ch.Risk.Score)
		}
	}
}

// TestJoined checks that who joins a case is not treated like its culprit.
func TestJoined(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{OpenAt: 20})
	backup := moat.Entity{Kind: moat.Account, ID: "backup"}
	large := func(f *moat.Finding) { f.Orders, f.Egress = 60000, true }
	k.Fold(finding("1", "host", server, 0, 0.6, large))
	ch := k.Fold(finding("2", "database", server, 0, 0.6, large))
	if ch.Rank != moat.P1 {
		t.Fatalf("%v", ch.Cases[0])
	}
	ch = k.Fold(finding("3", "database", backup, 10, 0.1, large, related(server)))
	if len(ch.Cases) != 1 || ch.Cases[0].Rank != moat.P1 || ch.Rank < moat.P2 {
		t.Errorf("the backup that ran on the server that was broken into is treated as %v: %+v", ch.Rank, ch.Cases)
	}
}

// TestStrange checks that the address of one thief makes one case of all accounts that he tries.
func TestStrange(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{OpenAt: 20})
	from := moat.Entity{Kind: moat.IP, ID: "203.0.113.9"}
	strange := func(f *moat.Finding) { f.Related, f.Strange = []moat.Entity{from}, []moat.Entity{from} }
	first := k.Fold(finding("1", "account", alice, 0, 0.4, strange)).Cases[0]
	second := k.Fold(finding("2", "account", bob, 1, 0.4, strange)).Cases[0]
	if second.ID != first.ID || len(second.Strange) != 1 || second.Strange[0] != from {
		t.Errorf("first %+v\nthen %+v", first, second)
	}
	carol := moat.Entity{Kind: moat.Account, ID: "carol"}
	if other := k.Fold(finding("3", "account", carol, 2, 0.4, related(office))).Cases[0]; other.ID == first.ID {
		t.Error("another address joined")
	}
}

// TestDestination checks that a destination, which may be honest and many people's, is listed and ties nothing: neither to what else goes
// there nor to what is found of itself.
func TestDestination(t *testing.T) {
	to := moat.Entity{Kind: moat.Destination, ID: "https://in.courier.example/v1"}
	k := risk.NewKeeper(risk.Calibration{OpenAt: 20})
	cases := map[string]bool{}
	for i, e := range []moat.Entity{erp, alice, bob, phone, office, server, to, {Kind: moat.App, ID: "wms"}} {
		var with []moat.Entity
		if e != to {
			with = []moat.Entity{to}
		}
		c := k.Fold(finding(fmt.Sprint(i), "egress", e, float64(i), 0.6, related(with...))).Cases
		if len(c) != 1 || cases[c[0].ID] || c[0].Entities[0] != e || !slices.Contains(c[0].Entities, to) {
			t.Errorf("%s: %+v", e, c)
			continue
		}
		cases[c[0].ID] = true
		for _, tie := range risk.Ties(&c[0]) {
			if strings.Contains(tie.Key, to.ID) {
				t.Errorf("%s is tied to other partners' by %s", e, tie.Key)
			}
		}
	}
}

// TestEcho checks where goes what is heard of outside and names nobody.
// TestStrangerOfTheWeak: what a weak finding shows to be a stranger's is named in the case that it goes into, and ties nothing to it: only what
// came with a suspect does.
func TestStrangerOfTheWeak(t *testing.T) {
	stranger := moat.Entity{Kind: moat.IP, ID: "203.0.113.7"}
	for score, want := range map[float64]bool{0.05: false, 0.8: true} {
		k := risk.NewKeeper(risk.Calibration{})
		k.Fold(finding("1", "a", phone, 0, 0.9))
		k.Fold(finding("2", "b", bob, 1, score, related(phone), func(f *moat.Finding) { f.Strange = []moat.Entity{stranger} }))
		c := k.Fold(finding("3", "c", alice, 2, 0.9, related(stranger))).Cases
		if last := c[len(c)-1]; slices.Contains(last.Entities, phone) != want {
			t.Errorf("a score of %g: %v", score, last.Entities)
		}
	}
}

func TestEcho(t *testing.T) {
	acme := moat.Entity{Kind: moat.Partner, ID: "p"}
	rang := func(id string, hours float64) *moat.Finding {
		return finding(id, "access", acme, hours, 0.3, func(f *moat.Finding) { f.Basis, f.Orders, f.Stake, f.Egress = "echo", 90000, 1000, true })
	}
	k := risk.NewKeeper(risk.Calibration{OpenAt: 20})
	alone := k.Fold(rang("1", 0)).Cases[0]
	if alone.Orders != 0 || alone.Rank != moat.P2 {
		t.Errorf("all that the partner handled counts: %+v", alone)
	}
	if again := k.Fold(rang("2", 200)).Cases[0]; again.ID != alone.ID {
		t.Error("a second call a week later is another case")
	}
	k = risk.NewKeeper(risk.Calibration{OpenAt: 20})
	k.Fold(finding("1", "access", bob, 0, 0.3))
	thief := k.Fold(finding("2", "egress", alice, 1, 0.7, func(f *moat.Finding) { f.Orders = 400 })).Cases[0]
	if c := k.Fold(rang("3", 150)).Cases[0]; c.ID != thief.ID {
		t.Errorf("not with the case that it probably comes from: %+v", c)
	}
	if c := k.Fold(rang("4", 24*30)).Cases[0]; c.ID == thief.ID {
		t.Error("a call a month later joined")
	}
}

// TestPolicy: what somebody must agree to opens a case however unlikely a theft is, and is of the lowest rank until it is worth more.
func TestPolicy(t *testing.T) {
	app, acme := moat.Entity{Kind: moat.App, ID: "erp"}, moat.Entity{Kind: moat.Partner, ID: "acme"}
	policy := func(f *moat.Finding) { f.Policy, f.Orders, f.Egress = true, 5000, true }
	k := risk.NewKeeper(risk.Calibration{OpenAt: 20})
	if c := k.Fold(finding("0", "egress", acme, 0, 0.1)).Cases; len(c) != 0 {
		t.Fatalf("without a policy a case opens: %+v", c)
	}
	c := k.Fold(finding("1", "egress", app, 0, 0.1, policy)).Cases
	if len(c) != 1 || c[0].Rank != moat.P4 || c[0].Score >= 20 {
		t.Fatalf("with a policy: %+v", c)
	}
	again := k.Fold(finding("2", "application", app, 1, 0.9, func(f *moat.Finding) { f.Orders, f.Egress = 5000, true })).Cases
	if len(again) != 1 || again[0].ID != c[0].ID || again[0].Rank >= moat.P3 {
		t.Errorf("what is found of the app later: %+v", again)
	}
}

// TestJoins: what many complain about opens no case, raises no risk and decides nothing; the case that is opened when a source is named has it, and
// what is complained about later goes into that and leaves it as it was.
func TestJoins(t *testing.T) {
	app := moat.Entity{Kind: moat.App, ID: "erp"}
	surge := func(f *moat.Finding) { f.Joins, f.Basis, f.Orders, f.Stake, f.Egress = true, "echo", 500, 5000, true }
	k := risk.NewKeeper(risk.Calibration{OpenAt: 20})
	unmoved := func(when string, at float64) {
		t.Helper()
		if r := k.With("p", app, nil, after(at)); !near(r.Score, odds()) || len(r.Shares) != 0 {
			t.Errorf("%s an act of the app has the risk %+v", when, r)
		}
	}
	c := k.Fold(finding("1", "complaint", app, 0, 0.8, surge))
	if len(c.Cases) != 0 || c.Enforce || !near(c.Risk.Score, odds()) {
		t.Fatalf("alone: %+v", c)
	}
	unmoved("after complaints", 1)
	if found := []moat.Finding{*finding("1", "complaint", moat.Entity{Kind: moat.Partner, ID: "p"}, 0, 0.8, surge)}; len(risk.Stand(risk.Calibration{}, nil, "p", found, risk.Incidents{}, after(1)).Reasons) > 0 {
		t.Error("the partner stands worse for complaints")
	}
	named := k.Fold(finding("2", "across", app, 6, 0.7, func(f *moat.Finding) { f.Basis = "echo" }))
	if len(named.Cases) != 1 || len(named.Cases[0].Findings) != 2 || !named.Enforce {
		t.Fatalf("when a source is named: %+v", named)
	}
	was := named.Cases[0]
	more := k.Fold(finding("3", "complaint", app, 30, 0.8, surge))
	if len(more.Cases) != 1 || more.Enforce {
		t.Fatalf("complaints later: %+v", more)
	}
	if x := more.Cases[0]; x.ID != was.ID || len(x.Findings) != 3 || x.Score != was.Score || x.Rank != was.Rank || x.Orders != was.Orders || x.Damage != was.Damage {
		t.Errorf("the case became %+v\nof %+v", x, was)
	}
	var state bytes.Buffer // a snapshot keeps what joined
	again := risk.NewKeeper(risk.Calibration{OpenAt: 20})
	k.Fold(finding("4", "complaint", bob, 31, 0.8, surge))
	if err := k.Snapshot(&state); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Restore(&state); err != nil {
		t.Fatal(err)
	}
	if c := again.Fold(finding("5", "across", bob, 40, 0.7)).Cases; len(c) != 1 || len(c[0].Findings) != 2 {
		t.Errorf("after a snapshot: %+v", c)
	}
}

// TestBreakIn: who speaks to what was planted on a server, and what the database says of the dump that was taken there, belong to
// the server's case; a dump elsewhere and later does not, nor does an address that is not the thief's own.
func TestBreakIn(t *testing.T) {
	web, db := moat.Entity{Kind: moat.Host, ID: "web1"}, moat.Entity{Kind: moat.Host, ID: "db1"}
	thief, passer := moat.Entity{Kind: moat.IP, ID: "45.9.8.7"}, moat.Entity{Kind: moat.IP, ID: "1.2.3.4"}
	job := moat.Entity{Kind: moat.Account, ID: "app"}
	own := func(f *moat.Finding) { f.Strange = []moat.Entity{f.Entity} }
	dumped := func(f *moat.Finding) { f.Basis, f.Orders = "dump", 180_000 }
	k := risk.NewKeeper(risk.Calibration{})
	shell := k.Fold(finding("1", "host", web, 0, 0.9)).Cases[0]
	k.Fold(finding("2", "host", web, 0.1, 0.3, dumped))
	if c := k.Fold(finding("3", "database", job, 0.2, 0.6, dumped, related(db))).Cases[0]; c.ID != shell.ID || c.Orders != 180_000 {
		t.Errorf("the database's side of the dump is in %s with %d orders, not in %s", c.ID, c.Orders, shell.ID)
	}
	c := k.Fold(finding("4", "host", thief, 0.3, 0.6, own, related(web))).Cases[0]
	if c.ID != shell.ID || !slices.Contains(c.Strange, thief) {
		t.Errorf("who speaks to the shell is in %s with strangers %v", c.ID, c.Strange)
	}
	if c := k.Fold(finding("5", "host", passer, 0.4, 0.9, related(web))).Cases[0]; c.ID == shell.ID {
		t.Error("somebody who passed by is in the case")
	}
	if c := k.Fold(finding("6", "database", moat.Entity{Kind: moat.Account, ID: "backup"}, 9, 0.9, dumped)).Cases[0]; c.ID == shell.ID {
		t.Error("a dump nine hours later is in the case")
	}
}

// TestBounds feeds one case more than it may list.
func TestBounds(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	var c moat.Case
	for i := range 2 * risk.MaxFindings {
		other := moat.Entity{Kind: moat.Device, ID: fmt.Sprint(i)}
		c = k.Fold(finding(fmt.Sprintf("f%04d", i), fmt.Sprintf("family%d", i%7), alice, float64(i)/100, 0.8, related(other))).Cases[0]
	}
	if len(c.Entities) != risk.MaxEntities || len(c.Findings) != risk.MaxFindings || len(c.Detectors) != risk.MaxFindings {
		t.Errorf("%d entities, %d findings, %d detectors", len(c.Entities), len(c.Findings), len(c.Detectors))
	}
	if c.Findings[0] != "f0200" || c.Findings[199] != "f0399" || c.Entities[0] != alice {
		t.Errorf("the newest findings are %s … %s, the first entity is %s", c.Findings[0], c.Findings[199], c.Entities[0])
	}
}

// TestJoinedAlike joins two cases that together saw more subjects with orders than one may list: the same are kept every time.
func TestJoinedAlike(t *testing.T) {
	thieves := [2]moat.Entity{{Kind: moat.Account, ID: "t0"}, {Kind: moat.Account, ID: "t1"}}
	const more = risk.MaxEntities * 3 / 2
	var first []byte
	for range 20 {
		k := risk.NewKeeper(risk.Calibration{})
		at := 0.0
		for i := range more {
			at += 0.01
			other := moat.Entity{Kind: moat.Device, ID: fmt.Sprint(i)}
			for _, f := range []*moat.Finding{
				finding(fmt.Sprintf("a%04d", i), "access", thieves[i%2], at, 0.9),
				finding(fmt.Sprintf("b%04d", i), "device", other, at, 0.2, related(thieves[i%2])),
			} {
				f.Orders = int64(1 + i/3)
				k.Fold(f)
			}
		}
		if _, cases := k.Size(); cases != 2 {
			t.Fatalf("%d cases, want one of each thief", cases)
		}
		c := k.Fold(finding("c", "access", thieves[0], at, 0.9, related(thieves[1]))).Cases
		if len(c) != 2 || c[1].Orders != 1+(more-1)/3 {
			t.Fatalf("joined to %+v", c)
		}
		var b bytes.Buffer
		if err := k.Snapshot(&b); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b.Bytes()
		} else if !bytes.Equal(first, b.Bytes()) {
			t.Fatal("what is kept differs from one time to the next")
		}
	}
}

// stream makes n random findings over some entities and days, a few of them late.
func stream(n int, seed uint64) []*moat.Finding {
	r := rand.New(rand.NewPCG(seed, 3))
	var out []*moat.Finding
	at := 0.0
	for i := range n {
		at += r.ExpFloat64()
		e := func() moat.Entity {
			return moat.Entity{Kind: []moat.EntityKind{moat.Account, moat.IP, moat.Device, moat.Host, moat.App}[r.IntN(5)], ID: fmt.Sprint(r.IntN(2))}
		}
		f := finding(fmt.Sprintf("f%d", i), []string{"access", "account", "device", "egress", "host"}[r.IntN(5)], e(), at-float64(r.IntN(20)/19*r.IntN(50)), r.Float64(), mode(moat.Mode(r.IntN(3))))
		f.Partner, f.Orders, f.Egress, f.Weight = fmt.Sprint(r.IntN(3)), int64(r.IntN(2000)), r.IntN(3) == 0, r.Float64()
		for range r.IntN(4) {
			if o := e(); o.Kind != f.Entity.Kind {
				f.Related = append(f.Related, o)
			}
		}
		out = append(out, f)
	}
	return out
}

func snapshot(t testing.TB, k *risk.Keeper) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := k.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restored(t testing.TB, k *risk.Keeper) *risk.Keeper {
	t.Helper()
	out := risk.NewKeeper(risk.Calibration{})
	if _, err := out.Restore(bytes.NewReader(snapshot(t, k))); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMetamorphic folds the same findings with and without restarts, and each partner alone: the
// same risks and cases must come out.
func TestMetamorphic(t *testing.T) {
	for seed := range uint64(2) {
		found := stream(300, seed)
		k := risk.NewKeeper(risk.Calibration{})
		var want []risk.Change
		merged := 0
		for _, f := range found {
			c := k.Fold(f)
			want = append(want, c)
			merged += max(len(c.Cases)-1, 0)
		}
		if merged == 0 {
			t.Fatal("no cases merged: the stream tests nothing")
		}
		for _, every := range []int{1, 7, 100} {
			k2 := risk.NewKeeper(risk.Calibration{})
			for i, f := range found {
				if i%every == 0 {
					k2 = restored(t, k2)
				}
				if got := k2.Fold(f); !reflect.DeepEqual(got, want[i]) {
					t.Fatalf("seed %d, restart every %d, finding %d:\n got %+v\nwant %+v", seed, every, i, got, want[i])
				}
			}
			if !bytes.Equal(snapshot(t, k), snapshot(t, k2)) {
				t.Errorf("seed %d, restart every %d: the states differ at the end", seed, every)
			}
		}
		alone := [3]*risk.Keeper{risk.NewKeeper(risk.Calibration{}), risk.NewKeeper(risk.Calibration{}), risk.NewKeeper(risk.Calibration{})}
		for i, f := range found {
			if got := alone[f.Partner[0]-'0'].Fold(f); !reflect.DeepEqual(got, want[i]) {
				t.Fatalf("seed %d, finding %d: a partner alone gives\n got %+v\nwant %+v", seed, i, got, want[i])
			}
		}
	}
}

// TestSnapshotDamaged checks that no damage is taken for a state.
func TestSnapshotDamaged(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	for _, f := range stream(50, 1) {
		k.Fold(f)
	}
	good := snapshot(t, k)
	for _, bad := range [][]byte{nil, good[:len(good)/2], []byte(`{"Cases":[null]}`), []byte(`{"Cases":[{"Case":{"findings":["f"]}}]}`), []byte(`{"Entities":[{"Entity":{"kind":"cat"}}]}`)} {
		if _, err := risk.NewKeeper(risk.Calibration{}).Restore(bytes.NewReader(bad)); err == nil || !strings.HasPrefix(err.Error(), "cannot read risks: ") {
			t.Errorf("%.40q gives %v", bad, err)
		}
	}
	bare := risk.NewKeeper(risk.Calibration{})
	if _, err := bare.Restore(strings.NewReader(`{"Cases":[{"Case":{"id":"c","partner":"p"}}],"Links":[{"Partner":"p","Entity":{"kind":"account","id":"alice"},"Case":"c"}]}`)); err != nil {
		t.Fatal(err)
	}
	if got := bare.Fold(finding("1", "a", alice, -1e6, 0.9)).Cases; len(got) != 1 {
		t.Errorf("a case without anything cannot go on: %+v", got)
	}
}

// TestSweep lets thousands of entities come and fade; what is forgotten must not be missed.
func TestSweep(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	for i := range 20_000 {
		k.Fold(finding(fmt.Sprint(i), "a", moat.Entity{Kind: moat.Account, ID: fmt.Sprint(i)}, float64(i)/4, 0.6))
	}
	var state struct{ Entities, Cases, Links []json.RawMessage }
	if err := json.Unmarshal(snapshot(t, k), &state); err != nil {
		t.Fatal(err)
	}
	// A finding of 0.6 fades within 15 days, in which 1,440 come; a case is quiet after three.
	if n := len(state.Entities); n < 1300 || n > 3000 {
		t.Errorf("%d entities are kept", n)
	}
	if n := len(state.Cases); n < 288 || n > 1400 || len(state.Links) != n {
		t.Errorf("%d cases and %d links are kept", n, len(state.Links))
	}
	if k.Lost != 0 {
		t.Errorf("%d living ones were forgotten", k.Lost)
	}
	now := after(20_000. / 4)
	for i := range 20_000 {
		age := (20_000. - float64(i)) / 4 / 48
		left := gives(0.6) * math.Exp2(-age)
		if left < 0.051 {
			left = 0
		}
		if got, want := k.Risk("p", moat.Entity{Kind: moat.Account, ID: fmt.Sprint(i)}, now).Score, odds(left); math.Abs(got-want) > 0.06 {
			t.Fatalf("entity %d has %v, want %v", i, got, want)
		}
	}
}

// TestClocks checks that one partner's history does not make another's present fade.
func TestClocks(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	k.Fold(finding("1", "a", alice, -9000, 0.6))
	for i := range 5000 {
		k.Fold(finding(fmt.Sprint(i), "a", moat.Entity{Kind: moat.IP, ID: fmt.Sprint(i)}, 0, 0.6, func(f *moat.Finding) { f.Partner = "q" }))
	}
	if got := k.Risk("p", alice, after(-9000)).Score; !near(got, 60) {
		t.Errorf("score %v, want 60", got)
	}
}

// TestFlood gives a keeper a million subjects of one partner, many worth a case: it stays within its
// bounds, and a quiet partner loses nothing.
func TestFlood(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	honest := func(f *moat.Finding) { f.Partner = "honest" }
	first := k.Fold(finding("h1", "a", alice, 0, 0.6, honest)).Cases[0]
	k.Fold(finding("t", "a", bob, 0, 0.99))
	f := finding("", "a", alice, 0, 0.3)
	for i := range 1_000_000 {
		f.ID = fmt.Sprint(i)
		f.Entity.ID = f.ID
		f.Time += 60 * moat.Microsecond
		f.Score = 0.3
		if i%16 == 0 {
			f.Score = 0.6
		}
		k.Fold(f)
		if i%10_000 == 0 {
			if entities, cases := k.Size(); entities > risk.MaxKept || cases > risk.MaxCases {
				t.Fatalf("%d entities and %d cases are kept", entities, cases)
			}
		}
	}
	if k.Lost < 800_000 {
		t.Errorf("only %d were given up", k.Lost)
	}
	if got := k.Risk("p", bob, f.Time).Score; got < 98 {
		t.Errorf("the riskiest of the flooding partner fell to %v", got)
	}
	c := k.Fold(finding("h2", "b", alice, 1, 0.3, honest))
	if len(c.Cases) != 1 || c.Cases[0].ID != first.ID || !slices.Equal(c.Cases[0].Findings, []string{"h1", "h2"}) {
		t.Errorf("the honest partner's case did not go on: %+v", c)
	}
}

// BenchmarkFold folds findings about a thousand subjects; an operation is one finding.
func BenchmarkFold(b *testing.B) {
	found := stream(1000, 1)
	for i, f := range found {
		f.Entity.ID, f.Mode = fmt.Sprint(i), moat.Enforce
	}
	k := risk.NewKeeper(risk.Calibration{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f := found[i%len(found)]
		f.Time += moat.Hour
		k.Fold(f)
		i++
	}
}

func background(f *moat.Finding) { f.Background, f.Detector = true, "host.guessing" }

// TestBackground has the internet guess at a server for two months.
func TestBackground(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	address := func(i int) moat.Entity { return moat.Entity{Kind: moat.IP, ID: fmt.Sprint("203.0.113.", i)} }
	root := moat.Entity{Kind: moat.Account, ID: "root"}
	cases := map[string]moat.Case{}
	fold := func(f *moat.Finding) moat.Case {
		t.Helper()
		c := k.Fold(f)
		if len(c.Cases) != 1 || c.Subject != f.Entity || !c.Enforce {
			t.Fatalf("%s: %+v", f.ID, c)
		}
		cases[c.Cases[0].ID] = c.Cases[0]
		return c.Cases[0]
	}
	for i := range 100 {
		fold(finding(fmt.Sprint("g", i), "host", address(i), 14.4*float64(i), 0.6, background, related(root, server)))
		if i == 50 {
			k = restored(t, k)
		}
	}
	if len(cases) != 2 {
		t.Errorf("%d cases in two months, want one a month", len(cases))
	}
	for _, c := range cases {
		if c.Rank != moat.P4 || slices.Contains(c.Entities, root) || slices.Contains(c.Entities, server) || len(c.Entities) > risk.MaxEntities {
			t.Errorf("case of %v", c.Entities)
		}
	}
	// One of them gets in: its story is its own, with what was found of it before.
	in := fold(finding("in", "login", address(98), 1426, 0.7, related(root, server)))
	if len(cases) != 3 || in.Entities[0] != address(98) || !slices.Equal(in.Findings, []string{"g98", "in"}) {
		t.Errorf("the one that got in is in case %+v of %d", in, len(cases))
	}
	if more := fold(finding("g100", "host", address(98), 1427, 0.6, background)); more.ID != in.ID {
		t.Errorf("what it does next is in case %s, want %s", more.ID, in.ID)
	}
	if c := k.Fold(finding("hint", "host", address(104), 1427, 0.1, background)); len(c.Cases) != 0 {
		t.Error("a hint brings a decision because others guess, too")
	}
	// Somebody says that the noise is known: for two weeks there is no other case of it.
	last := fold(finding("g101", "host", address(101), 1428, 0.6, background))
	k.Learn(&risk.Lesson{Seq: 1, Kind: risk.Judged, Object: last.ID, Partner: "p", Verdict: moat.Accepted, Score: last.Score, Rank: last.Rank, Updated: last.Updated,
		Detectors: []string{"host.guessing"}, Families: []string{"host"}, Entities: []moat.Entity{address(101)}})
	if c := k.Fold(finding("g102", "host", address(102), 1429, 0.6, background)); len(c.Cases) != 0 {
		t.Errorf("known noise opened %+v", c.Cases[0])
	}
	if c := k.Fold(finding("g103", "host", address(103), 1429+15*24, 0.6, background)); len(c.Cases) != 1 {
		t.Error("noise opens no case after two weeks")
	}
}

// TestChannels checks that what was planted in one channel opens a case of its own, that a weak sign of one does not ride on another's, and that a case that somebody
// judged keeps nothing but its own channel quiet.
func TestChannels(t *testing.T) {
	partner := moat.Entity{Kind: moat.Partner, ID: "p"}
	by := func(channel string) func(*moat.Finding) {
		return func(f *moat.Finding) {
			f.Basis, f.Channel, f.Certain, f.Stake = "echo", channel, true, 1000
			f.Egress = true
		}
	}
	k := risk.NewKeeper(risk.Calibration{})
	theft := k.Fold(finding("0", "a", alice, 0, 0.9, related(erp))).Cases[0]
	used := func(id, channel string, hours, score float64) (ids []string, last moat.Case) {
		for _, c := range k.Fold(finding(id, "b", partner, hours, score, by(channel))).Cases {
			ids, last = append(ids, c.ID), c
		}
		return ids, last
	}
	if ids, _ := used("1", "app:erp", 1, 0.85); len(ids) != 1 || ids[0] != theft.ID {
		t.Errorf("the channel that a thief used leaked, and %v tell of it, want %s", ids, theft.ID)
	}
	if ids, c := used("2", "mail", 2, 0.85); len(ids) != 1 || ids[0] == theft.ID || c.Title != "T 2 (mail)" || c.Rank != moat.P1 {
		t.Errorf("another channel: %v, %+v", ids, c)
	}
	if ids, _ := used("3", "wiki", 3, 0.1); len(ids) != 0 {
		t.Errorf("a weak sign of a third opened %v", ids)
	}
	var b bytes.Buffer
	if err := k.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	k = risk.NewKeeper(risk.Calibration{})
	if _, err := k.Restore(&b); err != nil {
		t.Fatal(err)
	}
	_, mail := used("4", "mail", 4, 0.1)
	if len(mail.Findings) != 2 {
		t.Errorf("after a restart the case of the channel has %v", mail.Findings)
	}
	k.Learn(&risk.Lesson{Seq: 1, Kind: risk.Judged, Object: mail.ID, Partner: "p", Verdict: moat.FalseAlarm, Entities: mail.Entities, Families: []string{"b"}, Rank: mail.Rank, Updated: mail.Updated})
	if ids, _ := used("5", "mail", 5, 0.85); len(ids) != 0 {
		t.Errorf("what was judged a false alarm opened %v", ids)
	}
	if ids, _ := used("6", "desk", 6, 0.85); len(ids) != 1 {
		t.Errorf("a false alarm of one channel hides another: %v", ids)
	}
	if r := k.Risk("p", partner, after(6)); !near(r.Score, 85) {
		t.Errorf("the risk of the partner is %v", r.Score)
	}
}
