package ingest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/river"
)

// Loader puts the events of files into the river: logs that exist already, and
// NDJSON of the event contract, whose lines may name their partner. It trusts
// the files as the operator's own. One Loader may be used for several loads, one after another.
type Loader struct {
	River River  // required
	Key   []byte // required; see NewNormaliser

	Partner string // of lines that name none; default "local"
	App     string // of lines that name none; "" for none
	Host    string // of log lines that name none; "" for none
	Format  string // one of Formats; "" to tell it from the first lines

	// Location is where the clock of a log without time zones stands. Default UTC.
	Location *time.Location
	Now      func() time.Time // default time.Now
	// Watch sees every event; nil = nobody does.
	Watch Watch
	// Wait pauses between looks at a growing file, and before a full river is tried again. It
	// returns ctx's error when ctx ends first. Default: a timer.
	Wait func(ctx context.Context, d time.Duration) error
	// Progress, if not nil, is called from time to time, while the river is waited for, and at the end of each file, never twice at once.
	Progress func(Progress)
}

// Progress is how far a load has come.
type Progress struct {
	File   string
	Read   int64 // bytes of this file, as they are on disk
	Total  int64 // of this file; 0 if not known
	Lines  int64 // of all files so far
	Events int64
	Waits  string // what the river lacks, such as room on the disk, if it has been waited for; else ""
}

// Report says what became of the lines of a load.
type Report struct {
	Lines      int64            `json:"lines"` // blank ones are not counted
	Events     int64            `json:"events"`
	Context    int64            `json:"context"`    // lines that were read and are no events in themselves
	Unreadable int64            `json:"unreadable"` // lines of another form
	Rejected   map[string]int64 `json:"rejected"`   // events that are not within the contract, by code
	First      moat.Time        `json:"first"`      // earliest time of an event
	Last       moat.Time        `json:"last"`       // latest
	Clock      int64            `json:"clock"`      // events whose time is flagged as wrong
	Unplaced   int64            `json:"unplaced"`   // complaints that name no partner, where no other than the default was given
	Bad        []BadLine        `json:"bad"`        // the first that could not be read or were rejected
	Bytes      int64            `json:"bytes"`      // read from disk
	Duration   time.Duration    `json:"duration_ns"`
}

// Refused returns how many lines and events were not taken.
func (r *Report) Refused() int64 {
	n := r.Unreadable
	for _, of := range r.Rejected {
		n += of
	}
	return n
}

// BadLine is a line that brought no event and should have. At most 40 bytes of the value at fault are quoted, with phone numbers
// and e-mail addresses hashed: the rest may hold anything.
type BadLine struct {
	File   string `json:"file"`
	Line   int64  `json:"line"` // from 1
	Reason string `json:"reason"`
}

const (
	maxBad       = 20
	sendEvents   = 4096
	progressStep = 1 << 20
	unknownTries = 5 // for an append whose result is unknown
)

// Load puts the events of files into the river, one file after another, by the times that they begin
// with; "-" is standard input. Files may be compressed with gzip or zstd. It returns when
// everything is durable. On an error the report says what is done so far; doing it again
// does no harm within seven days, as events keep their ids.
func (l *Loader) Load(ctx context.Context, paths ...string) (Report, error) {
	g, err := l.start(ctx)
	if err != nil {
		return Report{}, err
	}
	for _, path := range l.inOrder(ctx, paths) {
		if err := g.path(path); err != nil {
			return g.end(fmt.Errorf("cannot load %s: %w", path, err))
		}
	}
	return g.end(nil)
}

// Read is Load for a stream; name stands for it in the report.
func (l *Loader) Read(ctx context.Context, name string, r io.Reader) (Report, error) {
	g, err := l.start(ctx)
	if err != nil {
		return Report{}, err
	}
	if err := g.stream(name, r, 0, nil); err != nil {
		return g.end(fmt.Errorf("cannot load %s: %w", name, err))
	}
	return g.end(nil)
}

// loading is one load under way.
type loading struct {
	*Loader
	ctx      context.Context
	location *time.Location
	from     Caller
	began    time.Time

	normal  *Normaliser
	in      records
	history *history
	live    bool // lines are read as they are written: receipt is now
	out     batches
	report  Report
	seen    seenLines

	name   string
	line   int64 // in this file
	read   *counted
	total  int64
	shown  int64 // bytes at the last progress
	failed error // of the river: it ends the load
}

