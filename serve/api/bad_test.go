package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat/serve/api"
)

func decode(a answer, out any) error { return json.Unmarshal(a.Body.Bytes(), out) }

// wants fails the test unless a is an error of the one form, with that status and code.
func (w *world) wants(what string, a answer, status int, code string) {
	w.t.Helper()
	var e struct{ Error api.Error }
	if err := decode(a, &e); err != nil || a.Code != status || code != "" && e.Error.Code != code || e.Error.ID == "" || e.Error.Message == "" || strings.Contains(e.Error.Message, "invalid: ") {
		w.t.Errorf("%s gives %d %s, want %d %s", what, a.Code, a.Body, status, code)
	}
}

// TestBad sends what is wrong, to one world that stays as it is.
func TestBad(t *testing.T) {
	w := newWorld(t)
	w.story()
	for name, f := range map[string]func(*testing.T, *world){"bodies": badBodies, "methods": badMethods, "parameters": badParameters, "ids": unknownIDs,
		"events": badEvents, "failures": tooManyFailures, "document": documentServed, "filters": filters} {
		t.Run(name, func(t *testing.T) {
			here := *w
			here.t = t
			f(t, &here)
		})
	}
}

// badBodies sends every route that takes a body what it cannot take.
func badBodies(t *testing.T, w *world) {
	caseID, decision := w.acmesOwn()
	for _, r := range api.Routes() {
		if r.Body == 0 {
			continue
		}
		id := caseID
		if strings.Contains(r.Path, "/decisions/") {
			id = decision
		}
		path := strings.ReplaceAll(r.Path, "{id}", id)
		good := bodyFor(r, "acme", caseID)
		name := r.Method + " " + path
		w.wants(name+" with a huge body", w.send("boss", r.Method, path, "application/json", `{"x":"`+strings.Repeat("x", int(r.Body))+`"}`), http.StatusRequestEntityTooLarge, "too_large")
		w.wants(name+" with a list", w.call("boss", r.Method, path, `[]`), http.StatusBadRequest, "")
		w.wants(name+" with half an object", w.call("boss", r.Method, path, `{"verdict":`), http.StatusBadRequest, "")
		w.wants(name+" with NUL", w.call("boss", r.Method, path, "\x00"), http.StatusBadRequest, "")
		w.wants(name+" with text", w.call("boss", r.Method, path, `hello`), http.StatusBadRequest, "")
		w.wants(name+" with deep nesting", w.call("boss", r.Method, path, strings.Repeat("[", 20000)), http.StatusBadRequest, "")
		if good == "" {
			continue // wants no body
		}
		w.wants(name+" with nothing", w.send("boss", r.Method, path, "application/json", ""), http.StatusBadRequest, "")
		w.wants(name+" twice", w.call("boss", r.Method, path, good+good), http.StatusBadRequest, "")
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "text/html", "json", ";"} {
			w.wants(name+" as "+kind, w.send("boss", r.Method, path, kind, good), http.StatusUnsupportedMediaType, "media_type")
		}
		if r.Path != "/v1/risk" { // where unknown members belong to the event
			w.wants(name+" with an unknown member", w.call("boss", r.Method, path, strings.Replace(good, "{", `{"surprise":1,`, 1)), http.StatusBadRequest, "unreadable")
			w.wants(name+" with an unknown parameter", w.call("boss", r.Method, path+"?surprise=1", good), http.StatusBadRequest, "invalid")
		}
	}
}

// badMethods sends every path every method that it does not know.
func badMethods(t *testing.T, w *world) {
	allowed := map[string]string{}
	for _, r := range api.Routes() {
		allowed[r.Path] += r.Method + " "
	}
	for path, methods := range allowed {
		for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if strings.Contains(methods, m+" ") {
				continue
			}
			a := w.send("boss", m, strings.NewReplacer("{id}", "x", "{kind}", "account").Replace(path), "", "")
			w.wants(m+" "+path, a, http.StatusMethodNotAllowed, "method")
			for want := range strings.FieldsSeq(methods) {
				if !strings.Contains(a.Header().Get("Allow"), want) {
					t.Errorf("%s %s allows %q", m, path, a.Header().Get("Allow"))
				}
			}
		}
	}
	for _, path := range []string{"/v1", "/v1/", "/v2/cases", "/v1/cases/x/y/z", "/.env", "/v1/entities/account", "/healthz/x"} {
		w.wants("GET "+path, w.send("boss", "GET", path, "", ""), http.StatusNotFound, "not_found")
	}
}

