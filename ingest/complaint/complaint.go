// Package complaint reads complaints from files: tables (CSV) as call centres and shops write them, and dumps of leaked
// orders.
//
// Use a [Reader] on any stream, of any length: it needs the memory of one record. What cannot be read is told with its line and
// passed over.
//
// It will not file complaints, know which orders there are, keep names, numbers or notes of customers (columns that it does not
// know are not read), or guess at encodings: a file that is not UTF-8 is refused with what to do about it.
package complaint

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

// Kinds are what customers complain of; an order that is found among leaked ones has the kind of [Dump].
var Kinds = [...]string{"scam_call", "scam_sms", "spam", "fraud", "other"}

// Dump is the kind of an order that was found among leaked ones.
const Dump = "dump"

// Row is one complaint of a file.
type Row struct {
	Line        int // where it begins, from 1
	Order       string
	Kind        string
	ContactedAt moat.Time // 0 = not said
	Reporter    string
	Channel     string
}

// LineError says why a line was passed over. Reading goes on after it.
type LineError struct {
	Line  int
	Why   string
	Order string // of the line, if that much could be read
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Why) }

// ErrForm says that the file as a whole cannot be read.
var ErrForm = errors.New("the file cannot be read")

// The columns that are read, with the names that they go by.
var columns = [...]struct {
	name  string
	known []string
}{
	{"order", []string{"order", "order_id", "orderid", "order_no", "order_number", "order_sn", "tid", "id", "waybill", "tracking_no", "订单", "订单号", "订单编号", "运单号"}},
	{"kind", []string{"kind", "type", "complaint_type", "类型", "投诉类型"}},
	{"contacted_at", []string{"contacted_at", "contacted", "at", "contact_time", "call_time", "called_at", "time", "date", "时间", "来电时间", "联系时间", "日期"}},
	{"reporter", []string{"reporter", "reported_by", "by", "complainant", "customer", "投诉人", "举报人"}},
	{"channel", []string{"channel", "source", "渠道", "来源"}},
}

const (
	colOrder = iota
	colKind
	colContacted
	colReporter
	colChannel
	cols
)

// Options say how to read a file.
type Options struct {
	// Dump: the file lists leaked orders, one a line or in a column; nothing else of it is read.
	Dump bool
	// Location is where the clock of times without a zone stands; nil = UTC.
	Location *time.Location
}

// Reader reads one file. It is not safe for concurrent use.
type Reader struct {
	opt     Options
	in      *records
	place   [cols]int // of each column in a record, -1 = not there
	header  bool
	dropped []string
	pending []string // a first record that is no header
	line    int      // of pending
}

// NewReader reads the beginning of a file: it may start with a byte order mark; the separator (comma, semicolon, tab) and the columns
// are told from the first line. An error wraps [ErrForm] if the file is no table of complaints.
func NewReader(r io.Reader, opt Options) (*Reader, error) {
	in, err := newRecords(r)
	if err != nil {
		return nil, err
	}
	rd := &Reader{opt: opt, in: in}
	if rd.opt.Location == nil {
		rd.opt.Location = time.UTC
	}
	first, line, err := in.next()
	var bad *LineError
	switch {
	case err == io.EOF:
		return rd, nil
	case errors.As(err, &bad):
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	case err != nil:
		return nil, err
	}
	return rd, rd.begin(slices.Clone(first), line)
}

// Header tells whether the file has a line of column names, and which columns are not read.
func (r *Reader) Header() (there bool, dropped []string) { return r.header, r.dropped }

// begin finds the columns.
func (r *Reader) begin(first []string, line int) error {
	for c := range r.place {
		r.place[c] = -1
	}
	for i, name := range first {
		c := columnOf(name)
		switch {
		case c >= 0 && r.place[c] < 0 && (c == colOrder || !r.opt.Dump):
			r.place[c] = i
		default:
			r.dropped = append(r.dropped, shown(name))
		}
	}
	if r.header = r.place[colOrder] >= 0; r.header {
		return nil
	}
	r.pending, r.line, r.dropped = first, line, nil
	r.place = [cols]int{0, 1, 2, 3, 4}
	if r.opt.Dump || len(first) == 1 {
		r.place = [cols]int{0, -1, -1, -1, -1}
		return nil
	}
	row := Row{}
	kind := kindOf(at(first, 1))
	if len(first) > cols || kind != "" && !slices.Contains(Kinds[:], kind) || r.contacted(at(first, 2), &row) != nil {
		return fmt.Errorf("%w: its first line names no column of orders; begin it with order,kind,contacted_at,reporter,channel", ErrForm)
	}
	return nil
}

// kindOf writes a kind as ours are written.
func kindOf(s string) string { return words.Replace(strings.ToLower(s)) }

var words = strings.NewReplacer(" ", "_", "-", "_")

func columnOf(name string) int {
	name = words.Replace(strings.ToLower(strings.TrimSpace(name)))
	for c := range columns {
		if slices.Contains(columns[c].known, name) {
			return c
		}
	}
	return -1
}

// shown cuts a column's name for a message.
func shown(name string) string {
	if utf8.RuneCountInString(name) > 40 {
		name = string([]rune(name)[:40]) + "…"
	}
	return name
}

func at(record []string, i int) string {
	if i < 0 || i >= len(record) {
		return ""
	}
	return strings.TrimSpace(record[i])
}

// Next returns the next complaint; io.EOF at the end; a *[LineError] for a line that is passed over. The texts of the row are its own.
func (r *Reader) Next() (Row, error) {
	record, line, err := r.pending, r.line, error(nil)
	if r.pending = nil; record == nil {
		if record, line, err = r.in.next(); err != nil {
			return Row{}, err
		}
	}
	row := Row{Line: line, Order: strings.Clone(at(record, r.place[colOrder])), Reporter: strings.Clone(at(record, r.place[colReporter])),
		Channel: strings.Clone(at(record, r.place[colChannel]))}
	for _, s := range record {
		if !utf8.ValidString(s) {
			return Row{}, &LineError{Line: line, Why: "it is not UTF-8"}
		}
	}
	if row.Order == "" {
		return Row{}, &LineError{Line: line, Why: "it names no order"}
	}
	if row.Kind = kindOf(at(record, r.place[colKind])); r.opt.Dump {
		row.Kind = Dump
	}
	if err := r.contacted(at(record, r.place[colContacted]), &row); err != nil {
		return Row{}, &LineError{line, err.Error(), row.Order}
	}
	return row, nil
}

// layouts are how tables write times that are not the contract's.
var layouts = [...]string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02", "2006/1/2 15:04:05", "2006/1/2 15:04", "2006/1/2", "20060102150405", "20060102"}

func (r *Reader) contacted(s string, row *Row) error {
	if s == "" {
		return nil
	}
	for _, l := range layouts {
		if len(s) < 8 {
			break
		}
		if t, err := time.ParseInLocation(l, s, r.opt.Location); err == nil && t.Year() >= 1970 {
			row.ContactedAt = moat.TimeOf(t)
			return nil
		}
	}
	t, err := moat.ParseTime(s)
	if err != nil {
		return errors.New("contacted_at is no time: write 2026-03-02 09:30 or 2026-03-02T09:30:00Z")
	}
	row.ContactedAt = t
	return nil
}
