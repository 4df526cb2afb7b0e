package river

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/nats-io/nats-server/v2/server"
)

// logTo shows what the river logs when a test fails.
func logTo(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func openRiver(t testing.TB, cfg Config) *River {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = logTo(t)
	}
	r, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRiver(t, r) })
	return r
}

func closeRiver(t testing.TB, r *River) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

// startServer runs a server as an operator would, on a port of its own or the given one.
func startServer(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: true, MaxPayload: MaxBatch + 64<<10, DisableJetStreamBanner: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("server does not listen")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// everywhere runs f with an embedded and with an external server. The
// configuration that it gives reaches the same log each time.
func everywhere(t *testing.T, f func(t *testing.T, cfg Config)) {
	t.Run("embedded", func(t *testing.T) { f(t, Config{Dir: t.TempDir()}) })
	t.Run("external", func(t *testing.T) { f(t, Config{URL: startServer(t, t.TempDir(), -1).ClientURL(), MaxBytes: 1 << 30}) })
}

// batchOf makes a batch of one event per id, each of about size bytes.
func batchOf(size int, ids ...string) []byte {
	var w moat.BatchWriter
	for _, id := range ids {
		e := moat.Event{ID: id, Type: moat.Heartbeat, Time: moat.Second, Host: "h", Partner: "p"}
		if size > 0 {
			e.Args = strings.Repeat("x", size)
		}
		e.MarkAll()
		w.Append(&e)
	}
	return append([]byte(nil), w.Bytes()...)
}

func idsOf(t testing.TB, batch []byte) (ids []string) {
	t.Helper()
	var b moat.BatchReader
	var e moat.Event
	if err := b.Open(batch); err != nil {
		t.Fatal(err)
	}
	for b.Next(&e) {
		ids = append(ids, strings.Clone(e.ID))
	}
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	return ids
}

func mustAppend(t testing.TB, r *River, p int, batch []byte) uint64 {
	t.Helper()
	seq, err := r.Append(t.Context(), p, batch)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func read(t testing.TB, r *River, p int, after uint64) *Reader {
	t.Helper()
	rd, err := r.Read(t.Context(), p, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rd.Close)
	return rd
}

func next(t testing.TB, rd *Reader) Message {
	t.Helper()
	m, err := rd.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPartitionOf(t *testing.T) {
	f := func(partner string, n, want int) {
		t.Helper()
		if got := partitionOf(partner, n); got != want {
			t.Errorf("partitionOf(%q, %d) = %d, want %d: stored events would be looked for elsewhere", partner, n, got, want)
		}
	}
	f("", 4, 2)
	f("acme", 4, 1)
	f("acme", 16, 1)
	f("taobao-erp-1", 4, 2)
	f("sf-express", 4, 2)
	f("合作伙伴", 4, 1)
	f("sf-express", 1, 0)
}

func TestAppendAndRead(t *testing.T) {
	everywhere(t, func(t *testing.T, cfg Config) {
		for name, mode := range map[string]SyncMode{"group": SyncGroup, "always": SyncAlways, "interval": SyncInterval} {
			t.Run(name, func(t *testing.T) {
				cfg.Sync = mode
				testAppendAndRead(t, cfg)
			})
		}
	})
}

func testAppendAndRead(t *testing.T, cfg Config) {
	r := openRiver(t, cfg)
	defer closeRiver(t, r)
	if want := min(max(runtime.NumCPU(), 2), 16); r.Partitions() != want {
		t.Fatalf("%d partitions, want %d", r.Partitions(), want)
	}
	const writers, each = 8, 20
	for p := range 2 {
		_, start, err := r.Bounds(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		rd := read(t, r, p, start)
		var mu sync.Mutex
		seqOf := map[string]uint64{}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				var last uint64
				for i := range each {
					id := fmt.Sprintf("%d.%d.%d", p, w, i)
					seq, err := r.Append(t.Context(), p, batchOf(1000, id+"a", id+"b"))
					if err != nil || seq <= last {
						t.Errorf("append %s: sequence %d after %d: %v", id, seq, last, err)
						return
					}
					last = seq
					mu.Lock()
					seqOf[id+"a"], seqOf[id+"b"] = seq, seq
					mu.Unlock()
				}
			})
		}
		got := map[string]uint64{}
		for len(got) < 2*writers*each {
			m := next(t, rd)
			if start++; m.Seq != start || m.Time == 0 {
				t.Fatalf("message %d at time %d, want %d", m.Seq, m.Time, start)
			}
			for _, id := range idsOf(t, m.Data) {
				if got[id] != 0 {
					t.Fatalf("event %s in message %d was in %d already", id, m.Seq, got[id])
				}
				got[id] = m.Seq
			}
		}
		wg.Wait()
		for id, seq := range got {
			if seqOf[id] != seq {
				t.Errorf("event %s is in message %d, acknowledged as %d", id, seq, seqOf[id])
			}
		}
		if m, ok := rd.Ready(); ok {
			t.Errorf("message %d after the last", m.Seq)
		}
		s, err := r.Stats(t.Context(), p)
		if err != nil || s.Last != start || s.Messages == 0 || s.Bytes < 1000 || s.Pending != 0 || s.MaxBytes == 0 {
			t.Errorf("stats %+v, %v", s, err)
		}
	}
}

func TestReadPositions(t *testing.T) {
	everywhere(t, func(t *testing.T, cfg Config) {
		cfg.Partitions = 1
		r := openRiver(t, cfg)
		bounds := func(wantFirst, wantLast uint64) {
			t.Helper()
			if first, last, err := r.Bounds(t.Context(), 0); first != wantFirst || last != wantLast || err != nil {
				t.Errorf("bounds %d–%d, %v; want %d–%d", first, last, err, wantFirst, wantLast)
			}
		}
		fails := func(after uint64, want error) {
			t.Helper()
			if _, err := r.Read(t.Context(), 0, after); !errors.Is(err, want) {
				t.Errorf("read after %d: %v, want %v", after, err, want)
			}
		}
		bounds(1, 0)
		fails(1, ErrAhead)
		early := read(t, r, 0, 0)
		for i := range uint64(10) {
			if seq := mustAppend(t, r, 0, batchOf(10, fmt.Sprint(i))); seq != i+1 {
				t.Fatalf("sequence %d, want %d", seq, i+1)
			}
		}
		bounds(1, 10)
		if m := next(t, early); m.Seq != 1 {
			t.Errorf("message %d, want 1", m.Seq)
		}
		if m := next(t, read(t, r, 0, 7)); m.Seq != 8 || idsOf(t, m.Data)[0] != "7" {
			t.Errorf("message %d, want 8", m.Seq)
		}
		for _, through := range []uint64{4, 4, 2} { // the second and the third say nothing new
			if err := r.Trim(t.Context(), 0, through); err != nil {
				t.Fatal(err)
			}
			bounds(5, 10)
		}
		fails(3, ErrTrimmed)
		if m := next(t, read(t, r, 0, 4)); m.Seq != 5 {
			t.Errorf("message %d, want 5", m.Seq)
		}
		if err := r.Trim(t.Context(), 0, math.MaxUint64-1); err != nil {
			t.Fatal(err)
		}
		bounds(11, 10)
		fails(11, ErrAhead)
		late := read(t, r, 0, 10)
		if seq := mustAppend(t, r, 0, batchOf(10, "last")); seq != 11 {
			t.Errorf("sequence %d, want 11", seq)
		}
		if m := next(t, late); m.Seq != 11 {
			t.Errorf("message %d, want 11", m.Seq)
		}
	})
}

// A reader whose messages are trimmed before it has them says so once.
func TestTrimUnderReader(t *testing.T) {
	everywhere(t, func(t *testing.T, cfg Config) {
		cfg.Partitions = 1
		r := openRiver(t, cfg)
		const n = 30
		for i := range n {
			mustAppend(t, r, 0, batchOf(1<<20, fmt.Sprint(i)))
		}
		rd := read(t, r, 0, 0)
		next(t, rd)
		if err := r.Trim(t.Context(), 0, n-1); err != nil {
			t.Fatal(err)
		}
		missed := 0
		for seq := uint64(2); seq <= n; seq++ {
			m, err := rd.Next(t.Context())
			var trimmed *TrimmedError
			if errors.As(err, &trimmed) {
				if trimmed.After != seq-1 || trimmed.First != n || !errors.Is(err, ErrTrimmed) {
					t.Fatalf("%v, expected message %d", err, seq)
				}
				missed++
				seq = n - 1
				continue
			}
			if err != nil || m.Seq != seq {
				t.Fatalf("message %d, %v; want %d", m.Seq, err, seq)
			}
		}
		if missed != 1 {
			t.Errorf("%d gaps reported: the prefetch of %d bytes is not bounded", missed, prefetchBytes)
		}
	})
}

func TestReopen(t *testing.T) {
	everywhere(t, func(t *testing.T, cfg Config) {
		cfg.Partitions = 2
		r := openRiver(t, cfg)
		mustAppend(t, r, 1, batchOf(10, "a"))
		closeRiver(t, r)

		cfg.Partitions = 3
		if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrPartitions) || !strings.Contains(err.Error(), "it has 2") {
			t.Errorf("open with 3 partitions: %v", err)
		}
		cfg.Partitions, cfg.MaxBytes = 0, 1<<20
		r = openRiver(t, cfg)
		if r.Partitions() != 2 {
			t.Errorf("%d partitions, want 2", r.Partitions())
		}
		if s, err := r.Stats(t.Context(), 1); err != nil || s.MaxBytes != 1<<20 || s.Messages != 1 {
			t.Errorf("stats %+v, %v", s, err)
		}
		mustAppend(t, r, 1, batchOf(10, "b"))
		rd := read(t, r, 1, 0)
		for i, want := range []string{"a", "b"} {
			if m := next(t, rd); m.Seq != uint64(i+1) || idsOf(t, m.Data)[0] != want {
				t.Errorf("message %d is %v, want %s", m.Seq, idsOf(t, m.Data), want)
			}
		}
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	openRiver(t, Config{Dir: dir})
	file := dir + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(cfg Config, want string) {
		t.Helper()
		_, err := Open(t.Context(), cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open: %v, want %q", err, want)
		}
	}
	f(Config{}, "neither Dir nor URL")
	f(Config{Dir: dir}, fmt.Sprintf("process %d has it", os.Getpid()))
	f(Config{Dir: file}, "not a directory")
	f(Config{Dir: dir, Partitions: -1}, "not within")
	f(Config{Dir: dir, Replicas: 3}, "URL of a cluster")
	f(Config{Dir: dir, MaxBytes: -1}, "out of range")
	f(Config{URL: "nats://127.0.0.1:1"}, "cannot connect")
	f(Config{URL: "nats://127.0.0.1:1", Credentials: file + "x"}, "no such file")
}

func TestAppendErrors(t *testing.T) {
	everywhere(t, func(t *testing.T, cfg Config) {
		cfg.Partitions = 1
		r := openRiver(t, cfg)
		f := func(ctx context.Context, p int, batch []byte, want error) {
			t.Helper()
			if seq, err := r.Append(ctx, p, batch); seq != 0 || err == nil || (want != nil && !errors.Is(err, want)) {
				t.Errorf("append: %d, %v; want %v", seq, err, want)
			}
		}
		dead, cancel := context.WithCancel(t.Context())
		cancel()
		ok := batchOf(10, "a")
		f(t.Context(), 1, ok, nil)
		f(t.Context(), -1, ok, nil)
		f(t.Context(), 0, nil, moat.ErrCorruptBatch)
		f(t.Context(), 0, ok[:len(ok)-1], moat.ErrCorruptBatch)
		f(t.Context(), 0, make([]byte, MaxBatch+1), ErrTooLarge)
		f(dead, 0, ok, context.Canceled)
		if _, last, err := r.Bounds(t.Context(), 0); last != 0 || err != nil {
			t.Errorf("last %d, %v after refused appends", last, err)
		}
		large := batchOf(MaxBatch-1000, "large")
		mustAppend(t, r, 0, large)
		if m := next(t, read(t, r, 0, 0)); len(m.Data) != len(large) {
			t.Errorf("%d bytes, want %d", len(m.Data), len(large))
		}
		closeRiver(t, r)
		f(t.Context(), 0, ok, ErrClosed)
	})
}

func TestFull(t *testing.T) {
	everywhere(t, func(t *testing.T, cfg Config) {
		cfg.Partitions, cfg.MaxBytes = 1, 1<<20
		r := openRiver(t, cfg)
		b := batchOf(100<<10, "a")
		var err error
		n := uint64(0)
		for ; err == nil; n++ {
			_, err = r.Append(t.Context(), 0, b)
		}
		var full *FullError
		if !errors.Is(err, ErrFull) || !errors.As(err, &full) || full.RetryAfter <= 0 || full.Partition != 0 {
			t.Fatalf("append to a full partition: %v", err)
		}
		if n < 8 || n > 11 {
			t.Errorf("full after %d messages of 100 KiB, with room for 1 MiB", n)
		}
		if err := r.Trim(t.Context(), 0, 1); err != nil {
			t.Fatal(err)
		}
		if seq := mustAppend(t, r, 0, b); seq != n {
			t.Errorf("sequence %d after the trim, want %d", seq, n)
		}
	})
}

func TestDiskReserve(t *testing.T) {
	r := openRiver(t, Config{Dir: t.TempDir()})
	was := r.store.reserve.Swap(math.MaxUint64)
	if _, err := r.Append(t.Context(), 0, batchOf(1, "a")); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "disk") {
		t.Errorf("append with the disk at its reserve: %v", err)
	}
	r.store.reserve.Store(was)
	mustAppend(t, r, 0, batchOf(1, "a"))
}

func TestBoundedWait(t *testing.T) {
	r := openRiver(t, Config{Dir: t.TempDir(), Partitions: 1})
	b := batchOf(10, "a")
	r.wait.Add(maxWait) // as many as may wait do
	if _, err := r.Append(t.Context(), 0, b); !errors.Is(err, ErrFull) {
		t.Errorf("append with %d bytes waiting: %v", maxWait, err)
	}
	r.wait.Add(-maxWait)
	mustAppend(t, r, 0, b)
	if w := r.wait.Load(); w != 0 {
		t.Errorf("%d bytes wait, want 0", w)
	}
}

func TestGroups(t *testing.T) {
	p := &partition{}
	p.wake.L = &p.mu
	var queue []*appending
	for i := range 5 {
		a := &appending{batch: batchOf(1000, fmt.Sprint(i)), done: make(chan appended, 1)}
		queue = append(queue, a)
		if err := p.enqueue(a); err != nil {
			t.Fatal(err)
		}
	}
	if !p.withdraw(queue[1]) || p.withdraw(queue[1]) {
		t.Error("an append that waits is withdrawn once")
	}
	f := func(limit int, want ...string) {
		t.Helper()
		group, buf, err := p.next(nil, nil, limit)
		if err != nil || len(group) != len(want) {
			t.Fatalf("group of %d, %v; want %v", len(group), err, want)
		}
		if got := idsOf(t, buf); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("group %v, want %v", got, want)
		}
	}
	f(1, "0") // one is always taken
	f(2500, "2", "3")
	if p.withdraw(queue[3]) {
		t.Error("an append that has left is withdrawn")
	}
	f(2500, "4")
	p.close()
	if group, _, _ := p.next(nil, nil, 1); len(group) != 0 {
		t.Error("a closed and empty partition has a group")
	}
	if err := p.enqueue(queue[0]); !errors.Is(err, ErrClosed) {
		t.Errorf("enqueue on a closed partition: %v", err)
	}
}

