package book

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// view is the column that names a case's campaign as a tenant sees it.
func view(t moat.Tenant) string {
	if _, one := t.Partner(); one {
		return "own_campaign"
	}
	return "campaign"
}

// tieAll puts the cases that a commit wrote into their campaigns. Moving the head of the audit trail makes PostgreSQL's
// writers wait for each other here: of two that tie cases at the same time each must see the other's.
func (t *tx) tieAll(cases []moat.Case) error {
	if len(cases) == 0 {
		return nil
	}
	if _, err := t.exec("UPDATE audit_head SET seq = seq WHERE id = 1"); err != nil {
		return err
	}
	for i := range cases {
		if err := t.tie(&cases[i]); err != nil {
			return err
		}
	}
	return nil
}

// tie puts a case that was written into its campaigns: what [risk.Campaigns] makes of all cases, found step by step. Campaigns grow together
// and never apart, and are named by the case that opened first: so the order in which cases are written does not matter.
func (t *tx) tie(c *moat.Case) error {
	ties := risk.Ties(c)
	marks := make([]any, 0, 2*len(ties))
	for _, x := range ties {
		marks = append(marks, text(x.Key), text(c.ID))
	}
	if _, err := t.insert("case_ties (tie, case_id)", "ON CONFLICT DO NOTHING", 2, marks); err != nil {
		return err
	}
	all, own := []string{}, []string{}
	add := func(q string, args ...any) error {
		rows, err := t.sql.QueryContext(t.ctx, t.book.dialect.sql(q), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var partner, campaign, ownCampaign string
			if err := rows.Scan(&partner, &campaign, &ownCampaign); err != nil {
				return err
			}
			if !slices.Contains(all, campaign) {
				all = append(all, campaign)
			}
			if partner == text(c.Partner) && !slices.Contains(own, ownCampaign) {
				own = append(own, ownCampaign)
			}
		}
		return rows.Err()
	}
	const found = "SELECT DISTINCT c.partner, c.campaign, c.own_campaign FROM "
	if err := add(found+"cases c WHERE c.id IN (?, ?)", text(c.ID), text(c.Merged)); err != nil {
		return err
	}
	for _, x := range ties {
		err := add(found+"case_ties t CROSS JOIN cases c WHERE t.tie = ? AND c.id = t.case_id AND c.opened <= ? AND c.updated >= ?",
			text(x.Key), int64(c.Updated+x.Within), int64(c.Opened-x.Within))
		if err != nil {
			return err
		}
	}
	if err := t.join("campaign", all); err != nil {
		return err
	}
	return t.join("own_campaign", own)
}

// join makes one of some campaigns.
func (t *tx) join(column string, campaigns []string) error {
	if len(campaigns) < 2 {
		return nil
	}
	in, args := marks(len(campaigns)), texts(campaigns)
	var first string
	if err := t.row("SELECT id FROM cases WHERE id IN "+in+" ORDER BY opened, id LIMIT 1", args, &first); err != nil {
		return err
	}
	_, err := t.exec("UPDATE cases SET "+column+" = ? WHERE "+column+" IN "+in+" AND "+column+" <> ?", append(append([]any{first}, args...), first)...)
	return err
}

// leads keeps to the first case of each campaign.
func (q *Query) leads(w *where, campaign string) {
	w.and(campaign + " = id")
	const opens = "EXISTS (SELECT 1 FROM cases m WHERE m.%s = cases.id AND m.state = 'open')"
	switch q.State {
	case moat.CaseOpen:
		w.and(fmt.Sprintf(opens, campaign))
	case moat.CaseClosed:
		w.and("NOT " + fmt.Sprintf(opens, campaign))
	}
	q.lead, q.State = false, ""
}

// maxCampaigns bounds a page of campaigns: all their cases are read.
const maxCampaigns = 100

// Campaigns returns one page of campaigns of the cases that t sees, the latest opened first, and the cursor of the next page, "" after
// the last. Since and Until are about its first case, State about the campaign. A page has 100 at most.
func (b *Book) Campaigns(ctx context.Context, t moat.Tenant, q Query) ([]moat.Campaign, string, error) {
	if q.Partner != "" {
		if p, one := t.Partner(); one && p != q.Partner {
			return nil, "", nil
		}
		t, q.Partner = moat.Only(q.Partner), ""
	}
	q.Limit = min(q.Limit, maxCampaigns)
	q.lead = true
	leads, next, err := casesTable(t).page(ctx, b, t, q, false)
	if err != nil || len(leads) == 0 {
		return nil, next, err
	}
	ids := make([]string, len(leads))
	for i := range leads {
		ids[i] = leads[i].ID
	}
	var w where
	w.sees(t)
	w.and(view(t)+" IN "+marks(len(ids)), texts(ids)...)
	tb := casesTable(t)
	members := map[string][]moat.Case{}
	err = b.eachRow(ctx, tb.query(&w)+" ORDER BY opened, id", w.args, func(rows *sql.Rows) error {
		c, err := tb.scan(rows)
		c.Findings = nil
		members[c.Campaign] = append(members[c.Campaign], c)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("cannot read campaigns: %w", b.explain(err))
	}
	out := make([]moat.Campaign, 0, len(leads))
	for i := range leads {
		out = append(out, risk.CampaignOf(members[leads[i].ID]))
	}
	return out, next, nil
}

// Together returns the ids of the cases of the campaign that a case belongs to, as t sees it: that case first, then the others as they opened. Those
// that went into others are left out.
func (b *Book) Together(ctx context.Context, t moat.Tenant, id string) ([]string, error) {
	c, err := casesTable(t).one(ctx, b, t, id)
	if err != nil {
		return nil, err
	}
	out := []string{c.ID}
	for x, err := range b.AllCases(ctx, t, Query{Campaign: c.Campaign}) {
		if err != nil {
			return nil, err
		}
		if x.Merged == "" && x.ID != c.ID {
			out = append(out, x.ID)
		}
	}
	return out, nil
}

// Act does something to a case, or to each of its campaign that t sees, and returns the case as it is then. A campaign of which only a
// part was reached because something failed is safely acted on again.
func (b *Book) Act(ctx context.Context, t moat.Tenant, id string, campaign bool, do func(id string) error) (moat.Case, error) {
	ids := []string{id}
	if campaign {
		var err error
		if ids, err = b.Together(ctx, t, id); err != nil {
			return moat.Case{}, err
		}
	}
	for _, x := range ids {
		if err := do(x); err != nil {
			return moat.Case{}, err
		}
	}
	c, _, err := b.Case(ctx, t, id)
	return c, err
}
