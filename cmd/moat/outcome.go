package main

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// suspect is an entity at its riskiest.
type suspect struct {
	moat.Entity
	Partner  string  `json:"partner"`
	Score    float64 `json:"score"` // 0..100
	Findings int     `json:"findings"`
	Reason   string  `json:"reason"` // of its strongest finding

	strongest float64
}

// maxSuspects bounds the entities that are compared.
const maxSuspects = 1 << 18

// maxWorst is how many of them are told.
const maxWorst = 100

// sum adds what the book has for the span of the report.
func (s *outcome) sum(ctx context.Context, n *node.Node) error {
	s.Findings, s.Cases, s.Worst = map[string]int{}, map[string]int{}, []suspect{}
	if s.Events == 0 {
		return nil
	}
	q := book.Query{Since: s.First, Until: s.Last + 1}
	type key struct {
		partner string
		entity  moat.Entity
	}
	all, keeper := map[key]*suspect{}, risk.NewKeeper(n.Odds)
	if err := n.Book.LearnInto(ctx, keeper.Learned()); err != nil {
		return err
	}
	for f, err := range n.Book.AllFindings(ctx, moat.Everyone(), q) {
		if err != nil {
			return err
		}
		s.Findings[f.Detector]++
		k := key{f.Partner, f.Entity}
		x := all[k]
		if x == nil {
			if len(all) == maxSuspects {
				continue
			}
			x = &suspect{Entity: f.Entity, Partner: f.Partner}
			all[k] = x
		}
		x.Findings++
		if f.Mode == moat.Shadow {
			continue
		}
		if x.Score = max(x.Score, keeper.Fold(&f).Risk.Score); f.Score >= x.strongest {
			x.strongest, x.Reason = f.Score, f.Reason
		}
	}
	for x := range maps.Values(all) {
		s.Worst = append(s.Worst, *x)
	}
	slices.SortFunc(s.Worst, func(a, b suspect) int {
		return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(b.Findings, a.Findings), cmp.Compare(a.Partner, b.Partner), cmp.Compare(a.String(), b.String()))
	})
	s.Worst = s.Worst[:min(len(s.Worst), maxWorst)]
	for c, err := range n.Book.AllCases(ctx, moat.Everyone(), q) {
		if err != nil {
			return err
		}
		if c.Merged == "" {
			s.Cases[c.Rank.String()]++
		}
	}
	for d, err := range n.Book.AllDecisions(ctx, moat.Everyone(), q) {
		if err != nil {
			return err
		}
		if s.Decisions++; d.Approval != "" && d.Undone == 0 {
			s.Waiting++
		}
	}
	return nil
}
