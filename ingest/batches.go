package ingest

import (
	"context"
	"errors"
	"sync"

	"github.com/moat-platform/moat"
)

// cutBatch is the size from which on a batch is closed and another begun: small
// enough for any server's largest message, large enough to cost nothing per event.
const cutBatch = 512 << 10

// batches gathers events into batches, each for one partition, in the order
// in which they come. The zero value with a river is ready.
type batches struct {
	river River
	open  []*moat.BatchWriter // by partition
	done  [][]*moat.BatchWriter
	free  []*moat.BatchWriter
	n     int // events

	partner   string // of the last event, and its partition
	partition int
}

// add copies e to the batch of its partner's partition.
func (b *batches) add(e *moat.Event) {
	if b.open == nil {
		n := b.river.Partitions()
		b.open, b.done = make([]*moat.BatchWriter, n), make([][]*moat.BatchWriter, n)
	}
	if b.partner != e.Partner || b.partner == "" {
		b.partner, b.partition = string(append([]byte(nil), e.Partner...)), b.river.PartitionOf(e.Partner)
	}
	p := b.partition
	w := b.open[p]
	if w == nil {
		w = b.writer()
		b.open[p] = w
	}
	w.Append(e)
	b.n++
	if w.Size() >= cutBatch {
		b.done[p] = append(b.done[p], w)
		b.open[p] = nil
	}
}

func (b *batches) writer() *moat.BatchWriter {
	if n := len(b.free); n > 0 {
		w := b.free[n-1]
		b.free = b.free[:n-1]
		return w
	}
	return new(moat.BatchWriter)
}

// send puts all batches into the river, partitions side by side, and returns when
// they are durable. After an error some may be in the river: sending all
// events again does no harm. The batches are kept until reset.
func (b *batches) send(ctx context.Context, put func(ctx context.Context, partition int, batch []byte) error) error {
	var busy []int
	for p := range b.open {
		if w := b.open[p]; w != nil && w.Len() > 0 {
			b.done[p] = append(b.done[p], w)
			b.open[p] = nil
		}
		if len(b.done[p]) > 0 {
			busy = append(busy, p)
		}
	}
	one := func(p int) error {
		for _, w := range b.done[p] {
			if err := put(ctx, p, w.Bytes()); err != nil {
				return err
			}
		}
		return nil
	}
	if len(busy) == 1 {
		return one(busy[0])
	}
	errs := make([]error, len(busy))
	var wg sync.WaitGroup
	for i, p := range busy {
		wg.Go(func() { errs[i] = one(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// reset forgets all events, and keeps a little of the memory.
func (b *batches) reset() {
	const keep = 4
	for p := range b.open {
		if w := b.open[p]; w != nil {
			b.done[p] = append(b.done[p], w)
			b.open[p] = nil
		}
		for _, w := range b.done[p] {
			if len(b.free) < keep && w.Size() < 2*cutBatch {
				w.Reset()
				b.free = append(b.free, w)
			}
		}
		clear(b.done[p])
		b.done[p] = b.done[p][:0]
	}
	b.n, b.partner = 0, ""
}
