package node

import "testing"

// TestFlushWaiting flushes while a batch waits for the keeper: the flush may come before the batch, so it must not
// promise it.
func TestFlushWaiting(t *testing.T) {
	p := &partition{turn: make(chan struct{}, 1), keep: make(chan work), ended: make(chan struct{}), seq: 5, handed: 4}
	done := make(chan struct{}, 2)
	p.own()
	go func() {
		p.hand(work{seq: 5})
		p.leave()
		done <- struct{}{}
	}()
	go func() {
		if err := p.do(t.Context(), func() {
			if err := p.flush(t.Context()); err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Error(err)
		}
		done <- struct{}{}
	}()
	for range 2 {
		switch w := <-p.keep; {
		case w.flushed == nil && w.seq == 5:
		case w.flushed != nil && w.seq == 4:
			w.flushed <- nil
		default:
			t.Fatalf("the keeper was given %d (to flush: %v), want the batch 5 and a flush up to 4", w.seq, w.flushed != nil)
		}
	}
	<-done
	<-done
}
