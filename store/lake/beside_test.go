package lake

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
)

// A reader beside the owner sees each event once, in order, while the owner merges the
// files under it, and leaves the disk alone.
func TestScanDirWhileCompacting(t *testing.T) {
	dir := t.TempDir()
	l := openLake(t, Config{Dir: dir, SegmentRows: 10})
	const messages = 60
	for p := range 2 {
		for seq := uint64(1); seq <= messages; seq++ {
			e := simple(fmt.Sprintf("%d-%d", p, seq), testDay+moat.Time(seq)*moat.Minute)
			must(t, intake.Append(seq, batchOf(e), nil, l.Writer(p)))
			must(t, l.Writer(p).Flush())
		}
	}
	before := len(l.Files())
	var got []Position
	var done, total uint64
	err := ScanDir(t.Context(), dir, everything, func(d, n uint64) { done, total = d, n }, func(p Position, e *moat.Event) error {
		if got = append(got, p); len(got) == 7 || len(got) == messages+7 {
			must(t, l.Compact(context.Background()))
		}
		return nil
	})
	must(t, err)
	if len(l.Files()) >= before {
		t.Fatalf("nothing was merged: %d files, before %d", len(l.Files()), before)
	}
	if len(got) != 2*messages {
		t.Fatalf("%d events, want %d", len(got), 2*messages)
	}
	for i, p := range got {
		if want := (Position{i / messages, uint64(i%messages) + 1, 0}); p != want {
			t.Fatalf("event %d is at %v, want %v", i, p, want)
		}
	}
	if done != 2*messages || total != 2*messages {
		t.Errorf("progress ended at %d of %d", done, total)
	}
	must(t, ScanDir(t.Context(), filepath.Join(dir, "none"), everything, nil, func(Position, *moat.Event) error {
		t.Error("an empty lake has an event")
		return nil
	}))
}
