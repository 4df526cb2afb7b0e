// Package feed reads files of indicators about network addresses.
//
// Use it to read lists of addresses and CSV files of countries and autonomous
// systems. It takes what it can read and reports the rest with line numbers; a
// file that is mostly something else it refuses as a whole. It will not
// fetch anything.
package feed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/moat-platform/moat/discover/indicator/internal/place"
	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

// Form is how the lines of a file are to be read.
type Form uint8

// The forms. In all of them a line that begins with # or ; is a comment.
const (
	// List: an address, a prefix or two addresses joined by "-"; what follows a blank, tab, comma or # is ignored.
	List Form = iota
	// Country: first address, last address, ISO 3166-1 alpha-2 code. EU, AP, XX and ZZ mean that it is unknown.
	Country
	// ASN: first address, last address, number of the autonomous system, its name.
	ASN
)

// Limits of a file.
const (
	MaxBytes   = 128 << 20
	MaxLine    = 4 << 10
	MaxEntries = 4 << 20
	MaxName    = 100 // bytes of a name; the rest is cut
)

// maxFaults is how many bad lines are reported one by one.
const maxFaults = 10

// Fault is a line that could not be read.
type Fault struct {
	Line   int
	Reason string
}

// Refused is a file that is taken for garbage.
type Refused struct {
	Reason string
	Faults []Fault
}

// Error tells why, with the first bad line.
func (r *Refused) Error() string {
	if len(r.Faults) == 0 {
		return r.Reason
	}
	return fmt.Sprintf("%s; line %d: %s", r.Reason, r.Faults[0].Line, r.Faults[0].Reason)
}

// Feed is what a file holds.
type Feed struct {
	Spans   []span.Span       // sorted, without overlaps
	Names   map[uint32]string // of autonomous systems
	Entries int               // lines that were read
	Bad     int               // lines that were not
	Faults  []Fault           // the first of them

	// From comments of the form "# licence: …", "# date: …", "# source: …".
	Licence, Date, Origin string
}

// Tally counts the good and bad entries of a file and judges the whole.
type Tally struct {
	Good, Bad int
	Faults    []Fault
}

// Fail records a bad entry.
func (t *Tally) Fail(line int, err error) {
	t.Bad++
	if len(t.Faults) < maxFaults {
		t.Faults = append(t.Faults, Fault{line, err.Error()})
	}
}

// Judge returns a [*Refused] if more than one entry in ten is bad.
func (t *Tally) Judge() error {
	if n := t.Good + t.Bad; 10*t.Bad > n {
		return &Refused{fmt.Sprintf("%d of %d entries cannot be read", t.Bad, n), t.Faults}
	}
	return nil
}

// Read reads r to its end. Its errors are those of r, or a [*Refused].
func Read(r io.Reader, form Form, atlas *place.Atlas) (*Feed, error) {
	limited := &io.LimitedReader{R: r, N: MaxBytes + 1}
	scan := bufio.NewScanner(limited)
	scan.Buffer(make([]byte, MaxLine), MaxLine)
	f := &Feed{}
	if form == ASN {
		f.Names = map[uint32]string{}
	}
	var tally Tally
	line, read := 0, false
	for scan.Scan() {
		line++
		text := bytes.TrimSpace(bytes.TrimPrefix(scan.Bytes(), []byte("\ufeff")))
		if len(text) == 0 {
			continue
		}
		if text[0] == '#' || text[0] == ';' {
			f.comment(string(text[1:]))
			read = true
			continue
		}
		s, err := f.entry(string(text), form, atlas)
		if err != nil {
			if !read && form != List && isHeader(text) {
				read = true
				continue
			}
			read = true
			tally.Fail(line, err)
			continue
		}
		read = true
		tally.Good++
		if tally.Good > MaxEntries {
			return nil, &Refused{Reason: fmt.Sprintf("it has more than %d entries", MaxEntries)}
		}
		f.Spans = append(f.Spans, s)
	}
	switch err := scan.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, &Refused{Reason: fmt.Sprintf("line %d is longer than %d bytes", line+1, MaxLine)}
	case err != nil:
		return nil, err
	case limited.N == 0:
		return nil, &Refused{Reason: fmt.Sprintf("it is larger than %d bytes", MaxBytes)}
	case !read:
		return nil, &Refused{Reason: "it is empty (to clear a list, leave a comment in it)"}
	}
	if err := tally.Judge(); err != nil {
		return nil, err
	}
	f.Entries, f.Bad, f.Faults = tally.Good, tally.Bad, tally.Faults
	f.Spans = span.Flatten(f.Spans)
	return f, nil
}

