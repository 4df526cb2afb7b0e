package ingest

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

// scrub returns s with every phone number replaced by [phone:xxxxxxxx] and every
// e-mail address by [email:xxxxxxxx], where x is a keyed hash: the same person stays
// recognisable, and nobody can be called. In a URL, %40 and %2B count as @ and +.
// The result is cut to what field f may hold.
//
// Phone numbers are Chinese mobile numbers (1[3-9] and nine digits, alone, with
// 86, 0086 or +86, or grouped 3-4-4) and international ones with a +.
func (n *Normaliser) scrub(s string, url bool, f moat.FieldID) string {
	if !mayHold(s) {
		return s
	}
	w := scrubber{n: n, s: s, url: url, start: len(n.arena)}
	w.text(0, len(s))
	return cutText(w.end(), moat.Fields[f].Max)
}

// extra scrubs the strings and numbers of a JSON object, so that it stays one.
func (n *Normaliser) extra(e *moat.Event) {
	s := e.Extra
	if !mayHold(s) && !strings.Contains(s, `\u00`) {
		return
	}
	if strings.Contains(s, `\u00`) {
		start := len(n.arena)
		n.arena = appendPlain(n.arena, s)
		s = n.since(start)
	}
	w := scrubber{n: n, s: s, start: len(n.arena)}
	w.json()
	if e.Extra = w.end(); len(e.Extra) > moat.Fields[moat.FieldExtra].Max {
		e.Extra = `{"cut":"extra was too long once scrubbed"}`
	}
}

// mayHold is a quick look for what a phone number or an e-mail address cannot do
// without: an @, a +, or a group of four digits, of which one is at every fourth byte.
func mayHold(s string) bool {
	if strings.IndexByte(s, '@') >= 0 || strings.IndexByte(s, '+') >= 0 || strings.IndexByte(s, '%') >= 0 {
		return true
	}
	for i := 3; i < len(s); i += 4 {
		if isDigit(s[i]) && digitsAround(s, i) >= 4 {
			return true
		}
	}
	return false
}

// digitsAround returns the length of the run of digits that s[i] is in, up to 4.
func digitsAround(s string, i int) int {
	from, to := i, i+1
	for from > 0 && to-from < 4 && isDigit(s[from-1]) {
		from--
	}
	for to < len(s) && to-from < 4 && isDigit(s[to]) {
		to++
	}
	return to - from
}

// scrubber copies s to the arena of n, from the first thing that it replaces.
type scrubber struct {
	n     *Normaliser
	s     string
	url   bool
	start int // of the copy in the arena
	done  int // bytes of s that are copied or replaced
}

func (w *scrubber) end() string {
	if w.done == 0 {
		return w.s
	}
	w.n.arena = append(w.n.arena, w.s[w.done:]...)
	return w.n.since(w.start)
}

// replace puts the hash of canon in the place of s[from:to].
func (w *scrubber) replace(from, to int, kind string, canon []byte) {
	n := w.n
	n.hash(canon)
	n.arena = append(n.arena, w.s[w.done:from]...)
	n.arena = append(n.arena, '[')
	n.arena = append(n.arena, kind...)
	n.arena = append(n.arena, ':')
	n.arena = hex.AppendEncode(n.arena, n.sum[:4])
	n.arena = append(n.arena, ']')
	w.done = to
}

// text replaces what it finds in s[from:to].
func (w *scrubber) text(from, to int) {
	for i := from; i < to; {
		c := w.s[i]
		at, plus := 0, 0 // bytes that stand for @ and +
		switch {
		case c == '@':
			at = 1
		case c == '+':
			plus = 1
		case c == '%' && w.url && i+2 < to && w.s[i+1] == '4' && w.s[i+2] == '0':
			at = 3
		case c == '%' && w.url && i+2 < to && w.s[i+1] == '2' && w.s[i+2]|0x20 == 'b':
			plus = 3
		}
		next := 0
		switch {
		case at > 0:
			next = w.email(max(from, w.done), i, at, to)
		case plus > 0:
			next = w.international(i, plus, to)
		case isDigit(c):
			if next = w.mobile(i, to); next == 0 {
				for next = i; next < to && isDigit(w.s[next]); next++ {
				}
			}
		}
		i = max(next, i+1)
	}
}

// international replaces a + with 8 to 15 digits, in groups or not, at i, and returns where it ends, or 0.
func (w *scrubber) international(i, plus, to int) int {
	canon := append(w.n.canon[:0], '+')
	end, gap := 0, 0
	for j := i + plus; j < to && len(canon) <= 16; j++ {
		switch c := w.s[j]; {
		case isDigit(c):
			canon = append(canon, c)
			end, gap = j+1, 0
			continue
		case (c == ' ' || c == '-' || c == '.' || c == '(' || c == ')') && gap < 2:
			gap++
			continue
		}
		break
	}
	if end == 0 || len(canon) < 1+8 || len(canon) > 1+15 {
		return 0
	}
	w.replace(i, end, "phone", canon)
	return end
}

