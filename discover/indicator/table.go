package indicator

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/moat-platform/moat/discover/indicator/internal/place"
	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

// Table holds all that is known at one time. It never changes and is safe for
// concurrent use. Make one with [Default] or [Load].
type Table struct {
	atlas    *place.Atlas
	v4, v6   index
	systems  systems
	crawlers *crawlers
	sources  []Source
	problems []Problem
}

// Lookup returns what is known about addr. IPv4-mapped IPv6 addresses count as
// IPv4, zones are ignored, and the zero Addr gives the zero Info. It does not allocate.
func (t *Table) Lookup(addr netip.Addr) Info {
	var v span.Value
	switch {
	case addr.Is4() || addr.Is4In6():
		b := addr.As4()
		v = t.v4.find(key4(binary.BigEndian.Uint32(b[:])), span.Addr{})
	case addr.IsValid():
		a := span.AddrOf(addr)
		v = t.v6.find(key6(a), a)
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
