package indicator

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

// corners are addresses around which keys, groups and families change.
func corners() []span.Addr {
	var out []span.Addr
	for _, s := range []string{"::", "::fffe:ffff:fff8", "0.0.0.0", "0.0.255.248", "9.255.255.248", "255.255.255.240", "::1:0:0:0", "0:0:1::",
		"2001:db7:ffff:ffff:ffff:ffff:ffff:fff8", "2001:db8:0:1::", "2001:db8::fffc", "2001:ffff:ffff:ffff:ffff:ffff:ffff:fff8",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0", "ffff:ffff:fffe:ffff:ffff:ffff:ffff:fff8"} {
		a := span.AddrOf(netip.MustParseAddr(s))
		for range 16 {
			out = append(out, a)
			a = a.Next()
		}
	}
	slices.SortFunc(out, span.Addr.Compare)
	return slices.Compact(out)
}

func TestIndexAgreesWithReference(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	at := corners()
	for round := range 400 {
		spans := make([]span.Span, r.IntN(20))
		for i := range spans {
			a := r.IntN(len(at))
			b := a + r.IntN(3)
			if r.IntN(3) == 0 {
				b = a + r.IntN(len(at))
			}
			spans[i] = span.Span{First: at[a], Last: at[min(b, len(at)-1)], Value: span.Value{Country: uint16(r.IntN(3)), ASN: uint32(r.IntN(3))}}
		}
		m := span.Empty().Overlay(span.Flatten(spans), func(_, new span.Value) span.Value { return new })
		table := Table{v4: newIndex4(m), v6: newIndex6(m)}
		for _, a := range at {
			want := m.Find(a)
			addr, got := addrOf(a), span.Value{}
			if addr.Is4In6() {
				got = table.v4.find(key4(uint32(a.Lo)), span.Addr{})
			} else {
				got = table.v6.find(key6(a), a)
			}
			if got != want {
				t.Fatalf("round %d: %v is %v, want %v, in %v", round, addr, got, want, spans)
			}
		}
	}
}
