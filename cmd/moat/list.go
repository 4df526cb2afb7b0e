package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// tableRows is how many rows a table has when nobody says.
const tableRows = 50

// span is the flags that bound time.
type span struct {
	Since when `aliases:"from" placeholder:"TIME" help:"Only from this time on: 2026-03-02, 2026-03-02T09:00:00Z, or 24h or 7d before now."`
	Until when `aliases:"to" placeholder:"TIME" help:"Only before this time."`
}

// ofTime is " of that time" if time is bounded.
func (s *span) ofTime() string {
	if s.Since == 0 && s.Until == 0 {
		return ""
	}
	return " of that time"
}

// when is a time on the command line.
type when moat.Time

// UnmarshalText reads a time, a day, or how long ago it is.
func (w *when) UnmarshalText(b []byte) error {
	s := string(b)
	if d, err := time.Parse(time.DateOnly, s); err == nil {
		*w = when(moat.TimeOf(d))
		return nil
	}
	var ago age
	if ago.UnmarshalText(b) == nil {
		*w = when(moat.TimeOf(time.Now().Add(-time.Duration(ago))))
		return nil
	}
	t, err := moat.ParseTime(s)
	if err != nil {
		return fmt.Errorf("%.40q is no time: want 2026-03-02, 2026-03-02T09:00:00Z, or 24h or 7d before now", s)
	}
	*w = when(t)
	return nil
}

// age is a length of time on the command line.
type age time.Duration

// UnmarshalText reads days or a Go duration, none of them below 0.
func (a *age) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	if days, isDays := strings.CutSuffix(string(b), "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 {
		return fmt.Errorf("%.40q is no length of time: want 180d or 36h", b)
	}
	*a = age(d)
	return nil
}

// entityFlag is an entity on the command line.
type entityFlag moat.Entity

// UnmarshalText reads kind:id.
func (f *entityFlag) UnmarshalText(b []byte) error {
	kind, id, ok := strings.Cut(string(b), ":")
	k, err := moat.ParseEntityKind(kind)
	if !ok || err != nil || id == "" {
		return fmt.Errorf("%.80q is no entity: want kind:id, such as account:alice or ip:203.0.113.7", b)
	}
	*f = entityFlag{Kind: k, ID: id}
	return nil
}

// rankFlag is a rank on the command line; "" is any.
type rankFlag moat.Rank

// UnmarshalText reads P1 … P4.
func (f *rankFlag) UnmarshalText(b []byte) error {
	return (*moat.Rank)(f).UnmarshalText([]byte(strings.ToUpper(string(b))))
}

// filter is the flags that all lists share.
type filter struct {
	span
	Partner string     `placeholder:"ID" help:"Only this partner's."`
	Entity  entityFlag `placeholder:"KIND:ID" help:"Only about this entity, such as account:alice."`
	Limit   int        `placeholder:"N" help:"At most N, the newest (a table shows 50; JSON shows all)."`
}

func (f *filter) query() book.Query {
	return book.Query{Partner: f.Partner, Entity: moat.Entity(f.Entity), Since: moat.Time(f.Since), Until: moat.Time(f.Until)}
}

// Validate is called when the flags are known.
func (f *filter) Validate() error {
	if f.Limit < 0 {
		return errors.New("--limit wants a positive number")
	}
	return nil
}

// none says that a list of what has no rows, and how there come to be some: by other flags if q is bounded by any.
func (a *app) none(what string, q book.Query, begin string) error {
	if q == (book.Query{}) {
		a.out.linef("No %s. %s", what, begin)
		return nil
	}
	if q.Detector != "" {
		plan, err := node.LoadPlan(a.Data, 0)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(plan.Detectors, func(d *rule.Compiled) bool { return d.ID == q.Detector }) {
			a.err.line(a.err.paint(yellow, "warning:"), fmt.Sprintf("there is no detector %q: `moat detectors` lists them", q.Detector))
		}
	}
	a.out.linef("No %s that the flags let through.", what)
	return nil
}

// pages is one of the book's methods that return a page, the newest first.
type pages[T any] func(book.Query) ([]T, string, error)

// newest returns the newest limit rows, the oldest of them first, and whether there are more.
func newest[T any](next pages[T], q book.Query, limit int) (rows []T, more bool, err error) {
	for {
		q.Limit = min(limit-len(rows), book.MaxLimit)
		page, cursor, err := next(q)
		if err != nil {
			return nil, false, err
		}
		rows = append(rows, page...)
		if cursor == "" || len(rows) >= limit {
			slices.Reverse(rows)
			return rows, cursor != "", nil
		}
		q.After = cursor
	}
}

// objects prints rows as JSON: all of them, or the newest limit.
func objects[T any](a *app, all iter.Seq2[T, error], next pages[T], q book.Query, limit int, keep func(*T) bool) error {
	if limit > 0 {
		rows, _, err := newest(next, q, limit)
		if err != nil {
			return err
		}
		all = func(yield func(T, error) bool) {
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
	for r, err := range all {
		if err != nil {
			return err
		}
		if keep != nil && !keep(&r) {
			continue
		}
		if err := a.object(r); err != nil {
			return err
		}
	}
	return nil
}

// more says that a table was cut.
func (a *app) more(cut bool, shown int) {
	if cut {
		a.out.line(a.out.paint(dim, fmt.Sprintf("… the %s; --limit N shows more, --json all", many(shown, "newest row"))))
	}
}

// short is the flag of lists that are read whole.
type short struct {
	Limit int `placeholder:"N" help:"At most N, the newest (a table shows 50; JSON shows all)."`
}

// Validate is called when the flags are known.
func (f *short) Validate() error {
	if f.Limit < 0 {
		return errors.New("--limit wants a positive number")
	}
	return nil
}

// listed prints a list that has no other way than pages, the oldest row first: as JSON all of it, or the newest limit; as a table
// the newest. If there is nothing, none says so. A partner that is asked for is known, or said not to be.
func listed[T any](a *app, partner string, limit int, none string, next func(*book.Book) pages[T], table func([]T)) error {
	b, err := a.readOf(partner)
	if err != nil {
		return err
	}
	defer b.Close()
	if a.JSON {
		rows, _, err := newest(next(b), book.Query{}, cmp.Or(limit, math.MaxInt))
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := a.object(r); err != nil {
				return err
			}
		}
		return nil
	}
	rows, cut, err := newest(next(b), book.Query{}, cmp.Or(limit, tableRows))
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		a.out.line(none)
		return nil
	}
	table(rows)
	a.more(cut, len(rows))
	return nil
}
