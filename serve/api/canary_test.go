package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
)

// planting asks for canaries of acme as somebody, and returns their values.
func (w *world) planting(who, channel, kind, pattern string, count int) []string {
	w.t.Helper()
	a := w.call(who, "POST", "/v1/canaries", fmt.Sprintf(`{"partner":"acme","channel":%q,"kind":%q,"count":%d,"pattern":%q,"period":"2026-11"}`, channel, kind, count, pattern))
	var p struct{ Values []string }
	if err := json.Unmarshal(a.Body.Bytes(), &p); a.Code != http.StatusCreated || err != nil {
		w.t.Fatalf("canaries were not placed: %d %s", a.Code, a.Body)
	}
	return p.Values
}

// use lets everything happen to orders, a phone and an account that can happen to a canary, and returns what acme and other were told meanwhile.
func (w *world) use(orders []string, phone, account string) (told []string) {
	w.t.Helper()
	send := func(who string, at time.Duration, id, rest string) {
		a := w.send(who, "POST", "/v1/events", "application/json", fmt.Sprintf(`{"id":%q,"time":%q,%s}`, id, w.base.Add(at).Format(time.RFC3339), rest))
		if told = append(told, a.Body.String()); a.Code != http.StatusAccepted {
			w.t.Fatalf("%s was not taken: %d %s", id, a.Code, a.Body)
		}
	}
	ask := func(who, path, body string) {
		a := w.call(who, "POST", path, body)
		told = append(told, fmt.Sprintf("%s %s\n%d %s", who, path, a.Code, a.Body))
	}
	list := ""
	for i := range 60 {
		list += fmt.Sprintf(`,"acme-order-%d"`, i)
	}
	send("acme", 0, "list", `"type":"order.access","actor":"li","app":"erp","operation":"view_list","fields":["phone"],"orders":["`+strings.Join(orders, `","`)+`"`+list+`]`)
	for i, act := range []string{"view", "export", "decrypt", "print"} {
		send("acme", time.Hour, act, fmt.Sprintf(`"type":"order.access","actor":"li","app":"erp","ip":"203.0.113.9","operation":%q,"fields":["phone"],"orders":[%q]`, act, orders[i]))
	}
	send("acme", 2*time.Hour, "wms", fmt.Sprintf(`"type":"order.access","actor":"mo","app":"wms","operation":"view","orders":[%q]`, orders[4]))
	send("acme", 2*time.Hour, "away", fmt.Sprintf(`"type":"order.transmit","app":"erp","destination":"parcels.example","orders":[%q]`, orders[5]))
	send("other", 3*time.Hour, "there", fmt.Sprintf(`"type":"order.access","actor":"wang","app":"tms","operation":"view","orders":[%q]`, orders[0]))
	send("acme", 4*time.Hour, "try", fmt.Sprintf(`"type":"auth.login","actor":%q,"app":"erp","ip":"203.0.113.7","outcome":"failure"`, account))
	if err := w.node.Drain(w.t.Context()); err != nil { // complaints are about orders that are known
		w.t.Fatal(err)
	}
	contacted := w.base.Add(5 * time.Hour).Format(time.RFC3339)
	complaint := func(id string) string {
		return fmt.Sprintf(`{"complaints":[{"order":%q,"kind":"scam_call","contacted_at":%q,"reporter":"r"},{"order":"never-seen","kind":"spam"}]}`, id, contacted)
	}
	boss := func(id string) {
		if a := w.call("boss", "POST", "/v1/complaints", complaint(id)); a.Code != http.StatusOK {
			w.t.Fatalf("complaint: %d %s", a.Code, a.Body)
		}
	}
	for _, id := range []string{orders[0], orders[6], phone, account} {
		boss(id)
	}
	for _, id := range []string{orders[1], orders[7], phone, account} { // 6 and 7 stood in no event
		ask("acme", "/v1/complaints", complaint(id))
		ask("other", "/v1/complaints", complaint(id))
	}
	for i, o := range []string{orders[2], orders[6], "acme-order-5"} {
		ask("acme", "/v1/risk", fmt.Sprintf(`{"id":"q%d","time":%q,"type":"order.access","actor":"li","app":"wms","operation":"export","orders":[%q]}`, i, w.base.Add(6*time.Hour).Format(time.RFC3339), o))
		ask("other", "/v1/risk", fmt.Sprintf(`{"id":"p%d","time":%q,"type":"order.access","actor":"wang","app":"tms","operation":"view","orders":[%q]}`, i, w.base.Add(6*time.Hour).Format(time.RFC3339), o))
	}
	ask("acme", "/v1/risk", fmt.Sprintf(`{"id":"q9","time":%q,"type":"auth.login","actor":%q,"app":"erp","ip":"203.0.113.7","outcome":"success"}`, w.base.Add(6*time.Hour).Format(time.RFC3339), account))
	if err := w.node.Drain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return told
}

