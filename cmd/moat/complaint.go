package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest/complaint"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// complaintCmd takes complaints in.
type complaintCmd struct {
	Import complaintImportCmd `cmd:"" help:"File the complaints of a table, or the orders of a dump that was found."`
}

// Help shows how to use it.
func (complaintCmd) Help() string {
	return examples("moat complaint import complaints.csv", "moat complaint import --dump found.txt", "moat complaints --since 7d")
}

type complaintImportCmd struct {
	logFlags
	Dump    bool   `help:"The file lists leaked orders that were found, ids one a line or in a column."`
	Found   when   `placeholder:"TIME" help:"When a dump was found; what happened to its orders later is no part of it."`
	Partner string `placeholder:"ID" help:"Only for this partner; else for all whose hands the orders went through."`
	Zone    zone   `placeholder:"ZONE" help:"Where the clock of times without a zone stands, such as Asia/Shanghai (UTC)."`
	File    string `arg:"" help:"A CSV file in UTF-8; - is standard input."`
}

// Help shows how to use it.
func (complaintImportCmd) Help() string {
	return "The first line names the columns: order, and of kind, contacted_at, reporter and channel what there is; without such a line they come in this order. " +
		"Other columns are not read, and of a reporter only a keyed hash is kept. " +
		"Importing a file again changes nothing. Orders that no event named are counted as unknown.\n\n" +
		examples("moat complaint import complaints.csv --zone Asia/Shanghai", "moat complaint import --dump found.txt --found 2026-03-02", "xlsx2csv week.xlsx | moat complaint import -")
}

// Validate is called when the flags are known.
func (c *complaintImportCmd) Validate() error {
	if c.Found != 0 && !c.Dump {
		return errors.New("--found is for --dump")
	}
	return nil
}

// imported is what became of a file.
type imported struct {
	Lines     int64     `json:"lines"` // that were complaints or should have been
	New       int64     `json:"new"`
	Duplicate int64     `json:"duplicate"`
	Unknown   int64     `json:"unknown"`
	Refused   int64     `json:"refused"`
	Dropped   []string  `json:"dropped,omitempty"` // columns
	Bad       []badLine `json:"bad"`               // the first refused, and the first unknown
	Leaks     []leak    `json:"leaks,omitempty"`   // channels whose canaries the file names
	Warning   string    `json:"warning,omitempty"`

	who      namers
	unknown  int    // listed
	trace    string // command
	began    time.Time
	duration time.Duration
}

// leak is a channel whose canaries a file names: what it had is in other hands.
type leak struct {
	Partner  string      `json:"partner"`
	Channel  string      `json:"channel"`
	Kind     canary.Kind `json:"kind"`
	Canaries int         `json:"canaries"` // lines that name one
	Lines    []int       `json:"lines"`    // the first of them
}

// planted notes that a line names a canary.
func (s *imported) planted(line int, c *node.Canary) {
	i := slices.IndexFunc(s.Leaks, func(l leak) bool { return l.Partner == c.Partner && l.Channel == c.Channel && l.Kind == c.Kind })
	if i < 0 {
		i = len(s.Leaks)
		s.Leaks = append(s.Leaks, leak{Partner: c.Partner, Channel: c.Channel, Kind: c.Kind})
	}
	l := &s.Leaks[i]
	if l.Canaries++; len(l.Lines) < maxBadLines {
		l.Lines = append(l.Lines, line)
	}
}

type badLine struct {
	Line int    `json:"line"`
	Why  string `json:"why"`
}

// maxBadLines bounds the lines that are listed, of the refused and of the unknown each.
const maxBadLines = 20

func (s *imported) refuse(line int, why string) {
	s.Refused++
	if len(s.Bad)-s.unknown < maxBadLines {
		s.Bad = append(s.Bad, badLine{line, why})
	}
}

