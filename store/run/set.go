package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	moat "github.com/moat-platform/moat"
)

// Config says how a set works. Dir and Index must be given; package index brings its own Index.
type Config struct {
	Dir   string // made if it does not exist; one set owns it
	Index Index
	Key   [16]byte // secret of the hashes that the index makes keys of; rows written under another are not found
	// Retention is how long after it happened an event is shown. Its file goes
	// when all of it has expired. 0 keeps everything.
	Retention time.Duration
	Logger    *slog.Logger
	Now       func() time.Time // nil means time.Now
	// Yield is called by what writes in the background several times in a millisecond, to let others go on that are waited for. nil means
	// [runtime.Gosched].
	Yield func()
	// ReadOnly serves the files of a folder that another process may own, as they are at Open,
	// and changes nothing on the disk.
	ReadOnly bool

	Tuning
}

// Tuning sizes the work of a set. The zero value is right for a server.
type Tuning struct {
	// FlushEvents is how many events of a partition are gathered in memory
	// before they are written; 0 means 512 Ki, about 100 MiB.
	FlushEvents int
	// FlushEvery writes them at the latest after that time; 0 means 30 s.
	FlushEvery time.Duration
	// FanIn is how many runs of one size are merged into one; 0 means 8.
	FanIn int
	// MergeRate bounds the bytes a second that merges write; 0 means 128 MiB.
	MergeRate int
	// MaxRows bounds the rows of a merged run; 0 means 512 Mi.
	MaxRows int64
}

func (c *Config) defaults() {
	set(&c.Logger, slog.New(slog.DiscardHandler))
	set(&c.FlushEvents, 1<<19)
	set(&c.FlushEvery, 30*time.Second)
	set(&c.FanIn, 8)
	set(&c.MergeRate, 128<<20)
	set(&c.MaxRows, 512<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Yield == nil {
		c.Yield = runtime.Gosched
	}
}

func set[T comparable](v *T, def T) {
	if *v == *new(T) {
		*v = def
	}
}

// ErrClosed is returned by calls after Close.
var ErrClosed = errors.New("closed")

// Set is the runs of a folder and the newest events in memory. It is safe for
// concurrent use.
type Set struct {
	cfg  Config
	seed uint64

	mu      sync.Mutex
	parts   map[int]*partition
	damaged int
	closed  bool

	merging sync.Mutex // held by the one who merges

	merges chan struct{} // a token asks for a look at what could be merged
	stop   context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
}

// partition is what a set has of one partition of the log. s.mu guards it.
type partition struct {
	files    []*file // in order of the log
	segments []*segment
	writer   *Writer
	position uint64 // in files
}

// Open opens the set of a folder. Leftovers of an interrupted write or merge
// are removed; files that are not whole runs are moved to the folder damaged,
// with a warning, and the others are served.
func Open(cfg Config) (*Set, error) {
	cfg.defaults()
	s := &Set{cfg: cfg, seed: rand.Uint64(), parts: map[int]*partition{}, merges: make(chan struct{}, 1)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if cfg.ReadOnly {
		if err := s.loadBeside(); err != nil {
			return nil, err
		}
		return s, nil
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot open runs: %w", err)
	}
	if err := s.load(); err != nil {
		s.releaseAll()
		return nil, err
	}
	for _, g := range s.Stats().Gaps {
		cfg.Logger.Warn("events are missing from the index: a file of it is gone", "dir", cfg.Dir, "partition", g.Partition,
			"first", g.First, "last", g.Last, "hint", "put the file back from a backup; answers about that time lack them")
	}
	s.wg.Add(1)
	go s.keep()
	s.wantMerge()
	return s, nil
}

// loadBeside opens the files of a folder whose owner may merge them meanwhile: one that was listed
// and is gone is in another by now.
func (s *Set) loadBeside() (err error) {
	for range 10 {
		if err = s.load(); err == nil {
			return nil
		}
		s.releaseAll()
		s.parts, s.damaged = map[int]*partition{}, 0
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if _, gone := os.Stat(s.cfg.Dir); gone != nil { // nothing was ever written
			return nil
		}
	}
	return err
}

func (s *Set) releaseAll() {
	for _, p := range s.parts {
		for _, f := range p.files {
			f.release()
		}
	}
}

// load opens the files of the folder.
func (s *Set) load() error {
	names, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("cannot open runs: %w", err)
	}
	for _, d := range names {
		path := filepath.Join(s.cfg.Dir, d.Name())
		if strings.HasSuffix(d.Name(), tempExt) && !s.cfg.ReadOnly {
			os.Remove(path)
		}
		id, first, last, ok := parseFileName(d.Name())
		if !ok || d.IsDir() {
			continue
		}
		f, err := openFile(path)
		var damage *DamageError
		if err == nil && (f.foot.Partition != uint64(id) || f.foot.First != first || f.foot.Last != last) {
			f.release()
			err = f.damaged("name")
		}
		if errors.As(err, &damage) {
			s.moveAway(path, err)
			continue
		}
		if err != nil {
			return err
		}
		s.part(id).files = append(s.part(id).files, f)
	}
	for _, p := range s.parts {
		s.drop(p)
	}
	return nil
}

// drop leaves out the runs that are covered by others, and sets the position.
func (s *Set) drop(p *partition) {
	slices.SortFunc(p.files, func(a, b *file) int {
		return cmp.Or(cmp.Compare(a.foot.First, b.foot.First), cmp.Compare(b.foot.Last, a.foot.Last))
	})
	kept := p.files[:0]
	for _, f := range p.files {
		switch {
		case len(kept) == 0 || f.foot.First > p.position:
			kept = append(kept, f)
		case f.foot.Last <= p.position: // a merge was interrupted
			f.doomed.Store(!s.cfg.ReadOnly)
			f.release()
			continue
		default:
			s.moveAway(f.path, f.damaged("range"))
			f.release()
			continue
		}
		p.position = f.foot.Last
	}
	p.files = kept
}

// part returns the partition, new if need be.
func (s *Set) part(id int) *partition {
	p := s.parts[id]
	if p == nil {
		p = &partition{}
		s.parts[id] = p
	}
	return p
}

// moveAway moves a damaged file out of the way.
func (s *Set) moveAway(path string, why error) {
	s.damaged++
	if s.cfg.ReadOnly {
		s.cfg.Logger.Warn("run is damaged: what it held is missing from answers", "path", path, "why", why)
		return
	}
	dir := filepath.Join(s.cfg.Dir, "damaged")
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.Rename(path, filepath.Join(dir, filepath.Base(path)))
	}
	s.cfg.Logger.Warn("run is damaged and set aside: what it held is missing from answers", "path", path, "moved_to", dir, "why", why, "move_error", err)
}

