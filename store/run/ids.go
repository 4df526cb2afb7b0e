package run

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unsafe"

	"github.com/moat-platform/moat/internal/digits"
)

// Ids of events and orders are nearly always a prefix and a number, or
// hexadecimal, and the orders of one event are often neighbours. A list of ids
// is stored as one code an id: a uvarint whose two lowest bits say how to read
// the rest of it,
//
//	idRaw    length; then the bytes
//	idNext   zig-zag difference to the number before, with its prefix and width
//	idNumber length of the prefix; then the width u8, the prefix, the number as uvarint
//	idHex    number of lower-case hexadecimal digits, even, 0 for a UUID with dashes; then the bytes
//
// so that an id costs 1–2 bytes in a sequence, 9–12 as a random number, and 17 as a UUID.
const (
	idRaw = iota
	idNext
	idNumber
	idHex
)

// maxDigits of a number: all numbers of 18 digits fit in 60 bits.
const maxDigits = 18

// idShape is the prefix and number that [idNext] refers to.
type idShape struct {
	prefix string
	width  int
	number int64
}

// appendID appends the code of id and makes last its shape if it is a number.
func appendID(dst []byte, id string, last *idShape) []byte {
	digits, number := trailingNumber(id)
	i := len(id) - digits
	if i > 0 && digits < maxDigits {
		if dst, ok := appendHex(dst, id); ok {
			return dst
		}
	}
	if digits < 4 || i > 64 {
		dst = binary.AppendUvarint(dst, uint64(len(id))<<2|idRaw)
		return append(dst, id...)
	}
	if last.width == digits && last.prefix == id[:i] {
		d := number - last.number
		dst = binary.AppendUvarint(dst, uint64(d<<1^d>>63)<<2|idNext)
	} else {
		dst = binary.AppendUvarint(dst, uint64(i)<<2|idNumber)
		dst = append(dst, byte(digits))
		dst = append(dst, id[:i]...)
		dst = binary.AppendUvarint(dst, uint64(number))
	}
	*last = idShape{id[:i], digits, number}
	return dst
}

// trailingNumber returns how many digits id ends with, at most maxDigits, and the number that they are.
func trailingNumber(id string) (n int, v int64) {
	b, scale := unsafe.Slice(unsafe.StringData(id), len(id)), int64(1)
	for n <= maxDigits-8 && len(b) >= 8 {
		eight, ok := digits.Eight(binary.LittleEndian.Uint64(b[len(b)-8:]))
		if !ok {
			break
		}
		v += scale * eight
		b, n, scale = b[:len(b)-8], n+8, scale*100_000_000
	}
	for n < maxDigits && len(b) > 0 {
		c := b[len(b)-1] - '0'
		if c > 9 {
			break
		}
		v += scale * int64(c)
		b, n, scale = b[:len(b)-1], n+1, scale*10
	}
	return n, v
}

// appendHex appends the code of an id of lower-case hexadecimal digits, 16 to
// 128 of them or a UUID with dashes; ok is false for any other.
func appendHex(dst []byte, id string) (out []byte, ok bool) {
	n := len(id)
	uuid := n == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-'
	if !uuid && (n < 16 || n > 128 || n%2 != 0) {
		return nil, false
	}
	bad := byte(0)
	if uuid {
		dst = append(dst, idHex)
		for i := 0; i < n; i += 2 {
			if i == 8 || i == 13 || i == 18 || i == 23 {
				i++
			}
			h, l := hexValue[id[i]], hexValue[id[i+1]]
			bad |= h | l
			dst = append(dst, h<<4|l)
		}
		return dst, bad < 16
	}
	dst = binary.AppendUvarint(dst, uint64(n)<<2|idHex)
	for i := 0; i < n; i += 2 {
		h, l := hexValue[id[i]], hexValue[id[i+1]]
		bad |= h | l
		dst = append(dst, h<<4|l)
	}
	return dst, bad < 16
}

// hexValue is the value of a lower-case hexadecimal digit, 0x80 for any other byte.
var hexValue = func() (t [256]byte) {
	for c := range t {
		t[c] = 0x80
		if d := strings.IndexByte("0123456789abcdef", byte(c)); d >= 0 {
			t[c] = byte(d)
		}
	}
	return t
}()

// nextID reads one code, appends the id as text to dst, and returns what
// follows the code. ok is false if b does not start with a code.
func nextID(dst, b []byte, last *idShape) (text, rest []byte, ok bool) {
	h, n := binary.Uvarint(b)
	if n <= 0 {
		return dst, nil, false
	}
	b = b[n:]
	size, kind := h>>2, h&3
	switch kind {
	case idRaw:
		if size > uint64(len(b)) {
			return dst, nil, false
		}
		return append(dst, b[:size]...), b[size:], true
	case idHex:
		bytes := size / 2
		if size == 0 {
			bytes = 16
		}
		if bytes > uint64(len(b)) {
			return dst, nil, false
		}
		return appendHexText(dst, b[:bytes], size == 0), b[bytes:], true
	}
	if b, ok = last.read(kind, size, b); !ok {
		return dst, nil, false
	}
	dst = append(dst, last.prefix...)
	return appendPadded(dst, last.number, last.width), b, true
}

// read reads what follows the head of an [idNumber] or [idNext]. The prefix is a view of b.
func (last *idShape) read(kind, size uint64, b []byte) (rest []byte, ok bool) {
	if kind == idNext {
		last.number += int64(size>>1) ^ -int64(size&1)
		return b, true
	}
	if size > 64 || uint64(len(b)) < size+1 || b[0] > maxDigits {
		return nil, false
	}
	last.width, last.prefix = int(b[0]), unsafe.String(unsafe.SliceData(b[1:]), size)
	v, n := binary.Uvarint(b[1+size:])
	if n <= 0 {
		return nil, false
	}
	last.number = int64(v)
	return b[1+size+uint64(n):], true
}

// skipID reads one code as [nextID] does, without making its text.
func skipID(b []byte, last *idShape) (rest []byte, ok bool) {
	h, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	size := h >> 2
	switch h & 3 {
	case idRaw:
	case idHex:
		if size /= 2; h>>2 == 0 {
			size = 16
		}
	default:
		return last.read(h&3, size, b[n:])
	}
	if size > uint64(len(b)-n) {
		return nil, false
	}
	return b[n+int(size):], true
}

func appendHexText(dst, b []byte, uuid bool) []byte {
	if !uuid {
		return hex.AppendEncode(dst, b)
	}
	for i, c := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{c})
	}
	return dst
}

// appendPadded appends the number with zeroes in front up to width digits.
func appendPadded(dst []byte, number int64, width int) []byte {
	var b [maxDigits]byte
	v := uint64(max(number, 0))
	for i := len(b) - 2; i >= 0; i -= 2 { // two at a time: what costs is the chain of divisions
		q := v / 100
		d := v - 100*q
		b[i], b[i+1] = '0'+byte(d/10), '0'+byte(d%10)
		v = q
	}
	return append(dst, b[len(b)-min(width, len(b)):]...)
}
