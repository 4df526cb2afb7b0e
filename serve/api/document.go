package api

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openapi []byte

// document is the description of the API, in both of its forms.
type document struct{ yaml, json []byte }

func readDocument() (d document, err error) {
	var tree any
	if err := yaml.Unmarshal(openapi, &tree); err != nil {
		return d, fmt.Errorf("cannot read openapi.yaml: %w", err)
	}
	d.yaml = openapi
	if d.json, err = json.Marshal(tree); err != nil {
		return d, fmt.Errorf("cannot write openapi.json: %w", err)
	}
	return d, nil
}

// documentPath is a route's path as the document writes it.
func documentPath(path string) string { return strings.TrimSuffix(path, "{$}") }

func (a *API) getDocumentJSON(c *call) error {
	c.w.Header().Set("Cache-Control", "max-age=300")
	return c.bytes(http.StatusOK, "application/json", a.document.json)
}

func (a *API) getDocumentYAML(c *call) error {
	c.w.Header().Set("Cache-Control", "max-age=300")
	return c.bytes(http.StatusOK, "application/yaml", a.document.yaml)
}
