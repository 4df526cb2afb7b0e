package drill

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/sim/truth"
)

const monday = moat.Time(1_775_433_600) * moat.Second // 2026-04-06

// at is a time of the hand-made ecosystem.
func at(day, hour, minute int) moat.Time {
	return monday + moat.Time(day)*moat.Day + moat.Time(hour)*moat.Hour + moat.Time(minute)*moat.Minute
}

func account(id string) moat.Entity { return moat.Entity{Kind: moat.Account, ID: id} }

// found is a finding of one family, so that findings do not add up.
func found(detector, who, event string, when moat.Time, score float64, orders int64) Finding {
	e := account(who)
	return Finding{Finding: moat.Finding{ID: moat.FindingID("p", detector, e, event), Time: when, Partner: "p", Detector: detector, Family: "one", Title: "T", Mode: moat.Enforce,
		Entity: e, Score: score, Reason: "because", Events: []string{event}, Orders: orders, Weight: 1, Egress: true}}
}

// handmade is two rounds of twenty days with ten people at work, of which every figure is known.
func handmade() *Set {
	staff := make([]int, 20)
	for i := range staff {
		staff[i] = 10
	}
	one := &Round{Seed: 1, Start: monday, Staff: staff, Events: 100,
		Thefts: []truth.Theft{
			{Name: "burst", Partner: "p", From: at(2, 10, 0), To: at(2, 10, 0), Culprits: []moat.Entity{account("early")}, Acts: []truth.Act{{Event: "e1", Time: at(2, 10, 0), Orders: []string{"9"}}}},
			{Name: "burst", Variant: "bold", Partner: "p", From: at(15, 10, 0), To: at(15, 12, 0), Culprits: []moat.Entity{account("mallory")}, Acts: []truth.Act{
				{Event: "b1", Time: at(15, 10, 0), Orders: []string{"1", "2"}}, {Event: "b2", Time: at(15, 11, 0), Orders: []string{"3"}}, {Event: "b3", Time: at(15, 12, 0), Orders: []string{"4"}}}},
			{Name: "drip", Slow: true, Partner: "p", From: at(15, 9, 0), To: at(17, 9, 0), Culprits: []moat.Entity{account("carol")}, Acts: []truth.Act{
				{Event: "d1", Time: at(15, 9, 0), Orders: []string{"1", "2"}}, {Event: "d2", Time: at(16, 9, 0), Orders: []string{"3"}}, {Event: "d3", Time: at(17, 9, 0), Orders: []string{"4"}}}},
		},
		Findings: []Finding{
			found("a.x", "early", "e1", at(2, 10, 0), 0.91, 100),
			found("b.y", "bob", "h1", at(3, 10, 0), 0.91, 60),
			found("a.x", "mallory", "b2", at(15, 11, 0), 0.91, 200),
			found("b.y", "mallory", "h2", at(15, 11, 30), 0.3, 200), // his own honest work, within a day of his theft
			found("a.x", "carol", "d2", at(16, 9, 0), 0.3, 1),
			found("b.y", "dave", "h3", at(17, 9, 0), 0.62, 1),
		}}
	two := &Round{Seed: 2, Start: monday, Staff: staff, Events: 50,
		Thefts: []truth.Theft{{Name: "burst", Variant: "careful", Partner: "p", From: at(16, 10, 0), To: at(16, 11, 0), Culprits: []moat.Entity{account("trent")}, Acts: []truth.Act{
			{Event: "c1", Time: at(16, 10, 0), Orders: []string{"1"}}, {Event: "c2", Time: at(16, 11, 0), Orders: []string{"2"}}}}},
		Findings: []Finding{found("b.y", "trent", "h4", at(16, 10, 30), 0.83, 10)}}
	s := &Set{Rounds: []*Round{one, two}, Warmup: 14 * moat.Day}
	for _, id := range []string{"a.x", "b.y", "c.z"} {
		s.Detectors = append(s.Detectors, &rule.Compiled{Detector: &rule.Detector{ID: id, Mode: moat.Enforce}})
	}
	for _, r := range s.Rounds {
		for i := range r.Findings {
			r.Findings[i].Theft = -1
		}
		r.label()
	}
	return s
}

