package river

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	maxWait = 64 << 20 // bytes of appends that may wait in memory
	maxJoin = 2 << 20  // bytes of a joined message
	ackWait = 10 * time.Second

	retryWait  = time.Second      // memory frees itself
	retrySpace = 10 * time.Second // somebody has to trim
)

// partition is one stream and the appends that wait for it.
type partition struct {
	id      int
	subject string
	stream  jetstream.Stream
	wait    atomic.Int64 // bytes of appends that have not returned
	tail    *tail        // nil with an external server

	mu     sync.Mutex
	wake   sync.Cond
	queue  []*appending
	closed bool
}

// appending is one call of Append on its way through a group.
type appending struct {
	batch []byte // nil once the group has its own copy
	done  chan appended
}

type appended struct {
	seq uint64
	err error
}

// Append adds a batch (see [moat.BatchWriter]) to a partition and returns the
// sequence of its message when it is durable as [SyncMode] says. Appends that
// were joined share a sequence. The batch must not change until Append
// returns. On [ErrFull] and other errors nothing is kept, except on
// [ErrUnknown]: a context that ends while the batch is on its way to the
// disk is such a case.
func (r *River) Append(ctx context.Context, partition int, batch []byte) (seq uint64, err error) {
	p, err := r.partition(partition)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		seq, err = r.append(ctx, p, batch)
	}
	if err != nil {
		return 0, fmt.Errorf("cannot append batch of %d bytes: %w", len(batch), err)
	}
	return seq, nil
}

func (r *River) append(ctx context.Context, p *partition, batch []byte) (uint64, error) {
	if limit := r.maxMessage(); len(batch) > limit {
		return 0, fmt.Errorf("%w: the limit is %d", ErrTooLarge, limit)
	}
	if err := new(moat.BatchReader).Open(batch); err != nil {
		return 0, err
	}
	n := int64(len(batch))
	defer r.wait.Add(-n)
	defer p.wait.Add(-n)
	p.wait.Add(n)
	if r.wait.Add(n) > maxWait {
		return 0, &FullError{p.id, "too many bytes wait to be appended", retryWait}
	}
	if r.cfg.Sync == SyncAlways {
		if err := p.enter(&r.groups); err != nil {
			return 0, err
		}
		defer r.groups.Done()
		ctx, cancel := context.WithCancel(ctx)
		defer context.AfterFunc(r.life, cancel)()
		defer cancel()
		return r.publish(ctx, p, slices.Clone(batch))
	}
	a := &appending{batch: batch, done: make(chan appended, 1)}
	if err := p.enqueue(a); err != nil {
		return 0, err
	}
	select {
	case d := <-a.done:
		return d.seq, d.err
	case <-ctx.Done():
		if p.withdraw(a) {
			return 0, ctx.Err()
		}
		return 0, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// maxMessage is the largest message that the server takes. JetStream's own
// header and subject want a little room.
func (r *River) maxMessage() int { return min(MaxBatch, int(r.conn.MaxPayload())-512) }

func (p *partition) enqueue(a *appending) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.queue = append(p.queue, a)
	p.wake.Signal()
	return nil
}

// enter counts an append that goes without a group, unless p is closed.
func (p *partition) enter(groups *sync.WaitGroup) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	groups.Add(1)
	return nil
}

// withdraw takes a back, and tells whether it came before its group left.
func (p *partition) withdraw(a *appending) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.queue {
		if p.queue[i] == a {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return true
		}
	}
	return false
}

func (p *partition) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.wake.Signal()
}

// groupAppends publishes what waits, one message after another, until p is
// closed and empty. While one message is being synced the next
// group gathers, so that groups grow with the load and nobody waits for a timer.
func (r *River) groupAppends(p *partition) {
	var group []*appending
	var buf []byte
	for {
		var err error
		p.tail.gate()
		if p.tail != nil {
			buf = nil // the one before is in the tail now
		}
		if group, buf, err = p.next(group[:0], buf[:0], min(maxJoin, r.maxMessage())); len(group) == 0 {
			return
		}
		d := appended{err: err}
		if err == nil {
			d.seq, d.err = r.publish(r.life, p, buf)
		}
		for _, a := range group {
			a.done <- d
		}
		clear(group)
		if cap(buf) > 2*maxJoin {
			buf = nil
		}
	}
}

// next waits for appends and takes as many as fit in limit bytes, at least
// one. It copies them under the lock: whoever withdraws later may reuse its
// batch at once.
func (p *partition) next(group []*appending, buf []byte, limit int) ([]*appending, []byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) == 0 && !p.closed {
		p.wake.Wait()
	}
	batches, size := make([][]byte, 0, 16), 0
	for _, a := range p.queue {
		if size+len(a.batch) > limit && len(batches) > 0 {
			break
		}
		size += len(a.batch)
		batches = append(batches, a.batch)
	}
	n := len(batches)
	group = append(group, p.queue[:n]...)
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	buf = slices.Grow(buf, size)
	if n == 1 {
		return group, append(buf, batches[0]...), nil
	}
	buf, err := moat.JoinBatches(buf, batches...)
	return group, buf, err
}

// publish sends one message, waits for its acknowledgement, and shows it to readers. The message must not change any more.
func (r *River) publish(ctx context.Context, p *partition, data []byte) (uint64, error) {
	seq, err := r.send(ctx, p, data)
	if err != nil {
		p.tail.doubt()
		return 0, err
	}
	p.tail.put(Message{Seq: seq, Data: data, Time: moat.TimeOf(time.Now())})
	return seq, nil
}

func (r *River) send(ctx context.Context, p *partition, data []byte) (uint64, error) {
	link := r.link.now()
	if r.store != nil {
		if err := r.store.ready(p.id); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	defer context.AfterFunc(link, cancel)()
	ack, err := r.js.PublishMsg(ctx, &nats.Msg{Subject: p.subject, Data: data})
	var api *jetstream.APIError
	switch {
	case err == nil:
		return ack.Sequence, nil
	case errors.As(err, &api):
		if isFull(api) {
			return 0, &FullError{p.id, api.Description, retrySpace}
		}
		return 0, err
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, jetstream.ErrNoStreamResponse):
		return 0, fmt.Errorf("%w: %w", ErrAway, err) // it never left, or nobody took it
	case link.Err() != nil:
		err = context.Cause(link)
	}
	return 0, fmt.Errorf("%w: %w", ErrUnknown, err)
}

// isFull tells JetStream's refusals for want of room from other errors.
func isFull(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case 10002, 10023, 10047: // the account's, the server's, the disk's resources
		return true
	case 10077: // store failed: the description says why
		return strings.Contains(e.Description, "maximum bytes")
	}
	return false
}
