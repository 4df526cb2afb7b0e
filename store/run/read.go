package run

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"sort"
	"sync/atomic"

	moat "github.com/moat-platform/moat"
)

// file is an open run. It is immutable and safe for concurrent use.
type file struct {
	path string
	data []byte
	foot footer

	blocks  []byte
	dicts   [parts][]byte
	lists   []byte
	names   []string
	hi      []int64           // newest time in the blocks up to each
	checked [parts + 1]checks // dictionaries and events
	buckets checks
	mapped  bool

	refs   atomic.Int32
	doomed atomic.Bool // remove the file when the last reader is gone
}

// openFile maps a run and checks its footer and indexes.
func openFile(path string) (*file, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot open run: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot open run: %w", err)
	}
	data, err := mapFile(f, int(st.Size()))
	if err != nil {
		return nil, fmt.Errorf("cannot map run: %w", err)
	}
	var r *file
	if err = guard(path, func() (err error) { r, err = parseFile(path, data); return err }); err != nil {
		unmapFile(data)
		return nil, err
	}
	r.mapped = true
	r.refs.Store(1)
	return r, nil
}

// parseFile reads the footer and indexes of a run in memory.
func parseFile(path string, data []byte) (*file, error) {
	r := &file{path: path, data: data}
	tail := len(data) - len(magic) - 4
	if tail < len(magic) || string(data[:len(magic)]) != magic || string(data[tail+4:]) != magic {
		return nil, r.damaged("magic")
	}
	size := binary.LittleEndian.Uint32(data[tail:])
	if size > maxFooter || int(size) > tail {
		return nil, r.damaged("size of footer")
	}
	foot, err := r.frame(uint64(tail)-uint64(size), uint64(tail), "footer")
	if err != nil {
		return nil, err
	}
	if len(foot) < 8 {
		return nil, r.damaged("footer")
	}
	if v := binary.LittleEndian.Uint64(foot); v != formatVersion {
		return nil, fmt.Errorf("cannot open run %s: format %d, want %d", path, v, formatVersion)
	}
	if n, err := binary.Decode(foot, binary.LittleEndian, &r.foot); err != nil || n != len(foot) {
		return nil, r.damaged("footer")
	}
	return r, r.readIndexes()
}

func (r *file) readIndexes() (err error) {
	f := &r.foot
	blocks := (f.Events + blockEvents - 1) / blockEvents
	dirBytes := f.Buckets * dirEntry
	if f.Events > maxEvents || f.Buckets == 0 || f.Buckets > uint64(len(r.data)) || f.Directory > uint64(len(r.data)) ||
		dirBytes > uint64(len(r.data))-f.Directory || f.Partition > math.MaxInt32 || f.First > f.Last {
		return r.damaged("footer")
	}
	if r.blocks, err = r.extent(f.Blocks, "index of events"); err != nil {
		return err
	}
	if uint64(len(r.blocks)) != 24*blocks+8 {
		return r.damaged("index of events")
	}
	for p := range r.dicts {
		if r.dicts[p], err = r.extent(f.Dicts[p], "index of a dictionary"); err != nil {
			return err
		}
		if n := uint64(len(r.dicts[p])); f.Entries[p] > uint64(len(r.data)) || n != 8*((f.Entries[p]+blockEntries-1)/blockEntries+1) {
			return r.damaged("index of a dictionary")
		}
	}
	if r.lists, err = r.extent(f.Lists, "index of lists"); err != nil {
		return err
	}
	names, err := r.extent(f.Partners, "partners")
	if err != nil {
		return err
	}
	l := fields{b: names}
	if r.names = l.list(); l.bad {
		return r.damaged("partners")
	}
	r.hi = make([]int64, blocks)
	newest := int64(math.MinInt64)
	for i := range r.hi {
		newest = max(newest, int64(binary.LittleEndian.Uint64(r.blocks[24*i+16:])))
		r.hi[i] = newest
	}
	for p, n := range f.Entries {
		r.checked[p] = newChecks(n/blockEntries + 1)
	}
	r.checked[parts] = newChecks(blocks)
	r.buckets = newChecks(f.Buckets)
	return nil
}

// checks has a bit for each block of events or of a dictionary, or each bucket, that was
// found to be as written: its checksum need not be computed again.
type checks []atomic.Uint64

