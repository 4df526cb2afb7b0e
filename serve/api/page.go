package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
)

//go:embed page.html
var pageText []byte

// page is the status page and what a browser may do with it: run its own script and style, ask this
// server, and nothing else.
type page struct{ policy string }

func readPage() page {
	return page{fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		hashOf("style"), hashOf("script"))}
}

// hashOf names the content of the page's one element of that name, as a policy does.
func hashOf(element string) string {
	_, rest, _ := bytes.Cut(pageText, []byte("<"+element+">"))
	content, _, _ := bytes.Cut(rest, []byte("</"+element+">"))
	sum := sha256.Sum256(content)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (a *API) getPage(c *call) error {
	h := c.w.Header()
	h.Set("Content-Security-Policy", a.page.policy)
	h.Set("Referrer-Policy", "no-referrer")
	return c.bytes(http.StatusOK, "text/html; charset=utf-8", pageText)
}
