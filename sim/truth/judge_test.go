package truth_test

import (
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
)

func TestJudge(t *testing.T) {
	alice := moat.Entity{Kind: moat.Account, ID: "alice"}
	bob := moat.Entity{Kind: moat.Account, ID: "bob"}
	erp := moat.Entity{Kind: moat.App, ID: "erp"}
	at := func(h int) moat.Time { return moat.Time(h) * moat.Hour }
	theft := truth.Theft{Name: "theft", Partner: "acme", Elsewhere: []string{"brother"}, From: at(10), To: at(20), Culprits: []moat.Entity{alice, erp},
		Acts: []truth.Act{{Time: at(10), Orders: []string{"1", "2"}}, {Time: at(12), Orders: []string{"2", "3"}}, {Time: at(20), Rows: 100}}}
	is := func(id string, opened, updated int, entities ...moat.Entity) moat.Case {
		return moat.Case{ID: id, Partner: "acme", Opened: at(opened), Updated: at(updated), Entities: entities}
	}
	other := is("other", 12, 12, alice)
	other.Partner = "else"
	there := is("there", 12, 12, alice)
	there.Partner = "brother"
	merged := is("merged", 12, 12, bob)
	merged.Merged = "first"
	for _, c := range []struct {
		name   string
		cases  []moat.Case
		found  string
		lost   int64
		others int
		false  int
	}{
		{"nothing", nil, "", 103, 0, 0},
		{"by its account", []moat.Case{is("later", 15, 15, alice), is("first", 12, 30, bob, alice)}, "first", 2, 1, 0},
		{"open before", []moat.Case{is("before", 9, 11, alice)}, "", 103, 1, 0},
		{"over before", []moat.Case{is("before", 8, 9, alice)}, "", 103, 0, 1},
		{"the day after", []moat.Case{is("late", 40, 41, alice)}, "late", 103, 0, 0},
		{"too late", []moat.Case{is("late", 45, 46, alice)}, "", 103, 0, 1},
		{"another partner's", []moat.Case{other}, "", 103, 0, 1},
		{"of the other partner that he stole from", []moat.Case{there}, "there", 2, 0, 0},
		{"by the app, which all use", []moat.Case{is("bob", 12, 12, bob, erp)}, "", 103, 0, 1},
		{"by the app itself", []moat.Case{is("app", 13, 13, erp, bob)}, "app", 3, 0, 0},
		{"merged and about nothing", []moat.Case{merged}, "", 103, 0, 0},
	} {
		v := truth.Judge([]truth.Theft{theft}, c.cases)
		o := &v.Outcomes[0]
		id := ""
		if o.Case != nil {
			id = o.Case.ID
		}
		if id != c.found || o.Lost != c.lost || o.All != 103 || len(o.Others) != c.others || len(v.False) != c.false || (v.Found() == 1) != (id != "") {
			t.Errorf("%s: found by %q, %d of %d lost, %d others, %d false", c.name, id, o.Lost, o.All, len(o.Others), len(v.False))
		}
	}
}
