package book

import (
	"context"
	"database/sql"
	"strings"
)

// tx is one change of the book: its statements and, at its end, its records
// in the audit trail.
type tx struct {
	ctx   context.Context
	book  *Book
	sql   *sql.Tx
	stmts map[string]*sql.Stmt // SQLite only; pgx keeps prepared statements by itself
	trail []Record
}

// change runs f in one transaction, and again if the database asks for it; f
// must therefore change nothing but through its tx.
func (b *Book) change(ctx context.Context, f func(*tx) error) error {
	if b.write == nil {
		return ErrReadOnly
	}
	var err error
	for range 5 {
		if err = b.changeOnce(ctx, f); err == nil || !transient(err) {
			break
		}
	}
	return b.explain(err)
}

func (b *Book) changeOnce(ctx context.Context, f func(*tx) error) error {
	inner, err := b.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer inner.Rollback()
	t := &tx{ctx: ctx, book: b, sql: inner, stmts: map[string]*sql.Stmt{}}
	if err := f(t); err != nil {
		return err
	}
	if err := t.writeTrail(); err != nil {
		return err
	}
	return inner.Commit()
}

// exec runs q and returns how many rows it changed.
func (t *tx) exec(q string, args ...any) (int64, error) {
	r, err := t.execResult(q, args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *tx) execResult(q string, args []any) (sql.Result, error) {
	if t.book.dialect == postgres {
		return t.sql.ExecContext(t.ctx, postgres.sql(q), args...)
	}
	s, err := t.stmt(q)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(t.ctx, args...)
}

// row runs a query for one row.
func (t *tx) row(q string, args []any, into ...any) error {
	if t.book.dialect == postgres {
		return t.sql.QueryRowContext(t.ctx, postgres.sql(q), args...).Scan(into...)
	}
	s, err := t.stmt(q)
	if err != nil {
		return err
	}
	return s.QueryRowContext(t.ctx, args...).Scan(into...)
}

// stmt prepares q once for the life of t.
func (t *tx) stmt(q string) (*sql.Stmt, error) {
	if s, ok := t.stmts[q]; ok {
		return s, nil
	}
	s, err := t.sql.PrepareContext(t.ctx, q)
	if err != nil {
		return nil, err
	}
	t.stmts[q] = s
	return s, nil
}

// insertRows is how many rows go in one statement: enough that a round trip
// to PostgreSQL and the preparation in SQLite no longer count.
const insertRows = 50

// insert adds the rows in args, width values each: "INSERT INTO <into> VALUES
// (…), … <tail>". It returns how many the database took.
func (t *tx) insert(into, tail string, width int, args []any) (inserted int64, err error) {
	row := marks(width)
	for len(args) > 0 {
		n := 1
		if len(args) >= insertRows*width {
			n = insertRows
		}
		q := t.book.dialect.insert() + into + " VALUES " + strings.Repeat(", "+row, n)[2:] + " " + tail
		took, err := t.exec(q, args[:n*width]...)
		if err != nil {
			return inserted, err
		}
		inserted += took
		args = args[n*width:]
	}
	return inserted, nil
}
