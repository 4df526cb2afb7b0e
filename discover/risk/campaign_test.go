package risk

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

func campaignCase(id, partner string, opened, updated moat.Time, subject string, strange ...string) moat.Case {
	entity := func(s string) moat.Entity {
		kind, id, _ := strings.Cut(s, ":")
		k, err := moat.ParseEntityKind(kind)
		if err != nil {
			panic(err)
		}
		return moat.Entity{Kind: k, ID: id}
	}
	c := moat.Case{ID: id, Partner: partner, Opened: opened * moat.Hour, Updated: updated * moat.Hour, Rank: moat.P3, Score: 60, Damage: 20, Orders: 10,
		State: moat.CaseOpen, Detectors: []string{"d.one"}, Entities: []moat.Entity{entity(subject)}, Title: id}
	for _, s := range strange {
		c.Strange = append(c.Strange, entity(s))
	}
	return c
}

// TestCampaigns: each line is a set of cases; what belongs together is said of it. It may come in any order.
func TestCampaigns(t *testing.T) {
	background := campaignCase("b", "y", 1, 1, "ip:203.0.113.1")
	background.Background = true
	merged := campaignCase("b", "x", 1, 1, "account:a")
	merged.Merged = "a"
	other := campaignCase("b", "x", 1, 1, "ip:203.0.113.2")
	other.Detectors = []string{"d.two"}
	for name, x := range map[string]struct {
		cases []moat.Case
		want  string
	}{
		"a stranger's address at two partners":           {[]moat.Case{campaignCase("a", "x", 0, 1, "account:a", "ip:203.0.113.1"), campaignCase("b", "y", 70, 70, "account:b", "ip:203.0.113.1")}, "ab"},
		"after it was quiet for long":                    {[]moat.Case{campaignCase("a", "x", 0, 1, "account:a", "ip:203.0.113.1"), campaignCase("b", "y", 74, 74, "account:b", "ip:203.0.113.1")}, "a b"},
		"by way of a third":                              {[]moat.Case{campaignCase("a", "x", 0, 1, "account:a", "ip:203.0.113.1"), campaignCase("b", "y", 3, 4, "account:b", "device:d"), campaignCase("c", "z", 2, 9, "device:d", "ip:203.0.113.1")}, "acb"},
		"a long one goes on beside short ones":           {[]moat.Case{campaignCase("a", "x", 0, 500, "ip:203.0.113.1"), campaignCase("b", "y", 1, 1, "ip:203.0.113.1"), campaignCase("c", "z", 300, 300, "ip:203.0.113.1")}, "abc"},
		"accounts of one name are others":                {[]moat.Case{campaignCase("a", "x", 0, 1, "account:owner"), campaignCase("b", "y", 0, 1, "account:owner")}, "a b"},
		"so are apps, which many use":                    {[]moat.Case{campaignCase("a", "x", 0, 1, "app:erp"), campaignCase("b", "y", 0, 1, "app:erp")}, "a b"},
		"and addresses of the house":                     {[]moat.Case{campaignCase("a", "x", 0, 1, "ip:10.0.0.7"), campaignCase("b", "y", 0, 1, "ip:10.0.0.7")}, "a b"},
		"one attack on a partner from several addresses": {[]moat.Case{campaignCase("a", "x", 0, 0, "ip:203.0.113.1"), campaignCase("b", "x", 1, 1, "ip:203.0.113.2")}, "ab"},
		"two, an hour later":                             {[]moat.Case{campaignCase("a", "x", 0, 0, "ip:203.0.113.1"), campaignCase("b", "x", 2, 2, "ip:203.0.113.2")}, "a b"},
		"two of another kind":                            {[]moat.Case{campaignCase("a", "x", 0, 0, "ip:203.0.113.1"), other}, "a b"},
		"what everybody lives with":                      {[]moat.Case{campaignCase("a", "x", 0, 1, "ip:203.0.113.1"), background}, "a b"},
		"one that went into another":                     {[]moat.Case{campaignCase("a", "x", 0, 1, "account:c"), merged}, "ab"},
	} {
		for range 6 {
			rand.Shuffle(len(x.cases), func(i, j int) { x.cases[i], x.cases[j] = x.cases[j], x.cases[i] })
			var got []string
			for _, g := range Campaigns(x.cases) {
				ids := ""
				for _, c := range g {
					ids += c.ID
				}
				got = append(got, ids)
			}
			if s := strings.Join(got, " "); s != x.want {
				t.Errorf("%s: %s, want %s", name, s, x.want)
			}
		}
	}
}

func TestCampaignOf(t *testing.T) {
	var cases []moat.Case
	for i := range 40 {
		cases = append(cases, campaignCase(fmt.Sprintf("c%02d", i), fmt.Sprintf("p%02d", i/2), moat.Time(i), moat.Time(i), "account:owner", "ip:203.0.113.1"))
	}
	cases[7].Score, cases[7].Verdict, cases[9].State = 90, moat.Confirmed, moat.CaseClosed
	m := CampaignOf(cases)
	if m.ID != "c00" || m.Worst != "c07" || m.Title != "c07" || m.Cases != 40 || len(m.Partners) != 20 || m.Damage != 800 || m.Orders != 400 ||
		m.Rank != moat.P1 || m.Subject.ID != "203.0.113.1" || m.State != moat.CaseOpen || m.Verdict != "" || m.Updated != 39*moat.Hour {
		t.Errorf("%+v", m)
	}
	for i := range cases { // large, but more likely wrong than right
		cases[i].Score = 40
	}
	if m := CampaignOf(cases); m.Rank != moat.P2 {
		t.Errorf("40 cases of score 40: %v", m.Rank)
	}
	alone := CampaignOf(cases[3:4])
	if alone.Rank != moat.P3 || alone.Subject.ID != "owner" || alone.Cases != 1 {
		t.Errorf("%+v", alone)
	}
}

// TestUrgency: what is certain and small goes before what is doubtful and somewhat larger, and not before what is far larger.
func TestUrgency(t *testing.T) {
	order := [][2]float64{{96, 2000}, {96, 60}, {60, 200}, {21, 981}, {90, 4}, {21, 5}, {0, 0}} // score, expected damage
	if !slices.IsSortedFunc(order, func(a, b [2]float64) int {
		return int(1000 * (Urgency(b[0], b[1]) - Urgency(a[0], a[1])))
	}) {
		for _, x := range order {
			t.Errorf("%v: %.2f", x, Urgency(x[0], x[1]))
		}
	}
}
