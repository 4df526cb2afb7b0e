//go:build !duckdb

package query

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/moat-platform/moat"
)

// DB is a lake that can be queried.
type DB struct{}

// Rows are the rows of an answer.
type Rows struct{}

// Open returns an error that wraps [ErrUnavailable] and says how to query the
// files otherwise.
func Open(lakeDir string) (*DB, error) {
	return nil, fmt.Errorf("cannot open %s for queries: %w: build with CGO_ENABLED=1 and -tags duckdb, "+
		"or ask any engine that reads Parquet, for example: SELECT type, count(*) FROM read_parquet('%s', hive_partitioning = true) GROUP BY type",
		lakeDir, ErrUnavailable, filepath.Join(lakeDir, "events", "day=*", "*.parquet"))
}

// Close does nothing.
func (*DB) Close() error { return nil }

// Query returns [ErrUnavailable].
func (*DB) Query(context.Context, moat.Tenant, string, int) (*Rows, error) {
	return nil, ErrUnavailable
}

// Columns returns nil.
func (*Rows) Columns() []string { return nil }

// Next returns false.
func (*Rows) Next() bool { return false }

// Values returns nil.
func (*Rows) Values() []any { return nil }

// More returns false.
func (*Rows) More() bool { return false }

// Err returns [ErrUnavailable].
func (*Rows) Err() error { return ErrUnavailable }

// Close does nothing.
func (*Rows) Close() error { return nil }
