package truth_test

import (
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
)

func TestJudge(t *testing.T) {
	alice := moat.Entity{Kind: moat.Account, ID: "alice"}
	acme := moat.Entity{Kind: moat.Partner, ID: "acme"}
	bob := moat.Entity{Kind: moat.Account, ID: "bob"}
	erp := moat.Entity{Kind: moat.App, ID: "erp"}
	office, table, own := moat.Entity{Kind: moat.IP, ID: "192.0.2.1"}, moat.Entity{Kind: moat.Device, ID: "table"}, moat.Entity{Kind: moat.IP, ID: "198.51.100.7"}
	at := func(h int) moat.Time { return moat.Time(h) * moat.Hour }
	theft := truth.Theft{Name: "theft", Partner: "acme", Elsewhere: []string{"brother"}, From: at(10), To: at(20), Culprits: []moat.Entity{alice, erp, office, table, own}, Shared: []moat.Entity{office, table},
		Acts:   []truth.Act{{Time: at(10), Orders: []string{"1", "2"}}, {Time: at(12), Orders: []string{"2", "3"}}, {Time: at(20), Rows: 100}},
		Echoes: []truth.Echo{{Partner: "acme", Event: "call", Time: at(90)}}}
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
		echoes int
	}{
		{"nothing", nil, "", 103, 0, 0, 0},
		{"by its account", []moat.Case{is("later", 15, 15, alice), is("first", 12, 30, bob, alice)}, "first", 2, 1, 0, 0},
		{"open before", []moat.Case{is("before", 9, 11, alice)}, "", 103, 1, 1, 0},
		{"over before", []moat.Case{is("before", 8, 9, alice)}, "", 103, 0, 1, 0},
		{"the day after", []moat.Case{is("late", 40, 41, alice)}, "late", 103, 0, 0, 0},
		{"too late", []moat.Case{is("late", 45, 46, alice)}, "", 103, 0, 1, 0},
		{"another partner's", []moat.Case{other}, "", 103, 0, 1, 0},
		{"of the other partner that he stole from", []moat.Case{there}, "there", 2, 0, 0, 0},
		{"by the app, which all use", []moat.Case{is("bob", 12, 12, bob, erp)}, "", 103, 0, 1, 0},
		{"by the app itself", []moat.Case{is("app", 13, 13, erp, bob)}, "app", 3, 0, 0, 0},
		{"by its own address", []moat.Case{is("address", 12, 12, bob, own)}, "address", 2, 0, 0, 0},
		{"by the office's address", []moat.Case{is("office", 12, 12, office, bob)}, "", 103, 0, 1, 0},
		{"at the packing table", []moat.Case{is("table", 12, 12, bob, table)}, "", 103, 0, 1, 0},
		{"by the packing table itself", []moat.Case{is("table", 12, 12, table, bob)}, "table", 2, 0, 0, 0},
		{"open before, grown to name him", []moat.Case{is("grown", 8, 12, bob, alice)}, "grown", 2, 0, 0, 0},
		{"open before, and named him before", []moat.Case{is("known", 8, 12, bob, alice)}, "", 103, 1, 1, 0},
		{"named long after", []moat.Case{is("after", 30, 50, bob, alice)}, "", 103, 0, 1, 0},
		{"the first to name him", []moat.Case{is("grown", 8, 20, bob, alice), is("quick", 11, 11, alice)}, "quick", 2, 1, 0, 0},
		{"merged and about nothing", []moat.Case{merged}, "", 103, 0, 0, 0},
		{"opened by a call to a person who does not exist", []moat.Case{is("rang", 90, 90, acme)}, "", 103, 0, 0, 1},
		{"opened by another call", []moat.Case{is("guess", 90, 90, acme)}, "", 103, 0, 1, 0},
		{"opened by a call, and names him", []moat.Case{is("rang", 20, 90, acme, alice)}, "rang", 3, 0, 0, 0},
	} {
		v := truth.Judge([]truth.Theft{theft}, c.cases, named, truth.Openers{"rang": "call", "guess": "other"})
		o := &v.Outcomes[0]
		id := ""
		if o.Case != nil {
			id = o.Case.ID
		}
		if id != c.found || o.Lost != c.lost || o.All != 103 || len(o.Others) != c.others || len(v.False) != c.false || len(v.Echoes) != c.echoes || (v.Found() == 1) != (id != "") {
			t.Errorf("%s: found by %q, %d of %d lost, %d others, %d false", c.name, id, o.Lost, o.All, len(o.Others), len(v.False))
		}
	}
}
