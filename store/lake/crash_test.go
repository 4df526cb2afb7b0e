package lake

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
)

var errPower = errors.New("power failed")

// failAt makes the disk of l fail for ever from step n on, which leaves it as a kill at that point would.
// It returns a counter of the steps that were asked for.
func failAt(l *Lake, n int64) *atomic.Int64 {
	var steps atomic.Int64
	l.step = func(op, path string) error {
		if steps.Add(1) > n {
			return fmt.Errorf("%s: %w", op, errPower)
		}
		return nil
	}
	return &steps
}

// copyDir copies a lake, as a process that starts after a crash would find it.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

func ids(t testing.TB, l *Lake) (out []string) {
	t.Helper()
	for _, f := range scanAll(t, l, everything) {
		out = append(out, f.ID)
	}
	return out
}

func message(seq int) []byte {
	received := testDay + moat.Time(seq)*moat.Second
	return batchOf(simple(fmt.Sprintf("%d-a", seq), received), simple(fmt.Sprintf("%d-b", seq), received))
}

func wantIDs(from, to int) (out []string) {
	for seq := from; seq <= to; seq++ {
		out = append(out, fmt.Sprintf("%d-a", seq), fmt.Sprintf("%d-b", seq))
	}
	return out
}

func equal(t testing.TB, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("%s: events %v, want %v", what, got, want)
	}
}

// A kill at any step of writing a file loses nothing: what the position says is in
// files is there once, and the rest can be appended again.
func TestCrashWhileWriting(t *testing.T) {
	for n := int64(0); ; n++ {
		dir := t.TempDir()
		l := openLake(t, Config{Dir: dir})
		w := l.Writer(3)
		for seq := 1; seq <= 2; seq++ {
			must(t, intake.Append(uint64(seq), message(seq), nil, w))
		}
		must(t, w.Flush())
		steps := failAt(l, n)
		for seq := 3; seq <= 5; seq++ {
			must(t, intake.Append(uint64(seq), message(seq), nil, w))
		}
		err := w.Flush()
		if err != nil && !errors.Is(err, errPower) {
			t.Fatalf("flush: %v", err)
		}
		if durable := l.Position(3); err == nil && durable != 5 || err != nil && durable != 2 && durable != 5 {
			t.Fatalf("after step %d of %d the position is %d", n, steps.Load(), durable)
		}
		before := l.Position(3)

		after := openLake(t, Config{Dir: copyDir(t, dir)})
		at := after.Position(3)
		if at < before || at != 2 && at != 5 {
			t.Fatalf("position %d after a kill at step %d, %d before", at, n, before)
		}
		equal(t, fmt.Sprintf("after a kill at step %d", n), ids(t, after), wantIDs(1, int(at)))
		for seq := 1; seq <= 6; seq++ { // the log sends all that was not acknowledged, and more
			must(t, intake.Append(uint64(seq), message(seq), nil, after.Writer(3)))
		}
		must(t, after.Writer(3).Flush())
		equal(t, "after the log was read again", ids(t, after), wantIDs(1, 6))
		if err == nil {
			if n < 5 {
				t.Fatalf("writing took %d steps only", n)
			}
			return
		}
	}
}

// touching fails unless the files of partition 3 have each message from the first to the last.
func touching(t testing.TB, l *Lake, first, last uint64) {
	t.Helper()
	next := first
	for _, f := range l.Files() {
		if f.First != next {
			t.Fatalf("files %+v: no message %d", l.Files(), next)
		}
		next = f.Last + 1
	}
	if next != last+1 {
		t.Fatalf("files %+v end before %d", l.Files(), last)
	}
}