// isHeader tells whether a first line that is no entry names columns.
func isHeader(text []byte) bool {
	for _, b := range text {
		if b != '_' && b != ',' && b != ' ' && b != '"' && (b|0x20 < 'a' || b|0x20 > 'z') {
			return false
		}
	}
	return bytes.IndexByte(text, ',') >= 0
}

// comment takes what a comment says about the file.
func (f *Feed) comment(text string) {
	key, value, ok := strings.Cut(text, ":")
	if !ok {
		return
	}
	value = cut(strings.TrimSpace(strings.ToValidUTF8(value, "")), 2*MaxName)
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "licence", "license":
		f.Licence = value
	case "date":
		f.Date = value
	case "source", "origin":
		f.Origin = value
	}
}

func (f *Feed) entry(text string, form Form, atlas *place.Atlas) (span.Span, error) {
	if form == List {
		if i := strings.IndexAny(text, " \t,;#"); i >= 0 {
			text = text[:i]
		}
		return listEntry(text)
	}
	first, rest, ok1 := strings.Cut(text, ",")
	last, rest, ok2 := strings.Cut(rest, ",")
	if !ok1 || !ok2 {
		return span.Span{}, errors.New("want three columns: first address, last address and what they are")
	}
	s, err := between(unquote(first), unquote(last))
	if err != nil {
		return s, err
	}
	what, name, _ := strings.Cut(rest, ",")
	what = unquote(what)
	if form == Country {
		s.Value.Country, err = country(what, atlas)
		return s, err
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimPrefix(what, "AS"), "as"), 10, 32)
	if err != nil {
		return s, fmt.Errorf("%.20q is no number of an autonomous system", what)
	}
	s.Value.ASN = uint32(n)
	if name = cut(strings.ToValidUTF8(unquote(name), ""), MaxName); name != "" && n != 0 {
		if _, known := f.Names[s.Value.ASN]; !known {
			f.Names[s.Value.ASN] = strings.Clone(name)
		}
	}
	return s, nil
}

func country(text string, atlas *place.Atlas) (uint16, error) {
	switch text {
	case "EU", "AP", "XX", "ZZ":
		return 0, nil
	}
	code, ok := place.ParseCode(text)
	if !ok || !atlas.Known(code) {
		return 0, fmt.Errorf("%.20q is no country of ISO 3166-1", text)
	}
	return uint16(code), nil
}

// The widest prefixes that a list may hold. A slip such as 0.0.0.0/0 in a
// blocklist must not mark everybody.
const widest4, widest6 = 8, 16

func listEntry(text string) (span.Span, error) {
	if first, last, ok := strings.Cut(text, "-"); ok {
		s, err := between(first, last)
		if err == nil && tooWide(s) {
			err = fmt.Errorf("%.40q is wider than a /%d (IPv4) or /%d (IPv6)", text, widest4, widest6)
		}
		return s, err
	}
	if !strings.Contains(text, "/") {
		a, err := address(text)
		return span.Span{First: a, Last: a}, err
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return span.Span{}, fmt.Errorf("%.40q is neither an address nor a prefix", text)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if s := span.Prefix(p); !tooWide(s) {
		return s, nil
	}
	return span.Span{}, fmt.Errorf("%.40q is wider than a /%d (IPv4) or /%d (IPv6)", text, widest4, widest6)
}

func tooWide(s span.Span) bool {
	if s.First.Less(span.V4First) || span.V4Last.Less(s.First) {
		return s.Last.Hi-s.First.Hi >= 1<<(64-widest6) || holdsV4(s)
	}
	return s.Last.Lo-s.First.Lo >= 1<<(32-widest4)
}

// holdsV4 tells whether a span of IPv6 takes in the IPv4-mapped addresses.
func holdsV4(s span.Span) bool {
	return s.First.Less(span.V4First) && !s.Last.Less(span.V4First)
}

func between(first, last string) (s span.Span, err error) {
	if s.First, err = address(first); err != nil {
		return s, err
	}
	if s.Last, err = address(last); err != nil {
		return s, err
	}
	isV4 := func(a span.Addr) bool { return !a.Less(span.V4First) && !span.V4Last.Less(a) }
	if s.Last.Less(s.First) || isV4(s.First) != isV4(s.Last) || holdsV4(s) {
		return s, fmt.Errorf("%.40q to %.40q is no range of one family", first, last)
	}
	return s, nil
}

func address(text string) (span.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return span.Addr{}, fmt.Errorf("%.40q is no address", text)
	}
	return span.AddrOf(a), nil
}

func unquote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
	}
	return s
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
