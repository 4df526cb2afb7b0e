package run

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/moat-platform/moat/store/internal/room"
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
			d.text = append(room.For(d.text, len(b)), b...)
			d.ends = append(room.For(d.ends, 1), uint32(len(d.text)))
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
	d.sort(fresh)
	all := make([]uint32, 0, len(d.ends))
	for _, ref := range fresh {
		n := d.before(old, d.entry(ref))
		all = append(append(all, old[:n]...), ref)
		old = old[n:]
	}
	v.order[p] = append(all, old...)
	return v.order[p]
}

// before returns how many of the sorted entries are less than e. It looks near the start first: with many
// new entries the next one is near the last.
func (d *dict) before(sorted []uint32, e []byte) int {
	end := 1
	for end < len(sorted) && bytes.Compare(d.entry(sorted[end-1]), e) < 0 {
		end *= 2
	}
	start := end / 2
	n, _ := slices.BinarySearchFunc(sorted[start:min(end, len(sorted))], e, func(o uint32, e []byte) int { return bytes.Compare(d.entry(o), e) })
	return start + n
}

// sort sorts entries by their bytes, eight of them at a time: those of all entries are read one after the other, so
// that the processor fetches many at the same time, where a comparison of two entries waits for both.
func (d *dict) sort(refs []uint32) {
	list := make([]worded, len(refs))
	for i, ref := range refs {
		list[i].ref = ref
	}
	d.sortFrom(list, 0)
	for i := range list {
		refs[i] = list[i].ref
	}
}

// worded is an entry with eight of its bytes.
type worded struct {
	word uint64
	ref  uint32
}

const fewEntries = 8 // that are compared as they are

// sortFrom sorts entries that are the same up to a byte.
func (d *dict) sortFrom(list []worded, at int) {
	for len(list) > fewEntries {
		more := false // bytes to go by
		for i := range list {
			e := d.entry(list[i].ref)
			e = e[min(at, len(e)):]
			more = more || len(e) > 0
			list[i].word = bigEndian(e)
		}
		if !more {
			break
		}
		at += 8
		slices.SortFunc(list, func(x, y worded) int { return cmp.Compare(x.word, y.word) })
		for start := 0; start < len(list); {
			end := start + 1
			for end < len(list) && list[end].word == list[start].word {
				end++
			}
			if end-start == len(list) { // all are the same up to here
				break
			}
			if end-start > 1 {
				d.sortFrom(list[start:end], at)
			}
			if start = end; start == len(list) {
				return
			}
		}
	}
	slices.SortFunc(list, func(x, y worded) int { return bytes.Compare(d.entry(x.ref), d.entry(y.ref)) })
}

// bigEndian returns the first eight bytes of b; what it lacks counts as zeroes.
func bigEndian(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var w [8]byte
	copy(w[:], b)
	return binary.BigEndian.Uint64(w[:])
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