// badParameters asks for what cannot be.
func badParameters(t *testing.T, w *world) {
	for _, path := range []string{
		"/v1/findings?limit=0", "/v1/findings?limit=1001", "/v1/findings?limit=-1", "/v1/findings?limit=ten", "/v1/findings?limit=1&limit=2",
		"/v1/findings?entity=alice", "/v1/findings?entity=dragon:smaug", "/v1/findings?entity=account:", "/v1/findings?entity=:x",
		"/v1/findings?since=yesterday", "/v1/findings?since=99999999999999999999", "/v1/findings?until=2026-13-01T00:00:00Z", "/v1/findings?rank=P1", "/v1/findings?active=true",
		"/v1/findings?cursor=garbage", "/v1/findings?cursor=1", "/v1/findings?detector=" + strings.Repeat("x", 2000), "/v1/findings?%zz", "/v1/findings?a;b",
		"/v1/cases?rank=P5", "/v1/cases?rank=none", "/v1/cases?state=ajar", "/v1/cases?cursor=" + strings.Repeat("9", 40) + ".x", "/v1/cases?waiting=true",
		"/v1/decisions?active=maybe", "/v1/decisions?waiting=perhaps", "/v1/audit?detector=x", "/v1/detectors?limit=1", "/v1/indicators?x=1", "/v1/stats?x=1", "/metrics?x=1",
		"/v1/entities/dragon/smaug", "/v1/entities/order/1", "/v1/scopes/dragon/smaug", "/v1/scopes/order/1", "/v1/scopes/account/a?since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z", "/v1/scopes/account/a/orders?discovered=never", "/v1/entities/peers/x", "/v1/entities/account/a?cursor=!", "/v1/entities/account/a?at=never", "/v1/entities/account/a?details=maybe", "/v1/entities/account/a?limit=2000",
		"/v1/orders", "/v1/orders?id=", "/v1/orders?id=" + strings.Repeat("x", 129), "/v1/orders?id=a&from=x", "/v1/orders?" + strings.Repeat("id=a&", 1001), "/v1/orders?ids=a",
		"/v1/complaints?kind=dragon", "/v1/canaries?kind=dragon",
	} {
		w.wants("GET "+path[:min(len(path), 80)], w.call("boss", "GET", path, ""), http.StatusBadRequest, "")
	}
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for body, status := range map[string]int{
		`{"scope":"account","value":"a","action":"deny","until":"` + soon + `","reason":"r"}`:                                                 400, // whose?
		`{"partner":"acme","scope":"account","value":"a","action":"deny","until":"2020-01-01T00:00:00Z","reason":"r"}`:                        400,
		`{"partner":"acme","scope":"account","value":"a","action":"deny","until":"2999-01-01T00:00:00Z","reason":"r"}`:                        400,
		`{"partner":"acme","scope":"account","value":"a","action":"smite","until":"` + soon + `","reason":"r"}`:                               400,
		`{"partner":"acme","scope":"account","value":"a","action":"allow","until":"` + soon + `","reason":"r"}`:                               400,
		`{"partner":"acme","scope":"cloud","value":"a","action":"deny","until":"` + soon + `","reason":"r"}`:                                  400,
		`{"partner":"acme","scope":"ip","value":"1.2.3","action":"deny","until":"` + soon + `","reason":"r"}`:                                 400,
		`{"partner":"acme","scope":"range","value":"10.0.0.1/8","action":"deny","until":"` + soon + `","reason":"r"}`:                         400,
		`{"partner":"acme","scope":"account","value":"a","action":"deny","until":"` + soon + `","reason":""}`:                                 400,
		`{"partner":"acme","scope":"account","value":"a\u0000b","action":"deny","until":"` + soon + `","reason":"r"}`:                         400,
		`{"partner":"acme","scope":"account","value":"a","action":"deny","until":"` + soon + `","reason":"r","case":"c_none"}`:                404,
		`{"partner":"acme","scope":"account","value":"a","action":"deny","until":12,"reason":"r"}`:                                            400,
		`{"partner":"acme","scope":"account","value":"a","action":7,"until":"` + soon + `","reason":"r"}`:                                     400,
		`{"partner":"acme","scope":"account","value":"` + strings.Repeat("a", 257) + `","action":"deny","until":"` + soon + `","reason":"r"}`: 400,
	} {
		w.wants("POST /v1/decisions "+body, w.call("boss", "POST", "/v1/decisions", body), status, "")
	}
	for path, bodies := range map[string][]string{
		"/v1/partners": {`{"name":"x"}`, `{"id":"a b","name":"x"}`, `{"id":"x","name":""}`, `{"id":"` + strings.Repeat("x", 65) + `","name":"x"}`},
		"/v1/keys":     {`{}`, `{"name":"x","operator":true,"partner":"acme"}`, `{"name":"\n","partner":"acme"}`},
		"/v1/traces": {`{}`, `{"ids":[]}`, `{"ids":[""]}`, `{"orders":[{"id":""}]}`, `{"ids":["a"],"skew":-1}`, `{"ids":["a"],"since":"2026-03-02T00:00:00Z","until":"2026-03-01T00:00:00Z"}`,
			`{"orders":["1"]}`, `{"orders":[{"id":"a","weight":2}]}`, `{"orders":[{"id":"a","kind":"x"}]}`, `{"ids":["` + strings.Repeat("x", 129) + `"]}`, `{"ids":["a\u0000"]}`},
		"/v1/orders":         {`{}`, `{"ids":[]}`, `{"ids":[""]}`, `{"ids":["a"],"from":"x"}`, `{"ids":[1]}`, `{"ids":"a"}`, `{"ids":["a\u0000"]}`},
		"/v1/canaries/check": {`{}`, `{"values":[1]}`, `{"values":["x"],"kind":"dragon"}`},
		"/v1/risk": {`{}`, `{"type":"auth.login","time":1}`, `{"partner":"acme","type":"dragon","time":1763700000}`, `{"partner":"a b","type":"auth.logout","time":1763700000,"actor":"x"}`,
			`{"type":"auth.logout","time":1763700000,"actor":"x"}`, `{"partner":"acme","type":"auth.logout","time":1763700000,"actor":"x","ip":"1.2.3"}`},
	} {
		for _, body := range bodies {
			w.wants("POST "+path+" "+body, w.call("boss", "POST", path, body), http.StatusBadRequest, "")
		}
	}
	for body, text := range map[string][2]string{
		`{"orders":["1"]}`:     {"the body cannot be read: orders: string stands where an object is wanted", `ids alone stand in ids`},
		`{"ids":[1]}`:          {"the body cannot be read: ids: number stands where a text is wanted", ""},
		`{"ids":"1"}`:          {"the body cannot be read: ids: string stands where a list is wanted", ""},
		`{"orders":[{"i":1}]}`: {`the body cannot be read: unknown field "i"`, ""},
	} {
		var got struct {
			Error struct{ Message, Hint string }
		}
		if err := decode(w.call("boss", "POST", "/v1/traces", body), &got); err != nil || got.Error.Message != text[0] || !strings.Contains(got.Error.Hint, text[1]) {
			t.Errorf("%s: %+v, %v", body, got.Error, err)
		}
	}
	nobody := w.call("boss", "POST", "/v1/canaries", `{"partner":"nobody","channel":"x","kind":"order","count":1,"pattern":"44##############"}`)
	if w.wants("canaries at nobody", nobody, http.StatusNotFound, "not_found"); !strings.Contains(nobody.Body.String(), "POST /v1/partners") {
		t.Errorf("canaries at nobody: %s", nobody.Body)
	}
	w.wants("a partner twice", w.call("boss", "POST", "/v1/partners", `{"id":"acme","name":"x"}`), http.StatusConflict, "exists")
	w.wants("a key of nobody", w.call("boss", "POST", "/v1/keys", `{"partner":"nobody","name":"x"}`), http.StatusNotFound, "not_found")
	w.wants("a partner's question as another", w.call("acme", "POST", "/v1/risk", `{"partner":"other","type":"auth.logout","time":1763700000,"actor":"x"}`), http.StatusForbidden, "forbidden")
	w.wants("a complaint by a partner", w.call("acme", "POST", "/v1/risk", `{"type":"complaint","time":1763700000,"orders":["x"]}`), http.StatusForbidden, "forbidden")
}

