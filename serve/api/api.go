// Package api is the HTTP face of a node: partners send events and ask whether an act is
// risky, people and programs read findings, cases and decisions and act on them.
//
// Use [New] on an open [node.Node] and give what it returns to [Serve]; a program on the same
// machine that finds the data folder in use talks to it through [Dial]. What the API offers is
// written in openapi.yaml, which it serves, and which a test holds against the routes.
//
// It will not sign people in, show one partner anything of another's, keep anything that the
// node does not, or speak TLS: put a proxy in front of it that does.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/serve/auth"
	"github.com/moat-platform/moat/serve/node"
)

// Config is what an [API] needs. Node is required.
type Config struct {
	Node    *node.Node
	Logger  *slog.Logger     // nil = silent
	Now     func() time.Time // default time.Now
	Version string           // of the program, shown by /v1/stats and /metrics; default: of the build
	// Failures is how many bad credentials an address may show at once and gets back every minute. Default 30.
	Failures int
}

// Bounds of what the API does at a time. Events have bounds of their own, see [ingest.Config].
const (
	maxInFlight = 4096             // requests
	maxHeavy    = 4                // requests that may read much
	readFor     = 15 * time.Second // a read of what is kept
	askFor      = 2 * time.Second  // a question: no caller waits longer
	verifyFor   = 50 * time.Second // a read of the whole audit trail, or of all orders of a scope; see writeTime
)

// API answers requests. It is an [http.Handler], safe for concurrent use.
type API struct {
	node    *node.Node
	log     *slog.Logger
	now     func() time.Time
	version string
	started time.Time

	guard *auth.Guard // of keys in the book
	inner *auth.Guard // of these and the key of this process; for the local listener only
	local *localKey

	mux       *http.ServeMux
	routes    []*route
	events    *ingest.Handler
	questions sync.Pool
	asked     atomic.Int64
	document  document
	pages     pages
	health    health
	inFlight  atomic.Int64
	heavy     chan struct{}
	stray     counts // of requests that met no route
}

// New returns the API over a node, which must stay open for as long as it is used.
func New(c Config) (*API, error) {
	if c.Node == nil {
		return nil, errors.New("cannot make API: it needs a node")
	}
	a := &API{node: c.Node, log: c.Logger, now: c.Now, version: c.Version, heavy: make(chan struct{}, maxHeavy)}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.version == "" {
		a.version = buildVersion()
	}
	a.started = a.now()
	if err := a.build(c); err != nil {
		return nil, fmt.Errorf("cannot make API: %w", err)
	}
	return a, nil
}

func (a *API) build(c Config) (err error) {
	keys := &bookKeys{book: a.node.Book, master: a.node.Master}
	if a.guard, err = auth.New(auth.Config{Keys: keys, Now: a.now, Log: a.log, Failures: c.Failures}); err != nil {
		return err
	}
	a.local = newLocalKey(keys)
	if a.inner, err = auth.New(auth.Config{Keys: a.local, Now: a.now, Log: a.log}); err != nil {
		return err
	}
	a.events, err = ingest.NewHandler(ingest.Config{River: a.node.River, Authenticate: a.sender, Key: a.node.IngestKey(), Now: a.now, Log: a.log,
		Refuse: a.refuseEvents, Watch: a.node.Watch, Yield: a.node.Look})
	if err != nil {
		return err
	}
	if _, err := ingest.NewSingle(a.node.IngestKey()); err != nil {
		return err
	}
	if a.document, err = readDocument(); err != nil {
		return err
	}
	a.pages = readPages()
	a.route()
	return nil
}

func buildVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}

// access says who may call a route.
type access uint8

const (
	anyone   access = iota // without credentials
	sender                 // any key
	reader                 // a partner's key that is bound to no app, or the operator's
	operator               // the operator's key
)

// route is one method of one path.
type route struct {
	method, path string
	access       access
	body         int64         // the most bytes that a body may have; 0 = none is read
	heavy        bool          // it may read much
	limit        time.Duration // of the answer; 0 = readFor
	serve        func(*API, *call) error

	counts counts
}

// Bounds of bodies.
const (
	smallBody      = 64 << 10
	ordersBody     = 256 << 10
	complaintsBody = 1 << 20
	questionBody   = 256 << 10 // an event with all fields full has less
	tracesBody     = 4 << 20
)

