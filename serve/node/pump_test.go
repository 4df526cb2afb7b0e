package node

import "testing"

// TestFlushWaiting flushes while a batch waits for the keeper: the flush comes before the batch, so it must not
// promise it.
func TestFlushWaiting(t *testing.T) {
	p := &partition{requests: make(chan func()), keep: make(chan work), seq: 5, handed: 4}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.hand(work{seq: 5})
	}()
	p.requests <- func() {
		if err := p.flush(); err != nil {
			t.Error(err)
		}
	}
	w := <-p.keep
	if w.flushed == nil || w.seq != 4 {
		t.Fatalf("the keeper was asked to flush up to %d, and was given no more than 4", w.seq)
	}
	w.flushed <- nil
	if w := <-p.keep; w.seq != 5 || w.flushed != nil {
		t.Fatalf("after the flush came %d", w.seq)
	}
	<-done
}
