// Package query answers SQL over the lake's files, for people.
//
// Use it behind a command or a page where a person asks what no index was
// made for. It reads the view events, one row for each event, with DuckDB; that needs
// cgo and the build tag duckdb. Without the tag, [Open] says how to ask
// another engine.
//
// It will not write, nor read anything but the lake, nor show a partner
// another partner's events; and it is no way to answer anything that must be fast.
package query

import (
	"errors"
	"fmt"
)

// MaxSQL bounds the bytes of a statement.
const MaxSQL = 64 << 10

var (
	// ErrUnavailable says that this program was built without DuckDB.
	ErrUnavailable = errors.New("built without DuckDB")
	// ErrRefused says that a statement is not one that may be asked.
	ErrRefused = errors.New("statement refused")
)

func refuse(format string, args ...any) error {
	return fmt.Errorf("cannot query: %s: %w", fmt.Sprintf(format, args...), ErrRefused)
}
