// Package lake keeps events as Parquet files, written straight from the log.
//
// Use it to store what a partition of the log holds ([Writer]), to read it
// again in order ([Lake.Scan]), and to keep the files few ([Lake.Compact]) and
// the disk free ([Lake.Expire]). The files are an open format: any engine
// that reads Parquet may query them where they lie, under
// Dir/events/day=*/*.parquet.
//
// It will not answer questions by entity or order, which the sorted indexes
// do, and it is not the source of truth for events that are not in files yet: that
// is the log, from [Lake.Position] on.
package lake

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moat-platform/moat"
)

// Config says where a lake is and how much it may hold.
type Config struct {
	// Dir is the lake's directory. It is made when it does not exist.
	Dir string
	// SegmentRows is the number of rows after which a file is closed. Default 262,144.
	SegmentRows int
	// MaxBytes caps the bytes of all files; [Lake.Expire] enforces it.
	// Default: 20 % of the disk.
	MaxBytes int64
	// Retention is the age at which a day of events is deleted by
	// [Lake.Expire]. 0 = only the cap deletes.
	Retention time.Duration
	// Logger takes warnings and what was deleted. Default: none.
	Logger *slog.Logger
	// Yield is called by what encodes in the background about every half millisecond, to let others go on that are waited for. Default:
	// [runtime.Gosched].
	Yield func()
}

// Range is an inclusive range of log sequences of a partition.
type Range struct {
	Partition   int
	First, Last uint64
}

func (r Range) holds(o Range) bool {
	return r.Partition == o.Partition && r.First <= o.First && r.Last >= o.Last
}

// Lost is a range of the log whose file was damaged and set aside.
type Lost struct {
	Range
	Path string // where the damaged file is now
}

// File is one file of events.
type File struct {
	Path string
	Range
	Rows, Bytes int64
	// Day is the UTC day of receipt, as 2006-01-02.
	Day string
	// From and To are the earliest and the latest event time; 0 if no event has one.
	From, To moat.Time
}

// Lake is a directory of event files. It is safe for concurrent use; a
// directory must be open only once.
type Lake struct {
	cfg Config
	log *slog.Logger
	// step is called before each change of the disk; tests make it fail.
	step func(op, path string) error

	upkeep sync.Mutex // one Compact or Expire at a time

	mu        sync.Mutex
	files     []*entry // by partition, then sequence
	positions map[int]uint64
	writers   map[int]*Writer
	lost      []Lost
	closed    bool
}

// entry is a file and who still reads it.
type entry struct {
	File
	users int
	dead  bool // to be removed by the last user
}

// ErrClosed says that the lake or its writer was closed.
var ErrClosed = errors.New("lake is closed")

const dayForm = "2006-01-02"

// Open opens the lake of cfg. It removes what an interrupted write or merge
// left behind, and moves files that are torn or no Parquet files of events to
// Dir/damaged, with a warning; see [Lake.Lost].
func Open(cfg Config) (*Lake, error) {
	if cfg.Dir == "" {
		return nil, errors.New("cannot open lake: no directory given")
	}
	if cfg.SegmentRows < 0 || cfg.MaxBytes < 0 || cfg.Retention < 0 {
		return nil, errors.New("cannot open lake: negative limit")
	}
	if cfg.SegmentRows == 0 {
		cfg.SegmentRows = 256 << 10
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Yield == nil {
		cfg.Yield = runtime.Gosched
	}
	l := &Lake{cfg: cfg, log: cfg.Logger, step: func(string, string) error { return nil },
		positions: map[int]uint64{}, writers: map[int]*Writer{}}
	for _, d := range []string{l.events(), l.positionDir()} {
		if err := os.MkdirAll(d, 0o750); err != nil {
			return nil, fmt.Errorf("cannot open lake: %w", err)
		}
	}
	if l.cfg.MaxBytes == 0 {
		size, err := diskBytes(cfg.Dir)
		if err != nil {
			return nil, fmt.Errorf("cannot open lake: %w", err)
		}
		l.cfg.MaxBytes = size / 5
	}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("cannot open lake: %w", err)
	}
	return l, nil
}

