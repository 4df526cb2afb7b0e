package river

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	prefetchBytes    = 16 << 20 // of one request; the server then waits for the next
	prefetchMessages = 4096
	requestLife      = 30 * time.Second
	heartbeat        = 2 * time.Second // the server speaks at least this often while a request is open
	idleConsumer     = 5 * time.Minute // after which the server forgets a reader that asks for nothing
	retryConsumer    = 100 * time.Millisecond
)

// Message is one message of a partition.
type Message struct {
	Seq  uint64
	Data []byte    // a batch, which others may be reading, too: it must not be changed
	Time moat.Time // when the log took it
}

// Reader reads one partition in order. It has one owner: its methods are not
// safe for concurrent use, except Close. It keeps no position outside
// of its memory and acknowledges nothing.
type Reader struct {
	river    *River
	part     *partition
	conn     *nats.Conn
	js       jetstream.JetStream
	in       chan *nats.Msg
	inbox    string
	done     chan struct{}
	again    chan struct{} // connected again: consumer and request may be gone
	closed   atomic.Bool
	timer    *time.Timer
	next     uint64   // the sequence to come
	held     *Message // came after a gap that had to be reported first
	gap      bool     // before held, not yet reported
	consumer string   // "" when a new one is needed
	heard    uint64   // messages that this consumer has sent
	reply    string   // where the open request is answered, or ""
	requests int
	left     int // messages that the open request may still bring
}

// Read starts to read a partition after a sequence, 0 for its beginning. It
// fails with [ErrTrimmed] when the next message is already forgotten, and
// with [ErrAhead] when after was never appended.
func (r *River) Read(ctx context.Context, partition int, after uint64) (*Reader, error) {
	p, err := r.partition(partition)
	if err != nil {
		return nil, fmt.Errorf("cannot read: %w", err)
	}
	first, last, err := r.Bounds(ctx, partition)
	switch {
	case err != nil:
	case after+1 < first:
		err = &TrimmedError{partition, after, first}
	case after > last:
		err = fmt.Errorf("%w: %d is after %d", ErrAhead, after, last)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read partition %d after %d: %w", partition, after, err)
	}
	p.tail.join(1)
	rd := &Reader{river: r, part: p, next: after + 1, done: make(chan struct{}), timer: time.NewTimer(0),
		in: make(chan *nats.Msg, prefetchMessages+64), again: make(chan struct{}, 1)}
	found := func() {
		select {
		case rd.again <- struct{}{}:
		default:
		}
	}
	// A connection of its own: a slow reader delays nobody else.
	if rd.conn, err = r.connect("moat reader "+strconv.Itoa(partition), func(error) {}, found); err == nil {
		rd.inbox = rd.conn.NewInbox()
		_, err = rd.conn.ChanSubscribe(rd.inbox+".*", rd.in)
	}
	if err == nil {
		rd.js, err = jetstream.New(rd.conn)
	}
	if err == nil {
		err = rd.ask(ctx)
	}
	if err != nil {
		rd.Close()
		return nil, fmt.Errorf("cannot read partition %d after %d: %w", partition, after, err)
	}
	return rd, nil
}

// Next returns the next message, and waits for it if it is not there yet. An
// error that is [ErrCorrupt] or [ErrTrimmed] tells of messages that are missing here;
// the next call goes on behind them. Any other error leaves the position as it is.
func (rd *Reader) Next(ctx context.Context) (Message, error) {
	for {
		if m, ok := rd.Ready(); ok {
			return m, nil
		}
		if rd.gap {
			return Message{}, rd.reportGap(ctx)
		}
		if rd.closed.Load() || rd.river.closed.Load() {
			return Message{}, ErrClosed
		}
		grew := rd.part.tail.next(rd.next)
		if rd.reply == "" && grew == nil {
			if err := rd.ask(ctx); err != nil {
				return Message{}, fmt.Errorf("cannot read partition %d: %w", rd.part.id, err)
			}
		}
		rd.timer.Reset(2*heartbeat + heartbeat/2)
		select {
		case in := <-rd.in:
			rd.take(in)
		case <-grew:
		case <-rd.again:
			rd.consumer, rd.reply = "", ""
		case <-rd.timer.C: // the server has forgotten us
			rd.consumer, rd.reply = "", ""
		case <-rd.done:
		case <-rd.river.life.Done():
		case <-ctx.Done():
			return Message{}, fmt.Errorf("cannot wait for partition %d: %w", rd.part.id, ctx.Err())
		}
	}
}

