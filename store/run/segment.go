package run

import (
	"math"
	"slices"
	"sync"

	moat "github.com/moat-platform/moat"
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
	// Event gives keys of one event.
	Event func(keys []uint64, e *moat.Event) []uint64
	// Part gives the keys that follow from one part of an event alone. It is
	// called once for each distinct part, so that they cost next to nothing.
	Part func(keys []uint64, p Part, e *moat.Event) []uint64
	// Orders keeps the ids of the orders with each event.
	Orders bool
}

// segment is the newest events of one partition, not yet in a file. One
// goroutine adds to it; views of it may be read at the same time, because what
// a view can see is never changed.
type segment struct {
	index Index

	mu sync.RWMutex // held by add, and while a view is taken
	segmentView
	dicts    [parts]dict
	partKeys [parts]keyLists
	scratch  []byte

	first, last uint64 // log sequences
	received    moat.Time
}

// segmentView is the part of a segment that only grows.
type segmentView struct {
	partition int
	records   []record
	tails     []byte
	keys      []uint64 // of posting i
	ords      []uint32
	texts     [parts]dict // without slots
	min, max  moat.Time
}

// keyLists are the keys that follow from each entry of a dictionary.
type keyLists struct {
	keys []uint64
	ends []uint32
}

func (l *keyLists) of(ref uint32) []uint64 {
	var start uint32
	if ref > 0 {
		start = l.ends[ref-1]
	}
	return l.keys[start:l.ends[ref]]
}

// newSegment returns an empty segment; hint, if there is one, is a segment whose size it will have.
func newSegment(partition int, index Index, seed uint64, hint *segment) *segment {
	s := &segment{index: index}
	s.partition = partition
	s.min, s.max = math.MaxInt64, math.MinInt64
	for p := range s.dicts {
		s.dicts[p].seed = seed
	}
	if hint != nil {
		s.records = make([]record, 0, len(hint.records)+len(hint.records)/8)
		s.tails = make([]byte, 0, len(hint.tails)+len(hint.tails)/8)
		s.keys = make([]uint64, 0, len(hint.keys)+len(hint.keys)/8)
		s.ords = make([]uint32, 0, len(hint.ords)+len(hint.ords)/8)
		for p := range s.dicts {
			s.dicts[p].text = make([]byte, 0, len(hint.dicts[p].text)*9/8)
			s.dicts[p].ends = make([]uint32, 0, len(hint.dicts[p].ends)*9/8)
			s.dicts[p].slots = make([]uint64, len(hint.dicts[p].slots))
		}
	}
	return s
}

// add keeps what the index wants of e. s.mu must be held.
func (s *segment) add(seq uint64, row uint32, e *moat.Event) {
	first := len(s.keys)
	if s.index.Event != nil {
		s.keys = s.index.Event(s.keys, e)
		if len(s.keys) == first && s.index.Part == nil {
			return
		}
	}
	rec := record{colTime: uint64(max(e.Time, 0)), colSeq: seq, colRow: uint64(row), colCount: uint64(max(e.Touched(), 0)), colTail: uint64(len(s.tails))}
	for p := range parts {
		s.scratch = appendPart(s.scratch[:0], p, e)
		ref, isNew := s.dicts[p].intern(s.scratch)
		rec[colSource+int(p)] = uint64(ref)
		if s.index.Part == nil {
			continue
		}
		l := &s.partKeys[p]
		if isNew {
			l.keys = s.index.Part(l.keys, p, e)
			l.ends = append(l.ends, uint32(len(l.keys)))
		}
		s.keys = append(s.keys, l.of(ref)...)
	}
	if len(s.keys) == first {
		return
	}
	ord := uint32(len(s.records))
	for range len(s.keys) - first {
		s.ords = append(s.ords, ord)
	}
	var last idShape
	s.tails = appendID(s.tails, e.ID, &last)
	if s.index.Orders {
		for _, o := range e.Orders {
			s.tails = appendID(s.tails, o, &last)
		}
	}
	s.records = append(s.records, rec)
	t := moat.Time(rec[colTime])
	s.min, s.max = min(s.min, t), max(s.max, t)
	s.received = max(s.received, e.Received)
}

// full tells whether it is time to write s to a file.
func (s *segment) full(postings int) bool {
	text := 0
	for p := range s.dicts {
		text += len(s.dicts[p].text)
	}
	return len(s.keys) >= postings || len(s.records) >= postings || len(s.tails)+text >= 64*postings
}

func (s *segment) view() *segmentView {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.segmentView
	for p := range v.texts {
		v.texts[p] = dict{text: s.dicts[p].text, ends: s.dicts[p].ends}
	}
	return &v
}

// A segmentView is a table.

func (v *segmentView) part() int                { return v.partition }
func (v *segmentView) span() (lo, hi moat.Time) { return v.min, v.max }

func (v *segmentView) upTo(uint32) moat.Time { return v.max }

func (v *segmentView) maybe(ord uint32, from, to moat.Time) bool { return true }

func (v *segmentView) record(ord uint32) (record, error) { return v.records[ord], nil }

func (v *segmentView) text(p Part, ref uint32) ([]byte, error) { return v.texts[p].entry(ref), nil }

func (v *segmentView) tail(ord uint32) ([]byte, error) {
	end := uint64(len(v.tails))
	if int(ord)+1 < len(v.records) {
		end = v.records[ord+1][colTail]
	}
	return v.tails[v.records[ord][colTail]:end], nil
}

// find has no order to go by: it looks at every posting once for all keys.
// The bitmap over 16 bits of the keys keeps most postings away from the search.
func (v *segmentView) find(keys []uint64, fn func(i int, ords []uint32) error) error {
	var wanted [1 << 10]uint64
	for _, k := range keys {
		wanted[k>>54] |= 1 << (k >> 48 & 63)
	}
	found := make([][]uint32, len(keys))
	for i, k := range v.keys {
		if wanted[k>>54]>>(k>>48&63)&1 == 0 {
			continue
		}
		j, ok := slices.BinarySearch(keys, k)
		if !ok {
			continue
		}
		if l := found[j]; len(l) == 0 || l[len(l)-1] != v.ords[i] {
			found[j] = append(l, v.ords[i])
		}
	}
	for i, ords := range found {
		if len(ords) == 0 {
			continue
		}
		if err := fn(i, ords); err != nil {
			return err
		}
	}
	return nil
}

func (v *segmentView) partners() (names []string) {
	seen := map[string]bool{}
	for ref := range v.texts[PartSource].ends {
		f := fields{b: v.texts[PartSource].entry(uint32(ref))}
		if p := f.text(); !seen[p] {
			seen[p] = true
			names = append(names, p)
		}
	}
	return names
}
