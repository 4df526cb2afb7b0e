package run

import (
	"encoding/binary"
	"math/bits"
)

// Numbers are kept as fixed-width fields in a stream of bits, lowest bit
// first, so that any one of them can be read without reading those before it.
// A stream ends with bitPad bytes, so that eight bytes can always be loaded.
const bitPad = 8

// bitWriter appends fields to b.
type bitWriter struct {
	b   []byte
	acc uint64
	n   uint // bits in acc
}

func (w *bitWriter) put(v uint64, width uint) {
	w.acc |= v << (w.n & 63) // n is below 64
	if w.n+width < 64 {
		w.n += width
		return
	}
	w.b = binary.LittleEndian.AppendUint64(w.b, w.acc)
	w.acc = v >> (64 - w.n) // 0 for a shift by 64
	w.n += width - 64
}

// end writes what is left and the padding, and returns all bytes.
func (w *bitWriter) end() []byte {
	for w.n > 0 {
		w.b = append(w.b, byte(w.acc))
		w.acc >>= 8
		w.n -= min(w.n, 8)
	}
	return append(w.b, make([]byte, bitPad)...)
}

// bitsAt reads the field of that width at a bit of b, which must end bitPad
// bytes after the last field.
func bitsAt(b []byte, at, width uint64) uint64 {
	i, shift := at>>3, at&7
	v := binary.LittleEndian.Uint64(b[i:]) >> shift
	if width+shift > 64 {
		v |= uint64(b[i+8]) << (64 - shift)
	}
	return v & (1<<width - 1) // all ones for a shift by 64
}

// streamBytes is the length of a stream of that many bits.
func streamBytes(n uint64) uint64 { return (n+7)/8 + bitPad }

// A grid is rows of columns of numbers, row by row, each column with its
// smallest value as the base and as many bits as the largest needs:
//
//	width of each column u8 · base of each column u64 · the fields
type grid struct {
	width [recordCols]uint8
	base  [recordCols]uint64
	row   uint64 // bits
	bits  []byte
}

const gridHeader = recordCols * 9

// appendGrid appends the records to dst.
func appendGrid(dst []byte, rows []record) []byte {
	lo, hi := rows[0], rows[0]
	for i := range rows {
		for c, v := range &rows[i] {
			lo[c], hi[c] = min(lo[c], v), max(hi[c], v)
		}
	}
	var width [recordCols]uint
	for c := range width {
		width[c] = uint(bits.Len64(hi[c] - lo[c]))
		dst = append(dst, byte(width[c]))
	}
	for _, v := range lo {
		dst = binary.LittleEndian.AppendUint64(dst, v)
	}
	w := bitWriter{b: dst}
	for i := range rows {
		for c, v := range &rows[i] {
			w.put(v-lo[c], width[c])
		}
	}
	return w.end()
}

// openGrid reads the header of a grid of n rows and returns what follows it.
func openGrid(b []byte, n int) (g grid, rest []byte, ok bool) {
	if len(b) < gridHeader {
		return g, nil, false
	}
	for c := range g.width {
		g.width[c] = b[c]
		if b[c] > 64 {
			return g, nil, false
		}
		g.row += uint64(b[c])
		g.base[c] = binary.LittleEndian.Uint64(b[recordCols+8*c:])
	}
	size := streamBytes(g.row * uint64(n))
	if b = b[gridHeader:]; uint64(len(b)) < size {
		return g, nil, false
	}
	g.bits = b[:size]
	return g, b[size:], true
}

// column returns column c of row i.
func (g *grid) column(i, c int) uint64 {
	at := uint64(i) * g.row
	for _, w := range g.width[:c] {
		at += uint64(w)
	}
	return g.base[c] + bitsAt(g.bits, at, uint64(g.width[c]))
}

func (g *grid) record(i int) (r record) {
	at := uint64(i) * g.row
	for c := range r {
		w := uint64(g.width[c])
		r[c] = g.base[c] + bitsAt(g.bits, at, w)
		at += w
	}
	return r
}