func (l *Lake) events() string      { return filepath.Join(l.cfg.Dir, "events") }
func (l *Lake) damaged() string     { return filepath.Join(l.cfg.Dir, "damaged") }
func (l *Lake) positionDir() string { return filepath.Join(l.cfg.Dir, "positions") }

func (l *Lake) dayDir(day string) string { return filepath.Join(l.events(), "day="+day) }

func fileName(r Range) string {
	return fmt.Sprintf("p%03d-%020d-%020d.parquet", r.Partition, r.First, r.Last)
}

// parseName is the inverse of fileName.
func parseName(name string) (r Range, ok bool) {
	base, isFile := strings.CutSuffix(name, ".parquet")
	part := strings.Split(base, "-")
	if !isFile || len(part) != 3 || !strings.HasPrefix(part[0], "p") {
		return r, false
	}
	p, err1 := strconv.ParseUint(part[0][1:], 10, 31)
	first, err2 := strconv.ParseUint(part[1], 10, 64)
	last, err3 := strconv.ParseUint(part[2], 10, 64)
	r = Range{Partition: int(p), First: first, Last: last}
	return r, errors.Join(err1, err2, err3) == nil && first <= last && fileName(r) == name
}

// load reads the directory.
func (l *Lake) load() error {
	if err := l.loadPositions(); err != nil {
		return err
	}
	days, err := os.ReadDir(l.events())
	if err != nil {
		return err
	}
	for _, d := range days {
		day, isDay := strings.CutPrefix(d.Name(), "day=")
		if _, err := time.Parse(dayForm, day); !isDay || err != nil || !d.IsDir() {
			continue
		}
		if err := l.loadDay(day); err != nil {
			return err
		}
	}
	kept, covered := visible(l.files)
	for _, e := range covered {
		l.log.Info("removing a file that was merged into another", "path", e.Path)
		if err := os.Remove(e.Path); err != nil {
			return err
		}
	}
	l.files = kept
	return l.loadDamaged()
}

func (l *Lake) loadDay(day string) error {
	dir := l.dayDir(day)
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		path := filepath.Join(dir, n.Name())
		if strings.HasSuffix(n.Name(), ".tmp") {
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		r, ok := parseName(n.Name())
		if !ok {
			l.log.Warn("a file in the lake is none of its own and is left alone", "path", path)
			continue
		}
		f, err := readFile(path, r, day)
		if err != nil && !isDamage(err) {
			return err
		}
		l.positions[r.Partition] = max(l.positions[r.Partition], r.Last)
		if err != nil {
			if err := l.setAside(path, r, day, err); err != nil {
				return err
			}
			continue
		}
		l.files = append(l.files, &entry{File: f})
	}
	return nil
}

// setAside moves a damaged file out of the way. The position is saved before, so
// that the log is not asked for the range again if it is no longer there.
func (l *Lake) setAside(path string, r Range, day string, why error) error {
	to := filepath.Join(l.damaged(), day+"-"+filepath.Base(path))
	l.log.Warn("a file of the lake is damaged and was set aside; its events are lost unless the log still has them",
		"path", to, "partition", r.Partition, "first", r.First, "last", r.Last, "err", why)
	if err := l.savePosition(r.Partition, l.positions[r.Partition]); err != nil {
		return err
	}
	if err := os.MkdirAll(l.damaged(), 0o750); err != nil {
		return err
	}
	return l.rename(path, to)
}

// loadDamaged lists the ranges whose damaged file is not made up for by others.
func (l *Lake) loadDamaged() error {
	names, err := os.ReadDir(l.damaged())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, n := range names {
		if len(n.Name()) <= len(dayForm) {
			continue
		}
		r, ok := parseName(n.Name()[len(dayForm)+1:])
		if !ok || l.madeUp(r) {
			continue
		}
		l.lost = append(l.lost, Lost{Range: r, Path: filepath.Join(l.damaged(), n.Name())})
	}
	return nil
}

// madeUp tells that r is covered by a file, or by files that were merged into the
// one of r and still are there: those begin and end where r does.
func (l *Lake) madeUp(r Range) bool {
	first, last := false, false
	for _, e := range l.files {
		if e.holds(r) {
			return true
		}
		if r.holds(e.Range) {
			first = first || e.First == r.First
			last = last || e.Last == r.Last
		}
	}
	return first && last
}