// unknownIDs asks for things that are not there.
func unknownIDs(t *testing.T, w *world) {
	for _, id := range []string{"none", "c_none", strings.Repeat("x", 4000), "%00", "%2e%2e", "a%2Fb", "%ff", "'--", "%F0%9F%8C%8A"} {
		for _, r := range api.Routes() {
			if !strings.Contains(r.Path, "{id}") || strings.Contains(r.Path, "{kind}") {
				continue
			}
			path := strings.ReplaceAll(r.Path, "{id}", id)
			w.wants(r.Method+" "+path, w.send("boss", r.Method, path, "application/json", bodyFor(r, "acme", "")), http.StatusNotFound, "not_found")
		}
		if a := w.send("boss", "GET", "/v1/entities/account/"+id, "", ""); a.Code != http.StatusOK {
			t.Errorf("an account %q that nobody saw gives %d %s", id, a.Code, a.Body)
		}
	}
}

// badEvents sends batches that the handler of events refuses, in the one form of errors.
func badEvents(t *testing.T, w *world) {
	for _, c := range []struct {
		who, kind, body string
		status          int
	}{
		{"acme", "application/x-ndjson", "", 400}, {"acme", "application/x-ndjson", "hello", 400}, {"acme", "image/png", "{}", 415},
		{"acme", "application/json", "[{}", 400}, {"", "application/json", "[]", 401},
		{"acme", "application/json", strings.Repeat(" ", 11<<20), 413},
	} {
		a := w.send(c.who, "POST", "/v1/events", c.kind, c.body)
		w.doc.check(t, "POST", "/v1/events", "", a)
		w.wants(fmt.Sprintf("%s %.20q", c.kind, c.body), a, c.status, "")
	}
	mixed := w.send("acme", "POST", "/v1/events", "application/x-ndjson", "{\"type\":\"dragon\"}\n{\"type\":\"heartbeat\",\"time\":1763700000,\"app\":\"a\"}\n")
	w.doc.check(t, "POST", "/v1/events", "", mixed)
	if mixed.Code != http.StatusAccepted || !bytes.Contains(mixed.Body.Bytes(), []byte(`"accepted":1`)) {
		t.Errorf("a mixed batch gives %d %s", mixed.Code, mixed.Body)
	}
}

// tooManyFailures shows bad keys until the address has used up its failures.
func tooManyFailures(t *testing.T, w *world) {
	h, err := api.New(api.Config{Node: w.node, Failures: 3})
	if err != nil {
		t.Fatal(err)
	}
	w.api = h
	for range 3 {
		w.wants("a bad key", w.call("nobody", "GET", "/v1/cases", ""), http.StatusUnauthorized, "unauthorized")
	}
	a := w.call("nobody", "GET", "/v1/cases", "")
	w.wants("one bad key more", a, http.StatusTooManyRequests, "too_many_failures")
	if a.Header().Get("Retry-After") == "" {
		t.Error("it does not say when to try again")
	}
	if _, err := api.New(api.Config{}); err == nil {
		t.Error("an API without a node was made")
	}
}

// answerOf makes text an answer, to be decoded.
func answerOf(text []byte) answer {
	rec := httptest.NewRecorder()
	rec.Body.Write(text)
	return answer{rec}
}
