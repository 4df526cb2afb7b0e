package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// contract is the document, against which answers are held. Its schemas are made strict: a member
// that they do not name is an error.
type contract struct {
	tree     map[string]any
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
	met      map[string]bool // "GET /v1/cases 200"
}

func readContract(t testing.TB) *contract {
	t.Helper()
	src, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(src, &tree); err != nil {
		t.Fatal(err)
	}
	strict(tree)
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{tree: plain.(map[string]any), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}, met: map[string]bool{}}
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource("openapi.json", plain); err != nil {
		t.Fatal(err)
	}
	return c
}

// strict closes every schema that lists its members and does not say whether there are others.
func strict(node any) {
	switch n := node.(type) {
	case map[string]any:
		if p, ok := n["properties"].(map[string]any); ok && p["statement"] == nil { // an event has others
			if _, said := n["additionalProperties"]; !said && n["type"] == "object" {
				n["additionalProperties"] = false
			}
		}
		for _, v := range n {
			strict(v)
		}
	case []any:
		for _, v := range n {
			strict(v)
		}
	}
}

// at follows a path of keys through the document, and references on the way.
func (c *contract) at(keys ...string) (value any, pointer string) {
	value = c.tree
	for _, k := range keys {
		m, _ := value.(map[string]any)
		value = m[k]
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(k)
		if m, ok := value.(map[string]any); ok {
			if ref, ok := m["$ref"].(string); ok && !strings.Contains(pointer, "/schema") {
				value, pointer = c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			}
		}
	}
	return value, pointer
}

// template returns the path of the document that a request's path is one of.
func (c *contract) template(path string) string {
	path, _, _ = strings.Cut(path, "?")
	paths, _ := c.at("paths")
	for t := range paths.(map[string]any) {
		want, got := strings.Split(t, "/"), strings.Split(path, "/")
		if slices.EqualFunc(want, got, func(w, g string) bool { return w == g || strings.HasPrefix(w, "{") && g != "" }) {
			if !strings.Contains(t, "{") || paths.(map[string]any)[path] == nil {
				return t
			}
		}
	}
	return ""
}

// check fails the test unless the answer is one that the document promises; and, if the request
// was accepted, unless the document allows it.
func (c *contract) check(t testing.TB, method, path, body string, a answer) {
	t.Helper()
	template := c.template(path)
	operation, _ := c.at("paths", template, strings.ToLower(method))
	if operation == nil {
		if a.Code != 404 && a.Code != 405 {
			t.Errorf("%s %s is not in the document, and gives %d", method, path, a.Code)
		}
		template, method = "/v1/findings", "GET" // errors have one form everywhere
	}
	status := fmt.Sprint(a.Code)
	c.mu.Lock()
	c.met[strings.ToUpper(method)+" "+template+" "+status] = true
	c.mu.Unlock()
	if r, _ := c.at("paths", template, strings.ToLower(method), "responses", status); r == nil {
		if a.Code < 400 {
			t.Errorf("%s %s gives %d, which the document does not know", method, path, a.Code)
		}
		status = "default"
	}
	kind, _, _ := mime.ParseMediaType(a.Header().Get("Content-Type"))
	_, pointer := c.at("paths", template, strings.ToLower(method), "responses", status, "content", kind, "schema")
	var value any = a.Body.String()
	if kind == "application/json" {
		var err error
		if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(a.Body.Bytes())); err != nil {
			t.Errorf("%s %s gives broken JSON: %v", method, path, err)
			return
		}
	}
	c.validate(t, fmt.Sprintf("the answer of %s %s (%s)", method, path, status), pointer, value)
	if a.Code >= 300 {
		return
	}
	if body != "" && json.Valid([]byte(body)) {
		_, pointer := c.at("paths", template, strings.ToLower(method), "requestBody", "content", "application/json", "schema")
		value, _ := jsonschema.UnmarshalJSON(strings.NewReader(body))
		c.validate(t, fmt.Sprintf("the request of %s %s", method, path), pointer, value)
	}
	c.checkQuery(t, method, template, path)
}

// checkQuery fails the test if the document does not name a parameter that was accepted.
func (c *contract) checkQuery(t testing.TB, method, template, path string) {
	t.Helper()
	_, query, _ := strings.Cut(path, "?")
	if query == "" {
		return
	}
	list, _ := c.at("paths", template, strings.ToLower(method), "parameters")
	known := map[string]bool{}
	for _, p := range list.([]any) {
		p := p.(map[string]any)
		if ref, ok := p["$ref"].(string); ok {
			v, _ := c.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
			p = v.(map[string]any)
		}
		known[p["name"].(string)] = true
	}
	for part := range strings.SplitSeq(query, "&") {
		if name, _, _ := strings.Cut(part, "="); !known[name] {
			t.Errorf("%s %s: the document does not know parameter %s", method, template, name)
		}
	}
}

func (c *contract) validate(t testing.TB, what, pointer string, value any) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.schemas[pointer]
	if s == nil {
		var err error
		if s, err = c.compiler.Compile("openapi.json#" + pointer); err != nil {
			t.Errorf("the document has no schema for %s: %v", what, err)
			return
		}
		c.schemas[pointer] = s
	}
	if err := s.Validate(value); err != nil {
		t.Errorf("%s is not as the document says: %v\n%.600v", what, err, value)
	}
}
