//go:build duckdb

package query

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/lake"
)

// memoryLimit bounds what all queries together may hold.
const memoryLimit = "1GB"

// maxQueries bounds the queries that run at a time.
const maxQueries = 4

// DB is a lake that can be queried. It is safe for concurrent use, also while
// another process writes the lake.
type DB struct {
	dir string
	db  *sql.DB
}

// Open opens the lake at lakeDir, which need not exist yet, for queries.
func Open(lakeDir string) (*DB, error) {
	dir, err := filepath.Abs(lakeDir)
	if err == nil {
		var real string
		if real, err = filepath.EvalSymlinks(dir); err == nil {
			dir = real
		} else if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open lake for queries: %w", err)
	}
	c, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("cannot start DuckDB: %w", err)
	}
	d := &DB{dir: dir, db: sql.OpenDB(c)}
	d.db.SetMaxOpenConns(maxQueries)
	for _, s := range []string{
		"SET memory_limit = '" + memoryLimit + "'",
		// Half of the cores: a person's question must not slow the engine.
		fmt.Sprintf("SET threads = %d", max(1, runtime.GOMAXPROCS(0)/2)),
		"SET temp_directory = ''",
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET TimeZone = 'UTC'",
		"SET preserve_insertion_order = false",
		"SET allowed_directories = [" + quote(filepath.Join(dir, "events")+string(filepath.Separator)) + "]",
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	} {
		if _, err := d.db.Exec(s); err != nil {
			d.db.Close()
			return nil, fmt.Errorf("cannot set up DuckDB: %w", err)
		}
	}
	return d, nil
}

// Close ends all queries.
func (d *DB) Close() error { return d.db.Close() }

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Query runs one SELECT over the view events, whose columns are those of
// [lake.Columns] and day. The tenant's own events are all that there is. At most limit
// rows are returned; limit must be positive. The query ends with ctx. A statement
// that may not be asked gives an error that wraps [ErrRefused]. Close the rows.
func (d *DB) Query(ctx context.Context, tenant moat.Tenant, statement string, limit int) (*Rows, error) {
	switch {
	case limit <= 0:
		return nil, refuse("limit %d is not positive", limit)
	case len(statement) > MaxSQL:
		return nil, refuse("%d bytes, at most %d", len(statement), MaxSQL)
	case !utf8.ValidString(statement) || strings.ContainsRune(statement, 0):
		return nil, refuse("it is not text")
	}
	if partner, one := tenant.Partner(); one && partner == "" {
		return nil, refuse("no tenant")
	}
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot query: %w", err)
	}
	rows, err := d.run(ctx, conn, tenant, statement, limit)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return rows, nil
}

func (d *DB) run(ctx context.Context, conn *sql.Conn, tenant moat.Tenant, statement string, limit int) (*Rows, error) {
	var tree string
	if err := conn.QueryRowContext(ctx, "SELECT json_serialize_sql(?::VARCHAR)::VARCHAR", statement).Scan(&tree); err != nil {
		return nil, fmt.Errorf("cannot query: %w", err)
	}
	if err := judge([]byte(tree)); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		rows, files, err := d.start(ctx, conn, tenant, statement)
		if err == nil {
			return newRows(conn, rows, limit)
		}
		// A file that was merged or expired meanwhile is no longer there: ask again.
		if try == 3 || ctx.Err() != nil || !anyGone(files) {
			return nil, fmt.Errorf("cannot query: %w", err)
		}
	}
}

// start makes the tenant's view of the files that there are and runs the statement.
func (d *DB) start(ctx context.Context, conn *sql.Conn, tenant moat.Tenant, statement string) (*sql.Rows, []lake.File, error) {
	files, err := lake.List(d.dir)
	if err != nil {
		return nil, nil, err
	}
	if _, err := conn.ExecContext(ctx, "CREATE OR REPLACE TEMP VIEW events AS "+view(files, tenant)); err != nil {
		return nil, files, err
	}
	rows, err := conn.QueryContext(ctx, statement)
	return rows, files, err
}

func anyGone(files []lake.File) bool {
	for _, f := range files {
		if _, err := os.Stat(f.Path); errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return false
}

// view returns the SQL of the view events.
func view(files []lake.File, tenant moat.Tenant) string {
	var names, nulls strings.Builder
	for _, c := range lake.Columns() {
		fmt.Fprintf(&names, "\"%s\", ", c.Name)
		fmt.Fprintf(&nulls, "NULL::%s AS \"%s\", ", c.Type, c.Name)
	}
	if len(files) == 0 {
		return "SELECT " + nulls.String() + "NULL::DATE AS day WHERE false"
	}
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = quote(f.Path)
	}
	s := "SELECT " + names.String() + "CAST(day AS DATE) AS day FROM read_parquet([" + strings.Join(paths, ", ") + "], union_by_name = true, hive_partitioning = true)"
	if partner, one := tenant.Partner(); one {
		// The limit is a fence: no condition of the statement is moved below it, where it
		// would be tried on other partners' rows, and tell of them by its errors or its time.
		s += fmt.Sprintf(" WHERE partner = %s LIMIT %d", quote(partner), int64(math.MaxInt64))
	}
	return s
}

// Rows are the rows of an answer. They are not safe for concurrent use.
type Rows struct {
	conn    *sql.Conn
	rows    *sql.Rows
	columns []string
	left    int
	more    bool
	values  []any
	cells   []any // pointers to values
	err     error
}

func newRows(conn *sql.Conn, rows *sql.Rows, limit int) (*Rows, error) {
	columns, err := rows.Columns()
	if err != nil {
		rows.Close()
		return nil, fmt.Errorf("cannot query: %w", err)
	}
	r := &Rows{conn: conn, rows: rows, columns: columns, left: limit, values: make([]any, len(columns)), cells: make([]any, len(columns))}
	for i := range r.values {
		r.cells[i] = &r.values[i]
	}
	return r, nil
}

// Columns returns the names of the columns.
func (r *Rows) Columns() []string { return r.columns }

// Next moves to the next row, and tells whether there is one within the limit.
func (r *Rows) Next() bool {
	if r.err != nil || r.more || !r.rows.Next() {
		return false
	}
	if r.left == 0 {
		r.more = true
		return false
	}
	r.left--
	if r.err = r.rows.Scan(r.cells...); r.err != nil {
		return false
	}
	for i, v := range r.values {
		r.values[i] = printable(v)
	}
	return true
}

// Values returns the row: nil, bool, int64, float64, string, or lists and
// maps of these. Times are RFC 3339 text in UTC. It is valid until Next.
func (r *Rows) Values() []any { return r.values }

// More tells that the limit cut the answer.
func (r *Rows) More() bool { return r.more }

// Err returns why Next ended early, if it did.
func (r *Rows) Err() error {
	if err := errors.Join(r.err, r.rows.Err()); err != nil {
		return fmt.Errorf("cannot query: %w", err)
	}
	return nil
}

// Close ends the query.
func (r *Rows) Close() error { return errors.Join(r.rows.Close(), r.conn.Close()) }

// printable turns what the driver returns into what JSON can say.
func printable(v any) any {
	switch v := v.(type) {
	case nil, bool, string, int64:
		return v
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case float32:
		return printable(float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
		return v
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []byte:
		return fmt.Sprintf("%x", v)
	case *big.Int:
		if v.IsInt64() {
			return v.Int64()
		}
		return v.String()
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = printable(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, w := range v {
			out[k] = printable(w)
		}
		return out
	}
	return fmt.Sprint(v)
}
