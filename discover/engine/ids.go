package engine

import "unsafe"

// ids remembers which event ids were seen, by the 64-bit hash of partner and id, so that
// the same event sent again counts once. Among a billion ids the odds that two share a hash are
// 3 %. What is older than seven days is forgotten; a flood that would need more than limit
// entries pushes the oldest days out first, and is counted in forgot.
type ids struct {
	segments [64]idSegment
	limit    int // slots of one segment
	slab     *slab
	forgot   uint64
}

type idSegment struct {
	hashes []uint64 // open addressing; 0 = empty
	days   []uint16
	used   int
}

const idDays = 7

func newIDs(limit int) (*ids, error) {
	slots := 64
	for slots*64 < limit {
		slots *= 2
	}
	s, err := newSlab(64 * slots)
	return &ids{limit: slots, slab: s}, err
}

// add remembers hash, which must not be 0, and tells whether it was there already.
func (d *ids) add(hash uint64, day uint16) bool {
	s := &d.segments[hash>>58]
	if (s.used+1)*8 > len(s.hashes)*5 {
		d.grow(s, day)
	}
	mask := uint64(len(s.hashes) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch s.hashes[i] {
		case 0:
			s.hashes[i], s.days[i] = hash, day
			s.used++
			return false
		case hash:
			seen := daysBefore(day, s.days[i]) <= idDays
			if !seen {
				s.days[i] = day
			}
			return seen
		}
	}
}

// touch begins to fetch the place of hash.
func (d *ids) touch(hash uint64) {
	if s := &d.segments[hash>>58]; len(s.hashes) > 0 {
		i := hash & uint64(len(s.hashes)-1)
		prefetch(unsafe.Pointer(&s.hashes[i]))
		prefetch(unsafe.Pointer(&s.days[i]))
	}
}

// grow drops what is too old and makes room for twice what is left; at the limit it drops
// whole days, oldest first, until half of the slots are free.
func (d *ids) grow(s *idSegment, day uint16) {
	keep := uint16(idDays)
	n := s.count(day, keep)
	size := max(64, len(s.hashes))
	for size*5 < (n+1)*16 && size < d.limit {
		size *= 2
	}
	for keep > 0 && n*2 > size {
		keep--
		left := s.count(day, keep)
		d.forgot += uint64(n - left)
		n = left
	}
	if n*2 > size { // one day alone is too much
		d.forgot += uint64(n)
		clear(s.hashes)
		s.used = 0
		return
	}
	old := *s
	*s = idSegment{hashes: d.slab.get(size), days: make([]uint16, size), used: n}
	mask := uint64(size - 1)
	for j, h := range old.hashes {
		if h == 0 || daysBefore(day, old.days[j]) > keep {
			continue
		}
		i := h & mask
		for s.hashes[i] != 0 {
			i = (i + 1) & mask
		}
		s.hashes[i], s.days[i] = h, old.days[j]
	}
	d.slab.put(old.hashes)
}

func (s *idSegment) count(day, keep uint16) (n int) {
	for j, h := range s.hashes {
		if h != 0 && daysBefore(day, s.days[j]) <= keep {
			n++
		}
	}
	return n
}

// daysBefore returns how many days then lies before day; a later day is 0 days before.
func daysBefore(day, then uint16) uint16 {
	if d := day - then; d < 1<<15 {
		return d
	}
	return 0
}
