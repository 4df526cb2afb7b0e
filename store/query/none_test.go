//go:build !duckdb

package query

import (
	"errors"
	"strings"
	"testing"
)

func TestOpenSaysHow(t *testing.T) {
	db, err := Open("/var/lib/moat/lake")
	if db != nil || !errors.Is(err, ErrUnavailable) {
		t.Fatalf("Open gives %v, %v", db, err)
	}
	for _, want := range []string{"-tags duckdb", "/var/lib/moat/lake/events/day=*/*.parquet"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