func (l *Loader) start(ctx context.Context) (*loading, error) {
	c := *l
	if c.River == nil {
		return nil, errors.New("cannot load: no river")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Wait == nil {
		c.Wait = wait
	}
	n, err := NewNormaliser(c.Key)
	if err != nil {
		return nil, err
	}
	return &loading{
		Loader: &c, ctx: ctx, began: c.Now(), normal: n, history: newHistory(moat.TimeOf(c.Now())), out: batches{river: c.River},
		location: cmp.Or(c.Location, time.UTC), report: Report{Rejected: map[string]int64{}}, read: &counted{},
		from: Caller{Partner: cmp.Or(c.Partner, "local"), Operator: true},
	}, nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end makes everything durable and completes the report.
func (g *loading) end(err error) (Report, error) {
	err = errors.Join(err, g.flush())
	g.report.Duration = g.Now().Sub(g.began)
	return g.report, err
}

func (g *loading) now() moat.Time { return moat.TimeOf(g.Now()) }

// path loads one file.
func (g *loading) path(path string) error {
	if path == "-" {
		return g.stream("standard input", os.Stdin, 0, nil)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errFolder
	}
	var look func() (survey, error)
	if info.Mode().IsRegular() {
		look = func() (survey, error) { return surveyFile(path) }
	}
	return g.stream(path, f, info.Size(), look)
}

// Check tells why a regular file cannot be loaded in any known format, without a river: it cannot be opened or decompressed, or its first
// lines are of no format known here. An empty file can be loaded, and so may be what is no regular file.
func Check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errFolder
	case !info.Mode().IsRegular():
		return nil
	}
	plain, done, err := decompress(f)
	if err != nil {
		return err
	}
	defer done()
	var in records
	in.reset(plain)
	in.skipMark()
	head, err := in.head()
	switch {
	case err == io.EOF:
		return nil
	case err != nil:
		return err
	case detectFormat(head) == "":
		return errFormat
	}
	return nil
}

var (
	errFolder = errors.New("it is a folder")
	errFormat = fmt.Errorf("none of its first lines is of a format known here; name one of %s", strings.Join(Formats(), ", "))
)

// surveyFile looks through a file for the years of its lines.
func surveyFile(path string) (survey, error) {
	f, err := os.Open(path)
	if err != nil {
		return survey{}, err
	}
	defer f.Close()
	r, done, err := decompress(f)
	if err != nil {
		return survey{}, err
	}
	defer done()
	return surveyYears(r), nil
}

// stream loads one stream. look, if not nil, looks ahead through all of it.
func (g *loading) stream(name string, r io.Reader, total int64, look func() (survey, error)) error {
	g.name, g.line, g.total, g.shown = name, 0, total, 0
	g.read = &counted{ctx: g.ctx, r: r}
	defer func() { g.report.Bytes += g.read.n; g.progress("") }()
	plain, done, err := decompress(g.read)
	if err != nil {
		return err
	}
	defer done()
	g.in.reset(plain)
	g.in.skipMark()
	f, err := g.open(look)
	if err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	return g.lines(f)
}

// open returns the format of the stream, io.EOF if there is nothing in it.
func (g *loading) open(look func() (survey, error)) (format, error) {
	head, err := g.in.head()
	if err != nil {
		return nil, err
	}
	name := g.Format
	if name == "" {
		if name = detectFormat(head); name == "" {
			return nil, errFormat
		}
	}
	f, err := g.newFormat(name)
	if err != nil {
		return nil, err
	}
	if s, ok := f.(*syslog); ok && look != nil {
		found, err := look()
		if err != nil {
			return nil, err
		}
		s.first = found.first(s.now, s.location)
	}
	return f, nil
}

// lines loads the lines of the open stream.
func (g *loading) lines(f format) error {
	next := g.in.line
	if _, ok := f.(*jsonLines); ok {
		if c, err := g.in.peek(); err == nil && c == '[' {
			next = g.in.element
		}
	}
	for {
		text, err := next()
		if err == io.EOF || g.ctx.Err() != nil && errors.Is(err, g.ctx.Err()) {
			f.settle(0, g.emit)
		}
		if err == io.EOF {
			return g.failed
		}
		if err != nil && err != errLong {
			return err
		}
		g.line++
		if err == nil {
			if text = bytes.TrimSpace(text); len(text) == 0 {
				continue
			}
			err = f.line(text, g.emit)
		}
		g.report.Lines++
		if err != nil {
			g.note(err)
		}
		if g.failed != nil {
			return g.failed
		}
		if g.read.n-g.shown >= progressStep {
			g.progress("")
		}
	}
}

// note counts a line that brought no event of its own.
func (g *loading) note(err error) {
	if err == errContext {
		g.report.Context++
		return
	}
	var p *moat.Problem
	if !errors.As(err, &p) {
		g.report.Unreadable++
	} else {
		switch p.Code {
		case moat.CodeJSON, moat.CodeUTF8, moat.CodeSize, moat.CodeDepth:
			g.report.Unreadable++
		default:
			g.report.Rejected[p.Code]++
			// A problem quotes the value, which may be anything: without phone numbers and e-mail addresses it may be told.
			text := p.Error()
			g.normal.text(&text, moat.FieldReason)
			err = errors.New(strings.Clone(text))
		}
	}
	if len(g.report.Bad) < maxBad {
		g.report.Bad = append(g.report.Bad, BadLine{g.name, g.line, err.Error()})
	}
}

