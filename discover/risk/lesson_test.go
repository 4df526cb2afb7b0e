package risk_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// verdicts gives lessons their numbers.
func verdicts(list ...risk.Lesson) []*risk.Lesson {
	var out []*risk.Lesson
	for i := range list {
		l := &list[i]
		l.Seq = uint64(i + 1)
		if l.Kind == "" {
			l.Kind = risk.Judged
		}
		if l.Partner == "" {
			l.Partner = "p"
		}
		out = append(out, l)
	}
	return out
}

func learned(list ...risk.Lesson) *risk.Learned {
	x := risk.NewLearned()
	for _, l := range verdicts(list...) {
		x.Learn(l)
	}
	return x
}

// said is a verdict on a case of detectors.
func said(object string, v moat.Verdict, score float64, detectors ...string) risk.Lesson {
	return risk.Lesson{Object: object, Verdict: v, Score: score, Detectors: detectors, Rank: moat.P4, Families: []string{"a"}, Entities: []moat.Entity{alice}, Updated: start}
}

func TestPrecisionBounds(t *testing.T) {
	for _, x := range []struct {
		confirmed, wrong int
		low, high        float64 // Wilson (1927) with z = 1.96
	}{{0, 0, 0, 1}, {0, 5, 0, 0.4345}, {5, 0, 0.5655, 1}, {1, 9, 0.0179, 0.4042}, {50, 50, 0.4038, 0.5962}, {0, 9, 0, 0.2991}, {0, 8, 0, 0.3244}} {
		y := risk.Tally{Confirmed: x.confirmed, False: x.wrong, Accepted: 3}
		if math.Abs(y.Low()-x.low) > 5e-4 || math.Abs(y.High()-x.high) > 5e-4 {
			t.Errorf("%d right, %d wrong: %.4f to %.4f, want %.4f to %.4f", x.confirmed, x.wrong, y.Low(), y.High(), x.low, x.high)
		}
	}
}

// TestAttribution: who is credited and debited by verdicts.
func TestAttribution(t *testing.T) {
	own := said("2", moat.FalseAlarm, 80, "a.1")
	own.Own = true
	other := said("3", moat.Confirmed, 80, "a.1")
	other.Partner = "q"
	for name, x := range map[string]struct {
		lessons []risk.Lesson
		tenant  moat.Tenant
		want    map[string]risk.Tally
	}{
		"each that took part counts once": {[]risk.Lesson{said("1", moat.Confirmed, 80, "a.1", "b.1"), said("2", moat.FalseAlarm, 80, "b.1")}, moat.Everyone(),
			map[string]risk.Tally{"a.1": {Confirmed: 1}, "b.1": {Confirmed: 1, False: 1}}},
		"accepted is neither":         {[]risk.Lesson{said("1", moat.Accepted, 80, "a.1")}, moat.Everyone(), map[string]risk.Tally{"a.1": {Accepted: 1}}},
		"a changed verdict counts":    {[]risk.Lesson{said("1", moat.FalseAlarm, 80, "a.1"), said("1", moat.Confirmed, 80, "a.1", "b.1")}, moat.Everyone(), map[string]risk.Tally{"a.1": {Confirmed: 1}, "b.1": {Confirmed: 1}}},
		"one taken back does not":     {[]risk.Lesson{said("1", moat.FalseAlarm, 80, "a.1"), said("1", moat.NoVerdict, 80, "a.1")}, moat.Everyone(), map[string]risk.Tally{}},
		"a partner's own is for it":   {[]risk.Lesson{own}, moat.Only("p"), map[string]risk.Tally{"a.1": {False: 1}}},
		"and overrules no operator":   {[]risk.Lesson{said("2", moat.Confirmed, 80, "a.1"), own}, moat.Everyone(), map[string]risk.Tally{"a.1": {Confirmed: 1}}},
		"and not for all":             {[]risk.Lesson{own}, moat.Everyone(), map[string]risk.Tally{}},
		"a partner sees its own only": {[]risk.Lesson{other}, moat.Only("p"), map[string]risk.Tally{}},
		"no one sees nothing":         {[]risk.Lesson{said("1", moat.Confirmed, 80, "a.1")}, moat.Tenant{}, map[string]risk.Tally{}},
	} {
		if got := learned(x.lessons...).Tallies(x.tenant); fmt.Sprint(got) != fmt.Sprint(x.want) {
			t.Errorf("%s: %v, want %v", name, got, x.want)
		}
	}
}

