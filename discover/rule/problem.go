package rule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a detector file.
type Problem struct {
	File   string `json:"file"`
	Row    string `json:"row,omitempty"` // of a family: the id of its detector, else its number
	Line   int    `json:"line"`          // from 1; 0 = the whole file
	Column int    `json:"column"`        // from 1, in characters
	Code   string `json:"code"`          // yaml, field, value, syntax, type, unknown, cost, duplicate, test
	What   string `json:"message"`
	Hint   string `json:"hint,omitempty"`
	Source string `json:"-"` // the line of the file
}

// Error returns "file:line:column: what", and of a family "row …: " before what.
func (p *Problem) Error() string {
	what := p.What
	if p.Row != "" {
		what = "row " + p.Row + ": " + what
	}
	switch {
	case p.File == "":
		return what
	case p.Line == 0:
		return fmt.Sprintf("%s: %s", p.File, what)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, what)
}

// Display returns Error, the line with a caret under the column, and the hint. Of a long
// line it shows the piece around the column.
func (p *Problem) Display() string {
	var b strings.Builder
	b.WriteString(p.Error())
	if line := []rune(p.Source); p.Column > 0 && p.Column <= len(line)+1 && strings.TrimSpace(p.Source) != "" {
		const before, after = 80, 40
		from, to := 0, len(line)
		if to > before+after {
			from = max(0, p.Column-1-before)
			to = min(to, from+before+after)
		}
		shown := printable(strings.ReplaceAll(string(line[from:to]), "\t", " "))
		fmt.Fprintf(&b, "\n  | %s\n  | %s^", strings.TrimRight(shown, " ?"), strings.Repeat(" ", p.Column-1-from))
	}
	if p.Hint != "" {
		b.WriteString("\n  hint: " + p.Hint)
	}
	return b.String()
}

// Problems is what is wrong with one or more files; it is an error when not empty.
type Problems []*Problem

// Error returns the first problem and how many more there are.
func (p Problems) Error() string {
	switch len(p) {
	case 0:
		return "no problems"
	case 1:
		return p[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", p[0].Error(), len(p)-1)
}

// Err returns p as an error, or nil if it is empty.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// sort orders p by place, tells once what is wrong in several rows of a family, and cuts p
// to [MaxProblems].
func (p Problems) sort() Problems {
	slices.SortStableFunc(p, func(a, b *Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	p = p.once()
	return p[:min(len(p), MaxProblems)]
}

// once leaves out what was said of another row at the same place; the first says of how many it holds.
func (p Problems) once() Problems {
	type same struct {
		file, code, what string
		line, column     int
	}
	type told struct {
		*Problem
		rows int
	}
	first := map[same]*told{}
	out := p[:0]
	for _, x := range p {
		key := same{x.File, x.Code, x.What, x.Line, x.Column}
		t := first[key]
		if x.Row == "" || t == nil {
			if x.Row != "" {
				first[key] = &told{Problem: x}
			}
			out = append(out, x)
			continue
		}
		t.rows++
	}
	for _, t := range first {
		if t.rows > 0 {
			t.Row = fmt.Sprintf("%s and %d more", t.Row, t.rows)
		}
	}
	return out
}

// nearest returns the word closest to s by edit distance, if it is close; of several the first.
func nearest(s string, words []string) string {
	if len(s) > 64 {
		return ""
	}
	best, at := len(s)/3+2, ""
	for _, w := range words {
		if d := distance(s, w); d < best || d == best && w < at {
			best, at = d, w
		}
	}
	return at
}

// didYouMean returns a hint that names the nearest word, or all of them if none is near.
func didYouMean(s string, words []string) string {
	if w := nearest(s, words); w != "" {
		return fmt.Sprintf("did you mean %q?", w)
	}
	words = slices.Sorted(slices.Values(words))
	if len(words) > 30 {
		return ""
	}
	return "known here: " + strings.Join(words, ", ")
}

func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
