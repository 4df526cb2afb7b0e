package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/store/book"
)

// bodyFor is a body that each route would take, given a partner, a case and the time until which.
func bodyFor(r api.Route, partner, caseID string) string {
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	switch r.Method + " " + r.Path {
	case "POST /v1/events":
		return fmt.Sprintf(`[{"id":"x","time":%q,"type":"auth.login","actor":"alice","outcome":"success","partner":%q}]`, time.Now().UTC().Format(time.RFC3339), partner)
	case "POST /v1/risk":
		return fmt.Sprintf(`{"id":"y","time":%q,"type":"auth.login","actor":"alice","outcome":"success","partner":%q}`, time.Now().UTC().Format(time.RFC3339), partner)
	case "POST /v1/cases/{id}/verdict":
		return `{"verdict":"false_alarm"}`
	case "POST /v1/cases/{id}/assign":
		return `{"owner":"thief"}`
	case "POST /v1/decisions":
		return fmt.Sprintf(`{"partner":%q,"scope":"account","value":"alice","action":"ban","until":%q,"reason":"r","case":%q}`, partner, until, caseID)
	case "POST /v1/snoozes":
		return fmt.Sprintf(`{"partner":%q,"entity":{"kind":"account","id":"dave"},"until":%q,"reason":"r"}`, partner, until)
	case "POST /v1/orders":
		return `{"ids":["acme-order-1"]}`
	case "POST /v1/complaints":
		return fmt.Sprintf(`{"partner":%q,"complaints":[{"order":"acme-order-1","kind":"spam","reporter":"r"}]}`, partner)
	case "POST /v1/traces":
		return `{"ids":["acme-order-1"]}`
	case "POST /v1/canaries":
		return fmt.Sprintf(`{"partner":%q,"channel":"x","kind":"order","count":1,"pattern":"44##############"}`, partner)
	case "POST /v1/canaries/check":
		return `{"values":["4401234567890123"],"report":true}`
	case "POST /v1/partners":
		return `{"id":"fourth","name":"Fourth"}`
	case "POST /v1/keys":
		return fmt.Sprintf(`{"partner":%q,"name":"mine"}`, partner)
	}
	return ""
}

// unnamed takes an empty partner out of a body.
func unnamed(body string) string {
	return strings.Replace(strings.Replace(body, `"partner":"",`, "", 1), `,"partner":""`, "", 1)
}

// TestTenancy walks over all routes as another partner that knows every id of acme's, and asks for them
// in every way. It gets nothing of acme's back that it did not send, and changes nothing.
func TestTenancy(t *testing.T) {
	w := newWorld(t)
	w.story()
	caseID, decision := w.acmesOwn()
	snooze := w.snoozed()
	before := w.acmeNow()
	secrets := []string{"acme", `"ACME"`, "alice", "dev-secret", "shop-secret", "203.0.113.9", "thief.example", caseID, decision, snooze, w.ids["acme"], w.ids["app"], "fail-9", "take-0", "failed logins on account"}
	fill := strings.NewReplacer("{kind}", "account", "/{id}", "/<id>")
	for _, r := range api.Routes() {
		if r.Open {
			continue
		}
		for _, id := range []string{caseID, decision, snooze, w.ids["acme"], "alice"} {
			for _, query := range []string{"", "partner=acme", "entity=account:alice", "id=acme-order-1", "object=" + caseID, "case=" + caseID, "detector=account.test_guessing", "value=alice"} {
				path := strings.ReplaceAll(fill.Replace(r.Path), "<id>", id)
				if query != "" {
					path += "?" + query
				}
				for _, partner := range []string{"acme", ""} {
					body := unnamed(bodyFor(r, partner, caseID))
					kind := ""
					if body != "" {
						kind = "application/json"
					}
					if r.Method == "GET" && partner == "" {
						continue
					}
					a := w.send("other", r.Method, path, kind, body)
					for _, s := range secrets {
						if strings.Contains(a.Body.String(), s) && !strings.Contains(path+body, s) {
							t.Fatalf("%s %s %s shows %q to another partner:\n%d %s", r.Method, path, body, s, a.Code, a.Body)
						}
					}
					if a.Code >= 500 {
						t.Errorf("%s %s %s gives %d %s", r.Method, path, body, a.Code, a.Body)
					}
					if r.Operator && a.Code != http.StatusForbidden {
						t.Errorf("%s %s gives a partner %d", r.Method, path, a.Code)
					}
					if strings.Contains(r.Path, "{id}") && !strings.Contains(r.Path, "{kind}") && !r.Operator && a.Code < 400 {
						t.Errorf("%s %s gives another partner %d", r.Method, path, a.Code)
					}
				}
			}
		}
	}
	if after := w.acmeNow(); after != before {
		t.Errorf("another partner changed what is acme's:\n%s\nwas\n%s", after, before)
	}
	for path, want := range map[string]int{
		"/v1/findings?partner=acme": 403, "/v1/cases?partner=acme": 403, "/v1/complaints?partner=acme": 403, "/v1/entities/account/alice?partner=acme": 403, "/v1/audit?partner=acme": 403,
		"/v1/cases/" + caseID: 404, "/v1/decisions/" + decision: 404,
	} {
		if a := w.call("other", "GET", path, ""); a.Code != want {
			t.Errorf("GET %s gives another partner %d, want %d", path, a.Code, want)
		}
	}
	w.logged("y")
	if err := w.node.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	var touched api.EntityFile
	w.get("other", "/v1/entities/account/alice", &touched)
	if len(touched.Items) != 2 { // its own alice, whom it sent as event x and asked about as y, many times each
		t.Errorf("another partner sees %d events of its own", len(touched.Items))
	}
	for _, i := range touched.Items {
		if i.Partner != "other" || len(i.Orders) != 0 || i.IP != "" {
			t.Errorf("another partner sees of alice: %+v", i)
		}
	}
	var orders api.Orders
	if w.get("other", "/v1/orders?id=acme-order-1", &orders); len(orders.Items[0].Touches) != 0 {
		t.Errorf("another partner sees of acme's order: %+v", orders)
	}
}

