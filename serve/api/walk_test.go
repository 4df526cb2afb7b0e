package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat/serve/api"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestWalk walks over all routes as a script, holds every answer against the document and all of them
// together against a golden file.
func TestWalk(t *testing.T) {
	w := newWorld(t)
	w.story()
	var log bytes.Buffer
	vars := map[string]string{
		"today": w.base.Format(time.RFC3339), "tomorrow": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339), "at": w.base.Add(10 * time.Minute).Format(time.RFC3339),
	}
	step := func(who, method, path, body string, keep ...string) {
		t.Helper()
		for name, v := range vars {
			path, body = strings.ReplaceAll(path, "<"+name+">", v), strings.ReplaceAll(body, "<"+name+">", v)
		}
		a := w.call(who, method, path, body)
		fmt.Fprintf(&log, "%s %s %s %s\n%d %s\n\n", who, method, path, body, a.Code, w.scrub(a))
		for i := 0; i+1 < len(keep); i += 2 {
			vars[keep[i]] = dig(t, a.Body.Bytes(), keep[i+1])
		}
	}
	step("", "GET", "/healthz", "")
	step("acme", "GET", "/v1/findings?limit=2&entity=account:alice&detector=account.test_guessing", "")
	step("acme", "GET", "/v1/cases?state=open", "", "case", "items.0.id")
	step("boss", "GET", "/v1/cases?partner=acme&entity=account:alice&since=<today>&limit=1", "")
	step("acme", "GET", "/v1/cases?campaign=<case>&limit=1", "")
	step("acme", "GET", "/v1/campaigns?state=open", "")
	step("other", "GET", "/v1/campaigns?partner=acme", "")
	step("acme", "GET", "/v1/cases/<case>", "")
	step("acme", "GET", "/v1/cases/<case>/timeline", "")
	step("acme", "POST", "/v1/cases/<case>/assign", `{"owner":"bob"}`)
	step("acme", "POST", "/v1/cases/<case>/verdict", `{"verdict":"confirmed"}`)
	step("acme", "GET", "/v1/cases/<case>", "")
	step("boss", "POST", "/v1/cases/<case>/verdict", `{"verdict":"accepted"}`)
	step("boss", "POST", "/v1/detectors/account.test_guessing/promote", "")
	step("acme", "POST", "/v1/snoozes", `{"entity":{"kind":"account","id":"alice"},"detector":"account.test_guessing","until":"<tomorrow>","reason":"a test"}`, "snooze", "id")
	step("acme", "POST", "/v1/snoozes", `{"entity":{"kind":"account","id":"alice"},"until":"2026-01-01T00:00:00Z"}`)
	step("other", "POST", "/v1/snoozes", `{"partner":"acme","entity":{"kind":"account","id":"alice"},"until":"<tomorrow>"}`)
	step("boss", "GET", "/v1/snoozes?entity=account:alice&active=true", "")
	step("acme", "DELETE", "/v1/snoozes/<snooze>", "")
	step("acme", "GET", "/v1/snoozes?active=true", "")
	step("acme", "POST", "/v1/cases/<case>/close", "")
	step("acme", "POST", "/v1/cases/<case>/reopen", `{"campaign":true}`)
	step("acme", "GET", "/v1/decisions?case=<case>&active=<at>", "")
	step("acme", "POST", "/v1/decisions", `{"scope":"ip","value":"203.0.113.9","action":"deny","until":"<tomorrow>","case":"<case>","reason":"guesses passwords"}`, "decision", "id")
	step("acme", "GET", "/v1/decisions?active=true&entity=ip:203.0.113.9", "")
	step("acme", "POST", "/v1/risk", `{"id":"asked","time":"<at>","type":"auth.login","actor":"bob","outcome":"success","ip":"203.0.113.9"}`)
	if err := w.node.Drain(t.Context()); err != nil { // the question is an event too
		t.Fatal(err)
	}
	step("acme", "DELETE", "/v1/decisions/<decision>", "")
	step("acme", "GET", "/v1/decisions/<decision>", "")
	step("acme", "GET", "/v1/decisions?active=true", "")
	step("boss", "POST", "/v1/decisions", `{"partner":"acme","scope":"app","value":"erp","action":"deny","until":"<tomorrow>","reason":"it leaks"}`, "wide", "id")
	step("acme", "GET", "/v1/decisions?waiting=true", "")
	step("boss", "POST", "/v1/decisions/<wide>/approve", "")
	step("deputy", "POST", "/v1/decisions/<wide>/approve", "")
	step("boss", "GET", "/v1/decisions/<wide>", "")
	step("acme", "GET", "/v1/entities/account/alice?limit=1&at=<at>&since=<today>&details=true", "", "page", "next")
	step("acme", "GET", "/v1/entities/account/alice?limit=1&at=<at>&cursor=<page>", "")
	step("acme", "GET", "/v1/entities/destination/thief.example", "")
	step("boss", "GET", "/v1/entities/ip/203.0.113.9?limit=1", "")
	step("acme", "GET", "/v1/scopes/account/alice?discovered=<at>", "")
	step("acme", "GET", "/v1/scopes/destination/thief.example/orders", "")
	step("acme", "GET", "/v1/orders?id=acme-order-1&id=never-seen&from=<today>", "")
	step("boss", "POST", "/v1/orders", `{"ids":["acme-order-1"],"to":"<tomorrow>"}`)
	step("acme", "POST", "/v1/complaints", `{"complaints":[{"order":"acme-order-1","kind":"scam_call","contacted_at":"<at>","reporter":"+8613800138000","channel":"hotline"},{"order":"acme-order-1","kind":"scam_call","contacted_at":"<at>","reporter":"+8613800138000","channel":"hotline"},{"order":"never-seen"},{"order":"acme-order-1","kind":"dump"}]}`)
	step("other", "POST", "/v1/complaints", `{"complaints":[{"order":"acme-order-1","kind":"spam"}]}`)
	step("boss", "POST", "/v1/complaints", `{"complaints":[{"order":"acme-order-1","kind":"dump","contacted_at":"<today>"}]}`)
	step("boss", "POST", "/v1/events", `{"id":"c1","time":"<at>","type":"complaint","orders":["acme-order-1"],"kind":"other","contacted_at":"<at>"}
{"id":"c2","time":"<at>","type":"complaint","orders":["never-seen"]}`)
	step("acme", "GET", "/v1/complaints?order=acme-order-1&kind=scam_call", "")
	step("boss", "GET", "/v1/complaints?partner=acme&limit=1", "", "leak", "next")
	step("boss", "GET", "/v1/complaints?partner=acme&limit=1&cursor=<leak>", "")
	step("other", "GET", "/v1/complaints", "")
	step("boss", "POST", "/v1/traces", `{"ids":["acme-order-1","acme-order-1"],"orders":[{"id":"never-seen","at":"<tomorrow>","by":"hotline","weight":0.5}]}`)
	step("boss", "POST", "/v1/canaries", `{"partner":"acme","channel":"app:erp","kind":"order","count":2,"example":"4401234567890123","period":"2026-11"}`, "lot", "id", "planted", "values.0")
	step("acme", "POST", "/v1/canaries", `{"channel":"wiki","kind":"credential","count":1,"pattern":"svc-@@@@@@@@@@","period":"2026-11"}`, "mine", "id")
	step("boss", "GET", "/v1/canaries?planted=acme&kind=order", "")
	step("acme", "GET", "/v1/canaries", "")
	step("acme", "GET", "/v1/canaries/<mine>", "")
	step("boss", "POST", "/v1/canaries/check", `{"values":["<planted>","no canary"],"report":true}`)
	step("boss", "GET", "/v1/orders?id=<planted>&from=<tomorrow>", "")
	step("acme", "GET", "/v1/orders?id=<planted>&from=<tomorrow>", "")
	step("acme", "POST", "/v1/canaries/check", `{"values":["<planted>","no canary"]}`)
	step("acme", "GET", "/v1/audit?limit=3", "")
	step("boss", "GET", "/v1/audit?object=<wide>", "")
	step("boss", "GET", "/v1/audit/verify", "")
	step("boss", "POST", "/v1/partners", `{"id":"third","name":"Third & Sons","edition":"courier"}`)
	step("boss", "GET", "/v1/partners?limit=2", "")
	step("acme", "GET", "/v1/partners", "")
	step("acme", "GET", "/v1/partners/acme", "")
	step("other", "GET", "/v1/partners/acme", "")
	step("boss", "POST", "/v1/keys", `{"partner":"third","app":"tms","name":"door"}`, "key", "id")
	step("boss", "GET", "/v1/keys?partner=third", "")
	step("boss", "DELETE", "/v1/keys/<key>", "")
	var detectors api.Page[api.Detector]
	w.get("acme", "/v1/detectors", &detectors)
	if len(detectors.Items) < 24 {
		t.Errorf("%d detectors", len(detectors.Items))
	}
	var indicators api.Page[api.Indicator]
	w.get("acme", "/v1/indicators", &indicators)
	if len(indicators.Items) < 3 || indicators.Items[0].Licence == "" || indicators.Items[0].Date == "" {
		t.Errorf("the indicators are %+v", indicators.Items)
	}
	var stats api.Stats
	w.get("boss", "/v1/stats", &stats)
	if stats.Questions != 1 || stats.Ingest.Accepted != 26 {
		t.Errorf("the figures are %+v", stats)
	}
	w.call("boss", "GET", "/metrics", "")
	w.call("", "GET", "/", "")
	w.call("", "GET", "/canaries/plan", "")
	w.call("", "GET", "/openapi.json", "")
	w.call("", "GET", "/openapi.yaml", "")
	golden(t, "testdata/walk.golden", log.Bytes())
	for _, r := range api.Routes() {
		met := false
		for _, s := range []string{"200", "201", "202"} {
			met = met || w.doc.met[r.Method+" "+r.Path+" "+s]
		}
		if !met {
			t.Errorf("the walk never succeeded at %s %s", r.Method, r.Path)
		}
	}
}

