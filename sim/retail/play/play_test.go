package play_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/retail"
	"github.com/moat-platform/moat/sim/retail/play"
)

func world(t *testing.T) *retail.World {
	t.Helper()
	start, err := moat.ParseTime("2026-04-06T00:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	w, err := retail.New(retail.Config{Seed: 3, Start: start, Days: retail.MinDays})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestRun plays four weeks over signed HTTP, the river, the engine and the store.
func TestRun(t *testing.T) {
	w := world(t)
	var last play.State
	r, err := play.Run(t.Context(), play.Config{Dir: t.TempDir(), World: w, Shown: func(s play.State) { last = s }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Found() < 5 || len(r.Verdict.False) > 4 {
		t.Errorf("found %d of %d, %d false", r.Verdict.Found(), len(r.Verdict.Outcomes), len(r.Verdict.False))
	}
	if r.Events < 30_000 || r.Findings == 0 || last.Days != retail.MinDays {
		t.Errorf("%d events, %d findings, shown %+v", r.Events, r.Findings, last)
	}
	decided := false
	for _, o := range r.Verdict.Outcomes {
		decided = decided || o.Case != nil && len(r.Decisions[o.Case.ID]) > 0
	}
	if !decided {
		t.Error("nothing was decided about any thief")
	}
	t.Logf("%d events in %s", r.Events, r.Took)
}

// TestRefusesData does not mix a play with what is there.
func TestRefusesData(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "book.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := play.Run(t.Context(), play.Config{Dir: dir, World: world(t)}); !errors.Is(err, play.ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
}
