package book

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
)

// Query says which rows a reading method returns. A zero field does not
// filter. A filter that the method has no use for is an error ([ErrInvalid])
// and not passed over: a list that is silently too long is worse than none.
type Query struct {
	Partner  string         // any: one partner's; a partner sees nothing of another
	Entity   moat.Entity    // findings: whose risk was raised; cases: any of the case's entities; decisions: the target
	Detector string         // findings, cases: any of the case's detectors
	House    bool           // findings: about partners themselves, or of the family partner
	Case     string         // findings, decisions
	Rank     moat.Rank      // cases
	State    moat.CaseState // cases
	Campaign string         // cases: those of a campaign
	Scope    string         // decisions: with Value, for targets that are no entity (range, session, api_key)
	Value    string         // decisions
	Active   moat.Time      // decisions in force at this time
	Waiting  bool           // decisions that a person must approve first
	Object   string         // audit: id of a case, decision, key or partner
	Order    string         // complaints
	Kind     string         // complaints, canaries
	Reporter string         // complaints: its keyed hash
	Channel  string         // canaries
	Planted  string         // canaries: the partner that they are planted at
	Since    moat.Time      // any: at or after; a finding's time, a case's Opened, a decision's From, else when it was written
	Until    moat.Time      // any: before
	Limit    int            // 1..1000; 0 means 100
	After    string         // any: the cursor that the page before returned

	lead bool // cases: the first of each campaign; State is the campaign's
}

// Limits of [Query.Limit].
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// table is how one kind of row is read: newest first or oldest first by
// (order, id), which an index gives.
type table[T any] struct {
	name    string                   // for errors
	columns string                   // SELECT …
	from    string                   // the table
	time    string                   // column that Since and Until mean
	order   string                   // column that the rows are sorted by
	id      string                   // column that makes the order total
	filter  func(q *Query, w *where) // moves the fields that it takes from q to w
	scan    func(*sql.Rows) (T, error)
	key     func(*T) (order int64, id string)
	veiled  bool // who may sees with a partner what is kept under its veiled name
}

// where gathers conditions that must all hold.
type where struct {
	through string // a table to come from first
	parts   []string
	args    []any
}

// come adds rows of another table that lead to ours by id. A CROSS JOIN keeps
// SQLite to that order; with IN it would rather read all of a partner's rows.
// Only the first such way is a join, the others are rare together with it.
func (w *where) come(from, id, condition string, args ...any) {
	if w.through == "" {
		w.through = from
		w.and(condition+" AND id = "+id, args...)
		return
	}
	w.and("id IN (SELECT "+id+" FROM "+from+" WHERE "+condition+")", args...)
}

func (w *where) and(condition string, args ...any) {
	w.parts = append(w.parts, condition)
	w.args = append(w.args, args...)
}

// text returns the conditions as a WHERE clause.
func (w *where) text() string {
	if len(w.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.parts, " AND ")
}

// query is SELECT, FROM and WHERE.
func (tb *table[T]) query(w *where) string {
	from := tb.from
	if w.through != "" {
		from = w.through + " CROSS JOIN " + from
	}
	return tb.columns + " FROM " + from + w.text()
}

// sees keeps a tenant to its own rows. The zero tenant gets none, not even
// those that have no partner.
func (w *where) sees(t moat.Tenant) {
	partner, one := t.Partner()
	switch {
	case one && partner == "":
		w.and("1 = 0")
	case one:
		w.and("partner = ?", text(partner))
	}
}

// take adds the condition and clears the field when the field is given.
func take[F comparable](w *where, field *F, condition string, args ...any) {
	var none F
	if *field != none {
		w.and(condition, args...)
		*field = none
	}
}

