package span

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// world is a small space around the places where mistakes are likely: the
// beginning, the IPv4-mapped addresses, where the lower half runs over, and the end.
var world = func() []Addr {
	var w []Addr
	for _, a := range []Addr{{}, V4First, {V4Last.Hi, V4Last.Lo - 8}, {7, ^uint64(0) - 8}, {Max.Hi, Max.Lo - 15}} {
		for range 16 {
			w = append(w, a)
			a = a.Next()
		}
	}
	slices.SortFunc(w, Addr.Compare)
	return slices.Compact(w)
}()

func randomSpans(r *rand.Rand) []Span {
	spans := make([]Span, r.IntN(12))
	for i := range spans {
		a, b := r.IntN(len(world)), r.IntN(len(world))
		spans[i] = Span{world[min(a, b)], world[max(a, b)], Value{ASN: uint32(1 + r.IntN(5))}}
	}
	return spans
}

// innermost is the slow meaning of Flatten: of the spans that hold a, the one
// that begins last; of these the one that ends first; of these the last given.
func innermost(spans []Span, a Addr) (v Value, ok bool) {
	var best *Span
	for i := range spans {
		s := &spans[i]
		if a.Less(s.First) || s.Last.Less(a) {
			continue
		}
		if best == nil || best.First.Less(s.First) || best.First == s.First && !best.Last.Less(s.Last) {
			best = s
		}
	}
	if best == nil {
		return Value{}, false
	}
	return best.Value, true
}

func TestFlattenAndOverlayAgreeWithReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 3000 {
		m := Empty()
		want := map[Addr]Value{}
		for range 3 {
			spans := randomSpans(r)
			given := slices.Clone(spans)
			flat := Flatten(spans)
			for i := range flat {
				if flat[i].Last.Less(flat[i].First) || i > 0 && !flat[i-1].Last.Less(flat[i].First) {
					t.Fatalf("round %d: not sorted and apart: %v", round, flat)
				}
			}
			m = m.Overlay(flat, func(old, new Value) Value { return Value{ASN: old.ASN*10 + new.ASN} })
			for _, a := range world {
				if v, ok := innermost(given, a); ok {
					want[a] = Value{ASN: want[a].ASN*10 + v.ASN}
				}
			}
		}
		for i, a := range m.Starts {
			if i > 0 && (!m.Starts[i-1].Less(a) || m.Values[i-1] == m.Values[i]) {
				t.Fatalf("round %d: range %d does not follow or does not differ", round, i)
			}
		}
		for _, a := range world {
			if got := m.Find(a); got != want[a] {
				t.Fatalf("round %d: %v is %v, want %v", round, a, got, want[a])
			}
		}
		back, err := Unpack(AppendPacked(nil, m))
		if err != nil || !slices.Equal(back.Starts, m.Starts) || !slices.Equal(back.Values, m.Values) {
			t.Fatalf("round %d: packing lost something: %v", round, err)
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, c := range []struct{ prefix, first, last string }{
		{"10.1.2.3/8", "10.0.0.0", "10.255.255.255"},
		{"1.2.3.4/32", "1.2.3.4", "1.2.3.4"},
		{"0.0.0.0/0", "0.0.0.0", "255.255.255.255"},
		{"::/0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"},
		{"2001:db8::/65", "2001:db8::", "2001:db8::7fff:ffff:ffff:ffff"},
		{"2001:db8::1/128", "2001:db8::1", "2001:db8::1"},
	} {
		s := Prefix(netip.MustParsePrefix(c.prefix))
		first, last := AddrOf(netip.MustParseAddr(c.first)), AddrOf(netip.MustParseAddr(c.last))
		if s.First != first || s.Last != last {
			t.Errorf("%s: %x to %x, want %x to %x", c.prefix, s.First, s.Last, first, last)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(AppendPacked(nil, Empty()))
	f.Add(AppendPacked(nil, Empty().Overlay([]Span{Prefix(netip.MustParsePrefix("10.0.0.0/8"))}, func(_, _ Value) Value { return Value{1, 2, 3} })))
	f.Add([]byte(magic + "\xff\xff\xff\xff\x07\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Unpack(b)
		if err != nil {
			return
		}
		m.Find(Addr{})
		m.Find(Max)
		back, err := Unpack(AppendPacked(nil, m))
		if err != nil || !slices.Equal(back.Starts, m.Starts) || !slices.Equal(back.Values, m.Values) {
			t.Fatalf("packing again lost something: %v", err)
		}
	})
}
