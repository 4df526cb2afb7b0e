package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	moat "github.com/moat-platform/moat"
)

// Writer appends the events of one partition. It is a [intake.Sink], which gives it the messages of the log: Begin, Add and End must be
// called from one goroutine at a time, its other methods may be at the same time. The writing of files happens on another goroutine.
type Writer struct {
	set  *Set
	id   int
	gone chan struct{} // closed when it is to end

	mu      sync.Mutex
	closed  bool
	open    bool   // a message was begun and has not ended
	begun   uint64 // it, or the last
	last    uint64 // that was ended, or is in files from the start
	vocab   *vocabulary
	active  *segment
	written *segment      // the one before: as large as the next will be
	old     *segment      // in a file, and its memory free for the next
	writing chan struct{} // closed when the write going on has ended; nil if there is none
	err     error         // why not everything is in files, when there will be no more of them
}

// Writer returns the writer of a partition, 0 to 9999; it is made at the first call.
func (s *Set) Writer(id int) (*Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("cannot write runs: %w", ErrClosed)
	}
	if s.cfg.ReadOnly {
		return nil, errors.New("cannot write runs: the set is open for reading only")
	}
	if id < 0 || id > 9999 {
		return nil, fmt.Errorf("cannot write runs: partition %d is not between 0 and 9999", id)
	}
	p := s.part(id)
	if p.writer == nil {
		p.writer = &Writer{set: s, id: id, last: p.position, gone: make(chan struct{})}
		go p.writer.keep()
	}
	return p.writer, nil
}

// Begin begins a message. A sequence that is not above all before it is
// ignored, so that replaying the log changes nothing; one that is passed over
// counts as appended. It returns at once unless a slow disk has left no room.
func (w *Writer) Begin(seq uint64, _ moat.Time) (lacks bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = false
	for w.active != nil && w.active.full(w.set.cfg.FlushEvents) {
		w.await(context.Background())
		w.write()
	}
	if w.closed {
		return false, fmt.Errorf("cannot append: %w", ErrClosed)
	}
	if seq <= w.last {
		return false, nil
	}
	if w.active == nil {
		w.activate(seq)
	}
	w.open, w.begun = true, seq
	return true, nil
}

// activate makes a segment for the messages from seq on. w.mu must be held.
func (w *Writer) activate(seq uint64) {
	if w.vocab == nil || w.vocab.size() > maxVocabulary {
		w.vocab = newVocabulary(w.set.seed)
	}
	w.active = newSegment(w.id, w.set.cfg.Index, w.vocab, w.old, w.written)
	if w.active.first = seq; w.last > 0 { // what lies between never came, and holds nothing
		w.active.first = w.last + 1
	}
	w.old = nil
	w.set.mu.Lock()
	defer w.set.mu.Unlock()
	p := w.set.part(w.id)
	p.segments = append(slices.Clone(p.segments), w.active)
}

// Add takes in an event of the message that was begun, which may change when it returns. Questions see it when
// there is a group of them.
func (w *Writer) Add(row uint32, e *moat.Event) {
	if w.active.add(w.begun, row, e) {
		w.set.cfg.Yield()
	}
}

// End ends the message, and has everything written when there is enough.
func (w *Writer) End() {
	s := w.active
	s.end()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open, w.last, s.last = false, w.begun, w.begun
	if s.full(w.set.cfg.FlushEvents) {
		w.write()
	}
}

// Flush waits until all messages that were ended are in files. A write that fails is
// tried again until ctx is done.
func (w *Writer) Flush(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("cannot flush: %w", ErrClosed)
	}
	return w.flush(ctx)
}

func (w *Writer) flush(ctx context.Context) error {
	for last := w.last; w.err == nil && w.Position() < last; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("cannot flush: %w", err)
		}
		w.write()
		w.await(ctx)
	}
	return w.err
}

// Position returns [Set.Position] of its partition.
func (w *Writer) Position() uint64 { return w.set.Position(w.id) }

// close ends the writer after it has written everything.
func (w *Writer) close() error {
	close(w.gone)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	return w.flush(context.Background())
}

// keep writes what was gathered, now and then.
func (w *Writer) keep() {
	tick := time.NewTicker(w.set.cfg.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.mu.Lock()
			w.write()
			w.mu.Unlock()
		case <-w.gone:
			return
		}
	}
}

// write starts to write the active segment to a file, if it has messages, is not in the middle of one, and no other is being written.
// w.mu must be held.
func (w *Writer) write() {
	if w.active == nil || w.active.last == 0 || w.open || w.writing != nil {
		return
	}
	s, done := w.active, make(chan struct{})
	s.freeze()
	w.active, w.written, w.writing = nil, s, done
	go func() {
		err := w.set.save(s, w.gone)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.writing, w.old, w.err = nil, nil, err; err == nil && s.spare() {
			w.old = s
		}
		close(done)
	}()
}

// await waits for the write going on, if there is one, or the end of ctx. w.mu must be held, and is let go of meanwhile.
func (w *Writer) await(ctx context.Context) {
	if w.writing == nil {
		return
	}
	done := w.writing
	w.mu.Unlock()
	defer w.mu.Lock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// save writes a segment to a file and puts that in its place. It tries until
// it succeeds, or once more after gone is closed.
func (s *Set) save(g *segment, gone <-chan struct{}) error {
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		last := false
		select {
		case <-gone:
			last = true
		default:
		}
		path, err := writeSegment(s.cfg.Dir, g, s.cfg.Yield)
		var f *file
		if err == nil {
			f, err = openFile(path)
		}
		if err == nil {
			s.mu.Lock()
			p := s.part(g.partition)
			p.files = append(slices.Clone(p.files), f)
			p.segments = slices.DeleteFunc(slices.Clone(p.segments), func(o *segment) bool { return o == g })
			p.position = g.last
			s.mu.Unlock()
			s.wantMerge()
			return nil
		}
		s.cfg.Logger.Error("cannot write run, will try again", "partition", g.partition, "error", err)
		if last {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-gone:
		}
		t.Stop()
	}
}
