package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/auth"
	"github.com/moat-platform/moat/store/book"
)

// call is one request on its way through a route.
type call struct {
	api    *API
	route  *route
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	id     auth.Identity
	status int // of the answer; 0 = not begun
}

func (c *call) tenant() moat.Tenant { return c.id.Tenant() }

// by names the caller in the audit trail.
func (c *call) by() string { return c.id.KeyID }

func (c *call) now() moat.Time { return moat.TimeOf(c.api.now()) }

// json answers v.
func (c *call) json(status int, v any) error {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		return err
	}
	return c.bytes(status, "application/json", b.Bytes())
}

// bytes answers b as it is.
func (c *call) bytes(status int, kind string, b []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	c.status = status
	c.w.WriteHeader(status)
	c.w.Write(b) // the caller is gone if it fails
	return nil
}

// mustBeJSON refuses bodies that say that they are something else; it also keeps out what a
// browser sends for a foreign page without asking.
func (c *call) mustBeJSON() error {
	kind := c.r.Header.Get("Content-Type")
	var err error
	if kind != "application/json" { // which is what nearly all say
		kind, _, err = mime.ParseMediaType(kind)
	}
	if err != nil || kind != "application/json" {
		return &Error{Status: http.StatusUnsupportedMediaType, Code: "media_type", Message: "the body must be JSON", Hint: "send Content-Type: application/json"}
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return &Error{Status: http.StatusUnsupportedMediaType, Code: "encoding", Message: "the body must not be compressed"}
	}
	return nil
}

// read reads the body, one JSON object, into v. Unknown members are refused: a misspelt one would
// otherwise be silently without effect.
func (c *call) read(v any) error {
	if err := c.mustBeJSON(); err != nil {
		return err
	}
	if err := c.form().end(); err != nil {
		return err
	}
	d := json.NewDecoder(c.r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return badJSON(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return badJSON(errors.New("more than one value"))
	}
	return nil
}

// nothing refuses a body where none is wanted; an empty object will do.
func (c *call) nothing() error {
	if err := c.form().end(); err != nil {
		return err
	}
	b, err := io.ReadAll(c.r.Body)
	if err != nil {
		return badJSON(err)
	}
	if s := string(bytes.TrimSpace(b)); s != "" && s != "{}" {
		return invalid("this route wants no body")
	}
	return nil
}

// readAny is read for a body that may be left out.
func (c *call) readAny(v any) error {
	if c.r.ContentLength == 0 {
		return c.nothing()
	}
	return c.read(v)
}

// badJSON is the answer to a body that cannot be read. Failures of the connection stay what they are.
func badJSON(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large), strings.Contains(err.Error(), "i/o timeout"):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Status: http.StatusBadRequest, Code: "unreadable", Message: "the body is not a whole JSON object", cause: err}
	}
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return &Error{Status: http.StatusBadRequest, Code: "unreadable", Message: fmt.Sprintf("the body cannot be read: %s: %s stands where %s is wanted", wrong.Field, wrong.Value, wanted(wrong.Type.Kind())), cause: err}
	}
	return &Error{Status: http.StatusBadRequest, Code: "unreadable", Message: "the body cannot be read: " + strings.TrimPrefix(err.Error(), "json: "), cause: err}
}

// wanted names what JSON is read into something of a kind.
func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	}
	return "a number"
}

// form is the query parameters of a request, each read once; the first thing that is wrong stays.
type form struct {
	values url.Values
	err    error
}

// form reads the query string.
func (c *call) form() *form {
	v, err := url.ParseQuery(c.r.URL.RawQuery)
	f := &form{values: v}
	if err != nil {
		f.err = invalid("the query string cannot be read")
	}
	return f
}

func (f *form) fail(format string, args ...any) {
	if f.err == nil {
		f.err = invalid(format, args...)
	}
}

// text takes a parameter.
func (f *form) text(name string) string {
	v := f.values[name]
	delete(f.values, name)
	if len(v) > 1 {
		f.fail("%s is given twice", name)
	}
	if len(v) == 0 {
		return ""
	}
	if len(v[0]) > 1024 {
		f.fail("%s is over 1024 bytes", name)
	}
	return v[0]
}

func (f *form) time(name string) moat.Time {
	if s := f.text(name); s != "" {
		return f.timeOf(name, s)
	}
	return 0
}

