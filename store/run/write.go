package run

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
)

// sink writes one part of a file from front to back.
type sink struct {
	f     *os.File
	off   int64 // of buf in the file
	buf   []byte
	pace  func(bytes int) error // may wait; nil means no limit
	yield func()
	done  int // bytes framed since it was called
	err   error
}

const sinkBytes = 1 << 18

// yieldBytes take a fifth of a millisecond to write. A frame takes less than it costs to yield: then the runtime wakes a thread for
// every processor that has nothing to do, and the writer may go on on another one.
const yieldBytes = 16 << 10

func (s *sink) pos() uint64 { return uint64(s.off) + uint64(len(s.buf)) }

func (s *sink) write(b []byte) {
	s.buf = append(s.buf, b...)
	if len(s.buf) >= sinkBytes {
		s.flush()
	}
}

func (s *sink) flush() error {
	if s.err == nil && s.pace != nil {
		s.err = s.pace(len(s.buf))
	}
	if s.err == nil {
		_, s.err = s.f.WriteAt(s.buf, s.off)
	}
	s.off += int64(len(s.buf))
	s.buf = s.buf[:0]
	return s.err
}

// frame writes b and its checksum.
func (s *sink) frame(b []byte) {
	if s.done += len(b); s.done >= yieldBytes { // a merge takes seconds, and a question may be waiting for the processor
		s.done = 0
		s.yield()
	}
	s.write(binary.LittleEndian.AppendUint32(b, checksum(b)))
}

// builder writes a run file. Its methods are called in the order in which they
// are written down here: entries of each dictionary in order, then events,
// then keys in order.
type builder struct {
	f    *os.File
	dir  string
	out  sink
	idx  sink // the directory, into the space left for it
	foot footer

	scratch []byte
	blocks  []byte // index of events
	records []record
	tails   []byte
	dicts   [parts][]byte // indexes
	entry   []byte        // before, in its dictionary
	block   []byte
	sink    byte

	lists   []byte
	open    bool // a key was given
	key     uint64
	pending []uint32 // events of key
	bucket  uint64
	keys    []uint64 // entries of the bucket
	counts  []uint64
	numbers []uint64
	filter  filter
}

func newBuilder(dir string, foot footer, pace func(int) error, yield func()) (*builder, error) {
	f, err := os.CreateTemp(dir, "*"+tempExt)
	if err != nil {
		return nil, fmt.Errorf("cannot create run: %w", err)
	}
	foot.Version = formatVersion
	b := &builder{f: f, dir: dir, foot: foot, out: sink{f: f, pace: pace, yield: yield, buf: make([]byte, 0, sinkBytes+sinkBytes/4)}}
	b.out.write([]byte(magic))
	return b, nil
}

const tempExt = ".tmp"

// addEntry adds the next entry of the dictionary of part p.
func (b *builder) addEntry(p Part, entry []byte) {
	n := &b.foot.Entries[p]
	shared := 0
	if *n%blockEntries == 0 {
		b.endBlock()
		b.dicts[p] = binary.LittleEndian.AppendUint64(b.dicts[p], b.out.pos())
	} else {
		shared = sharedPrefix(entry, b.entry)
	}
	b.block = binary.AppendUvarint(b.block, uint64(shared))
	b.block = binary.AppendUvarint(b.block, uint64(len(entry)-shared))
	b.block = append(b.block, entry[shared:]...)
	b.entry = append(b.entry[:shared], entry[shared:]...)
	*n++
}

func sharedPrefix(a, b []byte) (n int) {
	end := min(len(a), len(b))
	for n+8 <= end {
		if d := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); d != 0 {
			return n + bits.TrailingZeros64(d)/8
		}
		n += 8
	}
	for n < end && a[n] == b[n] {
		n++
	}
	return n
}

func (b *builder) endBlock() {
	if len(b.block) > 0 {
		b.out.frame(b.block)
		b.block = b.block[:0]
	}
}

// endDict ends the dictionary of part p.
func (b *builder) endDict(p Part) {
	b.endBlock()
	b.dicts[p] = binary.LittleEndian.AppendUint64(b.dicts[p], b.out.pos())
}

// addEvent adds the next event.
func (b *builder) addEvent(r record, tail []byte) {
	r[colTail] = uint64(len(b.tails))
	b.tails = append(b.tails, tail...)
	b.records = append(b.records, r)
	b.foot.Events++
	if len(b.records) == blockEvents {
		b.endEvents()
	}
}

// endEvents writes the block of events begun.
func (b *builder) endEvents() {
	if len(b.records) == 0 {
		return
	}
	lo, hi := b.records[0][colTime], b.records[0][colTime]
	for i := range b.records {
		lo, hi = min(lo, b.records[i][colTime]), max(hi, b.records[i][colTime])
	}
	for _, v := range [...]uint64{b.out.pos(), lo, hi} {
		b.blocks = binary.LittleEndian.AppendUint64(b.blocks, v)
	}
	b.scratch = append(appendGrid(b.scratch[:0], b.records), b.tails...)
	b.out.frame(b.scratch)
	b.records, b.tails = b.records[:0], b.tails[:0]
}

// startKeys leaves space for the directory of about that many keys.
func (b *builder) startKeys(keys uint64) error {
	b.endEvents()
	b.blocks = binary.LittleEndian.AppendUint64(b.blocks, b.out.pos())
	b.foot.Buckets = max(keys/bucketKeys, 1)
	b.foot.Directory = b.out.pos()
	if err := b.out.flush(); err != nil {
		return fmt.Errorf("cannot write run: %w", err)
	}
	b.idx = sink{f: b.f, off: b.out.off, yield: b.out.yield}
	b.out.off += int64(b.foot.Buckets * dirEntry)
	return nil
}