// visible splits files into those that hold the events and those whose range is inside another's:
// what a merge left behind. It sorts both.
func visible(files []*entry) (kept, covered []*entry) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b *entry) int { return compareRanges(a.Range, b.Range) })
	for _, e := range files {
		if n := len(kept); n > 0 && kept[n-1].holds(e.Range) {
			covered = append(covered, e)
			continue
		}
		kept = append(kept, e)
	}
	return kept, covered
}

// compareRanges orders by partition and sequence, a range before those inside it.
func compareRanges(a, b Range) int {
	switch {
	case a.Partition != b.Partition:
		return a.Partition - b.Partition
	case a.First != b.First:
		if a.First < b.First {
			return -1
		}
		return 1
	case a.Last != b.Last:
		if a.Last > b.Last {
			return -1
		}
		return 1
	}
	return 0
}

// Position returns the last log sequence of the partition whose events, and those of
// all before it, are in files, or were and have been deleted. It is 0 at first and never goes back.
func (l *Lake) Position(partition int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.positions[partition]
}

// Files returns the files that hold events, by partition and sequence.
func (l *Lake) Files() []File {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]File, len(l.files))
	for i, e := range l.files {
		out[i] = e.File
	}
	return out
}

// Lost returns the ranges of the log whose files were found damaged when a
// lake was opened, now or before, as long as the set-aside file is there.
func (l *Lake) Lost() []Lost {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lost)
}

// List returns the files that hold events in the lake at dir, without opening it: for
// readers beside the process that owns it. Rows and times are not filled in.
func List(dir string) ([]File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "events", "day=*", "p*.parquet"))
	if err != nil {
		return nil, fmt.Errorf("cannot list lake: %w", err)
	}
	var all []*entry
	for _, p := range paths {
		day, _ := strings.CutPrefix(filepath.Base(filepath.Dir(p)), "day=")
		if r, ok := parseName(filepath.Base(p)); ok {
			all = append(all, &entry{File: File{Path: p, Range: r, Day: day}})
		}
	}
	kept, _ := visible(all)
	out := make([]File, len(kept))
	for i, e := range kept {
		out[i] = e.File
	}
	return out, nil
}

// Close makes what was appended durable and ends the writers. It returns the
// first error; the lake is closed in any case.
func (l *Lake) Close() error {
	l.mu.Lock()
	l.closed = true
	writers := make([]*Writer, 0, len(l.writers))
	for _, w := range l.writers {
		writers = append(writers, w)
	}
	l.mu.Unlock()
	var errs []error
	for _, w := range writers {
		errs = append(errs, w.close())
	}
	return errors.Join(errs...)
}

// added makes a durable file visible, in the place of those whose range it covers.
func (l *Lake) added(f File) (replaced []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files, replaced = visible(append(l.files, &entry{File: f}))
	l.positions[f.Partition] = max(l.positions[f.Partition], f.Last)
	return replaced
}

// savePosition keeps a position in a file of its own, for the time when the
// files that prove it are gone.
func (l *Lake) savePosition(partition int, seq uint64) error {
	path := filepath.Join(l.positionDir(), fmt.Sprintf("p%03d", partition))
	return l.writeFile(path, func(f *os.File) error {
		_, err := f.WriteString(strconv.FormatUint(seq, 10) + "\n")
		return err
	})
}

func (l *Lake) loadPositions() error {
	names, err := os.ReadDir(l.positionDir())
	if err != nil {
		return err
	}
	for _, n := range names {
		path := filepath.Join(l.positionDir(), n.Name())
		if strings.HasSuffix(n.Name(), ".tmp") {
			if err := os.Remove(path); err != nil {
				return err
			}
			continue
		}
		p, err := strconv.ParseUint(strings.TrimPrefix(n.Name(), "p"), 10, 31)
		if err != nil {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		seq, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		if err != nil || seq > math.MaxInt64 {
			l.log.Warn("a position of the lake is unreadable; the names of its files are used instead", "path", path)
			continue
		}
		l.positions[int(p)] = seq
	}
	return nil
}
