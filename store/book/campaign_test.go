package book

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// beforeCampaigns takes the tables back to the shape that they had before campaigns.
var beforeCampaigns = []string{"DROP TABLE case_ties", "DROP INDEX cases_campaign", "DROP INDEX cases_own_campaign",
	"ALTER TABLE cases DROP COLUMN campaign", "ALTER TABLE cases DROP COLUMN own_campaign"}

// randomCases are cases of three partners that share some addresses, some of which went into others.
func randomCases(r *rand.Rand, n int) (out []moat.Case) {
	for i := range n {
		c := moat.Case{ID: fmt.Sprintf("c%02d", i), Partner: string(rune('a' + r.IntN(3))), Rank: moat.P3, Score: 50, Damage: 10, State: moat.CaseOpen, Title: "t",
			Opened: start + moat.Time(r.IntN(500))*moat.Hour, Detectors: []string{"d.one", "d.two"}[:1+r.IntN(2)], Findings: []string{}}
		c.Updated = c.Opened + moat.Time(r.IntN(100))*moat.Hour
		ip := func() moat.Entity { return moat.Entity{Kind: moat.IP, ID: fmt.Sprintf("203.0.113.%d", r.IntN(12))} }
		if c.Entities = []moat.Entity{{Kind: moat.Account, ID: "x"}}; r.IntN(3) == 0 {
			c.Entities = []moat.Entity{ip()}
		}
		for range r.IntN(3) {
			c.Strange = append(c.Strange, ip())
		}
		for _, o := range out {
			if o.Partner == c.Partner && o.Opened < c.Opened && o.Merged == "" && r.IntN(20) == 0 {
				c.Merged = o.ID
			}
		}
		out = append(out, c)
	}
	return out
}

// TestCampaigns: whatever the order in which cases are written, in whatever pieces, and however many at a time, the book groups
// them as [risk.Campaigns] does, for the operator and for each partner.
func TestCampaigns(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		r := rand.New(rand.NewPCG(1, 2))
		cases := randomCases(r, 60)
		written := slices.Clone(cases)
		for i := range written { // each is first written as it began
			c := written[i]
			c.Updated, c.Merged = c.Opened, ""
			c.Strange = c.Strange[:min(1, len(c.Strange))]
			written = append(written, c)
		}
		r.Shuffle(len(written), func(i, j int) { written[i], written[j] = written[j], written[i] })
		var wg sync.WaitGroup
		for part := range 3 {
			wg.Go(func() {
				for i := range written {
					if int(written[i].Partner[0]-'a') != part { // a partner has one owner
						continue
					}
					if err := b.Commit(context.Background(), part, uint64(i+1), Changes{Cases: written[i : i+1]}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		ok(t, b.Commit(t.Context(), 0, 1000, Changes{Cases: cases})) // what was told too early of merged ones
		for _, x := range []moat.Tenant{everyone, moat.Only("a"), moat.Only("b")} {
			partner, one := x.Partner()
			seen := slices.DeleteFunc(slices.Clone(cases), func(c moat.Case) bool { return one && c.Partner != partner })
			var want []moat.Campaign
			for _, g := range slices.Backward(risk.Campaigns(seen)) {
				for i := range g {
					g[i].Findings = nil
				}
				want = append(want, risk.CampaignOf(g))
			}
			var got []moat.Campaign
			for q := (Query{Limit: 7}); ; {
				list, next, err := b.Campaigns(t.Context(), x, q)
				ok(t, err)
				if got = append(got, list...); next == "" {
					break
				}
				q.After = next
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v:\n%v\nwant\n%v", x, got, want)
			}
			if n := len(want); n == len(seen) || n < 3 {
				t.Errorf("%d campaigns of %d cases", n, len(seen))
			}
		}
	})
}

// TestCampaignOfOne: a partner is shown nothing of what others' cases tie together, and what is done to a campaign is done to its own cases.
func TestCampaignOfOne(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ip := func(n int) []moat.Entity { return []moat.Entity{{Kind: moat.IP, ID: fmt.Sprintf("203.0.113.%d", n)}} }
		mk := func(id, partner string, strange ...moat.Entity) moat.Case {
			return moat.Case{ID: id, Partner: partner, Opened: start, Updated: start, Rank: moat.P3, Score: 60, Damage: 20, State: moat.CaseOpen,
				Entities: []moat.Entity{{Kind: moat.Account, ID: id}}, Strange: strange, Detectors: []string{"d.one"}}
		}
		ok(t, b.Commit(t.Context(), 1, 1, Changes{Cases: []moat.Case{mk("c1", "a", ip(1)...), mk("c3", "a", ip(2)...), mk("c2", "b", append(ip(1), ip(2)...)...)}}))
		for _, x := range []struct {
			tenant moat.Tenant
			q      Query
			want   string
		}{
			{everyone, Query{}, "c1×3[a b] "},
			{moat.Only("a"), Query{}, "c3×1[a] c1×1[a] "},
			{everyone, Query{Partner: "a"}, "c3×1[a] c1×1[a] "},
			{moat.Only("b"), Query{}, "c2×1[b] "},
			{moat.Only("b"), Query{Partner: "a"}, ""},
			{everyone, Query{State: moat.CaseClosed}, ""},
			{everyone, Query{State: moat.CaseOpen, Since: start + 1}, ""},
		} {
			list, _, err := b.Campaigns(t.Context(), x.tenant, x.q)
			ok(t, err)
			got := ""
			for _, m := range list {
				got += fmt.Sprintf("%s×%d%v ", m.ID, m.Cases, m.Partners)
			}
			if got != x.want {
				t.Errorf("%+v %+v: %s, want %s", x.tenant, x.q, got, x.want)
			}
		}
		ids, err := b.Together(t.Context(), everyone, "c2")
		if fmt.Sprint(ids) != "[c2 c1 c3]" || err != nil {
			t.Errorf("together: %v, %v", ids, err)
		}
		for _, id := range ids {
			ok(t, b.Judge(t.Context(), everyone, id, moat.FalseAlarm, "mei"))
			ok(t, b.CloseCase(t.Context(), everyone, id, "mei"))
		}
		learned, err := b.Learned(t.Context())
		ok(t, err)
		if n := learned.Tallies(everyone)["d.one"]; n.False != 1 {
			t.Errorf("the campaign counts %d times", n.False)
		}
		if list, _, err := b.Campaigns(t.Context(), everyone, Query{State: moat.CaseClosed}); err != nil || len(list) != 1 || list[0].Verdict != moat.FalseAlarm {
			t.Errorf("closed: %+v, %v", list, err)
		}
	})
}
