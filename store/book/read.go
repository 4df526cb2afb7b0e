package book

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

func findingsTable() *table[moat.Finding] {
	return &table[moat.Finding]{
		name: "findings", columns: "SELECT body", from: "findings", time: "time", order: "time", id: "id",
		filter: func(q *Query, w *where) {
			take(w, &q.Entity, "entity = ? AND kind = ?", text(q.Entity.ID), q.Entity.Kind.String())
			take(w, &q.Detector, "detector = ?", text(q.Detector))
			take(w, &q.House, "kind IN ('app', 'partner') AND (kind = 'partner' OR detector LIKE 'partner.%')")
			if q.Case != "" {
				w.come("case_findings", "finding", "case_id = ?", text(q.Case))
				q.Case = ""
			}
		},
		scan: func(rows *sql.Rows) (f moat.Finding, err error) {
			var body sql.RawBytes // decoded before the next row
			if err := rows.Scan(&body); err != nil {
				return f, err
			}
			return f, json.Unmarshal(body, &f)
		},
		key: func(f *moat.Finding) (int64, string) { return int64(f.Time), text(f.ID) },
	}
}

// casesTable reads cases as t sees their campaigns.
func casesTable(t moat.Tenant) *table[moat.Case] {
	campaign := view(t)
	return &table[moat.Case]{
		name: "cases", veiled: true, columns: "SELECT body, state, owner, verdict, " + campaign, from: "cases", time: "opened", order: "opened", id: "id",
		filter: func(q *Query, w *where) {
			const marked = "value = ? AND kind = ?"
			if q.Entity != (moat.Entity{}) {
				w.come("case_marks", "case_id", marked, text(q.Entity.ID), q.Entity.Kind.String())
				q.Entity = moat.Entity{}
			}
			if q.Detector != "" {
				w.come("case_marks", "case_id", marked, text(q.Detector), "detector")
				q.Detector = ""
			}
			take(w, &q.Rank, "rank = ?", int64(q.Rank))
			take(w, &q.Campaign, campaign+" = ?", text(q.Campaign))
			if q.lead {
				q.leads(w, campaign)
			}
			take(w, &q.State, "state = ?", string(q.State))
		},
		scan: func(rows *sql.Rows) (c moat.Case, err error) {
			var body, state, owner, verdict string
			var campaign string
			if err := rows.Scan(&body, &state, &owner, &verdict, &campaign); err != nil {
				return c, err
			}
			err = json.Unmarshal([]byte(body), &c)
			c.Campaign = campaign
			c.State, c.Owner, c.Verdict = moat.CaseState(state), owner, moat.Verdict(verdict)
			return c, err
		},
		key: func(c *moat.Case) (int64, string) { return int64(c.Opened), text(c.ID) },
	}
}

func decisionsTable() *table[moat.Decision] {
	return &table[moat.Decision]{
		name: "decisions", time: "starts", order: "starts", id: "id",
		columns: "SELECT id, partner, scope, value, action, starts, ends, origin, case_id, reason, approval, undone, undone_by", from: "decisions",
		filter: func(q *Query, w *where) {
			take(w, &q.Entity, "value = ? AND scope = ?", text(q.Entity.ID), q.Entity.Kind.String())
			take(w, &q.Case, "case_id = ?", text(q.Case))
			take(w, &q.Value, "value = ?", text(q.Value))
			take(w, &q.Scope, "scope = ?", text(q.Scope))
			take(w, &q.Active, "approval = '' AND undone = 0 AND starts <= ? AND ends > ?", int64(q.Active), int64(q.Active))
			take(w, &q.Waiting, "approval <> '' AND undone = 0")
		},
		scan: func(rows *sql.Rows) (d moat.Decision, err error) {
			err = rows.Scan(&d.ID, &d.Partner, &d.Scope, &d.Value, &d.Action, &d.From, &d.Until, &d.Origin,
				&d.Case, &d.Reason, &d.Approval, &d.Undone, &d.UndoneBy)
			return d, err
		},
		key: func(d *moat.Decision) (int64, string) { return int64(d.From), text(d.ID) },
	}
}