// conditions turns q into SQL.
func (tb *table[T]) conditions(t moat.Tenant, q Query) (w where, err error) {
	w.sees(t)
	if _, one := t.Partner(); !one && tb.veiled {
		take(&w, &q.Partner, "partner IN (?, ?)", text(q.Partner), text(moat.Veiled(q.Partner)))
	}
	take(&w, &q.Partner, "partner = ?", text(q.Partner))
	take(&w, &q.Since, tb.time+" >= ?", int64(q.Since))
	take(&w, &q.Until, tb.time+" < ?", int64(q.Until))
	tb.filter(&q, &w)
	q.Limit, q.After = 0, ""
	if q != (Query{}) {
		return w, fmt.Errorf("%w: %s cannot be filtered by %s", ErrInvalid, tb.name, q.given())
	}
	return w, nil
}

// given names the filters of q that are set.
func (q *Query) given() string {
	var names []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"entity", q.Entity != moat.Entity{}}, {"detector", q.Detector != ""}, {"house", q.House}, {"case", q.Case != ""}, {"rank", q.Rank != moat.NoRank},
		{"state", q.State != ""}, {"campaign", q.Campaign != ""}, {"scope", q.Scope != ""}, {"value", q.Value != ""}, {"active", q.Active != 0}, {"waiting", q.Waiting},
		{"object", q.Object != ""}, {"order", q.Order != ""}, {"kind", q.Kind != ""}, {"reporter", q.Reporter != ""}, {"channel", q.Channel != ""}, {"planted", q.Planted != ""},
	} {
		if f.set {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, ", ")
}

// page returns up to q.Limit rows and the cursor for the next page, "" at the
// end. Cursors stay good while rows come and go: they name a place, not a row.
func (tb *table[T]) page(ctx context.Context, b *Book, t moat.Tenant, q Query, oldestFirst bool) ([]T, string, error) {
	rows, next, err := tb.rows(ctx, b, t, q, oldestFirst)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read %s: %w", tb.name, b.explain(err))
	}
	return rows, next, nil
}

func (tb *table[T]) rows(ctx context.Context, b *Book, t moat.Tenant, q Query, oldestFirst bool) ([]T, string, error) {
	if q.Limit == 0 {
		q.Limit = DefaultLimit
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return nil, "", fmt.Errorf("%w: limit %d is not within 1 and %d", ErrInvalid, q.Limit, MaxLimit)
	}
	w, err := tb.conditions(t, q)
	if err != nil {
		return nil, "", err
	}
	compare, direction := "<", " DESC"
	if oldestFirst {
		compare, direction = ">", ""
	}
	if q.After != "" {
		order, id, err := parseCursor(q.After)
		if err != nil {
			return nil, "", err
		}
		w.and("("+tb.order+", "+tb.id+") "+compare+" (?, ?)", order, id)
	}
	rows, err := b.read.QueryContext(ctx, b.dialect.sql(tb.query(&w)+
		" ORDER BY "+tb.order+direction+", "+tb.id+direction+" LIMIT "+strconv.Itoa(q.Limit+1)), w.args...)
	if err != nil {
		return nil, "", err
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := tb.scan(rows)
		if err != nil {
			return nil, "", err
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		return nil, "", err
	}
	if len(list) <= q.Limit {
		return list, "", nil
	}
	list = list[:q.Limit]
	return list, cursor(tb.key(&list[q.Limit-1])), nil
}

// all yields every row oldest first, page by page: one long read would keep
// SQLite's WAL from being folded into the file.
func (tb *table[T]) all(ctx context.Context, b *Book, t moat.Tenant, q Query) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		q := q
		q.Limit = MaxLimit
		for {
			list, next, err := tb.page(ctx, b, t, q, true)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, v := range list {
				if !yield(v, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			q.After = next
		}
	}
}

// cursor names a place in an order; parseCursor reads it.
func cursor(order int64, id string) string { return strconv.FormatInt(order, 10) + "." + id }

func parseCursor(s string) (order int64, id string, err error) {
	number, id, ok := strings.Cut(s, ".")
	order, err = strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || len(id) > 512 || text(id) != id || cursor(order, id) != s {
		return 0, "", fmt.Errorf("%w: cursor %.40q is not one that a page returned", ErrInvalid, s)
	}
	return order, id, nil
}
