package risk

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"github.com/moat-platform/moat"
)

// Volley is how far apart cases may be that show the same detectors an address at one partner, to count as one attack: who
// has many addresses uses them in turn.
const Volley = moat.Hour

// Tie is something that cases of one [moat.Campaign] share. Keys mean the same at every partner.
type Tie struct {
	Key    string
	Within moat.Time // how long after the one case the other may begin
}

// Ties lists what ties a case to others: the addresses and devices that a thief brought with him, or that it is about; and if it is about an address, what that
// does to the partner. An account, an app or a server ties nothing: honest people share these. Nor does background.
func Ties(c *moat.Case) []Tie {
	if c.Background {
		return nil
	}
	var out []Tie
	for _, e := range sources(c) {
		out = append(out, Tie{e.String(), Quiet})
	}
	if len(c.Entities) > 0 && c.Entities[0].Kind == moat.IP {
		for _, d := range c.Detectors {
			out = append(out, Tie{"volley:" + c.Partner + " " + d, Volley})
		}
	}
	return out
}

// sources are the addresses and devices that a case came from. An address of a private network is another one elsewhere.
func sources(c *moat.Case) []moat.Entity {
	var out []moat.Entity
	add := func(e moat.Entity) {
		if e.Kind == moat.IP && !public(e.ID) || e.Kind != moat.IP && e.Kind != moat.Device || slices.Contains(out, e) {
			return
		}
		out = append(out, e)
	}
	if len(c.Entities) > 0 {
		add(c.Entities[0])
	}
	for _, e := range c.Strange {
		add(e)
	}
	return out
}

func public(ip string) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && a.IsGlobalUnicast() && !a.IsPrivate()
}

// Campaigns groups cases by campaign: two belong together if they share a [Tie] and the one begins within its time of the other's end,
// and so does what belongs to either; and a case that went into another belongs with that. It does not depend on the order of the cases. Campaigns
// and their cases come in the order in which they opened.
func Campaigns(cases []moat.Case) [][]moat.Case {
	cases = slices.Clone(cases)
	slices.SortFunc(cases, earlier)
	leads, at := make([]int, len(cases)), make(map[string]int, len(cases))
	find := func(i int) int {
		for leads[i] != i {
			leads[i] = leads[leads[i]]
			i = leads[i]
		}
		return i
	}
	join := func(a, b int) {
		a, b = find(a), find(b)
		leads[max(a, b)] = min(a, b)
	}
	last := map[string]int{} // by key: the case that ended last
	for i := range cases {
		leads[i], at[cases[i].ID] = i, i
		for _, t := range Ties(&cases[i]) {
			j, ok := last[t.Key]
			if ok && cases[i].Opened-cases[j].Updated <= t.Within {
				join(i, j)
			}
			if !ok || cases[i].Updated > cases[j].Updated {
				last[t.Key] = i
			}
		}
	}
	for i := range cases {
		if j, ok := at[cases[i].Merged]; ok {
			join(i, j)
		}
	}
	var out [][]moat.Case
	place := make([]int, len(cases))
	for i := range cases {
		lead := find(i)
		if lead == i {
			place[i], out = len(out), append(out, nil)
		}
		out[place[lead]] = append(out[place[lead]], cases[i])
	}
	return out
}

func earlier(a, b moat.Case) int {
	return cmp.Or(cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID))
}

// CampaignOf sums up the cases of one campaign, of which there is at least one, in any order; those that went into others
// count there.
func CampaignOf(cases []moat.Case) moat.Campaign {
	first := slices.MinFunc(cases, earlier)
	if live := slices.DeleteFunc(slices.Clone(cases), func(c moat.Case) bool { return c.Merged != "" }); len(live) > 0 {
		cases = live
	}
	m := moat.Campaign{ID: first.ID, Opened: first.Opened, State: moat.CaseClosed, Rank: moat.P4, Partners: []string{}, Background: true}
	var worst *moat.Case
	shared := map[moat.Entity]int{}
	for i := range cases {
		c := &cases[i]
		if worst == nil {
			m.Owner, m.Verdict = c.Owner, c.Verdict
		}
		if m.Owner != c.Owner {
			m.Owner = ""
		}
		if m.Verdict != c.Verdict {
			m.Verdict = moat.NoVerdict
		}
		if c.State != moat.CaseClosed {
			m.State = moat.CaseOpen
		}
		if worst == nil || Worse(c, worst) < 0 {
			worst = c
		}
		m.Cases++
		m.Background = m.Background && c.Background
		m.Rank, m.Score, m.Updated = min(m.Rank, c.Rank), max(m.Score, c.Score), max(m.Updated, c.Updated)
		m.Damage, m.Orders = m.Damage+c.Damage, m.Orders+c.Orders
		if !slices.Contains(m.Partners, c.Partner) {
			m.Partners = append(m.Partners, c.Partner)
		}
		for _, e := range sources(c) {
			shared[e]++
		}
	}
	slices.Sort(m.Partners)
	m.Title, m.Reason, m.Worst = worst.Title, worst.Reason, worst.ID
	if len(worst.Entities) > 0 {
		m.Subject = worst.Entities[0]
	}
	for e := range shared {
		m.Sources = append(m.Sources, e)
	}
	slices.SortFunc(m.Sources, func(a, b moat.Entity) int {
		return cmp.Or(cmp.Compare(shared[b], shared[a]), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	m.Sources = m.Sources[:min(len(m.Sources), MaxEntities)]
	if m.Cases > 1 {
		m.Rank = min(m.Rank, sure(RankOf(m.Damage), m.Score))
		if len(m.Sources) > 0 && shared[m.Sources[0]] > 1 {
			m.Subject = m.Sources[0]
		}
	}
	return m
}

// Worse compares cases in the order in which they deserve a look: by rank, then by [Urgency]; what everybody lives with comes last.
func Worse(a, b *moat.Case) int {
	return plight{a.Background, a.Rank, Urgency(a.Score, a.Damage), a.Opened, a.ID}.
		compare(plight{b.Background, b.Rank, Urgency(b.Score, b.Damage), b.Opened, b.ID})
}

// WorseCampaign is [Worse] for campaigns.
func WorseCampaign(a, b *moat.Campaign) int {
	return plight{a.Background, a.Rank, Urgency(a.Score, a.Damage), a.Opened, a.ID}.
		compare(plight{b.Background, b.Rank, Urgency(b.Score, b.Damage), b.Opened, b.ID})
}

// plight is how bad things are, for a case or a campaign.
type plight struct {
	background bool
	rank       moat.Rank
	urgency    float64
	opened     moat.Time
	id         string
}

func (a plight) compare(b plight) int {
	if a.background != b.background {
		if b.background {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.urgency, a.urgency), cmp.Compare(a.opened, b.opened), cmp.Compare(a.id, b.id))
}

// Urgency is how much a look is worth at what has a score and an expected damage: probability × doublings of the harm if it is
// true. Ten times as many people deserve an earlier look, but not a tenfold one: by expected damage alone what is
// large and unlikely would stand above all that is certain.
func Urgency(score, damage float64) float64 {
	p := score / 100
	if p <= 0 {
		return 0
	}
	return p * math.Log2(1+damage/p)
}
