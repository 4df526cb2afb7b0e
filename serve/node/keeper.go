package node

import (
	"context"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/lake"
	"github.com/moat-platform/moat/store/run"
)

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
	lake    *lake.Writer
	index   *run.Writer
	seq     uint64
	changes book.Changes
	letters letters
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
	tick, flush := time.NewTicker(maxWait), time.NewTicker(k.p.n.cfg.FlushEvery)
	defer tick.Stop()
	defer flush.Stop()
	for {
		select {
		case <-tick.C:
			k.letters.send()
			k.commit()
		case <-flush.C:
			k.p.warn("cannot flush", k.flush(k.seq))
		case w := <-k.p.keep:
			if w.last {
				return
			}
			if w.flushed != nil {
				w.flushed <- k.flush(w.seq)
				continue
			}
			k.store(w)
			k.p.unkept.Add(-int64(len(w.batch)))
			select {
			case k.p.stored <- struct{}{}:
			default:
			}
		}
	}
}

// store tries until lake and index have the batch. A full disk stops this partition here, and by way of the
// filling river its senders, until there is room again; nothing is passed over.
func (k *keeper) store(w work) {
	if k.gone {
		return
	}
	if k.letters.post(w.out); w.batch == nil {
		return
	}
	for {
		err := intake.Append(w.seq, w.batch, w.skip, k.lake, k.index)
		k.p.warn("cannot store events", err)
		if err == nil {
			break
		}
		if !k.again() {
			k.gone = true
			return
		}
	}
	k.p.n.breathe()
	k.seq = w.seq
	k.changes.Add(w.changes)
	if len(k.changes.Findings)+len(k.changes.Complaints) >= maxJoined {
		k.letters.send()
		k.commit()
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
	if err := k.letters.flush(); err != nil {
		return err
	}
	if err := k.lake.Flush(); err != nil {
		return err
	}
	if err := k.index.Flush(context.Background()); err != nil {
		return err
	}
	if k.seq < seq {
		return errBehind
	}
	return k.write()
}
