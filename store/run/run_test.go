package run

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/run/runtest"
)

// index has an event under each of its orders, its account, its host and its shops.
func index(h Hasher) Index {
	return Index{
		Orders: true,
		Event: func(keys []uint64, e *moat.Event) []uint64 {
			for _, o := range e.Orders {
				keys = append(keys, EventKey(h.Sum("o"+o)))
			}
			return keys
		},
		Part: func(keys []uint64, p Part, t *Touch) []uint64 {
			switch p {
			case PartSource:
				keys = append(keys, PartKey(h.Sum("a"+t.Partner+"/"+t.Actor)))
			case PartAct:
				keys = append(keys, PartKey(h.Sum("h"+t.Partner+"/"+t.Host)))
			case PartShops:
				for _, s := range t.Shops {
					keys = append(keys, PartKey(h.Sum("s"+t.Partner+"/"+s)))
				}
			}
			return keys
		},
	}
}

// oracle is what the set should say: all touches, by key.
type oracle map[uint64][]Touch

// add does what a set does, without any of its means.
func (o oracle) add(x Index, partition int, seq uint64, row uint32, e *moat.Event) {
	t := Touch{
		Time:   e.Time,
		Source: Source{Partner: e.Partner, App: e.App, Outlet: e.Outlet, Role: e.Role, Actor: e.Actor, Device: e.Device, IP: e.IP, Version: e.Version, ActorKind: e.ActorKind},
		Act: Act{Type: e.Type, Outcome: e.Outcome, Encrypted: e.Encrypted, Host: e.Host, Operation: e.Operation,
			Destination: e.Destination, DestinationKind: e.DestinationKind, Fields: clone(e.Fields)},
		Shops: clone(e.Shops), Count: e.Touched(), Event: e.ID, Orders: clone(e.Orders), At: At{partition, seq, row},
	}
	keys := x.Event(nil, e)
	for p := range parts {
		keys = x.Part(keys, p, &t)
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		o[k] = append(o[k], t)
	}
}

func clone(l []string) []string {
	if len(l) == 0 {
		return nil
	}
	return slices.Clone(l)
}

// sorted returns the touches of a key that the tenant sees in a window, oldest first.
func (o oracle) sorted(key uint64, tenant moat.Tenant, from, to moat.Time) (l []Touch) {
	for _, t := range o[key] {
		if tenant.Sees(t.Partner) && t.Time >= from && (to == 0 || t.Time < to) {
			l = append(l, t)
		}
	}
	slices.SortFunc(l, func(a, b Touch) int { return a.Compare(&b) })
	return l
}

func same(a, b []Touch) bool {
	return slices.EqualFunc(a, b, func(x, y Touch) bool { return reflect.DeepEqual(x, y) })
}

func show(l []Touch) string {
	var b strings.Builder
	for _, t := range l {
		fmt.Fprintf(&b, "%+v\n", t)
	}
	return b.String()
}