// Messages that hold nothing but repetitions, or nothing at all, have their place in files, whatever happens: what no file
// has is lost.
func TestRangesTouch(t *testing.T) {
	kept := func(seq int) []uint64 {
		if seq%7 == 1 {
			return nil
		}
		return []uint64{3}
	}
	var want []string
	for seq := 1; seq <= 15; seq += 7 {
		want = append(want, wantIDs(seq, seq)...)
	}
	for n := int64(0); ; n++ {
		l := openLake(t, Config{})
		steps := failAt(l, n)
		run := func(l *Lake) (err error) {
			for seq := int(l.Position(3)) + 1; seq <= 20 && err == nil; seq++ {
				m := message(seq)
				if seq == 5 {
					m = batchOf()
				}
				must(t, intake.Append(uint64(seq), m, kept(seq), l.Writer(3)))
				if seq%3 == 0 || seq == 20 {
					err = l.Writer(3).Flush()
				}
			}
			return err
		}
		err := run(l)
		if err != nil && !errors.Is(err, errPower) {
			t.Fatal(err)
		}
		after := openLake(t, Config{Dir: copyDir(t, l.cfg.Dir)})
		must(t, run(after))
		touching(t, after, 1, 20)
		equal(t, fmt.Sprintf("after a kill at step %d of %d", n, steps.Load()), ids(t, after), want)
		if err != nil {
			continue
		}
		gone := after.Files()[2]
		must(t, os.Remove(gone.Path))
		holed := openLake(t, Config{Dir: after.cfg.Dir})
		must(t, intake.Append(21, batchOf(simple("21", testDay+moat.Day)), nil, holed.Writer(3))) // so that the day may be merged
		must(t, holed.Writer(3).Flush())
		must(t, holed.Compact(t.Context()))
		if f := holed.Files(); len(f) != 3 || f[0].Last != gone.First-1 || f[1].First != gone.Last+1 {
			t.Fatalf("merged around %+v: %+v", gone.Range, f)
		}
		return
	}
}

// A kill at any step of a merge leaves each event visible once, in this process and the next.
func TestCrashWhileCompacting(t *testing.T) {
	build := func() (*Lake, string) {
		dir := t.TempDir()
		l := openLake(t, Config{Dir: dir})
		w := l.Writer(0)
		for seq := 1; seq <= 6; seq++ {
			must(t, intake.Append(uint64(seq), message(seq), nil, w))
			must(t, w.Flush())
		}
		// A later day closes the first.
		late := simple("7-a", testDay+moat.Day)
		must(t, intake.Append(7, batchOf(late), nil, w))
		must(t, w.Flush())
		return l, dir
	}
	want := append(wantIDs(1, 6), "7-a")
	for n := int64(0); ; n++ {
		l, dir := build()
		failAt(l, n)
		err := l.Compact(context.Background())
		equal(t, "in the same process", ids(t, l), want)
		listed, lerr := List(dir)
		must(t, lerr)
		if len(listed) != 7 && len(listed) != 2 {
			t.Fatalf("%d files listed after step %d, want 7 or 2", len(listed), n)
		}
		after := openLake(t, Config{Dir: copyDir(t, dir)})
		equal(t, fmt.Sprintf("after a kill at step %d", n), ids(t, after), want)
		if after.Position(0) != 7 {
			t.Fatalf("position is %d", after.Position(0))
		}
		must(t, after.Compact(context.Background()))
		equal(t, "merged after the kill", ids(t, after), want)
		if files := after.Files(); len(files) != 2 || files[0].First != 1 || files[0].Last != 6 || files[0].Rows != 12 {
			t.Fatalf("files are %+v", files)
		}
		if err == nil {
			if n < 10 {
				t.Fatalf("the merge took %d steps only", n)
			}
			return
		}
	}
}

// A full disk is told, and all is kept until there is room.
func TestDiskFull(t *testing.T) {
	l := openLake(t, Config{SegmentRows: 4})
	w := l.Writer(0)
	var full atomic.Bool
	full.Store(true)
	l.step = func(op, path string) error {
		if full.Load() && op == "write" {
			return &fs.PathError{Op: op, Path: path, Err: syscall.ENOSPC}
		}
		return nil
	}
	seq := 1
	for ; seq < 20; seq++ {
		if err := intake.Append(uint64(seq), message(seq), nil, w); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("append: %v", err)
			}
			break
		}
	}
	if seq == 20 {
		t.Fatal("a full disk was never told")
	}
	if err := w.Flush(); !errors.Is(err, syscall.ENOSPC) || l.Position(0) != 0 {
		t.Fatalf("flush: %v, position %d", err, l.Position(0))
	}
	if err := intake.Append(uint64(seq), message(seq), nil, w); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("append: %v", err)
	}
	full.Store(false)
	for ; seq <= 20; seq++ {
		must(t, intake.Append(uint64(seq), message(seq), nil, w))
	}
	must(t, w.Flush())
	equal(t, "with room again", ids(t, l), wantIDs(1, 20))
	if l.Position(0) != 20 {
		t.Errorf("position is %d", l.Position(0))
	}
	tmp, _ := filepath.Glob(filepath.Join(l.cfg.Dir, "events", "*", "*.tmp"))
	if len(tmp) > 0 {
		t.Errorf("left behind: %v", tmp)
	}
}

