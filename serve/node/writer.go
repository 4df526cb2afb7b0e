package node

import (
	"context"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/book"
)

// writer carries changes of one partition to the book, in order, behind the engine's back: a
// transaction takes a millisecond, in which the engine takes in five hundred events. What
// waits is joined into one transaction.
type writer struct {
	p    *partition
	work chan job
	done chan struct{}
	err  error
}

type job struct {
	seq     uint64
	changes book.Changes
	synced  chan error // answered when everything up to here is in the book
}

func (p *partition) newWriter() *writer {
	w := &writer{p: p, work: make(chan job, 256), done: make(chan struct{})}
	go w.run()
	return w
}

func (w *writer) put(seq uint64, c book.Changes) {
	if len(c.Findings)+len(c.Cases)+len(c.Decisions) > 0 {
		w.work <- job{seq: seq, changes: c}
	}
}

// sync returns when the book has everything that was put, and the position.
func (w *writer) sync() error {
	j := job{seq: w.p.seq, synced: make(chan error, 1)}
	w.work <- j
	return <-j.synced
}

func (w *writer) close() error {
	close(w.work)
	<-w.done
	return w.err
}

// maxJoined bounds the findings of one transaction.
const maxJoined = 4096

func (w *writer) run() {
	defer close(w.done)
	for j := range w.work {
		waiting := []chan error{j.synced}
	join:
		for len(j.changes.Findings) < maxJoined {
			select {
			case more, ok := <-w.work:
				if !ok {
					break join
				}
				j.seq = max(j.seq, more.seq)
				j.changes.Findings = append(j.changes.Findings, more.changes.Findings...)
				j.changes.Cases = append(j.changes.Cases, more.changes.Cases...)
				j.changes.Decisions = append(j.changes.Decisions, more.changes.Decisions...)
				waiting = append(waiting, more.synced)
			default:
				break join
			}
		}
		j.changes.Cases = lastOf(j.changes.Cases)
		err := w.commit(j)
		for _, c := range waiting {
			if c != nil {
				c <- err
			}
		}
	}
}

// commit tries until the book takes the changes: they are in the log, but a snapshot may
// only pass them when they are in the book.
func (w *writer) commit(j job) error {
	for try := 0; ; try++ {
		err := w.p.n.Book.Commit(context.Background(), w.p.id, j.seq, j.changes)
		if err == nil {
			if len(j.changes.Decisions) > 0 {
				w.p.warn("cannot take decisions up", w.p.n.Desk.Refresh(context.Background(), moat.TimeOf(time.Now())))
			}
			return nil
		}
		w.p.warn("cannot write to the book", err)
		if try == 4 {
			w.err = err
			return err
		}
		time.Sleep(time.Duration(try+1) * 200 * time.Millisecond)
	}
}
