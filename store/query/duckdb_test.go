//go:build duckdb

package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/lake"
)

const day = moat.Time(1795219200) * moat.Second // 2026-11-21

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill writes 3 files of events of acme and best, and returns the lake's directory.
func fill(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's a lake")
	l, err := lake.Open(lake.Config{Dir: dir})
	must(t, err)
	w := l.Writer(0)
	for seq := range 3 {
		var b moat.BatchWriter
		for row := range 100 {
			e := &moat.Event{ID: fmt.Sprintf("%d-%d", seq, row), Partner: "acme", Received: day + moat.Time(seq)*moat.Day, Time: day + moat.Time(row)*moat.Minute,
				Type: moat.OrderAccess, Actor: fmt.Sprintf("%d", row), Operation: "view", Orders: []string{fmt.Sprintf("o%d", row), "o"}, Count: int64(row)}
			if row%2 == 1 {
				e.Partner, e.Type, e.Actor, e.Orders, e.MFA = "best", moat.AuthLogin, "secret-person", nil, true
			}
			if row%10 == 0 {
				e.Actor = "" // null
			}
			e.MarkAll()
			b.Append(e)
		}
		must(t, intake.Append(uint64(seq+1), b.Bytes(), nil, w))
		must(t, w.Flush())
	}
	must(t, l.Close())
	return dir
}

func open(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(dir)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

// ask returns the answer as JSON lines, or the error.
func ask(db *DB, tenant moat.Tenant, statement string) (string, error) {
	rows, err := db.Query(context.Background(), tenant, statement, 1000)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		b, err := json.Marshal(rows.Values())
		if err != nil {
			return "", err
		}
		out = append(out, string(b))
	}
	return strings.Join(out, " "), rows.Err()
}

func TestQuery(t *testing.T) {
	db := open(t, fill(t))
	for _, c := range []struct {
		tenant    moat.Tenant
		statement string
		want      string
	}{
		{moat.Everyone(), "SELECT count(*) FROM events", `[300]`},
		{moat.Only("acme"), "SELECT count(*), count(DISTINCT partner), count(actor) FROM events", `[150,1,120]`},
		{moat.Only("best"), "SELECT DISTINCT partner, type, actor FROM events", `["best","auth.login","secret-person"]`},
		{moat.Only("o'hara"), "SELECT count(*) FROM events", `[0]`},
		{moat.Only("zzz"), "SELECT * FROM events", ``},
		{moat.Everyone(), "SELECT day::VARCHAR, count(*) FROM events GROUP BY day ORDER BY day", `["2026-11-21",100] ["2026-11-22",100] ["2026-11-23",100]`},
		{moat.Everyone(), "SELECT id, seq, row, time, received, orders, mfa FROM (SELECT *, detail->>'$.mfa' AS mfa FROM events) WHERE id IN ('0-2', '1-3') ORDER BY id",
			`["0-2",1,2,"2026-11-21T00:02:00Z","2026-11-21T00:00:00Z",["o2","o"],null] ["1-3",2,3,"2026-11-21T00:03:00Z","2026-11-22T00:00:00Z",null,"true"]`},
		{moat.Everyone(), "SELECT rows, \"row\", encrypted, status, outcome, actor_kind FROM events LIMIT 1 OFFSET 299", `[null,99,null,null,"success","user"]`},
		{moat.Everyone(), "SELECT o, count(*) FROM events, unnest(orders) AS u(o) GROUP BY o ORDER BY 2 DESC, 1 LIMIT 2", `["o",150] ["o0",3]`},
		{moat.Everyone(), "WITH a AS (SELECT actor, count(*) AS n FROM events GROUP BY actor) SELECT max(n) FROM a", `[150]`},
		{moat.Everyone(), "SELECT count(*) FROM events WHERE time >= TIMESTAMPTZ '2026-11-21 00:10:00Z' AND time < TIMESTAMPTZ '2026-11-21 00:20:00Z'", `[30]`},
		{moat.Everyone(), "FROM events SELECT count(*); -- with a comment", `[300]`},
		{moat.Everyone(), "SELECT 1 UNION ALL SELECT count(*) FROM events ORDER BY 1", `[1] [300]`},
		{moat.Everyone(), "VALUES (1.5::DECIMAL(5,2), 'x', {'a': 1}, NULL, 1e300, 'nan'::DOUBLE)", `["1.5","x",{"a":1},null,1e+300,"NaN"]`},
		{moat.Everyone(), "SELECT column_name FROM (DESCRIBE events) LIMIT 2", `["seq"] ["row"]`},
		{moat.Everyone(), "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n", `[15]`},
	} {
		got, err := ask(db, c.tenant, c.statement)
		if err != nil || got != c.want {
			t.Errorf("%s\n gives %s, %v\n want  %s", c.statement, got, err, c.want)
		}
	}
}