// dig follows a path such as items.0.id into JSON.
func dig(t *testing.T, text []byte, path string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	for part := range strings.SplitSeq(path, ".") {
		switch n := v.(type) {
		case map[string]any:
			v = n[part]
		case []any:
			if len(n) == 0 {
				t.Fatalf("nothing at %s of %s", path, text)
			}
			v = n[0]
		}
	}
	s, ok := v.(string)
	if !ok {
		t.Fatalf("no text at %s of %s", path, text)
	}
	return s
}

var (
	times   = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	days    = regexp.MustCompile(`\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)`) // in sentences: the walk is laid on the days before today
	hashes  = regexp.MustCompile(`[0-9a-f]{64}`)
	cursors = regexp.MustCompile(`"next": "[^"]*"`)
	secrets = regexp.MustCompile(`mk_[a-z2-7]{16}_[a-z2-7]{52}`)
	keyed   = regexp.MustCompile(`"(k|r|cn|cl)_[a-z2-7]{16}"`) // ids that hang on the master key
	planted = regexp.MustCompile(`(?:44\d{14}|svc-[a-z]{10})\b`)
	manual  = regexp.MustCompile(`d_[a-z2-7]{16}`) // those that people made hang on the time
	asleep  = regexp.MustCompile(`z_[a-z2-7]{16}`) // and snoozes
	errorID = regexp.MustCompile(`"[A-Z2-7]{12}"`)
	keyIDs  = regexp.MustCompile(`"[a-z2-7]{16}"`)
)