// TestFigures computes by hand what the report must say of the hand-made ecosystem.
func TestFigures(t *testing.T) {
	r, err := NewReport(context.Background(), handmade(), risk.Calibration{})
	if err != nil {
		t.Fatal(err)
	}
	third := 1.0 / 3
	for _, x := range []struct {
		what      string
		got, want float64
	}{
		{"events", float64(r.Events), 150},
		{"findings", float64(r.Findings), 7},
		{"staff-days", float64(r.StaffDays), 400},
		{"thefts, without the early one", float64(r.Thefts), 3},
		{"recall", r.Recall, 2 * third},
		{"median time to detect", r.Median, 1800},
		{"90 % time to detect", r.P90, 3600},
		{"orders lost: two of the bold, all four of the drip, one of the careful", float64(r.Lost), 7},
		{"orders taken", float64(r.Taken), 10},
		{"true cases: of the early theft, too", float64(r.TrueCases), 3},
		{"false cases", float64(r.FalseCases), 2},
		{"precision", r.Precision, 0.6},
		{"true cases per 1,000", r.TruePer1000, 7.5},
		{"false cases per 1,000", r.FalsePer1000, 5},
		{"early staff-days", float64(r.Early.StaffDays), 280},
		{"early false per 1,000", r.Early.FalsePer1000, 1000.0 / 280},
		{"early true per 1,000", r.Early.TruePer1000, 1000.0 / 280},
		{"late false per 1,000", r.Late.FalsePer1000, 1000.0 / 120},
		{"late true per 1,000", r.Late.TruePer1000, 2000.0 / 120},
		{"contained: only the bold one's case is P2", r.Contained, third},
		{"harm: bob's case is P2", r.HarmPer1000, 2.5},
		{"P2", float64(r.RankOf["P2"]), 1},
		{"P3", float64(r.RankOf["P3"]), 1},
		{"rows of the lists", float64(r.List.Rows), 5},
		{"precision at 10: three of four rows and one", r.List.First10, 0.6},
		{"average precision: bob and dave come last", r.List.Average, 1},
		{"rows for each theft that was found", r.List.PerTheft, 1},
		{"calibration error", r.ECE, (0.62 + 0.17 + 3*0.91 - 2) / 5},
	} {
		if math.Abs(x.got-x.want) > 1e-9 {
			t.Errorf("%s: %g, want %g", x.what, x.got, x.want)
		}
	}
	near(t, "budget by damage", r.Budget, []Point{{0, 0}, {0, third}, {2.5, third}, {2.5, 2 * third}, {5, 2 * third}})
	near(t, "budget by score", r.BudgetScore, []Point{{0, 0}, {2.5, third}, {2.5, 2 * third}, {5, 2 * third}})
	near(t, "recall at budget", r.RecallAt, []Point{{0.5, third}, {1, third}, {2, third}, {5, 2 * third}, {10, 2 * third}, {20, 2 * third}})
	if c := r.Campaigns; len(c) != 2 || c[0].Name != "burst" || c[0].Thefts != 2 || c[0].Recall != 1 || c[0].Lost != 3 || len(c[0].Variants) != 2 ||
		c[0].Variants[1].Name != "careful" || c[0].Variants[1].Median != 1800 || c[1].Name != "drip" || !c[1].Slow || c[1].Recall != 0 || c[1].Lost != 4 || c[1].Variants != nil {
		t.Errorf("campaigns %+v", c)
	}
	if len(r.Missed) != 1 || r.Missed[0].Name != "drip" || math.Abs(r.Missed[0].Highest-30) > 1e-9 || r.Missed[0].Findings != 1 || r.Missed[0].Before {
		t.Errorf("missed %+v", r.Missed)
	}
	if len(r.Noisiest) != 2 || r.Noisiest[0].Case.Entities[0] != account("bob") {
		t.Errorf("noisiest %+v", r.Noisiest)
	}
}

// TestDetectorFigures computes by hand what each detector of the hand-made ecosystem gave.
func TestDetectorFigures(t *testing.T) {
	r, err := NewReport(context.Background(), handmade(), risk.Calibration{})
	if err != nil {
		t.Fatal(err)
	}
	third := 1.0 / 3
	want := []Detector{
		{ID: "b.y", Mode: "enforce", Fires: 4, True: 2, Precision: 0.5, Stated: (0.91 + 0.3 + 0.62 + 0.83) / 4, TruePart: 2, FalsePart: 2, Opened: 2, OpenedShare: 1, MarginalRecall: third, MarginalFalse: 2},
		{ID: "a.x", Mode: "enforce", Fires: 3, True: 3, Precision: 1, Stated: (0.91 + 0.91 + 0.3) / 3, TruePart: 1, MarginalRecall: third},
		{ID: "c.z", Mode: "enforce"},
	}
	for i := range want {
		want[i].PrecisionLow = risk.Wilson(want[i].True, want[i].Fires)
		got := r.Detectors[i]
		if math.Abs(got.Stated-want[i].Stated) > 1e-12 {
			t.Errorf("%s states %g, want %g", got.ID, got.Stated, want[i].Stated)
		}
		if got.Stated = want[i].Stated; got != want[i] {
			t.Errorf("got  %+v\nwant %+v", got, want[i])
		}
	}
}

