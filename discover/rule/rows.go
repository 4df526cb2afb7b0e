package rule

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A family is one file that makes several detectors alike: `each` is a list of rows, and every row
// makes the detector that the rest of the file describes, with ${name} replaced in every text by what the row
// says. A name of a row that is a field of a detector, such as id or title, is that field.

// MaxRows bounds the rows of a family.
const MaxRows = 32

// mark is a place where the text of a row goes in.
var mark = regexp.MustCompile(`\$\{([a-z][a-z0-9_]*)\}`)

// row is one line of `each`: names, and the texts or lists of texts that they stand for.
type row struct {
	node  *yaml.Node
	keys  []*yaml.Node
	value map[string]*yaml.Node
	used  map[string]bool
	size  int // bytes of the texts that it made
}

// detectors reads a file: one detector, or one for every row of `each`.
func (p *parser) detectors(n *yaml.Node) []*Detector {
	at := slices.IndexFunc(n.Content, func(c *yaml.Node) bool { return c.Value == "each" })
	if at < 0 || at%2 != 0 {
		return []*Detector{p.detector(n)}
	}
	rest := *n
	rest.Content = slices.Delete(slices.Clone(n.Content), at, at+2)
	rows := p.rows(n.Content[at+1])
	var out []*Detector
	for i := range rows {
		before := len(p.problems)
		p.row = p.rowName(&rows[i], i)
		whole := p.whole(&rest, &rows[i])
		if len(p.problems) == before {
			d := p.detector(whole)
			d.Row = i + 1
			if old := slices.IndexFunc(out, func(o *Detector) bool { return o.ID == d.ID }); old >= 0 && d.ID != "" {
				p.add(rows[i].node, "duplicate", fmt.Sprintf("row %d makes %s too", out[old].Row, d.ID), "each row makes a detector of its own")
			}
			out = append(out, d)
		}
		p.row = ""
	}
	return out
}

// rowName is what messages call a row: its id if it gives one.
func (p *parser) rowName(r *row, i int) string {
	if id := r.value["id"]; id != nil && id.Kind == yaml.ScalarNode && idPattern.MatchString(id.Value) {
		return clip(id.Value, 64)
	}
	return fmt.Sprint(i + 1)
}

// rows reads the list of rows.
func (p *parser) rows(n *yaml.Node) []row {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > MaxRows {
		p.add(n, "value", fmt.Sprintf("each must be a list of 1 to %d rows", MaxRows), "one `- {id: family.name, …}` a row")
		return nil
	}
	var out []row
	for _, c := range n.Content {
		r := row{node: c, value: map[string]*yaml.Node{}, used: map[string]bool{}}
		if c.Kind != yaml.MappingNode {
			p.add(c, "value", "a row must be a mapping of names to texts", "such as {id: family.name, title: A title, what: event.ip}")
			continue
		}
		for i := 0; i+1 < len(c.Content); i += 2 {
			p.cell(&r, c.Content[i], c.Content[i+1])
		}
		out = append(out, r)
	}
	return out
}

// cell takes one name of a row in.
func (p *parser) cell(r *row, k, v *yaml.Node) {
	texts := []*yaml.Node{v}
	if v.Kind == yaml.SequenceNode {
		texts = v.Content
	}
	switch bad := slices.IndexFunc(texts, func(t *yaml.Node) bool { return t.Kind != yaml.ScalarNode }); {
	case !namePattern.MatchString(k.Value):
		p.add(k, "value", fmt.Sprintf("%.32q is no name", k.Value), "lower-case letters, digits and _")
		return
	case r.value[k.Value] != nil:
		p.add(k, "duplicate", fmt.Sprintf("the row has %.32q twice", k.Value), "")
		return
	case bad >= 0:
		p.add(texts[bad], "value", "a row holds texts and lists of texts", "what is alike in all rows belongs into the file itself")
		return
	}
	for _, t := range texts {
		if m := mark.FindString(t.Value); m != "" {
			p.add(t, "value", fmt.Sprintf("a row's text holds %.40s, but rows are not filled in", m), "write the text out, or put it into the file itself")
		}
	}
	r.keys = append(r.keys, k)
	r.value[k.Value] = v
}