func TestClose(t *testing.T) {
	everywhere(t, func(t *testing.T, cfg Config) {
		r := openRiver(t, cfg)
		a, b := read(t, r, 0, 0), read(t, r, 1, 0)
		errs := make(chan error)
		for _, rd := range []*Reader{a, b} {
			go func() {
				_, err := rd.Next(t.Context())
				errs <- err
			}()
		}
		a.Close()
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("next of a closed reader: %v", err)
		}
		closeRiver(t, r)
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("next of a closed river: %v", err)
		}
		if _, err := r.Read(t.Context(), 0, 0); !errors.Is(err, ErrClosed) {
			t.Errorf("read of a closed river: %v", err)
		}
		if _, _, err := r.Bounds(t.Context(), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("bounds of a closed river: %v", err)
		}
	})
}

// Close lets the appends under way end well.
func TestCloseWaits(t *testing.T) {
	for _, mode := range []SyncMode{SyncGroup, SyncAlways} {
		cfg := Config{Dir: t.TempDir(), Partitions: 1, Sync: mode}
		r := openRiver(t, cfg)
		const n = 50
		var acked atomic.Uint64
		var wg sync.WaitGroup
		for range n {
			wg.Go(func() {
				_, err := r.Append(t.Context(), 0, batchOf(100<<10, "a"))
				if err == nil {
					acked.Add(1)
				} else if !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			})
		}
		for r.wait.Load() == 0 {
			runtime.Gosched()
		}
		closeRiver(t, r)
		wg.Wait()
		r = openRiver(t, cfg)
		s, err := r.Stats(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		got, rd := uint64(0), read(t, r, 0, 0)
		for range s.Messages {
			got += uint64(len(idsOf(t, next(t, rd).Data)))
		}
		if got != acked.Load() {
			t.Errorf("%d events are kept, %d were acknowledged", got, acked.Load())
		}
	}
}

// While an external server is away appends fail, and readers wait.
func TestReconnect(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, -1)
	port := s.Addr().String()[strings.LastIndexByte(s.Addr().String(), ':')+1:]
	r := openRiver(t, Config{URL: s.ClientURL(), Partitions: 1})
	rd := read(t, r, 0, 0)
	mustAppend(t, r, 0, batchOf(10, "1"))
	if m := next(t, rd); m.Seq != 1 {
		t.Fatalf("message %d, want 1", m.Seq)
	}
	s.Shutdown()
	s.WaitForShutdown()
	if seq, err := r.Append(t.Context(), 0, batchOf(10, "lost")); !errors.Is(err, ErrAway) && !errors.Is(err, ErrUnknown) {
		t.Errorf("append without a server: %d, %v", seq, err)
	}
	n := 0
	if _, err := fmt.Sscan(port, &n); err != nil {
		t.Fatal(err)
	}
	startServer(t, dir, n)
	for {
		if _, err := r.Append(t.Context(), 0, batchOf(10, "2")); err == nil {
			break
		}
		runtime.Gosched()
	}
	if m := next(t, rd); idsOf(t, m.Data)[0] == "1" {
		t.Errorf("message %d came twice", m.Seq)
	}
}
