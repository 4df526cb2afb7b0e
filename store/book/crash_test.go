package book

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/moat-platform/moat"
)

// crashBook is the variable that makes the test program the child of TestCrash.
const crashBook = "MOAT_TEST_CRASH_BOOK"

const crashBatch = 200

// crashChanges is what the child commits at seq.
func crashChanges(seq int) Changes {
	c := story("a", seq*crashBatch, seq*crashBatch+3)
	changes := Changes{Cases: []moat.Case{c}, Decisions: []moat.Decision{decided(c, moat.Deny)}}
	for n := range crashBatch {
		changes.Findings = append(changes.Findings, finding("a", seq*crashBatch+n))
	}
	return changes
}

// crashChild commits until it is killed, and says each position that it was promised.
func crashChild(path string) {
	ctx := context.Background()
	b, err := Open(ctx, path, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	seq, err := b.Position(ctx, 3)
	for ; err == nil && seq < 10_000; seq++ {
		if err = b.Commit(ctx, 3, seq+1, crashChanges(int(seq+1))); err == nil {
			fmt.Println(seq + 1)
		}
	}
	fmt.Println("error", err)
	os.Exit(1)
}

// TestCrash kills a process with SIGKILL while it commits, again and again,
// and finds all that was promised, whole batches only, and nothing twice.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book.db")
	var promised uint64
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashBook+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 3 {
			if !lines.Scan() {
				t.Fatal("the child stopped by itself")
			}
		}
		// Somewhere within the next commits, which take a few milliseconds each.
		kill := time.AfterFunc(time.Duration(rand.IntN(20_000))*time.Microsecond, func() { cmd.Process.Kill() })
		last := lines.Text()
		for lines.Scan() {
			last = lines.Text()
		}
		kill.Stop()
		cmd.Wait()
		if _, err := fmt.Sscan(last, &promised); err != nil {
			t.Fatalf("round %d: the child said %q", round, last)
		}
		checkCrashed(t, path, promised)
	}
}

func checkCrashed(t *testing.T, path string, promised uint64) {
	t.Helper()
	b := openTest(t, path)
	defer b.Close()
	seq, err := b.Position(t.Context(), 3)
	if err != nil || seq < promised {
		t.Fatalf("position %d, promised %d: %v", seq, promised, err)
	}
	if err := b.Commit(t.Context(), 3, seq, crashChanges(int(seq))); err != nil { // as after a restart from a snapshot
		t.Fatal(err)
	}
	for table, want := range map[string]uint64{"findings": seq * crashBatch, "cases": seq, "decisions": seq, "audit": 2 * seq} {
		var n uint64
		if err := b.read.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil || n != want {
			t.Fatalf("%s holds %d rows, want %d: %v", table, n, want, err)
		}
	}
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
