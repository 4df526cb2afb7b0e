package drill

import (
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// List is how good the list of campaigns is that an operator works from the top: one list an ecosystem, of all of its days.
type List struct {
	Rows       int     `json:"rows"`       // campaigns, those of echoes alone left out
	Cases      int     `json:"cases"`      // in them
	First10    float64 `json:"first_10"`   // precision at 10: the share of the first ten that are about a theft
	First20    float64 `json:"first_20"`   // precision at 20
	Average    float64 `json:"average"`    // average precision: the mean precision down to each one that is, averaged over the lists
	PerTheft   float64 `json:"per_theft"`  // rows for a theft that was found
	MostRows   int     `json:"most_rows"`  // of one theft
	CasesEach  float64 `json:"cases_each"` // cases for a theft that was found
	MixedShare float64 `json:"mixed"`      // true rows in which false cases are, too
}

// list puts the campaigns of every ecosystem in the order in which they are shown.
func list(all []*judged) (out List) {
	firsts := [2]struct{ most, right, shown int }{{most: 10}, {most: 20}}
	var found, rowsOf, casesOf, trueRows, mixed int
	lists := 0
	for _, j := range all {
		campaigns := risk.Campaigns(slices.DeleteFunc(slices.Clone(j.cases), func(c moat.Case) bool { return c.Merged != "" || j.echoes[c.ID] }))
		rows, of := make([]moat.Campaign, len(campaigns)), map[string]string{}
		right := map[string]bool{}
		for i, cases := range campaigns {
			rows[i] = risk.CampaignOf(cases)
			wrong := 0
			for _, c := range cases {
				if of[c.ID] = rows[i].ID; j.wrong[c.ID] {
					wrong++
				}
			}
			if wrong < len(cases) {
				right[rows[i].ID] = true
				trueRows++
				if wrong > 0 {
					mixed++
				}
			}
			out.Rows, out.Cases = out.Rows+1, out.Cases+len(cases)
		}
		slices.SortFunc(rows, func(a, b moat.Campaign) int { return risk.WorseCampaign(&a, &b) })
		var hits int
		var sum float64
		for i := range rows {
			hit := 0
			if right[rows[i].ID] {
				hit = 1
				hits++
				sum += float64(hits) / float64(i+1)
			}
			for k := range firsts {
				if f := &firsts[k]; i < f.most {
					f.right, f.shown = f.right+hit, f.shown+1
				}
			}
		}
		if hits > 0 {
			lists++
			out.Average += sum / float64(hits)
		}
		for i := range j.Outcomes {
			o := &j.Outcomes[i]
			if o.Case == nil {
				continue
			}
			named := map[string]bool{}
			for _, c := range o.Cases() {
				if row := of[j.into(c)]; row != "" {
					named[row] = true
				}
				if c.Merged == "" {
					casesOf++
				}
			}
			found, rowsOf, out.MostRows = found+1, rowsOf+len(named), max(out.MostRows, len(named))
		}
	}
	out.First10, out.First20 = share(firsts[0].right, firsts[0].shown), share(firsts[1].right, firsts[1].shown)
	out.PerTheft, out.CasesEach, out.MixedShare = share(rowsOf, found), share(casesOf, found), share(mixed, trueRows)
	if lists > 0 {
		out.Average /= float64(lists)
	}
	return out
}
