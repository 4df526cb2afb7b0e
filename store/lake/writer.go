package lake

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
)

// segmentBytes closes a file early when its text is long.
const segmentBytes = 512 << 20

// Writer writes the files of one partition. It is a [intake.Sink], which gives it the messages of the log. Begin, Add, End and Flush
// must be called from one goroutine at a time, and the lake not be closed in the middle of a message; the encoding and writing happen on another goroutine.
type Writer struct {
	l         *Lake
	partition int

	mu     sync.Mutex // held by Begin, End, Flush and close
	closed bool
	last   uint64 // last sequence taken
	begun  uint64 // the one that events are added of
	today  int64  // day of the newest receipt so far, in days since 1970
	seg    segment
	grp    group // its blocks

	// At most two blocks are on their way: one in the channel, one being encoded.
	jobs    chan job
	free    chan *block
	words   chan *[columns]dictionary // to be used again
	failed  atomic.Bool               // a file waits to be written again
	running bool
	done    chan struct{}
}

// segment is the file that is being filled.
type segment struct {
	Range
	day  int64
	rows int
	text int
}

// job is work for the writer's goroutine.
type job struct {
	blk   *block // encode it
	close *closing
	reply chan error // answer when all before is on disk
}

// closing says that the row group of the blocks so far is to become a file.
type closing struct {
	Range
	day   int64
	dicts *[columns]dictionary
}

// Writer returns the writer of a partition, which goes on after [Lake.Position].
func (l *Lake) Writer(partition int) *Writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.writers[partition]
	if w == nil {
		w = &Writer{l: l, partition: partition, last: l.positions[partition], closed: l.closed,
			jobs: make(chan job, 1), free: make(chan *block, 3), words: make(chan *[columns]dictionary, 2), done: make(chan struct{})}
		for _, e := range l.files {
			if t, err := time.Parse(dayForm, e.Day); err == nil && e.Partition == partition {
				w.today = max(w.today, t.Unix()/86400)
			}
		}
		l.writers[partition] = w
	}
	return w
}

// Begin begins a message, unless it was taken before. All of its events go to the file of one day, that of the newest receipt so far. An
// error says that the message cannot be taken now: after a full disk, for example, until what is waiting could be written.
func (w *Writer) Begin(seq uint64, received moat.Time) (lacks bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false, fmt.Errorf("cannot append: %w", ErrClosed)
	}
	if seq <= w.last {
		return false, nil
	}
	if seq > 1<<63-1 {
		return false, fmt.Errorf("cannot append message %d: over the limit", seq)
	}
	if err := w.settle(); err != nil {
		return false, fmt.Errorf("cannot append: %w", err)
	}
	w.begun, w.today = seq, max(w.today, int64(received/moat.Day))
	if w.today > w.seg.day && w.seg.rows > 0 {
		w.finish(nil)
	}
	w.seg.day = w.today
	if w.grp.dicts == nil {
		select {
		case w.grp.dicts = <-w.words:
			resetDictionaries(w.grp.dicts)
		default:
			w.grp.dicts = newDictionaries()
		}
	}
	if w.grp.blk == nil {
		w.grp.open(w.block())
	}
	return true, nil
}

// Add takes an event of the message that was begun.
func (w *Writer) Add(row uint32, e *moat.Event) {
	w.seg.rows++
	w.grp.add(w.begun, row, e)
}

// End ends the message, all of whose text must be there yet.
func (w *Writer) End() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grp.commit()
	if w.seg.First == 0 {
		w.seg.Range = Range{Partition: w.partition, First: w.begun}
	}
	w.last, w.seg.Last = w.begun, w.begun
	b := w.grp.blk
	switch {
	case w.seg.rows >= w.l.cfg.SegmentRows || w.seg.text+b.text >= segmentBytes:
		w.finish(nil)
	case b.rows >= blockRows || b.text >= blockBytes:
		w.seal()
	}
}

// block returns an empty block, waiting for one when two are on their way.
func (w *Writer) block() *block {
	if !w.running {
		w.running = true
		for range cap(w.free) {
			w.free <- new(block)
		}
		go w.run()
	}
	return <-w.free
}

// seal sends the block to be encoded.
func (w *Writer) seal() {
	b := w.grp.seal()
	w.seg.text += b.text
	w.jobs <- job{blk: b}
}

// finish closes the segment, if there is one. The reply comes when it is on disk.
func (w *Writer) finish(reply chan error) {
	j := job{reply: reply}
	if w.seg.First != 0 {
		if w.grp.blk != nil {
			w.seal()
		}
		j.close = &closing{Range: w.seg.Range, day: w.seg.day, dicts: w.grp.dicts}
		w.seg, w.grp.dicts = segment{}, nil
	}
	w.jobs <- j
}

// settle waits for files that could not be written before, and tells why they still cannot.
func (w *Writer) settle() error {
	if !w.failed.Load() {
		return nil
	}
	reply := make(chan error, 1)
	w.jobs <- job{reply: reply}
	return <-reply
}

// Flush closes the file that is being filled and returns when all that was appended is durable.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("cannot flush: %w", ErrClosed)
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if !w.running {
		return nil
	}
	reply := make(chan error, 1)
	w.finish(reply)
	if err := <-reply; err != nil {
		return fmt.Errorf("cannot flush: %w", err)
	}
	return nil
}

// close flushes and ends the writer's goroutine.
func (w *Writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	w.closed = true
	err := w.flush()
	if w.running {
		close(w.jobs)
		<-w.done
	}
	return err
}

// pending is a file that is encoded and not yet on disk.
type pending struct {
	*closing
	x *encoder
}

// run encodes blocks and writes files. A file that cannot be written is kept, with those after it, and
// tried again with each following job; the position does not move meanwhile.
func (w *Writer) run() {
	defer close(w.done)
	var waiting []pending
	x := newEncoder(w.l.cfg.Yield)
	spare := []*encoder{}
	var broken error // an encoding error: the row group cannot be completed
	for j := range w.jobs {
		if j.blk != nil {
			broken = errors.Join(broken, x.add(j.blk))
			w.free <- j.blk
			if broken != nil {
				w.failed.Store(true)
			}
			continue
		}
		if j.close != nil {
			waiting = append(waiting, pending{j.close, x})
			if n := len(spare); n > 0 {
				x, spare = spare[n-1], spare[:n-1]
				x.reset()
			} else {
				x = newEncoder(w.l.cfg.Yield)
			}
		}
		err := broken
		for err == nil && len(waiting) > 0 {
			if err = w.write(waiting[0]); err == nil {
				spare = append(spare, waiting[0].x)
				select {
				case w.words <- waiting[0].dicts:
				default:
				}
				waiting = waiting[1:]
			}
		}
		if err != nil && !w.failed.Swap(true) {
			w.l.log.Error("cannot write a file of the lake; it will be tried again", "partition", w.partition, "err", err)
		}
		if err == nil {
			w.failed.Store(false)
		}
		if j.reply != nil {
			j.reply <- err
		}
	}
}

// write makes a file durable, which moves the position. Messages that had nothing to keep have their place in a file too, if
// need be in one without rows: then a message that no file has tells that a file is gone.
func (w *Writer) write(p pending) error {
	day := moat.Time(p.day * int64(moat.Day)).Std().Format(dayForm)
	_, err := w.l.writeEvents(day, p.Range, func(f *fileWriter) error { return f.writeGroup(p.x, p.dicts) })
	return err
}
