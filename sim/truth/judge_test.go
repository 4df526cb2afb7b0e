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
	office, table, own := moat.Entity{Kind: moat.IP, ID: "192.0.2.1"}, moat.Entity{Kind: moat.Device, ID: "table"}, moat.Entity{Kind: moat.IP, ID: "198.51.100.7"}
	at := func(h int) moat.Time { return moat.Time(h) * moat.Hour }
	theft := truth.Theft{Name: "theft", Partner: "acme", Elsewhere: []string{"brother"}, From: at(10), To: at(20), Culprits: []moat.Entity{alice, erp, office, table, own}, Shared: []moat.Entity{office, table},
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
	named := truth.Named{"grown": {at(8), at(12)}, "known": {at(8), at(9)}, "after": {at(30), at(50)}}
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
		{"open before", []moat.Case{is("before", 9, 11, alice)}, "", 103, 1, 1},
		{"over before", []moat.Case{is("before", 8, 9, alice)}, "", 103, 0, 1},
		{"the day after", []moat.Case{is("late", 40, 41, alice)}, "late", 103, 0, 0},
		{"too late", []moat.Case{is("late", 45, 46, alice)}, "", 103, 0, 1},
		{"another partner's", []moat.Case{other}, "", 103, 0, 1},
		{"of the other partner that he stole from", []moat.Case{there}, "there", 2, 0, 0},
		{"by the app, which all use", []moat.Case{is("bob", 12, 12, bob, erp)}, "", 103, 0, 1},
		{"by the app itself", []moat.Case{is("app", 13, 13, erp, bob)}, "app", 3, 0, 0},
		{"by its own address", []moat.Case{is("address", 12, 12, bob, own)}, "address", 2, 0, 0},
		{"by the office's address", []moat.Case{is("office", 12, 12, office, bob)}, "", 103, 0, 1},
		{"at the packing table", []moat.Case{is("table", 12, 12, bob, table)}, "", 103, 0, 1},
		{"by the packing table itself", []moat.Case{is("table", 12, 12, table, bob)}, "table", 2, 0, 0},
		{"open before, grown to name him", []moat.Case{is("grown", 8, 12, bob, alice)}, "grown", 2, 0, 0},
		{"open before, and named him before", []moat.Case{is("known", 8, 12, bob, alice)}, "", 103, 1, 1},
		{"named long after", []moat.Case{is("after", 30, 50, bob, alice)}, "", 103, 0, 1},
		{"the first to name him", []moat.Case{is("grown", 8, 20, bob, alice), is("quick", 11, 11, alice)}, "quick", 2, 1, 0},
		{"merged and about nothing", []moat.Case{merged}, "", 103, 0, 0},
	} {
		v := truth.Judge([]truth.Theft{theft}, c.cases, named)
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