// TestShift: what comes true as often as expected moves nothing; thin data little; others count less than one's own.
func TestShift(t *testing.T) {
	many := func(n, right int, score float64, partner string, own bool, detectors ...string) (list []risk.Lesson) {
		for i := range n {
			l := said(fmt.Sprintf("%s%d", partner, i), moat.FalseAlarm, score, detectors...)
			if i < right {
				l.Verdict = moat.Confirmed
			}
			l.Partner, l.Own = partner, own
			list = append(list, l)
		}
		return list
	}
	shift := func(list []risk.Lesson, partner string) float64 { return learned(list...).Shift(partner, "a.1") }
	if s := shift(many(10, 6, 60, "p", false, "a.1"), "p"); math.Abs(s) > 1e-9 {
		t.Errorf("as expected: %g", s)
	}
	// ten cases of 60 %, none true: raw = ln(.5/10.5) - ln(6.5/4.5); half of it, and of the rest half again.
	raw := math.Log(0.5/10.5) - math.Log(6.5/4.5)
	none := many(10, 0, 60, "p", false, "a.1")
	if s := shift(none, "p"); math.Abs(s-max(0.75*raw, -risk.MaxShift)) > 1e-9 {
		t.Errorf("none true: %g, want %g", s, 0.75*raw)
	}
	if s := shift(none, "q"); math.Abs(s-0.5*raw) > 1e-9 {
		t.Errorf("none true elsewhere: %g, want %g", s, 0.5*raw)
	}
	if s := shift(many(1, 0, 60, "p", false, "a.1"), "p"); s > 0 || s < -0.5 {
		t.Errorf("one case moves %g", s)
	}
	if s := shift(many(1000, 0, 99, "p", false, "a.1"), "p"); s != -risk.MaxShift {
		t.Errorf("without bound: %g", s)
	}
	// A case of two teaches each half as much, and one whose truth was sure teaches nearly nothing.
	if one, half := shift(none, "q"), shift(many(10, 0, 60, "p", false, "a.1", "b.1"), "q"); !(half > one && half < 0) {
		t.Errorf("alone %g, with another %g", one, half)
	}
	if s := shift(many(10, 10, 99, "p", false, "a.1"), "p"); s < -0.05 || s > 0.5 {
		t.Errorf("what was sure moves %g", s)
	}
	if s := shift(many(10, 0, 60, "p", true, "a.1"), "q"); s != 0 {
		t.Errorf("a partner's own verdicts teach about others: %g", s)
	}
	taken := learned(append(none, many(10, 0, 60, "p", false)...)...) // without detectors: forgets
	if s := taken.Shift("p", "a.1"); math.Abs(s) > 1e-9 {
		t.Errorf("taken back: %g", s)
	}
}

