package book

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the texts of the numbered files, the first at 0.
func migrations() ([]string, error) {
	entries, err := fs.ReadDir(migrationFiles, "migrations") // sorted by name
	if err != nil {
		return nil, err
	}
	texts := make([]string, 0, len(entries))
	for i, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		if n, err := strconv.Atoi(number); err != nil || n != i+1 {
			return nil, fmt.Errorf("migration %s is out of order", e.Name())
		}
		b, err := migrationFiles.ReadFile("migrations/" + e.Name())
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(b))
	}
	return texts, nil
}

// migrate brings the schema up to date, each step in a transaction of its own.
func (b *Book) migrate(ctx context.Context) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	for {
		done, err := b.migrateOne(ctx, steps)
		if done || err != nil {
			return err
		}
	}
}

// migrateOne takes the next step, if there is one to take. The version is read
// inside the transaction, so that two processes that start together agree.
func (b *Book) migrateOne(ctx context.Context, steps []string) (done bool, err error) {
	tx, err := b.write.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback()
	if b.dialect == postgres {
		// SQLite's writer has the file to itself from BEGIN IMMEDIATE on; here any number that we keep to does it.
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(5128047913)"); err != nil {
			return false, err
		}
	}
	if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"); err != nil {
		return false, err
	}
	version, err := schemaVersion(ctx, tx)
	if err != nil {
		return false, err
	}
	if version > len(steps) {
		return false, newer(version, len(steps))
	}
	if version == len(steps) {
		return true, nil
	}
	if _, err := tx.ExecContext(ctx, steps[version]); err != nil {
		return false, fmt.Errorf("migration %d: %w", version+1, err)
	}
	if _, err := tx.ExecContext(ctx, b.dialect.sql("INSERT INTO schema_version (version) VALUES (?)"), version+1); err != nil {
		return false, err
	}
	if err := tx.Commit(); err != nil {
		return false, err
	}
	b.log.InfoContext(ctx, "book: schema changed", "version", version+1)
	return false, nil
}

// checkSchema tells whether the schema is the one that this program knows.
func (b *Book) checkSchema(ctx context.Context) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, b.read)
	switch {
	case err != nil:
		return err
	case version > len(steps):
		return newer(version, len(steps))
	case version < len(steps):
		return fmt.Errorf("%w (version %d, this program knows %d): start the server of this version once, it brings the book up to date",
			ErrOlder, version, len(steps))
	}
	return nil
}

func newer(have, know int) error {
	return fmt.Errorf("%w (version %d, this program knows %d): use the Moat that wrote it or a later one", ErrNewer, have, know)
}

// schemaVersion reads how many steps were taken.
func schemaVersion(ctx context.Context, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (version int, err error) {
	err = db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM schema_version").Scan(&version)
	return version, err
}
