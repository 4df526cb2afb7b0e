package book

import (
	"database/sql"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is all that differs between the two databases.
type dialect uint8

const (
	lite dialect = iota
	postgres
)

// sql writes the placeholders of q as the database wants them. Texts of
// queries are written with ?, and hold no ? that is not a placeholder.
func (d dialect) sql(q string) string {
	if d == lite || !strings.Contains(q, "?") {
		return q
	}
	b := make([]byte, 0, len(q)+32)
	n := 0
	for i := range len(q) {
		if q[i] != '?' {
			b = append(b, q[i])
			continue
		}
		n++
		b = strconv.AppendInt(append(b, '$'), int64(n), 10)
	}
	return string(b)
}

// insert is how a statement begins that adds rows in a transaction that any error ends. SQLite must be told that it does, or it copies every page
// that the statement touches, so that it can take back the statement alone.
func (d dialect) insert() string {
	if d == lite {
		return "INSERT OR ROLLBACK INTO "
	}
	return "INSERT INTO "
}

// openSQLite makes a pool on a file; nothing is opened before it is used.
func openSQLite(path, mode string, conns int, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}, "_pragma": pragmas}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

// transient tells whether the same transaction may succeed when tried again.
func transient(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01" // serialization failure, deadlock
	}
	return liteCode(err) == sqlite3.SQLITE_BUSY
}

// taken tells whether err says that a primary key exists already.
func taken(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	return liteCode(err) == sqlite3.SQLITE_CONSTRAINT
}

// liteCode is SQLite's primary result code of err, or 0.
func liteCode(err error) int {
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		return lite.Code() & 0xff
	}
	return 0
}

// text makes s fit for a column: PostgreSQL takes neither NUL nor broken UTF-8,
// and what it refuses must not stop the engine for ever.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// texts is [text] of each, as arguments.
func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = text(s)
	}
	return out
}

// marks is a list of n arguments, of which there is at least one.
func marks(n int) string { return "(" + strings.Repeat(", ?", n)[2:] + ")" }