// check compares what the set says of the keys with the oracle.
func check(t *testing.T, s *Set, o oracle, tenant moat.Tenant, keys []uint64, from, to moat.Time) {
	t.Helper()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	got := make([][]Touch, len(keys))
	err = v.Each(t.Context(), tenant, keys, from, to, func(i int, r *Row) error {
		x, err := r.Touch()
		got[i] = append(got[i], x)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		want := o.sorted(k, tenant, from, to)
		slices.SortFunc(got[i], func(a, b Touch) int { return a.Compare(&b) })
		if !same(got[i], want) {
			t.Fatalf("key %x: %d touches, want %d\ngot\n%swant\n%s", k, len(got[i]), len(want), show(got[i]), show(want))
		}
		checkPages(t, v, tenant, k, from, to, want)
	}
	if v.Damaged() != 0 {
		t.Fatalf("%d runs damaged", v.Damaged())
	}
}

// checkPages reads the first pages of a key, the newest first.
func checkPages(t *testing.T, v *View, tenant moat.Tenant, key uint64, from, to moat.Time, want []Touch) {
	t.Helper()
	want = slices.Clone(want)
	slices.Reverse(want)
	var before *Touch
	for page := 0; page < 3; page++ {
		const limit = 7
		got, more, err := v.Newest(t.Context(), tenant, []uint64{key}, from, to, before, limit)
		if err != nil {
			t.Fatal(err)
		}
		n := min(limit, len(want))
		if !same(got, want[:n]) || more != (len(want) > n) {
			t.Fatalf("page %d of key %x: more is %t of %d, got\n%swant\n%s", page, key, more, len(want), show(got), show(want[:n]))
		}
		if want = want[n:]; !more {
			return
		}
		before = &got[n-1]
	}
}

func open(t *testing.T, dir string, x Index) *Set {
	t.Helper()
	s, err := Open(Config{Dir: dir, Index: x, Tuning: Tuning{FlushEvents: 900, FanIn: 3, FlushEvery: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writer(t *testing.T, s *Set, partition int) *Writer {
	t.Helper()
	w, err := s.Writer(partition)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// batchOf makes a batch of n events of the load, some of them skipped, and tells the oracle.
func batchOf(load *runtest.Workload, o oracle, x Index, partition int, seq uint64, n int, r *rand.Rand) (batch []byte, skip []uint64) {
	var w moat.BatchWriter
	var e moat.Event
	skip = make([]uint64, (n+63)/64)
	for row := range n {
		load.Event(&e)
		if r.IntN(20) == 0 { // a sender with odd ids, many shops and a clock of its own
			e.ID, e.Outcome, e.Encrypted, e.ActorKind = strings.Repeat("é\x00", r.IntN(9)), moat.Denied, true, moat.ActorSystem
			e.Shops = []string{"shop-000001", "x", "shop-000002"}
			e.Time = moat.Time(1 + r.Int64N(int64(runtest.Start)*2))
			e.MarkAll()
		}
		w.Append(&e)
		if r.IntN(10) == 0 {
			skip[row/64] |= 1 << (row % 64)
			continue
		}
		o.add(x, partition, seq, uint32(row), &e)
	}
	return slices.Clone(w.Bytes()), skip
}

func sample(o oracle, n int, r *rand.Rand) []uint64 {
	var keys []uint64
	for k := range o {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b uint64) int { return len(o[b]) - len(o[a]) })
	out := slices.Clone(keys[:min(n/4, len(keys))]) // the busiest
	for len(out) < n {
		k := keys[r.IntN(len(keys))]
		if r.IntN(5) == 0 {
			k = r.Uint64()
		}
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// TestSetAgainstOracle appends random batches to two partitions while runs are
// written and merged, restarts and replays now and then, and asks.
func TestSetAgainstOracle(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			dir, x, o := t.TempDir(), index(NewHasher([16]byte{9})), oracle{}
			s := open(t, dir, x)
			loads := []*runtest.Workload{runtest.New(seed, 40, 1000), runtest.New(seed+50, 300, 1000)}
			type sent struct {
				batch []byte
				skip  []uint64
			}
			var log [2][]sent
			for step := range 60 {
				p := r.IntN(2)
				seq := uint64(len(log[p]) + 1)
				batch, skip := batchOf(loads[p], o, x, p, seq, 1+r.IntN(400), r)
				log[p] = append(log[p], sent{batch, skip})
				if err := intake.Append(seq, batch, skip, writer(t, s, p)); err != nil {
					t.Fatal(err)
				}
				switch r.IntN(12) {
				case 0:
					if err := writer(t, s, p).Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
					if got := s.Position(p); got != seq {
						t.Fatalf("position %d after a flush at %d", got, seq)
					}
				case 1:
					s.Merge()
				case 2:
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					s = open(t, dir, x)
					for p := range log { // the log is replayed from anywhere before the position
						from := r.Uint64N(s.Position(p) + 1)
						for i := from; i < uint64(len(log[p])); i++ {
							if err := intake.Append(i+1, log[p][i].batch, log[p][i].skip, writer(t, s, p)); err != nil {
								t.Fatal(err)
							}
						}
					}
				}
				if step%6 == 0 {
					keys := sample(o, 24, r)
					check(t, s, o, moat.Everyone(), keys, 0, 0)
					check(t, s, o, moat.Only(fmt.Sprintf("partner-%03d", r.IntN(40))), keys, 0, 0)
					check(t, s, o, moat.Everyone(), keys, runtest.Start+moat.Second, runtest.Start+3*moat.Second)
					check(t, s, o, moat.Tenant{}, keys, 0, 0)
				}
			}
			s.Merge()
			check(t, s, o, moat.Everyone(), sample(o, 100, r), 0, 0)
			if st := s.Stats(); len(st.Runs) > 20 {
				t.Errorf("%d runs left after merging", len(st.Runs))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestFrequentKey has a key with far more events than fit in one list.
func TestFrequentKey(t *testing.T) {
	x, o, r := index(NewHasher([16]byte{})), oracle{}, rand.New(rand.NewPCG(1, 2))
	s := open(t, t.TempDir(), x)
	defer s.Close()
	load := runtest.New(1, 1, 100)
	for seq := uint64(1); seq <= 30; seq++ {
		batch, skip := batchOf(load, o, x, 0, seq, 500, r)
		if err := intake.Append(seq, batch, skip, writer(t, s, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer(t, s, 0).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Merge()
	keys := sample(o, 30, r)
	if n := len(o[keys[0]]); n < 3*listMax {
		t.Fatalf("the busiest key has %d events only", n)
	}
	check(t, s, o, moat.Everyone(), keys, 0, 0)
	check(t, s, o, moat.Everyone(), keys, runtest.Start+10*moat.Second, runtest.Start+20*moat.Second)
}

// fill makes a folder of several runs and returns what they hold.
func fill(t *testing.T, dir string, x Index) oracle {
	t.Helper()
	o, r := oracle{}, rand.New(rand.NewPCG(3, 3))
	s, err := Open(Config{Dir: dir, Index: x, Tuning: Tuning{FanIn: 100}})
	if err != nil {
		t.Fatal(err)
	}
	load := runtest.New(2, 50, 100)
	for seq := uint64(1); seq <= 5; seq++ {
		batch, skip := batchOf(load, o, x, 3, seq, 200, r)
		if err := intake.Append(seq, batch, skip, writer(t, s, 3)); err != nil {
			t.Fatal(err)
		}
		if err := writer(t, s, 3).Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

func runs(t *testing.T, dir string) []string {
	t.Helper()
	l, err := filepath.Glob(filepath.Join(dir, "*"+fileExt))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// without returns the oracle less the events of some sequences.
func (o oracle) without(first, last uint64) oracle {
	out := oracle{}
	for k, l := range o {
		for _, t := range l {
			if t.At.Seq < first || t.At.Seq > last {
				out[k] = append(out[k], t)
			}
		}
	}
	return out
}

func TestTornAndLeftoverFiles(t *testing.T) {
	x := index(NewHasher([16]byte{1}))
	keep := func(b []byte) []byte { return b }
	for _, c := range []struct {
		name    string
		change  func(t *testing.T, dir string, files []string)
		lost    [2]uint64 // sequences that are gone
		damaged int
		runs    int
	}{
		{"nothing", func(*testing.T, string, []string) {}, [2]uint64{9, 9}, 0, 5},
		{"torn end", func(t *testing.T, _ string, f []string) { truncate(t, f[4], 3) }, [2]uint64{5, 5}, 1, 4},
		{"torn middle", func(t *testing.T, _ string, f []string) { truncate(t, f[2], 2000) }, [2]uint64{3, 3}, 1, 4},
		{"empty file", func(t *testing.T, _ string, f []string) { rewrite(t, f[0], func([]byte) []byte { return nil }) }, [2]uint64{1, 1}, 1, 4},
		{"another's name", func(t *testing.T, dir string, f []string) {
			rename(t, f[1], filepath.Join(dir, fileName(4, 2, 2)))
		}, [2]uint64{2, 2}, 1, 4},
		{"unfinished write", func(t *testing.T, dir string, f []string) {
			write(t, filepath.Join(dir, "123"+tempExt), []byte("half a run"))
		}, [2]uint64{9, 9}, 0, 5},
		{"interrupted merge", func(t *testing.T, dir string, f []string) {
			var in []*file
			saved := map[string][]byte{}
			for _, path := range f[1:4] {
				r, err := openFile(path)
				if err != nil {
					t.Fatal(err)
				}
				in = append(in, r)
				saved[path] = read(t, path)
			}
			if _, err := mergeFiles(dir, in, nil, runtime.Gosched); err != nil {
				t.Fatal(err)
			}
			for _, r := range in {
				r.release()
			}
			for path, b := range saved { // they were not yet removed
				rewrite(t, path, func([]byte) []byte { return keep(b) })
			}
		}, [2]uint64{9, 9}, 0, 3},
		{"overlapping ranges", func(t *testing.T, dir string, f []string) {
			var in []*file
			for _, path := range f[1:3] {
				r, err := openFile(path)
				if err != nil {
					t.Fatal(err)
				}
				in = append(in, r)
				defer r.release()
			}
			if _, err := mergeFiles(dir, in, nil, runtime.Gosched); err != nil { // 2–3
				t.Fatal(err)
			}
			r, err := openFile(f[3])
			if err != nil {
				t.Fatal(err)
			}
			defer r.release()
			if _, err := mergeFiles(dir, []*file{in[1], r}, nil, runtime.Gosched); err != nil { // 3–4
				t.Fatal(err)
			}
			for _, path := range f[1:4] {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
		}, [2]uint64{4, 4}, 1, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			o := fill(t, dir, x)
			c.change(t, dir, runs(t, dir))
			var logged bytes.Buffer
			s, err := Open(Config{Dir: dir, Index: x, Logger: slog.New(slog.NewTextHandler(&logged, nil)), Tuning: Tuning{FanIn: 100}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			st := s.Stats()
			if len(st.Runs) != c.runs || st.Damaged != c.damaged {
				t.Errorf("%d runs and %d damaged, want %d and %d", len(st.Runs), st.Damaged, c.runs, c.damaged)
			}
			aside, _ := filepath.Glob(filepath.Join(dir, "damaged", "*"))
			if len(aside) != c.damaged || strings.Contains(logged.String(), "set aside") != (c.damaged > 0) {
				t.Errorf("%d files set aside, log %q", len(aside), logged.String())
			}
			if temp, _ := filepath.Glob(filepath.Join(dir, "*"+tempExt)); len(temp) > 0 {
				t.Errorf("left over: %q", temp)
			}
			left := o.without(c.lost[0], c.lost[1])
			keys := sample(o, 60, rand.New(rand.NewPCG(1, 1)))
			v, err := s.View()
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			if v.Damaged() != c.damaged {
				t.Errorf("a view says that %d runs are damaged", v.Damaged())
			}
			var got, want int
			err = v.Each(t.Context(), moat.Everyone(), keys, 0, 0, func(i int, r *Row) error { got++; return nil })
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				want += len(left[k])
			}
			if got != want {
				t.Errorf("%d touches, want %d", got, want)
			}
		})
	}
}

func truncate(t *testing.T, path string, n int) {
	t.Helper()
	rewrite(t, path, func(b []byte) []byte { return b[:len(b)-n] })
}

func rewrite(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	write(t, path, change(read(t, path)))
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestDamageFoundLater flips every kind of byte of a run that opens well. The
// damaged run is set aside by the look-up or merge that finds it, and nothing
// wrong is ever said.
func TestDamageFoundLater(t *testing.T) {
	x := index(NewHasher([16]byte{1}))
	dir := t.TempDir()
	o := fill(t, dir, x)
	path := runs(t, dir)[2]
	good := read(t, path)
	r := rand.New(rand.NewPCG(5, 5))
	keys := sample(o, 100, r)
	found := 0
	for range 80 {
		b := slices.Clone(good)
		b[len(magic)+r.IntN(len(b)-700-len(magic))] ^= 1 << r.IntN(8)
		write(t, path, b)
		s, err := Open(Config{Dir: dir, Index: x, Tuning: Tuning{FanIn: 100}})
		if err != nil {
			t.Fatal(err)
		}
		v, err := s.View()
		if err != nil {
			t.Fatal(err)
		}
		got := make([][]Touch, len(keys))
		err = v.Each(t.Context(), moat.Everyone(), keys, 0, 0, func(i int, r *Row) error {
			x, err := r.Touch()
			if err == nil {
				got[i] = append(got[i], x)
			}
			return err
		})
		var d *DamageError
		if err != nil && !errors.As(err, &d) {
			t.Fatal(err)
		}
		complete := true
		for i, k := range keys {
			complete = complete && len(got[i]) == len(o[k])
			for _, x := range got[i] {
				if !slices.ContainsFunc(o[k], func(y Touch) bool { return x.At == y.At && reflect.DeepEqual(x, y) }) {
					t.Fatalf("a damaged run says %s", show([]Touch{x}))
				}
			}
		}
		if !complete && v.Damaged() == 0 {
			t.Fatal("touches are missing, and the view does not say so")
		}
		if st := s.Stats(); st.Damaged > 0 {
			found++
		}
		v.Close()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "damaged")); err != nil {
			t.Fatal(err)
		}
	}
	if found < 40 {
		t.Errorf("only %d of 80 flipped bits were noticed", found)
	}
}

func TestViewOutlivesMergeAndExpiry(t *testing.T) {
	x := index(NewHasher([16]byte{1}))
	dir := t.TempDir()
	o := fill(t, dir, x)
	now := (runtest.Start + moat.Hour).Std()
	s, err := Open(Config{Dir: dir, Index: x, Retention: 24 * time.Hour, Now: func() time.Time { return now }, Tuning: Tuning{FanIn: 3}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	s.Merge()
	if n := len(s.Stats().Runs); n >= 5 {
		t.Fatalf("%d runs after merging", n)
	}
	keys := sample(o, 20, rand.New(rand.NewPCG(1, 1)))
	count := func(v *View) (n int) {
		if err := v.Each(t.Context(), moat.Everyone(), keys, 0, 0, func(int, *Row) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := 0
	for _, k := range keys {
		want += len(o.sorted(k, moat.Everyone(), moat.TimeOf(now.Add(-24*time.Hour)), 0))
	}
	if got := count(v); got != want {
		t.Errorf("%d touches in the view from before the merge, want %d", got, want)
	}
	v.Close()
	v.Close() // twice is once
	now = now.Add(25 * time.Hour)
	if v, err = s.View(); err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	expired := 0
	for _, k := range keys {
		expired += len(o.sorted(k, moat.Everyone(), moat.TimeOf(now.Add(-24*time.Hour)), 0))
	}
	if got := count(v); got != expired || expired >= want {
		t.Errorf("%d touches after their retention, want %d", got, expired)
	}
}

// The memory of written segments is used again, but not under a view of them.
func TestViewOutlivesMemory(t *testing.T) {
	x := index(NewHasher([16]byte{1}))
	s := open(t, t.TempDir(), x)
	defer s.Close()
	w, load, r, o := writer(t, s, 0), runtest.New(1, 300, 10), rand.New(rand.NewPCG(1, 1)), oracle{}
	seq := uint64(0)
	put := func(o oracle) {
		seq++
		batch, skip := batchOf(load, o, x, 0, seq, 300, r)
		if err := intake.Append(seq, batch, skip, w); err != nil {
			t.Fatal(err)
		}
	}
	memory := map[*record]int{} // of segments, and how often it was seen
	many := func(o oracle) {
		for range 30 {
			put(o)
			if w.active != nil {
				memory[unsafe.SliceData(w.active.records)]++
			}
		}
	}
	many(o)
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	many(oracle{})
	often := 0
	for _, n := range memory {
		often = max(often, n)
	}
	if often < 10 {
		t.Errorf("none of %d memories was used again", len(memory))
	}
	n, want := 0, 0
	keys := sample(o, 50, r)
	for _, k := range keys {
		want += len(o[k])
	}
	err = v.Each(t.Context(), moat.Everyone(), keys, 0, 0, func(i int, row *Row) error {
		n++
		got, err := row.Touch()
		if !slices.ContainsFunc(o[keys[i]], func(t Touch) bool { return reflect.DeepEqual(t, got) }) {
			t.Errorf("%+v was not there when the view was taken", got)
		}
		return err
	})
	if err != nil || n != want {
		t.Errorf("%d touches, %v; want %d", n, err, want)
	}
	v.Close()
}

// TestExpire removes the files of old runs, but keeps the position.
func TestExpire(t *testing.T) {
	x := index(NewHasher([16]byte{1}))
	dir := t.TempDir()
	fill(t, dir, x)
	now := (runtest.Start + 400*moat.Day).Std()
	for range 2 { // and again after a restart
		s, err := Open(Config{Dir: dir, Index: x, Retention: 24 * time.Hour, Now: func() time.Time { return now }, Tuning: Tuning{FanIn: 100}})
		if err != nil {
			t.Fatal(err)
		}
		s.Expire()
		if n := len(runs(t, dir)); n != 1 {
			t.Errorf("%d files left", n)
		}
		if p := s.Position(3); p != 5 {
			t.Errorf("position %d, want 5", p)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRangesTouch appends messages without events, and passes some over: as long as no file is gone, the runs touch. When one
// is gone that is told, and nothing is merged over its place, so that it can be put back.
func TestRangesTouch(t *testing.T) {
	x := index(NewHasher([16]byte{1}))
	dir := t.TempDir()
	now := (runtest.Start + moat.Hour).Std()
	open := func() *Set {
		s, err := Open(Config{Dir: dir, Index: x, Retention: 24 * time.Hour, Now: func() time.Time { return now }, Tuning: Tuning{FanIn: 4}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	o, load, r := oracle{}, runtest.New(2, 50, 100), rand.New(rand.NewPCG(3, 3))
	var none moat.BatchWriter
	for round := range uint64(2) {
		s := open()
		for i := range uint64(3) { // one of each: events, none, and after some that never came
			seq := 8*round + 2*i + 1
			batch, skip := batchOf(load, o, x, 3, seq, 50, r)
			if i == 1 {
				o, batch, skip = o.without(seq, seq), append([]byte(nil), none.Bytes()...), nil
			}
			if err := intake.Append(seq, batch, skip, writer(t, s, 3)); err != nil {
				t.Fatal(err)
			}
			if err := writer(t, s, 3).Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.Expire()
		}
		if st := s.Stats(); len(st.Gaps) > 0 {
			t.Fatalf("gaps %+v between %+v", st.Gaps, st.Runs)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	s.Merge()
	files := s.Stats().Runs
	if len(files) > 3 || s.Close() != nil {
		t.Fatalf("not merged: %+v", files)
	}
	dir = t.TempDir()
	o = fill(t, dir, x)
	all := runs(t, dir)
	away := filepath.Join(t.TempDir(), "run")
	rename(t, all[2], away)
	s = open()
	s.Merge()
	if g := s.Stats().Gaps; len(g) != 1 || g[0] != (Gap{3, 3, 3}) || len(runs(t, dir)) != 4 || s.Close() != nil {
		t.Fatalf("gaps %+v, files %q", g, runs(t, dir))
	}
	rename(t, away, all[2])
	s = open()
	defer s.Close()
	s.Merge()
	if g := s.Stats().Gaps; len(g) != 0 || len(runs(t, dir)) != 1 {
		t.Fatalf("gaps %+v, files %q", g, runs(t, dir))
	}
	check(t, s, o, moat.Everyone(), sample(o, 50, r), moat.TimeOf(now.Add(-24*time.Hour)), 0)
}

// TestDiskFails cannot write, keeps what it has in memory, and writes when it can again.
func TestDiskFails(t *testing.T) {
	x, o, r := index(NewHasher([16]byte{1})), oracle{}, rand.New(rand.NewPCG(1, 1))
	dir := filepath.Join(t.TempDir(), "runs")
	s := open(t, dir, x)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w := writer(t, s, 0)
	batch, skip := batchOf(runtest.New(1, 10, 100), o, x, 0, 1, 300, r)
	if err := intake.Append(1, batch, skip, w); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("flush without a folder: %v", err)
	}
	check(t, s, o, moat.Everyone(), sample(o, 20, r), 0, 0)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, x)
	defer s.Close()
	check(t, s, o, moat.Everyone(), sample(o, 20, r), 0, 0)
}

// TestCorruptBatch is passed over, and what follows is kept.
func TestCorruptBatch(t *testing.T) {
	x, o, r := index(NewHasher([16]byte{1})), oracle{}, rand.New(rand.NewPCG(1, 1))
	s := open(t, t.TempDir(), x)
	w := writer(t, s, 0)
	load := runtest.New(1, 10, 100)
	bad, _ := batchOf(load, oracle{}, x, 0, 1, 300, r)
	binary.LittleEndian.PutUint32(bad[16:], 1<<30) // the length of its first event
	good, skip := batchOf(load, o, x, 0, 2, 300, r)
	if err := intake.Append(1, bad, nil, w); !errors.Is(err, moat.ErrCorruptBatch) {
		t.Fatal(err)
	}
	if err := intake.Append(2, good, skip, w); err != nil {
		t.Fatal(err)
	}
	check(t, s, o, moat.Everyone(), sample(o, 20, r), 0, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if p := s.Position(0); p != 2 {
		t.Errorf("position %d, want 2", p)
	}
	if err := intake.Append(3, good, nil, w); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := w.Flush(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("flush after close: %v", err)
	}
	if _, err := s.View(); !errors.Is(err, ErrClosed) {
		t.Errorf("view after close: %v", err)
	}
	if _, err := s.Writer(1); !errors.Is(err, ErrClosed) {
		t.Errorf("writer after close: %v", err)
	}
}

func TestCancel(t *testing.T) {
	x := index(NewHasher([16]byte{1}))
	dir := t.TempDir()
	o := fill(t, dir, x)
	s := open(t, dir, x)
	defer s.Close()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ctx, cancel := context.WithCancel(t.Context())
	keys := sample(o, 20, rand.New(rand.NewPCG(1, 1)))
	n := 0
	err = v.Each(ctx, moat.Everyone(), keys, 0, 0, func(int, *Row) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v after %d rows", err, n)
	}
	mine := errors.New("mine")
	if err = v.Each(t.Context(), moat.Everyone(), keys, 0, 0, func(int, *Row) error { return mine }); err != mine {
		t.Errorf("got %v, want the caller's error as it is", err)
	}
}