// Ready returns the next message if it is here, without waiting. False
// says nothing of the end of the log, nor of an error: for these there is Next.
func (rd *Reader) Ready() (Message, bool) {
	for {
		if rd.gap {
			return Message{}, false
		}
		if m := rd.held; m != nil {
			rd.held = nil
			return rd.give(*m), true
		}
		if m, ok := rd.part.tail.get(rd.next); ok && !rd.closed.Load() && !rd.river.closed.Load() {
			rd.leave()
			return rd.give(m), true
		}
		if rd.reply == "" && rd.consumer != "" && rd.request() != nil {
			return Message{}, false
		}
		select {
		case in := <-rd.in:
			rd.take(in)
		default:
			return Message{}, false
		}
	}
}

func (rd *Reader) give(m Message) Message {
	rd.next = m.Seq + 1
	rd.part.tail.given(m.Seq)
	return m
}

// leave gives the consumer up, as what it would bring next is in the tail.
func (rd *Reader) leave() {
	if rd.consumer == "" {
		return
	}
	// Nobody waits for the answer: the server forgets an idle consumer by itself, too.
	_ = rd.conn.PublishRequest("$JS.API.CONSUMER.DELETE."+streamName(rd.part.id)+"."+rd.consumer, rd.inbox+".left", nil)
	rd.consumer, rd.reply = "", ""
	for len(rd.in) > 0 {
		<-rd.in
	}
}

// Close ends the reader, and a Next that waits.
func (rd *Reader) Close() {
	if rd.closed.Swap(true) {
		return
	}
	rd.part.tail.join(-1)
	close(rd.done)
	if rd.conn != nil {
		rd.conn.Close()
	}
}

// ask makes a consumer if there is none, and opens a request. It tries until
// ctx ends: an external server may be away for a while.
func (rd *Reader) ask(ctx context.Context) error {
	for {
		err := rd.tryAsk(ctx)
		if err == nil || errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		rd.timer.Reset(retryConsumer)
		select {
		case <-rd.timer.C:
		case <-rd.done:
			return ErrClosed
		case <-rd.river.life.Done():
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

func (rd *Reader) tryAsk(ctx context.Context) error {
	if rd.consumer == "" {
		ctx, cancel := context.WithTimeout(ctx, 2*heartbeat)
		defer cancel()
		name := "reader-" + nuid.Next()
		_, err := rd.js.CreateConsumer(ctx, streamName(rd.part.id), jetstream.ConsumerConfig{
			Name:              name,
			DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
			OptStartSeq:       rd.next,
			AckPolicy:         jetstream.AckNonePolicy,
			InactiveThreshold: idleConsumer,
			Replicas:          1,
			MemoryStorage:     true,
		})
		if err != nil {
			return err
		}
		rd.consumer, rd.heard = name, 0
	}
	return rd.request()
}

// request asks the consumer for as much as may be prefetched.
func (rd *Reader) request() error {
	rd.requests++
	reply := rd.inbox + "." + strconv.Itoa(rd.requests)
	body := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`,
		prefetchMessages, prefetchBytes, requestLife, heartbeat)
	to := "$JS.API.CONSUMER.MSG.NEXT." + streamName(rd.part.id) + "." + rd.consumer
	if err := rd.conn.PublishRequest(to, reply, body); err != nil {
		return err
	}
	rd.reply, rd.left = reply, prefetchMessages
	return nil
}

// take handles what has come: a message of ours, or word on the request.
func (rd *Reader) take(in *nats.Msg) {
	if status := in.Header.Get("Status"); status != "" {
		if in.Subject != rd.reply || status == "100" {
			return // an older request's, or a heartbeat
		}
		rd.reply = ""
		switch about := in.Header.Get("Description"); {
		case status == "408", strings.Contains(about, "MaxBytes"), strings.Contains(about, "Batch Completed"):
			// It is used up.
		default:
			rd.consumer = ""
		}
		return
	}
	meta, err := in.Metadata()
	if err != nil || meta.Consumer != rd.consumer {
		return // of a consumer that was given up
	}
	if rd.left--; rd.left <= 0 {
		rd.reply = ""
	}
	if rd.heard++; meta.Sequence.Consumer != rd.heard {
		rd.consumer, rd.reply = "", "" // something was lost on the way
		return
	}
	seq := meta.Sequence.Stream
	if seq < rd.next {
		return
	}
	rd.held = &Message{Seq: seq, Data: in.Data, Time: moat.TimeOf(meta.Timestamp)}
	rd.gap = seq > rd.next
}

// reportGap says why the messages before held are missing.
func (rd *Reader) reportGap(ctx context.Context) error {
	first, _, err := rd.river.Bounds(ctx, rd.part.id)
	if err != nil {
		return fmt.Errorf("cannot read partition %d: %w", rd.part.id, err)
	}
	from, seq := rd.next, rd.held.Seq
	rd.gap, rd.next = false, seq
	if seq <= first {
		return &TrimmedError{rd.part.id, from - 1, seq}
	}
	return &CorruptError{rd.part.id, max(from, first), seq - 1}
}