// emit takes one event of a format.
func (g *loading) emit(e *moat.Event) {
	if g.failed != nil {
		return
	}
	if e.App == "" && g.App != "" {
		e.App = g.App
		e.Mark(moat.FieldApp)
	}
	received := e.Time
	if g.live {
		received = g.now()
	}
	unplaced := e.Type == moat.Complaint && e.Partner == "" && g.Partner == ""
	err := g.normal.Normalise(e, g.from, received)
	if err == nil {
		err = e.Check()
	}
	if err != nil {
		g.note(asProblem(err))
		return
	}
	if unplaced {
		g.report.Unplaced++
	}
	if g.report.Events++; g.report.First == 0 || e.Time < g.report.First {
		g.report.First = e.Time
	}
	g.report.Last = max(g.report.Last, e.Time)
	if g.live {
		g.put(e)
		return
	}
	if err := g.history.add(e, g.put); err != nil {
		g.failed = err
	}
}

// put passes an event on to the batches, by way of the watch if there is one.
func (g *loading) put(e *moat.Event) {
	if e.Flags&moat.FlagClock != 0 && g.failed == nil {
		g.report.Clock++
	}
	if g.Watch == nil {
		g.add(e)
		return
	}
	if err := g.Watch(e, g.add); err != nil {
		panic("BUG: an event of a file has no partner: " + err.Error())
	}
}

// add adds an event to the batches, and sends them when they are many.
func (g *loading) add(e *moat.Event) {
	if g.failed != nil {
		return
	}
	if g.out.add(e); g.out.n >= sendEvents {
		g.failed = g.send(g.ctx)
	}
}

// flush sends all that waits.
func (g *loading) flush() error {
	if g.failed != nil {
		return nil // it has been told
	}
	if err := g.history.flush(g.put); err != nil {
		g.failed = err
	}
	if g.failed == nil && g.out.n > 0 {
		g.failed = g.send(g.ctx)
	}
	return g.failed
}

// send puts the batches into the river. It waits for a full one.
func (g *loading) send(ctx context.Context) error {
	defer g.out.reset()
	var telling sync.Mutex // partitions are sent side by side
	return g.out.send(ctx, func(ctx context.Context, partition int, batch []byte) error {
		waited := time.Duration(0)
		for unknown := 0; ; {
			_, err := g.River.Append(ctx, partition, batch)
			var full *river.FullError
			pause := time.Second
			switch {
			case err == nil:
				return nil
			case errors.As(err, &full):
				pause = max(full.RetryAfter, 10*time.Millisecond)
				if waited += pause; waited >= toldAfter {
					telling.Lock()
					g.progress(full.Reason)
					telling.Unlock()
				}
			case errors.Is(err, river.ErrUnknown) && unknown < unknownTries:
				unknown++
			default:
				return err
			}
			if stopped := g.Wait(ctx, pause); stopped != nil {
				return errors.Join(stopped, err)
			}
		}
	})
}

// toldAfter is how long a load waits for the river before it is told why: less is the usual give and take.
const toldAfter = time.Second

func (g *loading) progress(waits string) {
	g.shown = g.read.n
	if g.Progress != nil {
		g.Progress(Progress{File: g.name, Read: g.read.n, Total: g.total, Lines: g.report.Lines, Events: g.report.Events, Waits: waits})
	}
}

// lineID returns the id of the event of a log line: a keyed hash of the line and of
// how often it was seen just before, so that the same file loaded twice brings
// the same ids, and two like lines bring two events.
func (g *loading) lineID(line string) string {
	g.normal.hash([]byte(line))
	n := g.seen.count([16]byte(g.normal.sum[:]))
	id := g.normal.sum[:13]
	if n == 0 {
		return hex.EncodeToString(id)
	}
	return hex.EncodeToString(id) + "." + itoa(n)
}

// seenLines counts equal lines among the last ones.
type seenLines struct{ young, old map[[16]byte]int }

const maxSeen = 1 << 16

// count returns how often line was seen before.
func (s *seenLines) count(line [16]byte) int {
	n := max(s.young[line], s.old[line])
	if s.young == nil || len(s.young) >= maxSeen {
		s.young, s.old = map[[16]byte]int{}, s.young
	}
	s.young[line] = n + 1
	return n
}

// counted counts what is read, until its context ends.
type counted struct {
	ctx context.Context // ends it
	r   io.Reader
	n   int64
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// decompress returns the plain text of r, whatever it is compressed with, and what
// to call when done.
func decompress(r io.Reader) (plain io.Reader, done func(), err error) {
	var head [4]byte
	n, err := io.ReadFull(r, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, nil, err
	}
	r = io.MultiReader(bytes.NewReader(head[:n]), r)
	switch {
	case n >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, err
		}
		return z, func() { z.Close() }, nil
	case n == 4 && head == [4]byte{0x28, 0xb5, 0x2f, 0xfd}:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, func() {}, nil
}

// middle returns the median of times, or 0.
func middle(times []moat.Time) moat.Time {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Clone(times)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}
