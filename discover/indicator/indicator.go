// Package indicator says what is known about a network address and a user
// agent: the country and where it lies, the autonomous system, the kind of
// network, whether public blocklists name it, and whether it is a crawler.
//
// Use it where an address must become something that people and detectors can
// reason about: [Default] or [Load] give an immutable [Table], a [Holder] keeps
// one that follows a folder of files.
//
// It will not ask the network, will not locate anything finer than a country,
// and keeps nothing about the addresses that it was asked for.
package indicator

import (
	"fmt"
	"strings"

	"github.com/moat-platform/moat/discover/indicator/internal/place"
)

// Kind is a set of marks of an address. The numbers are stored in packed data and must not change.
type Kind uint16

// The marks.
const (
	Hosting  Kind = 1 << iota // a data centre or VPN: no eyeball network
	VPN                       // of a VPN provider
	Tor                       // a Tor exit
	Mobile                    // of a mobile carrier, when such a list is given
	Listed                    // on several public blocklists
	Private                   // RFC 1918, shared (CGNAT), link-local and unique local addresses
	Loopback                  // the machine itself
)

var kindNames = [...]string{"hosting", "vpn", "tor", "mobile", "listed", "private", "loopback"}

// Has tells whether k has one of the marks of other.
func (k Kind) Has(other Kind) bool { return k&other != 0 }

// Names returns the names of the marks: "hosting", "vpn", …
func (k Kind) Names() []string {
	var names []string
	for i, n := range kindNames {
		if k&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// String returns the names of the marks, joined by commas; "" for none.
func (k Kind) String() string { return strings.Join(k.Names(), ",") }

// Info is what is known about an address. The zero Info is "nothing".
type Info struct {
	Country  string  // ISO 3166-1 alpha-2, "" if unknown
	ASN      uint32  // autonomous system, 0 if unknown
	Kinds    Kind    // marks
	Lat, Lon float32 // centre of the country, degrees
	RadiusKM float32 // of a circle as large as the country, more if it is long or scattered
}

// Distance returns how many kilometres a traveller between a and b covers at
// least: the great circle between the centres of their countries less both
// radii, never below 0. It is 0 within a country, between countries that share
// a border or lie a short crossing apart, and where a country is unknown, so
// that it never claims travel that need not have been.
func Distance(a, b Info) float64 { return place.Distance(a.place(), b.place()) }

func (i Info) place() place.Place {
	return place.Place{Country: i.Country, Lat: i.Lat, Lon: i.Lon, RadiusKM: i.RadiusKM}
}

// Source is one origin of what a [Table] knows.
type Source struct {
	Name    string // "country", "vpn" … of the data that is built in, else the file's name
	Licence string // "" if the file does not say
	Date    string // of the data: what the file says, else the day on which it was last written
	Origin  string // where it was got from, if known
	Entries int    // ranges, addresses or patterns
	Path    string // of the file; "built in" for what comes with Moat
	Bad     int    // lines that were skipped; see [Table.Problems]
	// Refused says why the file was not taken at all, "" if it was. Entries then
	// tells what still serves in its place: what the file held before, or 0.
	Refused string
}

// Problem is something in a file that could not be used.
type Problem struct {
	Path   string
	Line   int // 0: the file as a whole
	Reason string
}

// Error returns "file:line: reason".
func (p Problem) Error() string {
	if p.Line == 0 {
		return fmt.Sprintf("%s: %s", p.Path, p.Reason)
	}
	return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Reason)
}
