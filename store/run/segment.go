package run

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/internal/room"
)

// A record is the fixed-size part of what is kept of one event. It is an
// array, so that all of its columns are packed by one loop.
type record [recordCols]uint64

const (
	colTime = iota
	colSeq
	colRow
	colSource // entry of the dictionary of each part
	colAct
	colShops
	colCount
	colTail // where the ids of the event start
	recordCols
)

// An Index says under which keys an event is found. Its functions append keys
// to the slice that they are given; a function that is nil gives none.
type Index struct {
	// Event gives keys of one event, each an [EventKey].
	Event func(keys []uint64, e *moat.Event) []uint64
	// Part gives the keys, each a [PartKey], that follow from one part of an event alone, whose
	// fields and partner t has during the call. It is called once for each distinct
	// part, or little more often, so that such keys cost next to nothing.
	Part func(keys []uint64, p Part, t *Touch) []uint64
	// Orders keeps the ids of the orders with each event.
	Orders bool
}

// segment is the newest events of one partition, not yet in a file. One
// goroutine adds to it; views of it may be read at the same time, because what
// a view can see is never changed.
type segment struct {
	index Index

	mu sync.RWMutex // held while a group is gathered, and while a view is taken
	segmentView
	vocab *vocabulary
	known int // size of vocab at the start
	group group
	touch Touch // for the index

	first, last uint64 // log sequences
	received    moat.Time

	views atomic.Int32 // that are open
}

// segmentView is the part of a segment that only grows.
type segmentView struct {
	partition int
	records   []record
	tails     []byte
	keys      []uint64 // that an event gave itself, and which event; the others follow from its parts
	ords      []uint32
	words     words // set when nothing is added any more, and in views
	min, max  moat.Time
}

// newSegment returns an empty segment in the memory of an old one, or if that is nil, with as much as the one before had.
func newSegment(partition int, index Index, vocab *vocabulary, old, before *segment) *segment {
	s := &segment{index: index, vocab: vocab, known: vocab.size()}
	s.partition = partition
	s.min, s.max = math.MaxInt64, math.MinInt64
	switch {
	case old != nil:
		s.records, s.tails, s.keys, s.ords = old.records[:0], old.tails[:0], old.keys[:0], old.ords[:0]
	case before != nil:
		s.records = make([]record, 0, len(before.records)*9/8)
		s.tails = make([]byte, 0, len(before.tails)*9/8)
		s.keys = make([]uint64, 0, len(before.keys)*9/8)
		s.ords = make([]uint32, 0, len(before.ords)*9/8)
	}
	return s
}

// spare tells whether the memory of s, which is in a file now and out of its set's sight, may be used again: no
// view looks at it, and there is not so much of it that a burst would be remembered for ever.
func (s *segment) spare() bool {
	return s.views.Load() == 0 && cap(s.records) <= 4*len(s.records)+groupSize
}

// A group is the newest records of a segment, whose parts are not yet looked up.
type group struct {
	n    int
	text []byte // all parts
	ends [groupSize][parts]uint32
	hash [groupSize][parts]xxh3.Uint128
}

const groupSize = 256

// usualKeys is the keys of most parts, and more.
const usualKeys = 8

// usualTail is the bytes of most tails, and more.
const usualTail = 64

// add keeps what the index wants of e, and tells whether it filled a group. Until then, or the next end, views wait.
func (s *segment) add(seq uint64, row uint32, e *moat.Event) (filled bool) {
	if s.group.n == 0 {
		s.mu.Lock()
	}
	ord := uint32(len(s.records))
	if s.index.Event != nil {
		s.keys = s.index.Event(room.For(s.keys, len(e.Orders)), e)
		s.ords = room.For(s.ords, len(s.keys)-len(s.ords))
		for len(s.ords) < len(s.keys) {
			s.ords = append(s.ords, ord)
		}
	}
	s.records = append(room.For(s.records, 1), record{colTime: uint64(max(e.Time, 0)), colSeq: seq, colRow: uint64(row),
		colCount: uint64(records(e)), colTail: uint64(len(s.tails))})
	var last idShape
	s.tails = appendID(room.For(s.tails, usualTail), e.ID, &last)
	if s.index.Orders {
		for _, o := range e.Orders {
			s.tails = appendID(s.tails, o, &last)
		}
	}
	t := max(e.Time, 0)
	s.min, s.max = min(s.min, t), max(s.max, t)
	s.received = max(s.received, e.Received)

	g := &s.group
	for p := range parts {
		start := len(g.text)
		g.text = appendPart(g.text, p, e)
		g.ends[g.n][p] = uint32(len(g.text))
		g.hash[g.n][p] = xxh3.Hash128Seed(g.text[start:], s.vocab.dicts[p].seed)
	}
	if g.n++; g.n < groupSize {
		return false
	}
	s.end()
	return true
}

// end ends the group begun, if there is one.
func (s *segment) end() {
	if s.group.n > 0 {
		s.settle()
		s.mu.Unlock()
	}
}

// maxRecords bounds what one event counts, so that no sum of counts overflows.
const maxRecords = math.MaxUint32

// records returns how many order records e touched. A statement gives them as rows.
func records(e *moat.Event) int64 {
	n := e.Touched()
	if e.Type == moat.DBQuery {
		n = max(n, e.Rows)
	}
	return min(max(n, 0), maxRecords)
}