func newChecks(n uint64) checks { return make(checks, n/64+1) }

// frame returns the bytes of a block less its checksum, after checking it the first time.
func (c checks) frame(r *file, i, off, end uint64, what string) (b []byte, err error) {
	if c[i/64].Load()>>(i%64)&1 == 1 {
		return r.raw(off, end, what)
	}
	if b, err = r.frame(off, end, what); err == nil {
		c[i/64].Or(1 << (i % 64))
	}
	return b, err
}

func (r *file) damaged(what string) error { return &DamageError{Path: r.path, What: what} }

// extent returns an index after checking it.
func (r *file) extent(e extent, what string) ([]byte, error) {
	if e.Off > uint64(len(r.data)) || e.Size > uint64(len(r.data))-e.Off {
		return nil, r.damaged(what)
	}
	b := r.data[e.Off : e.Off+e.Size]
	if uint64(checksum(b)) != e.Sum {
		return nil, r.damaged(what)
	}
	return b, nil
}

// frame returns the bytes from off to end less the checksum there, after checking it.
func (r *file) frame(off, end uint64, what string) ([]byte, error) {
	b, err := r.raw(off, end, what)
	if err == nil && checksum(b) != binary.LittleEndian.Uint32(r.data[end-4:]) {
		return nil, r.damaged(what)
	}
	return b, err
}

func (r *file) raw(off, end uint64, what string) ([]byte, error) {
	if end > uint64(len(r.data)) || off > end || end-off < 4 {
		return nil, r.damaged(what)
	}
	return r.data[off : end-4], nil
}

// blockAt returns where a block of events starts, and that after the last one ends.
func (r *file) blockAt(b uint32) uint64 { return binary.LittleEndian.Uint64(r.blocks[24*uint64(b):]) }

// block returns the grid and the ids of a block of events.
func (r *file) block(i int) (g grid, tails []byte, err error) {
	off, end := r.blockAt(uint32(i)), r.blockAt(uint32(i)+1)
	b, err := r.checked[parts].frame(r, uint64(i), off, end, "events")
	if err != nil {
		return g, nil, err
	}
	g, tails, ok := openGrid(b, r.blockLen(i))
	if !ok {
		return g, nil, r.damaged("events")
	}
	return g, tails, nil
}

// blockLen is the number of events in block i.
func (r *file) blockLen(i int) int { return int(min(r.foot.Events-uint64(i)*blockEvents, blockEvents)) }

// A file is a table.

func (r *file) part() int { return int(r.foot.Partition) }

func (r *file) span() (lo, hi moat.Time) { return moat.Time(r.foot.Min), moat.Time(r.foot.Max) }

func (r *file) partners() []string { return r.names }

func (r *file) upTo(ord uint32) moat.Time { return moat.Time(r.hi[ord/blockEvents]) }

func (r *file) maybe(ord uint32, from, to moat.Time) bool {
	b := r.blocks[24*(ord/blockEvents):]
	lo, hi := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	return moat.Time(lo) < to && moat.Time(hi) >= from
}

// text returns entry ref of the dictionary of part p in the memory of buf, or more.
func (r *file) text(buf []byte, p Part, ref uint32) (entry []byte, err error) {
	if uint64(ref) >= r.foot.Entries[p] {
		return nil, r.damaged("dictionary")
	}
	c := dictCursor{file: r, part: p, next: uint64(ref / blockEntries * blockEntries), entry: buf}
	for c.next <= uint64(ref) {
		if err := c.step(); err != nil {
			return nil, err
		}
	}
	return c.entry, nil
}

// dictCursor walks over a dictionary in order.
type dictCursor struct {
	file  *file
	part  Part
	next  uint64 // number of the entry that step goes to
	block []byte
	entry []byte
}

// step moves to the next entry, which must exist.
func (c *dictCursor) step() (err error) {
	if c.next%blockEntries == 0 {
		i := c.next / blockEntries
		idx := c.file.dicts[c.part]
		off, end := binary.LittleEndian.Uint64(idx[8*i:]), binary.LittleEndian.Uint64(idx[8*i+8:])
		if c.block, err = c.file.checked[c.part].frame(c.file, i, off, end, "dictionary"); err != nil {
			return err
		}
		c.entry = c.entry[:0]
	}
	shared, n := binary.Uvarint(c.block)
	if n <= 0 || shared > uint64(len(c.entry)) {
		return c.file.damaged("dictionary")
	}
	c.block = c.block[n:]
	size, n := binary.Uvarint(c.block)
	if n <= 0 || size > uint64(len(c.block)-n) {
		return c.file.damaged("dictionary")
	}
	c.entry = append(c.entry[:shared], c.block[n:n+int(size)]...)
	c.block = c.block[n+int(size):]
	c.next++
	return nil
}