// auditTable is the trail as t sees it. To a partner it gives no numbers: they would tell how much happened elsewhere in between.
func auditTable(t moat.Tenant) *table[Record] {
	if _, one := t.Partner(); one {
		a := auditTable(moat.Everyone())
		a.order = "time"
		a.key = func(r *Record) (int64, string) { return int64(r.Time), r.Hash }
		a.scan = func(rows *sql.Rows) (Record, error) {
			r, err := scanRecord(rows)
			r.Seq = 0
			return r, err
		}
		return a
	}
	return &table[Record]{
		name: "audit trail", columns: auditColumns, from: "audit", time: "time", order: "seq", id: "hash",
		filter: func(q *Query, w *where) { take(w, &q.Object, "object = ?", text(q.Object)) },
		scan:   scanRecord,
		key:    func(r *Record) (int64, string) { return int64(r.Seq), r.Hash },
	}
}

// Findings returns one page of findings, newest first, and the cursor of the
// next page, "" after the last.
func (b *Book) Findings(ctx context.Context, t moat.Tenant, q Query) ([]moat.Finding, string, error) {
	return findingsTable().page(ctx, b, t, q, false)
}

// Cases returns one page of cases, the latest opened first, and the cursor of
// the next page, "" after the last.
func (b *Book) Cases(ctx context.Context, t moat.Tenant, q Query) ([]moat.Case, string, error) {
	return casesTable(t).page(ctx, b, t, q, false)
}

// Decisions returns one page of decisions, the latest From first, and the
// cursor of the next page, "" after the last.
func (b *Book) Decisions(ctx context.Context, t moat.Tenant, q Query) ([]moat.Decision, string, error) {
	return decisionsTable().page(ctx, b, t, q, false)
}

// Audit returns one page of the audit trail, newest first, and the cursor of
// the next page, "" after the last.
func (b *Book) Audit(ctx context.Context, t moat.Tenant, q Query) ([]Record, string, error) {
	return auditTable(t).page(ctx, b, t, q, false)
}

// AllFindings yields every finding that q asks for in the order of time, for a
// full export; q.Limit is not used. It reads page by page and so does not hold
// up writers; rows that come meanwhile may or may not be among them. After an
// error it ends.
func (b *Book) AllFindings(ctx context.Context, t moat.Tenant, q Query) iter.Seq2[moat.Finding, error] {
	return findingsTable().all(ctx, b, t, q)
}

// AllCases is [Book.AllFindings] for cases, in the order in which they opened.
func (b *Book) AllCases(ctx context.Context, t moat.Tenant, q Query) iter.Seq2[moat.Case, error] {
	return casesTable(t).all(ctx, b, t, q)
}

// AllDecisions is [Book.AllFindings] for decisions, in the order of From.
func (b *Book) AllDecisions(ctx context.Context, t moat.Tenant, q Query) iter.Seq2[moat.Decision, error] {
	return decisionsTable().all(ctx, b, t, q)
}

// AllAudit is [Book.AllFindings] for the audit trail, in the order of Seq.
func (b *Book) AllAudit(ctx context.Context, t moat.Tenant, q Query) iter.Seq2[Record, error] {
	return auditTable(t).all(ctx, b, t, q)
}

// Case returns a case and its timeline: the newest [MaxLimit] of its findings,
// oldest first.
func (b *Book) Case(ctx context.Context, t moat.Tenant, id string) (moat.Case, []moat.Finding, error) {
	c, err := casesTable(t).one(ctx, b, t, id)
	if err != nil {
		return moat.Case{}, nil, err
	}
	timeline, _, err := findingsTable().page(ctx, b, t, Query{Case: id, Limit: MaxLimit}, false)
	if err != nil {
		return moat.Case{}, nil, err
	}
	slices.Reverse(timeline)
	return c, timeline, nil
}

