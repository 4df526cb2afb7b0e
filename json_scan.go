package moat

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// The scanner of JSON text. Positions are indexes into the text; a function that
// returns a position returns a negative one when the text is broken there.

// Why a value cannot be skipped.
const (
	badSyntax = -1
	badDepth  = -2
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// load64 returns the eight bytes of s from i on, which must be there: it checks no bounds.
func load64(s string, i int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), i))[:])
}

// byteAt returns s[i], or 0 past the end, which no JSON outside of a string has.
func byteAt(s string, i int) byte {
	if uint(i) < uint(len(s)) {
		return s[i]
	}
	return 0
}

func skipSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// scanText returns the first position from i of a quote, a backslash or a
// control character, or len(s), and whether there are bytes over 0x7f before it.
// It looks at eight bytes at a time: in m, the lowest high bit that is set marks
// the first such byte.
func scanText(s string, i int) (end int, wide bool) {
	var seen uint64
	for ; i+8 <= len(s); i += 8 {
		x := load64(s, i)
		quote, slash := x^ones*'"', x^ones*'\\'
		m := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x) & highs
		if m != 0 {
			n := bits.TrailingZeros64(m) &^ 7
			seen |= x & (1<<n - 1)
			return i + n>>3, seen&highs != 0
		}
		seen |= x
	}
	for ; i < len(s); i++ {
		c := s[i]
		if c == '"' || c == '\\' || c < ' ' {
			break
		}
		seen |= uint64(c)
	}
	return i, seen&highs != 0
}

// skipText skips the string whose text starts at i, after the quote, and
// returns the position of its closing quote.
func skipText(s string, i int) (end int, escaped bool) {
	for {
		end, wide := scanText(s, i)
		if wide && !utf8.ValidString(s[i:end]) {
			return badSyntax, false
		}
		switch byteAt(s, end) {
		case '"':
			return end, escaped
		case '\\':
			n := escapeLen(s, end)
			if n < 0 {
				return badSyntax, false
			}
			i, escaped = end+n, true
		default:
			return badSyntax, false
		}
	}
}

// escapeLen returns the length of the escape at i, or -1 if it is none.
func escapeLen(s string, i int) int {
	switch byteAt(s, i+1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if hex4(s, i+2) >= 0 {
			return 6
		}
	}
	return -1
}

// hex4 returns the number in the four hexadecimal digits at i, or -1.
func hex4(s string, i int) rune {
	if i+4 > len(s) {
		return -1
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendUnescaped appends the text s, which skipText has accepted, without its
// escapes. Half a surrogate pair becomes U+FFFD.
func appendUnescaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		end, _ := scanText(s, i)
		dst = append(dst, s[i:end]...)
		if end == len(s) {
			break
		}
		i = end + 2
		switch c := s[end+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(s, i)
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if byteAt(s, i) == '\\' && byteAt(s, i+1) == 'u' {
					low = hex4(s, i+2)
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// skipNumber skips the number at i, and tells whether it is digits only.
func skipNumber(s string, i int) (end int, whole bool) {
	whole = true
	if byteAt(s, i) == '-' {
		i, whole = i+1, false
	}
	first := i
	if i = skipDigits(s, i); i == first || s[first] == '0' && i > first+1 {
		return badSyntax, false
	}
	if byteAt(s, i) == '.' {
		first, whole = i+1, false
		if i = skipDigits(s, first); i == first {
			return badSyntax, false
		}
	}
	if byteAt(s, i)|0x20 == 'e' {
		i, whole = i+1, false
		if c := byteAt(s, i); c == '+' || c == '-' {
			i++
		}
		first = i
		if i = skipDigits(s, first); i == first {
			return badSyntax, false
		}
	}
	return i, whole
}

func skipDigits(s string, i int) int {
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	return i
}

// hasWord tells whether the word is at i.
func hasWord(s string, i int, word string) bool {
	return len(s)-i >= len(word) && s[i:i+len(word)] == word
}

// skipScalar skips the string, number or word at i.
func skipScalar(s string, i int) int {
	switch c := byteAt(s, i); {
	case c == '"':
		end, _ := skipText(s, i+1)
		if end < 0 {
			return badSyntax
		}
		return end + 1
	case c == '-' || c-'0' <= 9:
		end, _ := skipNumber(s, i)
		return end
	case hasWord(s, i, "true"), hasWord(s, i, "null"):
		return i + 4
	case hasWord(s, i, "false"):
		return i + 5
	}
	return badSyntax
}

// skipValue skips the value at i, around which depth objects and lists are
// open, and returns where it ends, or badSyntax or badDepth and the position at
// which it is broken.
func skipValue(s string, i, depth int) (end, at int) {
	var objects uint64 // a bit for each open level: 1 in an object
	outer := depth
	for {
		// A value starts at i.
		c := byteAt(s, i)
		if c == '{' || c == '[' {
			if depth == MaxDepth {
				return badDepth, i
			}
			depth++
			objects <<= 1
			if c == '{' {
				objects |= 1
			}
			i = skipSpace(s, i+1)
			if byteAt(s, i) != c+2 { // '{' + 2 is '}' and '[' + 2 is ']'
				if c == '{' {
					if i, at = skipKey(s, i); i < 0 {
						return badSyntax, at
					}
				}
				continue
			}
			depth, objects, i = depth-1, objects>>1, i+1
		} else {
			end := skipScalar(s, i)
			if end < 0 {
				return badSyntax, i
			}
			i = end
		}
		// A value has ended before i: close levels until another one starts.
		for depth > outer {
			i = skipSpace(s, i)
			c := byteAt(s, i)
			if c == ',' {
				i = skipSpace(s, i+1)
				break
			}
			if c != ']'+byte(objects&1)*('}'-']') {
				return badSyntax, i
			}
			depth, objects, i = depth-1, objects>>1, i+1
		}
		if depth == outer {
			return i, 0
		}
		if objects&1 != 0 {
			if i, at = skipKey(s, i); i < 0 {
				return badSyntax, at
			}
		}
	}
}

// skipKey skips the key at i, its colon and the space around it.
func skipKey(s string, i int) (next, at int) {
	if byteAt(s, i) != '"' {
		return badSyntax, i
	}
	end, _ := skipText(s, i+1)
	if end < 0 {
		return badSyntax, i
	}
	i = skipSpace(s, end+1)
	if byteAt(s, i) != ':' {
		return badSyntax, i
	}
	return skipSpace(s, i+1), 0
}