// bucket is a decoded header of a bucket.
type bucket struct {
	n          int
	start      uint64 // of its keys
	kw, cw, nw uint64 // bits of a key, a count, a number
	bits       []byte
}

func (b *bucket) key(i int) uint64 { return b.start + bitsAt(b.bits, uint64(i)*b.kw, b.kw) }

// count returns how many events entry i has.
func (b *bucket) count(i int) int {
	return int(bitsAt(b.bits, uint64(b.n)*b.kw+uint64(i)*b.cw, b.cw)) + 1
}

func (b *bucket) number(i int) uint64 {
	return bitsAt(b.bits, uint64(b.n)*(b.kw+b.cw)+uint64(i)*b.nw, b.nw)
}

// slot is the first number of entry i.
func (b *bucket) slot(i int) int {
	n, at := 0, uint64(b.n)*b.kw
	if b.cw == 0 { // all have one
		return i
	}
	for range i {
		n += slots(int(bitsAt(b.bits, at, b.cw)) + 1)
		at += b.cw
	}
	return n
}

// has tells whether there are numbers up to that one.
func (b *bucket) has(number int) bool {
	return streamBytes(uint64(b.n)*(b.kw+b.cw)+uint64(number)*b.nw) <= uint64(len(b.bits))
}

// slots is how many numbers an entry of that many events has.
func slots(count int) int {
	if count > inlineMax {
		return 1
	}
	return count
}

// bucketAt reads the bucket that an entry of the directory leads to.
func (r *file) bucketAt(i uint64, dir []byte) (b bucket, err error) {
	off := binary.LittleEndian.Uint64(dir[filterBytes:]) & (1<<40 - 1)
	if off == 0 {
		return b, nil
	}
	if off+8 > uint64(len(r.data)) {
		return b, r.damaged("directory")
	}
	size := uint64(binary.LittleEndian.Uint32(r.data[off:]))
	p, err := r.buckets.frame(r, i, off, off+size+4, "bucket")
	if err != nil {
		return b, err
	}
	if len(p) < 4 {
		return b, r.damaged("bucket")
	}
	n, k := binary.Uvarint(p[4:])
	if k <= 0 || n > uint64(len(p)) || len(p) < 4+k+2 {
		return b, r.damaged("bucket")
	}
	p = p[4+k:]
	b = bucket{n: int(n), start: bucketStart(i, r.foot.Buckets), kw: keyBits(r.foot.Buckets), cw: uint64(p[0]), nw: uint64(p[1]), bits: p[2:]}
	if b.cw > 12 || b.nw > 32 || streamBytes(n*(b.kw+b.cw)) > uint64(len(b.bits)) {
		return b, r.damaged("bucket")
	}
	return b, nil
}

// dirEntry returns the entry of bucket i in the directory.
func (r *file) dirEntry(i uint64) ([]byte, error) {
	d := r.data[r.foot.Directory+i*dirEntry:][:dirEntry]
	if sum := checksum(d[:61]); d[61] != byte(sum) || d[62] != byte(sum>>8) || d[63] != byte(sum>>16) {
		return nil, r.damaged("directory")
	}
	return d, nil
}

// entry returns the bucket of k and the first of k's places in it, which is -1 if r does not have k.
func (r *file) entry(k uint64) (b bucket, first int, err error) {
	at := bucketOf(k, r.foot.Buckets)
	dir, err := r.dirEntry(at)
	if err != nil || !filterHas(dir, k) {
		return b, -1, err
	}
	if b, err = r.bucketAt(at, dir); err != nil {
		return b, -1, err
	}
	first = sort.Search(b.n, func(j int) bool { return b.key(j) >= k })
	if first == b.n || b.key(first) != k {
		return b, -1, nil
	}
	return b, first, nil
}

