package rule

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Text is a piece of a file and where it stands, for messages.
type Text struct {
	S    string
	Line int // of the first character, from 1
	Col  int // from 1, in characters
	// spots tells where each character of S stands in the file; without them they
	// follow each other on one line.
	spots []spot
}

type spot struct{ line, col int32 }

// at returns where character i of S stands; the place after the last is allowed.
func (t Text) at(i int) (line, col int) {
	switch n := len(t.spots); {
	case n == 0:
		return t.Line, t.Col + i
	case i < n:
		return int(t.spots[i].line), int(t.spots[i].col)
	default:
		return int(t.spots[n-1].line), int(t.spots[n-1].col) + 1
	}
}

// LineOf returns the line of the file in which line n (from 1) of S begins.
func (t Text) LineOf(n int) int {
	at := t.offset(n, 0)
	for i, r := range []rune(t.S) {
		if i >= at && !unicode.IsSpace(r) {
			at = i
			break
		}
	}
	line, _ := t.at(at)
	return line
}

// offset returns the number of the character at line (from 1) and column (from 0) of S.
func (t Text) offset(line, col int) int {
	i := 0
	for rest := t.S; line > 1; line-- {
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		i += utf8.RuneCountInString(rest[:end]) + 1
		rest = rest[end+1:]
	}
	return i + col
}

// part returns bytes i to j of S, without the blanks around them.
func (t Text) part(i, j int) Text {
	s := t.S[i:j]
	i += len(s) - len(strings.TrimLeftFunc(s, unicode.IsSpace))
	p := Text{S: strings.TrimSpace(s)}
	skip := utf8.RuneCountInString(t.S[:i])
	p.Line, p.Col = t.at(skip)
	if skip < len(t.spots) {
		p.spots = t.spots[skip:]
	}
	return p
}

// textOf returns the scalar v, with blanks around it cut off, and the place of each character:
// YAML folds lines, drops indents and undoes escapes, but a message must point into the file.
func textOf(v *yaml.Node, lines []string) Text {
	t := Text{S: strings.TrimSpace(v.Value), Line: v.Line, Col: v.Column}
	w := walker{lines: lines, line: v.Line, col: v.Column}
	switch {
	case v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		w.line, w.col = v.Line+1, 1
	case v.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		w.col++
	}
	w.open()
	t.spots = make([]spot, 0, len(t.S))
	for _, r := range t.S {
		width := 1
		if unicode.IsSpace(r) {
			if w.peek() != r {
				width = 0 // a line break that was folded
			}
		} else {
			w.toText(v.Style&yaml.DoubleQuotedStyle != 0)
			width = w.width(v.Style)
		}
		t.spots = append(t.spots, spot{int32(w.line), int32(w.col)})
		w.col += width
	}
	if len(t.spots) > 0 {
		t.Line, t.Col = t.at(0)
	}
	return t
}

// walker goes through the characters of a file.
type walker struct {
	lines     []string
	line, col int // from 1
	runes     []rune
}

func (w *walker) open() {
	w.runes = nil
	if w.line >= 1 && w.line <= len(w.lines) {
		w.runes = []rune(w.lines[w.line-1])
	}
}

// peek returns the character here; at the end of a line, '\n'.
func (w *walker) peek() rune {
	if w.col > len(w.runes) {
		return '\n'
	}
	return w.runes[w.col-1]
}

// toText moves on to the next character that is not blank, over line breaks and, in
// double quotes, over those that are escaped.
func (w *walker) toText(escapes bool) {
	for w.line <= len(w.lines) {
		switch r := w.peek(); {
		case r == '\n', escapes && r == '\\' && w.col == len(w.runes):
			w.line, w.col = w.line+1, 1
			w.open()
		case unicode.IsSpace(r):
			w.col++
		default:
			return
		}
	}
}

// width returns how many characters of the file the one here takes.
func (w *walker) width(style yaml.Style) int {
	r := w.peek()
	switch {
	case style&yaml.SingleQuotedStyle != 0 && r == '\'':
		return 2
	case style&yaml.DoubleQuotedStyle != 0 && r == '\\' && w.col < len(w.runes):
		switch w.runes[w.col] {
		case 'x':
			return 4
		case 'u':
			return 6
		case 'U':
			return 10
		}
		return 2
	}
	return 1
}

// printable makes a text of a stranger fit for a line of a message: control characters and
// those that turn the direction of writing become question marks.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			return '?'
		}
		return r
	}, s)
}

// clip cuts s to n bytes at a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
