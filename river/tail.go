package river

import (
	"sync"
	"time"
)

const (
	maxTail   = 32 << 20               // bytes of messages that a tail keeps
	highWater = 8 << 20                // bytes that readers may be behind before appends wait for them
	gateWait  = 100 * time.Millisecond // for which one message waits at most
)

// tail is the newest messages of a partition, all of them durable, for readers that keep up: what
// this process has just given to the log need not be fetched from it again. There is one only in front of the embedded
// store, as nobody else appends to that.
type tail struct {
	mu    sync.Mutex
	ring  []Message // one sequence after another
	bytes int
	last  uint64 // the newest message
	whole bool   // nothing is in the log behind last, as far as is known
	// grew is closed when last or whole changes.
	grew chan struct{}

	readers int
	read    uint64 // the furthest that one of them has come
	caught  chan struct{}
}

func newTail() *tail { return &tail{grew: make(chan struct{}), caught: make(chan struct{}, 1)} }

// put adds a message that the log has acknowledged. Its data must not change any more.
func (t *tail) put(m Message) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Seq <= t.last {
		return // an append that went by itself, and was overtaken: it is in the log
	}
	if m.Seq != t.last+1 {
		t.forget(len(t.ring))
	}
	t.ring = append(t.ring, m)
	t.bytes += len(m.Data)
	n := 0
	for over := t.bytes - maxTail; over > 0; n++ {
		over -= len(t.ring[n].Data)
	}
	t.forget(n)
	t.last, t.whole = m.Seq, true
	t.wake()
}

// forget drops the n oldest.
func (t *tail) forget(n int) {
	for i := range n {
		t.bytes -= len(t.ring[i].Data)
	}
	rest := copy(t.ring, t.ring[n:])
	clear(t.ring[rest:])
	t.ring = t.ring[:rest]
}

func (t *tail) wake() {
	close(t.grew)
	t.grew = make(chan struct{})
}

// doubt says that the log may have more than was acknowledged: readers must ask it.
func (t *tail) doubt() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.whole = false
	t.wake()
}

// trim forgets the messages up to through.
func (t *tail) trim(through uint64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(t.ring) && t.ring[n].Seq <= through {
		n++
	}
	t.forget(n)
}

// get returns a message if it is here.
func (t *tail) get(seq uint64) (m Message, ok bool) {
	if t == nil {
		return m, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ring) == 0 || seq < t.ring[0].Seq || seq > t.last {
		return m, false
	}
	return t.ring[seq-t.ring[0].Seq], true
}

// next returns a channel that is closed when the message seq may be here, or must be asked for; nil if it must be now.
func (t *tail) next(seq uint64) <-chan struct{} {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.whole || seq != t.last+1 {
		return nil
	}
	return t.grew
}

// join counts a reader, leave takes it back.
func (t *tail) join(by int) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers += by
	t.release()
}

// given notes that a reader has come to seq.
func (t *tail) given(seq uint64) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = max(t.read, seq)
	t.release()
}

// release lets one who waits at the gate look again.
func (t *tail) release() {
	select {
	case t.caught <- struct{}{}:
	default:
	}
}

// gate waits while readers are far behind, though not for long: senders who are a little late now and then keep what
// they send warm in the processor's cache, and it is looked at before it is old; one who does not read must stop nobody.
func (t *tail) gate() {
	if t == nil {
		return
	}
	var timer *time.Timer
	for t.behind() {
		if timer == nil {
			timer = time.NewTimer(gateWait)
			defer timer.Stop()
		}
		select {
		case <-t.caught:
		case <-timer.C:
			return
		}
	}
}

func (t *tail) behind() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	unread := 0
	for i := len(t.ring) - 1; i >= 0 && t.ring[i].Seq > t.read; i-- {
		unread += len(t.ring[i].Data)
	}
	return t.readers > 0 && unread > highWater
}
