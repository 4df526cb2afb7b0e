package indicator

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sort"

	"github.com/moat-platform/moat/discover/indicator/internal/place"
	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

// Table holds all that is known at one time. It never changes and is safe for
// concurrent use. Make one with [Default] or [Load].
type Table struct {
	atlas    *place.Atlas
	v4       index4
	v6       index6
	systems  systems
	crawlers *crawlers
	sources  []Source
	problems []Problem
}

// Lookup returns what is known about addr. IPv4-mapped IPv6 addresses count as
// IPv4, zones are ignored, and the zero Addr gives the zero Info. It does not allocate.
func (t *Table) Lookup(addr netip.Addr) Info {
	var v *span.Value
	switch {
	case addr.Is4() || addr.Is4In6():
		b := addr.As4()
		v = t.v4.find(binary.BigEndian.Uint32(b[:]))
	case addr.IsValid():
		v = t.v6.find(span.AddrOf(addr))
	default:
		return Info{}
	}
	p := &t.atlas[v.Country]
	return Info{Country: p.Country, ASN: v.ASN, Kinds: Kind(v.Kinds), Lat: p.Lat, Lon: p.Lon, RadiusKM: p.RadiusKM}
}

// Country returns the Info of a country by its ISO 3166-1 alpha-2 code, so that
// whoever keeps only the code of a place can still ask for a [Distance]; the
// zero Info if there is no such country.
func (t *Table) Country(code string) Info {
	c, _ := place.ParseCode(code)
	p := &t.atlas[c]
	return Info{Country: p.Country, Lat: p.Lat, Lon: p.Lon, RadiusKM: p.RadiusKM}
}

// Network returns the name of an autonomous system, "" if it is not known.
func (t *Table) Network(asn uint32) string { return t.systems.name(asn) }

// Crawler returns the name of the crawler, library or scanner that userAgent
// belongs to, and whether it is one. Of several that match, the first of the
// list counts.
func (t *Table) Crawler(userAgent string) (name string, ok bool) { return t.crawlers.find(userAgent) }

// Sources returns where the knowledge comes from: what is built in and still
// serves, then the files of the folder, by name.
func (t *Table) Sources() []Source { return slices.Clone(t.sources) }

// Problems returns what could not be used of the files, at most ten a file.
func (t *Table) Problems() []Problem { return slices.Clone(t.problems) }

// index4 answers for IPv4: the upper 16 bits of an address give the few ranges
// among which the lower ones are searched.
type index4 struct {
	first  []uint32 // 65537: first[p] is the first range that begins in or after p<<16
	starts []uint32 // the first is 0
	values []span.Value
}

func newIndex4(m span.Map) index4 {
	var x index4
	lo, exact := slices.BinarySearchFunc(m.Starts, span.V4First, span.Addr.Compare)
	hi, _ := slices.BinarySearchFunc(m.Starts, span.V4Last.Next(), span.Addr.Compare)
	if !exact {
		lo-- // the range that reaches into the IPv4 addresses
	}
	x.starts = make([]uint32, hi-lo)
	for i, a := range m.Starts[lo:hi] {
		if span.V4First.Less(a) {
			x.starts[i] = uint32(a.Lo)
		}
	}
	x.values = slices.Clone(m.Values[lo:hi])
	x.first = make([]uint32, 1<<16+1)
	p := 0
	for i, s := range x.starts {
		for ; p <= int(s>>16); p++ {
			x.first[p] = uint32(i)
		}
	}
	for ; p < len(x.first); p++ {
		x.first[p] = uint32(len(x.starts))
	}
	return x
}

func (x *index4) find(a uint32) *span.Value {
	p := a >> 16
	lo, hi := x.first[p], x.first[p+1]
	for lo < hi {
		mid := (lo + hi) / 2
		if x.starts[mid] <= a {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return &x.values[lo-1]
}

// index6 answers for IPv6: a search among every 64th range, few enough for the
// first-level cache, then among the 64 that follow.
type index6 struct {
	every64 []uint64 // the upper half of where every 64th range begins
	his     []uint64 // the upper half of where each range begins
	los     []uint64 // the lower half
	values  []span.Value
}

func newIndex6(m span.Map) index6 {
	var x index6
	push := func(a span.Addr, v span.Value) {
		if len(x.his)%64 == 0 {
			x.every64 = append(x.every64, a.Hi)
		}
		x.his, x.los, x.values = append(x.his, a.Hi), append(x.los, a.Lo), append(x.values, v)
	}
	// The IPv4-mapped ranges in the middle are answered by index4.
	beyond := span.V4Last.Next()
	lo, _ := slices.BinarySearchFunc(m.Starts, span.V4First, span.Addr.Compare)
	hi, exact := slices.BinarySearchFunc(m.Starts, beyond, span.Addr.Compare)
	n := lo + 1 + len(m.Starts) - hi
	x.his, x.los, x.values = make([]uint64, 0, n), make([]uint64, 0, n), make([]span.Value, 0, n)
	for i := range lo {
		push(m.Starts[i], m.Values[i])
	}
	if !exact {
		push(beyond, m.Values[hi-1])
	}
	for i := hi; i < len(m.Starts); i++ {
		push(m.Starts[i], m.Values[i])
	}
	return x
}

func (x *index6) find(a span.Addr) *span.Value {
	from := max(0, atMost(x.every64, a.Hi)-1) * 64
	i := from + atMost(x.his[from:min(from+64, len(x.his))], a.Hi)
	if x.his[i-1] == a.Hi && x.los[i-1] > a.Lo {
		// Several ranges begin within the same upper half.
		first := sort.Search(i, func(k int) bool { return x.his[k] >= a.Hi })
		i = first + atMost(x.los[first:i], a.Lo)
	}
	return &x.values[i-1]
}

// atMost returns how many of sorted are at most v.
func atMost(sorted []uint64, v uint64) int {
	base, n := 0, len(sorted)
	for n > 0 {
		half := (n + 1) / 2
		if sorted[base+half-1] <= v {
			base += half
		}
		n -= half
	}
	return base
}

// systems are the names of autonomous systems, in one text so that the
// collector has nothing to follow.
type systems struct {
	asns []uint32 // sorted
	ends []uint32 // of the names in text
	text string
}

func newSystems(names map[uint32]string) systems {
	var s systems
	s.asns = make([]uint32, 0, len(names))
	for n := range names {
		s.asns = append(s.asns, n)
	}
	slices.Sort(s.asns)
	var text []byte
	for _, n := range s.asns {
		text = append(text, names[n]...)
		s.ends = append(s.ends, uint32(len(text)))
	}
	s.text = string(text)
	return s
}

func (s *systems) name(asn uint32) string {
	i, ok := slices.BinarySearch(s.asns, asn)
	if !ok {
		return ""
	}
	begin := uint32(0)
	if i > 0 {
		begin = s.ends[i-1]
	}
	return s.text[begin:s.ends[i]]
}