// whole makes the mapping of one detector of what the file and a row say.
func (p *parser) whole(rest *yaml.Node, r *row) *yaml.Node {
	n := *r.node // what is wrong with the whole is told at the row
	n.Content = make([]*yaml.Node, 0, len(rest.Content)+2*len(r.keys))
	has := map[string]bool{}
	for i := 0; i+1 < len(rest.Content); i += 2 {
		k, v := rest.Content[i], rest.Content[i+1]
		has[k.Value] = true
		n.Content = append(n.Content, k, p.filled(v, r))
	}
	for _, k := range r.keys {
		switch isField := slices.Contains(detectorFields, k.Value); {
		case isField && !has[k.Value]:
			n.Content = append(n.Content, k, r.value[k.Value])
		case !r.used[k.Value] && isField:
			p.add(k, "unused", fmt.Sprintf("the row has %q, but the file has one itself", k.Value), "take it out of the file, or put it in there with ${"+k.Value+"}")
		case !r.used[k.Value]:
			p.add(k, "unused", fmt.Sprintf("nothing in the file uses %.32q", k.Value), "put it in with ${"+clip(k.Value, 32)+"}, or take it out of the row")
		}
	}
	return &n
}

// filled returns n with the marks in its texts replaced. A value that is a mark alone becomes what the row
// has, be it a text or a list.
func (p *parser) filled(n *yaml.Node, r *row) *yaml.Node {
	if n.Kind != yaml.ScalarNode {
		c := *n
		c.Content = make([]*yaml.Node, len(n.Content))
		for i, v := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				c.Content[i] = v
				continue
			}
			c.Content[i] = p.filled(v, r)
		}
		return &c
	}
	if !mark.MatchString(n.Value) {
		return n
	}
	t := textOf(n, p.lines)
	marks := mark.FindAllStringSubmatchIndex(t.S, -1)
	out := Text{Line: t.Line, Col: t.Col}
	var b strings.Builder
	at, runes := 0, 0
	copyTo := func(end int) {
		b.WriteString(t.S[at:end])
		n := utf8.RuneCountInString(t.S[at:end])
		out.spots = append(out.spots, t.spots[runes:runes+n]...)
		at, runes = end, runes+n
	}
	for _, m := range marks {
		copyTo(m[0])
		name := t.S[m[2]:m[3]]
		v := r.value[name]
		switch {
		case v == nil:
			line, col := t.at(runes)
			p.add(&yaml.Node{Line: line, Column: col}, "unknown", fmt.Sprintf("the row has no %.32q", name), didYouMean(name, r.names()))
			return n
		case v.Kind == yaml.SequenceNode && m[1]-m[0] == len(t.S):
			r.used[name] = true
			return v
		case v.Kind == yaml.SequenceNode:
			r.used[name] = true
			line, col := t.at(runes)
			p.add(&yaml.Node{Line: line, Column: col}, "value", fmt.Sprintf("%.32q is a list and cannot be part of a text", name), "a list takes the place of a whole value")
			return n
		}
		r.used[name] = true
		in := textOf(v, p.lines)
		b.WriteString(in.S)
		out.spots = append(out.spots, in.spots...)
		skip := m[1] - m[0]
		at, runes = at+skip, runes+skip
		if p.over(r, b.Len()) {
			return n
		}
	}
	copyTo(len(t.S))
	out.S = b.String()
	if p.over(r, len(out.S)) {
		return n
	}
	r.size += len(out.S)
	if len(out.spots) > 0 {
		out.Line, out.Col = out.at(0)
	}
	c := &yaml.Node{Kind: yaml.ScalarNode, Tag: n.Tag, Value: out.S, Line: out.Line, Column: out.Col}
	p.made[c] = out
	return c
}

// over tells whether a row's texts with more bytes are longer than a file may be, and says so.
func (p *parser) over(r *row, more int) bool {
	if r.size+more <= MaxFileBytes {
		return false
	}
	if r.size <= MaxFileBytes {
		r.size = MaxFileBytes + 1
		p.add(r.node, "cost", fmt.Sprintf("the texts of the row's detector have more than %d bytes", MaxFileBytes), "")
	}
	return true
}

func (r *row) names() []string {
	out := make([]string, len(r.keys))
	for i, k := range r.keys {
		out[i] = k.Value
	}
	return out
}