func near(t *testing.T, what string, got, want []Point) {
	t.Helper()
	if !slices.EqualFunc(got, want, func(a, b Point) bool {
		return math.Abs(a.FalsePer1000-b.FalsePer1000) < 1e-9 && math.Abs(a.Recall-b.Recall) < 1e-9
	}) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// days is a world of given events.
type days struct {
	list   [][]*moat.Event
	thefts []truth.Theft
	next   int
}

func (d *days) Next() ([]*moat.Event, bool) {
	if d.next == len(d.list) {
		return nil, false
	}
	d.next++
	return d.list[d.next-1], true
}
func (d *days) Thefts() []truth.Theft { return d.thefts }
func (d *days) Staff() int            { return 10 * d.next }

func TestExplain(t *testing.T) {
	world := func(seed uint64) (World, error) {
		w := &days{list: [][]*moat.Event{{}}}
		for _, id := range []string{"d1", "d2", "d3", "h1", "h3", "other"} {
			w.list[0] = append(w.list[0], &moat.Event{Partner: "p", ID: id, Actor: id}, &moat.Event{Partner: "q", ID: id})
		}
		return w, nil
	}
	explain := func(what string, limit int) ([]Explanation, error) {
		return Explain(context.Background(), handmade(), world, risk.Calibration{}, what, limit)
	}
	missed, err := explain("drip", 10)
	if err != nil || len(missed) != 1 || missed[0].Missed.Name != "drip" || len(missed[0].Findings) != 1 || len(missed[0].Events) != 3 || missed[0].Events["d2"].Actor != "d2" {
		t.Errorf("%+v, %v", missed, err)
	}
	wrong, err := explain("b.y", 10)
	if err != nil || len(wrong) != 2 || wrong[0].Case.Entities[0] != account("bob") || wrong[0].Events["h1"] == nil || len(wrong[0].Findings) != 1 {
		t.Errorf("%+v, %v", wrong, err)
	}
	for what, want := range map[string]int{"burst": 0, "a.x": 0, "c.z": 0, AllMissed: 1, AllFalse: 2} {
		if list, err := explain(what, 10); err != nil || len(list) != want {
			t.Errorf("%s: %d explanations, %v; want %d", what, len(list), err, want)
		}
	}
	if list, err := explain(AllFalse, 1); err != nil || len(list) != 1 {
		t.Errorf("%d explanations of at most 1, %v", len(list), err)
	}
	if _, err := explain("nothing", 1); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown name: %v", err)
	}
}

// TestShared: what two honest accounts use names nobody; what a thief does there is no honest use.
func TestShared(t *testing.T) {
	s := newSharers()
	use := func(id, who, ip, device string, outcome moat.Outcome) *moat.Event {
		return &moat.Event{Partner: "p", ID: id, Actor: who, IP: ip, Device: device, Outcome: outcome}
	}
	entity := func(k moat.EntityKind, id string) moat.Entity { return moat.Entity{Kind: k, ID: id} }
	theft := truth.Theft{Partner: "p", Acts: []truth.Act{{Event: "5"}}, Culprits: []moat.Entity{account("alice"), entity(moat.IP, "office"), entity(moat.IP, "home"), entity(moat.IP, "cafe"),
		entity(moat.Device, "table"), entity(moat.Device, "own")}}
	s.see([]*moat.Event{use("1", "alice", "office", "own", moat.Success), use("2", "bob", "office", "table", moat.Success), use("3", "carol", "home", "table", moat.Success),
		use("4", "bob", "home", "", moat.Failure), use("5", "alice", "home", "", moat.Success), use("6", "alice", "cafe", "", moat.Success), use("7", "alice", "cafe", "", moat.Success)}, []truth.Theft{theft})
	s.mark(&theft)
	if want := []moat.Entity{entity(moat.IP, "office"), entity(moat.Device, "table")}; !reflect.DeepEqual(theft.Shared, want) {
		t.Errorf("shared are %v, want %v", theft.Shared, want)
	}
}

// TestPage: the page tells the figures, and needs and runs nothing from elsewhere.
func TestPage(t *testing.T) {
	set := handmade()
	set.Rounds[0].Findings[1].Reason = `<script>alert("reason")</script>`
	r, err := NewReport(context.Background(), set, risk.Calibration{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := WritePage(&b, r); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, want := range []string{"66.7", "drip", "careful", "a.<wbr>x", "&lt;script&gt;", "prefers-color-scheme: dark", `name="viewport"`, "1 detector found nothing"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, bad := range []string{"http", "<script", "url(", "@import", "NaN", "Inf", "ZgotmplZ", "src="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if err := WritePage(&b, &Report{}); err != nil {
		t.Errorf("a report of nothing: %v", err)
	}
}
