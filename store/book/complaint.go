package book

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"math"

	"github.com/moat-platform/moat"
)

// Complaint says that a customer's data was misused after the order passed through a partner. Of an order that
// passed through several partners there is one for each.
type Complaint struct {
	ID      string    `json:"id"` // made from content
	Partner string    `json:"partner"`
	Order   string    `json:"order"`
	Kind    string    `json:"kind"`
	Time    moat.Time `json:"time"`  // when the customer was contacted; when it was filed if nobody says
	Filed   moat.Time `json:"filed"` // when Moat took it in
	// Reporter is who complains, as a keyed hash.
	Reporter string `json:"reporter"`
	FiledBy  string `json:"filed_by,omitempty"` // the partner that passed it on; "" = the operator
	Channel  string `json:"channel,omitempty"`  // by which way it came
	// Weight is how much it counts, 0..1: see [Weight]. It is set when a complaint is read.
	Weight float64 `json:"weight"`
}

// How many complaints of one source count in full.
const (
	FreeReporter = 3  // of one reporter
	FreePartner  = 30 // passed on by one partner
)

// Weight is how much each of the complaints about n different orders of one source counts when free of them count in
// full: W(n)/n with W(n) = n up to free, then free·(1 + ln(n/free)). A hundred times as many complaints of one
// source weigh five and a half times as much, and not a hundred: who wants to frame somebody must find many who complain.
func Weight(n, free int) float64 {
	if n <= free {
		return 1
	}
	return float64(free) * (1 + math.Log(float64(n)/float64(free))) / float64(n)
}

func complaintsTable() *table[Complaint] {
	return &table[Complaint]{
		name: "complaints", time: "time", order: "time", id: "id",
		columns: "SELECT id, partner, time, filed, order_id, kind, reporter, filed_by, channel", from: "complaints",
		filter: func(q *Query, w *where) {
			take(w, &q.Order, "order_id = ?", text(q.Order))
			take(w, &q.Kind, "kind = ?", text(q.Kind))
			take(w, &q.Reporter, "reporter = ?", text(q.Reporter))
		},
		scan: func(rows *sql.Rows) (c Complaint, err error) {
			err = rows.Scan(&c.ID, &c.Partner, &c.Time, &c.Filed, &c.Order, &c.Kind, &c.Reporter, &c.FiledBy, &c.Channel)
			return c, err
		},
		key: func(c *Complaint) (int64, string) { return int64(c.Time), text(c.ID) },
	}
}

// Complaints returns one page of complaints with their weights, the latest first, and the cursor of the next
// page, "" after the last.
func (b *Book) Complaints(ctx context.Context, t moat.Tenant, q Query) ([]Complaint, string, error) {
	list, next, err := complaintsTable().page(ctx, b, t, q, false)
	if err == nil {
		err = b.weigh(ctx, t, list)
	}
	if err != nil {
		return nil, "", err
	}
	return list, next, nil
}

// AllComplaints yields the complaints that q asks for with their weights, in the order of time; see [Book.AllFindings].
// An order that passed through several partners is there once for each that t sees.
func (b *Book) AllComplaints(ctx context.Context, t moat.Tenant, q Query) iter.Seq2[Complaint, error] {
	return func(yield func(Complaint, error) bool) {
		q := q
		q.Limit = MaxLimit
		for {
			list, next, err := complaintsTable().page(ctx, b, t, q, true)
			if err == nil {
				err = b.weigh(ctx, t, list)
			}
			if err != nil {
				yield(Complaint{}, err)
				return
			}
			for _, c := range list {
				if !yield(c, nil) {
					return
				}
			}
			if q.After = next; next == "" {
				return
			}
		}
	}
}

// weigh sets the weights of complaints. What t does not see does not count.
func (b *Book) weigh(ctx context.Context, t moat.Tenant, list []Complaint) error {
	var reporters, partners []any
	seen := map[[2]string]bool{}
	gather := func(into *[]any, column, value string) {
		if k := [2]string{column, value}; value != "" && !seen[k] {
			seen[k] = true
			*into = append(*into, text(value))
		}
	}
	for i := range list {
		if list[i].Kind == DumpKind {
			continue
		}
		gather(&reporters, "reporter", list[i].Reporter)
		gather(&partners, "filed_by", list[i].FiledBy)
	}
	ofReporter, err := b.countOrders(ctx, t, "reporter", reporters)
	if err != nil {
		return err
	}
	ofPartner, err := b.countOrders(ctx, t, "filed_by", partners)
	if err != nil {
		return err
	}
	for i := range list {
		c := &list[i]
		if c.Kind == DumpKind {
			c.Weight = 1 // the operator saw it
			continue
		}
		c.Weight = Weight(ofReporter[text(c.Reporter)], FreeReporter) * Weight(ofPartner[text(c.FiledBy)], FreePartner)
	}
	return nil
}

// lookupRows bounds the values of one question.
const lookupRows = 500

