package ingest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/moat-platform/moat"
)

// memory is a river in memory. It can be told to refuse.
type memory struct {
	mu      sync.Mutex
	batches [][][]byte // by partition
	refuse  func(partition int) error
	discard bool
}

func newMemory(partitions int) *memory { return &memory{batches: make([][][]byte, partitions)} }

func (m *memory) Partitions() int { return len(m.batches) }

func (m *memory) PartitionOf(partner string) int {
	n := 0
	for i := range len(partner) {
		n = n*31 + int(partner[i])
	}
	return n % len(m.batches)
}

func (m *memory) Append(ctx context.Context, p int, b []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refuse != nil {
		if err := m.refuse(p); err != nil {
			return 0, err
		}
	}
	if !m.discard {
		m.batches[p] = append(m.batches[p], append([]byte(nil), b...))
	}
	return uint64(len(m.batches[p])), ctx.Err()
}

// events returns all events of the river, by partition in order.
func (m *memory) events(t testing.TB) []*moat.Event {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*moat.Event
	for p, batches := range m.batches {
		for _, b := range batches {
			var r moat.BatchReader
			if err := r.Open(b); err != nil {
				t.Fatal(err)
			}
			for e := new(moat.Event); r.Next(e); {
				if m.PartitionOf(e.Partner) != p {
					t.Errorf("event of %s is in partition %d", e.Partner, p)
				}
				if err := e.Check(); err != nil {
					t.Errorf("event in the river is not within the contract: %v: %s", err, moat.AppendJSON(nil, e))
				}
				all = append(all, e.Clone())
			}
			if r.Err() != nil {
				t.Fatal(r.Err())
			}
		}
	}
	return all
}

// describe returns a line for each event, for comparing.
func describe(events []*moat.Event, f func(e *moat.Event) string) string {
	s := ""
	for _, e := range events {
		s += fmt.Sprintln(f(e))
	}
	return s
}
