package ingest

import (
	"strings"

	"github.com/moat-platform/moat"
)

// appendTemplate appends the SQL statement s without its literals: strings,
// numbers and placeholders become ?, lists of them one ?, comments go, words are
// lower-case and spaces uniform, so that statements which differ in values
// only become the same.
//
// It does not know whose SQL it reads. Where two dialects disagree on where a
// string ends (a backslash before a quote), it stops and writes … in the place of the rest:
// to lose the end of a template is better than to keep a name.
func appendTemplate(dst []byte, s string) []byte {
	t := template{s: s, dst: dst, start: len(dst)}
	most := len(dst) + moat.Fields[moat.FieldTemplate].Max - len(" …")
	for t.i < len(t.s) && len(t.dst) < most {
		if !t.next() {
			return append(t.dst, " …"...)
		}
	}
	if t.i == len(t.s) && len(t.dst) <= most {
		return t.dst
	}
	t.dst = t.dst[:min(len(t.dst), most)]
	for n := len(t.dst); n > t.start && t.dst[n-1] >= 0x80; n-- { // not half a character
		t.dst = t.dst[:n-1]
	}
	return append(t.dst, " …"...)
}

// token says what was written last, as far as spaces and lists depend on it.
type token uint8

const (
	tokNone token = iota
	tokName
	tokKeyword // a space goes between it and a parenthesis
	tokFrom    // a keyword that a table follows
	tokLiteral
	tokOpen
	tokClose
	tokComma
	tokDot
	tokOther
)

type template struct {
	s     string
	i     int // next byte of s
	dst   []byte
	start int // of the template in dst

	last, before token
	comma        int    // where the last comma was written
	calls        uint64 // bit n: the parenthesis at depth n is a function's
	depth        int
}

// next reads one token, and tells whether it could.
func (t *template) next() bool {
	s, i := t.s, t.i
	switch c := s[i]; {
	case c <= ' ' || c == 0x7f:
		t.i++
	case c == '#' || c == '-' && strings.HasPrefix(s[i:], "--"):
		if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
			t.i += n + 1
		} else {
			t.i = len(s)
		}
	case c == '/' && strings.HasPrefix(s[i:], "/*"):
		t.comment()
	case c == '*' && strings.HasPrefix(s[i:], "*/"): // the end of a /*! hint */
		t.i += 2
	case c == '\'':
		return t.quoted('\'')
	case c == '"':
		return t.doubleQuoted()
	case c == '`':
		return t.backticked()
	case c == '$':
		return t.dollar()
	case isDigit(c) || c == '.' && i+1 < len(s) && isDigit(s[i+1]) && t.last != tokName:
		t.number()
	case c == '?':
		t.i++
		t.literal()
	case c == ':' && i+1 < len(s) && isWord(s[i+1]): // :name
		t.i++
		t.skipWord()
		t.literal()
	case isWord(c):
		return t.wordAt()
	default:
		t.punctuation(c)
	}
	return true
}

func isWord(c byte) bool {
	return isLetter(c) || isDigit(c) || c == '_' || c == '@' || c == '$' || c >= 0x80
}

func (t *template) skipWord() {
	for t.i < len(t.s) && isWord(t.s[t.i]) {
		t.i++
	}
}

// comment skips a comment, nested ones too. What a MySQL hint (/*!50000 … */) holds is executed, so it is read.
func (t *template) comment() {
	if strings.HasPrefix(t.s[t.i:], "/*!") {
		for t.i += 3; t.i < len(t.s) && isDigit(t.s[t.i]); t.i++ {
		}
		return
	}
	depth := 0
	for t.i < len(t.s) {
		switch {
		case strings.HasPrefix(t.s[t.i:], "/*"):
			depth++
			t.i += 2
		case strings.HasPrefix(t.s[t.i:], "*/"):
			t.i += 2
			if depth--; depth == 0 {
				return
			}
		default:
			t.i++
		}
	}
}

// endOfQuoted returns where the text in quotes at s[i] ends, quotes included,
// and whether all dialects agree. A text without an end goes to the end of s.
func endOfQuoted(s string, i int) (end int, sure bool) {
	q := s[i]
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			if j+1 < len(s) && s[j+1] == q {
				return 0, false
			}
			j++
		case q:
			if j+1 == len(s) || s[j+1] != q {
				return j + 1, true
			}
			j++
		}
	}
	return len(s), true
}

