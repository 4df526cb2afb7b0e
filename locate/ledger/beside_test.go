package ledger

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// A reader beside the owner answers from what is in files, also when those are merged away, and
// changes nothing on the disk, not even what is damaged.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	owner := open(t, dir)
	defer owner.Close()
	w, err := owner.Writer(0)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(6) {
		appendBatch(t, owner, 0, seq+1, &moat.Event{Type: moat.OrderAccess, ID: "e", Time: moat.Second, Partner: "p", Orders: []string{"o"}})
		if err := w.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	odd := filepath.Join(dir, "left.tmp")
	if err := os.WriteFile(odd, []byte("half a run"), 0o600); err != nil {
		t.Fatal(err)
	}
	beside, err := openWith(run.Config{Dir: dir, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	owner.Merge()
	if n := len(owner.Stats().Runs); n > 3 {
		t.Fatalf("nothing was merged: %d runs", n)
	}
	a, err := beside.Orders(t.Context(), moat.Everyone(), []string{"o"}, 0, 0)
	if err != nil || len(a.Orders[0].Touches) != 6 || a.Damaged != 0 {
		t.Errorf("got %+v, %v; want six touches", a, err)
	}
	if _, err := beside.Writer(0); err == nil {
		t.Error("a reader may write")
	}
	if err := beside.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(odd); err != nil {
		t.Errorf("the reader removed a file: %v", err)
	}
	none, err := openWith(run.Config{Dir: filepath.Join(dir, "none"), ReadOnly: true})
	if err != nil {
		t.Fatalf("a folder that is not there yet: %v", err)
	}
	if err := none.Close(); err != nil {
		t.Error(err)
	}
}
