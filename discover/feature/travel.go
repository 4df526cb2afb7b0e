package feature

import (
	"math"
	"unsafe"

	"github.com/moat-platform/moat"
)

// travelKind tells how fast the entity must have travelled from its previous place.
//
// State: the newest place, 24 bytes. Cost: 18 ns at the same place, 80 ns at another.
//
// Formula: great-circle distance (haversine, Earth a sphere of 6,371 km: within
// 0.6 %) between the centres minus both radii: the shortest way that the places
// allow. A place not known is passed over. An event older than the newest is
// compared with it and does not replace it.
var travelKind = Kind{
	Name:  "travel",
	Doc:   "Speed needed from the previous place. Good for impossible travel; 900 km/h is an aeroplane.",
	Value: Place,
	Outputs: []Output{
		{"kmh", "km/h", "Least speed needed from the previous place, the time between counting as at least 1 s; 0 within one country and when a place is unknown."},
		{"km", "km", "Least distance from the previous place; 0 when one is unknown."},
		{"gap_s", "s", "Time between this and the previous place, whichever is first; 0 when one is unknown."},
	},
	CostNS: 18,
	Size:   func(Params) int { return int(unsafe.Sizeof(travelState{})) },
	New:    func(Params) Stat { return travel{} },
}

const earthKM = 6371

type travelState struct {
	at               moat.Time // 0: none
	lat, lon, radius float32
	country          uint16
	_                uint16
}

type travel struct{}

func (t travel) Observe(state unsafe.Pointer, in *Input, out *Outputs) {
	t.Read(state, in, out)
	s := (*travelState)(state)
	if now := max(1, in.Now); in.Place.Known && now >= s.at {
		p := &in.Place
		*s = travelState{at: now, lat: p.Lat, lon: p.Lon, radius: p.RadiusKM, country: p.Country}
	}
}

func (travel) Read(state unsafe.Pointer, in *Input, out *Outputs) {
	s, p := (*travelState)(state), &in.Place
	_ = out[2]
	out[0], out[1], out[2] = 0, 0, 0
	if !p.Known || s.at == 0 {
		return
	}
	gap := math.Abs(float64(in.Now-s.at)) / float64(moat.Second)
	out[2] = gap
	if p.Lat == s.lat && p.Lon == s.lon {
		return
	}
	km := distance(s.lat, s.lon, p.Lat, p.Lon) - float64(s.radius) - float64(p.RadiusKM)
	if !(km > 0) {
		return
	}
	out[1] = km
	if p.Country == 0 || p.Country != s.country {
		out[0] = km * 3600 / max(1, gap)
	}
}

// distance returns the kilometres between two points given in degrees.
func distance(lat1, lon1, lat2, lon2 float32) float64 {
	const rad = math.Pi / 180
	a, b := float64(lat1)*rad, float64(lat2)*rad
	u := math.Sin((b - a) / 2)
	v := math.Sin((float64(lon2) - float64(lon1)) * rad / 2)
	h := u*u + math.Cos(a)*math.Cos(b)*v*v
	return 2 * earthKM * math.Asin(math.Sqrt(min(1, h)))
}
