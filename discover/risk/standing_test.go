package risk

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

func houseFinding(detector, family string, e moat.Entity, at moat.Time, score float64) moat.Finding {
	return moat.Finding{ID: detector + e.ID + at.String(), Partner: "acme", Detector: detector, Family: family, Title: detector, Reason: "r", Entity: e, Time: at, Score: score, Mode: moat.Enforce}
}

var (
	itself = moat.Entity{Kind: moat.Partner, ID: "acme"}
	erp    = moat.Entity{Kind: moat.App, ID: "erp"}
	day0   = moat.Time(1_775_433_600) * moat.Second
)

// TestStand: what counts for a partner itself, and what does not.
func TestStand(t *testing.T) {
	clock := houseFinding("partner.clock", "partner", itself, day0, 0.02)
	for name, tt := range map[string]struct {
		found []moat.Finding
		in    Incidents
		at    moat.Time
		want  []string // detectors or titles
		score float64
	}{
		"nothing":                  {score: 1},
		"a wrong clock":            {found: []moat.Finding{clock}, want: []string{"partner.clock"}, score: 2},
		"twice is not twice":       {found: []moat.Finding{clock, houseFinding("partner.clock", "partner", erp, day0-moat.Hour, 0.02)}, want: []string{"partner.clock"}, score: 2},
		"half of it in a month":    {found: []moat.Finding{clock}, at: 30 * moat.Day, want: []string{"partner.clock"}, score: 1.4},
		"different things add up":  {found: []moat.Finding{clock, houseFinding("partner.off_boarded", "partner", erp, day0, 0.2)}, want: []string{"partner.off_boarded", "partner.clock"}, score: 33.6},
		"seen beside others":       {found: []moat.Finding{houseFinding("across.finding_rate", "across", itself, day0, 0.03)}, want: []string{"across.finding_rate"}, score: 3},
		"a thief's act fades soon": {found: []moat.Finding{houseFinding("egress.fan_out", "egress", itself, day0, 0.3)}, at: 20 * moat.Day, score: 1},
		"an app's attack":          {found: []moat.Finding{houseFinding("application.new_egress", "application", erp, day0, 0.9)}, score: 1},
		"staff":                    {found: []moat.Finding{houseFinding("access.breadth", "access", moat.Entity{Kind: moat.Account, ID: "li"}, day0, 0.9)}, score: 1},
		"from the future":          {found: []moat.Finding{houseFinding("partner.clock", "partner", itself, day0+moat.Hour, 0.02)}, score: 1},
		"cases": {in: Incidents{Waiting: 3, Oldest: day0 - 5*moat.Day, Confirmed: 1, Last: day0}, score: 6.9,
			want: []string{"Cases wait for somebody", "A case waits for long", "Thefts were confirmed"}},
	} {
		s := Stand(Calibration{}, nil, "acme", tt.found, tt.in, day0+tt.at)
		var got []string
		x := logit(Prior)
		for _, r := range s.Reasons {
			got = append(got, r.Detector)
			if r.Detector == "" {
				got[len(got)-1] = r.Title
			}
			x += r.LogOdds
		}
		slices.Sort(got)
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) || math.Abs(s.Score-tt.score) > 0.11 || math.Abs(s.Score-100*sigmoid(x)) > 0.06 {
			t.Errorf("%s: score %.2f for %v, want %.1f for %v", name, s.Score, got, tt.score, tt.want)
		}
	}
	shadow, others := clock, clock
	shadow.Mode, others.Partner = moat.Shadow, "rival"
	if s := Stand(Calibration{}, nil, "acme", []moat.Finding{shadow, others}, Incidents{}, day0); len(s.Reasons) > 0 {
		t.Errorf("findings in shadow, or of others: %+v", s.Reasons)
	}
}

// TestStandOrder: the order in which findings come does not matter.
func TestStandOrder(t *testing.T) {
	var list []moat.Finding
	for i := range 12 {
		list = append(list, houseFinding([]string{"partner.clock", "partner.retention", "across.forecast"}[i%3], []string{"partner", "partner", "across"}[i%3], itself, day0-moat.Time(i/3)*moat.Day, 0.02))
	}
	want := Stand(Calibration{}, nil, "acme", list, Incidents{}, day0)
	slices.Reverse(list)
	if got := Stand(Calibration{}, nil, "acme", list, Incidents{}, day0); !reflect.DeepEqual(got, want) || len(want.Reasons) != 3 {
		t.Errorf("reversed: %+v\nwant %+v", got, want)
	}
}

// TestIncidents counts cases by what became of them.
func TestIncidents(t *testing.T) {
	var in Incidents
	for i, c := range []moat.Case{
		{Rank: moat.P1, State: moat.CaseOpen},
		{Rank: moat.P2, State: moat.CaseOpen},
		{Rank: moat.P3, State: moat.CaseOpen},
		{Rank: moat.P1, State: moat.CaseOpen, Merged: "c"},
		{Rank: moat.P1, State: moat.CaseClosed},
		{Rank: moat.P1, State: moat.CaseClosed, Verdict: moat.Confirmed},
		{Rank: moat.P1, State: moat.CaseOpen, Verdict: moat.FalseAlarm},
	} {
		c.Opened = day0 + moat.Time(i)*moat.Hour
		in.Add(&c)
	}
	if want := (Incidents{Waiting: 2, Oldest: day0, Confirmed: 1, Last: day0 + 5*moat.Hour}); in != want {
		t.Errorf("%+v, want %+v", in, want)
	}
}
