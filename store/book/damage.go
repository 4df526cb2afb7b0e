package book

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// DamagedError says that the SQLite file cannot be trusted any more. Nothing
// was changed; what to do is a person's choice, and the text names it.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the book %s is damaged (%v). Stop every process that has it open; then either put a backup in its place,"+
		" or set it aside and begin an empty one: findings, cases and decisions come again from the river,"+
		" partners, keys and what people decided do not", e.Path, e.Err)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// explain turns what SQLite says about a bad file into a [*DamagedError].
func (b *Book) explain(err error) error {
	var known *DamagedError
	if err == nil || b.path == "" || errors.As(err, &known) {
		return err
	}
	switch liteCode(err) {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &DamagedError{Path: b.path, Err: err}
	}
	return err
}

// Check reads the whole book: every page and index of an SQLite file, and the
// audit trail of either database: seconds for 100 MiB. A bad
// file gives a [*DamagedError], a broken trail a [*BrokenError].
func (b *Book) Check(ctx context.Context) error {
	if err := b.checkPages(ctx); err != nil {
		return fmt.Errorf("cannot vouch for book: %w", b.explain(err))
	}
	return b.VerifyAudit(ctx)
}

func (b *Book) checkPages(ctx context.Context) error {
	if b.dialect != lite {
		return nil
	}
	var said string
	if err := b.read.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&said); err != nil {
		return err
	}
	if said != "ok" {
		return &DamagedError{Path: b.path, Err: errors.New(said)}
	}
	return nil
}

// SetAside renames a damaged SQLite book and what belongs to it, so that the
// next [Open] begins an empty one, and returns the new path. Nothing is
// deleted. A sound book is refused, with [ErrInvalid]. No process may have the
// book open.
func SetAside(ctx context.Context, path string, log *slog.Logger) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("cannot set book aside: %w", err)
	}
	var damaged *DamagedError
	if err := trial(ctx, path, log); err == nil {
		return "", fmt.Errorf("cannot set book aside: %w: %s is sound", ErrInvalid, path)
	} else if !errors.As(err, &damaged) {
		return "", fmt.Errorf("cannot set book aside: %w", err) // not damaged but missing, newer, locked, …
	}
	aside := path + ".damaged-" + time.Now().UTC().Format("20060102T150405.000Z")
	for _, suffix := range []string{"-shm", "-wal", ""} { // the file itself last: until then it can be done again
		if err := os.Rename(path+suffix, aside+suffix); err != nil && !(suffix != "" && errors.Is(err, os.ErrNotExist)) {
			return "", fmt.Errorf("cannot set book aside: %w", err)
		}
	}
	log.WarnContext(ctx, "book: set aside", "path", aside)
	return aside, nil
}

// trial opens the book for reading and checks its pages.
func trial(ctx context.Context, path string, log *slog.Logger) error {
	b, err := OpenReadOnly(ctx, path, log)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.explain(b.checkPages(ctx))
}

// Backup writes a consistent copy of an SQLite book to a new file at path
// while the book is in use. PostgreSQL has pg_dump for that.
func (b *Book) Backup(ctx context.Context, path string) error {
	if b.dialect != lite {
		return fmt.Errorf("cannot back up book: %w: it is in PostgreSQL, use pg_dump", ErrInvalid)
	}
	if err := b.backup(ctx, path); err != nil {
		return fmt.Errorf("cannot back up book: %w", b.explain(err))
	}
	return nil
}

func (b *Book) backup(ctx context.Context, path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // VACUUM INTO takes an empty file and keeps its mode
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(path) // half a backup is worse than none
		}
	}()
	db, err := openSQLite(b.path, "ro", 1, "busy_timeout(10000)") // the readers' query_only would refuse
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return err
	}
	return f.Sync()
}
