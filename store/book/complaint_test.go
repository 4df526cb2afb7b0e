package book

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

// complaint is the n-th complaint about an order of a partner, a second after the one before.
func complaint(partner, reporter string, n int) Complaint {
	order := fmt.Sprintf("o%d", n)
	at := start + moat.Time(n)*moat.Second
	return Complaint{ID: moat.ComplaintID(partner, order, "scam_call", at, reporter, ""), Partner: partner, Order: order, Kind: "scam_call",
		Time: at, Filed: start + moat.Day, Reporter: reporter}
}

func TestWeight(t *testing.T) {
	for _, c := range []struct {
		n, free int
		want    float64
	}{{0, 3, 1}, {1, 3, 1}, {3, 3, 1}, {6, 3, 0.5 * (1 + math.Ln2)}, {300, 3, 0.01 * (1 + math.Log(100))}, {30, 30, 1}, {60, 30, 0.5 * (1 + math.Ln2)}} {
		if got := Weight(c.n, c.free); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("Weight(%d, %d) = %v, want %v", c.n, c.free, got, c.want)
		}
	}
	// More complaints never weigh less together.
	for n := 1; n < 1000; n++ {
		if float64(n+1)*Weight(n+1, 3) < float64(n)*Weight(n, 3) {
			t.Fatalf("%d complaints weigh less than %d", n+1, n)
		}
	}
}

func TestComplaints(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		var list []Complaint
		for n := range 40 {
			list = append(list, complaint("a", fmt.Sprintf("r%d", min(n, 28)), n)) // r28 makes 12 of 40
		}
		list = append(list, complaint("b", "r28", 39)) // the same order at another partner
		for i, want := range []int64{41, 0} {
			if added, err := b.AddComplaints(ctx, list); err != nil || added != want {
				t.Fatalf("round %d: %d added, want %d, %v", i, added, want, err)
			}
		}
		ok(t, b.Commit(ctx, 1, 7, Changes{Complaints: append(list, complaint("a", "late", 99))}))

		var got []Complaint
		q := Query{Partner: "a", Limit: 7}
		for {
			page, next, err := b.Complaints(ctx, everyone, q)
			ok(t, err)
			got = append(got, page...)
			if q.After = next; next == "" {
				break
			}
		}
		if len(got) != 41 || got[0].Order != "o99" || got[40].Order != "o0" {
			t.Fatalf("%d complaints, from %v", len(got), got)
		}
		for _, c := range got {
			want := 1.0
			if c.Reporter == "r28" {
				want = Weight(12, FreeReporter)
			}
			if math.Abs(c.Weight-want) > 1e-12 {
				t.Errorf("%s of %s weighs %v, want %v", c.Order, c.Reporter, c.Weight, want)
			}
		}
		count := func(tenant moat.Tenant, q Query) (n int) {
			for _, err := range b.AllComplaints(ctx, tenant, q) {
				ok(t, err)
				n++
			}
			return n
		}
		for _, c := range []struct {
			tenant moat.Tenant
			q      Query
			want   int
		}{
			{everyone, Query{}, 42}, {moat.Only("b"), Query{}, 1}, {everyone, Query{Order: "o39"}, 2}, {everyone, Query{Reporter: "r28"}, 13},
			{everyone, Query{Since: start + 10*moat.Second, Until: start + 12*moat.Second}, 2}, {everyone, Query{Kind: "spam"}, 0},
		} {
			if n := count(c.tenant, c.q); n != c.want {
				t.Errorf("%+v: %d complaints, want %d", c.q, n, c.want)
			}
		}
		set, err := b.Complained(ctx, moat.Only("b"), []string{"o39", "o38", "never"})
		if ok(t, err); len(set) != 1 || !set["o39"] {
			t.Errorf("b's complained: %v", set)
		}
		many := make([]string, 1200)
		for i := range many {
			many[i] = fmt.Sprintf("o%d", i)
		}
		if set, err = b.Complained(ctx, everyone, many); err != nil || len(set) != 41 {
			t.Errorf("%d of %d complained, %v", len(set), len(many), err)
		}
		times, err := b.ComplaintTimes(ctx, everyone, many)
		if ok(t, err); len(times) != 41 || times["o39"] == 0 {
			t.Errorf("times of %d orders, %v", len(times), times["o39"])
		}
		for o, at := range times {
			for c, err := range b.AllComplaints(ctx, everyone, Query{Order: o}) {
				if err != nil || c.Time < at {
					t.Errorf("%s was complained about at %d first, but at %d before, %v", o, at, c.Time, err)
				}
			}
		}
		if n, err := b.Prune(ctx, start+2*moat.Day); err != nil || n != 42 {
			t.Errorf("%d pruned, %v", n, err)
		}
	})
}

// TestFraming: one reporter, and one partner, that complain much count little, and it is said.
func TestFraming(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		var list []Complaint
		for n := range 120 {
			c := complaint("a", "rival", n)
			if n < 20 {
				c = complaint("a", fmt.Sprintf("r%d", n), n)
			}
			c.FiledBy = "a"
			list = append(list, c)
		}
		dump := complaint("a", "file", 500)
		dump.ID, dump.Kind = "dump", DumpKind
		_, err := b.AddComplaints(ctx, append(list, dump))
		ok(t, err)
		weight := map[string]float64{}
		for c, err := range b.AllComplaints(ctx, everyone, Query{}) {
			ok(t, err)
			weight[c.Reporter] += c.Weight
		}
		of := Weight(120, FreePartner)
		if w, want := weight["rival"], 100*Weight(100, FreeReporter)*of; math.Abs(w-want) > 1e-9 || w > 10 {
			t.Errorf("the rival's hundred weigh %v, want %v", w, want)
		}
		if w := weight["r7"]; math.Abs(w-of) > 1e-9 || weight["file"] != 1 {
			t.Errorf("a customer's weighs %v, a dump's %v", w, weight["file"])
		}
		r, err := b.Reporters(ctx, everyone, Query{})
		if ok(t, err); r != (Reporters{120, "rival", 100}) || !strings.Contains(r.Warning(), "100 of 120 orders") {
			t.Errorf("%+v: %q", r, r.Warning())
		}
		if r, err = b.Reporters(ctx, everyone, Query{Until: start + 20*moat.Second}); err != nil || r.Warning() != "" || r.Orders != 20 {
			t.Errorf("%+v: %q, %v", r, r.Warning(), err)
		}
	})
}

// TestMigrateComplaints brings a book of the first shape up to date.
func TestMigrateComplaints(t *testing.T) {
	eachDSN(t, func(t *testing.T, dsn string) {
		b := openTest(t, dsn)
		c, _ := fill(t, b, "a", 1)
		for _, q := range append(beforeCampaigns, "DROP TABLE complaints", "DROP TABLE canaries", "DROP TABLE lessons", "DROP TABLE lesson_head", "DROP TABLE lesson_places", "DROP TABLE snoozes", "DROP INDEX findings_house", "DELETE FROM schema_version WHERE version > 1") {
			if _, err := b.write.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		ok(t, b.Close())
		b = openTest(t, dsn)
		if _, err := b.AddComplaints(t.Context(), []Complaint{complaint("a", "r", 1)}); err != nil {
			t.Error(err)
		}
		if _, timeline, err := b.Case(t.Context(), everyone, c.ID); err != nil || len(timeline) != 4 {
			t.Errorf("after the migration: %d findings, %v", len(timeline), err)
		}
	})
}
