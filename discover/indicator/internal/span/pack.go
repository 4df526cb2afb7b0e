package span

import (
	"encoding/binary"
	"errors"
	"math"
)

// magic begins every packed map; the digit is the version of the form.
const magic = "moat.span.1\n"

// maxRanges bounds what a packed map may claim to hold.
const maxRanges = 16 << 20

// ErrPacked says that bytes are no packed map.
var ErrPacked = errors.New("not a packed address map")

// AppendPacked appends m in its packed form, which is made to be compressed:
// the distinct values, then the distances between starts, then the number of
// each range's value, all as variable-length integers.
func AppendPacked(b []byte, m Map) []byte {
	ids := map[Value]uint64{}
	var distinct []Value
	for _, v := range m.Values {
		if _, ok := ids[v]; !ok {
			ids[v] = uint64(len(distinct))
			distinct = append(distinct, v)
		}
	}
	b = append(b, magic...)
	b = binary.AppendUvarint(b, uint64(len(m.Starts)))
	b = binary.AppendUvarint(b, uint64(len(distinct)))
	for _, v := range distinct {
		b = binary.AppendUvarint(b, uint64(v.ASN))
		b = binary.AppendUvarint(b, uint64(v.Country))
		b = binary.AppendUvarint(b, uint64(v.Kinds))
	}
	var prev Addr
	for _, a := range m.Starts {
		lo := a.Lo
		if a.Hi == prev.Hi {
			lo -= prev.Lo
		}
		b = binary.AppendUvarint(b, a.Hi-prev.Hi)
		b = binary.AppendUvarint(b, lo)
		prev = a
	}
	for _, v := range m.Values {
		b = binary.AppendUvarint(b, ids[v])
	}
	return b
}

// Unpack reads what [AppendPacked] wrote. Its error is always [ErrPacked].
func Unpack(b []byte) (Map, error) {
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return Map{}, ErrPacked
	}
	r := reader{b: b[len(magic):]}
	n, distinct := r.next(maxRanges), r.next(maxRanges)
	// Each range takes three bytes or more and each value three, so that a short input cannot ask for much.
	if n == 0 || distinct == 0 || 3*(n+distinct) > uint64(len(r.b)) {
		return Map{}, ErrPacked
	}
	values := make([]Value, distinct)
	for i := range values {
		values[i] = Value{
			ASN:     uint32(r.next(math.MaxUint32)),
			Country: uint16(r.next(math.MaxUint16)),
			Kinds:   uint16(r.next(math.MaxUint16)),
		}
	}
	m := Map{Starts: make([]Addr, n), Values: make([]Value, n)}
	var prev Addr
	for i := range m.Starts {
		hi, lo := r.next(math.MaxUint64), r.next(math.MaxUint64)
		a := Addr{prev.Hi + hi, lo}
		if hi == 0 {
			a.Lo += prev.Lo
		}
		if i == 0 && a != (Addr{}) || i > 0 && !prev.Less(a) {
			return Map{}, ErrPacked
		}
		m.Starts[i], prev = a, a
	}
	for i := range m.Values {
		m.Values[i] = values[r.next(distinct-1)]
	}
	if r.bad || len(r.b) != 0 {
		return Map{}, ErrPacked
	}
	return m, nil
}

// reader reads variable-length integers; after the first bad one it returns 0 for ever.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) next(limit uint64) uint64 {
	if !r.bad && len(r.b) > 0 && r.b[0] < 0x80 && uint64(r.b[0]) <= limit { // most are one byte
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > limit || r.bad {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}
