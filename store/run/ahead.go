package run

import (
	"encoding/binary"
	"slices"

	moat "github.com/moat-platform/moat"
)

// A look-up reads thousands of small pieces that lie anywhere in a file. If they are not in memory, a disk that is asked for one
// after the other takes as long as all of its answers together; asked for all at once, it answers a hundred in the time of a few.
// So before a look-up reads, ahead goes the same way and asks for each sort of piece, all of them in the order of the file: entries of the
// directory, then the buckets that they lead to, then lists, blocks of events, blocks of dictionaries.
//
// It only asks: what it meets that is damaged is for the look-up to find. It does nothing where the file seems to be in memory.
type ahead struct {
	file   *file
	pieces []piece
	ords   []uint32
	parts  [parts][]uint32 // entries of the dictionaries
	buf    []uint32
	split  bool // others read the same keys: only pieces of lists are this one's own
}

// piece is bytes of a file from off to end.
type piece struct{ off, end uint64 }

// Bounds of ahead.
const (
	aheadEvents  = 1 << 16  // that it asks for before they are read
	aheadBuckets = 1 << 10  // of a scan, likewise
	aheadGap     = 16 << 10 // bytes between pieces up to which it is cheaper to read them, too
	aheadBucket  = 4 << 10  // about the size of a bucket
	coldProbes   = 24       // pages that are looked for
)

// cold tells whether some of the file is not in memory, by a few pages of it.
func (r *file) cold() bool {
	if !r.mapped {
		return false
	}
	step := uint64(len(r.data)) / coldProbes
	for i := range uint64(coldProbes) {
		if !resident(r.data, i*step) {
			return true
		}
	}
	return false
}

// ask asks for the pieces, and forgets them.
func (a *ahead) ask() {
	slices.SortFunc(a.pieces, func(x, y piece) int { return int(min(1, max(-1, int64(x.off-y.off)))) })
	var now piece
	for _, p := range a.pieces {
		if p.off > now.end+aheadGap {
			prefetch(a.file.data, now.off, now.end-now.off)
			now = p
		}
		now.end = max(now.end, p.end)
	}
	prefetch(a.file.data, now.off, now.end-now.off)
	a.pieces = a.pieces[:0]
}

func (a *ahead) want(off, size uint64) { a.pieces = append(a.pieces, piece{off, off + size}) }

// indexes asks for the small tables that lead to everything else.
func (a *ahead) indexes() {
	f := &a.file.foot
	for _, x := range append([]extent{f.Blocks, f.Lists}, f.Dicts[:]...) {
		a.want(x.Off, x.Size)
	}
	a.ask()
}

// keys asks for what the first keys lead to, and returns how many that are: at least one. If events is false only the buckets are asked for.
func (a *ahead) keys(keys []uint64, from, to moat.Time, events bool) (n int) {
	r := a.file
	if a.split {
		return len(keys)
	}
	for _, k := range keys {
		a.want(r.foot.Directory+bucketOf(k, r.foot.Buckets)*dirEntry, dirEntry)
	}
	a.ask()
	for _, k := range keys {
		if dir, err := r.dirEntry(bucketOf(k, r.foot.Buckets)); err == nil && filterHas(dir, k) {
			a.bucket(dir)
		}
	}
	a.ask()
	if !events {
		return len(keys)
	}
	a.ords = a.ords[:0]
	type entry struct {
		b       bucket
		slot, n int
	}
	var lists []entry
	total := 0
	for n < len(keys) && (n == 0 || total < aheadEvents) {
		k := keys[n]
		n++
		b, first, err := r.entry(k)
		if err != nil || first < 0 {
			continue
		}
		slot := b.slot(first)
		for j := first; j < b.n && b.key(j) == k && total < aheadEvents; j++ {
			m := b.count(j)
			total += m
			if m > inlineMax {
				a.list(&b, slot, m)
				lists = append(lists, entry{b, slot, m})
			} else {
				a.numbers(&b, slot, m)
			}
			slot += slots(m)
		}
	}
	a.ask()
	for _, l := range lists {
		a.numbers(&l.b, l.slot, l.n)
	}
	a.events(from, to)
	return n
}

// bucket wants the bucket that an entry of the directory leads to.
func (a *ahead) bucket(dir []byte) {
	if off := binary.LittleEndian.Uint64(dir[filterBytes:]) & (1<<40 - 1); off != 0 {
		a.want(off, aheadBucket)
	}
}

// list wants the list of n events at a slot.
func (a *ahead) list(b *bucket, slot, n int) {
	if at := 8 * b.number(slot); at+8 <= uint64(len(a.file.lists)) {
		a.want(binary.LittleEndian.Uint64(a.file.lists[at:]), uint64(2*n))
	}
}

func (a *ahead) numbers(b *bucket, slot, n int) {
	var err error
	if a.buf, err = a.file.numbers(a.buf[:0], b, slot, n); err == nil {
		a.ords = append(a.ords, a.buf...)
	}
}

// buckets asks for what buckets lead to, from one of them up to another.
func (a *ahead) buckets(first, last uint64, from, to moat.Time) {
	r := a.file
	a.want(r.foot.Directory+first*dirEntry, (last-first)*dirEntry)
	a.ask()
	for at := first; at < last; at++ {
		if dir, err := r.dirEntry(at); err == nil {
			a.bucket(dir)
		}
	}
	a.ask()
	a.ords = a.ords[:0]
	for at := first; at < last; at++ {
		dir, err := r.dirEntry(at)
		if err != nil {
			continue
		}
		b, err := r.bucketAt(at, dir)
		if err != nil {
			continue
		}
		slot := 0
		for j := range b.n {
			m := b.count(j)
			if len(a.ords) < aheadEvents {
				a.numbers(&b, slot, m)
			}
			slot += slots(m)
		}
	}
	a.events(from, to)
}

// few asks for what some events of a list lead to.
func (a *ahead) few(ords []uint32, from, to moat.Time) {
	a.ords = append(a.ords[:0], ords...)
	a.events(from, to)
}

// events asks for the blocks of the events that may be in the window, and for what their dictionaries say of them.
func (a *ahead) events(from, to moat.Time) {
	r := a.file
	a.ords = slices.DeleteFunc(a.ords, func(ord uint32) bool { return !r.maybe(ord, from, to) })
	slices.Sort(a.ords)
	for i, ord := range a.ords {
		if b := ord / blockEvents; i == 0 || b != a.ords[i-1]/blockEvents {
			off := binary.LittleEndian.Uint64(r.blocks[24*b:])
			a.want(off, binary.LittleEndian.Uint64(r.blocks[24*(b+1):])-off)
		}
	}
	a.ask()
	at := reader{file: r}
	for _, ord := range a.ords {
		rec, err := at.record(ord)
		if err != nil {
			continue
		}
		for p := range a.parts {
			if ref := rec[colSource+p]; ref < r.foot.Entries[p] {
				a.parts[p] = append(a.parts[p], uint32(ref)/blockEntries)
			}
		}
	}
	for p, list := range a.parts {
		slices.Sort(list)
		idx := r.dicts[p]
		for _, b := range slices.Compact(list) {
			off := binary.LittleEndian.Uint64(idx[8*b:])
			a.want(off, binary.LittleEndian.Uint64(idx[8*b+8:])-off)
		}
		a.ask()
		a.parts[p] = list[:0]
	}
}