// A partner asks for what is not its own, or anyone for what is not the lake's events.
func TestEscapes(t *testing.T) {
	dir := fill(t)
	secret := filepath.Join(t.TempDir(), "secret.csv")
	must(t, os.WriteFile(secret, []byte("a\ntop-secret\n"), 0o600))
	events := filepath.Join(dir, "events", "*", "*.parquet")
	all := strings.ReplaceAll(events, "'", "''")
	db := open(t, dir)
	for _, s := range []string{
		"", ";", "nonsense", "SELECT 1; SELECT 2", "SELECT 1 \x00; DROP VIEW events", "SELECT \xff",
		"SELECT * FROM read_parquet('" + all + "')", "SELECT * FROM parquet_scan('" + all + "')", "FROM '" + all + "'", "SELECT * FROM \"" + events + "\"",
		"SELECT * FROM glob('/*')", "SELECT * FROM read_csv('" + secret + "')", "SELECT * FROM '" + secret + "'", "SELECT * FROM read_text('" + secret + "')",
		"SELECT * FROM read_blob('" + secret + "')", "SELECT * FROM read_json('" + secret + "')", "SELECT * FROM parquet_metadata('" + all + "')",
		"SELECT * FROM parquet_file_metadata('" + all + "')", "SELECT * FROM sniff_csv('" + secret + "')",
		"SELECT (SELECT count(*) FROM read_parquet('" + all + "'))", "SELECT 1 WHERE EXISTS (FROM read_parquet('" + all + "'))",
		"SELECT * FROM events, LATERAL (SELECT * FROM read_parquet('" + all + "'))", "SELECT * FROM events ORDER BY (SELECT max(id) FROM parquet_scan('" + all + "'))",
		"WITH x AS (FROM read_parquet('" + all + "')) SELECT * FROM x", "WITH RECURSIVE x AS (SELECT 1 UNION ALL (SELECT 2 FROM parquet_scan('" + all + "'))) SELECT * FROM x",
		"WITH x AS MATERIALIZED (FROM '" + all + "') SELECT * FROM x",
		"SELECT * FROM \"" + secret + "\" WHERE 1 IN (WITH \"" + secret + "\" AS (SELECT 1) SELECT 1)", // a name out of its scope
		"SELECT * FROM duckdb_views WHERE 1 IN (WITH duckdb_views AS (SELECT 1) SELECT 1)",
		"SELECT * FROM main.events_all", "SELECT * FROM events_all", "SELECT * FROM temp.main.events", "SELECT * FROM main.events", "SELECT * FROM memory.main.events",
		"SELECT * FROM duckdb_views()", "SELECT * FROM duckdb_settings()", "SELECT * FROM information_schema.tables", "SELECT * FROM sqlite_master", "SELECT * FROM pg_catalog.pg_views",
		"SELECT pg_get_viewdef(1)", "SELECT current_setting('memory_limit')", "SELECT getvariable('x')", "SELECT write_log('x')", "SELECT pg_sleep(10)", "SELECT system.main.write_log('x')",
		"SELECT * FROM query('FROM read_parquet(''" + all + "'')')", "SELECT * FROM query_table('events_all')",
		"SELECT * FROM json_execute_serialized_sql('{}')", "SELECT * FROM (SHOW TABLES)", "SHOW TABLES", "SHOW ALL TABLES", "DESCRIBE '" + secret + "'", "SUMMARIZE '" + secret + "'",
		"PIVOT '" + secret + "' ON a", "SELECT * FROM (PIVOT (FROM '" + secret + "') ON a USING count(*))", "SELECT * FROM (PIVOT '" + secret + "' ON a IN ('x') USING count(*))",
		"CREATE TABLE x AS SELECT 1", "CREATE OR REPLACE TEMP VIEW events AS SELECT 1", "DROP VIEW events", "INSERT INTO events VALUES (1)", "UPDATE events SET id = ''", "DELETE FROM events",
		"COPY (SELECT 1) TO '" + secret + "'", "COPY events FROM '" + secret + "'", "EXPORT DATABASE '/x'", "IMPORT DATABASE '/x'",
		"ATTACH '" + secret + "' AS x", "DETACH memory", "USE memory", "PRAGMA database_list", "PRAGMA threads = 1", "SET threads = 1", "RESET threads", "SET enable_external_access = true",
		"LOAD httpfs", "INSTALL httpfs", "CALL pragma_version()", "CHECKPOINT", "VACUUM", "EXPLAIN ANALYZE SELECT 1", "PREPARE x AS SELECT 1", "EXECUTE x", "BEGIN", "SET VARIABLE x = 1",
		"CREATE MACRO f() AS 1", "CREATE SECRET x (TYPE s3)", "SELECT * FROM enable_logging()", "SELECT * FROM checkpoint()",
		"SELECT * FROM 'https://example.com/x.parquet'", "SELECT * FROM summary((SELECT 1))", "SELECT * FROM seq_scan('x')", strings.Repeat(" ", MaxSQL) + "SELECT 1",
	} {
		for name, tenant := range map[string]moat.Tenant{"acme": moat.Only("acme"), "operator": moat.Everyone()} {
			got, err := ask(db, tenant, s)
			if !errors.Is(err, ErrRefused) {
				t.Errorf("%s asks %.150s\n and gets %.300s, %v; want it refused", name, s, got, err)
			}
		}
	}
	for _, tenant := range []moat.Tenant{{}, moat.Only("")} {
		if got, err := ask(db, tenant, "SELECT * FROM events"); !errors.Is(err, ErrRefused) {
			t.Errorf("nobody gets %s, %v", got, err)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "a\ntop-secret\n" {
		t.Errorf("the file beside the lake is now %q, %v", b, err)
	}
}

// The engine itself, without the guard in front of it, reads and writes nothing outside the lake either.
func TestEngineIsLocked(t *testing.T) {
	dir := fill(t)
	secret := filepath.Join(t.TempDir(), "secret.csv")
	must(t, os.WriteFile(secret, []byte("a\ntop-secret\n"), 0o600))
	db := open(t, dir)
	for _, s := range []string{
		"SELECT * FROM '" + secret + "'", "SELECT * FROM read_text('" + secret + "')", "COPY (SELECT 1) TO '" + secret + "'", "ATTACH '" + secret + ".db' AS x",
		"INSTALL httpfs", "LOAD httpfs", "SET enable_external_access = true", "SET allowed_directories = ['/']", "SET memory_limit = '100GB'", "SELECT * FROM glob('/*')",
	} {
		rows, err := db.db.Query(s)
		if err != nil {
			continue
		}
		if rows.Next() {
			t.Errorf("%s is answered", s)
		}
		rows.Close()
	}
}

// Errors and conditions of a partner's statement never touch rows of another.
func TestFence(t *testing.T) {
	db := open(t, fill(t))
	for _, s := range []string{
		"SELECT count(*) FROM events WHERE CAST(coalesce(actor, '0') AS INTEGER) >= 0", // fails on best's actors
		"SELECT count(*) FROM events WHERE CASE WHEN partner = 'best' THEN error('leak ' || actor) ELSE true END",
		"SELECT count(*) FROM events WHERE partner = 'acme' OR error('leak')",
		"SELECT count(*) FROM (SELECT CAST(coalesce(actor, '0') AS INTEGER) AS n FROM events) WHERE n >= 0",
		"SELECT count(*) FROM events a JOIN (SELECT 1 AS x) b ON (CASE WHEN a.partner <> 'acme' THEN error('leak') ELSE true END)",
	} {
		got, err := ask(db, moat.Only("acme"), s)
		if err != nil || got != "[150]" {
			t.Errorf("%s\n gives %s, %v", s, got, err)
		}
	}
}

func TestEmptyLake(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "none"))
	got, err := ask(db, moat.Everyone(), "SELECT count(*), max(time), max(day), max(orders) FROM events")
	if err != nil || got != "[0,null,null,null]" {
		t.Errorf("an empty lake answers %s, %v", got, err)
	}
	full := open(t, fill(t))
	columns := func(db *DB) (out []string) {
		rows, err := db.Query(context.Background(), moat.Everyone(), "SELECT column_name || ' ' || column_type FROM (DESCRIBE events)", 1000)
		must(t, err)
		defer rows.Close()
		for rows.Next() {
			out = append(out, fmt.Sprint(rows.Values()[0]))
		}
		return out
	}
	a, b := columns(db), columns(full)
	if fmt.Sprint(a) != fmt.Sprint(b) || len(a) != len(lake.Columns())+1 {
		t.Errorf("columns of an empty lake\n %v\n of a full one\n %v", a, b)
	}
}

