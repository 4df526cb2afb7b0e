package run

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"
)

// internAll returns a dictionary of the texts.
func internAll(texts [][]byte) *dict {
	d := &dict{}
	for _, text := range texts {
		d.reserve(1)
		d.intern(xxh3.Hash128(text), text)
	}
	return d
}

// TestDictSort sorts texts that share much, end where others go on, or go on with zeroes.
func TestDictSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, shared := range []int{0, 7, 8, 9, 5000} {
		var texts [][]byte
		for n := range 40 {
			texts = append(texts, make([]byte, shared+n))
		}
		for range 2000 {
			text := bytes.Repeat([]byte{'x'}, shared+r.IntN(40))
			for i := shared; i < len(text); i++ {
				text[i] = byte(r.IntN(3)) * 127
			}
			texts = append(texts, text)
		}
		d := internAll(texts)
		refs := make([]uint32, len(d.ends))
		for i := range refs {
			refs[i] = uint32(i)
		}
		want := slices.Clone(refs)
		d.sort(refs)
		slices.SortFunc(want, func(x, y uint32) int { return bytes.Compare(d.entry(x), d.entry(y)) })
		if !slices.Equal(refs, want) {
			t.Errorf("with %d bytes shared: not in order of bytes", shared)
		}
	}
}

// TestVocabularySort adds entries in several turns: each time all of them are in order.
func TestVocabularySort(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	v := newVocabulary(1)
	d := &v.dicts[PartAct]
	for _, n := range []int{0, 1, 1, 500, 3, 0, 2000} {
		for range n {
			text := []byte{byte(r.IntN(3)), byte(r.IntN(256)), byte(r.IntN(256))}
			d.reserve(1)
			d.intern(xxh3.Hash128(text), text)
		}
		order := v.sort(PartAct, d)
		if len(order) != len(d.ends) || !slices.IsSortedFunc(order, func(x, y uint32) int { return bytes.Compare(d.entry(x), d.entry(y)) }) {
			t.Fatalf("%d entries of %d are not all, or not in order", len(order), len(d.ends))
		}
	}
}

// BenchmarkDictSort sorts 200,000 texts like those of sources.
func BenchmarkDictSort(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var texts [][]byte
	for range 200_000 {
		text := append([]byte("\x0bpartner-000\x0bpartner-000\x09app-000-0\x00\x06packer\x0buser0000000"), make([]byte, 8)...)
		for _, i := range []int{9, 10, 11, 56, 57, 58} {
			text[i] = '0' + byte(r.IntN(10))
		}
		copy(text[21:], text[9:12])
		texts = append(texts, text)
	}
	d := internAll(texts)
	refs := make([]uint32, len(d.ends))
	b.ReportAllocs()
	for b.Loop() {
		for i := range refs {
			refs[i] = uint32(i)
		}
		d.sort(refs)
	}
	b.ReportMetric(float64(len(refs)), "entries")
}