// settle looks the parts of the group up.
func (s *segment) settle() {
	g := &s.group
	for p := range parts {
		d := &s.vocab.dicts[p]
		d.reserve(g.n)
		for i := range g.n {
			s.vocab.sink += d.touch(g.hash[i][p])
		}
	}
	start, first := uint32(0), len(s.records)-g.n
	for i := range g.n {
		rec := &s.records[first+i]
		for p := range parts {
			b := g.text[start:g.ends[i][p]]
			start = g.ends[i][p]
			ref, isNew := s.vocab.dicts[p].intern(g.hash[i][p], b)
			rec[colSource+int(p)] = uint64(ref)
			if isNew && s.index.Part != nil {
				l := &s.vocab.keys[p]
				s.touch.viewPart(p, b)
				l.keys = s.index.Part(room.For(l.keys, usualKeys), p, &s.touch)
				l.ends = append(room.For(l.ends, 1), uint32(len(l.keys)))
			}
		}
	}
	g.n, g.text = 0, g.text[:0]
	s.touch = Touch{}
}

// full tells whether there are so many events that it is time to write them.
func (s *segment) full(events int) bool {
	return len(s.records) >= events || len(s.keys) >= 4*events || len(s.tails)+s.vocab.size()-s.known >= 128*events
}

// freeze ends adding.
func (s *segment) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.words = s.vocab.words()
	s.group = group{}
}

// view returns what s holds now. Whoever takes it counts down s.views when done.
func (s *segment) view() *segmentView {
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.views.Add(1)
	v := s.segmentView
	if v.words.texts[0].ends == nil {
		v.words = s.vocab.words()
	}
	return &v
}

// A segmentView is a table.

func (v *segmentView) part() int                { return v.partition }
func (v *segmentView) span() (lo, hi moat.Time) { return v.min, v.max }

func (v *segmentView) upTo(uint32) moat.Time { return v.max }

func (v *segmentView) maybe(ord uint32, from, to moat.Time) bool { return true }

func (v *segmentView) text(_ []byte, p Part, ref uint32) ([]byte, error) {
	return v.words.texts[p].entry(ref), nil
}

func (v *segmentView) tail(ord uint32) []byte {
	end := uint64(len(v.tails))
	if int(ord)+1 < len(v.records) {
		end = v.records[ord+1][colTail]
	}
	return v.tails[v.records[ord][colTail]:end]
}

// find has no order to go by: it looks once at every key for all that are wanted.
func (v *segmentView) find(keys []uint64, fn func(i int, ords []uint32) error) error {
	w := wanted{keys: keys}
	own, other := false, false
	for _, k := range keys {
		w.bits[k>>54] |= 1 << (k >> 48 & 63)
		own, other = own || isEventKey(k), other || !isEventKey(k)
	}
	found := make([][]uint32, len(keys))
	if own {
		for i, k := range v.keys {
			if j, ok := w.find(k); ok {
				found[j] = append(found[j], v.ords[i])
			}
		}
	}
	if other {
		for p := range parts {
			v.findPart(p, &w, found)
		}
	}
	for i, ords := range found {
		if len(ords) == 0 {
			continue
		}
		slices.Sort(ords) // an event may name an order twice
		if err := fn(i, slices.Compact(ords)); err != nil && err != errNext {
			return err
		}
	}
	return nil
}

func (v *segmentView) count(keys []uint64, n []int64) error {
	return v.find(keys, func(i int, ords []uint32) error {
		n[i] += int64(len(ords))
		return nil
	})
}

func (v *segmentView) scan(lo, hi uint64, fn func(key uint64, ords []uint32) error) error {
	var keys []uint64
	for _, k := range v.keys {
		if k >= lo && k <= hi {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return v.find(keys, func(i int, ords []uint32) error { return fn(keys[i], ords) })
}

// findPart finds the entries of part p from which a wanted key follows, and then the events with them.
func (v *segmentView) findPart(p Part, w *wanted, found [][]uint32) {
	entries := map[uint64][]int{} // the places of their keys
	l := &v.words.keys[p]
	for i, k := range l.keys {
		if j, ok := w.find(k); ok {
			ref, _ := slices.BinarySearch(l.ends, uint32(i+1))
			entries[uint64(ref)] = append(entries[uint64(ref)], j)
		}
	}
	if len(entries) == 0 {
		return
	}
	bitmap := make([]uint64, len(l.ends)/64+1)
	for ref := range entries {
		bitmap[ref/64] |= 1 << (ref % 64)
	}
	for ord := range v.records {
		ref := v.records[ord][colSource+int(p)]
		if bitmap[ref/64]>>(ref%64)&1 == 0 {
			continue
		}
		for _, j := range entries[ref] {
			found[j] = append(found[j], uint32(ord))
		}
	}
}

// wanted is sorted keys; a bitmap over their upper 16 bits keeps most others away from the search.
type wanted struct {
	keys []uint64
	bits [1 << 10]uint64
}

func (w *wanted) find(k uint64) (i int, ok bool) {
	if w.bits[k>>54]>>(k>>48&63)&1 == 0 {
		return 0, false
	}
	return slices.BinarySearch(w.keys, k)
}

func (v *segmentView) partners() (names []string) {
	seen := map[string]bool{}
	for ref := range v.words.texts[PartSource].ends {
		f := fields{b: v.words.texts[PartSource].entry(uint32(ref))}
		if p := f.text(); !seen[p] {
			seen[p] = true
			names = append(names, p)
		}
	}
	return names
}