// find calls fn with the events of each key that r has: i is the key's place
// in keys, and a key with many events comes in pieces, the newest piece first.
// fn returns errNext to be spared the rest of a key.
func (r *file) find(keys []uint64, fn func(i int, ords []uint32) error) error {
	var buf []uint32
	for i, k := range keys {
		b, first, err := r.entry(k)
		if err != nil {
			return err
		}
		if first < 0 {
			continue
		}
		last := first
		for last < b.n && b.key(last) == k {
			last++
		}
		slot := b.slot(last)
		for j := last - 1; j >= first; j-- {
			n := b.count(j)
			slot -= slots(n)
			if buf, err = r.numbers(buf[:0], &b, slot, n); err != nil {
				return err
			}
			if err = fn(i, buf); err == errNext {
				break
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// count adds to n[i] how many events keys[i] has, from the buckets alone.
func (r *file) count(keys []uint64, n []int64) error {
	for i, k := range keys {
		b, first, err := r.entry(k)
		if err != nil {
			return err
		}
		if first < 0 {
			continue
		}
		for j := first; j < b.n && b.key(j) == k; j++ {
			n[i] += int64(b.count(j))
		}
	}
	return nil
}

// scan calls fn with the events of each event's key from lo to hi; a key with many events comes in pieces.
func (r *file) scan(lo, hi uint64, fn func(key uint64, ords []uint32) error) error {
	var buf []uint32
	for at := bucketOf(lo, r.foot.Buckets); at <= bucketOf(hi, r.foot.Buckets); at++ {
		dir, err := r.dirEntry(at)
		if err != nil {
			return err
		}
		b, err := r.bucketAt(at, dir)
		if err != nil {
			return err
		}
		slot := 0
		for j := range b.n {
			n, key := b.count(j), b.key(j)
			if key >= lo && key <= hi && isEventKey(key) {
				if buf, err = r.numbers(buf[:0], &b, slot, n); err != nil {
					return err
				}
				if err = fn(key, buf); err != nil {
					return err
				}
			}
			slot += slots(n)
		}
	}
	return nil
}

// numbers appends the events of the entry of n events whose numbers start at slot.
func (r *file) numbers(dst []uint32, b *bucket, slot, n int) ([]uint32, error) {
	if !b.has(slot + slots(n)) {
		return nil, r.damaged("bucket")
	}
	if n > inlineMax {
		return r.list(dst, b.number(slot), n)
	}
	for i := range n {
		o := b.number(slot + i)
		if o >= r.foot.Events {
			return nil, r.damaged("bucket")
		}
		dst = append(dst, uint32(o))
	}
	return dst, nil
}

// list appends the n numbers of a list.
func (r *file) list(dst []uint32, number uint64, n int) ([]uint32, error) {
	if number >= uint64(len(r.lists)/8) {
		return nil, r.damaged("bucket")
	}
	off := binary.LittleEndian.Uint64(r.lists[8*number:])
	if off > uint64(len(r.data)) || uint64(len(r.data))-off < 5 {
		return nil, r.damaged("index of lists")
	}
	first, width := uint64(binary.LittleEndian.Uint32(r.data[off:])), uint64(r.data[off+4])
	if width > 32 {
		return nil, r.damaged("list")
	}
	p, err := r.frame(off, off+5+streamBytes(uint64(n)*width)+4, "list")
	if err != nil {
		return nil, err
	}
	for i := range n {
		o := first + bitsAt(p[5:], uint64(i)*width, width)
		if o >= r.foot.Events {
			return nil, r.damaged("list")
		}
		dst = append(dst, uint32(o))
	}
	return dst, nil
}

// acquire and release count the readers. The last one to release unmaps the
// file, and removes it if it is doomed.

func (r *file) acquire() { r.refs.Add(1) }

func (r *file) release() {
	if r.refs.Add(-1) > 0 {
		return
	}
	if r.mapped {
		unmapFile(r.data)
	}
	if r.doomed.Load() {
		os.Remove(r.path)
	}
}

func (r *file) info() Info {
	f := &r.foot
	return Info{Partition: int(f.Partition), First: f.First, Last: f.Last, Events: int64(f.Events), Rows: int64(f.Postings),
		Keys: int64(f.Keys), Bytes: int64(len(r.data)), Oldest: moat.Time(f.Min), Newest: moat.Time(f.Max), Received: moat.Time(f.Received)}
}
