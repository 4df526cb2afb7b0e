package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	moat "github.com/moat-platform/moat"
)

// Writer appends the events of one partition. Its methods may be called at the
// same time, but only one goroutine should append: the order is that of the log.
type Writer struct {
	set     *Set
	id      int
	in      chan message
	asks    chan chan struct{} // closed by the writer when all before can be seen
	flushes chan chan error
	gone    chan struct{} // closed to end it
	done    chan struct{} // closed when it has ended

	accepted uint64 // last sequence handed over; guarded by set.mu
	err      error  // why not everything is in files, once done is closed

	// Of the goroutine only.
	last    uint64 // added, or in files from the start
	vocab   *vocabulary
	active  *segment
	written *segment   // the one before: as large as the next will be
	old     *segment   // in a file, and its memory free for the next
	writing chan error // answers when the write going on has ended; nil if there is none
	reader  moat.BatchReader
	event   moat.Event
}

type message struct {
	seq   uint64
	batch []byte
	skip  []uint64
}

// queue is how many batches may wait for a writer.
const queue = 16

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
		p.writer = &Writer{set: s, id: id, accepted: p.position, last: p.position, in: make(chan message, queue), asks: make(chan chan struct{}),
			flushes: make(chan chan error), gone: make(chan struct{}), done: make(chan struct{})}
		go p.writer.work()
	}
	return p.writer, nil
}

// Append takes in a batch of the log, which was opened before: see
// [moat.BatchReader.OpenAgain]. skip has a bit for each event that is a
// duplicate; nil means none. A sequence that is not above all before it is
// ignored, so that replaying the log changes nothing; one that is passed over
// counts as appended. The batch and skip must
// not change afterwards. It returns at once unless too many batches wait. A
// corrupt batch is logged and passed over: it must not stop those behind it.
func (w *Writer) Append(seq uint64, batch []byte, skip []uint64) error {
	w.set.mu.Lock()
	old, closed := seq <= w.accepted, w.set.closed
	w.accepted = max(w.accepted, seq)
	w.set.mu.Unlock()
	if closed {
		return fmt.Errorf("cannot append: %w", ErrClosed)
	}
	if old {
		return nil
	}
	select {
	case w.in <- message{seq, batch, skip}:
		return nil
	case <-w.done:
		return fmt.Errorf("cannot append: %w", ErrClosed)
	}
}

// Flush waits until all that was appended is in files. A write that fails is
// tried again until ctx is done.
func (w *Writer) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case w.flushes <- answer:
	case <-w.done:
		return fmt.Errorf("cannot flush: %w", ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("cannot flush: %w", ctx.Err())
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("cannot flush: %w", ctx.Err())
	}
}

// Position returns [Set.Position] of its partition.
func (w *Writer) Position() uint64 { return w.set.Position(w.id) }

// settle waits until all that was appended can be seen.
func (w *Writer) settle(ctx context.Context) error {
	ask := make(chan struct{})
	select {
	case w.asks <- ask:
		<-ask
	case <-w.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// close ends the goroutine after it has written everything.
func (w *Writer) close() error {
	close(w.gone)
	<-w.done
	return w.err
}

func (w *Writer) work() {
	defer close(w.done)
	tick := time.NewTicker(w.set.cfg.FlushEvery)
	defer tick.Stop()
	for {
		select {
		case m := <-w.in:
			w.addOrWrite(m)
		case ask := <-w.asks:
			w.catchUp()
			close(ask)
		case answer := <-w.flushes:
			w.drain()
			answer <- w.writeAll()
		case <-tick.C:
			_ = w.write()
		case <-w.gone:
			w.drain()
			w.err = w.writeAll()
			return
		}
	}
}

// addOrWrite adds the events of a batch, and writes when there are enough.
func (w *Writer) addOrWrite(m message) {
	w.set.cfg.Yield()
	w.add(m)
	if w.active.full(w.set.cfg.FlushEvents) {
		_ = w.write() // fails only when closing, which tries again
	}
}

// drain adds all that waits.
func (w *Writer) drain() {
	for n := len(w.in); n > 0; n-- {
		w.addOrWrite(<-w.in)
	}
}

// minRoom is how many events are gathered behind a slow write in any case, before questions are answered without
// those that wait.
const minRoom = 1 << 17

// catchUp adds what waits, as long as there is room.
func (w *Writer) catchUp() {
	for n := len(w.in); n > 0; n-- {
		if w.active != nil && w.active.full(max(4*w.set.cfg.FlushEvents, minRoom)) {
			return
		}
		w.add(<-w.in)
	}
}

// add adds the events of a batch to the active segment.
func (w *Writer) add(m message) {
	if w.active == nil {
		if w.vocab == nil || w.vocab.size() > maxVocabulary {
			w.vocab = newVocabulary(w.set.seed)
		}
		w.active = newSegment(w.id, w.set.cfg.Index, w.vocab, w.old, w.written)
		if w.active.first = m.seq; w.last > 0 { // what lies between never came, and holds nothing
			w.active.first = w.last + 1
		}
		w.old = nil
		w.set.mu.Lock()
		p := w.set.part(w.id)
		p.segments = append(slices.Clone(p.segments), w.active)
		w.set.mu.Unlock()
	}
	s := w.active
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, w.last = m.seq, m.seq
	err := w.reader.OpenAgain(m.batch)
	for row := 0; err == nil && w.reader.Next(&w.event); row++ {
		if row/64 < len(m.skip) && m.skip[row/64]>>(row%64)&1 == 1 {
			continue
		}
		s.add(m.seq, uint32(row), &w.event)
	}
	s.settle()
	if err == nil {
		err = w.reader.Err()
	}
	if err != nil {
		w.set.cfg.Logger.Error("corrupt batch is left out of the index", "partition", w.id, "seq", m.seq, "error", err)
	}
}

// write starts to write the active segment to a file, after the write before it.
func (w *Writer) write() error {
	if w.active == nil {
		return nil
	}
	if err := w.wait(); err != nil {
		return err
	}
	s, result := w.active, make(chan error, 1)
	s.freeze()
	w.active, w.written, w.writing = nil, s, result
	go func() { result <- w.set.save(s, w.gone) }()
	return nil
}

func (w *Writer) writeAll() error {
	if err := w.write(); err != nil {
		return err
	}
	return w.wait()
}

// wait waits for the write going on. Questions are answered meanwhile.
func (w *Writer) wait() error {
	for w.writing != nil {
		select {
		case err := <-w.writing:
			w.writing = nil
			if w.old = nil; err == nil && w.written.spare() {
				w.old = w.written
			}
			return err
		case ask := <-w.asks:
			w.catchUp()
			close(ask)
		}
	}
	return nil
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
