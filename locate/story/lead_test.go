package story

import (
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

// TestLead tells of a source that complaints lead to when it had the orders in hand, who complained, and where it began.
func TestLead(t *testing.T) {
	sec := func(d moat.Time) float64 { return float64((day0 + d) / moat.Second) }
	old := moat.Finding{ID: "f1", Detector: Named, Time: day0 + 8*moat.Day, Entity: eve[0], Reason: "complaints lead to it", Evidence: []moat.Evidence{{Name: "leaked", Value: 4}}}
	f := old
	f.ID, f.Time = "f2", day0+10*moat.Day
	f.Evidence = []moat.Evidence{{Name: "explains", Value: 10}, {Name: "leaked", Value: 12}, {Name: "touched", Value: 250.4}, {Name: "known", Value: 40}, {Name: "reporters", Value: 9},
		{Name: "posterior", Value: 0.97}, {Name: "p", Value: 1e-6}, {Name: "first_touch", Value: sec(0)}, {Name: "since", Value: sec(moat.Hour)}, {Name: "until", Value: sec(2 * moat.Day)},
		{Name: "first_report", Value: sec(3 * moat.Day)}, {Name: "last_report", Value: sec(9 * moat.Day)}}
	tell := func(findings ...moat.Finding) *Story {
		s, err := New(Config{Diary: diaryOf(t, nil)}).Tell(t.Context(), &moat.Case{ID: "c", Partner: "acme", Entities: eve}, findings, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := tell(old, f)
	want := []string{
		"> eve had the first of 12 orders in hand that customers complained about later.",
		"  eve had nearly all of the 10 orders in hand that lead to it, until 2024-10-06 00:00:00: of about 250 orders in those weeks.",
		"  9 customers were called about these orders before they complained, the last at 2024-10-13 00:00:00.",
		"  Moat noticed: complaints lead to it; and 1 finding like it.",
	}
	if got := strings.Split(strings.TrimSpace(s.String()), "\n"); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if l := s.Lead; l == nil || l.Finding != "f2" || l.Known != 40 || l.Explains != 10 || l.Leaked != 12 || l.First != day0 || l.LastReport != day0+9*moat.Day || l.Source != eve[0] {
		t.Errorf("%+v", l)
	}
	// What was found before such findings told times, or numbers that nobody can mean, tells less and nothing wrong.
	if s := tell(old); s.Lead == nil || len(s.Steps) != 1 {
		t.Errorf("an old finding: %v", s)
	}
	if s := tell(moat.Finding{ID: "f", Detector: "d", Time: day0}); s.Lead != nil {
		t.Errorf("no complaint leads there: %+v", s.Lead)
	}
}
