package run

import (
	"bytes"
	"slices"

	"github.com/zeebo/xxh3"
)

// dict gives equal byte strings the same small number. It holds no pointers
// but its three slices, so that millions of entries cost the collector
// nothing, and only ever appends to what a view of it can see.
//
// Entries are told apart by 96 bits of a hash with a random seed instead of
// their bytes: that saves two of three cache misses, and a million entries
// have a chance of 1 in 10^17 to be confused.
type dict struct {
	seed  uint64
	text  []byte
	ends  []uint32 // of entry i in text
	slots []slot
}

// slot is 64 bits of the hash, and 32 more above the entry's number + 1; 0 is empty.
type slot struct{ lo, hi uint64 }

// reserve makes room for n more entries.
func (d *dict) reserve(n int) {
	for (len(d.ends)+n)*2 > len(d.slots) {
		d.grow()
	}
}

// touch reads the slot where the search for a hash begins. Reading those of
// many hashes one after the other lets the processor fetch them at the same
// time: a lone fetch costs more than everything else about an entry.
func (d *dict) touch(h xxh3.Uint128) uint64 { return d.slots[h.Lo&uint64(len(d.slots)-1)].hi }

// intern returns the number of b, whose hash is h, and whether it is new. It
// copies b. There must be room for one entry.
func (d *dict) intern(h xxh3.Uint128, b []byte) (ref uint32, isNew bool) {
	mask := uint64(len(d.slots) - 1)
	for i := h.Lo & mask; ; i = (i + 1) & mask {
		s := &d.slots[i]
		if s.lo == h.Lo && s.hi>>32 == h.Hi>>32 && uint32(s.hi) != 0 {
			return uint32(s.hi) - 1, false
		}
		if uint32(s.hi) == 0 {
			ref = uint32(len(d.ends))
			d.text = append(d.text, b...)
			d.ends = append(d.ends, uint32(len(d.text)))
			*s = slot{h.Lo, h.Hi&^0xffffffff | uint64(ref+1)}
			return ref, true
		}
	}
}

func (d *dict) entry(ref uint32) []byte {
	var start uint32
	if ref > 0 {
		start = d.ends[ref-1]
	}
	return d.text[start:d.ends[ref]]
}

func (d *dict) grow() {
	old := d.slots
	d.slots = make([]slot, max(1024, 4*len(old)))
	mask := uint64(len(d.slots) - 1)
	for _, s := range old {
		if uint32(s.hi) == 0 {
			continue
		}
		i := s.lo & mask
		for uint32(d.slots[i].hi) != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = s
	}
}

// vocabulary is the dictionaries of the segments of a partition. It outlives
// a segment, because the next one has mostly the same accounts: they need not be
// hashed, copied and sorted again.
type vocabulary struct {
	dicts [parts]dict
	keys  [parts]keyLists // of each entry
	sink  uint64          // keeps what touch reads from being left out

	// order is the entries in order of their bytes, as of the last write; only
	// the goroutine that writes a segment uses it.
	order [parts][]uint32
}

// maxVocabulary bounds the bytes of text after which a new vocabulary is begun.
const maxVocabulary = 64 << 20

func newVocabulary(seed uint64) *vocabulary {
	v := &vocabulary{}
	for p := range v.dicts {
		v.dicts[p].seed = seed
	}
	return v
}

func (v *vocabulary) size() (text int) {
	for p := range v.dicts {
		text += len(v.dicts[p].text)
	}
	return text
}

// words is what can be read of a vocabulary while entries are added.
type words struct {
	texts [parts]dict // without slots
	keys  [parts]keyLists
}

func (v *vocabulary) words() (w words) {
	for p := range v.dicts {
		w.texts[p] = dict{text: v.dicts[p].text, ends: v.dicts[p].ends}
	}
	w.keys = v.keys
	return w
}

// sort returns the entries of d, which holds those of part p at some time
// since the last call, in order of their bytes.
func (v *vocabulary) sort(p Part, d *dict) []uint32 {
	old := v.order[p]
	fresh := make([]uint32, 0, len(d.ends)-len(old))
	for ref := len(old); ref < len(d.ends); ref++ {
		fresh = append(fresh, uint32(ref))
	}
	slices.SortFunc(fresh, func(x, y uint32) int { return bytes.Compare(d.entry(x), d.entry(y)) })
	all := make([]uint32, 0, len(d.ends))
	for _, ref := range fresh {
		e := d.entry(ref)
		n, _ := slices.BinarySearchFunc(old, e, func(o uint32, e []byte) int { return bytes.Compare(d.entry(o), e) })
		all = append(append(all, old[:n]...), ref)
		old = old[n:]
	}
	v.order[p] = append(all, old...)
	return v.order[p]
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