// Run imports.
func (c *complaintImportCmd) Run(a *app) (err error) {
	in, size := io.Reader(os.Stdin), int64(0)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("cannot import complaints: %w", err)
		}
		defer f.Close()
		if s, err := f.Stat(); err == nil && s.Mode().IsRegular() {
			size = s.Size()
		}
		in = f
	}
	bar := a.progress("file complaints", "bytes")
	defer bar.end()
	in = &counted{r: in, at: func(n int64) { bar.at(n, size) }}
	r, err := complaint.NewReader(in, complaint.Options{Dump: c.Dump, Location: c.Zone.Location})
	if err != nil {
		return fmt.Errorf("cannot import complaints of %s: %w", c.File, err)
	}
	file, most, reporters, end, err := c.filer(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	s := imported{Bad: []badLine{}, began: time.Now(), who: newNamers()}
	_, s.Dropped = r.Header()
	if s.trace = "moat trace --file " + shell(c.File); c.File == "-" {
		s.trace = "moat trace -"
	}
	failed := c.all(a, r, file, most, &s)
	bar.end()
	if known, err := reporters(); err == nil {
		s.Warning = s.who.warning(&known)
	} else {
		failed = errors.Join(failed, err)
	}
	slices.SortFunc(s.Bad, func(x, y badLine) int { return x.Line - y.Line })
	s.duration = time.Since(s.began)
	if a.JSON {
		failed = errors.Join(failed, a.object(s))
	} else {
		a.imported(&s)
	}
	if failed == nil && s.Lines > 0 && s.New+s.Duplicate == 0 {
		return errProblems
	}
	return failed
}

// counted tells how much was read.
type counted struct {
	r  io.Reader
	n  int64
	at func(int64)
}

// Read reads.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	c.at(c.n)
	return n, err
}

// fileFn files a few complaints.
type fileFn func([]node.NewComplaint) (node.Filed, error)

// filer files through the server that has the data folder open, or alone, at most most at a time; end is called when all is filed.
func (c *complaintImportCmd) filer(a *app) (file fileFn, most int, reporters func() (book.Reporters, error), end func() error, err error) {
	s, err := a.served()
	if err != nil {
		return nil, 0, nil, nil, err
	}
	recent := book.Query{Partner: c.Partner, Since: moat.TimeOf(time.Now().Add(-30 * 24 * time.Hour))}
	if s != nil {
		return func(list []node.NewComplaint) (node.Filed, error) {
				return patiently(a.ctx, s, api.NewComplaints{Partner: c.Partner, Complaints: list})
			}, api.MaxComplaints,
			func() (book.Reporters, error) {
				q := recent
				q.Limit = 1
				page, err := s.Complaints(a.ctx, q)
				if err != nil || page.Reporters == nil {
					return book.Reporters{}, err
				}
				return *page.Reporters, nil
			}, func() error { return nil }, nil
	}
	n, err := a.open(c.logFlags, a.log, 0)
	tuneImport()
	if err != nil {
		return nil, 0, nil, nil, err
	}
	return func(list []node.NewComplaint) (node.Filed, error) {
			return n.File(a.ctx, moat.Everyone(), c.Partner, list, moat.TimeOf(time.Now()))
		}, node.MaxComplaints, func() (book.Reporters, error) {
			return n.Book.Reporters(context.WithoutCancel(a.ctx), moat.Everyone(), recent)
		}, func() error {
			return errors.Join(n.Drain(context.WithoutCancel(a.ctx)), n.Close())
		}, nil
}

