package place

import "testing"

func atlas(t testing.TB) *Atlas {
	t.Helper()
	a, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCodes(t *testing.T) {
	for c := range Code(Codes) {
		got, ok := ParseCode(c.String())
		if got != c || ok != (c != 0) {
			t.Fatalf("%d becomes %q becomes %d, %v", c, c.String(), got, ok)
		}
	}
	if c, ok := ParseCode("de"); !ok || c.String() != "DE" {
		t.Error("small letters are not read")
	}
	for _, bad := range []string{"", "D", "DEU", "D1", "--", "é", "@A", "A[", "a{"} {
		if c, ok := ParseCode(bad); ok || c != 0 {
			t.Errorf("%q is read as %v", bad, c)
		}
	}
}

func TestCountries(t *testing.T) {
	a := atlas(t)
	n := 0
	for c := range a {
		p := a[c]
		if p == (Place{}) {
			continue
		}
		n++
		if p.Country != Code(c).String() || p.Lat < -90 || p.Lat > 90 || p.Lon < -180 || p.Lon > 180 || p.RadiusKM <= 0 || p.RadiusKM > 3500 {
			t.Errorf("%+v cannot be", p)
		}
	}
	if want := 250; n != want { // the 249 of ISO 3166-1 and Kosovo
		t.Errorf("%d countries, want %d", n, want)
	}
}

func TestNeighbours(t *testing.T) {
	a := atlas(t)
	if len(neighbours)%4 != 0 {
		t.Fatal("not all pairs are whole")
	}
	last := ""
	for i := 0; i < len(neighbours); i += 4 {
		pair := neighbours[i : i+4]
		if pair <= last || pair[:2] >= pair[2:] {
			t.Errorf("%s after %s: not in order", pair, last)
		}
		last = pair
		x, _ := ParseCode(pair[:2])
		y, _ := ParseCode(pair[2:])
		if !a.Known(x) || !a.Known(y) {
			t.Errorf("%s: no such country", pair)
		}
		if !Neighbours(pair[:2], pair[2:]) || !Neighbours(pair[2:], pair[:2]) {
			t.Errorf("%s are not found", pair)
		}
		if d := Distance(a[x], a[y]); d != 0 {
			t.Errorf("%s are %.0f km apart", pair, d)
		}
		if d := Distance(a[x], Place{Country: a[y].Country, Lat: -a[y].Lat}); d != 0 {
			t.Errorf("%s are %.0f km apart", pair, d)
		}
	}
	for _, pair := range []string{"DEUS", "AAAA", "ZZZZ", "DEDE", "AAZZ"} {
		if Neighbours(pair[:2], pair[2:]) {
			t.Errorf("%s are neighbours", pair)
		}
	}
	if Neighbours("", "DE") || Neighbours("DEU", "FR") {
		t.Error("what is no country has neighbours")
	}
}

// TestDistance checks distances against the shortest ways between the
// countries: never more than the flight between their nearest large cities.
func TestDistance(t *testing.T) {
	a := atlas(t)
	for _, c := range []struct {
		from, to string
		min, max float64
	}{
		{"DE", "DE", 0, 0},
		{"RU", "RU", 0, 0},
		{"", "US", 0, 0},
		{"CN", "", 0, 0},
		{"DE", "PL", 0, 0},
		{"US", "CA", 0, 0},
		{"RU", "NO", 0, 0},
		{"CN", "US", 6000, 9500},
		{"DE", "BR", 6000, 9500},
		{"CN", "DE", 4500, 7200},
		{"GB", "US", 4000, 5300},
		{"AU", "GB", 12000, 14500},
		{"JP", "US", 6500, 8000},
		{"SG", "GB", 10000, 10900},
		{"CN", "JP", 300, 900},
		{"CN", "SG", 1500, 2700},
		{"NG", "CN", 6500, 9900},
		{"DE", "ES", 500, 1100},
		{"FJ", "WS", 1, 1200}, // across the date line
		{"RU", "DE", 500, 1600},
		{"RU", "SE", 0, 700},
		{"NZ", "AU", 500, 2200},
	} {
		x, _ := ParseCode(c.from)
		y, _ := ParseCode(c.to)
		d, back := Distance(a[x], a[y]), Distance(a[y], a[x])
		if d < c.min || d > c.max {
			t.Errorf("%s to %s: %.0f km, want %.0f to %.0f", c.from, c.to, d, c.min, c.max)
		}
		if diff := d - back; diff > 1e-6 || diff < -1e-6 {
			t.Errorf("%s to %s: %.3f km there, %.3f back", c.from, c.to, d, back)
		}
	}
}

func BenchmarkDistance(b *testing.B) {
	a := atlas(b)
	x, _ := ParseCode("CN")
	y, _ := ParseCode("US")
	b.ReportAllocs()
	for b.Loop() {
		if Distance(a[x], a[y]) == 0 {
			b.Fatal("no distance")
		}
	}
}
