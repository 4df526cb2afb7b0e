//go:build !linux

package book

import "os"

// startPostgres gives the tests the PostgreSQL in MOAT_TEST_POSTGRES, if any.
func startPostgres() (dsn string, stop func(), err error) {
	return os.Getenv("MOAT_TEST_POSTGRES"), func() {}, nil
}
