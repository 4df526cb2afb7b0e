package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// TestCrash has a route panic: the caller gets an id, the log has the cause under it, the server goes on.
func TestCrash(t *testing.T) {
	var log bytes.Buffer
	a := &API{log: slog.New(slog.NewTextHandler(&log, nil))}
	rt := &route{method: "GET", path: "/x/{id}", serve: func(*API, *call) error { panic("a secret of ours") }}
	w := httptest.NewRecorder()
	a.handle(rt, w, httptest.NewRequestWithContext(t.Context(), "GET", "/x/alice", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a crash gives %d %s", w.Code, w.Body)
	}
	if rt.counts.status[len(statuses)-2].Load() != 1 {
		t.Error("a crash is not counted as 500")
	}
	if s := log.String(); !strings.Contains(s, "a secret of ours") || !strings.Contains(s, "boundary_test.go") || strings.Contains(s, "alice") {
		t.Errorf("the log says %s", s)
	}
	rt.serve = func(_ *API, c *call) error { c.json(http.StatusOK, 1); panic("late") }
	w = httptest.NewRecorder()
	a.handle(rt, w, httptest.NewRequestWithContext(t.Context(), "GET", "/x/alice", nil))
	if w.Code != http.StatusOK || w.Body.String() != "1\n" || !strings.Contains(log.String(), "late") {
		t.Errorf("a crash after the answer gives %d %q", w.Code, w.Body)
	}
}

// TestErrors turns errors into answers.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
	}{
		{errors.New("disk /var/lib/secret is broken"), 500}, {fmt.Errorf("x: %w", book.ErrNotFound), 404}, {book.ErrOperator, 403}, {node.ErrClosed, 503},
		{context.DeadlineExceeded, 503}, {context.Canceled, 503}, {&http.MaxBytesError{Limit: 5}, 413},
	} {
		e := toError(c.err)
		if e.Status != c.status || strings.Contains(e.Message+e.Hint, "secret") {
			t.Errorf("%v becomes %+v", c.err, e)
		}
	}
}

// TestHealth tells what is wrong, and no more of it than anyone may read.
func TestHealth(t *testing.T) {
	h := healthOf(node.Stats{Partitions: []node.PartitionStats{{}, {Warning: "cannot store events: /data/lake: no space left"}}}, nil)
	if h.Status != "unready" || len(h.Reasons) != 1 || h.Reasons[0] != "cannot store events" {
		t.Errorf("%+v", h)
	}
	if h := healthOf(node.Stats{}, context.DeadlineExceeded); h.Status != "unready" {
		t.Errorf("%+v", h)
	}
	if h := healthOf(node.Stats{Partitions: make([]node.PartitionStats, 4)}, nil); h.Status != "ready" || h.Reasons == nil {
		t.Errorf("%+v", h)
	}
}

// TestInFlight refuses what is too much at once.
func TestInFlight(t *testing.T) {
	a := &API{log: slog.New(slog.DiscardHandler)}
	a.inFlight.Store(maxInFlight)
	w := httptest.NewRecorder()
	a.handle(&route{method: "GET", path: "/x", access: reader}, w, httptest.NewRequestWithContext(t.Context(), "GET", "/x", nil))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || a.inFlight.Load() != maxInFlight {
		t.Errorf("%d %v, %d in flight", w.Code, w.Header(), a.inFlight.Load())
	}
}
