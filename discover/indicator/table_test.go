package indicator

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat/discover/indicator/internal/place"
	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

func defaultTable(t testing.TB) *Table {
	t.Helper()
	table, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestKnownAddresses(t *testing.T) {
	table := defaultTable(t)
	f := func(addr, country string, kinds Kind) {
		t.Helper()
		i := table.Lookup(netip.MustParseAddr(addr))
		if i.Country != country || i.Kinds != kinds {
			t.Errorf("%s: %q %q, want %q %q", addr, i.Country, i.Kinds, country, kinds)
		}
		if located := i.RadiusKM > 0; located != (country != "") {
			t.Errorf("%s: radius %v in %q", addr, i.RadiusKM, country)
		}
	}
	f("8.8.8.8", "US", Hosting)
	f("::ffff:8.8.8.8", "US", Hosting)
	f("77.88.8.8", "RU", 0)
	f("114.114.114.114", "CN", Hosting)
	f("2001:200::1", "JP", 0)
	f("2a02:6b8::feed:ff", "RU", 0)
	f("2.56.10.36", "SC", Tor)

	f("10.0.0.0", "", Private)
	f("10.255.255.255", "", Private)
	f("172.15.255.255", "US", 0)
	f("172.16.0.0", "", Private)
	f("172.31.255.255", "", Private)
	f("192.168.0.0", "", Private)
	f("192.168.255.255", "", Private)
	f("100.64.0.0", "", Private)
	f("100.127.255.255", "", Private)
	f("169.254.1.1", "", Private)
	f("fe80::1%eth0", "", Private)
	f("fd00::1", "", Private)
	f("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", Private)
	f("fe00::", "", 0)
	f("127.0.0.1", "", Loopback)
	f("::ffff:127.0.0.1", "", Loopback)
	f("::1", "", Loopback)

	f("0.0.0.0", "", 0)
	f("255.255.255.255", "", 0)
	f("::", "", 0)
	f("::2", "", 0)
	f("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", 0)
	for _, documentation := range []string{"192.0.2.0", "192.0.2.255", "198.51.100.7", "203.0.113.255", "2001:db8::1"} {
		f(documentation, "", 0)
	}
	if (table.Lookup(netip.Addr{}) != Info{}) {
		t.Error("the zero address is something")
	}
}

// TestLookupAgreesWithReference walks the ranges in order, as slowly as can be,
// and asks the table at the edges of each, and at random addresses.
func TestLookupAgreesWithReference(t *testing.T) {
	table := defaultTable(t)
	m, err := embeddedAddresses()
	if err != nil {
		t.Fatal(err)
	}
	check := func(a span.Addr, v span.Value) {
		t.Helper()
		got := table.Lookup(addrOf(a))
		want := Info{Country: place.Code(v.Country).String(), ASN: v.ASN, Kinds: Kind(v.Kinds)}
		if got.Lat, got.Lon, got.RadiusKM = 0, 0, 0; got != want {
			t.Fatalf("%v: %+v, want %+v", addrOf(a), got, want)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i, first := range m.Starts {
		last := span.Max
		if i+1 < len(m.Starts) {
			last = m.Starts[i+1].Prev()
		}
		check(first, m.Values[i])
		check(last, m.Values[i])
		inside := span.Addr{Hi: first.Hi, Lo: r.Uint64()}
		if first.Hi != last.Hi {
			inside.Hi += r.Uint64N(last.Hi - first.Hi)
		}
		if !inside.Less(first) && !last.Less(inside) {
			check(inside, m.Values[i])
		}
	}
	for range 200 {
		for _, a := range []span.Addr{{Hi: 0x20<<56 | r.Uint64()>>8, Lo: r.Uint64()}, {Hi: r.Uint64(), Lo: r.Uint64()}, {Hi: 0, Lo: 0xffff<<32 | r.Uint64()>>32}} {
			i := 0
			for i+1 < len(m.Starts) && !a.Less(m.Starts[i+1]) {
				i++
			}
			check(a, m.Values[i])
		}
	}
}

func addrOf(a span.Addr) netip.Addr {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(a.Hi>>(56-8*i)), byte(a.Lo>>(56-8*i))
	}
	return netip.AddrFrom16(b)
}

func FuzzLookup(f *testing.F) {
	table := defaultTable(f)
	m, err := embeddedAddresses()
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{8, 8, 8, 8})
	f.Add([]byte{0x20, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		v := m.Find(span.AddrOf(a))
		if got := table.Lookup(a); got.Country != place.Code(v.Country).String() || got.Kinds != Kind(v.Kinds) || got.ASN != v.ASN {
			t.Errorf("%v: %+v, want %+v", a, got, v)
		}
	})
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table := defaultTable(t)
	v4, v6 := netip.MustParseAddr("2.56.10.36"), netip.MustParseAddr("2a02:6b8::1")
	const human = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36"
	allocs := testing.AllocsPerRun(100, func() {
		a, b := table.Lookup(v4), table.Lookup(v6)
		Distance(a, b)
		table.Crawler(human)
		table.Crawler("curl/8.5.0")
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestCountryAndDistance(t *testing.T) {
	table := defaultTable(t)
	here := table.Lookup(netip.MustParseAddr("8.8.8.8"))
	if here.Kinds, here.ASN = 0, 0; table.Country("US") != here || here.Country != "US" {
		t.Errorf("Country is %+v, Lookup %+v", table.Country("US"), here)
	}
	for _, none := range []string{"", "QQ", "USA", "u"} {
		if table.Country(none) != (Info{}) {
			t.Errorf("%q is a country", none)
		}
	}
	if d := Distance(table.Country("CN"), table.Country("BR")); d < 10000 || d > 17000 {
		t.Errorf("China to Brazil: %.0f km", d)
	}
	if d := Distance(table.Country("CN"), Info{}); d != 0 {
		t.Errorf("China to nowhere: %.0f km", d)
	}
}

func TestSourcesHaveLicences(t *testing.T) {
	licences, err := os.ReadFile("data/LICENCES.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range defaultTable(t).Sources() {
		names = append(names, s.Name)
		if s.Licence == "" || s.Origin == "" || len(s.Date) != len("2026-01-02") || s.Entries == 0 || s.Path != builtIn {
			t.Errorf("%+v is not told in full", s)
		}
		row := "| " + s.Name + " | " + s.Origin + " | " + s.Licence + " | " + s.Date + " |"
		if !strings.Contains(string(licences), row) {
			t.Errorf("LICENCES.md lacks the row %q", row)
		}
	}
	if want := []string{"country", "hosting", "vpn", "tor", "listed", "crawlers"}; !slices.Equal(names, want) {
		t.Errorf("sources %v, want %v", names, want)
	}
}

func TestEmbeddedIsSmall(t *testing.T) {
	if n := len(addressesZst) + len(crawlersJSON) + len(sourcesJSON); n > 4<<20 {
		t.Errorf("%d bytes are built in, want at most 4 MiB", n)
	}
}

func TestKindNames(t *testing.T) {
	if got := (Hosting | Tor | Loopback).String(); got != "hosting,tor,loopback" {
		t.Errorf("got %q", got)
	}
	if Kind(0).String() != "" || Kind(0).Has(Tor) || !(Tor | VPN).Has(Tor|Mobile) {
		t.Error("sets of marks do not work")
	}
}

func BenchmarkDefault(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		defaultTable(b)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	table := defaultTable(b)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-live")
	runtime.KeepAlive(table)
}

func BenchmarkLookup(b *testing.B) {
	table := defaultTable(b)
	m, err := embeddedAddresses()
	if err != nil {
		b.Fatal(err)
	}
	const n = 1 << 16
	r := rand.New(rand.NewPCG(5, 6))
	lo, _ := slices.BinarySearchFunc(m.Starts, span.V4Last.Next(), span.Addr.Compare)
	random4, random6, zipf := make([]netip.Addr, n), make([]netip.Addr, n), make([]netip.Addr, n)
	for i := range n {
		random4[i] = netip.AddrFrom4([4]byte{byte(1 + r.IntN(223)), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		a := m.Starts[lo+r.IntN(len(m.Starts)-lo)]
		random6[i] = addrOf(span.Addr{Hi: a.Hi | r.Uint64()>>48, Lo: r.Uint64()}) // within the first /48 of a range
	}
	z := rand.NewZipf(r, 1.1, 1, n-1)
	for i := range n {
		if zipf[i] = random4[z.Uint64()]; i%8 == 0 {
			zipf[i] = random6[z.Uint64()]
		}
	}
	for _, c := range []struct {
		name  string
		addrs []netip.Addr
	}{{"v4/random", random4}, {"v6/random", random6}, {"mixed/zipf", zipf}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i, known := 0, 0
			for b.Loop() {
				if table.Lookup(c.addrs[i&(n-1)]).Country != "" {
					known++
				}
				i++
			}
			if known == 0 {
				b.Fatal("nothing is known")
			}
		})
	}
}