// routes lists what the API offers; the document lists the same.
func routes() []*route {
	return []*route{
		{method: "GET", path: "/{$}", access: anyone, serve: (*API).getPage},
		{method: "GET", path: "/canaries/plan", access: anyone, serve: (*API).getPlan},
		{method: "GET", path: "/healthz", access: anyone, serve: (*API).getHealth},
		{method: "GET", path: "/openapi.json", access: anyone, serve: (*API).getDocumentJSON},
		{method: "GET", path: "/openapi.yaml", access: anyone, serve: (*API).getDocumentYAML},
		{method: "GET", path: "/metrics", access: operator, serve: (*API).getMetrics},

		{method: "POST", path: "/v1/events", access: anyone, serve: (*API).postEvents}, // authenticates by itself, see sender
		{method: "POST", path: "/v1/risk", access: sender, body: questionBody, limit: askFor, serve: (*API).postRisk},

		{method: "GET", path: "/v1/findings", access: reader, serve: (*API).getFindings},
		{method: "GET", path: "/v1/campaigns", access: reader, heavy: true, serve: (*API).getCampaigns},
		{method: "GET", path: "/v1/cases", access: reader, serve: (*API).getCases},
		{method: "GET", path: "/v1/cases/{id}", access: reader, serve: (*API).getCase},
		{method: "GET", path: "/v1/cases/{id}/timeline", access: reader, heavy: true, serve: (*API).getTimeline},
		{method: "POST", path: "/v1/cases/{id}/verdict", access: reader, body: smallBody, serve: (*API).postVerdict},
		{method: "POST", path: "/v1/cases/{id}/close", access: reader, body: smallBody, serve: (*API).postClose},
		{method: "POST", path: "/v1/cases/{id}/reopen", access: reader, body: smallBody, serve: (*API).postReopen},
		{method: "POST", path: "/v1/cases/{id}/assign", access: reader, body: smallBody, serve: (*API).postAssign},
		{method: "GET", path: "/v1/snoozes", access: reader, serve: (*API).getSnoozes},
		{method: "POST", path: "/v1/snoozes", access: reader, body: smallBody, serve: (*API).postSnooze},
		{method: "DELETE", path: "/v1/snoozes/{id}", access: reader, serve: (*API).deleteSnooze},
		{method: "GET", path: "/v1/decisions", access: reader, serve: (*API).getDecisions},
		{method: "POST", path: "/v1/decisions", access: reader, body: smallBody, serve: (*API).postDecision},
		{method: "GET", path: "/v1/decisions/{id}", access: reader, serve: (*API).getDecision},
		{method: "DELETE", path: "/v1/decisions/{id}", access: reader, serve: (*API).deleteDecision},
		{method: "POST", path: "/v1/decisions/{id}/approve", access: reader, body: smallBody, serve: (*API).postApprove},

		{method: "GET", path: "/v1/entities/{kind}/{id}", access: reader, heavy: true, serve: (*API).getEntity},
		{method: "GET", path: "/v1/scopes/{kind}/{id}", access: reader, heavy: true, serve: (*API).getScope},
		{method: "GET", path: "/v1/scopes/{kind}/{id}/orders", access: reader, heavy: true, limit: verifyFor, serve: (*API).getScopeOrders},
		{method: "GET", path: "/v1/orders", access: reader, heavy: true, serve: (*API).getOrders},
		{method: "POST", path: "/v1/orders", access: reader, body: ordersBody, heavy: true, serve: (*API).postOrders},

		{method: "GET", path: "/v1/complaints", access: reader, serve: (*API).getComplaints},
		{method: "POST", path: "/v1/complaints", access: reader, body: complaintsBody, heavy: true, serve: (*API).postComplaints},
		{method: "POST", path: "/v1/traces", access: reader, body: tracesBody, heavy: true, serve: (*API).postTrace},
		{method: "GET", path: "/v1/canaries", access: reader, serve: (*API).getCanaries},
		{method: "POST", path: "/v1/canaries", access: reader, body: smallBody, heavy: true, serve: (*API).postCanaries},
		{method: "GET", path: "/v1/canaries/{id}", access: reader, serve: (*API).getCanary},
		{method: "POST", path: "/v1/canaries/check", access: reader, body: ordersBody, serve: (*API).postCanaryCheck},

		{method: "GET", path: "/v1/audit", access: reader, serve: (*API).getAudit},
		{method: "GET", path: "/v1/audit/verify", access: operator, heavy: true, limit: verifyFor, serve: (*API).getAuditVerify},
		{method: "GET", path: "/v1/detectors", access: reader, serve: (*API).getDetectors},
		{method: "POST", path: "/v1/detectors/{id}/promote", access: operator, body: smallBody, serve: (*API).postPromote},
		{method: "GET", path: "/v1/indicators", access: reader, serve: (*API).getIndicators},
		{method: "GET", path: "/v1/stats", access: operator, serve: (*API).getStats},
		{method: "GET", path: "/v1/partners", access: reader, serve: (*API).getPartners},
		{method: "GET", path: "/v1/partners/{id}", access: reader, serve: (*API).getPartner},
		{method: "POST", path: "/v1/partners", access: operator, body: smallBody, serve: (*API).postPartner},
		{method: "GET", path: "/v1/keys", access: operator, serve: (*API).getKeys},
		{method: "POST", path: "/v1/keys", access: operator, body: smallBody, serve: (*API).postKey},
		{method: "DELETE", path: "/v1/keys/{id}", access: operator, serve: (*API).deleteKey},
	}
}

