package intake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

// notes is a sink that writes down what it is told.
type notes struct {
	strings.Builder
	last, begun uint64
	full        error
}

func (n *notes) Begin(seq uint64, received moat.Time) (bool, error) {
	if seq <= n.last || n.full != nil {
		return false, n.full
	}
	n.begun = seq
	fmt.Fprintf(n, "%d at %d:", seq, received)
	return true, nil
}

func (n *notes) Add(row uint32, e *moat.Event) { fmt.Fprintf(n, " %d=%s", row, e.ID) }

func (n *notes) End() {
	n.last = n.begun
	n.WriteString(".\n")
}

func batchOf(ids ...string) []byte {
	var w moat.BatchWriter
	for i, id := range ids {
		e := moat.Event{ID: id, Received: moat.Time(100 - i)}
		e.MarkAll()
		w.Append(&e)
	}
	return w.Bytes()
}

func TestAppend(t *testing.T) {
	ahead, behind := &notes{last: 1}, &notes{}
	give := func(want error, seq uint64, batch []byte, skip ...uint64) {
		t.Helper()
		if err := Append(seq, batch, skip, ahead, behind); !errors.Is(err, want) {
			t.Errorf("message %d: %v, want %v", seq, err, want)
		}
	}
	give(nil, 1, batchOf("a"))
	give(nil, 1, batchOf("a"))
	full := errors.New("disk is full")
	behind.full = full
	give(full, 2, batchOf("b", "c", "d"))
	if ahead.last != 1 {
		t.Error("one has what the other refused")
	}
	behind.full = nil
	give(nil, 2, batchOf("b", "c", "d"), 1<<1)
	broken := batchOf("e", "f")
	binary.LittleEndian.PutUint32(broken[16+4+binary.LittleEndian.Uint32(broken[16:]):], 1<<30) // the length of its second event
	give(moat.ErrCorruptBatch, 3, broken)
	give(moat.ErrCorruptBatch, 4, []byte("nothing"))
	give(nil, 5, batchOf())
	const both = "2 at 100: 0=b 2=d.\n3 at 100: 0=e.\n4 at 0:.\n5 at 0:.\n"
	if got := behind.String(); got != "1 at 100: 0=a.\n"+both {
		t.Errorf("the one behind was told\n%s", got)
	}
	if got := strings.TrimPrefix(ahead.String(), "2 at 100:"); got != both { // which was begun twice
		t.Errorf("the one ahead was told\n%s", got)
	}
}
