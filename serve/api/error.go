package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/locate/scope"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/auth"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// Error is an answer that says no: in the body {"error": {…}}. A [Client] returns it.
type Error struct {
	Status  int    `json:"-"`
	Code    string `json:"code"`           // stable, for programs
	Message string `json:"message"`        // what is wrong, for people
	Hint    string `json:"hint,omitempty"` // what to do about it
	ID      string `json:"id"`             // of this answer; the operator's log has the cause under it

	RetryAfter time.Duration `json:"-"` // 0 if trying again would not help
	cause      error         // for the log; never sent
}

func (e *Error) Error() string {
	s := e.Message
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap returns the cause, which a client does not know.
func (e *Error) Unwrap() error { return e.cause }

// Is tells that an error that came over the network is the one that the book returned there.
func (e *Error) Is(target error) bool {
	switch target {
	case book.ErrNotFound:
		return e.Status == http.StatusNotFound
	case book.ErrExists:
		return e.Status == http.StatusConflict
	case book.ErrInvalid:
		return e.Status == http.StatusBadRequest
	case book.ErrOperator:
		return e.Status == http.StatusForbidden
	}
	return false
}

func invalid(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "invalid", Message: fmt.Sprintf(format, args...)}
}

func notFound() *Error {
	return &Error{Status: http.StatusNotFound, Code: "not_found", Message: "there is no such thing, or it is not yours to see"}
}

func notYours() *Error {
	return &Error{Status: http.StatusForbidden, Code: "forbidden", Message: "that is not your partner", Hint: "leave partner out: it follows from the credentials"}
}

// toError is the one place where errors become answers. What it does not know is not explained.
func toError(err error) *Error {
	var (
		known   *Error
		denied  *auth.Error
		refused *ingest.Refusal
		problem *moat.Problem
		large   *http.MaxBytesError
		full    *river.FullError
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &denied):
		return &Error{Status: denied.Status, Code: denied.Code, Message: denied.Message, Hint: denied.Hint, RetryAfter: denied.RetryAfter, cause: denied.Cause}
	case errors.As(err, &refused):
		return &Error{Status: refused.Status, Code: refused.Code, Message: refused.Message, Hint: refused.Hint, RetryAfter: refused.RetryAfter, cause: refused.Cause}
	case errors.As(err, &problem):
		e := &Error{Status: http.StatusBadRequest, Code: problem.Code, Message: problem.Error()}
		if problem.Code == moat.CodeForbidden {
			e.Status = http.StatusForbidden
		}
		return e
	case errors.As(err, &large):
		return &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: fmt.Sprintf("the body is over %d bytes", large.Limit)}
	case errors.Is(err, book.ErrNotFound), errors.Is(err, diary.ErrTenant):
		return notFound()
	case errors.Is(err, book.ErrExists):
		return &Error{Status: http.StatusConflict, Code: "exists", Message: "it exists already"}
	case errors.Is(err, book.ErrOperator):
		return &Error{Status: http.StatusForbidden, Code: "forbidden", Message: "only the operator may do this"}
	case errors.Is(err, book.ErrInvalid), errors.Is(err, diary.ErrKind), errors.Is(err, diary.ErrCursor), errors.Is(err, ledger.ErrTooMany), errors.Is(err, trace.ErrInvalid), errors.Is(err, scope.ErrQuestion):
		return invalid("%s", strings.Replace(err.Error(), book.ErrInvalid.Error()+": ", "", 1)) // the code says that
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: http.StatusRequestTimeout, Code: "timeout", Message: "the body took too long to arrive", RetryAfter: time.Second, cause: err}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Status: http.StatusBadRequest, Code: "unreadable", Message: "the body cannot be read to its end", cause: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{Status: http.StatusServiceUnavailable, Code: "timeout", Message: "the answer took too long",
			Hint: "ask for less at once, or again later", RetryAfter: time.Second, cause: err}
	case errors.As(err, &full):
		return &Error{Status: http.StatusTooManyRequests, Code: "busy", Message: "the log is full", Hint: "send the request again after Retry-After", RetryAfter: full.RetryAfter, cause: err}
	case errors.Is(err, node.ErrClosed):
		return &Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "this server is going down", RetryAfter: 5 * time.Second, cause: err}
	}
	return &Error{Status: http.StatusInternalServerError, Code: "internal", Message: "something went wrong here", Hint: "tell the operator the id: the log has the cause under it", cause: err}
}

// errorAnswer is the body of an answer that says no.
type errorAnswer struct {
	Error *Error `json:"error"`
}

// refuse answers err. The path is not logged, as it may name an account: the route is.
func (c *call) refuse(err error) {
	e := *toError(err) // a copy: it gets an id
	e.ID = rand.Text()[:12]
	level := c.api.log.DebugContext
	if e.Status >= 500 && !errors.Is(e.cause, context.Canceled) {
		level = c.api.log.ErrorContext
	}
	path := ""
	if c.route != nil {
		path = c.route.path
	}
	level(c.r.Context(), "request refused", "id", e.ID, "status", e.Status, "code", e.Code, "method", c.r.Method, "route", path, "key", c.id.KeyID, "cause", e.cause)
	h := c.w.Header()
	if s := e.RetryAfter.Seconds(); s > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(s))))
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="moat"`)
	}
	_ = http.NewResponseController(c.w).EnableFullDuplex() // for hearOut, where there is a connection
	c.json(e.Status, errorAnswer{&e})
}

// How much of a refused request is heard out, and for how long.
const (
	hearBytes = 64 << 20
	hearTime  = 10 * time.Second
)

// hearOut sends a refusal at once and drops what still comes of its request: many clients write all before they read, and would find their
// connection reset and no answer. Who asked before sending has it without.
func (c *call) hearOut(body io.Reader) {
	rc := http.NewResponseController(c.w)
	if c.r.ContentLength == 0 || c.r.Header.Get("Expect") != "" || rc.Flush() != nil {
		return
	}
	_ = rc.SetReadDeadline(time.Now().Add(hearTime))
	_, _ = io.CopyN(io.Discard, body, hearBytes)
}

// refuseEvents gives refusals of events the form of all others.
func (a *API) refuseEvents(w http.ResponseWriter, r *http.Request, why *ingest.Refusal) {
	(&call{api: a, w: w, r: r}).refuse(why)
}

// crashed answers a request whose handling panicked, if it was not answered before.
func (c *call) crashed(p any) {
	err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
	if c.status == 0 {
		c.refuse(err)
		return
	}
	c.api.log.ErrorContext(c.r.Context(), "request crashed after its answer began", "route", c.route.path, "cause", err)
}

// encode writes v as JSON, without the escapes that are for HTML.
func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
