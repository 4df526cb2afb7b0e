package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// world is a node with two partners, acme and other, and those who call it.
type world struct {
	t    testing.TB
	dir  string
	node *node.Node
	api  *api.API
	doc  *contract
	keys map[string]string // text by name: boss, deputy (operators), acme, other, app (acme's)
	ids  map[string]string // of the keys
	base time.Time         // when the story begins: two days ago at ten
}

func newWorld(t testing.TB, enforced ...string) *world {
	t.Helper()
	dir := t.TempDir()
	settle(t, dir, enforced...)
	n, err := node.Open(t.Context(), node.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, dir: dir, node: n, doc: readContract(t), keys: map[string]string{}, ids: map[string]string{}}
	w.base = time.Now().UTC().Truncate(24 * time.Hour).Add(-38 * time.Hour)
	if w.api, err = api.New(api.Config{Node: n, Version: "test", Failures: 10_000}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"acme", "other"} {
		if _, err := n.Book.CreatePartner(t.Context(), moat.Everyone(), book.Partner{ID: p, Name: strings.ToUpper(p)}, "set-up"); err != nil {
			t.Fatal(err)
		}
	}
	w.key("boss", book.Key{Operator: true})
	w.key("deputy", book.Key{Operator: true})
	w.key("acme", book.Key{Partner: "acme"})
	w.key("other", book.Key{Partner: "other"})
	w.key("app", book.Key{Partner: "acme", App: "erp"})
	return w
}

// settle gives a data folder detectors and a playbook of its own, and turns those that ship to shadow:
// what is found does not change when they are tuned. Those that are named stay as they are.
func settle(t testing.TB, dir string, enforced ...string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "detectors"), os.DirFS("testdata/detectors")); err != nil {
		t.Fatal(err)
	}
	book, err := os.ReadFile("testdata/playbook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shipped, _, err := detectors.All()
	if err != nil {
		t.Fatal(err)
	}
	var overrides strings.Builder
	for _, d := range shipped {
		if !slices.Contains(enforced, d.ID) {
			fmt.Fprintf(&overrides, "%s: {mode: shadow}\n", d.ID)
		}
	}
	master := "moat-master 1 " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n" // hashes, and so estimates, hang on it
	for name, text := range map[string]string{"playbook.yaml": string(book), "detectors.yaml": overrides.String(), "master.key": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) key(name string, k book.Key) {
	w.t.Helper()
	k.Name = name
	k, text, err := w.node.Book.CreateKey(w.t.Context(), moat.Everyone(), w.node.Master, k, "set-up")
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys[name], w.ids[name] = text, k.ID
}

// answer is what came back.
type answer struct {
	*httptest.ResponseRecorder
}

// send makes one request as the key of that name ("" = nobody).
func (w *world) send(who, method, path, kind, body string) answer {
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+w.keys[who])
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	return answer{rec}
}

// call is send with JSON, and holds what comes back against the document.
func (w *world) call(who, method, path, body string) answer {
	w.t.Helper()
	kind := ""
	if body != "" {
		kind = "application/json"
	}
	a := w.send(who, method, path, kind, body)
	w.doc.check(w.t, method, path, body, a)
	return a
}

// get is call for a GET that must succeed, read into out.
func (w *world) get(who, path string, out any) {
	w.t.Helper()
	a := w.call(who, "GET", path, "")
	if a.Code != http.StatusOK {
		w.t.Fatalf("GET %s gives %d: %s", path, a.Code, a.Body)
	}
	if err := json.Unmarshal(a.Body.Bytes(), out); err != nil {
		w.t.Fatal(err)
	}
}

// story sends acme's day: a burst of failed logins of alice, her success, and an export by her.
func (w *world) story() {
	w.t.Helper()
	var b bytes.Buffer
	line := func(at time.Duration, format string, args ...any) {
		fmt.Fprintf(&b, `{"time":%q,`+format+"}\n", append([]any{w.base.Add(at).Format(time.RFC3339)}, args...)...)
	}
	for i := range 20 {
		line(time.Duration(i)*5*time.Second, `"id":"fail-%d","type":"auth.login","actor":"alice","outcome":"failure","ip":"203.0.113.9","device":"dev-secret","app":"erp"`, i)
	}
	line(6*time.Minute, `"id":"in","type":"auth.login","actor":"alice","outcome":"success","ip":"203.0.113.9","device":"dev-secret","app":"erp"`)
	for i := range 3 {
		var orders []string
		for j := range 100 {
			orders = append(orders, fmt.Sprintf(`"acme-order-%d"`, i*100+j))
		}
		line(7*time.Minute+time.Duration(i)*time.Second, `"id":"take-%d","type":"order.access","actor":"alice","operation":"export","ip":"203.0.113.9","device":"dev-secret","app":"erp","shops":["shop-secret"],"fields":["name","phone","address"],"orders":[%s]`, i, strings.Join(orders, ","))
	}
	line(8*time.Minute, `"id":"away","type":"order.transmit","destination":"thief.example","app":"erp","actor":"alice","orders":["acme-order-1"]`)
	a := w.send("acme", "POST", "/v1/events", "application/x-ndjson", b.String())
	if a.Code != http.StatusAccepted {
		w.t.Fatalf("events were not taken: %d %s", a.Code, a.Body)
	}
	w.doc.check(w.t, "POST", "/v1/events", "", a)
	if err := w.node.Drain(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}
