package feed

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/moat-platform/moat/discover/indicator/internal/place"
	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

func atlas(t testing.TB) *place.Atlas {
	t.Helper()
	a, err := place.Load()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func text(a span.Addr) string {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(a.Hi>>(56-8*i)), byte(a.Lo>>(56-8*i))
	}
	return netip.AddrFrom16(b).Unmap().String()
}

func TestEntries(t *testing.T) {
	at := atlas(t)
	de, _ := place.ParseCode("DE")
	f := func(form Form, line, want string) {
		t.Helper()
		fd := &Feed{Names: map[uint32]string{}}
		s, err := fd.entry(line, form, at)
		got := fmt.Sprintf("%s-%s", text(s.First), text(s.Last))
		switch {
		case err != nil:
			got = "bad"
		case s.Value.Country == uint16(de):
			got += " DE"
		case s.Value.ASN != 0:
			got += fmt.Sprintf(" %d %s", s.Value.ASN, fd.Names[s.Value.ASN])
		}
		if got != want {
			t.Errorf("%q: %s, want %s (%v)", line, got, want, err)
		}
	}
	f(List, "1.2.3.4", "1.2.3.4-1.2.3.4")
	f(List, "1.2.3.4/24", "1.2.3.0-1.2.3.255") // not masked: still clear
	f(List, "1.2.3.4 # bad boy", "1.2.3.4-1.2.3.4")
	f(List, "1.2.3.4\t7", "1.2.3.4-1.2.3.4")
	f(List, "1.2.3.4,seen twice", "1.2.3.4-1.2.3.4")
	f(List, "1.2.3.4-1.2.4.0", "1.2.3.4-1.2.4.0")
	f(List, "2001:db8::/32", "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
	f(List, "::ffff:1.2.3.0/120", "1.2.3.0-1.2.3.255")
	f(List, "0.0.0.0/0", "bad") // would mark everybody
	f(List, "::/0", "bad")
	f(List, "8.0.0.0/7", "bad")
	f(List, "8.0.0.0/8", "8.0.0.0-8.255.255.255")
	f(List, "8.0.0.0-9.0.0.0", "bad")
	f(List, "2001::/15", "bad")
	f(List, "2001::/16", "2001::-2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	f(List, "::/64", "bad") // takes in all of IPv4
	f(List, "1.2.3.4/33", "bad")
	f(List, "fe80::1%eth0", "bad")
	f(List, "1.2.3", "bad")
	f(List, "example.com", "bad")
	f(Country, "1.0.0.0,1.0.0.255,DE", "1.0.0.0-1.0.0.255 DE")
	f(Country, `"1.0.0.0","1.0.0.255","de"`, "1.0.0.0-1.0.0.255 DE")
	f(Country, "1.0.0.0,1.0.0.255,ZZ", "1.0.0.0-1.0.0.255")
	f(Country, "1.0.0.0,1.0.0.255,QQ", "bad")
	f(Country, "1.0.0.0,1.0.0.255,", "bad")
	f(Country, "1.0.0.9,1.0.0.0,DE", "bad")
	f(Country, "1.0.0.0,2001:db8::,DE", "bad")
	f(Country, "::,2001:db8::,DE", "bad")
	f(Country, "1.0.0.0/24,DE", "bad")
	f(Country, "0.0.0.0,255.255.255.255,DE", "0.0.0.0-255.255.255.255 DE")
	f(ASN, `1.0.0.0,1.0.0.255,13335,"Cloudflare, Inc."`, "1.0.0.0-1.0.0.255 13335 Cloudflare, Inc.")
	f(ASN, "1.0.0.0,1.0.0.255,AS13335", "1.0.0.0-1.0.0.255 13335 ")
	f(ASN, "1.0.0.0,1.0.0.255,0,nobody", "1.0.0.0-1.0.0.255")
	f(ASN, "1.0.0.0,1.0.0.255,4294967296,x", "bad")
	f(ASN, "1.0.0.0,1.0.0.255,-1,x", "bad")
}

func TestRead(t *testing.T) {
	at := atlas(t)
	good := "# licence: CC0-1.0\n; a comment\n#date: 2026-01-02\n# Source: example.org\n\n" + strings.Repeat("1.2.3.4\r\n", 20)
	feed, err := Read(strings.NewReader("\ufeff"+good+"rubbish\n\n1.2.3.5"), List, at)
	if err != nil {
		t.Fatal(err)
	}
	if feed.Entries != 21 || feed.Bad != 1 || feed.Licence != "CC0-1.0" || feed.Date != "2026-01-02" || feed.Origin != "example.org" {
		t.Errorf("got %d entries, %d bad, licence %q, date %q, origin %q", feed.Entries, feed.Bad, feed.Licence, feed.Date, feed.Origin)
	}
	if len(feed.Faults) != 1 || feed.Faults[0].Line != 26 || !strings.Contains(feed.Faults[0].Reason, "rubbish") {
		t.Errorf("faults %v, want line 26", feed.Faults)
	}
	if feed, err := Read(strings.NewReader("ip_range_start,ip_range_end,country_code\n1.0.0.0,1.0.0.9,DE\n"), Country, at); err != nil || feed.Entries != 1 || feed.Bad != 0 {
		t.Errorf("names of columns are not passed over: %v", err)
	}
	if feed, err := Read(strings.NewReader("# nothing today\n"), List, at); err != nil || feed.Entries != 0 {
		t.Errorf("a list of a comment only is not an empty list: %v", err)
	}
}

func TestGarbageIsRefused(t *testing.T) {
	at := atlas(t)
	for name, in := range map[string]string{
		"empty":     "",
		"blank":     "\n \n",
		"html":      "<!DOCTYPE html>\n<html>\n<body>502 Bad Gateway</body>\n</html>\n",
		"binary":    strings.Repeat("\x00\xff\x1f\x8b\n", 50),
		"long line": strings.Repeat("1.2.3.4 ", MaxLine),
		"one in 9":  strings.Repeat(strings.Repeat("1.2.3.4\n", 8)+"x\n", 5),
	} {
		for _, form := range []Form{List, Country, ASN} {
			_, err := Read(strings.NewReader(in), form, at)
			refused, ok := errors.AsType[*Refused](err)
			if !ok {
				t.Errorf("%s: error %v, want it refused", name, err)
			} else if len(refused.Faults) > maxFaults || refused.Error() == "" {
				t.Errorf("%s: %d faults, %q", name, len(refused.Faults), refused)
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	at := atlas(f)
	f.Add("# date: 2026-01-02\n1.2.3.4\n10.0.0.0/8\n2001:db8::/32\n1.1.1.1-1.1.2.0\n", uint8(List))
	f.Add("1.0.0.0,1.0.0.255,AU\n1.0.0.128,1.0.4.0,CN\n2001:200::,2001:200:ffff::,JP\n", uint8(Country))
	f.Add("1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n", uint8(ASN))
	f.Add("::,ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff,DE\n255.255.255.255,255.255.255.255,DE\n", uint8(Country))
	f.Add("ffff::/16\n", uint8(List))
	f.Fuzz(func(t *testing.T, in string, form uint8) {
		fd, err := Read(strings.NewReader(in), Form(form%3), at)
		if err != nil {
			return
		}
		if fd.Bad*10 > fd.Entries+fd.Bad {
			t.Errorf("%d of %d bad and not refused", fd.Bad, fd.Entries+fd.Bad)
		}
		for i, s := range fd.Spans {
			if s.Last.Less(s.First) || i > 0 && !fd.Spans[i-1].Last.Less(s.First) {
				t.Fatalf("spans are not sorted and apart: %v", fd.Spans)
			}
			if s.First.Less(span.V4First) && !s.Last.Less(span.V4First) {
				t.Fatalf("a span of IPv6 takes in IPv4: %v", s)
			}
		}
	})
}
