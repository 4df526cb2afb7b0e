package run

import (
	"bytes"

	"github.com/zeebo/xxh3"
)

// dict gives equal byte strings the same small number. It holds no pointers
// but its three slices, so that millions of entries cost the collector
// nothing, and only ever appends to what a view of it can see.
type dict struct {
	seed  uint64
	text  []byte
	ends  []uint32 // of entry i in text
	slots []uint64 // tag in the upper half, entry+1 in the lower
}

// intern returns the number of b, and whether it is new. It copies b.
func (d *dict) intern(b []byte) (ref uint32, isNew bool) {
	if len(d.ends)*2 >= len(d.slots) {
		d.grow()
	}
	h := xxh3.HashSeed(b, d.seed)
	mask := uint64(len(d.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := d.slots[i]
		if s == 0 {
			ref = uint32(len(d.ends))
			d.text = append(d.text, b...)
			d.ends = append(d.ends, uint32(len(d.text)))
			d.slots[i] = h&^0xffffffff | uint64(ref+1)
			return ref, true
		}
		if s>>32 == h>>32 && bytes.Equal(d.entry(uint32(s)-1), b) {
			return uint32(s) - 1, false
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
	d.slots = make([]uint64, max(1024, 4*len(d.slots)))
	mask := uint64(len(d.slots) - 1)
	for ref := range d.ends {
		h := xxh3.HashSeed(d.entry(uint32(ref)), d.seed)
		i := h & mask
		for d.slots[i] != 0 {
			i = (i + 1) & mask
		}
		d.slots[i] = h&^0xffffffff | uint64(ref+1)
	}
}