// mobile replaces a Chinese mobile number that starts at i, and returns where it ends, or 0.
func (w *scrubber) mobile(i, to int) int {
	s := w.s[:to]
	end := i
	for end < to && isDigit(s[end]) {
		end++
	}
	digits := s[i:end]
	switch len(digits) {
	case 13:
		digits = strings.TrimPrefix(digits, "86")
	case 15:
		digits = strings.TrimPrefix(digits, "0086")
	case 3: // 138-0013-8000
		if end+10 > to || s[end] != '-' && s[end] != ' ' || s[end+5] != s[end] || !allDigits(s[end+1:end+5]) || !allDigits(s[end+6:end+10]) ||
			end+10 < to && isDigit(s[end+10]) {
			return 0
		}
		canon := append(append(append(append(w.n.canon[:0], "+86"...), digits...), s[end+1:end+5]...), s[end+6:end+10]...)
		if digits[0] != '1' || digits[1] < '3' {
			return 0
		}
		w.replace(i, end+10, "phone", canon)
		return end + 10
	}
	if len(digits) != 11 || digits[0] != '1' || digits[1] < '3' {
		return 0
	}
	w.replace(i, end, "phone", append(append(w.n.canon[:0], "+86"...), digits...))
	return end
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// email replaces the address around the @ at s[i:i+at], within s[from:to], and
// returns where it ends, or 0.
func (w *scrubber) email(from, i, at, to int) int {
	const maxLocal, maxDomain = 64, 253
	if i == from || i+at >= to {
		return 0
	}
	s := w.s
	// Chinese around an address is not part of it, unless it touches the @.
	wide := s[i-1] >= 0x80
	start := i
	for start > from && i-start < maxLocal && (isLocal(s[start-1], w.url) || wide && s[start-1] >= 0x80) {
		start--
	}
	end, label, dot := i+at, 0, 0
	wide = s[end] >= 0x80
	for ; end < to && end-i < maxDomain; end++ {
		if c := s[end]; c == '.' && label > 0 {
			label, dot = 0, end
		} else if isLetter(c) || isDigit(c) || c == '-' || wide && c >= 0x80 {
			label++
		} else {
			break
		}
	}
	if label == 0 && dot > 0 { // the full stop of a sentence
		end = dot
		dot = strings.LastIndexByte(s[i+at:end], '.') + i + at
		if dot < i+at {
			dot = 0
		}
	}
	if start == i || dot == 0 || end-dot < 3 || isDigit(s[dot+1]) {
		return 0
	}
	canon := append(w.n.canon[:0], s[start:i]...)
	canon = append(canon, '@')
	canon = append(canon, s[i+at:end]...)
	for k, c := range canon {
		if c >= 'A' && c <= 'Z' {
			canon[k] = c | 0x20
		}
	}
	w.replace(start, end, "email", canon)
	return end
}

// isLocal tells whether c is usual in the part of an address before the @. In a URL, = and & and / end it.
func isLocal(c byte, url bool) bool {
	return isLetter(c) || isDigit(c) || c == '.' || c == '_' || c == '-' || c == '+' || c == '%' && !url || c == '\'' && !url
}

// json replaces what it finds in the strings of the JSON text s, and a number
// that is a phone number by a string. Escapes separate pieces of text.
func (w *scrubber) json() {
	s := w.s
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"':
			i++
			for from := i; i < len(s); {
				if s[i] != '"' && s[i] != '\\' {
					i++
					continue
				}
				w.text(from, i)
				if s[i] == '"' {
					i++
					break
				}
				i = min(i+escapeLen(s[i:]), len(s))
				from = i
			}
		case isDigit(c):
			end := i
			for end < len(s) && s[end] != ',' && s[end] != '}' && s[end] != ']' && s[end] > ' ' {
				end++
			}
			if allDigits(s[i:end]) && (i == 0 || s[i-1] != '-') {
				w.number(i, end)
			}
			i = end
		default:
			i++
		}
	}
}

// number replaces the JSON number s[i:end] by a string if it is a phone number.
func (w *scrubber) number(i, end int) {
	before := len(w.n.arena)
	from := w.done
	if w.mobile(i, end) == 0 {
		return
	}
	// Again, with quotes around it.
	token := w.n.arena[len(w.n.arena)-len("[phone:xxxxxxxx]"):]
	var keep [len("[phone:xxxxxxxx]")]byte
	copy(keep[:], token)
	w.n.arena = append(w.n.arena[:before], w.s[from:i]...)
	w.n.arena = append(w.n.arena, '"')
	w.n.arena = append(w.n.arena, keep[:]...)
	w.n.arena = append(w.n.arena, '"')
}

// escapeLen returns the bytes of the JSON escape at the start of s.
func escapeLen(s string) int {
	if len(s) > 1 && s[1] == 'u' {
		return 6
	}
	return 2
}

// appendPlain appends the JSON text s with escapes of plain characters (\u002b, \u0040, …)
// written as themselves, so that nothing hides behind them.
func appendPlain(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			i++
			continue
		}
		n := min(escapeLen(s[i:]), len(s)-i)
		var c [1]byte
		if n == 6 && s[i+2:i+4] == "00" {
			if _, err := hex.Decode(c[:], []byte(s[i+4:i+6])); err == nil && c[0] >= ' ' && c[0] < 0x7f && c[0] != '"' && c[0] != '\\' {
				dst = append(dst, c[0])
				i += n
				continue
			}
		}
		dst = append(dst, s[i:i+n]...)
		i += n
	}
	return dst
}

// cutText cuts s to at most n bytes, at a whole character.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
