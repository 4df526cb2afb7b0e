package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"
	"golang.org/x/term"

	"github.com/moat-platform/moat"
)

// style is how a word looks on a terminal.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "1;31"
	yellow style = "33"
	green  style = "32"
)

// screen is text output: as wide as the terminal, in colour only on one, and without a limit
// elsewhere, so that what is piped on is whole.
type screen struct {
	w      io.Writer
	width  int // 0 = no limit
	colour bool
}

func newScreen(f *os.File) *screen {
	s := &screen{w: f}
	if terminal(f) {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			s.width = max(w, 40)
		}
		s.colour = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return s
}

// paint puts colour around text, if this screen has any.
func (s *screen) paint(st style, text string) string {
	if !s.colour || st == plain || text == "" {
		return text
	}
	return "\x1b[" + string(st) + "m" + text + "\x1b[0m"
}

// line prints words in a line.
func (s *screen) line(words ...string) { fmt.Fprintln(s.w, strings.Join(words, " ")) }

func (s *screen) linef(format string, args ...any) { fmt.Fprintf(s.w, format+"\n", args...) }

// wrap prints text in lines of the screen's width, the first after a label and the others below it.
func (s *screen) wrap(label, text string) {
	indent := uniseg.StringWidth(label)
	for n, l := range fold(clean(text), max(s.width, 100)-indent) {
		if n > 0 {
			label = strings.Repeat(" ", indent)
		}
		s.line(strings.TrimRight(label+l, " "))
	}
}

// fold breaks text into lines of at most width columns where there are spaces.
func fold(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && uniseg.StringWidth(line)+1+uniseg.StringWidth(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// clean makes text that others wrote safe to show: control characters, with which a log line
// could move the cursor or hide itself, become visible, and so does what has no width, with which one
// name looks like another.
func clean(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || !hidden(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return b.String()
}

func hidden(r rune) bool {
	if r <= unicode.MaxASCII {
		return unicode.IsControl(r)
	}
	return r == unicode.ReplacementChar || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// table is rows under a header, aligned.
type table struct {
	header []string
	right  string // a letter for each column that stands to the right: "r", else " "
	rows   [][]cell
}

type cell struct {
	text  string
	style style
}

func newTable(right string, header ...string) *table { return &table{header: header, right: right} }

// row adds a row of texts and cells.
func (t *table) row(values ...any) {
	r := make([]cell, len(values))
	for i, v := range values {
		if c, ok := v.(cell); ok {
			r[i] = c
		} else {
			r[i].text = fmt.Sprint(v)
		}
		r[i].text = strings.ReplaceAll(clean(r[i].text), "\n", " ")
	}
	t.rows = append(t.rows, r)
}

// minLast is how narrow the last column may become.
const minLast = 20

// print shows the table. The last column is cut where the screen ends.
func (t *table) print(s *screen) {
	n := len(t.header)
	widths := make([]int, n)
	head := make([]cell, n)
	for i, h := range t.header {
		head[i] = cell{strings.ToUpper(h), dim}
	}
	rows := append([][]cell{head}, t.rows...)
	used := 0
	for i := range widths {
		for _, r := range rows {
			widths[i] = max(widths[i], uniseg.StringWidth(r[i].text))
		}
		if i < n-1 {
			used += widths[i] + 2
		}
	}
	if s.width > 0 {
		widths[n-1] = min(widths[n-1], max(minLast, s.width-used))
	}
	for _, r := range rows {
		var b strings.Builder
		for i, c := range r {
			text := shorten(c.text, widths[i])
			pad := strings.Repeat(" ", widths[i]-uniseg.StringWidth(text))
			switch {
			case i < len(t.right) && t.right[i] == 'r':
				b.WriteString(pad + s.paint(c.style, text))
			case i == n-1:
				b.WriteString(s.paint(c.style, text))
			default:
				b.WriteString(s.paint(c.style, text) + pad)
			}
			if i < n-1 {
				b.WriteString("  ")
			}
		}
		s.line(strings.TrimRight(b.String(), " "))
	}
}

// shorten cuts text to a number of columns.
func shorten(text string, width int) string {
	if uniseg.StringWidth(text) <= width {
		return text
	}
	var b strings.Builder
	left := width - 1
	g := uniseg.NewGraphemes(text)
	for g.Next() {
		if left -= g.Width(); left < 0 {
			break
		}
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

// number writes 1234567 as 1,234,567.
func number[T ~int | ~int64 | ~uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// many writes a number with its noun: "1 case", "2 cases".
func many[T ~int | ~int64 | ~uint64](n T, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "y") && !strings.ContainsAny(noun[max(0, len(noun)-2):], "aeou"): // not days and keys
		noun = strings.TrimSuffix(noun, "y") + "ies"
	case strings.HasSuffix(noun, "s"):
		noun += "es"
	default:
		noun += "s"
	}
	return number(n) + " " + noun
}

// instant writes a time to the second, in UTC.
func instant(t moat.Time) string {
	if t == 0 {
		return "-"
	}
	return t.Std().Format(time.DateTime)
}

// rank is a case's rank in its colour.
func rankCell(r moat.Rank) cell {
	switch r {
	case moat.P1:
		return cell{r.String(), red}
	case moat.P2:
		return cell{r.String(), yellow}
	}
	return cell{r.String(), plain}
}
