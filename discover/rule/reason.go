package rule

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
)

// reason is a compiled template: text with {expression}, {expression | duration} or
// {expression | percent} in it.
type reason struct {
	parts []func(f *Frame, b *strings.Builder)
}

// Text fills the template for one event.
func (r *reason) text(f *Frame) string {
	var b strings.Builder
	for _, p := range r.parts {
		p(f, &b)
	}
	return b.String()
}

func (b *builder) reason(x *environment, t Text) (*reason, []int) {
	r := &reason{}
	var uses []int
	rest, col := t.S, t.Col
	for rest != "" {
		i := strings.IndexByte(rest, '{')
		if i < 0 {
			i = len(rest)
		}
		lit := rest[:i]
		r.parts = append(r.parts, func(_ *Frame, b *strings.Builder) { b.WriteString(lit) })
		if i == len(rest) {
			break
		}
		end := strings.IndexByte(rest, '}')
		if end < i {
			x.add(t, 1, col-t.Col+i, "syntax", "a { of the reason is not closed", "write {expression}")
			break
		}
		src, format, _ := strings.Cut(rest[i+1:end], "|")
		part := Text{S: strings.TrimSpace(src), Line: t.Line, Col: col + i + 1, Step: t.Step}
		p, u := b.placeholder(x, part, strings.TrimSpace(format))
		if p != nil {
			r.parts = append(r.parts, p)
		}
		uses = append(uses, u...)
		rest, col = rest[end+1:], col+end+1
	}
	return r, uses
}

func (b *builder) placeholder(x *environment, t Text, format string) (func(*Frame, *strings.Builder), []int) {
	tree := x.checked(t, cel.DoubleType, cel.StringType)
	if tree == nil {
		return nil, nil
	}
	c := &compiler{b: b, x: x, text: t, tree: tree}
	if tree.GetType(tree.Expr().ID()).IsExactType(cel.StringType) {
		s := c.str(tree.Expr())
		return func(f *Frame, b *strings.Builder) { b.WriteString(shown(s(f))) }, c.uses
	}
	n := c.num(tree.Expr())
	write := func(v float64) string { return number(v) }
	switch format {
	case "":
	case "duration":
		write = duration
	case "percent":
		write = func(v float64) string { return number(v*100) + " %" }
	default:
		x.add(t, 1, 0, "syntax", fmt.Sprintf("unknown format %.16q", format), "duration or percent")
	}
	return func(f *Frame, b *strings.Builder) { b.WriteString(write(n(f))) }, c.uses
}

// shown makes a text of a stranger fit for a sentence: short and without control characters.
func shown(s string) string {
	if len(s) > 120 {
		s = s[:117] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xFFFD {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// duration writes seconds as people say them: 40 s, 12 min, 5 h, 31 d.
func duration(s float64) string {
	switch d := time.Duration(s * float64(time.Second)); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f d", s/86400)
}
