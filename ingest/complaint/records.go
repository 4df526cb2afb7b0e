package complaint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxRecord bounds one record, in bytes; a quote that is never closed ends there.
const maxRecord = 64 << 10

// records cuts a stream into records of fields as RFC 4180 has it. It is our own because the usual reader takes the rest of
// a file for one field when a quote is not closed, whatever its size.
type records struct {
	r        io.Reader
	err      error  // of r
	buf      []byte // what lies ahead is buf[from:to]
	from, to int
	comma    byte
	newline  byte // ends a line
	line     int
	fields   []string
}

// newRecords looks at the beginning of r.
func newRecords(r io.Reader) (*records, error) {
	p := &records{r: r, buf: make([]byte, 4*maxRecord), comma: ','}
	head, err := p.window()
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return nil, fmt.Errorf("%w: it is UTF-16; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 FILE", ErrForm)
	case bytes.IndexByte(head, 0) >= 0:
		return nil, fmt.Errorf("%w: it is no text; a workbook must be saved as CSV (UTF-8) first", ErrForm)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		p.from, head = 3, head[3:]
	}
	if !validHead(head) {
		return nil, fmt.Errorf("%w: it is not UTF-8 but probably GBK; save it as UTF-8, or: iconv -f GB18030 -t UTF-8 FILE", ErrForm)
	}
	p.newline = newlineOf(head)
	first, _, _ := bytes.Cut(head, []byte{p.newline})
	for _, c := range []byte{';', '\t'} {
		if bytes.Count(first, []byte{c}) > bytes.Count(first, []byte{p.comma}) {
			p.comma = c
		}
	}
	return p, nil
}

// newlineOf is what ends the lines of a file that begins with head: a line feed, or a carriage return that none follows, as old programs write.
func newlineOf(head []byte) byte {
	quoted := false
	for i, c := range head {
		switch {
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '\n':
			return '\n'
		case c == '\r' && i+1 < len(head) && head[i+1] != '\r' && head[i+1] != '\n':
			return '\r'
		}
	}
	return '\n'
}

// validHead tells whether b is UTF-8, but for a few bytes that are broken here and there and a letter that is cut at the end. Of a
// text in GBK nearly all letters beyond ASCII are broken.
func validHead(b []byte) bool {
	broken, letters := 0, 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 && len(b)-i >= utf8.UTFMax {
			broken++
		} else if r >= utf8.RuneSelf {
			letters++
		}
		i += n
	}
	return broken == 0 || 4*broken < letters || broken < 3 && letters == 0 && len(b) > 4096
}

// next returns the next record that is not blank and the line that it begins on. The record is good until the next call.
func (p *records) next() ([]string, int, error) {
	for {
		text, line, err := p.cut()
		if err != nil {
			return nil, line, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		return p.split(text), line, nil
	}
}

// cut returns the text of one record: a line, or several if line breaks are quoted. Of a record that is broken
// only the first line is passed over.
func (p *records) cut() ([]byte, int, error) {
	begin := p.line + 1
	w, err := p.window()
	if err != nil || len(w) == 0 {
		return nil, begin, err
	}
	n, closed := p.end(w)
	if closed && n <= maxRecord {
		p.take(n)
		return bytes.TrimRight(w[:n], "\r\n"), begin, nil
	}
	why := "a quote is not closed"
	if closed {
		why = fmt.Sprintf("it has over %d bytes", maxRecord)
	}
	return nil, begin, errors.Join(&LineError{Line: begin, Why: why}, p.skipLine())
}

// window returns what lies ahead: over maxRecord bytes, or all that there is; io.EOF if that is nothing.
func (p *records) window() ([]byte, error) {
	for p.to-p.from <= maxRecord && p.err == nil {
		if p.from > 0 {
			p.to = copy(p.buf, p.buf[p.from:p.to])
			p.from = 0
		}
		var n int
		n, p.err = p.r.Read(p.buf[p.to:])
		p.to += n
	}
	if p.err != nil && p.err != io.EOF {
		return nil, fmt.Errorf("cannot read file: %w", p.err)
	}
	if p.from == p.to {
		return nil, io.EOF
	}
	return p.buf[p.from:p.to], nil
}

// end returns the length of the record at the beginning of w, and whether its quotes are closed.
func (p *records) end(w []byte) (n int, closed bool) {
	start, quoted := true, false
	for i := 0; i < len(w); i++ {
		switch c := w[i]; {
		case quoted:
			quoted = c != '"'
		case c == p.newline:
			return i + 1, true
		case c == '"' && (start || i > 0 && w[i-1] == '"'): // the second: a doubled one goes on
			quoted = true
		default:
			start = c == p.comma || start && c == ' '
			continue
		}
		start = false
	}
	return len(w), !quoted
}

// take moves over n bytes.
func (p *records) take(n int) {
	p.line += max(1, bytes.Count(p.buf[p.from:p.from+n], []byte{p.newline}))
	p.from += n
}

// skipLine moves over one line of any length.
func (p *records) skipLine() error {
	p.line++
	for {
		w, err := p.window()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if i := bytes.IndexByte(w, p.newline); i >= 0 {
			p.from += i + 1
			return nil
		}
		p.from = p.to
	}
}

// split cuts the text of a record at the separators that are not quoted. A quote inside a field that does not begin with one is
// itself.
func (p *records) split(text []byte) []string {
	p.fields = p.fields[:0]
	for {
		field, rest, more := p.field(text)
		p.fields = append(p.fields, field)
		if !more {
			return p.fields
		}
		text = rest
	}
}

func (p *records) field(text []byte) (field string, rest []byte, more bool) {
	trimmed := bytes.TrimLeft(text, " ")
	if len(trimmed) == 0 || trimmed[0] != '"' {
		b, rest, more := bytes.Cut(text, []byte{p.comma})
		return string(b), rest, more
	}
	var out []byte
	in := trimmed[1:]
	for i := 0; i < len(in); i++ {
		if in[i] != '"' {
			out = append(out, in[i])
			continue
		}
		if i+1 < len(in) && in[i+1] == '"' {
			out = append(out, '"')
			i++
			continue
		}
		// After the closing quote only the separator may come; what else is there belongs to the field.
		tail, rest, more := bytes.Cut(in[i+1:], []byte{p.comma})
		return string(append(out, bytes.TrimRight(tail, " ")...)), rest, more
	}
	return string(out), nil, false
}