// setAside takes a run that turned out to be damaged out of service.
func (s *Set) setAside(f *file, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.part(f.part())
	if i := slices.Index(p.files, f); i >= 0 {
		p.files = slices.Delete(slices.Clone(p.files), i, i+1)
		s.moveAway(f.path, why)
		f.release()
	}
}

// Position returns the last log sequence of a partition whose events are in
// files: after a crash, appending goes on behind it.
func (s *Set) Position(id int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.parts[id]; p != nil {
		return p.position
	}
	return 0
}

// View returns what the set holds now, with all that was appended before the
// call.
func (s *Set) View() (*View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("cannot read runs: %w", ErrClosed)
	}
	v := &View{set: s, from: s.cutoff(), damaged: s.damaged}
	for _, id := range slices.Sorted(maps.Keys(s.parts)) { // the same order each time
		p := s.parts[id]
		for _, f := range p.files {
			f.acquire()
			v.files = append(v.files, f)
			v.tables = append(v.tables, &reader{table: f, file: f, place: len(v.tables)})
		}
		for _, g := range p.segments {
			m := g.view()
			v.segments = append(v.segments, g)
			v.tables = append(v.tables, &reader{table: m, memory: m, place: len(v.tables)})
		}
	}
	return v, nil
}

// cutoff returns the time before which events have expired.
func (s *Set) cutoff() moat.Time {
	if s.cfg.Retention == 0 {
		return 0
	}
	return moat.TimeOf(s.cfg.Now().Add(-s.cfg.Retention))
}

// Stats is what a set holds.
type Stats struct {
	Runs    []Info
	Damaged int // runs set aside since Open
	// Gaps are between runs, in the order of the log: what was there and is not. What may have
	// expired is none.
	Gaps []Gap
}

// Gap is a part of the log, both ends included, that is in no run.
type Gap struct {
	Partition   int
	First, Last uint64
}

// Total returns the sums over all runs.
func (s *Stats) Total() (t Info) {
	for _, r := range s.Runs {
		t.Events, t.Rows, t.Keys, t.Bytes = t.Events+r.Events, t.Rows+r.Rows, t.Keys+r.Keys, t.Bytes+r.Bytes
	}
	return t
}

// Stats returns what the files hold, by partition and place in the log.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Damaged: s.damaged}
	for _, p := range s.parts {
		for i, f := range p.files {
			info := f.info()
			st.Runs = append(st.Runs, info)
			if i > 0 && info.First > p.files[i-1].foot.Last+1 && p.files[i-1].info().Received >= s.cutoff() {
				st.Gaps = append(st.Gaps, Gap{info.Partition, p.files[i-1].foot.Last + 1, info.First - 1})
			}
		}
	}
	slices.SortFunc(st.Runs, func(a, b Info) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First))
	})
	return st
}