// scrub replaces what differs from run to run.
func (w *world) scrub(a answer) string {
	if !bytes.HasPrefix(a.Body.Bytes(), []byte("{")) { // CSV
		return a.Body.String()
	}
	var b bytes.Buffer
	if err := json.Indent(&b, a.Body.Bytes(), "", "  "); err != nil {
		w.t.Fatal(err)
	}
	s := b.String()
	for name, id := range w.ids {
		s = strings.ReplaceAll(s, id, "<"+name+"'s key>")
	}
	for _, r := range []struct {
		what *regexp.Regexp
		with string
	}{{times, "<time>"}, {days, "<day>$1"}, {hashes, "<hash>"}, {cursors, `"next": "<cursor>"`}, {secrets, "<secret>"}, {manual, "<decision>"}, {asleep, "<snooze>"}, {errorID, `"<error>"`}, {keyed, `"<hash>"`}, {planted, "<planted>"}, {keyIDs, `"<key>"`}} {
		s = r.what.ReplaceAllString(s, r.with)
	}
	return s
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	got = times.ReplaceAll(got, []byte("<time>"))
	got = regexp.MustCompile(`cursor=\S+`).ReplaceAll(got, []byte("cursor=<cursor>"))
	got = planted.ReplaceAll(got, []byte("<planted>"))
	got = regexp.MustCompile(`cl_[a-z2-7]{16}`).ReplaceAll(got, []byte("<lot>"))
	got = manual.ReplaceAll(got, []byte("<decision>"))
	got = asleep.ReplaceAll(got, []byte("<snooze>"))
	got = regexp.MustCompile(`/v1/keys/\S+`).ReplaceAll(got, []byte("/v1/keys/<key>"))
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("%s:%d: got\n%s\nwant\n%s\n(go test -update writes it anew)", file, i+1, g[i], w[i])
			}
		}
		t.Fatalf("%s has %d lines, got %d", file, len(w), len(g))
	}
}
