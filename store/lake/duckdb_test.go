//go:build duckdb

package lake

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
)

// DuckDB reads what the lake writes: dictionary and plain pages, nulls, lists, several pages, copied row groups, files without rows.
func TestDuckDB(t *testing.T) {
	l := openLake(t, Config{SegmentRows: 70_000})
	batches := realisticBatches(160)
	for i, b := range batches {
		must(t, intake.Append(uint64(i+1), b, nil, l.Writer(0)))
	}
	must(t, l.Writer(0).Flush())
	must(t, intake.Append(uint64(len(batches)+1), batchOf(), nil, l.Writer(0))) // a file without rows
	must(t, l.Writer(0).Flush())
	must(t, intake.Append(1000, batchOf(simple("late", testDay+moat.Day)), nil, l.Writer(0)))
	must(t, l.Writer(0).Flush())
	db, err := sql.Open("duckdb", "")
	must(t, err)
	defer db.Close()
	read := "read_parquet('" + filepath.Join(l.cfg.Dir, "events", "*", "*.parquet") + "', hive_partitioning = true)"
	check := func() {
		t.Helper()
		rows, err := db.Query(`SELECT id, coalesce(actor, '-'), type, partner, epoch_us(time), coalesce(array_to_string(orders, ','), '-'), coalesce(array_to_string(fields, ','), '-'),
			coalesce(user_agent, '-'), coalesce(status, -1), coalesce(rows, -1), coalesce(bytes, -1), coalesce(template, '-'), coalesce(detail->>'$.latency_ms', '-'), coalesce(session, '-')
			FROM ` + read + ` WHERE day = DATE '2026-11-21' ORDER BY seq, "row"`)
		must(t, err)
		defer rows.Close()
		n := 0
		for _, b := range batches {
			for _, e := range eventsOf(t, b) {
				if !rows.Next() {
					t.Fatalf("only %d rows: %v", n, rows.Err())
				}
				var id, actor, kind, partner, orders, fields, agent, template, latency, session string
				var at, status, count, bytes int64
				must(t, rows.Scan(&id, &actor, &kind, &partner, &at, &orders, &fields, &agent, &status, &count, &bytes, &template, &latency, &session))
				got := fmt.Sprint(id, actor, kind, partner, at, orders, fields, agent, status, count, bytes, template, latency, session)
				if want := expected(e); got != want {
					t.Fatalf("row %d is\n %s\nwant\n %s", n, got, want)
				}
				n++
			}
		}
		if rows.Next() {
			t.Fatalf("more than %d rows", n)
		}
	}
	check()
	must(t, l.Compact(context.Background()))
	if n := len(l.Files()); n != 2 {
		t.Fatalf("%d files after the merge", n)
	}
	check()
}

func expected(e *moat.Event) string {
	or := func(f moat.FieldID, s string) string {
		if !e.Has(f) {
			return "-"
		}
		return s
	}
	num := func(f moat.FieldID, n int64) int64 {
		if !e.Has(f) {
			return -1
		}
		return n
	}
	join := func(f moat.FieldID, l []string) string {
		s := ""
		for i, v := range l {
			if i > 0 {
				s += ","
			}
			s += v
		}
		return or(f, s)
	}
	return fmt.Sprint(e.ID, or(moat.FieldActor, e.Actor), e.Type.String(), e.Partner, int64(e.Time), join(moat.FieldOrders, e.Orders), join(moat.FieldFields, e.Fields),
		or(moat.FieldUserAgent, e.UserAgent), num(moat.FieldStatus, e.Status), num(moat.FieldRows, e.Rows), num(moat.FieldBytes, e.Bytes),
		or(moat.FieldTemplate, e.Template), or(moat.FieldLatencyMS, fmt.Sprint(e.LatencyMS)), or(moat.FieldSession, e.Session))
}