// logged waits until the question with that id, asked by other about alice, has come through the log.
func (w *world) logged(id string) {
	w.t.Helper()
	for w.t.Context().Err() == nil {
		var f api.EntityFile
		w.get("other", "/v1/entities/account/alice", &f)
		if slices.ContainsFunc(f.Items, func(i api.Touch) bool { return i.Event == id }) {
			return
		}
	}
}

// acmesOwn returns the ids of a case and a decision of acme's.
func (w *world) acmesOwn() (caseID, decision string) {
	w.t.Helper()
	var cases api.Page[moat.Case]
	w.get("acme", "/v1/cases", &cases)
	var decisions api.Page[moat.Decision]
	w.get("acme", "/v1/decisions", &decisions)
	if len(cases.Items) == 0 || len(decisions.Items) == 0 {
		w.t.Fatal("the story led to nothing")
	}
	return cases.Items[0].ID, decisions.Items[0].ID
}

// snoozed makes a snooze of acme's, judges its case, and returns the id of the snooze.
func (w *world) snoozed() string {
	w.t.Helper()
	caseID, _ := w.acmesOwn()
	var s book.Snooze
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if a := w.call("acme", "POST", "/v1/snoozes", fmt.Sprintf(`{"entity":{"kind":"account","id":"carol"},"until":%q}`, until)); decode(a, &s) != nil || a.Code != http.StatusCreated {
		w.t.Fatalf("a snooze gives %d %s", a.Code, a.Body)
	}
	if a := w.call("boss", "POST", "/v1/cases/"+caseID+"/verdict", `{"verdict":"false_alarm"}`); a.Code != http.StatusOK {
		w.t.Fatalf("a verdict gives %d %s", a.Code, a.Body)
	}
	return s.ID
}

// acmeNow is all that is kept of acme.
func (w *world) acmeNow() string {
	w.t.Helper()
	s := ""
	for _, path := range []string{"/v1/findings", "/v1/cases", "/v1/decisions", "/v1/snoozes", "/v1/detectors", "/v1/audit", "/v1/keys?partner=acme"} {
		who := "acme"
		if strings.Contains(path, "keys") {
			who = "boss"
		}
		s += w.call(who, "GET", path, "").Body.String()
	}
	return s
}

// TestAccess asks every route without credentials, with wrong ones, and with the key of an app.
func TestAccess(t *testing.T) {
	w := newWorld(t)
	w.story()
	caseID, _ := w.acmesOwn()
	w.keys["wrong"] = w.keys["acme"][:len(w.keys["acme"])-1] + "x"
	w.keys["forged"] = "mk_" + w.ids["boss"] + "_" + w.keys["acme"][strings.LastIndexByte(w.keys["acme"], '_')+1:]
	w.keys["local"] = "mk_local_" + strings.Repeat("a", 52)
	w.keys["broken"] = "mk"
	for _, r := range api.Routes() {
		path := strings.NewReplacer("{kind}", "account", "{id}", caseID).Replace(r.Path)
		body := bodyFor(r, "acme", caseID)
		for _, who := range []string{"", "wrong", "forged", "local", "broken"} {
			a := w.call(who, r.Method, path, body)
			if want := http.StatusUnauthorized; !r.Open && a.Code != want || r.Open && a.Code != http.StatusOK {
				t.Errorf("%s %s by %q gives %d", r.Method, path, who, a.Code)
			}
			if !r.Open && a.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s by %q does not ask for credentials", r.Method, path, who)
			}
		}
		a := w.call("app", r.Method, path, unnamed(bodyFor(r, "", caseID)))
		if want := http.StatusForbidden; !r.Open && !r.App && a.Code != want || (r.Open || r.App) && a.Code >= 400 {
			t.Errorf("%s %s by an app's key gives %d %s", r.Method, path, a.Code, a.Body)
		}
		if r.Operator {
			if a := w.call("acme", r.Method, path, body); a.Code != http.StatusForbidden {
				t.Errorf("%s %s by a partner gives %d", r.Method, path, a.Code)
			}
		}
	}
}

// TestRevoke revokes a key and uses it at once.
func TestRevoke(t *testing.T) {
	w := newWorld(t)
	var k api.ShownKey
	made := w.call("boss", "POST", "/v1/keys", `{"partner":"acme","name":"short-lived"}`)
	if err := decode(made, &k); err != nil || made.Code != http.StatusCreated {
		t.Fatalf("%d %s", made.Code, made.Body)
	}
	w.keys["short"] = k.Text
	if a := w.call("short", "GET", "/v1/cases", ""); a.Code != http.StatusOK {
		t.Fatalf("a new key gives %d", a.Code)
	}
	if a := w.call("boss", "DELETE", "/v1/keys/"+k.ID, ""); a.Code != http.StatusOK || strings.Contains(a.Body.String(), k.Text) {
		t.Fatalf("revoking gives %d %s", a.Code, a.Body)
	}
	if a := w.call("short", "GET", "/v1/cases", ""); a.Code != http.StatusUnauthorized {
		t.Errorf("a revoked key gives %d", a.Code)
	}
	keys, _, err := w.node.Book.Keys(t.Context(), moat.Everyone(), book.Query{})
	if err != nil || !slices.ContainsFunc(keys, func(b book.Key) bool { return b.ID == k.ID && b.Revoked != 0 }) {
		t.Errorf("the book says %+v, %v", keys, err)
	}
}
