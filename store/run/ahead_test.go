package run

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
	"github.com/moat-platform/moat/store/run/runtest"
)

// TestCold asks for everything while no page of the files is in memory, so that it is asked for ahead, and wants the same answers.
func TestCold(t *testing.T) {
	x, o, r, dir := index(NewHasher([16]byte{})), oracle{}, rand.New(rand.NewPCG(1, 3)), t.TempDir()
	s := open(t, dir, x)
	defer s.Close()
	load := runtest.New(1, 40, 100)
	for seq := uint64(1); seq <= 40; seq++ {
		batch, skip := batchOf(load, o, x, 0, seq, 300, r)
		if err := intake.Append(seq, batch, skip, writer(t, s, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer(t, s, 0).Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Merge()
	keys := slices.Sorted(maps.Keys(o))
	scan := func() map[uint64]int {
		v, err := s.View()
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		n := map[uint64]int{}
		lo, hi := uint64(math.MaxUint64/5), uint64(math.MaxUint64/5*4)
		if err := v.Scan(t.Context(), moat.Everyone(), lo, hi, 0, 0, func(key uint64, _ *Row) error { n[key]++; return nil }); err != nil {
			t.Fatal(err)
		}
		for k := range n {
			if k < lo || k > hi || n[k] != len(o[k]) {
				t.Fatalf("%d events of a key, want %d", n[k], len(o[k]))
			}
		}
		return n
	}
	warm := scan()
	empty := func() {
		if left := runtest.Cold(t, dir); left > 0 {
			t.Logf("%d bytes stay in memory: this file system is there itself", left)
			return
		}
		for _, f := range s.part(0).files {
			if !f.cold() {
				t.Fatal("a file that is not in memory does not seem cold")
			}
		}
	}
	empty()
	check(t, s, o, moat.Everyone(), sample(o, 50, r), 0, 0)
	empty()
	check(t, s, o, moat.Everyone(), sample(o, 50, r), runtest.Start+10*moat.Second, runtest.Start+60*moat.Second)
	empty()
	if cold := scan(); len(cold) < 100 || !maps.Equal(cold, warm) {
		t.Errorf("%d keys in a part of the space, %d before", len(cold), len(warm))
	}
	empty()
	v, err := s.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	counts, err := v.Counts(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range keys {
		if counts[i] != int64(len(o[k])) {
			t.Fatalf("%d events are counted of a key that has %d", counts[i], len(o[k]))
		}
	}
	// Of several views each reads its share of what all of them see.
	empty()
	all := 0
	for _, w := range v.Split(3) {
		defer w.Close()
		if err := w.Each(t.Context(), moat.Everyone(), keys, 0, 0, func(int, *Row) error { all++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := 0
	for _, k := range keys {
		want += len(o[k])
	}
	if all != want {
		t.Errorf("three views read %d events, want %d", all, want)
	}
}
