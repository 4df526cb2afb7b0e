package run

import (
	"cmp"
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
	split  bool            // others read the same keys: only pieces of lists are this one's own
}

// piece is bytes of a file from off to end.
type piece struct{ off, end uint64 }

// Bounds of ahead.
const (
	aheadEvents  = 1 << 16  // that keys lead to and are asked for together
	aheadBuckets = 1 << 10  // of a scan, likewise
	aheadGap     = 16 << 10 // bytes between pieces up to which it is cheaper to read them, too
	aheadBucket  = 4 << 10  // about the size of a bucket
	coldProbes   = 24       // pages that are looked for
	pieceProbes  = 16       // one piece in so many is
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

// ask asks for the pieces, and forgets them. If every sixteenth of them is in memory, nearly all are: to ask for each would take longer than to wait
// for the few that are not.
func (a *ahead) ask() {
	slices.SortFunc(a.pieces, func(x, y piece) int { return cmp.Compare(x.off, y.off) })
	absent := false
	for i := 0; i < len(a.pieces) && !absent; i += pieceProbes {
		absent = a.pieces[i].off < uint64(len(a.file.data)) && !resident(a.file.data, a.pieces[i].off)
	}
	if absent {
		var now piece
		for _, p := range a.pieces {
			if p.off > now.end+aheadGap {
				prefetch(a.file.data, now.off, now.end-now.off)
				now = p
			}
			now.end = max(now.end, p.end)
		}
		prefetch(a.file.data, now.off, now.end-now.off)
	}
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

// entries asks for the buckets of keys.
func (a *ahead) entries(keys []uint64) {
	r := a.file
	if a.split {
		return
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
}

// keys asks for what leads from the first keys to their events, and returns how many keys that are: at least one.
func (a *ahead) keys(keys []uint64) (n int) {
	a.entries(keys)
	if a.split {
		return len(keys)
	}
	r, total := a.file, 0
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
			if total += m; m > inlineMax {
				a.list(&b, slot, m)
			}
			slot += slots(m)
		}
	}
	a.ask()
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
	if !b.has(slot + 1) { // it is damaged, and found to be when it is read
		return
	}
	if at := 8 * b.number(slot); at+8 <= uint64(len(a.file.lists)) {
		a.want(binary.LittleEndian.Uint64(a.file.lists[at:]), uint64(2*n))
	}
}

// buckets asks for buckets, from one of them up to another, and for their lists.
func (a *ahead) buckets(first, last uint64) {
	r := a.file
	a.want(r.foot.Directory+first*dirEntry, (last-first)*dirEntry)
	a.ask()
	for at := first; at < last; at++ {
		if dir, err := r.dirEntry(at); err == nil {
			a.bucket(dir)
		}
	}
	a.ask()
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
			if m > inlineMax && len(a.pieces) < aheadEvents/inlineMax {
				a.list(&b, slot, m)
			}
			slot += slots(m)
		}
	}
	a.ask()
}

// events asks for the blocks of the events that may be in the window, and for what their dictionaries say of them. The numbers of the events are
// the upper halves of list.
func (a *ahead) events(list []uint64, from, to moat.Time) {
	r := a.file
	a.ords = a.ords[:0]
	for i, x := range list {
		if ord := uint32(x >> 32); (i == 0 || ord != uint32(list[i-1]>>32)) && r.maybe(ord, from, to) {
			a.ords = append(a.ords, ord)
		}
	}
	slices.Sort(a.ords)
	for i, ord := range a.ords {
		if b := ord / blockEvents; i == 0 || b != a.ords[i-1]/blockEvents {
			off := r.blockAt(b)
			a.want(off, r.blockAt(b+1)-off)
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