// Incidents returns what became of the cases of rank P1 and P2 that a partner had since a time; of those that were confirmed, and
// of those that wait, the first [MaxLimit] count.
func (b *Book) Incidents(ctx context.Context, t moat.Tenant, partner string, since moat.Time) (in risk.Incidents, err error) {
	for _, part := range []string{"verdict = 'confirmed'", "verdict = '' AND state = 'open'"} {
		var w where
		w.sees(t)
		w.and("partner = ? AND opened >= ? AND rank <= ? AND "+part, text(partner), int64(since), int64(moat.P2))
		tb := casesTable(t)
		rows, err := b.read.QueryContext(ctx, b.dialect.sql(tb.query(&w)+" ORDER BY opened, id LIMIT "+strconv.Itoa(MaxLimit)), w.args...)
		if err != nil {
			return in, fmt.Errorf("cannot read cases of partner: %w", b.explain(err))
		}
		for rows.Next() {
			c, bad := tb.scan(rows)
			if err = errors.Join(err, bad); err == nil {
				in.Add(&c)
			}
		}
		if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return in, fmt.Errorf("cannot read cases of partner: %w", b.explain(err))
		}
	}
	return in, nil
}

// Decision returns one decision.
func (b *Book) Decision(ctx context.Context, t moat.Tenant, id string) (moat.Decision, error) {
	return decisionsTable().one(ctx, b, t, id)
}

// one returns the row with that id.
func (tb *table[T]) one(ctx context.Context, b *Book, t moat.Tenant, id string) (v T, err error) {
	v, err = tb.find(ctx, b, t, id)
	if err != nil {
		return v, fmt.Errorf("cannot read %s %.64q: %w", tb.name, id, b.explain(err))
	}
	return v, nil
}

func (tb *table[T]) find(ctx context.Context, b *Book, t moat.Tenant, id string) (v T, err error) {
	var w where
	w.and(tb.id+" = ?", text(id))
	w.sees(t)
	rows, err := b.read.QueryContext(ctx, b.dialect.sql(tb.query(&w)), w.args...)
	if err != nil {
		return v, err
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return v, err
		}
		return v, ErrNotFound
	}
	return tb.scan(rows)
}

// errNoRows turns the driver's word for a missing row into ours.
func errNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// maxTrail bounds how much of the audit trail Changed follows in one call.
const maxTrail = 1000

// Changed returns the decisions that were made, approved or undone after
// record after of the audit trail, as they are now, and the record up to which
// it looked; a call with that returns what came since. It has caught up when
// it returns after itself. Everyone who keeps decisions in memory follows it.
func (b *Book) Changed(ctx context.Context, t moat.Tenant, after uint64) ([]moat.Decision, uint64, error) {
	list, upTo, err := b.changed(ctx, t, after)
	if err != nil {
		return nil, after, fmt.Errorf("cannot read changed decisions: %w", b.explain(err))
	}
	return list, upTo, nil
}

func (b *Book) changed(ctx context.Context, t moat.Tenant, after uint64) ([]moat.Decision, uint64, error) {
	end, _, err := b.AuditHead(ctx)
	if err != nil || end <= after {
		return nil, after, err
	}
	upTo := min(end, after+maxTrail)
	tb := decisionsTable()
	var w where
	w.sees(t)
	w.and("id IN (SELECT object FROM audit WHERE seq > ? AND seq <= ? AND act LIKE 'decision.%')", int64(after), int64(upTo))
	rows, err := b.read.QueryContext(ctx, b.dialect.sql(tb.query(&w)+" ORDER BY starts, id"), w.args...)
	if err != nil {
		return nil, after, err
	}
	defer rows.Close()
	var list []moat.Decision
	for rows.Next() {
		d, err := tb.scan(rows)
		if err != nil {
			return nil, after, err
		}
		list = append(list, d)
	}
	return list, upTo, rows.Err()
}
