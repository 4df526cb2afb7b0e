package lake

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Position says where an event is in the log: in which message of which
// partition, and in which row of the message's batch.
type Position struct {
	Partition int
	Seq       uint64
	Row       int
}

// Filter selects events.
type Filter struct {
	// Tenant sees its own events only; the zero value sees none.
	Tenant moat.Tenant
	// From and To bound the time of the event: From ≤ time < To. 0 means open.
	From, To moat.Time
	// Partition selects one; nil means all.
	Partition *int
}

// keeps tells whether an event of that partner and time is selected.
func (f *Filter) keeps(partner string, t moat.Time) bool {
	return f.Tenant.Sees(partner) && (f.From == 0 || t >= f.From) && (f.To == 0 || t < f.To)
}

// keepsGroup tells whether a row group may hold selected events.
func (f *Filter) keepsGroup(g *format.RowGroup) bool {
	if low, high, ok := bounds(g, colTime); ok && g.Columns[colTime].MetaData.Statistics.NullCount == 0 && !f.overlaps(moat.Time(low), moat.Time(high)) {
		return false
	}
	partner, one := f.Tenant.Partner()
	s := &g.Columns[colPartner].MetaData.Statistics
	return !one || s.MinValue == nil || s.MaxValue == nil || string(s.MinValue) <= partner && partner <= string(s.MaxValue)
}

func (f *Filter) overlaps(low, high moat.Time) bool {
	return (f.From == 0 || high >= f.From) && (f.To == 0 || low < f.To)
}

// Scan calls fn for each event in files that f selects, ordered by partition, sequence and
// row. The event and all that it refers to are fn's until it returns; see
// [moat.Event.Clone]. An error of fn ends the scan and is returned as it is; a file that
// cannot be read ends it with an error that may wrap [ErrDamaged]. Scan holds one page of each
// column in memory, and sees the files that there were when it began.
func (l *Lake) Scan(ctx context.Context, f Filter, fn func(Position, *moat.Event) error) error {
	files := l.pin(func(e *entry) bool {
		return (f.Partition == nil || e.Partition == *f.Partition) && e.Rows > 0
	})
	defer l.unpin(files)
	for _, e := range files {
		if err := scanFile(ctx, e.File, &f, fn); err != nil {
			return err
		}
	}
	return nil
}

// pin returns the files that match and keeps them from being removed.
func (l *Lake) pin(match func(*entry) bool) (files []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.files {
		if match(e) {
			e.users++
			files = append(files, e)
		}
	}
	return files
}

// unpin lets go of files, and removes those that were only waiting for it.
func (l *Lake) unpin(files []*entry) {
	var dead []*entry
	l.mu.Lock()
	for _, e := range files {
		if e.users--; e.users == 0 && e.dead {
			dead = append(dead, e)
		}
	}
	l.mu.Unlock()
	for _, e := range dead {
		if err := l.remove(e.Path); err != nil {
			l.log.Warn("cannot remove a file of the lake; the next start will", "path", e.Path, "err", err)
		}
	}
}

// retire removes files that are no longer listed, now or when their last reader is done.
func (l *Lake) retire(files []*entry) error {
	var errs []error
	for _, e := range files {
		l.mu.Lock()
		e.dead = true
		busy := e.users > 0
		l.mu.Unlock()
		if !busy {
			errs = append(errs, l.remove(e.Path))
		}
	}
	return errors.Join(errs...)
}

func scanFile(ctx context.Context, file File, f *Filter, fn func(Position, *moat.Event) error) error {
	src, err := openSource(file.Path)
	if err != nil {
		return fmt.Errorf("cannot scan: %w", err)
	}
	defer src.close()
	for i := range src.meta.RowGroups {
		if !f.keepsGroup(&src.meta.RowGroups[i]) {
			continue
		}
		err := src.scanGroup(ctx, i, f, func(seq uint64, row int, e *moat.Event) error {
			return fn(Position{Partition: file.Partition, Seq: seq, Row: row}, e)
		}, nil)
		if err != nil {
			return err
		}
	}
	return nil
}

// source is an open file of events.
type source struct {
	f    *os.File
	meta *footer
	file *parquet.File
}

func openSource(path string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	meta, err := readFooter(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	file, err := parquet.OpenFile(f, meta.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(64<<10))
	if err != nil {
		return nil, errors.Join(damage(path, "%v", err), f.Close())
	}
	return &source{f: f, meta: meta, file: file}, nil
}

// check reads row group i once to see that it is as it was written: decoders must not meet anything else.
func (s *source) check(i int) error {
	g := &s.meta.RowGroups[i]
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, io.NewSectionReader(s.f, g.FileOffset, g.TotalCompressedSize)); err != nil {
		return fmt.Errorf("cannot read %s: %w", s.f.Name(), err)
	}
	if h.Sum32() != s.meta.sums[i] {
		return damage(s.f.Name(), "checksum of row group %d", i)
	}
	return nil
}

func (s *source) close() { s.f.Close() }

// pager is told of the pages of a scan: what an event refers to stays until end.
type pager interface {
	begin()
	end() error
}

// scanGroup calls fn for the selected rows of row group i, and p, which may be nil, around each page.
func (s *source) scanGroup(ctx context.Context, i int, f *Filter, fn func(seq uint64, row int, e *moat.Event) error, p pager) error {
	if err := s.check(i); err != nil {
		return fmt.Errorf("cannot scan: %w", err)
	}
	r := newGroupReader(s.f.Name(), s.file.RowGroups()[i])
	defer r.close()
	var e moat.Event
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch err := r.next(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("cannot scan: %w", err)
		}
		if p != nil {
			p.begin()
		}
		for range r.rows {
			e.Reset()
			seq, row, err := r.event(&e)
			if err != nil {
				return fmt.Errorf("cannot scan: %w", err)
			}
			if !f.keeps(e.Partner, e.Time) {
				continue
			}
			if err := fn(seq, row, &e); err != nil {
				return err
			}
		}
		if p != nil {
			if err := p.end(); err != nil {
				return err
			}
		}
	}
}

