package run

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	moat "github.com/moat-platform/moat"
)

// writeSegment writes s to a file of dir.
func writeSegment(dir string, s *segment, yield func()) (path string, err error) {
	b, err := newBuilder(dir, footer{Partition: uint64(s.partition), First: s.first, Last: s.last,
		Min: int64(s.min), Max: int64(s.max), Received: int64(s.received)}, nil, yield)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			b.abort()
		}
	}()
	var rank [parts][]uint32
	for p := range parts {
		rank[p] = b.addDict(p, s)
	}
	for i, r := range s.records {
		for p := range parts {
			c := colSource + int(p)
			r[c] = uint64(rank[p][r[c]])
		}
		b.addEvent(r, s.tail(uint32(i)))
	}
	if err = b.addKeys(s, rank); err != nil {
		return "", err
	}
	return b.finish(s.usedPartners(rank[PartSource]))
}

// unused marks an entry of a vocabulary that a segment has no event of.
const unused = math.MaxUint32

// addDict writes the entries of part p that s uses, in order, and returns the place of each.
func (b *builder) addDict(p Part, s *segment) (rank []uint32) {
	d := &s.words.texts[p]
	rank = make([]uint32, len(d.ends))
	for i := range rank {
		rank[i] = unused
	}
	for i := range s.records {
		rank[s.records[i][colSource+int(p)]] = 0
	}
	order := s.vocab.sort(p, d)
	order = slices.DeleteFunc(slices.Clone(order), func(ref uint32) bool { return rank[ref] == unused })
	for i, ref := range order {
		if i%64 == 0 { // fetch the texts of the next at the same time, see dict.touch
			for _, ref := range order[i:min(i+64, len(order))] {
				e := d.entry(ref)
				b.sink += e[0] + e[len(e)-1]
			}
		}
		rank[ref] = uint32(i)
		b.addEntry(p, d.entry(ref))
	}
	b.endDict(p)
	return rank
}

// usedPartners returns the partners of the sources that have a place.
func (s *segment) usedPartners(rank []uint32) (names []string) {
	seen := map[string]bool{}
	for ref, place := range rank {
		if place == unused {
			continue
		}
		f := fields{b: s.words.texts[PartSource].entry(uint32(ref))}
		if p := f.text(); !seen[p] {
			seen[p] = true
			names = append(names, p)
		}
	}
	slices.Sort(names)
	return names
}

// mergeFiles writes the runs, which follow one another in one partition, as
// one. pace is called with the bytes written and may wait or stop it.
func mergeFiles(dir string, in []*file, pace func(int) error, yield func()) (path string, err error) {
	foot := footer{Partition: in[0].foot.Partition, First: in[0].foot.First, Last: in[len(in)-1].foot.Last,
		Min: math.MaxInt64, Max: math.MinInt64}
	for _, f := range in {
		foot.Min, foot.Max = min(foot.Min, f.foot.Min), max(foot.Max, f.foot.Max)
		foot.Received = max(foot.Received, f.foot.Received)
	}
	b, err := newBuilder(dir, foot, pace, yield)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			b.abort()
		}
	}()
	remap := make([][parts][]uint32, len(in))
	for p := range parts {
		if err = b.mergeDicts(p, in, remap); err != nil {
			return "", err
		}
	}
	for i, f := range in {
		if err = b.copyEvents(f, &remap[i]); err != nil {
			return "", err
		}
	}
	if err = b.mergeKeys(in); err != nil {
		return "", err
	}
	var partners []string
	for _, f := range in {
		partners = append(partners, f.names...)
	}
	slices.Sort(partners)
	return b.finish(slices.Compact(partners))
}

// mergeDicts merges the sorted dictionaries of part p, and sets where each entry went.
func (b *builder) mergeDicts(p Part, in []*file, remap [][parts][]uint32) error {
	cursors := make([]dictCursor, len(in))
	live := make([]int, 0, len(in))
	for i, f := range in {
		remap[i][p] = make([]uint32, f.foot.Entries[p])
		cursors[i] = dictCursor{file: f, part: p}
		if f.foot.Entries[p] > 0 {
			live = append(live, i)
			if err := cursors[i].step(); err != nil {
				return err
			}
		}
	}
	var least []byte
	for len(live) > 0 {
		least = append(least[:0], cursors[live[0]].entry...)
		for _, i := range live[1:] {
			if bytes.Compare(cursors[i].entry, least) < 0 {
				least = append(least[:0], cursors[i].entry...)
			}
		}
		place := uint32(b.foot.Entries[p])
		b.addEntry(p, least)
		rest := live[:0]
		for _, i := range live {
			c := &cursors[i]
			if bytes.Equal(c.entry, least) {
				remap[i][p][c.next-1] = place
				if c.next == c.file.foot.Entries[p] {
					continue
				}
				if err := c.step(); err != nil {
					return err
				}
			}
			rest = append(rest, i)
		}
		live = rest
		if b.out.err != nil {
			return b.out.err
		}
	}
	b.endDict(p)
	return nil
}

