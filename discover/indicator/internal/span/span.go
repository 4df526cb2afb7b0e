// Package span cuts the space of addresses into ranges that carry a value.
//
// Use it to lay feeds of ranges over one another so that one search answers
// everything, and to write the result as compact bytes. It will not read feeds
// nor serve look-ups: it is for building.
package span

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
)

// Addr is an address as a 128-bit number; IPv4 is in its IPv4-mapped form, so
// that both families are one space.
type Addr struct{ Hi, Lo uint64 }

// First and last of the IPv4-mapped addresses, and the last of all.
var (
	V4First = Addr{0, 0xffff_0000_0000}
	V4Last  = Addr{0, 0xffff_ffff_ffff}
	Max     = Addr{math.MaxUint64, math.MaxUint64}
)

// AddrOf returns a as a number; a must be valid. Its zone is ignored.
func AddrOf(a netip.Addr) Addr {
	b := a.As16()
	return Addr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Compare orders addresses by number.
func (a Addr) Compare(b Addr) int {
	if c := cmp.Compare(a.Hi, b.Hi); c != 0 {
		return c
	}
	return cmp.Compare(a.Lo, b.Lo)
}

// Less tells whether a comes before b.
func (a Addr) Less(b Addr) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// Next returns the address after a, 0 after [Max].
func (a Addr) Next() Addr {
	a.Lo++
	if a.Lo == 0 {
		a.Hi++
	}
	return a
}

// Prev returns the address before a, [Max] before 0.
func (a Addr) Prev() Addr {
	if a.Lo == 0 {
		a.Hi--
	}
	a.Lo--
	return a
}

// Value is what is known about a range; its zero value is nothing.
type Value struct {
	ASN     uint32
	Country uint16
	Kinds   uint16
}

// Span is a range of addresses, both ends included, and its value.
type Span struct {
	First, Last Addr
	Value       Value
}

// Prefix returns the span of a prefix, without a value.
func Prefix(p netip.Prefix) Span {
	first := AddrOf(p.Masked().Addr())
	last := first
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	if bits < 64 {
		last = Addr{first.Hi | math.MaxUint64>>bits, math.MaxUint64}
	} else if bits < 128 {
		last.Lo |= math.MaxUint64 >> (bits - 64)
	}
	return Span{First: first, Last: last}
}

// Flatten sorts spans and cuts them so that none overlap, in place where it
// can. Where spans overlap the innermost wins; of equal ones, the later given.
func Flatten(spans []Span) []Span {
	slices.SortStableFunc(spans, func(a, b Span) int {
		if c := a.First.Compare(b.First); c != 0 {
			return c
		}
		return b.Last.Compare(a.Last) // the outer first
	})
	overlap := false
	for i := 1; i < len(spans) && !overlap; i++ {
		overlap = !spans[i-1].Last.Less(spans[i].First)
	}
	if !overlap {
		return spans
	}
	var out, open []Span // open: those that reach beyond at, the innermost last
	var at Addr          // all before it is written
	flush := func(until Addr, last bool) {
		for len(open) > 0 && (last || at.Less(until)) {
			top := open[len(open)-1]
			end := top.Last
			if !last && !end.Less(until) {
				end = until.Prev()
			}
			if !end.Less(at) {
				out = append(out, Span{at, end, top.Value})
				if end == Max {
					open = open[:0]
					return
				}
				at = end.Next()
			}
			if end == top.Last {
				open = open[:len(open)-1]
			}
		}
	}
	for _, s := range spans {
		flush(s.First, false)
		for len(open) > 0 && open[len(open)-1].Last.Less(s.First) {
			open = open[:len(open)-1]
		}
		at = s.First
		open = append(open, s)
	}
	flush(Addr{}, true)
	return out
}

// Map gives every address a value: range i begins at Starts[i] and ends before
// Starts[i+1], the last one at [Max]. Neighbouring ranges differ in value.
type Map struct {
	Starts []Addr // the first is 0
	Values []Value
}

// Empty is a Map that knows nothing.
func Empty() Map { return Map{Starts: make([]Addr, 1), Values: make([]Value, 1)} }

// push begins a range at a, which must be past all others.
func (m *Map) push(a Addr, v Value) {
	if n := len(m.Values); n > 0 && m.Values[n-1] == v {
		return
	}
	m.Starts = append(m.Starts, a)
	m.Values = append(m.Values, v)
}

// Overlay returns m with each address in a span of layer set to f(its value,
// the span's value). Layer must be sorted and without overlaps, as [Flatten] leaves it.
func (m Map) Overlay(layer []Span, f func(old, new Value) Value) Map {
	out := Map{
		Starts: make([]Addr, 0, len(m.Starts)+2*len(layer)),
		Values: make([]Value, 0, len(m.Values)+2*len(layer)),
	}
	var at Addr
	for i, j := 0, 0; ; {
		end := Max // of the piece that begins at at
		if i+1 < len(m.Starts) {
			end = m.Starts[i+1].Prev()
		}
		v := m.Values[i]
		if j < len(layer) {
			s := &layer[j]
			if at.Less(s.First) {
				if !end.Less(s.First) {
					end = s.First.Prev()
				}
			} else {
				v = f(v, s.Value)
				if !end.Less(s.Last) {
					end = s.Last
					j++
				}
			}
		}
		out.push(at, v)
		if end == Max {
			return out
		}
		at = end.Next()
		if i+1 < len(m.Starts) && m.Starts[i+1] == at {
			i++
		}
	}
}

// Each returns m with every value replaced by f of it.
func (m Map) Each(f func(Value) Value) Map {
	out := Map{Starts: make([]Addr, 0, len(m.Starts)), Values: make([]Value, 0, len(m.Values))}
	for i, v := range m.Values {
		out.push(m.Starts[i], f(v))
	}
	return out
}

// At returns the number of the range that holds a.
func (m Map) At(a Addr) int {
	i, found := slices.BinarySearchFunc(m.Starts, a, Addr.Compare)
	if !found {
		i--
	}
	return i
}

// Find returns the value of a.
func (m Map) Find(a Addr) Value { return m.Values[m.At(a)] }