// quoted reads a string.
func (t *template) quoted(byte) bool {
	end, sure := endOfQuoted(t.s, t.i)
	t.literal()
	t.i = end
	return sure
}

// doubleQuoted reads "…": a string in MySQL, a name in the standard. It counts
// as a name only where MySQL would not allow a string.
func (t *template) doubleQuoted() bool {
	end, sure := endOfQuoted(t.s, t.i)
	if !sure {
		t.literal()
		return false
	}
	text := strings.TrimSuffix(t.s[t.i+1:end], `"`)
	rest := t.s[end:]
	qualified := t.last == tokDot && t.before == tokName
	qualifies := len(rest) > 1 && rest[0] == '.' && (isLetter(rest[1]) || rest[1] == '"' || rest[1] == '*' || rest[1] == '_')
	table := t.last == tokFrom && t.calls>>min(t.depth, 63)&1 == 0 && t.depth < 64
	t.i = end
	if isName128(text) && (qualified || qualifies || table) {
		t.name(text)
	} else {
		t.literal()
	}
	return true
}

// backticked reads a name in backticks.
func (t *template) backticked() bool {
	end, sure := endOfQuoted(t.s, t.i)
	if !sure {
		t.literal()
		return false
	}
	text := strings.TrimSuffix(t.s[t.i+1:end], "`")
	t.i = end
	if isName128(text) {
		t.name(text)
	} else {
		t.literal()
	}
	return true
}