// route builds the mux: one entry a path, which tells methods apart.
func (a *API) route() {
	a.mux = http.NewServeMux()
	a.routes = routes()
	byPath := map[string]map[string]*route{}
	for _, rt := range a.routes {
		if byPath[rt.path] == nil {
			byPath[rt.path] = map[string]*route{}
		}
		byPath[rt.path][rt.method] = rt
	}
	for path, methods := range byPath {
		var allowed []string
		for _, m := range []string{"GET", "POST", "DELETE"} {
			if methods[m] != nil {
				allowed = append(allowed, m)
			}
		}
		allow := strings.Join(allowed, ", ")
		a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			method := r.Method
			if method == http.MethodHead {
				method = http.MethodGet
			}
			if rt := methods[method]; rt != nil {
				a.handle(rt, w, r)
				return
			}
			w.Header().Set("Allow", allow)
			a.astray(w, r, &Error{Status: http.StatusMethodNotAllowed, Code: "method", Message: "this path does not know the method", Hint: "use " + allow})
		})
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.astray(w, r, &Error{Status: http.StatusNotFound, Code: "not_found", Message: "there is nothing at this path", Hint: "see /openapi.json"})
	})
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/") {
		a.mux.ServeHTTP(w, r)
		return
	}
	a.astray(w, r, &Error{Status: http.StatusNotFound, Code: "not_found", Message: "there is nothing at this path", Hint: "see /openapi.json"})
}

// astray answers a request that meets no route.
func (a *API) astray(w http.ResponseWriter, r *http.Request, e *Error) {
	c := &call{api: a, w: w, r: r}
	c.refuse(e)
	c.hearOut(r.Body)
	a.stray.add(c.status, 0)
}

// handle runs one route around its one boundary: who calls, how much at a time, what went wrong.
func (a *API) handle(rt *route, w http.ResponseWriter, r *http.Request) {
	start, body := time.Now(), r.Body
	c := &call{api: a, route: rt, w: w, r: r}
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			c.crashed(p)
		}
		rt.counts.add(c.status, time.Since(start))
	}()
	if err := c.run(); err != nil {
		c.refuse(err)
	}
	if c.status >= 400 {
		c.hearOut(body)
	}
}

// run is a call between its boundaries.
func (c *call) run() error {
	a := c.api
	if c.route.access == anyone {
		return c.route.serve(a, c)
	}
	if a.inFlight.Add(1) > maxInFlight {
		a.inFlight.Add(-1)
		return busy()
	}
	defer a.inFlight.Add(-1)
	// Before the caller is known: a guard reads the whole body of a signed request.
	c.r.Body = http.MaxBytesReader(c.w, c.r.Body, c.route.body)
	if err := c.authenticate(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), cmp.Or(c.route.limit, readFor))
	defer cancel()
	c.ctx = ctx
	if c.route.heavy {
		select {
		case a.heavy <- struct{}{}:
			defer func() { <-a.heavy }()
		case <-ctx.Done():
			return busy()
		}
	}
	return c.route.serve(a, c)
}

func busy() *Error {
	return &Error{Status: http.StatusTooManyRequests, Code: "busy", Message: "too much is on its way already", Hint: "send the request again after Retry-After", RetryAfter: time.Second}
}

// loopback tells whether an address is the machine's own.
func loopback(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && a.Addr().Unmap().IsLoopback()
}