// TestDemotion: at the ninth false alarm in a row and not before, once, and after a promotion from then on.
func TestDemotion(t *testing.T) {
	x, seq := risk.NewLearned(), uint64(0)
	teach := func(l risk.Lesson) {
		seq++
		l.Seq, l.Partner = seq, "p"
		if l.Kind == "" {
			l.Kind = risk.Judged
		}
		x.Learn(&l)
	}
	wrong := func(from, to int) {
		for i := from; i < to; i++ {
			teach(said(fmt.Sprint(i), moat.FalseAlarm, 60, "a.1"))
		}
	}
	b := risk.DefaultBudget()
	wrong(0, 8)
	if got := x.Spent(b); len(got) != 0 {
		t.Errorf("after eight: %v", got)
	}
	wrong(8, 9)
	why := x.Spent(b)["a.1"]
	if want := "9 of 9 judged cases were false alarms: its precision is below 30 % (at most 29.9 %)"; why != want {
		t.Errorf("after nine: %q, want %q", why, want)
	}
	if got := x.Spent(risk.Budget{Judged: 10, Precision: 0.3}); len(got) != 0 {
		t.Errorf("of ten that must be judged there are nine: %v", got)
	}
	if got := x.Spent(risk.Budget{Judged: 1}); len(got) != 0 {
		t.Errorf("without a budget: %v", got)
	}
	teach(risk.Lesson{Kind: risk.Demoted, Object: "a.1", Reason: why})
	f := finding("1", "a", alice, 0, 0.9, func(f *moat.Finding) { f.Detector = "a.1" })
	if x.Treat(f); f.Mode != moat.Observe || x.Demotion("a.1") != why || len(x.Spent(b)) != 0 {
		t.Errorf("demoted: %v, %q, %v", f.Mode, x.Demotion("a.1"), x.Spent(b))
	}
	teach(risk.Lesson{Kind: risk.Promoted, Object: "a.1"})
	f.Mode = moat.Enforce
	if x.Treat(f); f.Mode != moat.Enforce || x.Demotion("a.1") != "" || len(x.Spent(b)) != 0 {
		t.Errorf("promoted: %v, %q, %v", f.Mode, x.Demotion("a.1"), x.Spent(b))
	}
	if wrong(9, 17); len(x.Spent(b)) != 0 {
		t.Error("what was before the promotion counts")
	}
	if wrong(17, 18); len(x.Spent(b)) != 1 {
		t.Error("nine after the promotion do not count")
	}
}

// TestDemotedCase: a case that a detector brought decisions for brings none any more when it was demoted.
func TestDemotedCase(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	of := func(id string, hours float64) *moat.Finding {
		return finding(id, "a", alice, hours, 0.9, func(f *moat.Finding) { f.Detector = "a.1" })
	}
	if c := k.Fold(of("1", 0)); !c.Enforce {
		t.Fatal("no decision before")
	}
	k.Learn(&risk.Lesson{Seq: 1, Kind: risk.Demoted, Object: "a.1"})
	f := of("2", 1)
	k.Learned().Treat(f)
	if c := k.Fold(f); c.Enforce || len(c.Cases) != 1 {
		t.Errorf("a demoted detector: %+v", c)
	}
	if c := k.Fold(finding("3", "b", alice, 2, 0.9)); !c.Enforce {
		t.Error("another detector brings no decision")
	}
}

// TestSnooze: until its time by the time of the findings, of its detector, of its partner, or until it is ended.
func TestSnooze(t *testing.T) {
	k := risk.NewKeeper(risk.Calibration{})
	for _, l := range verdicts(risk.Lesson{Kind: risk.Snoozed, Object: "z_1", Entity: alice, Detector: "a.1", Until: after(24)}, risk.Lesson{Kind: risk.Snoozed, Object: "z_2", Entity: bob, Until: after(48)}) {
		k.Learn(l)
	}
	for _, x := range []struct {
		name, detector, partner string
		who                     moat.Entity
		hours                   float64
		want                    string
	}{
		{"in its time", "a.1", "p", alice, 23.99, "z_1"},
		{"at its end", "a.1", "p", alice, 24, ""},
		{"late, but of its time", "a.1", "p", alice, 1, "z_1"},
		{"of another detector", "a.2", "p", alice, 1, ""},
		{"at another partner", "a.1", "q", alice, 1, ""},
		{"of any detector", "a.2", "p", bob, 47, "z_2"},
	} {
		f := finding("1", "a", x.who, x.hours, 0.9, func(f *moat.Finding) { f.Detector, f.Partner = x.detector, x.partner })
		k.Learned().Treat(f)
		if f.Snoozed != x.want || (f.Mode == moat.Shadow) != (x.want != "") {
			t.Errorf("%s: %q in %v, want %q", x.name, f.Snoozed, f.Mode, x.want)
		}
		if c := k.Fold(f); (len(c.Cases) == 0) != (x.want != "") {
			t.Errorf("%s: %d cases", x.name, len(c.Cases))
		}
	}
	k.Learn(&risk.Lesson{Seq: 3, Kind: risk.Woken, Partner: "p", Object: "z_2"})
	f := finding("9", "a", bob, 1, 0.9)
	if k.Learned().Treat(f); f.Snoozed != "" {
		t.Error("one that was ended holds")
	}
}

