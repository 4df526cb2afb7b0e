package engine

import "unsafe"

// ids remembers which event ids were seen, by the upper 56 bits of the hash of partner and id, so that
// the same event sent again counts once. While 16 million ids are kept, the odds that an event is taken for
// another one are one in four billion. What is older than seven days is forgotten; a flood that would need more than limit
// entries pushes the oldest days out first, and is counted in forgot.
type ids struct {
	segments [64]idSegment
	limit    int // slots of one segment
	slab     *slab
	forgot   uint64
}

// idSegment is a table by open addressing. A slot has the day in the lowest byte of the hash; 0 = empty.
type idSegment struct {
	slots []uint64
	used  int
}

const (
	idDays = 7
	idDay  = 0xff // the bits of a slot that hold the day
)

// idHash makes a hash one that ids takes: no slot of it looks empty.
func idHash(h uint64) uint64 { return h | (idDay + 1) }

func newIDs(limit int, beside func(f func())) (*ids, error) {
	slots := 64
	for slots*64 < limit {
		slots *= 2
	}
	s, err := newSlab(64*slots, beside)
	return &ids{limit: slots, slab: s}, err
}

// add remembers hash, which idHash made, and tells whether it was there already.
func (d *ids) add(hash uint64, day uint8) bool {
	s := &d.segments[hash>>58]
	if (s.used+1)*8 > len(s.slots)*5 {
		d.grow(s, day)
	}
	for i := s.home(hash); ; i = (i + 1) & s.mask() {
		switch v := s.slots[i]; {
		case v == 0:
			s.slots[i] = hash&^idDay | uint64(day)
			s.used++
			return false
		case v&^idDay == hash&^idDay:
			seen := daysBefore(day, v) <= idDays
			if !seen {
				s.slots[i] = hash&^idDay | uint64(day)
			}
			return seen
		}
	}
}

func (s *idSegment) mask() uint64 { return uint64(len(s.slots) - 1) }

// home is where the search for a hash begins.
func (s *idSegment) home(hash uint64) uint64 { return hash >> 8 & s.mask() }

// touch begins to fetch the place of hash.
func (d *ids) touch(hash uint64) {
	if s := &d.segments[hash>>58]; len(s.slots) > 0 {
		prefetch(unsafe.Pointer(&s.slots[s.home(hash)]))
	}
}

// grow drops what is too old and makes room for twice what is left; at the limit it drops
// whole days, oldest first, until half of the slots are free.
func (d *ids) grow(s *idSegment, day uint8) {
	keep := uint8(idDays)
	n := s.count(day, keep)
	size := max(64, len(s.slots))
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
		clear(s.slots)
		s.used = 0
		return
	}
	old := s.slots
	*s = idSegment{slots: d.slab.get(size), used: n}
	for _, v := range old {
		if v == 0 || daysBefore(day, v) > keep {
			continue
		}
		i := s.home(v)
		for s.slots[i] != 0 {
			i = (i + 1) & s.mask()
		}
		s.slots[i] = v
	}
	d.slab.put(old)
}

func (s *idSegment) count(day, keep uint8) (n int) {
	for _, v := range s.slots {
		if v != 0 && daysBefore(day, v) <= keep {
			n++
		}
	}
	return n
}

// daysBefore returns how many days the day of a slot lies before day; a later day, of up to four months, is 0 days before.
func daysBefore(day uint8, slot uint64) uint8 {
	if d := day - uint8(slot&idDay); d < 1<<7 {
		return d
	}
	return 0
}