// Close writes what is in memory and lets go of everything. Views stay valid
// until they are closed.
func (s *Set) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var writers []*Writer
	for _, p := range s.parts {
		if p.writer != nil {
			writers = append(writers, p.writer)
		}
	}
	s.mu.Unlock()
	var errs []error
	for _, w := range writers {
		errs = append(errs, w.close())
	}
	s.stop()
	s.wg.Wait()
	s.releaseAll()
	return errors.Join(errs...)
}

func (s *Set) wantMerge() {
	select {
	case s.merges <- struct{}{}:
	default: // already asked for
	}
}

// keep merges and expires runs until the set is closed.
func (s *Set) keep() {
	defer s.wg.Done()
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.merges:
		case <-tick.C:
		}
		s.Expire()
		s.Merge()
	}
}

// Merge merges runs until there is nothing left to merge. It also happens by
// itself, after runs were written.
func (s *Set) Merge() {
	if s.cfg.ReadOnly {
		return
	}
	s.merging.Lock()
	defer s.merging.Unlock()
	for s.mergeOnce() {
	}
}

// Expire removes the runs all of whose events are older than the retention, in
// the order of the log: none before those in front of it, so that a range
// between two runs is missing only if its file is lost. It also happens by
// itself, every minute.
func (s *Set) Expire() {
	cut := s.cutoff()
	if cut == 0 || s.cfg.ReadOnly {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parts {
		// The last run of a partition stays: its name holds the position.
		for n := len(p.files); n > 1; n-- {
			f := p.files[0]
			if i := f.info(); i.expires() >= cut {
				break
			}
			f.doomed.Store(true)
			f.release()
			p.files = p.files[1:]
		}
	}
}

// mergeOnce does one merge, and tells whether there might be more to do.
func (s *Set) mergeOnce() bool {
	in, id := s.pickMerge()
	if in == nil || s.ctx.Err() != nil {
		return false
	}
	defer func() {
		for _, f := range in {
			f.release()
		}
	}()
	start := s.cfg.Now()
	var path string
	err := guard(in[0].path, func() (err error) {
		path, err = mergeFiles(s.cfg.Dir, in, s.pacer(), s.cfg.Yield)
		return err
	})
	var out *file
	if err == nil {
		out, err = openFile(path)
	}
	if err != nil {
		return s.mergeFailed(in, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.part(id)
	at := slices.Index(p.files, in[0])
	if at < 0 || at+len(in) > len(p.files) || !slices.Equal(p.files[at:at+len(in)], in) {
		out.doomed.Store(true) // some of it was expired or set aside meanwhile
		out.release()
		return true
	}
	p.files = slices.Replace(slices.Clone(p.files), at, at+len(in), out)
	for _, f := range in {
		f.doomed.Store(true)
		f.release()
	}
	s.cfg.Logger.Debug("merged runs", "runs", len(in), "partition", id, "rows", out.foot.Postings, "bytes", len(out.data),
		"took", s.cfg.Now().Sub(start))
	return true
}

// mergeFailed sets the damaged run aside, if that is why, and tells whether to go on.
func (s *Set) mergeFailed(in []*file, err error) bool {
	if s.ctx.Err() != nil {
		return false
	}
	s.cfg.Logger.Warn("cannot merge runs", "error", err)
	var damage *DamageError
	if !errors.As(err, &damage) {
		return false
	}
	for _, f := range in {
		if f.path == damage.Path {
			s.setAside(f, err)
			return true
		}
	}
	return false
}

// pickMerge returns the runs to merge next, acquired.
func (s *Set) pickMerge() (in []*file, id int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.parts {
		infos := make([]Info, len(p.files))
		for i, f := range p.files {
			infos[i] = f.info()
		}
		span := moat.Time(s.cfg.Retention.Microseconds() / 8)
		if from, to, ok := chooseMerge(infos, s.cfg.FanIn, int64(s.cfg.FlushEvents)*4, span, s.cfg.MaxRows); ok {
			in = slices.Clone(p.files[from:to])
			for _, f := range in {
				f.acquire()
			}
			return in, id
		}
	}
	return nil, 0
}

// pacer returns a function that waits so that no more bytes a second are written than configured.
func (s *Set) pacer() func(int) error {
	start, written := time.Now(), 0
	return func(n int) error {
		written += n
		due := time.Duration(float64(written) / float64(s.cfg.MergeRate) * float64(time.Second))
		wait := due - time.Since(start)
		if wait < 10*time.Millisecond {
			return s.ctx.Err()
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}