// TestSettled: what was judged opens no other case for a while, unless there is something new.
func TestSettled(t *testing.T) {
	judged := func(t *testing.T, v moat.Verdict) *risk.Keeper {
		k := risk.NewKeeper(risk.Calibration{})
		c := k.Fold(finding("1", "a", alice, 0, 0.9))
		l := said(c.Cases[0].ID, v, c.Cases[0].Score, "a.1")
		l.Seq, l.Kind, l.Partner, l.Rank = 1, risk.Judged, "p", c.Cases[0].Rank
		k.Learn(&l)
		var b bytes.Buffer
		if err := k.Snapshot(&b); err != nil {
			t.Fatal(err)
		}
		out := risk.NewKeeper(risk.Calibration{})
		last, err := out.Restore(&b)
		if err != nil || last != 1 {
			t.Fatal(last, err)
		}
		out.Learned().Learn(&l)
		if !bytes.Equal(snapshot(t, out), snapshot(t, k)) {
			t.Error("the restored keeper differs")
		}
		return out
	}
	day := 24.0
	for _, x := range []struct {
		name    string
		verdict moat.Verdict
		f       *moat.Finding
		cases   int
	}{
		{"the same again", moat.FalseAlarm, finding("2", "a", alice, 1, 0.9), 0},
		{"the same after the quiet time", moat.Accepted, finding("2", "a", alice, 10*day, 0.9), 0},
		{"the same when it was forgotten", moat.FalseAlarm, finding("2", "a", alice, 14*day, 0.9), 1},
		{"another family", moat.FalseAlarm, finding("2", "b", alice, 1, 0.9), 1},
		{"another family of what was accepted", moat.Accepted, finding("2", "b", alice, 1, 0.9), 1},
		{"a worse rank", moat.FalseAlarm, finding("2", "a", alice, 1, 0.9, func(f *moat.Finding) { f.Orders = 5000 }), 1},
		{"somebody else", moat.FalseAlarm, finding("2", "a", bob, 1, 0.9), 1},
		{"a confirmed case goes on", moat.Confirmed, finding("2", "a", alice, 1, 0.9), 1},
		{"a verdict taken back", moat.NoVerdict, finding("2", "a", alice, 1, 0.9), 1},
	} {
		if c := judged(t, x.verdict).Fold(x.f); len(c.Cases) != x.cases {
			t.Errorf("%s: %d cases, want %d", x.name, len(c.Cases), x.cases)
		}
	}
	k := judged(t, moat.FalseAlarm)
	if r := k.Risk("p", alice, after(0)); r.Score > 1.01 {
		t.Errorf("the risk of who was suspected wrongly stays at %g", r.Score)
	}
	back := said(moat.CaseID("1"), moat.NoVerdict, 90, "a.1")
	back.Seq, back.Kind, back.Partner = 2, risk.Judged, "p"
	if k.Learn(&back); len(k.Fold(finding("2", "a", alice, 1, 0.9)).Cases) != 1 {
		t.Error("a verdict that was taken back holds")
	}
}
