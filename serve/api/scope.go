package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/scope"
	"github.com/moat-platform/moat/store/book"
)

// How far a leak reaches: from a source to the orders and people, and where they went next.

// ScopeFile is the scope of a source in a window.
type ScopeFile struct {
	Kind       string    `json:"kind"`
	ID         string    `json:"id"`
	Partner    string    `json:"partner,omitempty"`
	From       moat.Time `json:"from,omitzero"`
	To         moat.Time `json:"to,omitzero"`
	Discovered moat.Time `json:"discovered"`
	scope.Scope
}

// scopeQuestion reads the source and window that are asked for.
func (c *call) scopeQuestion() (q scope.Question, err error) {
	kind, err := diaryKind(c.r.PathValue("kind"))
	if err != nil {
		return q, err
	}
	f := c.form()
	q = scope.Question{Partner: f.partner(c), Source: moat.Entity{Kind: kind, ID: c.r.PathValue("id")}, From: f.time("since"), To: f.time("until"), Discovered: f.time("discovered")}
	if q.Discovered == 0 {
		q.Discovered = c.now()
	}
	return q, f.end()
}

func (a *API) getScope(c *call) error {
	q, err := c.scopeQuestion()
	if err != nil {
		return err
	}
	s, err := a.node.Scopes.Scope(c.ctx, c.tenant(), q)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, ScopeFile{c.r.PathValue("kind"), q.Source.ID, q.Partner, q.From, q.To, q.Discovered, *s})
}

// late begins an answer with its first byte: until then an error can still be told.
type late struct{ c *call }

func (l late) Write(b []byte) (int, error) {
	if c := l.c; c.status == 0 {
		h := c.w.Header()
		h.Set("Content-Type", "text/csv; charset=utf-8; header=present")
		h.Set("Content-Disposition", `attachment; filename="orders.csv"`)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		c.status = http.StatusOK
		c.w.WriteHeader(http.StatusOK)
	}
	return l.c.w.Write(b)
}

func (a *API) getScopeOrders(c *call) error {
	q, err := c.scopeQuestion()
	if err != nil {
		return err
	}
	_, damaged, err := a.node.Scopes.ExportCSV(c.ctx, c.tenant(), q, late{c})
	if err == nil && damaged > 0 {
		a.log.Warn("an export of orders may lack some", "damaged", damaged)
	}
	if err != nil && c.status != 0 { // a cut file must not look whole
		a.log.Error("an export of orders ended early", "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// ScopeQuestion asks for the scope of a source. Kind and ID are required.
type ScopeQuestion struct {
	Kind, ID     string
	Partner      string    // "" = all that the caller sees
	Since, Until moat.Time // the window; 0 = open
	Discovered   moat.Time // when the leak was discovered; 0 = now
}

func (q *ScopeQuestion) values() url.Values {
	v := valuesOf(book.Query{Partner: q.Partner, Since: q.Since, Until: q.Until})
	if q.Discovered != 0 {
		v.Set("discovered", q.Discovered.String())
	}
	return v
}

// Scope returns how far a source reached.
func (c *Client) Scope(ctx context.Context, q ScopeQuestion) (ScopeFile, error) {
	return get[ScopeFile](ctx, c, http.MethodGet, "/v1/scopes/"+segment(q.Kind)+"/"+segment(q.ID), q.values(), nil)
}

// ScopeOrders writes the orders of a scope to w, as CSV.
func (c *Client) ScopeOrders(ctx context.Context, q ScopeQuestion, w io.Writer) error {
	path := "/v1/scopes/" + segment(q.Kind) + "/" + segment(q.ID) + "/orders"
	answer, err := c.send(ctx, http.MethodGet, path, q.values(), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("cannot read answer of %s: %w", path, err)
	}
	return nil
}
