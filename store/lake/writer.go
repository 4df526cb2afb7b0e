package lake

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
)

const (
	// maxBatch bounds the bytes of a batch, so that no page grows beyond what Parquet allows.
	maxBatch = 256 << 20
	// segmentBytes closes a file early when its text is long.
	segmentBytes = 512 << 20
)

// Writer writes the files of one partition. Append and Flush must be called from one
// goroutine at a time; the encoding and writing happen on another.
type Writer struct {
	l         *Lake
	partition int

	mu     sync.Mutex // held by Append, Flush and close
	closed bool
	last   uint64 // last sequence taken
	today  int64  // day of the newest receipt so far, in days since 1970
	seg    segment
	grp    group // its blocks
	reader moat.BatchReader
	event  moat.Event

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

// Append takes the events of the message with sequence seq, which was opened before
// (see [moat.BatchReader.OpenAgain]), except the rows whose bit is set in skip (bit n&63
// of word n>>6 for row n). A message that was taken before is ignored. When Append
// returns an error the message was not taken, and the caller may try again: after a
// full disk, for example, Append fails until what is waiting could be written. An error
// that wraps [moat.ErrCorruptBatch] will not go away.
func (w *Writer) Append(seq uint64, batch []byte, skip []uint64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("cannot append: %w", ErrClosed)
	}
	if seq <= w.last {
		return nil
	}
	if len(batch) > maxBatch || seq > 1<<63-1 {
		return fmt.Errorf("cannot append message %d of %d bytes: over the limit of %d", seq, len(batch), maxBatch)
	}
	if err := w.settle(); err != nil {
		return fmt.Errorf("cannot append: %w", err)
	}
	if err := w.take(seq, batch, skip); err != nil {
		return fmt.Errorf("cannot append message %d: %w", seq, err)
	}
	w.last, w.seg.Last = seq, seq
	b := w.grp.blk
	switch {
	case w.seg.rows >= w.l.cfg.SegmentRows || w.seg.text+b.text >= segmentBytes:
		w.finish(nil)
	case b.rows >= blockRows || b.text >= blockBytes:
		w.seal()
	}
	return nil
}

// take adds the events of a batch to the segment of its day, all or none.
func (w *Writer) take(seq uint64, batch []byte, skip []uint64) error {
	for {
		w.begin(seq)
		g := &w.grp
		day, err := w.addRows(seq, batch, skip)
		switch {
		case err != nil:
			g.abort()
			if w.seg.First == seq {
				w.seg.First = 0
			}
			return err
		case day > w.seg.day && w.seg.rows > 0:
			// The batch is of a newer day than the segment: it goes to the next one.
			g.abort()
			w.today = day
			w.finish(nil)
			continue
		}
		w.today = day
		w.seg.day = day
		w.seg.rows += g.blk.rows - g.before.rows
		g.commit()
		return nil
	}
}

// begin makes sure that there is a segment and a block to write to.
func (w *Writer) begin(seq uint64) {
	if w.seg.First == 0 {
		w.seg.Range = Range{Partition: w.partition, First: seq}
		w.seg.day, w.seg.rows, w.seg.text = w.today, 0, 0
	}
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

// addRows adds the rows of a batch and returns the newest day of receipt so far.
// It stops early when that is newer than the segment's, unless the segment has no rows.
func (w *Writer) addRows(seq uint64, batch []byte, skip []uint64) (day int64, err error) {
	g := &w.grp
	day = w.today
	err = w.reader.OpenAgain(batch)
	g.begin(w.reader.Len())
	if err != nil {
		return day, err
	}
	for row := 0; w.reader.Next(&w.event); row++ {
		day = max(day, int64(w.event.Received/moat.Day))
		if day > w.seg.day && w.seg.rows > 0 {
			continue // only to find the newest day
		}
		if row>>6 < len(skip) && skip[row>>6]&(1<<(row&63)) != 0 {
			continue
		}
		g.add(seq, row, &w.event)
	}
	return day, w.reader.Err()
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