func TestLimitAndTime(t *testing.T) {
	db := open(t, fill(t))
	rows, err := db.Query(context.Background(), moat.Everyone(), "SELECT id FROM events", 10)
	must(t, err)
	n := 0
	for rows.Next() {
		n++
	}
	if n != 10 || !rows.More() || rows.Err() != nil || len(rows.Columns()) != 1 {
		t.Errorf("%d rows, more %v, %v", n, rows.More(), rows.Err())
	}
	must(t, rows.Close())
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	rows, err = db.Query(ctx, moat.Everyone(), "SELECT count(*) FROM range(100000000) a, range(100000000) b", 10)
	if err == nil {
		for rows.Next() {
		}
		err = rows.Err()
		rows.Close()
	}
	if err == nil {
		t.Error("an endless query ended by itself")
	}
	if got, err := ask(db, moat.Everyone(), "SELECT length(list(repeat('x', 4000000 + (i % 2)::INTEGER))) FROM range(100000) t(i)"); err == nil {
		t.Errorf("memory is not bounded: %s", got)
	}
	if got, err := ask(db, moat.Everyone(), "SELECT 1"); err != nil || got != "[1]" {
		t.Errorf("afterwards: %s, %v", got, err)
	}
	if _, err := db.Query(context.Background(), moat.Everyone(), "SELECT 1", 0); !errors.Is(err, ErrRefused) {
		t.Errorf("limit 0: %v", err)
	}
}

