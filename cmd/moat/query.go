package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/query"
)

// queryCmd asks SQL.
type queryCmd struct {
	CSV     bool   `name:"csv" help:"Print CSV with a header."`
	Limit   int    `default:"1000" placeholder:"N" help:"At most N rows (${default})."`
	Partner string `placeholder:"ID" help:"Only this partner's events."`
	SQL     string `arg:"" name:"sql" help:"One SELECT over the view events."`
}

// Help shows how to use it.
func (queryCmd) Help() string {
	return examples(`moat query "SELECT type, count(*) AS n FROM events GROUP BY type ORDER BY n DESC"`,
		`moat query --csv "SELECT time, actor, count FROM events WHERE operation = 'export'" > exports.csv`)
}

// Run asks.
func (c *queryCmd) Run(a *app) error {
	db, err := query.Open(a.path("lake"))
	if err != nil {
		return err
	}
	defer db.Close()
	tenant := moat.Everyone()
	if c.Partner != "" {
		tenant = moat.Only(c.Partner)
	}
	rows, err := db.Query(a.ctx, tenant, c.SQL, c.Limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	switch {
	case a.JSON:
		err = c.json(a, rows)
	case c.CSV:
		err = c.csv(a, rows)
	default:
		c.table(a, rows)
	}
	if err == nil {
		err = rows.Err()
	}
	if err == nil && rows.More() {
		a.err.line(a.err.paint(yellow, "warning:"), fmt.Sprintf("the answer was cut after %s; --limit N gives more", many(c.Limit, "row")))
	}
	return err
}

// json prints each row as an object with its columns in their order.
func (c *queryCmd) json(a *app, rows *query.Rows) error {
	var names []string
	for _, n := range rows.Columns() {
		b, err := json.Marshal(n)
		if err != nil {
			return err
		}
		names = append(names, string(b))
	}
	for rows.Next() {
		var b strings.Builder
		for i, v := range rows.Values() {
			x, err := json.Marshal(v)
			if err != nil {
				return err
			}
			b.WriteString([]string{",", "{"}[oneIf(i == 0)] + names[i] + ":" + string(x))
		}
		if _, err := fmt.Fprintln(a.stdout, b.String()+"}"); err != nil {
			return err
		}
	}
	return nil
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *queryCmd) csv(a *app, rows *query.Rows) error {
	w := csv.NewWriter(a.stdout)
	w.Write(rows.Columns())
	for rows.Next() {
		w.Write(texts(rows.Values()))
	}
	w.Flush()
	return w.Error()
}

func (c *queryCmd) table(a *app, rows *query.Rows) {
	t := newTable("", rows.Columns()...)
	for rows.Next() {
		r := make([]any, len(t.header))
		for i, s := range texts(rows.Values()) {
			r[i] = s
		}
		t.row(r...)
	}
	t.print(a.out)
	if len(t.rows) == 0 {
		a.out.line(a.out.paint(dim, "no rows"))
	}
}

// texts writes values for people: lists with commas, nothing for null.
func texts(values []any) []string {
	out := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
		case []any:
			out[i] = strings.Join(texts(v), ",")
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}