// reads asks for everything that a partner may read.
func (w *world) reads(who string, orders []string, phone, account string) (told []string) {
	w.t.Helper()
	note := func(method, path, body string) {
		a := w.call(who, method, path, body)
		told = append(told, fmt.Sprintf("%s %s %s %s\n%d %s", who, method, path, body, a.Code, a.Body))
	}
	ids, err := json.Marshal(append(append([]string{}, orders...), "acme-order-5", "never-seen"))
	if err != nil {
		w.t.Fatal(err)
	}
	values, err := json.Marshal(append(append([]string{}, orders...), phone, account))
	if err != nil {
		w.t.Fatal(err)
	}
	seen := map[string]bool{"POST /v1/events": true, "POST /v1/risk": true, "POST /v1/complaints": true}
	for _, r := range api.Routes() {
		if r.Open || r.Operator || r.Method != "GET" || strings.Contains(r.Path, "{") {
			continue
		}
		seen["GET "+r.Path] = true
		if r.Path == "/v1/orders" {
			for _, o := range orders {
				note("GET", "/v1/orders?id="+o, "")
			}
			continue
		}
		note("GET", r.Path, "")
	}
	if !seen["GET /v1/cases"] || !seen["GET /v1/findings"] || !seen["GET /v1/detectors"] || !seen["GET /v1/audit"] {
		w.t.Fatal("routes are missing")
	}
	for _, e := range []string{"account/li", "account/mo", "account/wang", "account/" + account, "app/erp", "app/wms", "ip/203.0.113.9", "ip/203.0.113.7", "partner/acme", "partner/other", "destination/parcels.example"} {
		note("GET", "/v1/entities/"+e, "")
		note("GET", "/v1/scopes/"+e, "")
		note("GET", "/v1/scopes/"+e+"/orders", "")
	}
	note("GET", "/v1/partners/acme", "")
	note("POST", "/v1/orders", fmt.Sprintf(`{"ids":%s}`, ids))
	note("POST", "/v1/traces", fmt.Sprintf(`{"ids":%s}`, ids))
	note("POST", "/v1/canaries/check", fmt.Sprintf(`{"values":%s,"report":true}`, values))
	return told
}

// chance is what differs between any two worlds: moments, ids of errors and the chain of the audit trail.
var chance = regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:.]+Z|"id":"[A-Z0-9]{12}"|"hash":"[0-9a-f]{64}"`)

// TestCanariesHidden lets the same happen in two worlds: in one the operator planted orders, a phone and an account, in the other they are like all others.
// No answer that a partner can get tells in which of them it is, and the operator sees an alarm.
func TestCanariesHidden(t *testing.T) {
	w := newWorld(t, "access.canary_used", "access.canary_hand", "account.canary_key")
	orders := w.planting("boss", "app:erp", "order", "44##############", 8)
	phone := w.planting("boss", "mail", "phone", "+44 7700 900###", 1)[0]
	account := w.planting("boss", "wiki", "credential", "svc-@@@@@@@@@@", 1)[0]
	plain := newWorld(t, "access.canary_used", "access.canary_hand", "account.canary_key")
	plain.base = w.base
	told, want := w.use(orders, phone, account), plain.use(orders, phone, account)
	for _, who := range []string{"acme", "other"} {
		told, want = append(told, w.reads(who, orders, phone, account)...), append(want, plain.reads(who, orders, phone, account)...)
	}
	// Nor does it show by what it can place itself: a pattern that is one value, and one that is that value half of the time.
	for _, body := range []string{`"kind":"phone","count":1,"pattern":"` + phone + `"`, `"kind":"order","count":4,"pattern":"` + orders[7] + `|44##############"`} {
		body = `{"channel":"probe","period":"2026-11",` + body + `}`
		a, b := w.send("acme", "POST", "/v1/canaries", "application/json", body), plain.send("acme", "POST", "/v1/canaries", "application/json", body)
		told, want = append(told, a.Body.String()), append(want, b.Body.String())
	}
	a, b := w.call("acme", "POST", "/v1/canaries/check", fmt.Sprintf(`{"values":[%q]}`, phone)), plain.call("acme", "POST", "/v1/canaries/check", fmt.Sprintf(`{"values":[%q]}`, phone))
	if told, want = append(told, a.Body.String()), append(want, b.Body.String()); !strings.Contains(a.Body.String(), "probe") {
		t.Errorf("a canary of its own is hidden from acme: %s", a.Body)
	}
	plainly := func(s string) string {
		for name, id := range w.ids {
			s = strings.ReplaceAll(s, id, name)
		}
		for name, id := range plain.ids {
			s = strings.ReplaceAll(s, id, name)
		}
		return chance.ReplaceAllString(s, "X")
	}
	for i := range want {
		if got, want := plainly(told[i]), plainly(want[i]); got != want {
			t.Errorf("it shows that something is planted:\n%s\nwhere nothing is:\n%s", got, want)
		}
	}
	var cases struct{ Items []moat.Case }
	w.get("boss", "/v1/cases?partner=acme", &cases)
	if len(cases.Items) == 0 || cases.Items[0].Partner != moat.Veiled("acme") || cases.Items[0].Rank != moat.P1 {
		t.Errorf("the operator sees %+v", cases.Items)
	}
}
