package rule

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
)

// reason is a compiled template: text with {expression}, {expression | duration}, {expression | percent} or
// {expression | count noun} or {expression | bytes} in it. A count is a whole number, with its noun if there is one: "1 failed login", "32 accounts".
type reason struct {
	parts []func(f *Frame, b *strings.Builder)
}

// Text fills the template for one event.
func (r *reason) text(f *Frame) string {
	var b strings.Builder
	for _, p := range r.parts {
		p(f, &b)
	}
	return tidy(b.String())
}

// tidy closes the gaps that texts leave which are empty: what an event does not say.
func tidy(s string) string {
	gaps := [...][2]string{{"( ", "("}, {" )", ")"}, {" ()", ""}, {" ,", ","}, {" ;", ";"}}
	gap := func(g [2]string) bool { return strings.Contains(s, g[0]) }
	if !strings.Contains(s, "  ") && !slices.ContainsFunc(gaps[:], gap) {
		return s
	}
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
	for _, g := range gaps {
		s = strings.ReplaceAll(s, g[0], g[1])
	}
	return s
}

func (b *builder) reason(x *environment, t Text) *reason {
	r := &reason{}
	for at := 0; at < len(t.S); {
		i := strings.IndexByte(t.S[at:], '{')
		if i < 0 {
			i = len(t.S) - at
		}
		lit := t.S[at : at+i]
		r.parts = append(r.parts, func(_ *Frame, b *strings.Builder) { b.WriteString(lit) })
		if at += i; at == len(t.S) {
			break
		}
		n := strings.IndexByte(t.S[at:], '}')
		if n < 0 {
			x.add(t, utf8.RuneCountInString(t.S[:at]), "syntax", "a { of the reason is not closed", "write {expression}")
			break
		}
		end, format := at+n, at+n
		if bar := strings.LastIndexByte(t.S[at:end], '|'); bar > 0 && t.S[at+bar-1] != '|' {
			format = at + bar
		}
		if p := b.placeholder(x, t.part(at+1, format), t.part(min(format+1, end), end)); p != nil {
			r.parts = append(r.parts, p)
		}
		at = end + 1
	}
	return r
}

func (b *builder) placeholder(x *environment, t, format Text) func(*Frame, *strings.Builder) {
	tree := x.checked(t, cel.DoubleType, cel.StringType)
	if tree == nil {
		return nil
	}
	c := &compiler{b: b, x: x, text: t, tree: tree}
	write := number
	switch word, noun, _ := strings.Cut(format.S, " "); {
	case format.S == "":
	case format.S == "duration":
		write = duration
	case format.S == "percent":
		write = func(v float64) string { return number(v*100) + " %" }
	case format.S == "bytes":
		write = bytesOf
	case word == "count":
		write = counted(noun)
	default:
		x.add(format, 0, "syntax", fmt.Sprintf("unknown format %.16q", format.S), "duration, percent, bytes, count or count NOUN")
	}
	if tree.GetType(tree.Expr().ID()).IsExactType(cel.StringType) {
		if format.S != "" {
			x.add(format, 0, "type", "a text has no format", "")
		}
		s := c.str(tree.Expr())
		return func(f *Frame, b *strings.Builder) { b.WriteString(shown(s(f))) }
	}
	n := c.num(tree.Expr())
	return func(f *Frame, b *strings.Builder) { b.WriteString(write(n(f))) }
}

// shown makes a text of a stranger fit for a sentence.
func shown(s string) string { return printable(strings.ToValidUTF8(clip(s, 117), "?")) }

// counted writes how many of something there are; what is counted in little memory is an estimate with a fraction.
func counted(noun string) func(float64) string {
	one, many := "", ""
	if noun != "" {
		one, many = " "+noun, " "+plural(noun)
	}
	return func(v float64) string {
		if v = math.Round(v); v == 1 {
			return "1" + one
		}
		return number(v) + many
	}
}

// plural is that of an English noun, the last word of a phrase.
func plural(noun string) string {
	switch stem, y := strings.CutSuffix(noun, "y"); {
	case strings.HasSuffix(noun, "person"):
		return strings.TrimSuffix(noun, "person") + "people"
	case y && !strings.HasSuffix(stem, "a") && !strings.HasSuffix(stem, "e") && !strings.HasSuffix(stem, "o"):
		return stem + "ies"
	case strings.HasSuffix(noun, "s") || strings.HasSuffix(noun, "x") || strings.HasSuffix(noun, "ch") || strings.HasSuffix(noun, "sh"):
		return noun + "es"
	}
	return noun + "s"
}

func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e15:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case a >= 10 || v == math.Trunc(v):
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// bytesOf writes a size: 640 B, 58 kB, 61 MB.
func bytesOf(v float64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1e12, " TB"}, {1e9, " GB"}, {1e6, " MB"}, {1e3, " kB"}} {
		if v >= u.of {
			return number(v/u.of) + u.name
		}
	}
	return number(v) + " B"
}

// duration writes seconds as people say them: 40 s, 12 min, 5 h, 31 d.
func duration(s float64) string {
	switch {
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 7200:
		return fmt.Sprintf("%.0f min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%.0f h", s/3600)
	}
	return number(math.Round(s/86400)) + " d"
}
