package node_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/lake"
)

// worked returns a data folder in which a node worked for a while and took two snapshots, and the ids of
// what it found.
func worked(t *testing.T) (dir string, found []string) {
	t.Helper()
	dir = opened(t, 2, 30)
	n := open(t, dir)
	defer n.Close()
	for _, f := range findings(t, n) {
		found = append(found, f.ID)
	}
	if len(found) == 0 {
		t.Fatal("nothing was found")
	}
	return dir, found
}

// opened returns a data folder in which a node worked several times, each time on so many events.
func opened(t *testing.T, times, events int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := range times {
		n := open(t, dir)
		send(t, n, i*events, (i+1)*events)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// reopen opens dir with a log and returns both.
func reopen(t *testing.T, dir string) (*node.Node, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	n, err := node.Open(t.Context(), node.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return n, &log
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, filepath.Base(path)); ok && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0x40
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// goOn checks that a node still finds what it would have found, and that it still knows all that it found before.
func goOn(t *testing.T, n *node.Node, before []string) {
	t.Helper()
	send(t, n, 60, 500)
	var after []string
	for _, f := range findings(t, n) {
		after = append(after, f.ID)
	}
	for _, id := range before {
		if !slices.Contains(after, id) {
			t.Errorf("finding %s is gone", id)
		}
	}
	if len(after) <= len(before) {
		t.Error("nothing more is found")
	}
}

func TestCorruptSnapshot(t *testing.T) {
	dir, found := worked(t)
	snaps := glob(t, dir, "*.snap")
	if len(snaps) == 0 {
		t.Fatal("there is no snapshot")
	}
	newest := slices.Max(snaps)
	flip(t, newest)
	n, log := reopen(t, dir)
	defer n.Close()
	if !strings.Contains(log.String(), "snapshot cannot be read") {
		t.Errorf("the log does not tell of the snapshot: %s", log)
	}
	if _, err := os.Stat(newest + ".damaged"); err != nil {
		t.Errorf("the snapshot was not set aside: %v", err)
	}
	goOn(t, n, found)
}

// TestOldSnapshot opens a folder whose snapshots another version wrote, as at an upgrade: that is told, and is no fault.
func TestOldSnapshot(t *testing.T) {
	dir, found := worked(t)
	for _, s := range glob(t, dir, "*.snap") {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s, regexp.MustCompile("MOATENG.").ReplaceAll(b, []byte("MOATENG3")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n, log := reopen(t, dir)
	defer n.Close()
	if !strings.Contains(log.String(), "is of another version") || strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("the log says %s", log)
	}
	goOn(t, n, found)
}

// TestNoSnapshot loses all snapshots: the state is built again from the river and the lake, and
// then finds exactly what it would have found.
func TestNoSnapshot(t *testing.T) {
	dir, found := worked(t)
	for _, s := range glob(t, dir, "*.snap") {
		flip(t, s)
	}
	n, _ := reopen(t, dir)
	defer n.Close()
	goOn(t, n, found)
	whole := open(t, t.TempDir())
	defer whole.Close()
	send(t, whole, 0, 500)
	if a, b := findings(t, n), findings(t, whole); len(a) != len(b) {
		t.Errorf("%d findings after the loss, %d without it", len(a), len(b))
	}
}

func TestTornParquet(t *testing.T) {
	dir, found := worked(t)
	files := glob(t, dir, "*.parquet")
	if len(files) < 2 {
		t.Fatalf("there are %d files of events", len(files))
	}
	slices.Sort(files)
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], info.Size()/2); err != nil {
		t.Fatal(err)
	}
	n, log := reopen(t, dir)
	defer n.Close()
	if !strings.Contains(log.String(), filepath.Base(files[0])) || len(n.Lake.Lost()) != 1 {
		t.Errorf("the torn file is not told of: lost %+v, log %s", n.Lake.Lost(), log)
	}
	goOn(t, n, found)
	kept := 0
	err = n.Lake.Scan(t.Context(), lake.Filter{Tenant: moat.Everyone()}, func(lake.Position, *moat.Event) error { kept++; return nil })
	if err != nil || kept < 400 {
		t.Errorf("%d events are kept, %v", kept, err)
	}
}

func TestTruncatedRiver(t *testing.T) {
	dir, found := worked(t)
	for _, blk := range glob(t, filepath.Join(dir, "river"), "*.blk") {
		info, err := os.Stat(blk)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 100 {
			if err := os.Truncate(blk, info.Size()-70); err != nil {
				t.Fatal(err)
			}
		}
	}
	n, _ := reopen(t, dir)
	defer n.Close()
	goOn(t, n, found)
}

// TestLostBook loses the book and keeps the state: the findings are made again from the lake, and are the same.
func TestLostBook(t *testing.T) {
	dir, found := worked(t)
	for _, f := range glob(t, dir, "book.db*") {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	n, log := reopen(t, dir)
	if !strings.Contains(log.String(), "the book was lost or is older") || !strings.Contains(log.String(), "put book.db back") {
		t.Errorf("the log does not tell of the book: %s", log)
	}
	goOn(t, n, found)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n, log = reopen(t, dir)
	defer n.Close()
	if strings.Contains(log.String(), "lost") {
		t.Errorf("the next start complains, too: %s", log)
	}
}

// TestLostStores loses one folder after the other. Each is told of at the start; the index is built again from
// the lake, so that it answers as before.
func TestLostStores(t *testing.T) {
	for name, want := range map[string]string{"lake": "missing from the lake", "index": "missing from the index"} {
		t.Run(name, func(t *testing.T) {
			dir, found := worked(t)
			before := rows(t, dir)
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			n, log := reopen(t, dir)
			if !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "backup of the folder") && !strings.Contains(log.String(), "put the folder back") {
				t.Errorf("the log does not tell of the %s: %s", name, log)
			}
			if st := n.Index.Stats(); st.Total().Rows != before {
				t.Errorf("%d rows, want %d", st.Total().Rows, before)
			}
			goOn(t, n, found)
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			n, log = reopen(t, dir)
			defer n.Close()
			if strings.Contains(log.String(), "missing") {
				t.Errorf("the next start complains, too: %s", log)
			}
		})
	}
}

// TestOutdatedIndex opens a folder of before ledger and diary were one index: who only reads is told what to do, and a node makes the index.
func TestOutdatedIndex(t *testing.T) {
	dir, _ := worked(t)
	before := rows(t, dir)
	if err := os.Rename(filepath.Join(dir, "index"), filepath.Join(dir, "ledger")); err != nil {
		t.Fatal(err)
	}
	if x, err := node.ReadIndex(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "older version") {
		t.Errorf("a folder of an older version is read: %v, %v", x, err)
	}
	n, log := reopen(t, dir)
	defer n.Close()
	if st := n.Index.Stats(); st.Total().Rows != before {
		t.Errorf("%d rows, want %d", st.Total().Rows, before)
	}
	if !strings.Contains(log.String(), "older version") || !strings.Contains(log.String(), "built again from the lake") {
		t.Errorf("the log does not tell of the folder: %s", log)
	}
}

// rows returns the rows of the index.
func rows(t *testing.T, dir string) int64 {
	t.Helper()
	n := open(t, dir)
	defer n.Close()
	st := n.Index.Stats()
	return st.Total().Rows
}

// TestLostRun loses one whole file of the index from between others.
func TestLostRun(t *testing.T) {
	dir := t.TempDir()
	var runs []string
	for i := 0; len(runs) < 3; i++ { // how many a start and an end leave depends on what was merged between
		n := open(t, dir)
		send(t, n, 20*i, 20*i+20)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		runs = glob(t, filepath.Join(dir, "index"), "*.run")
	}
	slices.Sort(runs)
	if err := os.Remove(runs[1]); err != nil {
		t.Fatal(err)
	}
	n, log := reopen(t, dir)
	defer n.Close()
	if !strings.Contains(log.String(), "events are missing from the index: a file of it is gone") {
		t.Errorf("the log does not tell of the file: %s", log)
	}
}

// TestLostLakeFile loses one whole file of the lake from between others.
func TestLostLakeFile(t *testing.T) {
	dir := opened(t, 3, 20)
	n, log := reopen(t, dir)
	files := n.Lake.Files()
	if err := n.Close(); err != nil || strings.Contains(log.String(), "the lake has no file") {
		t.Errorf("of a whole lake the log says %s, %v", log, err)
	}
	for i := range len(files) - 2 {
		if a, b := files[i], files[i+2]; a.Partition == b.Partition {
			if err := os.Remove(files[i+1].Path); err != nil {
				t.Fatal(err)
			}
			n, log = reopen(t, dir)
			defer n.Close()
			if !strings.Contains(log.String(), "the lake has no file with these messages") || !strings.Contains(log.String(), filepath.Base(b.Path)) {
				t.Errorf("the log does not tell of the file: %s", log)
			}
			return
		}
	}
	t.Fatalf("no partition has three files: %+v", files)
}

// TestRepetitions takes in events again between starts, all of them and some, and loses its index, which is built again from a
// lake that has no rows of many messages: nothing is missing, and the log says of nothing that it is.
func TestRepetitions(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	reopen := func(from, to int) {
		n, err := node.Open(t.Context(), node.Config{Dir: dir, Retention: 100 * 365 * 24 * time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		send(t, n, from, to)

		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, span := range [][2]int{{0, 20}, {0, 20}, {10, 30}, {0, 30}} {
		reopen(span[0], span[1])
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	reopen(30, 40)
	if !strings.Contains(log.String(), "it is built again from the lake") {
		t.Error("the index was not built again")
	}
	log.Reset()
	reopen(40, 41)
	if strings.Contains(log.String(), "missing") || strings.Contains(log.String(), "lost") {
		t.Errorf("of a whole folder the log says %s", &log)
	}
}

// logins counts the logins of alice that the lake holds, and those that the diary tells of.
func logins(t *testing.T, n *node.Node) (kept, indexed int64) {
	t.Helper()
	err := n.Lake.Scan(t.Context(), lake.Filter{Tenant: moat.Everyone()}, func(_ lake.Position, e *moat.Event) error {
		if e.Actor == "alice" && e.Type == moat.AuthLogin {
			kept++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Diary.Summary(t.Context(), moat.Everyone(), diary.Query{Partner: "acme", Entity: moat.Entity{Kind: moat.Account, ID: "alice"}})
	if err != nil {
		t.Fatal(err)
	}
	return kept, s.Events
}

// TestMalformedBatch appends a batch whose checksum is right and whose third event is not: the two before it are judged and kept, and so is
// what comes after it.
func TestMalformedBatch(t *testing.T) {
	n, log := reopen(t, t.TempDir())
	defer n.Close()
	send(t, n, 0, 5)
	var w moat.BatchWriter
	third := 0
	for _, id := range []string{"x1", "x2", "x3"} {
		third = w.Size()
		e := &moat.Event{Partner: "acme", ID: id, Time: 1772442000 * moat.Second, Received: 1772442000 * moat.Second, Type: moat.AuthLogin, Actor: "alice"}
		e.MarkAll()
		w.Append(e)
	}
	batch := slices.Clone(w.Bytes())
	binary.LittleEndian.PutUint32(batch[third:], 1<<20) // the length of the event
	binary.LittleEndian.PutUint32(batch[12:], crc32.Checksum(batch[16:], crc32.MakeTable(crc32.Castagnoli)))
	if _, err := n.River.Append(t.Context(), n.River.PartitionOf("acme"), batch); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := n.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	send(t, n, 5, 10)
	if kept, indexed := logins(t, n); kept != 12 || indexed != 12 || !strings.Contains(log.String(), "a batch cannot be read to its end") {
		t.Errorf("%d events are kept and %d indexed, log %s", kept, indexed, log)
	}
}

// TestDrainGivesUp has a store that cannot be written: whoever waits for it need not wait longer than they said, and nothing is lost.
func TestDrainGivesUp(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir)
	defer n.Close()
	events := filepath.Join(dir, "lake", "events")
	if err := errors.Join(os.RemoveAll(events), os.WriteFile(events, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	part := n.River.PartitionOf("acme")
	for i, wait := range []time.Duration{time.Minute, time.Second} { // the first file fails; after that no batch is taken
		var w moat.BatchWriter
		e := &moat.Event{Partner: "acme", ID: fmt.Sprint("x", i), Time: 1772442000 * moat.Second, Received: 1772442000 * moat.Second, Type: moat.AuthLogin, Actor: "alice"}
		e.MarkAll()
		w.Append(e)
		if _, err := n.River.Append(t.Context(), part, w.Bytes()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		if err := n.Drain(ctx); err == nil || i > 0 && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("of a store that cannot be written: %v", err)
		}
	}
	if err := os.Remove(events); err != nil {
		t.Fatal(err)
	}
	send(t, n, 0, 5)
	if kept, indexed := logins(t, n); kept != 7 || indexed != 7 {
		t.Errorf("%d events are kept and %d indexed, want 7", kept, indexed)
	}
}

// TestFlushAside: while the book cannot be written, and the store is flushed all the time, events are looked at all the same, as many as may wait.
func TestFlushAside(t *testing.T) {
	dir := t.TempDir()
	n, err := node.Open(t.Context(), node.Config{Dir: dir, FlushEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "book.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.Conn(t.Context())
	if err == nil {
		_, err = lock.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	part, id := n.River.PartitionOf("acme"), 0
	add := func(events int, reason string) (seq uint64) {
		var w moat.BatchWriter
		for range events {
			e := &moat.Event{Partner: "acme", ID: fmt.Sprint("x", id), Time: 1772442000 * moat.Second, Received: 1772442000 * moat.Second, Type: moat.AuthLogin, Actor: "alice", Reason: reason}
			e.MarkAll()
			w.Append(e)
			id++
		}
		seq, err := n.River.Append(t.Context(), part, w.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	begin, last := time.Now(), uint64(0)
	for range 100 {
		last = add(1, "")
	}
	for at := uint64(0); at < last; {
		if at, err = n.Position(t.Context(), part); err != nil || time.Since(begin) > 8*time.Second { // the book tries for 10 s
			t.Fatalf("at %d of %d after %s, %v", at, last, time.Since(begin), err)
		}
	}
	for range 20 { // more than may wait
		add(16, strings.Repeat("x", 64<<10))
	}
	if _, err := lock.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, indexed := logins(t, n); kept != 420 || indexed != 420 {
		t.Errorf("%d events are kept and %d indexed, want 420", kept, indexed)
	}
}

// TestDiskFull lets a process run into a limit on the size of its files, as a full disk would stop it; what it
// acknowledged is all there once there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	acknowledged := map[int]bool{}
	t.Setenv(victimEnv+"_FILE_MAX", "400000")
	next := killOnce(t, dir, 0, 4*time.Second, acknowledged)
	t.Setenv(victimEnv+"_FILE_MAX", "")
	killOnce(t, dir, next, 300*time.Millisecond, acknowledged)
	n := open(t, dir)
	defer n.Close()
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkKept(t, n, acknowledged)
	if len(acknowledged) < 20 {
		t.Errorf("only %d batches were acknowledged: the limit was too low to show anything", len(acknowledged))
	}
}

// TestFullRiver: where what others are to be told finds no room, it holds up neither a drain nor the snapshots that make room, waits over
// restarts and is told once there is room: a use of a canary ends in one alarm.
func TestFullRiver(t *testing.T) {
	dir := t.TempDir()
	n, orders, _ := planted(t, dir)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	again := func() {
		var err error
		n, err = node.Open(t.Context(), node.Config{Dir: dir, River: river.Config{MaxBytes: 100_000}, SnapshotEvery: time.Hour, FlushEvery: time.Hour,
			Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again()
	told, elsewhere := n.River.PartitionOf(moat.Veiled("merchant")), "courier"
	for n.River.PartitionOf(elsewhere) == told {
		elsewhere += "s"
	}
	for i, full := 0, 0; full < 100; i++ { // small ones at the end, that not even a letter finds room
		p, b := killBatch(i)
		if n.River.PartitionOf(p) != told {
			continue
		}
		if full > 0 {
			var w moat.BatchWriter
			w.Append(&moat.Event{Partner: p, ID: fmt.Sprint("f", i), Type: moat.Heartbeat})
			b = w.Bytes()
		}
		if _, err := n.River.Append(t.Context(), told, b); errors.Is(err, river.ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	put(t, n, &moat.Event{ID: "x", Time: now(), Received: now(), Type: moat.OrderAccess, Partner: elsewhere, App: "tms", Actor: "wang", Operation: "view", Orders: orders.Values[3:4]})
	alarms := func() (count int) {
		for _, f := range findings(t, n) {
			if f.Detector == "access.canary_used" && f.Partner == moat.Veiled("merchant") {
				count++
			}
		}
		return count
	}
	if s := mustStats(t, n).Partitions; alarms() != 0 || !strings.Contains(log.String(), "cannot tell others") {
		t.Fatalf("the river had room: %+v", s)
	}
	for round := 0; round == 0 || round < 20 && len(glob(t, dir, "*.letters")) > 0; round++ { // the first snapshot makes no room
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		again()
	}
	defer n.Close()
	if got := alarms(); got != 1 {
		t.Errorf("%d alarms once there is room", got)
	}
	for _, s := range mustStats(t, n).Partitions {
		if s.GivenUp > 0 || s.Warning != "" {
			t.Errorf("%d given up, warning %q", s.GivenUp, s.Warning)
		}
	}
	if left := glob(t, dir, "*.letters"); len(left) > 0 {
		t.Errorf("still to be told: %v", left)
	}
}
