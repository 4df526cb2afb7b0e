package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/moat-platform/moat/locate/canary"
)

//go:embed page.html
var pageText string

// pages is what a browser may do with each page: run its own script and style, ask this server, and nothing else.
type pages struct{ status, plan string }

func readPages() pages {
	const rest = "img-src data:; base-uri 'none'; frame-ancestors 'none'"
	return pages{
		status: "default-src 'none'; style-src '" + hashOf(pageText, "style") + "'; script-src '" + hashOf(pageText, "script") + "'; connect-src 'self'; form-action 'none'; " + rest,
		plan:   "default-src 'none'; style-src '" + hashOf(canary.PlanPage, "style") + "'; form-action 'self'; " + rest,
	}
}

// hashOf names the content of a page's one element of that name, as a policy does.
func hashOf(page, element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(content))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// page answers a page under its policy.
func (c *call) page(policy string, text []byte) error {
	h := c.w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	return c.bytes(http.StatusOK, "text/html; charset=utf-8", text)
}

func (a *API) getPage(c *call) error { return c.page(a.pages.status, []byte(pageText)) }

// getPlan draws how many canaries see a leak. It is arithmetic and knows nothing of this installation.
func (a *API) getPlan(c *call) error {
	f := c.form()
	q := canary.PlanQuestion{Orders: int(min(f.number("orders", 10_000), canary.MaxPlanned+1)), Leak: f.number("leak", 0.1), Use: f.number("use", 0.2),
		Power: f.number("power", 0.95), Rate: f.number("rate", 0)}
	if err := f.end(); err != nil {
		return err
	}
	p, err := canary.NewPlan(q)
	if err != nil {
		return invalid("%s", strings.TrimPrefix(err.Error(), "cannot plan canaries: "))
	}
	var b bytes.Buffer
	if err := canary.WritePlan(&b, p, true); err != nil {
		return err
	}
	return c.page(a.pages.plan, b.Bytes())
}