func (c *cursor) number() int64 {
	v := c.ints[c.value]
	c.value++
	return v
}

func (c *cursor) word() string {
	i := c.value
	c.value++
	if c.index != nil {
		i = int(c.index[i])
	}
	from, to := c.offsets[i], c.offsets[i+1]
	return unsafe.String(unsafe.SliceData(c.chars[from:]), int(to-from))
}

// given tells whether the next row has a value, and moves on to the next row.
func (c *cursor) given() bool {
	if c.null {
		return false
	}
	c.level++
	return c.def[c.level-1] == 1
}

func (c *cursor) text(e *moat.Event, f moat.FieldID, p *string) {
	if c.given() {
		*p = c.word()
		e.Mark(f)
	}
}

func (c *cursor) int(e *moat.Event, f moat.FieldID, p *int64) {
	if c.given() {
		*p = c.number()
		e.Mark(f)
	}
}

func (c *cursor) list(e *moat.Event, f moat.FieldID, p *[]string) {
	d := c.def[c.level]
	c.level++
	if d == 0 {
		return
	}
	e.Mark(f)
	l := (*p)[:0]
	if d == 2 {
		l = append(l, c.word())
		for ; c.level < len(c.rep) && c.rep[c.level] == 1; c.level++ {
			l = append(l, c.word())
		}
	}
	*p = l
}

func code[T ~uint8](e *moat.Event, f moat.FieldID, given bool, name string, p *T) error {
	for i, n := range moat.Fields[f].Enum {
		if n == name {
			*p = T(i)
			if given {
				e.Mark(f)
			}
			return nil
		}
	}
	return fmt.Errorf("%s %.40q is unknown", moat.Fields[f].Name, name)
}

// event reads the next row of the page into e, which is empty.
func (r *groupReader) event(e *moat.Event) (seq uint64, row int, err error) {
	c := &r.cols
	seq, row = uint64(c[colSeq].number()), int(c[colRow].number())
	e.Received, e.Flags = moat.Time(c[colReceived].number()), moat.Flag(c[colFlags].number())
	given := c[colGiven].number()
	err = errors.Join(
		code(e, moat.FieldType, given&givenType != 0, c[colType].word(), &e.Type),
		code(e, moat.FieldActorKind, given&givenActorKind != 0, c[colActorKind].word(), &e.ActorKind),
		code(e, moat.FieldOutcome, given&givenOutcome != 0, c[colOutcome].word(), &e.Outcome))
	e.Partner = c[colPartner].word()
	if given&givenPartner != 0 {
		e.Mark(moat.FieldPartner)
	}
	if c[colTime].given() {
		e.Time = moat.Time(c[colTime].number())
		e.Mark(moat.FieldTime)
	}
	c[colID].text(e, moat.FieldEventID, &e.ID)
	c[colActor].text(e, moat.FieldActor, &e.Actor)
	c[colRole].text(e, moat.FieldRole, &e.Role)
	c[colApp].text(e, moat.FieldApp, &e.App)
	c[colShops].list(e, moat.FieldShops, &e.Shops)
	c[colIP].text(e, moat.FieldIP, &e.IP)
	c[colDevice].text(e, moat.FieldDevice, &e.Device)
	c[colUserAgent].text(e, moat.FieldUserAgent, &e.UserAgent)
	c[colSession].text(e, moat.FieldSession, &e.Session)
	c[colHost].text(e, moat.FieldHost, &e.Host)
	c[colOutlet].text(e, moat.FieldOutlet, &e.Outlet)
	c[colURL].text(e, moat.FieldURL, &e.URL)
	c[colOperation].text(e, moat.FieldOperation, &e.Operation)
	c[colReason].text(e, moat.FieldReason, &e.Reason)
	c[colOrders].list(e, moat.FieldOrders, &e.Orders)
	c[colCount].int(e, moat.FieldCount, &e.Count)
	c[colFields].list(e, moat.FieldFields, &e.Fields)
	if b := &c[colEncrypted]; b.given() {
		e.Encrypted = b.bits[b.value>>3]&(1<<(b.value&7)) != 0
		b.value++
		e.Mark(moat.FieldEncrypted)
	}
	c[colBytes].int(e, moat.FieldBytes, &e.Bytes)
	c[colDestination].text(e, moat.FieldDestination, &e.Destination)
	c[colDestinationKind].text(e, moat.FieldDestinationKind, &e.DestinationKind)
	c[colMethod].text(e, moat.FieldMethod, &e.Method)
	c[colPath].text(e, moat.FieldPath, &e.Path)
	c[colStatus].int(e, moat.FieldStatus, &e.Status)
	c[colDB].text(e, moat.FieldDB, &e.DB)
	c[colTemplate].text(e, moat.FieldTemplate, &e.Template)
	c[colRows].int(e, moat.FieldRows, &e.Rows)
	c[colKeyID].text(e, moat.FieldKeyID, &e.KeyID)
	if c[colDetail].given() {
		err = errors.Join(err, parseDetail(c[colDetail].word(), e))
	}
	if err != nil {
		return 0, 0, damage(r.path, "sequence %d, row %d: %v", seq, row, err)
	}
	return seq, row, nil
}
