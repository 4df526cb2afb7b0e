package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"

	"github.com/moat-platform/moat/ingest"
)

// postEvents takes a batch; the handler authenticates, bounds and answers by itself.
func (a *API) postEvents(c *call) error {
	w := &statusWriter{ResponseWriter: c.w}
	a.events.ServeHTTP(w, c.r)
	c.status = w.status
	return nil
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// question is what a question needs of memory; it is used again for others.
type question struct {
	reader *ingest.Single
	body   bytes.Buffer
	answer bytes.Buffer
}

// keptBody bounds the memory that a question keeps for the next one.
const keptBody = 64 << 10

func (a *API) question() *question {
	if q, ok := a.questions.Get().(*question); ok {
		q.body.Reset()
		q.answer.Reset()
		return q
	}
	s, err := ingest.NewSingle(a.node.IngestKey())
	if err != nil {
		panic("BUG: a key that was good is not: " + err.Error())
	}
	return &question{reader: s}
}

// postRisk answers from memory whether an act is risky, and has it logged.
func (a *API) postRisk(c *call) error {
	if err := c.mustBeJSON(); err != nil {
		return err
	}
	q := a.question()
	defer func() {
		if q.body.Cap() <= keptBody {
			a.questions.Put(q)
		}
	}()
	if _, err := q.body.ReadFrom(c.r.Body); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		return badJSON(err)
	}
	ev, err := q.reader.Read(q.body.Bytes(), callerOf(c.id), c.now())
	if err != nil {
		return err
	}
	answer, err := a.node.Ask(c.ctx, ev)
	if err != nil {
		return err
	}
	a.asked.Add(1)
	if err := encode(&q.answer, &answer); err != nil {
		return err
	}
	return c.bytes(http.StatusOK, "application/json", q.answer.Bytes())
}
