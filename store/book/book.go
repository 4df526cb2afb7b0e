// Package book keeps what people and the engine write down and must find
// again: partners, API keys, findings, cases, decisions, positions in the
// river, complaints and the audit trail, in one SQLite file or in PostgreSQL.
//
// Use it wherever Moat must remember something beyond a restart that is
// small enough to be asked for by name; [Book.Commit] is for the engine, the
// reading methods take a [moat.Tenant], and what people do is one method each,
// written to the audit trail in the same transaction.
//
// It will not keep events (they are in the lake), decide anything (what is
// active, who must approve: package decision) or store a secret: the secret of
// a key is derived from a master key that is kept in a file of its own.
package book

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/moat-platform/moat"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Book is an open book. Its methods may be called at the same time.
type Book struct {
	path    string // of the SQLite file, "" for PostgreSQL
	dialect dialect
	read    *sql.DB
	write   *sql.DB // nil when opened by OpenReadOnly
	log     *slog.Logger
	now     func() moat.Time
}

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("not found")                       // there is none, or the tenant may not see it
	ErrExists   = errors.New("exists already")                  // the name is taken
	ErrInvalid  = errors.New("invalid")                         // the caller's input is wrong
	ErrReadOnly = errors.New("the book is open for reading")    // see [OpenReadOnly]
	ErrOperator = errors.New("only the operator may do this")   // the tenant is a partner
	ErrNoBook   = errors.New("there is no book at this path")   // see [OpenReadOnly]
	ErrOlder    = errors.New("the book has an older schema")    // see [OpenReadOnly]
	ErrNewer    = errors.New("the book has a newer schema")     // written by a newer Moat
	ErrMaster   = errors.New("the key has another master key")  // master.key was replaced
	ErrKey      = errors.New("the key is wrong or was revoked") // says no more on purpose
)

// Open opens the book at dsn, the path of an SQLite file (made with mode 0600
// when there is none) or a postgres:// URL, and brings its schema up to date.
// A book with a newer schema is refused with [ErrNewer], a damaged file with a
// [*DamagedError]. One process at a time should open an SQLite book with Open;
// any number may use [OpenReadOnly] meanwhile.
func Open(ctx context.Context, dsn string, log *slog.Logger) (*Book, error) {
	b, err := open(ctx, dsn, log, true)
	if err != nil {
		return nil, fmt.Errorf("cannot open book: %w", err)
	}
	return b, nil
}

// OpenReadOnly opens an existing book beside the process that writes it. It
// never changes the schema: an older one gives [ErrOlder].
func OpenReadOnly(ctx context.Context, dsn string, log *slog.Logger) (*Book, error) {
	b, err := open(ctx, dsn, log, false)
	if err != nil {
		return nil, fmt.Errorf("cannot open book for reading: %w", err)
	}
	return b, nil
}

func open(ctx context.Context, dsn string, log *slog.Logger, writable bool) (*Book, error) {
	b := &Book{log: log, now: func() moat.Time { return moat.TimeOf(time.Now()) }}
	if err := b.connect(ctx, dsn, writable); err != nil {
		return nil, errors.Join(b.explain(err), b.Close())
	}
	return b, nil
}

func (b *Book) connect(ctx context.Context, dsn string, writable bool) error {
	connect := b.connectSQLite
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		connect = b.connectPostgres
	}
	if err := connect(dsn, writable); err != nil {
		return err
	}
	if !writable {
		return b.checkSchema(ctx)
	}
	return b.migrate(ctx)
}

func (b *Book) connectPostgres(dsn string, writable bool) error {
	b.dialect = postgres
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		return errors.New("the postgres:// URL cannot be read") // its text may hold a password
	}
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(8)
	db.SetConnMaxIdleTime(5 * time.Minute)
	b.read = db
	if writable {
		b.write = db
	}
	return nil
}

// connectSQLite opens one connection for writing and four for reading: in WAL
// mode readers never wait for the writer, and writers queue in the pool, which
// is fair, instead of polling for the file's lock, which is not.
//
// synchronous is FULL: a commit is synced before it is answered. NORMAL would
// keep the file consistent through a power cut but could take back what a
// person was told is done (a closed case, a revoked key), and that cannot be
// derived again from the river. The price is one sync for a commit, not for a
// finding.
func (b *Book) connectSQLite(path string, writable bool) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	b.path = path
	if writable {
		// SQLite itself would make the file readable for everyone; its -wal and -shm inherit the mode.
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		if b.write, err = openSQLite(path, "rw", 1, "journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(10000)",
			"wal_autocheckpoint(4000)", "journal_size_limit(67108864)", "cache_size(-65536)", "temp_store(MEMORY)"); err != nil {
			return err
		}
		// The first connection makes the file a WAL database; readers come after it.
		if err := b.write.Ping(); err != nil {
			return err
		}
	} else if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNoBook, path)
	}
	b.read, err = openSQLite(path, "ro", 4, "query_only(1)", "busy_timeout(10000)", "cache_size(-16384)")
	return err
}

// Close closes the book; nothing else may be running on it.
func (b *Book) Close() error {
	var errs []error
	if b.read != nil {
		errs = append(errs, b.read.Close())
	}
	if b.write != nil && b.write != b.read {
		errs = append(errs, b.write.Close()) // last: the last writer folds the WAL into the file
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot close book: %w", err)
	}
	return nil
}
