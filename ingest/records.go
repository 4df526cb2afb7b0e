package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/moat-platform/moat"
)

const firstBuffer = 64 << 10

var (
	// errLong: a record was longer than an event may be; it has been skipped.
	errLong = errors.New("record is too long")
	// errArray: a JSON array is not one.
	errArray = errors.New("not a JSON array of objects")
)

// records splits a stream into the texts of events: lines, or the elements of a
// JSON array. It holds one record and a buffer's length at a time. A record is valid until the next call.
type records struct {
	r        io.Reader
	buf      []byte
	from, to int // what is read and not yet given out: buf[from:to]
	err      error
	started  bool // the [ of an array has been read
}

func (l *records) reset(r io.Reader) {
	if cap(l.buf) < firstBuffer || cap(l.buf) > 4*firstBuffer {
		l.buf = make([]byte, firstBuffer)
	}
	*l = records{r: r, buf: l.buf[:cap(l.buf)]}
}

// fill reads more, and tells whether it got some. After false, l.err says why: io.EOF at the end.
func (l *records) fill() bool {
	if l.err != nil {
		return false
	}
	if l.to == len(l.buf) {
		if l.from > 0 {
			l.to = copy(l.buf, l.buf[l.from:l.to])
			l.from = 0
		} else {
			grown := make([]byte, 2*len(l.buf))
			copy(grown, l.buf)
			l.buf = grown
		}
	}
	for range 100 {
		n, err := l.r.Read(l.buf[l.to:])
		l.to += n
		if err != nil {
			l.err = err
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	l.err = io.ErrNoProgress
	return false
}

// line returns the next line without its end. It returns errLong for one over moat.MaxLine, which it skips,
// and the stream's error, usually io.EOF, after the last.
func (l *records) line() ([]byte, error) {
	for seen := 0; ; {
		if i := bytes.IndexByte(l.buf[l.from+seen:l.to], '\n'); i >= 0 {
			line := l.buf[l.from : l.from+seen+i]
			l.from += seen + i + 1
			return bytes.TrimRight(line, "\r"), nil
		}
		if seen = l.to - l.from; seen > moat.MaxLine {
			return nil, l.skipLine()
		}
		if l.fill() {
			continue
		}
		if l.err == io.EOF && l.from < l.to {
			line := l.buf[l.from:l.to]
			l.from = l.to
			return bytes.TrimRight(line, "\r"), nil
		}
		return nil, l.err
	}
}

// skipLine drops the rest of a line.
func (l *records) skipLine() error {
	for {
		if i := bytes.IndexByte(l.buf[l.from:l.to], '\n'); i >= 0 {
			l.from += i + 1
			return errLong
		}
		if l.from = l.to; !l.fill() {
			if l.err == io.EOF {
				return errLong
			}
			return l.err
		}
	}
}

// peek returns the next byte that is not white space, without taking it.
func (l *records) peek() (byte, error) {
	for {
		for l.from < l.to {
			switch c := l.buf[l.from]; c {
			case ' ', '\t', '\r', '\n':
				l.from++
			default:
				return c, nil
			}
		}
		if !l.fill() {
			return 0, l.err
		}
	}
}

// head returns what is at the front of the stream: a line at least, if there is one within 64 KiB.
func (l *records) head() ([]byte, error) {
	if _, err := l.peek(); err != nil {
		return nil, err
	}
	for bytes.IndexByte(l.buf[l.from:l.to], '\n') < 0 && l.to-l.from < firstBuffer && l.fill() {
	}
	return l.buf[l.from:l.to], nil
}

// skipMark skips a byte order mark at the start.
func (l *records) skipMark() {
	const mark = "\xef\xbb\xbf"
	for l.to-l.from < len(mark) && l.fill() {
	}
	if bytes.HasPrefix(l.buf[l.from:l.to], []byte(mark)) {
		l.from += len(mark)
	}
}

// element returns the text of the next element of the array that the stream is, io.EOF
// after its end. An element over moat.MaxLine gives errLong and is skipped; what is no array
// gives an error that wraps errArray.
func (l *records) element() ([]byte, error) {
	c, err := l.peek()
	switch {
	case err != nil:
		return nil, cutArray(err)
	case !l.started:
		if c != '[' {
			return nil, errArray
		}
		l.started = true
		l.from++
		if c, err = l.peek(); err != nil {
			return nil, cutArray(err)
		}
		if c == ']' {
			return nil, l.endArray()
		}
	case c == ']':
		return nil, l.endArray()
	case c != ',':
		return nil, fmt.Errorf("%w: want a comma between elements", errArray)
	default:
		l.from++
		if _, err = l.peek(); err != nil {
			return nil, cutArray(err)
		}
	}
	return l.elementHere()
}

// endArray takes the ] and makes sure that nothing follows.
func (l *records) endArray() error {
	l.from++
	if _, err := l.peek(); err == nil {
		return fmt.Errorf("%w: text after its end", errArray)
	} else if err != io.EOF {
		return err
	}
	return io.EOF
}

func cutArray(err error) error {
	if err == io.EOF {
		return fmt.Errorf("%w: it has no end", errArray)
	}
	return err
}

// elementHere returns the value at the front of the buffer, up to the comma or bracket behind it.
func (l *records) elementHere() ([]byte, error) {
	depth, text, long := 0, false, false
	for i := 0; ; i++ { // from l.from
		for l.from+i >= l.to {
			if l.to-l.from > moat.MaxLine {
				long = true
				i -= l.to - l.from
				l.from = l.to
			}
			if !l.fill() {
				return nil, cutArray(l.err)
			}
		}
		switch c := l.buf[l.from+i]; {
		case c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			depth++
		case depth > 0 && (c == '}' || c == ']'):
			depth--
		case depth == 0 && (c == ',' || c == ']'):
			e := l.buf[l.from : l.from+i]
			l.from += i
			if long || len(e) > moat.MaxLine {
				return nil, errLong
			}
			return e, nil
		}
	}
}