// A file that is cut at any point or altered in its footer is set aside, the rest is served, and the position stays.
func TestTornFile(t *testing.T) {
	dir := t.TempDir()
	l := openLake(t, Config{Dir: dir})
	w := l.Writer(0)
	for seq := 1; seq <= 3; seq++ {
		must(t, intake.Append(uint64(seq), message(seq), nil, w))
		must(t, w.Flush())
	}
	must(t, l.Close())
	path := l.Files()[2].Path
	whole, err := os.ReadFile(path)
	must(t, err)
	rel, err := filepath.Rel(dir, path)
	must(t, err)
	check := func(what string, content []byte) {
		t.Helper()
		hurt := copyDir(t, dir)
		must(t, os.WriteFile(filepath.Join(hurt, rel), content, 0o640))
		var log bytes.Buffer
		for range 2 { // the second start finds it set aside already
			l, err := Open(Config{Dir: hurt, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			must(t, err)
			equal(t, what, ids(t, l), wantIDs(1, 2))
			if l.Position(0) != 3 {
				t.Fatalf("%s: position went back to %d", what, l.Position(0))
			}
			if lost := l.Lost(); len(lost) != 1 || lost[0].Range != (Range{0, 3, 3}) {
				t.Fatalf("%s: lost %+v", what, lost)
			}
			if !strings.Contains(log.String(), "damaged") {
				t.Fatalf("%s: log says %s", what, log.String())
			}
		}
	}
	for cut := 0; cut < len(whole); cut += 1 + len(whole)/23 {
		check(fmt.Sprintf("cut at %d of %d", cut, len(whole)), whole[:cut])
	}
	check("last byte missing", whole[:len(whole)-1])
	check("garbage", bytes.Repeat([]byte("garbage!"), 1000))
	check("another file", append([]byte("PAR1"), append(bytes.Repeat([]byte{0}, 100), "\x10\x00\x00\x00PAR1"...)...))
	for i := len(whole) - 12; i > len(whole)-9; i-- {
		b := bytes.Clone(whole)
		b[i] ^= 0xff
		if _, err := parseFooter(t, b); err == nil {
			continue
		}
		check("altered footer", b)
	}
}

func parseFooter(t testing.TB, b []byte) (File, error) {
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, b, 0o640))
	return readFile(path, Range{0, 1, 1 << 40}, "2026-11-21")
}

// A page that is altered is found by its checksum.
func TestAlteredPage(t *testing.T) {
	l := openLake(t, Config{})
	must(t, intake.Append(1, realisticBatches(1)[0], nil, l.Writer(0)))
	must(t, l.Writer(0).Flush())
	path := l.Files()[0].Path
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/3] ^= 1
	must(t, os.WriteFile(path, b, 0o640))
	err = l.Scan(context.Background(), everything, func(Position, *moat.Event) error { return nil })
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Fatalf("scan of an altered file: %v", err)
	}
}

// What is lost is only what nothing makes up for.
func TestLostMergedFile(t *testing.T) {
	dir := t.TempDir()
	l := openLake(t, Config{Dir: dir})
	w := l.Writer(0)
	for seq := 1; seq <= 2; seq++ {
		must(t, intake.Append(uint64(seq), message(seq), nil, w))
		must(t, w.Flush())
	}
	must(t, l.Close())
	torn := filepath.Join(filepath.Dir(l.Files()[0].Path), fileName(Range{0, 1, 2}))
	must(t, os.WriteFile(torn, []byte("PAR1 half of it"), 0o640))
	l = openLake(t, Config{Dir: dir})
	equal(t, "beside a torn merge", ids(t, l), wantIDs(1, 2))
	if len(l.Lost()) != 0 {
		t.Errorf("lost %v", l.Lost())
	}
}