// copyEvents adds all events of f, with their dictionary entries renumbered.
func (b *builder) copyEvents(f *file, remap *[parts][]uint32) error {
	for i := range len(f.hi) {
		if i%512 == 0 {
			prefetch(f.data, binary.LittleEndian.Uint64(f.blocks[24*i:]), 8<<20)
		}
		g, tails, err := f.block(i)
		if err != nil {
			return err
		}
		n := f.blockLen(i)
		next := g.record(0)
		for j := range n {
			r, end := next, uint64(len(tails))
			if j+1 < n {
				next = g.record(j + 1)
				end = next[colTail]
			}
			if r[colTail] > end || end > uint64(len(tails)) {
				return f.damaged("events")
			}
			for p := range parts {
				c := colSource + int(p)
				if r[c] >= uint64(len(remap[p])) {
					return f.damaged("events")
				}
				r[c] = uint64(remap[p][r[c]])
			}
			b.addEvent(r, tails[r[colTail]:end])
		}
		if b.out.err != nil {
			return b.out.err
		}
	}
	return nil
}

// keyCursor walks over the entries of a run in order of their keys.
type keyCursor struct {
	file   *file
	base   uint32 // number of its first event in the merged run
	bucket uint64 // the next one
	b      bucket
	i      int // entry
	slot   int // of its numbers
	key    uint64
	done   bool
	asked  uint64
}

// step moves to the next entry.
func (c *keyCursor) step() error {
	if c.b.n > 0 {
		c.slot += slots(c.b.count(c.i))
		c.i++
	}
	for c.i >= c.b.n {
		if c.bucket == c.file.foot.Buckets {
			c.done = true
			return nil
		}
		dir, err := c.file.dirEntry(c.bucket)
		if err != nil {
			return err
		}
		off := binary.LittleEndian.Uint64(dir[filterBytes:]) & (1<<40 - 1)
		if off+4<<20 > c.asked {
			c.asked = max(c.asked, off) + 8<<20
			prefetch(c.file.data, off, 12<<20)
			prefetch(c.file.data, c.file.foot.Directory+c.bucket*dirEntry, 4<<20)
		}
		if c.b, err = c.file.bucketAt(c.bucket, dir); err != nil {
			return err
		}
		c.i, c.slot = 0, 0
		c.bucket++
	}
	if key := c.b.key(c.i); key >= c.key {
		c.key = key
		return nil
	}
	return c.file.damaged("bucket")
}

func openCursors(in []*file) ([]*keyCursor, error) {
	var all []*keyCursor
	base := uint32(0)
	for _, f := range in {
		c := &keyCursor{file: f, base: base}
		base += uint32(f.foot.Events)
		if err := c.step(); err != nil {
			return nil, err
		}
		if !c.done {
			all = append(all, c)
		}
	}
	return all, nil
}

// mergeKeys merges the keys of the runs and renumbers their events.
func (b *builder) mergeKeys(in []*file) error {
	keys, err := countKeys(in)
	if err != nil {
		return err
	}
	if err = b.startKeys(keys); err != nil {
		return err
	}
	var ords []uint32
	return walkKeys(in, math.MaxUint64, func(c *keyCursor) error {
		if ords, err = c.file.numbers(ords[:0], &c.b, c.slot, c.b.count(c.i)); err != nil {
			return err
		}
		for i := range ords {
			ords[i] += c.base
		}
		b.addKey(c.key, ords)
		return b.out.err
	})
}

// walkKeys calls fn for the entries of all runs up to a key, in order of their
// keys, and those of one key in the order of the runs.
func walkKeys(in []*file, end uint64, fn func(c *keyCursor) error) error {
	live, err := openCursors(in)
	if err != nil {
		return err
	}
	for len(live) > 0 {
		least, at := live[0].key, 0
		for i, c := range live[1:] {
			if c.key < least {
				least, at = c.key, i+1
			}
		}
		if least > end {
			return nil
		}
		for c := live[at]; !c.done && c.key == least; {
			if err = fn(c); err != nil {
				return err
			}
			if err = c.step(); err != nil {
				return err
			}
		}
		if live[at].done {
			live = slices.Delete(live, at, at+1)
		}
	}
	return nil
}

// countKeys estimates how many distinct keys the runs have from the lowest
// 64th of all keys: they are hashes, so every part is like every other.
func countKeys(in []*file) (uint64, error) {
	var sum, n, last uint64
	for _, f := range in {
		sum += f.foot.Keys
	}
	if sum < 1<<14 {
		return sum, nil
	}
	err := walkKeys(in, 1<<58-1, func(c *keyCursor) error {
		if n == 0 || c.key != last {
			n, last = n+1, c.key
		}
		return nil
	})
	return min(n*64, sum), err
}

// chooseMerge returns which of the runs of a partition, in their order, are to
// be merged: a window of at least fanIn of about the same size, the smallest
// sizes first, without a gap: a lost run that is put back must not pass for
// merged. ok is false if there is nothing to do.
func chooseMerge(runs []Info, fanIn int, unit int64, span moat.Time, maxRows int64) (from, to int, ok bool) {
	level := func(r Info) int {
		l := 0
		for n := unit; r.Rows >= n && l < 12; n *= int64(fanIn) {
			l++
		}
		return l
	}
	levels := make([]int, len(runs))
	for i, r := range runs {
		levels[i] = level(r)
	}
	order := slices.Clone(levels)
	slices.Sort(order)
	for _, l := range slices.Compact(order) {
		for i := 0; i < len(runs); i++ {
			var rows, events int64
			j := i
			for ; j < len(runs) && levels[j] <= l && j-i < 2*fanIn; j++ {
				rows, events = rows+runs[j].Rows, events+runs[j].Events
				if j > i && runs[j].First > runs[j-1].Last+1 || rows > maxRows || events > maxEvents || span > 0 && runs[j].Received-runs[i].Received > span {
					break
				}
			}
			if j-i >= fanIn {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}