// addKey adds events of key, in order; the same key may be given again with more.
func (b *builder) addKey(key uint64, ords []uint32) {
	if !b.open || key != b.key {
		b.endKey()
		b.newKey(key)
		b.open, b.key = true, key
	}
	b.foot.Postings += uint64(len(ords))
	for len(ords) > 0 {
		n := min(len(ords), listMax-len(b.pending))
		b.pending = append(b.pending, ords[:n]...)
		ords = ords[n:]
		if len(b.pending) == listMax {
			b.endKey()
		}
	}
}

// addLone adds a key of one event, as those of most orders are, which is not given again.
func (b *builder) addLone(key uint64, ord uint32) {
	b.endKey()
	b.newKey(key)
	b.open = false
	b.foot.Postings++
	b.keys, b.counts, b.numbers = append(b.keys, key), append(b.counts, 0), append(b.numbers, uint64(ord))
}

// newKey makes the bucket of a key the one that entries are added to.
func (b *builder) newKey(key uint64) {
	b.foot.Keys++
	for at := bucketOf(key, b.foot.Buckets); b.bucket < at; b.bucket++ {
		b.endBucket()
	}
	b.filter.add(key)
}

// endKey makes an entry of the events of the key so far.
func (b *builder) endKey() {
	if len(b.pending) == 0 {
		return
	}
	b.keys = append(b.keys, b.key)
	b.counts = append(b.counts, uint64(len(b.pending)-1))
	if len(b.pending) <= inlineMax {
		for _, o := range b.pending {
			b.numbers = append(b.numbers, uint64(o))
		}
	} else {
		b.numbers = append(b.numbers, uint64(len(b.lists)/8))
		b.addList()
	}
	b.pending = b.pending[:0]
}

func (b *builder) addList() {
	b.lists = binary.LittleEndian.AppendUint64(b.lists, b.out.pos())
	first := b.pending[0]
	width := bits.Len32(b.pending[len(b.pending)-1] - first)
	head := binary.LittleEndian.AppendUint32(b.scratch[:0], first)
	w := bitWriter{b: append(head, byte(width))}
	for _, o := range b.pending {
		w.put(uint64(o-first), uint(width))
	}
	b.scratch = w.end()
	b.out.frame(b.scratch)
}

// endBucket writes the bucket and its entry of the directory.
func (b *builder) endBucket() {
	var off uint64
	if len(b.keys) > 0 {
		off = b.out.pos()
		b.writeBucket()
	}
	d := b.filter.append(make([]byte, 0, dirEntry))
	d = append(d, byte(off), byte(off>>8), byte(off>>16), byte(off>>24), byte(off>>32))
	sum := checksum(d)
	b.idx.write(append(d, byte(sum), byte(sum>>8), byte(sum>>16)))
	b.filter = filter{}
}

func (b *builder) writeBucket() {
	var count, number uint64
	for _, c := range b.counts {
		count |= c
	}
	for _, n := range b.numbers {
		number |= n
	}
	start, kw := bucketStart(b.bucket, b.foot.Buckets), uint(keyBits(b.foot.Buckets))
	cw, nw := uint(bits.Len64(count)), uint(bits.Len64(number))
	p := append(b.scratch[:0], 0, 0, 0, 0)
	p = binary.AppendUvarint(p, uint64(len(b.keys)))
	w := bitWriter{b: append(p, byte(cw), byte(nw))}
	for _, k := range b.keys {
		w.put(k-start, kw)
	}
	for _, c := range b.counts {
		w.put(c, cw)
	}
	for _, n := range b.numbers {
		w.put(n, nw)
	}
	b.scratch = w.end()
	binary.LittleEndian.PutUint32(b.scratch, uint32(len(b.scratch)))
	b.out.frame(b.scratch)
	b.keys, b.counts, b.numbers = b.keys[:0], b.counts[:0], b.numbers[:0]
}

// finish writes what is left and makes the file durable under its name.
func (b *builder) finish(partners []string) (path string, err error) {
	b.endKey()
	for ; b.bucket < b.foot.Buckets; b.bucket++ {
		b.endBucket()
	}
	var names []byte
	for _, p := range partners {
		names = appendText(names, p)
	}
	b.foot.Blocks = b.extent(b.blocks)
	for p := range b.dicts {
		b.foot.Dicts[p] = b.extent(b.dicts[p])
	}
	b.foot.Lists = b.extent(b.lists)
	b.foot.Partners = b.extent(names)
	foot, err := binary.Append(nil, binary.LittleEndian, &b.foot)
	if err != nil {
		return "", fmt.Errorf("BUG: cannot encode footer of run: %w", err)
	}
	b.out.frame(foot)
	b.out.write(binary.LittleEndian.AppendUint32(nil, uint32(len(foot)+4)))
	b.out.write([]byte(magic))
	path = filepath.Join(b.dir, fileName(int(b.foot.Partition), b.foot.First, b.foot.Last))
	for _, step := range []func() error{b.idx.flush, b.out.flush, b.f.Sync, b.f.Close,
		func() error { return os.Rename(b.f.Name(), path) },
		func() error { return syncDir(b.dir) }} {
		if err := step(); err != nil {
			return "", fmt.Errorf("cannot write run: %w", err)
		}
	}
	return path, nil
}

func (b *builder) extent(index []byte) extent {
	e := extent{Off: b.out.pos(), Size: uint64(len(index)), Sum: uint64(checksum(index))}
	b.out.write(index)
	return e
}

// abort removes an unfinished file.
func (b *builder) abort() {
	b.f.Close()
	os.Remove(b.f.Name())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