func TestExpire(t *testing.T) {
	l := openLake(t, Config{Retention: 48 * time.Hour})
	w := l.Writer(0)
	for day := range 5 {
		must(t, intake.Append(uint64(day+1), batchOf(simple(fmt.Sprint(day), testDay+moat.Time(day)*moat.Day)), nil, w))
	}
	must(t, w.Flush())
	if n := len(l.Files()); n != 5 {
		t.Fatalf("%d files, want one for each day", n)
	}
	now := (testDay + 4*moat.Day).Std()
	l.cfg.Retention = 0
	must(t, l.Expire(now.AddDate(20, 0, 0)))
	equal(t, "without a retention", ids(t, l), []string{"0", "1", "2", "3", "4"})
	l.cfg.Retention = 48 * time.Hour
	must(t, l.Expire(now))
	equal(t, "after the retention", ids(t, l), []string{"2", "3", "4"})
	if _, err := os.Stat(l.dayDir("2026-11-21")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory of a deleted day: %v", err)
	}
	old := simple("5", testDay+4*moat.Day)
	old.Time = 1 // as history or a wrong clock has it, which is no reason to go before those in front
	must(t, intake.Append(6, batchOf(old), nil, w))
	must(t, w.Flush())
	files := l.Files()
	l.cfg.MaxBytes = files[2].Bytes + files[3].Bytes
	must(t, l.Expire(now))
	equal(t, "under the cap", ids(t, l), []string{"4", "5"})
	l.cfg.MaxBytes = 1
	must(t, l.Expire(now))
	equal(t, "under a tiny cap", ids(t, l), nil)
	if l.Position(0) != 6 {
		t.Errorf("position is %d, want 6", l.Position(0))
	}
	again := openLake(t, Config{Dir: l.cfg.Dir})
	if again.Position(0) != 6 {
		t.Errorf("position is %d after the files are gone, want 6", again.Position(0))
	}
	must(t, intake.Append(6, message(6), nil, again.Writer(0)))
	must(t, intake.Append(7, message(7), nil, again.Writer(0)))
	must(t, again.Writer(0).Flush())
	equal(t, "afterwards", ids(t, again), wantIDs(7, 7))
}

func TestDays(t *testing.T) {
	l := openLake(t, Config{})
	w := l.Writer(0)
	at := func(id string, t moat.Time) *moat.Event { return simple(id, t) }
	must(t, intake.Append(1, batchOf(at("1", testDay+1)), nil, w))
	// The newest receipt decides, for the whole message.
	must(t, intake.Append(2, batchOf(at("2a", testDay+2), at("2b", testDay+moat.Day), at("2c", testDay+3)), nil, w))
	// A clock that went back does not open an old day.
	must(t, intake.Append(3, batchOf(at("3", testDay)), nil, w))
	must(t, intake.Append(4, batchOf(at("4a", testDay), at("4b", testDay+2*moat.Day)), nil, w))
	must(t, w.Flush())
	var got []string
	for _, f := range l.Files() {
		got = append(got, fmt.Sprintf("%s %d-%d %d", f.Day, f.First, f.Last, f.Rows))
	}
	equal(t, "files", got, []string{"2026-11-21 1-1 1", "2026-11-22 2-3 4", "2026-11-23 4-4 2"})
	equal(t, "order", ids(t, l), []string{"1", "2a", "2b", "2c", "3", "4a", "4b"})
}

func TestEmptyAndCorruptMessages(t *testing.T) {
	l := openLake(t, Config{})
	w := l.Writer(0)
	must(t, w.Flush())
	must(t, intake.Append(1, batchOf(), nil, w))
	must(t, intake.Append(2, message(2), []uint64{3}, w))
	must(t, w.Flush())
	if f := l.Files(); l.Position(0) != 2 || len(f) != 1 || f[0].First != 1 || f[0].Last != 2 || f[0].Rows != 0 {
		t.Fatalf("position %d, files %+v after messages without rows", l.Position(0), f)
	}
	bad := message(3)
	binary.LittleEndian.PutUint32(bad[16+4+binary.LittleEndian.Uint32(bad[16:]):], 1<<30) // the length of its second event
	if err := intake.Append(3, bad, nil, w); !errors.Is(err, moat.ErrCorruptBatch) {
		t.Fatalf("corrupt batch: %v", err)
	}
	must(t, intake.Append(4, message(4), nil, w))
	must(t, intake.Append(6, message(6), []uint64{1}, w))
	must(t, w.Flush())
	equal(t, "what is whole", ids(t, l), []string{"3-a", "4-a", "4-b", "6-b"})
	again := openLake(t, Config{Dir: l.cfg.Dir})
	if again.Position(0) != 6 {
		t.Errorf("position is %d", again.Position(0))
	}
	must(t, l.Close())
	if err := intake.Append(7, message(7), nil, w); !errors.Is(err, ErrClosed) {
		t.Errorf("append to a closed lake: %v", err)
	}
	if err := w.Flush(); !errors.Is(err, ErrClosed) {
		t.Errorf("flush of a closed lake: %v", err)
	}
}
