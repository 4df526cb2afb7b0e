package run

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	moat "github.com/moat-platform/moat"
)

// TestHasher checks the vectors of the authors of SipHash-2-4.
func TestHasher(t *testing.T) {
	var key [16]byte
	var in []byte
	for i := range key {
		key[i] = byte(i)
	}
	h := NewHasher(key)
	for i, want := range []string{"310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785", "b7877127e09427cf", "8da699cd64557618",
		"cee3fe586e46c9cb", "37d1018bf50002ab", "6224939a79f5f593", "b0e4a90bdf82009e"} {
		if got := fmt.Sprintf("%x", binary.LittleEndian.AppendUint64(nil, h.Sum(string(in)))); got != want {
			t.Errorf("hash of %d bytes is %s, want %s", i, got, want)
		}
		in = append(in, byte(i))
	}
	if h.Derive("a").Sum("x") == h.Derive("b").Sum("x") {
		t.Error("labels share a key")
	}
}

func TestSortPostings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 2, 100, 5000, 70_000} {
		for _, distinct := range []uint64{1, 3, 1000, 1 << 62} {
			keys, ords := make([]uint64, n), make([]uint32, n)
			for i := range keys {
				keys[i], ords[i] = r.Uint64N(distinct)*0x9e3779b97f4a7c15, uint32(i)
				if distinct == 3 {
					keys[i] = r.Uint64N(distinct) // differ in the lowest bits only
				}
			}
			got := sortPostings(keys, ords)
			if len(got) != n {
				t.Fatalf("%d postings of %d", len(got), n)
			}
			for i := range got {
				if keys[got[i].ord] != got[i].key {
					t.Fatal("a posting lost its event")
				}
				if i > 0 && (got[i-1].key > got[i].key || got[i-1].key == got[i].key && got[i-1].ord >= got[i].ord) {
					t.Fatalf("%d of %d, %d keys: out of order", i, n, distinct)
				}
			}
		}
	}
}

func TestChooseMerge(t *testing.T) {
	rows := func(n ...int64) (l []Info) {
		for i, n := range n {
			l = append(l, Info{Rows: n, Events: n, Received: moat.Time(i) * moat.Hour})
		}
		return l
	}
	for _, c := range []struct {
		name     string
		runs     []Info
		span     moat.Time
		max      int64
		from, to int
		ok       bool
	}{
		{"nothing", nil, 0, 1e9, 0, 0, false},
		{"too few", rows(1, 1), 0, 1e9, 0, 0, false},
		{"enough small ones", rows(1, 1, 1), 0, 1e9, 0, 3, true},
		{"behind a large one", rows(5000, 1, 1, 1), 0, 1e9, 1, 4, true},
		{"a small one between large ones", rows(200, 5, 200, 200), 0, 1e9, 0, 4, true},
		{"small ones first", rows(200, 200, 200, 5, 5, 5), 0, 1e9, 3, 6, true},
		{"too large together", rows(200, 200, 200), 0, 500, 0, 0, false},
		{"around a gap", []Info{{First: 1, Last: 2}, {First: 3, Last: 3}, {First: 5, Last: 5}, {First: 6, Last: 9}}, 0, 1e9, 0, 0, false},
		{"behind a gap", []Info{{First: 1, Last: 2}, {First: 4, Last: 4}, {First: 5, Last: 5}, {First: 6, Last: 9}}, 0, 1e9, 1, 4, true},
		{"too far apart", rows(1, 1, 1), moat.Hour, 1e9, 0, 0, false},
	} {
		from, to, ok := chooseMerge(c.runs, 3, 100, c.span, c.max)
		if from != c.from || to != c.to || ok != c.ok {
			t.Errorf("%s: %d to %d %t, want %d to %d %t", c.name, from, to, ok, c.from, c.to, c.ok)
		}
	}
}

func TestFileName(t *testing.T) {
	for _, name := range []string{"", "x.run", "p0001-0-1.run", "p1-0000000000000001-0000000000000002.run",
		"p0001-0000000000000003-0000000000000002.run",
		"p0001-0000000000000001-0000000000000002.run.tmp", "p0001-0000000000000001-000000000000000g.run"} {
		if _, _, _, ok := parseFileName(name); ok {
			t.Errorf("%q is taken for a run", name)
		}
	}
	p, first, last, ok := parseFileName(fileName(17, 5, 1<<63))
	if p != 17 || first != 5 || last != 1<<63 || !ok {
		t.Error("a name does not survive")
	}
}

// TestFilter lets few absent keys pass, and all others.
func TestFilter(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	passed := 0
	for range 2000 {
		var f filter
		top := r.Uint64() &^ (1<<40 - 1) // keys of one bucket differ below
		for range bucketKeys {
			k := top | r.Uint64N(1<<40)
			f.add(k)
			if !filterHas(f.append(nil), k) {
				t.Fatal("a key is kept away")
			}
		}
		for range 100 {
			if filterHas(f.append(nil), top|r.Uint64N(1<<40)) {
				passed++
			}
		}
	}
	if share := float64(passed) / 200_000; share > 0.008 {
		t.Errorf("%.2f %% of absent keys pass", 100*share)
	}
}

func TestBuckets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []uint64{1, 2, 3, 40, 64, 1000, 1 << 20, 1<<28 + 1} {
		for range 1000 {
			b := r.Uint64N(n)
			first := bucketStart(b, n)
			for _, k := range []uint64{first + 1, r.Uint64(), 0, 1<<64 - 1} {
				at := bucketOf(k, n)
				if at >= n || bucketStart(at, n) > k || keyBits(n) < 64 && (k-bucketStart(at, n))>>keyBits(n) != 0 {
					t.Fatalf("key %x is not of bucket %d of %d", k, at, n)
				}
			}
		}
	}
}
