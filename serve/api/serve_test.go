package api_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/auth"
	"github.com/moat-platform/moat/store/book"
)

// served runs the world's API on a loopback address until the test ends, or stop is called.
func (w *world) served() (base string, stop func()) {
	w.t.Helper()
	l, err := api.Listen(w.t.Context(), "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, w.api, nil) }()
	stopped := false
	stop = func() {
		if cancel(); stopped {
			return
		}
		stopped = true
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
	w.t.Cleanup(stop)
	return "http://" + l.Addr().String(), stop
}

// local runs the world's API for programs on the machine.
func (w *world) local() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan error, 1), make(chan struct{})
	go func() { done <- w.api.ServeLocal(ctx, w.dir, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		w.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if cancel(); stopped {
			return
		}
		stopped = true
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

// TestLocal finds the server by the data folder and calls everything that a program on the machine needs.
func TestLocal(t *testing.T) {
	w := newWorld(t)
	w.story()
	ctx := t.Context()
	if _, err := api.Dial(ctx, w.dir); !errors.Is(err, api.ErrNotServed) {
		t.Fatalf("without a server Dial gives %v", err)
	}
	base, _ := w.served()
	stop := w.local()
	file := filepath.Join(w.dir, "serve.json")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%s: %v, %v", file, info, err)
	}
	text, _ := os.ReadFile(file)
	c, err := api.Dial(ctx, w.dir)
	if err != nil {
		t.Fatal(err)
	}
	w.everyCall(c)

	// The key of the process opens nothing but the local listener.
	var at api.Local
	if err := decode(answerOf(text), &at); err != nil || at.PID != os.Getpid() {
		t.Fatalf("%s: %v", text, err)
	}
	if _, err := api.NewClient(base, at.Key).Stats(ctx); !isStatus(err, http.StatusUnauthorized) {
		t.Errorf("at the public address the local key gives %v", err)
	}
	if _, err := api.NewClient("http://"+at.Address, w.keys["acme"]).Stats(ctx); !isStatus(err, http.StatusForbidden) {
		t.Errorf("at the local address a partner's key gives %v", err)
	}
	stop()
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("after the end the file is there: %v", err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Dial(ctx, w.dir); !errors.Is(err, api.ErrNotServed) {
		t.Errorf("a dead server's file gives %v", err)
	}
	for _, bad := range []string{"", "{", `{"address":"192.0.2.1:80"}`, `{"address":"x"}`, strings.Repeat("x", 5000)} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := api.Dial(ctx, w.dir); err == nil {
			t.Errorf("a file with %.20q was believed", bad)
		}
	}
}

func isStatus(err error, status int) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Status == status
}

// everyCall calls each method of a client once, as the operator.
func (w *world) everyCall(c *api.Client) {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	alice := moat.Entity{Kind: moat.Account, ID: "alice"}
	q := book.Query{Partner: "acme", Entity: alice, Limit: 1}
	found, next, err := c.Findings(ctx, q)
	must(err)
	q.After = next
	more, _, err := c.Findings(ctx, q)
	must(err)
	if len(found) != 1 || len(more) != 1 || found[0].ID == more[0].ID {
		t.Errorf("the findings are %+v and %+v", found, more)
	}
	cases, _, err := c.Cases(ctx, book.Query{State: moat.CaseOpen})
	must(err)
	id := cases[0].ID
	one, err := c.Case(ctx, id)
	must(err)
	if one.Case.ID != id || len(one.Findings) == 0 {
		t.Errorf("the case is %+v", one)
	}
	_, err = c.Judge(ctx, id, moat.Confirmed, true)
	must(err)
	_, err = c.AssignCase(ctx, id, "bob", false)
	must(err)
	_, err = c.CloseCase(ctx, id, true)
	must(err)
	if now, err := c.ReopenCase(ctx, id, false); err != nil || now.State != moat.CaseOpen || now.Owner != "bob" || now.Verdict != moat.Confirmed {
		t.Errorf("the case is %+v, %v", now, err)
	}
	d, err := c.Decide(ctx, api.NewDecision{Partner: "acme", Scope: "ip", Value: "203.0.113.9", Action: moat.Throttle, Until: moat.TimeOf(time.Now().Add(time.Hour)), Reason: "slow"})
	must(err)
	list, _, err := c.Decisions(ctx, book.Query{Active: moat.TimeOf(time.Now()), Scope: "ip", Value: "203.0.113.9"})
	must(err)
	if len(list) != 1 || list[0].ID != d.ID || d.Origin != "local" || list[0].Action != moat.Throttle {
		t.Errorf("in force is %+v", list)
	}
	_, err = c.Approve(ctx, d.ID)
	must(err)
	if f, err := c.Decision(ctx, d.ID); err != nil || f.Decision.ID != d.ID {
		t.Errorf("the decision is %+v, %v", f, err)
	}
	if d, err = c.Undo(ctx, d.ID); err != nil || d.UndoneBy != "local" {
		t.Errorf("undone it is %+v, %v", d, err)
	}
	orders, err := c.Orders(ctx, api.OrdersQuestion{IDs: []string{"acme-order-1", "none"}})
	must(err)
	if len(orders.Items) != 2 || len(orders.Items[0].Touches) != 2 || orders.Items[0].Touches[0].Type != "order.access" || orders.Items[0].Touches[0].Actor != "alice" {
		t.Errorf("the orders are %+v", orders)
	}
	e, err := c.Entity(ctx, api.EntityQuestion{Kind: "account", ID: "alice", Partner: "acme", Limit: 2, At: moat.TimeOf(w.base.Add(10 * time.Minute))})
	must(err)
	if e.Risk == nil || e.Risk.Score < 50 || len(e.Items) != 2 || e.Next == "" || e.Summary.Events != 25 || len(e.Summary.Days) != 3 || e.Summary.Days[0].Type == "" {
		t.Errorf("alice is %+v", e)
	}
	for _, odd := range []string{"..", ".", "a/b", "a b?c#d", "é", "%2e"} {
		if e, err := c.Entity(ctx, api.EntityQuestion{Kind: "account", ID: odd}); err != nil || e.ID != odd {
			t.Errorf("account %q is %+v, %v", odd, e, err)
		}
	}
	ev := &moat.Event{Partner: "acme", ID: "by-client", Time: moat.TimeOf(time.Now()), Type: moat.AuthLogin, Actor: "bob"}
	ev.MarkAll()
	ev.Mark(moat.FieldOutcome)
	if a, err := c.Ask(ctx, ev); err != nil || a.Event != "by-client" || a.Level != "low" {
		t.Errorf("the answer is %+v, %v", a, err)
	}
	_, err = c.CreatePartner(ctx, api.NewPartner{ID: "fifth", Name: "Fifth"})
	must(err)
	if _, err := c.CreatePartner(ctx, api.NewPartner{ID: "fifth", Name: "Fifth"}); !errors.Is(err, book.ErrExists) {
		t.Errorf("a partner twice gives %v", err)
	}
	partners, _, err := c.Partners(ctx, book.Query{Partner: "fifth"})
	must(err)
	k, err := c.CreateKey(ctx, api.NewKey{Partner: "fifth", Name: "k"})
	must(err)
	keys, _, err := c.Keys(ctx, book.Query{Partner: "fifth"})
	must(err)
	if len(partners) != 1 || len(keys) != 1 || keys[0].ID != k.ID || !strings.HasPrefix(k.Text, "mk_"+k.ID+"_") {
		t.Errorf("partners %+v, keys %+v", partners, keys)
	}
	if k, err := c.RevokeKey(ctx, k.ID); err != nil || k.Revoked == 0 {
		t.Errorf("the revoked key is %+v, %v", k, err)
	}
	trail, _, err := c.Audit(ctx, book.Query{Limit: 1})
	must(err)
	whole, err := c.VerifyAudit(ctx)
	must(err)
	if trail[0].Act != "key.revoke" || trail[0].By != "local" || whole.Hash != trail[0].Hash {
		t.Errorf("the trail ends with %+v, vouched %+v", trail, whole)
	}
	stats, err := c.Stats(ctx)
	must(err)
	if stats.Version != "test" || stats.Node.Detectors == 0 {
		t.Errorf("the figures are %+v", stats)
	}
	if list, err := c.Detectors(ctx); err != nil || len(list) != stats.Node.Detectors {
		t.Errorf("%d detectors, %v", len(list), err)
	}
	if list, err := c.Indicators(ctx); err != nil || len(list) == 0 {
		t.Errorf("%d indicators, %v", len(list), err)
	}
	if _, err := c.Case(ctx, "none"); !errors.Is(err, book.ErrNotFound) || err.(*api.Error).ID == "" {
		t.Errorf("a case that is not there gives %v", err)
	}
	if _, _, err := c.Cases(ctx, book.Query{Waiting: true}); !errors.Is(err, book.ErrInvalid) {
		t.Errorf("a filter that cases do not have gives %v", err)
	}
}

// TestServe calls over the network, by signature and by bearer, and ends in the middle of a request.
func TestServe(t *testing.T) {
	w := newWorld(t)
	base, stop := w.served()
	signed := func(method, path, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		_, secret, _ := strings.Cut(strings.TrimPrefix(w.keys["acme"], "mk_"), "_")
		auth.Sign(r, w.ids["acme"], secret, []byte(body), time.Now())
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Body.Close() })
		return a
	}
	if a := signed("GET", "/v1/cases?limit=5", ""); a.StatusCode != http.StatusOK {
		t.Errorf("a signed GET gives %s", a.Status)
	}
	if a := signed("POST", "/v1/risk", `{"time":1763700000,"type":"auth.logout","actor":"x"}`); a.StatusCode != http.StatusOK {
		t.Errorf("a signed question gives %s", a.Status)
	}
	if a := signed("POST", "/v1/orders", `{"ids":["`+strings.Repeat("x", 300<<10)+`"]}`); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large signed body gives %s", a.Status)
	}
	r, _ := http.NewRequestWithContext(t.Context(), "GET", base+"/healthz", nil)
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	if a, err := http.DefaultClient.Do(r); err != nil || a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("long headers give %v, %v", a, err)
	}
	if _, err := api.Listen(t.Context(), strings.TrimPrefix(base, "http://")); err == nil {
		t.Error("one address was opened twice")
	}
	w.slowRequest(strings.TrimPrefix(base, "http://"), stop)
}

