package node_test

import (
	"errors"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// TestStandings: a partner's risk comes from the book, explains itself, is computed as of the end of a past that was loaded,
// and is nobody else's to see.
func TestStandings(t *testing.T) {
	n := open(t, t.TempDir())
	defer n.Close()
	at, _ := moat.ParseTime("2026-03-02T09:00:00Z")
	found := func(id, detector, family string, e moat.Entity, score float64) moat.Finding {
		return moat.Finding{ID: id, Partner: "acme", Time: at, Detector: detector, Family: family, Title: detector, Reason: "why", Entity: e, Score: score, Mode: moat.Enforce}
	}
	itself := moat.Entity{Kind: moat.Partner, ID: "acme"}
	err := n.Book.Commit(t.Context(), 0, 1, book.Changes{
		Findings: []moat.Finding{
			found("f1", "partner.clock", "partner", itself, 0.02),
			found("f2", "partner.off_boarded", "partner", moat.Entity{Kind: moat.App, ID: "erp"}, 0.2),
			found("f3", "application.new_egress", "application", moat.Entity{Kind: moat.App, ID: "erp"}, 0.9),
			found("f4", "access.breadth", "access", moat.Entity{Kind: moat.Account, ID: "li"}, 0.9),
		},
		Cases: []moat.Case{{ID: "c1", Partner: "acme", Opened: at - moat.Day, Updated: at, Rank: moat.P1, State: moat.CaseOpen}, {ID: "c2", Partner: "acme", Opened: at, Updated: at, Rank: moat.P3, State: moat.CaseOpen}},
	})
	if err != nil {
		t.Fatal(err)
	}
	partners := []book.Partner{{ID: "rival"}, {ID: "acme"}}
	now := at + 200*moat.Day // the past was loaded
	list, err := n.Standings(t.Context(), moat.Everyone(), partners, now)
	if err != nil {
		t.Fatal(err)
	}
	if s := list[0]; s.Partner != "rival" || s.Score != 1 || len(s.Reasons) != 0 {
		t.Errorf("of one of whom nothing is known: %+v", s)
	}
	s := list[1]
	if s.Time != at || len(s.Reasons) != 3 || s.Reasons[0].Detector != "partner.off_boarded" || s.Reasons[1].Detector != "partner.clock" || s.Reasons[2].Text != "open cases of rank P1 or P2 that nobody has judged: 1" {
		t.Errorf("%+v", s)
	}
	if later, err := n.Standings(t.Context(), moat.Everyone(), partners[1:], at+15*moat.Day); err != nil || later[0].Score >= s.Score || later[0].Score <= 1 {
		t.Errorf("after half a month: %+v, %v", later, err)
	}
	if err := n.Judge(t.Context(), moat.Everyone(), "c1", moat.Confirmed, "mei"); err != nil {
		t.Fatal(err)
	}
	if after, err := n.Standings(t.Context(), moat.Only("acme"), partners[1:], now); err != nil || after[0].Reasons[2].Title != "Thefts were confirmed" {
		t.Errorf("after a verdict: %+v, %v", after, err)
	}
	if other, err := n.Standings(t.Context(), moat.Only("rival"), partners[1:], now); !errors.Is(err, book.ErrNotFound) {
		t.Errorf("a rival sees %+v, %v", other, err)
	}
}
