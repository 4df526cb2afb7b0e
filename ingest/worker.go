package ingest

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
)

// worker turns the text of one request into batches. It is used again for others.
type worker struct {
	decoder moat.Decoder
	normal  *Normaliser
	event   moat.Event
	in      records
	out     batches
	watch   Watch             // may be nil
	put     func(*moat.Event) // out.add
	yield   func()            // may be nil

	events   int // seen
	rejected int
	listed   []byte // the first rejected, as JSON
	scratch  []byte
}

func (k *worker) reset() {
	k.event.Reset()
	k.decoder.Release()
	k.out.reset()
	k.in.r, k.in.err = nil, nil
	k.events, k.rejected, k.listed = 0, 0, k.listed[:0]
	if cap(k.listed) > firstBuffer {
		k.listed = nil
	}
}

// yieldEvery is how many events are decoded in one go: they take a tenth of a millisecond.
const yieldEvery = 64

// read reads a whole body: NDJSON, or an array if it starts with a bracket. It
// returns an error if the body as a whole cannot be taken.
func (k *worker) read(body io.Reader, from Caller, received moat.Time) error {
	k.in.reset(body)
	k.in.skipMark()
	first, err := k.in.peek()
	if err == io.EOF {
		return &Refusal{Status: 400, Code: "empty", Message: "the body is empty", Hint: "send one JSON object a line, or a JSON array of objects"}
	}
	if err != nil {
		return unreadable(err)
	}
	next := k.in.line
	switch first {
	case '{':
	case '[':
		next = k.in.element
	default:
		return &Refusal{Status: 400, Code: "unreadable", Message: "the body is neither NDJSON nor a JSON array", Hint: "send one JSON object a line, or a JSON array of objects"}
	}
	k.decoder.AllowPartner = from.Operator
	for {
		text, err := next()
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, errArray):
			return &Refusal{Status: 400, Code: "unreadable", Message: err.Error(), Hint: "send one JSON object a line, or a JSON array of objects"}
		case err != nil && err != errLong:
			return unreadable(err)
		case err == nil && len(bytes.TrimSpace(text)) == 0:
			continue
		}
		if k.events == MaxEvents {
			return tooManyEvents()
		}
		if err == errLong {
			err = &moat.Problem{Code: moat.CodeSize, Message: "over " + strconv.Itoa(moat.MaxLine) + " bytes"}
		} else {
			err = k.one(text, from, received)
		}
		if err != nil {
			k.reject(asProblem(err))
		}
		if k.events++; k.yield != nil && k.events%yieldEvery == 0 {
			k.yield()
		}
	}
}

// one takes one event.
func (k *worker) one(text []byte, from Caller, received moat.Time) error {
	err := k.decode(text, from)
	if err == nil {
		err = k.normal.Normalise(&k.event, from, received)
	}
	switch {
	case err != nil:
	case k.watch != nil:
		err = k.watch(&k.event, k.put)
	default:
		k.out.add(&k.event)
	}
	k.decoder.Release()
	return err
}

func (k *worker) decode(text []byte, from Caller) error {
	return decodeFor(&k.decoder, text, &k.event, from.App, &k.scratch)
}

// decodeFor decodes one event. If all that it lacks is the app that its sender
// stands for, it is given that. scratch is memory for it.
func decodeFor(d *moat.Decoder, text []byte, e *moat.Event, app string, scratch *[]byte) error {
	err := d.Decode(text, e)
	if err == nil || app == "" {
		return err
	}
	if p := asProblem(err); p.Code != moat.CodeMissing || !strings.HasSuffix(p.Field, moat.Fields[moat.FieldApp].Name) {
		return err
	}
	brace := bytes.IndexByte(text, '{')
	b := append(append((*scratch)[:0], text[:brace+1]...), `"app":`...)
	b = append(appendQuoted(b, app), ',')
	b = append(b, text[brace+1:]...)
	*scratch = b
	return d.Decode(b, e)
}

// reject notes why the event at hand is not taken.
func (k *worker) reject(p *moat.Problem) {
	if k.rejected < maxListed {
		if k.rejected > 0 {
			k.listed = append(k.listed, ',')
		}
		k.listed = strconv.AppendInt(append(k.listed, `{"index":`...), int64(k.events), 10)
		k.listed = appendQuoted(append(k.listed, `,"code":`...), p.Code)
		k.listed = appendQuoted(append(k.listed, `,"message":`...), p.Error())
		k.listed = append(k.listed, '}')
	}
	k.rejected++
}

// answer is the body of a 202.
func (k *worker) answer() []byte {
	b := strconv.AppendInt(append(make([]byte, 0, 64+len(k.listed)), `{"accepted":`...), int64(k.events-k.rejected), 10)
	b = append(append(append(b, `,"rejected":[`...), k.listed...), ']')
	if k.rejected > 0 {
		b = strconv.AppendInt(append(b, `,"rejected_count":`...), int64(k.rejected), 10)
	}
	return append(b, "}\n"...)
}
