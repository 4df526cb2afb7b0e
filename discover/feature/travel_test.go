package feature

import (
	"math"
	"testing"

	"github.com/moat-platform/moat"
)

// journey remembers all places, and measures angles between vectors.
type journey struct{ all []Input }

func newJourney(Params) model { return &journey{} }

func (j *journey) observe(in Input) []float64 {
	out := j.read(in)
	if in.Place.Known {
		j.all = append(j.all, in)
	}
	return out
}

func vector(p Spot) (x, y, z float64) {
	lat, lon := float64(p.Lat)*math.Pi/180, float64(p.Lon)*math.Pi/180
	return math.Cos(lat) * math.Cos(lon), math.Cos(lat) * math.Sin(lon), math.Sin(lat)
}

// greatCircle is the angle by cross and dot product, which is exact near 0 and near 180° alike.
func greatCircle(a, b Spot) float64 {
	x, y, z := vector(a)
	u, v, w := vector(b)
	cross := math.Sqrt(math.Pow(y*w-z*v, 2) + math.Pow(z*u-x*w, 2) + math.Pow(x*v-y*u, 2))
	return 6371 * math.Atan2(cross, x*u+y*v+z*w)
}

func (j *journey) read(in Input) []float64 {
	var from *Input
	for i := range j.all {
		if from == nil || j.all[i].Now >= from.Now {
			from = &j.all[i]
		}
	}
	if from == nil || !in.Place.Known {
		return []float64{0, 0, 0}
	}
	gap := math.Abs(float64(in.Now-from.Now)) / 1e6
	km := max(0, greatCircle(from.Place, in.Place)-float64(from.Place.RadiusKM)-float64(in.Place.RadiusKM))
	kmh := km / max(1, gap) * 3600
	if in.Place.Country != 0 && in.Place.Country == from.Place.Country {
		kmh = 0
	}
	return []float64{kmh, km, gap}
}

func FuzzTravel(f *testing.F) { compare(f, "travel", Place, []Params{nil}, newJourney) }

func TestTravel(t *testing.T) {
	const cn, us, de = 1, 2, 3
	hangzhou := Spot{Known: true, Country: cn, Lat: 30.29, Lon: 120.16, RadiusKM: 20}
	beijing := Spot{Known: true, Country: cn, Lat: 39.90, Lon: 116.40, RadiusKM: 20}
	newYork := Spot{Known: true, Country: us, Lat: 40.71, Lon: -74.01, RadiusKM: 50}
	vague := Spot{Known: true, Country: de, Lat: 51, Lon: 10, RadiusKM: 20000}
	s := newSubject(t, "travel", nil)
	f := func(what string, at moat.Time, p Spot, kmh, km, tolerance, gap float64) {
		t.Helper()
		got := s.observe(Input{Now: start + at, Value: Place, Place: p})
		if math.Abs(got[0]-kmh) > tolerance || math.Abs(got[1]-km) > tolerance || got[2] != gap {
			t.Errorf("%s: %v, want %v km/h, %v km, %v s", what, got, kmh, km, gap)
		}
	}
	f("nowhere before", 0, hangzhou, 0, 0, 0, 0)
	f("the same place", moat.Hour, hangzhou, 0, 0, 0, 3600)
	f("the same country", 2*moat.Hour, beijing, 0, 1122-40, 10, 3600)
	f("unknown is passed over", 3*moat.Hour, Spot{}, 0, 0, 0, 0)
	f("another country", 4*moat.Hour, newYork, (10990-70)/2, 10990-70, 5500, 7200)
	f("a late one looks at the newest", 3*moat.Hour, hangzhou, 11986-70, 11986-70, 60, 3600)
	f("and does not replace it", 5*moat.Hour, newYork, 0, 0, 0, 3600)
	f("at once counts as 1 s", 5*moat.Hour, Spot{Known: true, Lat: 41.71, Lon: -74.01}, 61.2*3600, 61.2, 700, 0)
	f("too vague to say", 6*moat.Hour, vague, 0, 0, 0, 3600)
}

func BenchmarkTravelSame(b *testing.B) {
	measure(b, "travel", nil, Place, func(i int, in *Input) { in.Place = Spot{Known: true, Lat: 1, Lon: 2} })
}

func BenchmarkTravel(b *testing.B) {
	measure(b, "travel", nil, Place, func(i int, in *Input) { in.Place = Spot{Known: true, Lat: float32(i & 63), Lon: 2} })
}