// patiently files again when the server is full or busy: what is in already changes nothing.
func patiently(ctx context.Context, s *api.Client, in api.NewComplaints) (node.Filed, error) {
	for {
		f, err := s.File(ctx, in)
		var no *api.Error
		if !errors.As(err, &no) || no.RetryAfter == 0 {
			return f, err
		}
		select {
		case <-time.After(no.RetryAfter):
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
}

// all files everything that the reader gives, so many at a time.
func (c *complaintImportCmd) all(a *app, r *complaint.Reader, file fileFn, most int, s *imported) error {
	list, lines := make([]node.NewComplaint, 0, most), make([]int, 0, most)
	send := func() error {
		if len(list) == 0 {
			return nil
		}
		f, err := file(list)
		if err != nil {
			return err
		}
		s.New, s.Duplicate, s.Unknown = s.New+int64(f.New), s.Duplicate+int64(f.Duplicate), s.Unknown+int64(f.Unknown)
		for _, p := range f.Problems {
			switch {
			case p.Code != "unknown":
				s.refuse(lines[p.Index], p.Message)
			case s.unknown < maxBadLines:
				s.unknown++
				s.Bad = append(s.Bad, badLine{lines[p.Index], p.Message})
			}
		}
		for i := range f.Canaries {
			s.planted(lines[f.Canaries[i].Index], &f.Canaries[i].Canary)
		}
		list, lines = list[:0], lines[:0]
		return nil
	}
	for a.ctx.Err() == nil {
		row, err := r.Next()
		var bad *complaint.LineError
		switch {
		case err == io.EOF:
			return send()
		case errors.As(err, &bad):
			s.Lines++
			if bad.Order == "" {
				s.refuse(bad.Line, bad.Why)
				continue
			}
			list = append(list, node.NewComplaint{Order: bad.Order, Unread: bad.Why}) // refused, but perhaps planted
			if lines = append(lines, bad.Line); len(list) == cap(list) {
				if err := send(); err != nil {
					return err
				}
			}
			continue
		case err != nil:
			return errors.Join(send(), err)
		}
		s.Lines++
		s.who.add(&row)
		list = append(list, node.NewComplaint{Order: row.Order, Kind: row.Kind, ContactedAt: max(row.ContactedAt, moat.Time(c.Found)), Reporter: row.Reporter, Channel: row.Channel})
		if lines = append(lines, row.Line); len(list) == cap(list) {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return a.ctx.Err()
}

// namers counts who complains in a file, as the book does: by different orders, and apart from dumps.
type namers struct {
	seed   maphash.Seed
	seen   map[uint64]bool   // orders, and orders with who named them
	by     map[uint64]*namer // by who it is
	most   namer
	orders int
}

// namer is somebody who complains in a file.
type namer struct{ line, orders int }

// maxNamers bounds what is remembered of a file; beyond it nobody new is counted, and repetitions are.
const maxNamers = 1 << 18

func newNamers() namers {
	return namers{seed: maphash.MakeSeed(), seen: map[uint64]bool{}, by: map[uint64]*namer{}}
}

func (w *namers) add(row *complaint.Row) {
	if row.Kind == complaint.Dump {
		return
	}
	if w.first(row.Order) {
		w.orders++
	}
	who := strings.ToLower(row.Reporter)
	if who == "" || !w.first(row.Order+"\x00"+who) {
		return
	}
	h := maphash.String(w.seed, who)
	x := w.by[h]
	if x == nil {
		if len(w.by) >= maxNamers {
			return
		}
		x = &namer{line: row.Line}
		w.by[h] = x
	}
	if x.orders++; x.orders > w.most.orders {
		w.most = *x
	}
}

// first tells whether something comes for the first time.
func (w *namers) first(what string) bool {
	h := maphash.String(w.seed, what)
	if w.seen[h] {
		return false
	}
	if len(w.seen) < 2*maxNamers {
		w.seen[h] = true
	}
	return true
}

// warning says of the file, and of all that is known, that it may be there to frame somebody; or "". Who it is in the file is told by a line: it may
// be a number.
func (w *namers) warning(known *book.Reporters) string {
	file := book.Reporters{Orders: w.orders, Top: fmt.Sprintf("that of line %d", w.most.line), TopCount: w.most.orders}
	here, all := file.Warning(), known.Warning()
	switch {
	case here == "" || file.TopCount == known.TopCount && file.Orders == known.Orders:
		return all
	case all == "":
		return "in this file " + here
	}
	return "in this file " + here + ". Of all complaints of the last 30 days " + all
}

// imported tells what became of a file.
func (a *app) imported(s *imported) {
	o := a.out
	o.linef("%s in %s: %s new, %s known already, %s of unknown orders, %s refused", o.paint(bold, many(s.Lines, "line")), s.duration.Round(time.Millisecond),
		number(s.New), number(s.Duplicate), number(s.Unknown), number(s.Refused))
	for _, l := range s.Leaks {
		lines := make([]string, len(l.Lines))
		for i, n := range l.Lines {
			lines[i] = strconv.Itoa(n)
		}
		more := ""
		if l.Canaries > len(l.Lines) {
			more = " …"
		}
		o.wrap(o.paint(red, "ALARM: "), fmt.Sprintf("%s of partner %s leaked: the file names %s planted there and nowhere else (line %s%s). A case of rank P1 tells of it.",
			o.paint(red, clean(l.Channel)), o.paint(red, clean(l.Partner)), many(l.Canaries, string(l.Kind)), strings.Join(lines, ", "), more))
	}
	if len(s.Dropped) > 0 {
		o.wrap("  not read: ", strings.Join(s.Dropped, ", "))
	}
	for _, b := range s.Bad {
		o.wrap("  ", fmt.Sprintf("line %d: %s", b.Line, b.Why))
	}
	if left := s.Refused + s.Unknown - int64(len(s.Bad)); left > 0 {
		o.line(o.paint(dim, fmt.Sprintf("  … and %s", many(left, "more line"))))
	}
	if s.Warning != "" {
		o.wrap(o.paint(yellow, "warning: "), s.Warning)
	}
	switch {
	case len(s.Leaks) > 0:
		a.onward(0, "moat cases --rank P1", s.trace, "moat complaints")
	case s.New > 0:
		a.onward(0, s.trace, "moat complaints", "moat findings --detector complaint.shop_surge", "moat cases")
	}
}