// A query sees each event once while the lake is merged.
func TestMergedLake(t *testing.T) {
	dir := fill(t)
	l, err := lake.Open(lake.Config{Dir: dir})
	must(t, err)
	defer l.Close()
	w := l.Writer(0)
	for seq := uint64(10); seq < 20; seq++ {
		var b moat.BatchWriter
		e := &moat.Event{ID: fmt.Sprint(seq), Partner: "acme", Received: day + 2*moat.Day, Time: day, Type: moat.Heartbeat}
		e.MarkAll()
		b.Append(e)
		must(t, intake.Append(seq, b.Bytes(), nil, w))
		must(t, w.Flush())
	}
	var b moat.BatchWriter
	b.Append(&moat.Event{Partner: "acme", Received: day + 5*moat.Day})
	must(t, intake.Append(20, b.Bytes(), nil, w))
	must(t, w.Flush())
	db := open(t, dir)
	count := func() {
		t.Helper()
		if got, err := ask(db, moat.Everyone(), "SELECT count(*) FROM events"); err != nil || got != "[311]" {
			t.Errorf("%s, %v", got, err)
		}
	}
	count()
	// The moment between a merged file's birth and its inputs' death.
	inputs := t.TempDir()
	must(t, os.CopyFS(inputs, os.DirFS(filepath.Join(dir, "events"))))
	must(t, l.Compact(context.Background()))
	count()
	for _, f := range []string{"*/p000-*10-*10.parquet", "*/p000-*11-*11.parquet"} {
		paths, err := filepath.Glob(filepath.Join(inputs, f))
		must(t, err)
		for _, p := range paths {
			content, err := os.ReadFile(p)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "events", filepath.Base(filepath.Dir(p)), filepath.Base(p)), content, 0o640))
		}
	}
	count()
}
