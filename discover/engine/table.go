package engine

import (
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// header begins every record.
type header struct {
	key   uint64
	owner uint32 // number of the partner, with touched in the highest bit
	next  uint32 // record after this one in the owner's queue, +1; 0 = last
}

// touched is set in a record that was used since it last stood at the head of its queue.
const touched = 1 << 31

// entity begins the record of an entity. It must be rule.HeaderBytes long.
type entity struct {
	header
	born, seen uint32 // seconds
}

// times returns when the entity was first and last seen, before the event.
func (h *entity) times() (born, seen moat.Time) {
	return moat.Time(h.born) * moat.Second, moat.Time(h.seen) * moat.Second
}

const _ = uint(rule.HeaderBytes-unsafe.Sizeof(entity{})) + uint(unsafe.Sizeof(entity{})-rule.HeaderBytes)

// pairHeader is the header of a record that is kept for a pair: 16 bytes with a payload of 16, so that a pair
// never lies in two cache lines.
const pairHeader = int(unsafe.Sizeof(header{}))

// table keeps one fixed-size record per key. A partner that brings more keys than its
// quota replaces its own least used records (CLOCK: a queue with a second chance), never
// anybody else's, so a flood of made-up accounts harms only who sends it.
//
// The index is 256 open-addressed segments that grow one at a time and not all at the same fill, so that no
// growth takes long and few follow each other; records lie in one reserved stretch of memory and never move.
type table struct {
	size              int // of a record
	limit             int // records in all
	quota             int // records of one partner
	n                 int // records used
	mem               *memory
	base              unsafe.Pointer
	index             [segments]segment
	slab              *slab // of the index
	owners            []queue
	evicted, overflow uint64
}

const segments = 256

// segmentOf is the number of key's segment.
func segmentOf(key uint64) uint64 { return key >> 56 }

// roomy tells whether a segment can take one more of its many slots: it is at most between a half and three quarters full, by its number.
func roomy(segment uint64, used, slots int) bool { return (used+1)*1024 <= slots*(512+int(segment)) }

type segment struct {
	slots []uint64 // lower half of the key in the high half, record+1 in the low half; 0 = empty
	used  int
}

type queue struct{ head, tail, count uint32 }

func newTable(size, limit, quota int, beside func(f func())) (*table, error) {
	m, err := reserve(size*limit, beside)
	if err != nil {
		return nil, err
	}
	sl, err := newSlab(4*limit, beside)
	if err != nil {
		return nil, err
	}
	return &table{size: size, limit: limit, quota: quota, mem: m, base: unsafe.Pointer(&m.b[0]), slab: sl}, nil
}

// bytes is what the records and the index take.
func (t *table) bytes() int {
	n := t.n * t.size
	for i := range t.index {
		n += 8 * len(t.index[i].slots)
	}
	return n
}

func (t *table) at(rec int) unsafe.Pointer { return unsafe.Add(t.base, rec*t.size) }

func (t *table) header(rec int) *header { return (*header)(t.at(rec)) }

// tag is the part of a key that its slot has: enough to find its place in a larger index without a look at the record, and to be
// another's in one of a few thousand looks.
func tag(key uint64) uint64 { return key << 32 }

// find returns where key's record is, or nil.
func (t *table) find(key uint64) unsafe.Pointer {
	s := &t.index[segmentOf(key)]
	if len(s.slots) == 0 {
		return nil
	}
	mask := uint64(len(s.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		v := s.slots[i]
		if v == 0 {
			return nil
		}
		if v&^0xFFFFFFFF == tag(key) {
			if at := t.at(int(uint32(v)) - 1); (*header)(at).key == key {
				return at
			}
		}
	}
}

// insert makes an empty record for key, which must not be in the table, and returns where it is,
// or nil when the table is full and the owner has no record to give up.
func (t *table) insert(key uint64, owner uint32) unsafe.Pointer {
	for int(owner) >= len(t.owners) {
		t.owners = append(t.owners, queue{})
	}
	q := &t.owners[owner]
	var rec int
	switch {
	case int(q.count) < t.quota && t.n < t.limit:
		rec = t.n
		t.n++
		t.mem.warm(t.n * t.size)
	case q.count > 0:
		rec = t.evict(q)
	default:
		t.overflow++
		return nil
	}
	h := t.header(rec)
	h.key, h.owner = key, owner
	if q.count == 0 {
		q.head = uint32(rec + 1)
	} else {
		t.header(int(q.tail) - 1).next = uint32(rec + 1)
	}
	q.tail = uint32(rec + 1)
	q.count++
	t.put(key, rec)
	return unsafe.Pointer(h)
}

// evict empties the least used of q's records, giving up to eight that were touched a second chance.
func (t *table) evict(q *queue) int {
	for range 8 {
		rec := int(q.head) - 1
		h := t.header(rec)
		if h.owner&touched == 0 || q.count == 1 {
			break
		}
		h.owner &^= touched
		q.head, h.next = h.next, 0
		t.header(int(q.tail) - 1).next = uint32(rec + 1)
		q.tail = uint32(rec + 1)
	}
	rec := int(q.head) - 1
	h := t.header(rec)
	q.head = h.next
	q.count--
	t.remove(h.key)
	clear(unsafe.Slice((*byte)(t.at(rec)), t.size))
	t.evicted++
	return rec
}

func (t *table) put(key uint64, rec int) {
	s := &t.index[segmentOf(key)]
	if !roomy(segmentOf(key), s.used, len(s.slots)) {
		t.grow(s)
	}
	s.used++
	place(s.slots, key, tag(key)|uint64(rec+1))
}

// place puts v where key, of which the lower half is enough, is looked for.
func place(slots []uint64, key, v uint64) {
	mask := uint64(len(slots) - 1)
	i := key & mask
	for slots[i] != 0 {
		i = (i + 1) & mask
	}
	slots[i] = v
}

func (t *table) grow(s *segment) {
	old := s.slots
	s.slots = t.slab.get(max(16, 2*len(old)))
	for _, v := range old {
		if v != 0 {
			place(s.slots, v>>32, v)
		}
	}
	t.slab.put(old)
}

// remove takes key out of the index and closes the gap, so that there are no tombstones.
func (t *table) remove(key uint64) {
	s := &t.index[segmentOf(key)]
	mask := uint64(len(s.slots) - 1)
	i := key & mask
	for {
		v := s.slots[i]
		if v&^0xFFFFFFFF == tag(key) && t.header(int(uint32(v))-1).key == key {
			break
		}
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; s.slots[j] != 0; j = (j + 1) & mask {
		home := s.slots[j] >> 32 & mask
		if (j-home)&mask >= (j-i)&mask {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = 0
	s.used--
}

// reindex builds the index again from the records, after a snapshot was loaded.
func (t *table) reindex() {
	var counts [segments]int
	for rec := range t.n {
		counts[segmentOf(t.header(rec).key)]++
	}
	for i, n := range counts {
		size := 16
		for !roomy(uint64(i), n, size) {
			size *= 2
		}
		t.index[i] = segment{slots: t.slab.get(size)}
	}
	for rec := range t.n {
		t.put(t.header(rec).key, rec)
	}
}

// indexAt returns the address of key's place in the index, 0 if there is none.
func (t *table) indexAt(key uint64) uintptr {
	s := &t.index[segmentOf(key)]
	if len(s.slots) == 0 {
		return 0
	}
	return uintptr(unsafe.Pointer(&s.slots[key&uint64(len(s.slots)-1)]))
}

// guess returns key's record, without a look at it, or -1. In one of a few thousand cases it is another key's.
func (t *table) guess(key uint64) int {
	s := &t.index[segmentOf(key)]
	if len(s.slots) == 0 {
		return -1
	}
	mask := uint64(len(s.slots) - 1)
	for i := key & mask; ; i = (i + 1) & mask {
		v := s.slots[i]
		if v == 0 {
			return -1
		}
		if v&^0xFFFFFFFF == tag(key) {
			return int(uint32(v)) - 1
		}
	}
}

// look returns where key's record is, or nil. It is fast if that is where it is likely to be: records do not move.
func (t *table) look(key uint64, likely unsafe.Pointer) unsafe.Pointer {
	if likely != nil && (*header)(likely).key == key {
		return likely
	}
	return t.find(key)
}
