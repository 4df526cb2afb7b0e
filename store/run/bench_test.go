package run

import (
	"math/rand/v2"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run/runtest"
)

func BenchmarkHasher(b *testing.B) {
	h := NewHasher([16]byte{1})
	before := runtest.CPU(b)
	for b.Loop() {
		h.Sum("123456789012345678")
	}
	runtest.ReportCPU(b, before, int64(b.N), "op")
}

func BenchmarkSortPostings(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	keys, ords := make([]uint64, 1<<20), make([]uint32, 1<<20)
	for i := range keys {
		keys[i], ords[i] = r.Uint64(), uint32(i/3)
	}
	b.ReportAllocs()
	before := runtest.CPU(b)
	for b.Loop() {
		sortPostings(keys, ords)
	}
	runtest.ReportCPU(b, before, int64(b.N*len(keys)), "row")
}

func BenchmarkAppendID(b *testing.B) {
	var buf []byte
	b.ReportAllocs()
	before := runtest.CPU(b)
	for b.Loop() {
		var last idShape
		buf = appendID(buf[:0], "01234567-89ab-4def-a123-456789abcdef", &last)
	}
	runtest.ReportCPU(b, before, int64(b.N), "op")
}

// BenchmarkSegment is the cost of an event in memory: decoding its batch alone,
// and with adding it to a segment of the ledger's kind.
func BenchmarkSegment(b *testing.B) {
	load := runtest.New(1, 1_000_000, 350_000)
	var batches [][]byte
	for range 1000 {
		batches = append(batches, load.Batch(512))
	}
	h := NewHasher([16]byte{1})
	index := Index{Event: func(keys []uint64, e *moat.Event) []uint64 {
		for _, o := range e.Orders {
			keys = append(keys, h.Sum(o))
		}
		return keys
	}}
	each := func(b *testing.B, add func(row uint32, e *moat.Event)) {
		var r moat.BatchReader
		var e moat.Event
		i := 0
		b.ReportAllocs()
		before := runtest.CPU(b)
		for b.Loop() {
			if err := r.Open(batches[i%len(batches)]); err != nil {
				b.Fatal(err)
			}
			for row := uint32(0); r.Next(&e); row++ {
				add(row, &e)
			}
			i++
		}
		runtest.ReportCPU(b, before, int64(b.N*512), "event")
	}
	b.Run("decode", func(b *testing.B) { each(b, func(uint32, *moat.Event) {}) })
	b.Run("add", func(b *testing.B) {
		words := newVocabulary(1)
		s := newSegment(0, index, words, nil, nil)
		each(b, func(row uint32, e *moat.Event) {
			if s.full(1 << 19) {
				s = newSegment(0, index, words, s, nil)
			}
			s.add(1, row, e)
			if row == 511 {
				s.end()
			}
		})
	})
}