func (f *form) timeOf(name, s string) moat.Time {
	t, err := moat.ParseTime(s)
	if err != nil {
		f.fail("%s must be a time: RFC 3339, or seconds, milliseconds or microseconds since 1970", name)
	}
	return t
}

func (f *form) bool(name string) bool {
	switch f.text(name) {
	case "", "false":
	case "true":
		return true
	default:
		f.fail("%s must be true or false", name)
	}
	return false
}

// number takes a number, without which there is another.
func (f *form) number(name string, without float64) float64 {
	s := f.text(name)
	if s == "" {
		return without
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		f.fail("%s must be a number", name)
	}
	return n
}

func (f *form) limit() int {
	s := f.text("limit")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > book.MaxLimit {
		f.fail("limit must be 1 to %d", book.MaxLimit)
	}
	return n
}

// entity reads kind:id.
func (f *form) entity(name string) (e moat.Entity) {
	s := f.text(name)
	if s == "" {
		return e
	}
	kind, id, ok := strings.Cut(s, ":")
	k, err := moat.ParseEntityKind(kind)
	if !ok || err != nil || k == moat.NoEntity || id == "" {
		f.fail("%s must be kind:id, such as account:alice", name)
	}
	return moat.Entity{Kind: k, ID: id}
}

// partner returns whose a thing to be made is: the caller's own, or for the operator the one that the request
// names. does is what the operator does for or at one.
func (c *call) partner(named, does string) (string, error) {
	own, one := c.tenant().Partner()
	switch {
	case one && named != "" && named != own:
		return "", notYours()
	case one:
		return own, nil
	case named == "":
		return "", invalid("partner is missing: the operator %s one", does)
	}
	return named, nil
}

// partner takes the partner that is asked about: the caller's own, or for the operator any, "" for all.
func (f *form) partner(c *call) string {
	s := f.text("partner")
	if s != "" && f.err == nil && !c.tenant().Sees(s) {
		f.err = notYours()
	}
	if own, one := c.tenant().Partner(); one {
		return own
	}
	return s
}

// end returns what was wrong; parameters that nobody took are.
func (f *form) end() error {
	for name := range f.values {
		f.fail("parameter %.40q is not known here", name)
	}
	return f.err
}

// query reads the filters that lists share and those in more.
func (c *call) query(more ...string) (book.Query, error) {
	f := c.form()
	q := book.Query{Partner: f.partner(c), Since: f.time("since"), Until: f.time("until"), Limit: f.limit(), After: f.text("cursor")}
	for _, name := range more {
		switch name {
		case "entity":
			q.Entity = f.entity(name)
		case "detector":
			q.Detector = f.text(name)
		case "campaign":
			q.Campaign = f.text(name)
		case "case":
			q.Case = f.text(name)
		case "rank":
			if s := f.text(name); s != "" {
				if err := q.Rank.UnmarshalText([]byte(s)); err != nil || q.Rank == moat.NoRank {
					f.fail("rank must be P1, P2, P3 or P4")
				}
			}
		case "state":
			switch q.State = moat.CaseState(f.text(name)); q.State {
			case "", moat.CaseOpen, moat.CaseClosed:
			default:
				f.fail("state must be open or closed")
			}
		case "scope":
			q.Scope = f.text(name)
		case "value":
			q.Value = f.text(name)
		case "waiting":
			q.Waiting = f.bool(name)
		case "object":
			q.Object = f.text(name)
		case "order":
			q.Order = f.text(name)
		case "kind":
			q.Kind = f.text(name)
		case "reporter":
			q.Reporter = f.text(name)
		case "channel":
			q.Channel = f.text(name)
		case "planted":
			q.Planted = f.text(name)
		case "active":
			switch s := f.text(name); s {
			case "", "false":
			case "true":
				q.Active = c.now()
			default:
				q.Active = f.timeOf(name, s)
			}
		default:
			panic("BUG: no filter is called " + name)
		}
	}
	return q, f.end()
}

// Page is a part of a list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"` // cursor of the next page; "" after the last
}

// list answers a page.
func list[T any](c *call, items []T, next string, err error) error {
	if err != nil {
		return err
	}
	if items == nil {
		items = []T{}
	}
	return c.json(http.StatusOK, Page[T]{items, next})
}
