package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
)

// TestDocument holds the document against the routes, both ways, and each schema against its language.
func TestDocument(t *testing.T) {
	c := readContract(t)
	offered := map[string]api.Route{}
	for _, r := range api.Routes() {
		offered[r.Method+" "+r.Path] = r
	}
	ids := map[string]string{}
	paths, _ := c.at("paths")
	for path, methods := range paths.(map[string]any) {
		for method, o := range methods.(map[string]any) {
			name, op := strings.ToUpper(method)+" "+path, o.(map[string]any)
			r, ok := offered[name]
			if !ok {
				t.Errorf("the document offers %s, which is no route", name)
			}
			delete(offered, name)
			id, _ := op["operationId"].(string)
			if ids[id] != "" || id == "" {
				t.Errorf("%s and %s have operationId %q", name, ids[id], id)
			}
			ids[id] = name
			if _, open := op["security"]; open != r.Open {
				t.Errorf("%s: the document says open %v, the route %v", name, open, r.Open)
			}
			if says := strings.Contains(op["summary"].(string), "For the operator."); says != r.Operator {
				t.Errorf("%s: the document says that it is for the operator: %v, the route %v", name, says, r.Operator)
			}
			if _, errors := op["responses"].(map[string]any)["default"]; errors == r.Open {
				t.Errorf("%s: a route that wants credentials, and no other, answers with errors", name)
			}
			for _, status := range slices.Collect(maps.Keys(op["responses"].(map[string]any))) {
				content, pointer := c.at("paths", path, method, "responses", status, "content")
				for kind := range content.(map[string]any) {
					if _, err := c.compiler.Compile("openapi.json#" + pointer + "/" + strings.ReplaceAll(kind, "/", "~1") + "/schema"); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
			checkParameters(t, c, name, path, op)
		}
	}
	for name := range offered {
		t.Errorf("the document does not offer %s", name)
	}
	checkReferences(t, c, c.tree)
}

// checkParameters wants each placeholder of a path among its parameters, and the reverse.
func checkParameters(t *testing.T, c *contract, name, path string, op map[string]any) {
	t.Helper()
	given := map[string]bool{}
	list, _ := op["parameters"].([]any)
	for _, p := range list {
		p := p.(map[string]any)
		if ref, ok := p["$ref"].(string); ok {
			v, _ := c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			p = v.(map[string]any)
		}
		if p["in"] == "path" {
			given[p["name"].(string)] = true
		}
	}
	for _, part := range strings.Split(path, "/") {
		if strings.HasPrefix(part, "{") && !given[strings.Trim(part, "{}")] {
			t.Errorf("%s: the document does not describe %s", name, part)
		}
		delete(given, strings.Trim(part, "{}"))
	}
	for p := range given {
		t.Errorf("%s has no %s in its path", name, p)
	}
}

// checkReferences wants each reference to lead somewhere.
func checkReferences(t *testing.T, c *contract, node any) {
	t.Helper()
	switch n := node.(type) {
	case map[string]any:
		if ref, ok := n["$ref"].(string); ok {
			if v, _ := c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...); v == nil {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, v := range n {
			checkReferences(t, c, v)
		}
	case []any:
		for _, v := range n {
			checkReferences(t, c, v)
		}
	}
}

// TestDocumentEvent holds the document's event against the event contract.
func TestDocumentEvent(t *testing.T) {
	c := readContract(t)
	v, _ := c.at("components", "schemas", "Event", "properties")
	properties := v.(map[string]any)
	for _, f := range moat.Fields[1:] {
		got, _ := properties[f.Name].(map[string]any)
		delete(properties, f.Name)
		want := map[string]any{"description": f.Doc}
		switch f.Kind {
		case moat.KindString:
			want["type"], want["maxLength"] = "string", f.Max
		case moat.KindStrings:
			want["type"], want["maxItems"], want["items"] = "array", f.MaxItems, map[string]any{"type": "string", "maxLength": f.Max}
		case moat.KindInt:
			want["type"], want["minimum"] = "integer", 0
		case moat.KindBool:
			want["type"] = "boolean"
		case moat.KindTime:
			want["$ref"] = "#/components/schemas/TimeIn"
		case moat.KindEnum:
			want["type"], want["enum"] = "string", slices.DeleteFunc(slices.Clone(f.Enum), func(s string) bool { return s == "" })
		case moat.KindObject:
			want["type"] = "object"
		}
		w, _ := json.Marshal(want)
		if g, _ := json.Marshal(got); !bytes.Equal(g, w) {
			t.Errorf("the document describes %s as %s, want %s", f.Name, g, w)
		}
	}
	for name := range properties {
		t.Errorf("the document has field %s, which the event contract does not have", name)
	}
}

// documentServed reads the document in both forms from the server.
func documentServed(t *testing.T, w *world) {
	var fromJSON map[string]any
	w.get("", "/openapi.json", &fromJSON)
	if fmt.Sprint(fromJSON["openapi"]) != "3.1.0" || len(fromJSON["paths"].(map[string]any)) < 20 {
		t.Errorf("the document is %.100v", fromJSON)
	}
	a := w.call("", "GET", "/openapi.yaml", "")
	if a.Code != 200 || !strings.HasPrefix(a.Body.String(), "openapi: 3.1.0\n") {
		t.Errorf("the document as YAML: %d %.100s", a.Code, a.Body)
	}
	page := w.call("", "GET", "/", "")
	if page.Code != 200 || !strings.Contains(page.Body.String(), "<title>Moat</title>") {
		t.Errorf("the page: %d %.100s", page.Code, page.Body)
	}
	policy := page.Header().Get("Content-Security-Policy")
	if strings.Count(policy, "sha256-") != 2 || !strings.Contains(policy, "default-src 'none'") {
		t.Errorf("the page's policy is %q", policy)
	}
	for _, outside := range []string{"src=\"http", "href=\"http", "url(", "@import", "//cdn", " style=", " onclick"} {
		if strings.Contains(page.Body.String(), outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	plan := w.call("", "GET", "/canaries/plan?orders=20000&leak=0.1&use=0.2&power=0.95", "")
	for _, want := range []string{"<strong>149</strong>", "<form method=\"get\">", `value="20000"`, "<polyline"} {
		if plan.Code != 200 || !strings.Contains(plan.Body.String(), want) {
			t.Errorf("the plan of canaries: %d without %s", plan.Code, want)
		}
	}
	if policy := plan.Header().Get("Content-Security-Policy"); strings.Count(policy, "sha256-") != 1 || strings.Contains(plan.Body.String(), " style=") || strings.Contains(plan.Body.String(), "<script") {
		t.Errorf("the plan's policy is %q", policy)
	}
	for _, bad := range []string{"orders=0", "orders=1e300", "orders=NaN", "leak=2", "use=-1", "power=1", "rate=0.7", "rate=NaN", "leak=x", "leak=1&leak=1", "more=1"} {
		if a := w.call("", "GET", "/canaries/plan?"+bad, ""); a.Code != 400 {
			t.Errorf("%s gives %d", bad, a.Code)
		}
	}
	if head := w.send("", "HEAD", "/healthz", "", ""); head.Code != 200 {
		t.Errorf("HEAD /healthz gives %d", head.Code)
	}
}