// isName128 tells whether s is a plain name of at most 128 bytes.
func isName128(s string) bool {
	for i := range len(s) {
		if !isWord(s[i]) && s[i] != '-' || i == 0 && isDigit(s[i]) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// dollar reads $1, a PostgreSQL string ($tag$ … $tag$) or a word that starts with a dollar.
func (t *template) dollar() bool {
	s := t.s[t.i:]
	n := 1
	for n < len(s) && isWord(s[n]) && s[n] != '$' {
		n++
	}
	if n == len(s) || s[n] != '$' {
		t.skipWord()
		t.literal()
		return true
	}
	tag := s[:n+1]
	t.literal()
	end := strings.Index(s[len(tag):], tag)
	if end < 0 {
		t.i = len(t.s)
		return true
	}
	t.i += 2*len(tag) + end
	return !strings.ContainsAny(s[len(tag):len(tag)+end], "'\"`")
}

// number reads a number, and all letters that hang on it.
func (t *template) number() {
	for t.i < len(t.s) {
		c := t.s[t.i]
		if isWord(c) || c == '.' || (c == '+' || c == '-') && t.s[t.i-1]|0x20 == 'e' && t.i+1 < len(t.s) && isDigit(t.s[t.i+1]) {
			t.i++
			continue
		}
		break
	}
	t.literal()
}

// wordAt reads a word, or the prefix of a string: N'…', x'…', _utf8'…', q'[…]'.
func (t *template) wordAt() bool {
	from := t.i
	t.skipWord()
	w := t.s[from:t.i]
	if t.i < len(t.s) && t.s[t.i] == '&' && (w == "u" || w == "U") && strings.HasPrefix(t.s[t.i:], "&'") {
		t.i++
		return t.quoted('\'')
	}
	if t.i == len(t.s) || t.s[t.i] != '\'' {
		t.word(w)
		return true
	}
	switch {
	case len(w) == 1 && strings.ContainsAny(w, "nNeExXbBrR"), w[0] == '_':
		return t.quoted('\'')
	case strings.EqualFold(w, "q") || strings.EqualFold(w, "nq"):
		return t.oracle()
	}
	t.word(w)
	return true
}

// oracle reads the '[…]' of q'[…]'.
func (t *template) oracle() bool {
	t.literal()
	s := t.s[t.i:]
	if len(s) < 2 || s[1] >= 0x80 {
		return false
	}
	end := string(s[1]) + "'"
	if i := strings.IndexByte("[{(<", s[1]); i >= 0 {
		end = "]})>"[i:i+1] + "'"
	}
	n := strings.Index(s[2:], end)
	if n < 0 || strings.IndexByte(s[2:2+n], '\'') >= 0 { // another dialect would end it there
		return false
	}
	t.i += 2 + n + len(end)
	return true
}

// punctuation reads one mark, or one operator of several.
func (t *template) punctuation(c byte) {
	switch c {
	case '(':
		call := t.last == tokName
		t.space(tokOpen)
		t.put("(", tokOpen)
		t.depth++
		if t.depth < 64 {
			t.calls &^= 1 << t.depth
			if call {
				t.calls |= 1 << t.depth
			}
		}
		t.i++
	case ')':
		t.put(")", tokClose)
		t.depth = max(0, t.depth-1)
		t.i++
		t.mergeRows()
	case ',':
		t.comma = len(t.dst)
		t.put(",", tokComma)
		t.i++
	case '.':
		t.put(".", tokDot)
		t.i++
	case ';':
		t.put(";", tokOther)
		t.i++
	default:
		t.operator()
	}
}

const operatorBytes = "<>=!|&^~*%/+-:\\"

// operator reads an operator. The sign of a number belongs to the number.
func (t *template) operator() {
	from := t.i
	for t.i < len(t.s) && strings.IndexByte(operatorBytes, t.s[t.i]) >= 0 {
		rest := t.s[t.i:]
		if strings.HasPrefix(rest, "--") || strings.HasPrefix(rest, "/*") || strings.HasPrefix(rest, "*/") {
			break
		}
		if (rest[0] == '-' || rest[0] == '+') && len(rest) > 1 && (isDigit(rest[1]) || rest[1] == '.') {
			break
		}
		if rest[0] == ':' && len(rest) > 1 && isWord(rest[1]) && (t.i == from || t.s[t.i-1] != ':') {
			break
		}
		t.i++
	}
	op := t.s[from:t.i]
	if op == "" { // a sign, or a mark that means nothing to us
		c := t.s[t.i]
		t.i++
		if sign := c == '-' || c == '+'; sign && t.last != tokName && t.last != tokLiteral && t.last != tokClose {
			return
		}
		op = t.s[from:t.i]
	}
	t.space(tokOther)
	t.put(op, tokOther)
}

// word writes a name or a keyword.
func (t *template) word(w string) {
	kind := tokName
	if t.last != tokDot {
		kind = keywordOf(w)
	}
	t.space(kind)
	at := len(t.dst)
	t.put(w, kind)
	lower(t.dst[at:])
}

// name writes a name that stood in quotes.
func (t *template) name(w string) {
	t.space(tokName)
	at := len(t.dst)
	t.put(w, tokName)
	lower(t.dst[at:])
	for i := at; i < len(t.dst); i++ {
		if t.dst[i] == '-' { // without quotes it would be a minus
			t.dst[i] = '_'
		}
	}
}

func lower(b []byte) {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
}

// literal writes ?, unless it goes on a list of literals.
func (t *template) literal() {
	switch {
	case t.last == tokLiteral:
	case t.last == tokComma && t.before == tokLiteral:
		t.dst = t.dst[:t.comma]
		t.last = tokLiteral
	default:
		t.space(tokLiteral)
		t.put("?", tokLiteral)
	}
}

// mergeRows makes (?), (?) one.
func (t *template) mergeRows() {
	const two, one = "(?), (?)", "(?)"
	if b := t.dst[t.start:]; len(b) >= len(two) && string(b[len(b)-len(two):]) == two {
		t.dst = t.dst[:len(t.dst)-len(two)+len(one)]
	}
}

// space writes the space that goes before a token of that kind.
func (t *template) space(next token) {
	switch {
	case t.last == tokNone, t.last == tokOpen, t.last == tokDot:
	case next == tokOpen && t.last == tokName:
	default:
		t.dst = append(t.dst, ' ')
	}
}

func (t *template) put(s string, kind token) {
	t.dst = append(t.dst, s...)
	t.before, t.last = t.last, kind
}

// keywordOf tells keywords that a parenthesis may follow from names of functions.
func keywordOf(w string) token {
	if len(w) > len("intersect") {
		return tokName
	}
	var b [len("intersect")]byte
	n := copy(b[:], w)
	lower(b[:n])
	switch string(b[:n]) {
	case "from", "join", "into", "update", "table":
		return tokFrom
	case "in", "values", "value", "and", "or", "not", "where", "on", "select", "exists", "as", "any", "all", "some", "over", "set", "union", "by", "when",
		"then", "else", "case", "using", "having", "limit", "between", "like", "with", "except", "intersect", "returning", "distinct", "is", "end":
		return tokKeyword
	}
	return tokName
}
