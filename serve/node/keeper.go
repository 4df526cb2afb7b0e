package node

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
)

// sink is a part of the store that takes every batch in order and skips what it has.
type sink interface {
	Append(seq uint64, batch []byte, skip []uint64) error
	Flush(ctx context.Context) error
}

// lakeSink gives the lake's writer the form of the others.
type lakeSink struct{ *lake.Writer }

func (l lakeSink) Flush(context.Context) error { return l.Writer.Flush() }

// work is what the owner of a partition hands to the keeper: a batch to store with what it led to, something to send
// without a batch, or the wish to know when everything before it is durable.
type work struct {
	seq     uint64
	batch   []byte
	skip    []uint64
	changes book.Changes
	out     foresee.Out // to be sent to other partitions
	flushed chan error
	last    bool // nothing comes after it
}

// keeper stores what the owner of a partition took in, in order, behind its back, so that the engine
// and the questions never wait for a disk.
type keeper struct {
	p       *partition
	sinks   []sink
	seq     uint64
	changes book.Changes
	letters map[int]*moat.BatchWriter // what is to be sent to each partition
	givenUp atomic.Uint64             // events of letters that found no room in the river
	// gone is set when a batch could not be stored before the node closed. Nothing after it may be stored
	// either: the next start begins before it, and the store must end there.
	gone bool
}

// maxJoined bounds the findings of one transaction of the book, and maxWait how long they wait for it.
const (
	maxJoined = 4096
	maxWait   = 50 * time.Millisecond
)

func (k *keeper) run() {
	tick := time.NewTicker(maxWait)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.send(false)
			k.commit()
		case w := <-k.p.keep:
			if w.last {
				return
			}
			if w.flushed != nil {
				w.flushed <- k.flush(w.seq)
				continue
			}
			k.store(w)
		}
	}
}

// store tries until the sinks have the batch. A full disk stops this partition here, and by way of the
// filling river its senders, until there is room again; nothing is passed over.
func (k *keeper) store(w work) {
	if k.gone || !k.post(w.out) || w.batch == nil {
		return
	}
	for _, s := range k.sinks {
		for {
			err := s.Append(w.seq, w.batch, w.skip)
			k.p.warn("cannot store events", err)
			if err == nil {
				break
			}
			if !k.again() {
				k.gone = true
				return
			}
		}
	}
	k.p.n.breathe()
	k.seq = w.seq
	k.changes.Add(w.changes)
	if len(k.changes.Findings)+len(k.changes.Complaints) >= maxJoined {
		k.send(false)
		k.commit()
	}
}

// maxLetter is the size at which what is to be sent no longer waits.
const maxLetter = 1 << 20

// post takes up what is to be sent to other partitions: sightings to the one that watches them all, warnings and uses of canaries to those
// of their partners. It says no when the node is closing and they cannot be sent.
func (k *keeper) post(out foresee.Out) bool {
	to := func(e *moat.Event) {
		id := k.p.n.River.PartitionOf(e.Partner)
		if k.letters[id] == nil {
			if k.letters == nil {
				k.letters = map[int]*moat.BatchWriter{}
			}
			k.letters[id] = &moat.BatchWriter{}
		}
		if k.letters[id].Append(e); k.letters[id].Size() >= maxLetter {
			k.send(true)
		}
	}
	if out.Sightings != nil {
		var r moat.BatchReader
		var e moat.Event
		for err := r.Open(out.Sightings); err == nil && r.Next(&e); {
			to(&e)
		}
	}
	for _, e := range out.Warnings {
		to(e)
	}
	return !k.gone
}

// send appends the letters. They are sent again after a crash and count once by their ids. When the river is full they wait for
// the next time, or, if it is the last, are given up and counted: a snapshot must not be written before what led to it was
// sent, and the partition that has to make room by its snapshot may be this one, or wait for it.
func (k *keeper) send(last bool) {
letters:
	for id, w := range k.letters {
		for w.Len() > 0 && !k.gone {
			_, err := k.p.n.River.Append(context.Background(), id, w.Bytes())
			k.p.warn("cannot tell others", err)
			switch full := errors.Is(err, river.ErrFull); {
			case err == nil:
				w.Reset()
			case full && !last:
				continue letters
			case full:
				k.givenUp.Add(uint64(w.Len()))
				k.p.n.log.Error("what others were to be told was given up", "partition", k.p.id, "to", id, "events", w.Len(), "error", err)
				w.Reset()
			case !k.again():
				k.gone = true
			}
		}
	}
}

// again waits a little; it says no when the node is closing.
func (k *keeper) again() bool {
	select {
	case <-k.p.n.closing:
		return false
	case <-time.After(time.Second):
		return true
	}
}

// commit writes what waits to the book, and tries until the book takes it. What is to be sent was sent before, or waits for room.
func (k *keeper) commit() {
	if len(k.changes.Findings)+len(k.changes.Cases)+len(k.changes.Decisions)+len(k.changes.Complaints) == 0 {
		return
	}
	for k.write() != nil && k.again() {
	}
}

func (k *keeper) write() error {
	k.changes.Cases = lastOf(k.changes.Cases)
	err := k.p.n.Book.Commit(context.Background(), k.p.id, k.seq, k.changes)
	k.p.warn("cannot write to the book", err)
	if err != nil {
		return err
	}
	if len(k.changes.Decisions) > 0 {
		k.p.warn("cannot take decisions up", k.p.n.Desk.Refresh(context.Background(), moat.TimeOf(time.Now())))
	}
	k.changes = book.Changes{}
	return nil
}

// flush makes everything up to seq durable, or says why not.
func (k *keeper) flush(seq uint64) error {
	if k.send(true); k.gone {
		return errBehind
	}
	for _, s := range k.sinks {
		if err := s.Flush(context.Background()); err != nil {
			return err
		}
	}
	if k.seq < seq {
		return errBehind
	}
	return k.write()
}
