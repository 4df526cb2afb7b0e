package risk

import (
	"cmp"
	"slices"

	"github.com/moat-platform/moat"
)

// due tells whether n of something should be swept: when there are twice as many as the last
// sweep left, so that the cost is constant per finding.
func due(n, left, limit int) bool { return n >= limit || n >= 1024 && n >= 2*left }

// sweepEntities forgets entities whose findings have faded to nothing by the clock of their partner; that
// changes no score. Only when too many are alive at once are living ones lost: then every
// partner keeps an equal share, so that a flood costs who sends it. The clock of partner stays.
func (k *Keeper) sweepEntities(partner string) {
	if !due(len(k.entities), k.swept[0], MaxKept) {
		return
	}
	living := map[string]bool{partner: true}
	for s, ev := range k.entities {
		if ev.dead(k.newest[s.partner]) {
			delete(k.entities, s)
		} else {
			living[s.partner] = true
		}
	}
	for _, o := range k.cases {
		living[o.Case.Partner] = true
	}
	for p := range k.newest {
		if !living[p] {
			delete(k.newest, p)
		}
	}
	k.trimEntities()
	k.swept[0] = len(k.entities)
}

// sweepCases does the same for cases that are quiet, and for the links to those that are gone.
func (k *Keeper) sweepCases() {
	if !due(len(k.cases), k.swept[1], MaxCases) {
		return
	}
	for id, o := range k.cases {
		if k.newest[o.Case.Partner]-o.Case.Updated > Quiet {
			delete(k.cases, id)
		}
	}
	k.trimCases()
	for s, id := range k.links {
		if k.cases[id] == nil {
			delete(k.links, s)
		}
	}
	for partner, id := range k.rolls {
		if k.cases[id] == nil {
			delete(k.rolls, partner)
		}
	}
	k.swept[1] = len(k.cases)
}

// trimEntities lets each partner that has more than its share keep its riskiest.
func (k *Keeper) trimEntities() {
	if len(k.entities) < MaxKept {
		return
	}
	type rated struct {
		subject
		score float64
		at    moat.Time
	}
	all := map[string][]rated{}
	for s, ev := range k.entities {
		r := rated{s, ev.score(k.newest[s.partner]), 0}
		for i := range *ev {
			r.at = max(r.at, (*ev)[i].At)
		}
		all[s.partner] = append(all[s.partner], r)
	}
	share := fairShare(all, MaxKept/2)
	for _, list := range all {
		if len(list) <= share {
			continue
		}
		slices.SortFunc(list, func(a, b rated) int {
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.at, a.at), a.compare(b.subject))
		})
		for _, r := range list[share:] {
			delete(k.entities, r.subject)
			k.Lost++
		}
	}
}

// trimCases lets each partner that has more than its share go on with those that changed last.
func (k *Keeper) trimCases() {
	if len(k.cases) < MaxCases {
		return
	}
	all := map[string][]*open{}
	for _, o := range k.cases {
		all[o.Case.Partner] = append(all[o.Case.Partner], o)
	}
	share := fairShare(all, MaxCases/2)
	for _, list := range all {
		if len(list) <= share {
			continue
		}
		slices.SortFunc(list, func(a, b *open) int {
			return cmp.Or(cmp.Compare(b.Case.Updated, a.Case.Updated), cmp.Compare(a.Case.ID, b.Case.ID))
		})
		for _, o := range list[share:] {
			delete(k.cases, o.Case.ID)
			k.Lost++
		}
	}
}

// fairShare returns how many each may keep at most so that all together keep at most limit.
func fairShare[T any](all map[string][]T, limit int) int {
	counts := make([]int, 0, len(all))
	for _, list := range all {
		counts = append(counts, len(list))
	}
	slices.Sort(counts)
	for i, n := range counts {
		if each := limit / (len(counts) - i); n > each {
			return each
		}
		limit -= n
	}
	return counts[len(counts)-1]
}

func (s subject) compare(o subject) int {
	return cmp.Or(cmp.Compare(s.partner, o.partner), cmp.Compare(s.entity.Kind, o.entity.Kind), cmp.Compare(s.entity.ID, o.entity.ID))
}
