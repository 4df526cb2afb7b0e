package indicator

import (
	"slices"
	"sort"

	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

// index finds the value of an address of one family. It sorts addresses by
// their first 48 bits, the key: all of an IPv4 address, or the part of an IPv6
// address that tells sites apart. The upper 16 bits of a key give the few
// entries among which the lower 32 are searched, and an entry holds its answer,
// so that a look-up touches little memory; waiting for memory is nearly all
// that it costs.
type index struct {
	first   []uint32 // 65537: the first entry at or after each upper 16 bits
	entries []entry
	values  []span.Value // the distinct ones

	// IPv6 ranges that begin within a key, by key, and where each key's begin.
	fine   []fine
	groups []uint32
}

// entry says what holds from a key up to the next entry's.
type entry struct {
	key  uint32 // the lower 32 bits
	what uint32 // number of a value, or inGroup and the number of a group
}

const inGroup = 1 << 31

// fine says what holds from an address up to the next of its group.
type fine struct {
	from  span.Addr
	value uint32
}

func key4(a uint32) uint64 { return uint64(a) << 16 }

func key6(a span.Addr) uint64 { return a.Hi >> 16 }

// newIndex4 makes the index of the IPv4-mapped addresses of m.
func newIndex4(m span.Map) index {
	from, to := m.At(span.V4First), m.At(span.V4Last)
	b := newBuilder(to - from + 1)
	b.put(0, b.number(m.Values[from]))
	for i := from + 1; i <= to; i++ {
		b.put(key4(uint32(m.Starts[i].Lo)), b.number(m.Values[i]))
	}
	return b.done()
}

// newIndex6 makes the index of the other addresses of m.
func newIndex6(m span.Map) index {
	lo, hi := m.At(span.V4First.Prev())+1, m.At(span.V4Last.Next())
	m = span.Map{Starts: slices.Concat(m.Starts[:lo], m.Starts[hi:]), Values: slices.Concat(m.Values[:lo], m.Values[hi:])}
	m.Starts[lo] = span.V4Last.Next() // the range may begin before
	b := newBuilder(len(m.Starts))
	for i := 0; i < len(m.Starts); {
		key, end := key6(m.Starts[i]), i+1
		for end < len(m.Starts) && key6(m.Starts[end]) == key {
			end++
		}
		begin := span.Addr{Hi: key << 16}
		if end == i+1 && m.Starts[i] == begin {
			b.put(key, b.number(m.Values[i]))
			i = end
			continue
		}
		b.put(key, inGroup|uint32(len(b.groups)))
		b.groups = append(b.groups, uint32(len(b.fine)))
		if m.Starts[i] != begin {
			b.fine = append(b.fine, fine{begin, b.number(m.Values[i-1])})
		}
		for ; i < end; i++ {
			b.fine = append(b.fine, fine{m.Starts[i], b.number(m.Values[i])})
		}
		if key+1 < 1<<48 {
			b.put(key+1, b.number(m.Values[end-1]))
		}
	}
	b.groups = append(b.groups, uint32(len(b.fine)))
	return b.done()
}

// find returns the value of the address a with that key.
func (x *index) find(key uint64, a span.Addr) span.Value {
	top, low := key>>32, uint32(key)
	lo, hi := x.first[top], x.first[top+1]
	for lo < hi {
		mid := (lo + hi) / 2
		if x.entries[mid].key <= low {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	what := x.entries[lo-1].what
	if what&inGroup != 0 {
		what &^= inGroup
		group := x.fine[x.groups[what]:x.groups[what+1]]
		what = group[sort.Search(len(group), func(i int) bool { return a.Less(group[i].from) })-1].value
	}
	return x.values[what]
}

// builder puts together an index from keys in order.
type builder struct {
	index
	tops    []uint16 // the upper 16 bits of each entry's key
	numbers map[span.Value]uint32
}

func newBuilder(ranges int) *builder {
	return &builder{
		index:   index{entries: make([]entry, 0, ranges)},
		tops:    make([]uint16, 0, ranges),
		numbers: map[span.Value]uint32{},
	}
}

// number returns the number of a value.
func (b *builder) number(v span.Value) uint32 {
	n, ok := b.numbers[v]
	if !ok {
		n = uint32(len(b.values))
		b.numbers[v] = n
		b.values = append(b.values, v)
	}
	return n
}

// put says what holds from key on. Of two for one key the later counts.
func (b *builder) put(key uint64, what uint32) {
	e, top := entry{uint32(key), what}, uint16(key>>32)
	if n := len(b.entries); n > 0 && b.entries[n-1].key == e.key && b.tops[n-1] == top {
		b.entries[n-1] = e
		return
	}
	b.entries, b.tops = append(b.entries, e), append(b.tops, top)
}

func (b *builder) done() index {
	b.first = make([]uint32, 1<<16+1)
	p := 0
	for i, top := range b.tops {
		for ; p <= int(top); p++ {
			b.first[p] = uint32(i)
		}
	}
	for ; p < len(b.first); p++ {
		b.first[p] = uint32(len(b.entries))
	}
	return b.index
}
