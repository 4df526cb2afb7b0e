package api_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzRequest sends anything to any path: never a crash, never a fault of the server, always an answer
// in the one form.
func FuzzRequest(f *testing.F) {
	for _, s := range [][3]string{
		{"GET", "/v1/findings?limit=1&entity=account:alice", ""}, {"GET", "/v1/cases/c_x", ""}, {"POST", "/v1/decisions", `{"partner":"acme","scope":"ip","value":"1.2.3.4","action":"deny","until":"2030-01-01T00:00:00Z","reason":"r"}`},
		{"POST", "/v1/risk", `{"partner":"acme","time":1763700000,"type":"auth.logout","actor":"x"}`}, {"POST", "/v1/orders", `{"ids":["a"],"from":1}`}, {"GET", "/v1/entities/account/%2F?cursor=AAAA&at=1", ""},
		{"GET", "/v1/orders?id=a&id=b&to=9", ""}, {"DELETE", "/v1/keys/x", ""}, {"GET", "/v1/audit?cursor=1.x", ""}, {"POST", "/v1/events", `[{"type":"heartbeat"}]`}, {"POST", "/v1/keys", `{"partner":"acme","name":"x"}`},
	} {
		f.Add(s[0], s[1], s[2])
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") || strings.ContainsAny(target, " \t\r\n") || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || method == "" || u.Path == "/v1/audit/verify" || u.Path == "/healthz" {
			return
		}
		r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+w.keys["boss"])
		r.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		w.api.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Fatalf("%s %q %q gives %d %s", method, target, body, rec.Code, rec.Body)
		}
		if rec.Code >= 400 && method != "HEAD" && !strings.HasPrefix(rec.Body.String(), `{"error":{"code":"`) {
			t.Fatalf("%s %q %q gives %d %s", method, target, body, rec.Code, rec.Body)
		}
	})
}
