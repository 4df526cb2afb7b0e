package run

import (
	"math/bits"
	"slices"
)

// A group of events has the same entry of a part. Keys that follow from parts
// are sorted as (key, group) and not as (key, event): there are far fewer.
type groups struct {
	base   [parts]uint32 // number of the first group of each part
	starts []uint32      // of the group in ords; one more at the end
	ords   []uint32
}

// groupsOf groups the events of s by the place of their entries.
func groupsOf(s *segment, rank *[parts][]uint32, entries *[parts]uint64) *groups {
	n := uint64(0)
	g := &groups{}
	for p, e := range entries {
		g.base[p] = uint32(n)
		n += e
	}
	g.starts = make([]uint32, n+1)
	for i := range s.records {
		for p := range parts {
			g.starts[g.of(p, s, rank, i)]++
		}
	}
	sum := uint32(0)
	for i, c := range g.starts {
		sum += c
		g.starts[i] = sum // the end, and after the next loop the start
	}
	g.ords = make([]uint32, sum)
	for i := len(s.records) - 1; i >= 0; i-- {
		for p := range parts {
			at := &g.starts[g.of(p, s, rank, i)]
			*at--
			g.ords[*at] = uint32(i)
		}
	}
	return g
}

// of returns the group of event i by part p.
func (g *groups) of(p Part, s *segment, rank *[parts][]uint32, i int) uint32 {
	return g.base[p] + rank[p][s.records[i][colSource+int(p)]]
}

// events returns the events of a group, ascending.
func (g *groups) events(i uint32) []uint32 { return g.ords[g.starts[i]:g.starts[i+1]] }

// addKeys adds all keys of s: those of its events, and those of its parts.
func (b *builder) addKeys(s *segment, rank [parts][]uint32) error {
	own := sortPostings(s.keys, s.ords)
	var byPart []posting
	var g *groups
	if s.index.Part != nil {
		g = groupsOf(s, &rank, &b.foot.Entries)
		byPart = sortPostings(s.partKeys(&rank, g))
	}
	if err := b.startKeys(distinctKeys(own, byPart)); err != nil {
		return err
	}
	u := union{bitmap: make([]uint64, len(s.records)/64+1)}
	near := len(byPart) + 1
	for len(own) > 0 || len(byPart) > 0 {
		key := leastKey(own, byPart)
		if mine := len(byPart) == 0 || byPart[0].key != key; mine && (len(own) == 1 || own[1].key != key) { // as of most orders
			b.addLone(key, own[0].ord)
			own = own[1:]
			continue
		}
		if len(byPart) < near { // fetch the groups of the next at the same time, see dict.touch
			next := byPart[:min(64, len(byPart))]
			near = len(byPart) - len(next)
			for i := range next {
				b.sink += byte(g.starts[next[i].ord])
			}
			for i := range next {
				b.sink += byte(g.ords[g.starts[next[i].ord]])
			}
		}
		u.start()
		for ; len(byPart) > 0 && byPart[0].key == key; byPart = byPart[1:] {
			u.add(g.events(byPart[0].ord))
		}
		for ; len(own) > 0 && own[0].key == key; own = own[1:] {
			u.addOne(own[0].ord)
		}
		b.addKey(key, u.sorted())
		if b.out.err != nil {
			return b.out.err
		}
	}
	return nil
}

// partKeys returns the keys of all entries that are used, each with its group.
func (s *segment) partKeys(rank *[parts][]uint32, g *groups) (keys []uint64, of []uint32) {
	n := 0
	for p := range parts {
		n += len(s.words.keys[p].keys)
	}
	keys, of = make([]uint64, 0, n), make([]uint32, 0, n)
	for p := range parts {
		for ref, place := range rank[p] {
			if place == unused {
				continue
			}
			for _, k := range s.words.keys[p].of(uint32(ref)) {
				keys, of = append(keys, k), append(of, g.base[p]+place)
			}
		}
	}
	return keys, of
}

func leastKey(a, b []posting) uint64 {
	if len(a) == 0 || len(b) > 0 && b[0].key < a[0].key {
		return b[0].key
	}
	return a[0].key
}

func distinctKeys(lists ...[]posting) (n uint64) {
	for _, l := range lists {
		for i := range l {
			if i == 0 || l[i].key != l[i-1].key {
				n++
			}
		}
	}
	return n
}

// union is a set of events out of several lists.
type union struct {
	one    []uint32 // the only list so far
	all    []uint32
	bitmap []uint64
}

func (u *union) start() { u.one, u.all = nil, u.all[:0] }

func (u *union) add(ords []uint32) {
	switch {
	case u.one == nil && len(u.all) == 0:
		u.one = ords
	default:
		u.all = append(append(u.all, u.one...), ords...)
		u.one = nil
	}
}

func (u *union) addOne(ord uint32) {
	u.all = append(append(u.all, u.one...), ord)
	u.one = nil
}

// sorted returns the events, ascending and each once. Very many are sorted by
// their bits in a bitmap.
func (u *union) sorted() []uint32 {
	if u.one != nil {
		return u.one
	}
	if len(u.all) < 256 {
		if len(u.all) > 1 {
			slices.Sort(u.all)
		}
		return slices.Compact(u.all)
	}
	for _, o := range u.all {
		u.bitmap[o/64] |= 1 << (o % 64)
	}
	u.all = u.all[:0]
	for i, w := range u.bitmap {
		for ; w != 0; w &= w - 1 {
			u.all = append(u.all, uint32(i*64+bits.TrailingZeros64(w)))
		}
		u.bitmap[i] = 0
	}
	return u.all
}
