package river

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

// TestBeyond: what lies in a store beyond a message can be read when nobody has it, and only then; also where it is damaged.
func TestBeyond(t *testing.T) {
	dir := t.TempDir()
	read := func(after uint64) (list []string) {
		t.Helper()
		more, err := Beyond(dir, func(int) uint64 { return after }, func(p int, seq uint64, batch []byte) error {
			var r moat.BatchReader
			var e moat.Event
			for err := r.Open(batch); err == nil && r.Next(&e); {
				list = append(list, fmt.Sprintf("%d:%d:%s", p, seq, e.ID))
			}
			return r.Err()
		})
		if err != nil || more {
			t.Errorf("beyond %d: %v, %v", after, more, err)
		}
		slices.Sort(list)
		return list
	}
	check := func(after uint64, want ...string) {
		t.Helper()
		if got := read(after); !slices.Equal(got, want) {
			t.Errorf("beyond %d lie %q, want %q", after, got, want)
		}
	}
	check(0) // there is no store
	r := openRiver(t, Config{Dir: dir, Partitions: 2})
	for i := range 4 {
		if _, err := r.Append(t.Context(), i%2, batchOf(100, fmt.Sprint("a", i), fmt.Sprint("b", i))); err != nil {
			t.Fatal(err)
		}
	}
	check(0) // somebody has it
	closeRiver(t, r)
	check(0, "0:1:a0", "0:1:b0", "0:2:a2", "0:2:b2", "1:1:a1", "1:1:b1", "1:2:a3", "1:2:b3")
	check(1, "0:2:a2", "0:2:b2", "1:2:a3", "1:2:b3")
	check(2)
	block := filepath.Join(dir, "jetstream", "$G", "streams", "MOAT_EVENTS_1", "msgs", "1.blk")
	b, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	b[60] ^= 1
	if err := os.WriteFile(block, b, 0o600); err != nil {
		t.Fatal(err)
	}
	check(0, "0:1:a0", "0:1:b0", "0:2:a2", "0:2:b2", "1:2:a3", "1:2:b3")
	if err := os.WriteFile(block, b[:len(b)-1], 0o600); err != nil { // a torn write
		t.Fatal(err)
	}
	check(0, "0:1:a0", "0:1:b0", "0:2:a2", "0:2:b2")
}

// FuzzBeyondIn: no bytes of a block bring it down or make it read without end.
func FuzzBeyondIn(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, b []byte) {
		last := uint64(0)
		if _, err := beyondIn(b, 0, streamName(0), 1, 0, func(_ int, seq uint64, _ []byte) error {
			if seq <= last {
				t.Errorf("%d after %d", seq, last)
			}
			last = seq
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
}
