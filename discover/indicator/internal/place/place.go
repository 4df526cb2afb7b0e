// Package place knows where countries are: the centre and the size of each
// ISO 3166-1 country, and which are neighbours.
//
// Use it to turn a country code into coordinates and to tell how far apart two
// countries are at least. It will not locate anything finer than a country.
package place

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"
)

//go:embed countries.csv
var countries string

// Code is a country as a small number: 0 is unknown, else 1 to [Codes]-1 by its two letters.
type Code uint16

// Codes is one more than the largest [Code].
const Codes = 26*26 + 1

// ParseCode reads two letters A to Z, in either case. Whether they name a
// country is for [Atlas.Known] to say.
func ParseCode(s string) (Code, bool) {
	if len(s) != 2 {
		return 0, false
	}
	a, b := s[0]&^0x20-'A', s[1]&^0x20-'A'
	if a > 25 || b > 25 {
		return 0, false
	}
	return Code(a)*26 + Code(b) + 1, true
}

// String returns the two letters, or "" for the unknown country.
func (c Code) String() string {
	if c == 0 || c >= Codes {
		return ""
	}
	return string([]byte{'A' + byte((c-1)/26), 'A' + byte((c-1)%26)})
}

// Place is where a country is. The zero Place is unknown.
type Place struct {
	Country  string  // ISO 3166-1 alpha-2
	Lat, Lon float32 // of the centre, degrees
	RadiusKM float32 // of a circle as large as the country, more if it is long or scattered
}

// Atlas holds the place of every [Code]; element 0 is unknown. It must not be changed.
type Atlas [Codes]Place

// Known tells whether c is a country.
func (a *Atlas) Known(c Code) bool { return c < Codes && a[c].Country != "" }

// Load reads the embedded table of countries.
func Load() (*Atlas, error) {
	rows, err := csv.NewReader(strings.NewReader(countries)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("cannot read the table of countries: %w", err)
	}
	a := new(Atlas)
	for i, row := range rows[1:] {
		code, ok := ParseCode(row[0])
		var n [4]float64
		for j := range n {
			if row[j+1] == "" && j == 3 {
				n[3] = math.Sqrt(n[2] / math.Pi) // radius of a circle of the country's area
				continue
			}
			if n[j], err = strconv.ParseFloat(row[j+1], 64); err != nil {
				ok = false
			}
		}
		if !ok || a.Known(code) {
			return nil, fmt.Errorf("cannot read the table of countries: line %d is malformed", i+2)
		}
		a[code] = Place{Country: code.String(), Lat: float32(n[0]), Lon: float32(n[1]), RadiusKM: float32(n[3])}
	}
	return a, nil
}

// Neighbours tells whether the countries a and b, by their letters, share a
// land border or lie a short crossing apart.
func Neighbours(a, b string) bool {
	if len(a) != 2 || len(b) != 2 {
		return false
	}
	if a > b {
		a, b = b, a
	}
	lo, hi := 0, len(neighbours)/4
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		x, y := neighbours[4*mid:4*mid+2], neighbours[4*mid+2:4*mid+4]
		switch {
		case x == a && y == b:
			return true
		case x < a || x == a && y < b:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return false
}

// Distance returns how many kilometres there are at least between a and b: the
// great circle between their centres less both radii, not below 0. It is 0
// where nothing can be said: the same country, neighbours, or an unknown one.
func Distance(a, b Place) float64 {
	if a.Country == "" || b.Country == "" || a.Country == b.Country || Neighbours(a.Country, b.Country) {
		return 0
	}
	const earthKM, rad = 6371.0088, math.Pi / 180
	lat1, lat2 := float64(a.Lat)*rad, float64(b.Lat)*rad
	sinLat, sinLon := math.Sin((lat2-lat1)/2), math.Sin(float64(b.Lon-a.Lon)*rad/2)
	h := sinLat*sinLat + math.Cos(lat1)*math.Cos(lat2)*sinLon*sinLon
	km := 2 * earthKM * math.Asin(math.Sqrt(min(1, h)))
	return max(0, km-float64(a.RadiusKM)-float64(b.RadiusKM))
}