// countOrders counts the different orders of complaints by the values of a column.
func (b *Book) countOrders(ctx context.Context, t moat.Tenant, column string, values []any) (map[string]int, error) {
	counts := map[string]int{}
	err := b.lookup(ctx, t, "SELECT "+column+", COUNT(DISTINCT order_id) FROM complaints", column, " GROUP BY "+column, values, func(rows *sql.Rows) error {
		var value string
		var n int
		err := rows.Scan(&value, &n)
		counts[value] = n
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot weigh complaints: %w", b.explain(err))
	}
	return counts, nil
}

// lookup runs a query for the rows where a column has one of values, some at a time. The values are what leads to the rows: a database that
// knows little of the table would rather read all that a partner has.
func (b *Book) lookup(ctx context.Context, t moat.Tenant, query, column, tail string, values []any, each func(*sql.Rows) error) error {
	for len(values) > 0 {
		part := values[:min(len(values), lookupRows)]
		values = values[len(part):]
		w := lookupOf(t, column, part)
		if err := b.eachRow(ctx, query+w.text()+tail, w.args, each); err != nil {
			return err
		}
	}
	return nil
}

// lookupOf is the condition that a column, which is never empty, has one of values.
func lookupOf(t moat.Tenant, column string, values []any) (w where) {
	w.and(column+" IN "+marks(len(values)), values...)
	w.and(column + " <> ''") // of filed_by nothing else is in the index
	switch partner, one := t.Partner(); {
	case one && partner == "":
		w.and("1 = 0")
	case one:
		w.and("partner || '' = ?", text(partner)) // so it is no question for the index of partners
	}
	return w
}

func (b *Book) eachRow(ctx context.Context, query string, args []any, each func(*sql.Rows) error) error {
	rows, err := b.read.QueryContext(ctx, b.dialect.sql(query), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Complained tells which of the orders were complained about, as far as t sees.
func (b *Book) Complained(ctx context.Context, t moat.Tenant, orders []string) (map[string]bool, error) {
	return b.complaintsHave(ctx, t, "order_id", orders)
}

// ComplaintTimes returns when each of the orders was first complained about, or found in a dump, as far as t sees. Others are not in it.
func (b *Book) ComplaintTimes(ctx context.Context, t moat.Tenant, orders []string) (map[string]moat.Time, error) {
	first := map[string]moat.Time{}
	err := b.lookup(ctx, t, "SELECT order_id, MIN(time) FROM complaints", "order_id", " GROUP BY order_id", texts(orders), func(rows *sql.Rows) error {
		var order string
		var at int64
		err := rows.Scan(&order, &at)
		first[order] = moat.Time(at)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look complaints up: %w", b.explain(err))
	}
	return first, nil
}

// KnownComplaints tells which of the ids of complaints are in the book already, as far as t sees.
func (b *Book) KnownComplaints(ctx context.Context, t moat.Tenant, ids []string) (map[string]bool, error) {
	return b.complaintsHave(ctx, t, "id", ids)
}

func (b *Book) complaintsHave(ctx context.Context, t moat.Tenant, column string, values []string) (map[string]bool, error) {
	found := map[string]bool{}
	err := b.lookup(ctx, t, "SELECT DISTINCT "+column+" FROM complaints", column, "", texts(values), func(rows *sql.Rows) error {
		var v string
		err := rows.Scan(&v)
		found[v] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot look complaints up: %w", b.explain(err))
	}
	return found, nil
}

// AddComplaints writes complaints down that are in the log already, and returns how many were new. The fold of the log writes
// the same ones; who files them reads them at once.
func (b *Book) AddComplaints(ctx context.Context, list []Complaint) (added int64, err error) {
	err = b.change(ctx, func(t *tx) (err error) {
		added, err = t.putComplaints(list)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cannot write complaints: %w", err)
	}
	return added, nil
}

// putComplaints inserts what is new.
func (t *tx) putComplaints(list []Complaint) (added int64, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	args := make([]any, 0, 9*len(list))
	for i := range list {
		c := &list[i]
		args = append(args, text(c.ID), text(c.Partner), int64(c.Time), int64(c.Filed), text(c.Order), text(c.Kind), text(c.Reporter), text(c.FiledBy), text(c.Channel))
	}
	added, err = t.insert("complaints (id, partner, time, filed, order_id, kind, reporter, filed_by, channel)", "ON CONFLICT (id) DO NOTHING", 9, args)
	if err != nil {
		return 0, fmt.Errorf("complaints: %w", err)
	}
	return added, nil
}

// Reporters tells who complains: of how many different orders in all, and how many of them the busiest reporter named.
type Reporters struct {
	Orders   int    `json:"orders"`
	Top      string `json:"top,omitempty"`
	TopCount int    `json:"top_count"`
}

// warnReporter is from how many orders on one reporter's part is worth a warning.
const warnReporter = 10

// Warning says that one reporter made most of the complaints, which is what somebody does who wants to frame a
// competitor; or "".
func (r *Reporters) Warning() string {
	if r.TopCount < warnReporter || 2*r.TopCount <= r.Orders {
		return ""
	}
	return fmt.Sprintf("one reporter, %s, made the complaints about %d of %d orders: they count as %.1f, not as %d; make sure that nobody is being framed",
		r.Top, r.TopCount, r.Orders, float64(r.TopCount)*Weight(r.TopCount, FreeReporter), r.TopCount)
}

// Reporters sums up who made the complaints that q asks for. Orders of dumps do not count.
func (b *Book) Reporters(ctx context.Context, t moat.Tenant, q Query) (r Reporters, err error) {
	q.Limit, q.After = 0, ""
	tb := complaintsTable()
	w, err := tb.conditions(t, q)
	if err == nil {
		w.and("kind <> ?", DumpKind)
		err = b.eachRow(ctx, "SELECT COUNT(DISTINCT order_id) FROM complaints"+w.text(), w.args, func(rows *sql.Rows) error { return rows.Scan(&r.Orders) })
	}
	if err == nil {
		err = b.eachRow(ctx, "SELECT reporter, COUNT(DISTINCT order_id) FROM complaints"+w.text()+" GROUP BY reporter ORDER BY 2 DESC, 1 LIMIT 1", w.args,
			func(rows *sql.Rows) error { return rows.Scan(&r.Top, &r.TopCount) })
	}
	if err != nil {
		return Reporters{}, fmt.Errorf("cannot sum complaints up: %w", b.explain(err))
	}
	return r, nil
}

// DumpKind is the kind of a complaint that says that an order was found among leaked ones.
const DumpKind = "dump"