// slowRequest sends half a request, ends the server, and sends the rest: it is answered.
func (w *world) slowRequest(addr string, stop func()) {
	t := w.t
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := `{"time":1763700000,"type":"auth.logout","actor":"x"}`
	fmt.Fprintf(conn, "POST /v1/risk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", w.keys["acme"], len(body))
	buf := make([]byte, 256)
	if n, err := conn.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "100 Continue") {
		t.Fatalf("the server does not ask for the body: %q, %v", buf[:n], err)
	}
	ended := make(chan struct{})
	go func() { stop(); close(ended) }()
	for { // until the server takes no more
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		c.Close()
	}
	io.WriteString(conn, body)
	rest, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(rest), "200 OK") || !strings.Contains(string(rest), `"risk"`) {
		t.Errorf("a request under way at the end gives %q, %v", rest, err)
	}
	<-ended
}

// TestHeardOut refuses requests with long bodies to a client that writes all of them before it reads, as many do: it reads why, also where
// the rest is not looked at; one that waits for leave to send is not waited for.
func TestHeardOut(t *testing.T) {
	w := newWorld(t)
	base, _ := w.served()
	long := func(bytes int) string { return strings.Repeat(" ", bytes) }
	chunked := "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", 1<<20, long(1<<20))
	for name, c := range map[string]struct {
		line, key, rest string
		status          string
	}{
		"too long":          {"POST /v1/events", "acme", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 30<<20, long(30<<20)), "413"},
		"too long, unsaid":  {"POST /v1/events", "acme", chunked + strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", 1<<20, long(1<<20)), 20) + "0\r\n\r\n", "413"},
		"of nobody":         {"POST /v1/events", "nobody", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 8<<20, long(8<<20)), "401"},
		"a long verdict":    {"POST /v1/decisions", "boss", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 8<<20, long(8<<20)), "413"},
		"astray":            {"POST /v1/nothing", "boss", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 8<<20, long(8<<20)), "404"},
		"waiting for leave": {"POST /v1/events", "acme", fmt.Sprintf("Content-Length: %d\r\nExpect: 100-continue\r\n\r\n", 30<<20), "413"},
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		begin := time.Now()
		if _, err := fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n%s", c.line, w.keys[c.key], c.rest); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		answer, err := io.ReadAll(io.LimitReader(conn, 12))
		if want := "HTTP/1.1 " + c.status; string(answer) != want || time.Since(begin) > 8*time.Second {
			t.Errorf("%s: %q after %s, %v, want %q", name, answer, time.Since(begin), err, want)
		}
		conn.Close()
	}
}
