package ingest

import (
	"bytes"
	"strings"
	"unsafe"

	libinjection "github.com/corazawaf/libinjection-go"

	"github.com/moat-platform/moat"
)

// InjectionMark is what Moat adds to the waf field of a request whose URL or path holds an SQL injection. It is
// found before the values of a query are stripped, which nobody sees later.
const InjectionMark = "moat.sqli"

// What of a request is looked at. An injection is short, since it has to get through servers and firewalls.
const (
	maxInjected = 2 << 10 // bytes of one value
	maxValues   = 64      // values of one URL
	maxForms    = 4       // as it is, and unescaped: by the server, a proxy, the program
)

// mark notes an injection in a request.
func (n *Normaliser) mark(e *moat.Event) {
	if e.Type != moat.HTTPRequest && e.Type != moat.APICall || len(e.WAF) >= moat.Fields[moat.FieldWAF].MaxItems {
		return
	}
	if injected(e.Path, &n.value) || injected(e.URL, &n.value) {
		e.WAF = append(e.WAF[:len(e.WAF):len(e.WAF)], InjectionMark)
		e.Mark(moat.FieldWAF)
	}
}

// injected tells whether a part of the URL's path or a value of its query is an SQL injection: text that changes the
// statement into which a program pastes it. Values are written to buf while they are looked at.
func injected(url string, buf *[maxInjected]byte) bool {
	if !mayInject(url) {
		return false
	}
	if i := strings.Index(url, "://"); i >= 0 {
		url = url[i+len("://"):]
	}
	path, query, _ := strings.Cut(url, "?")
	for i := 0; path != "" && i < maxValues; i++ {
		var part string
		part, path, _ = strings.Cut(path, "/")
		if injects(part, buf) {
			return true
		}
	}
	for i := 0; query != "" && i < maxValues; i++ {
		var part string
		part, query, _ = strings.Cut(query, "&")
		if _, value, ok := strings.Cut(part, "="); ok {
			part = value
		}
		if injects(part, buf) {
			return true
		}
	}
	return false
}

// signs are the bytes of which an injection has one at least: it ends a text or a word, or begins a comment. An
// escape may stand for any.
var signs = func() (t [256]bool) {
	for _, c := range []byte("'\"`;()*#+% \t\r\n\v\f\\") {
		t[c] = true
	}
	return t
}()

// mayInject is a quick look that nearly all URLs do not pass.
func mayInject(s string) bool {
	for i := range len(s) {
		if signs[s[i]] {
			return true
		}
	}
	return false
}

// injects tells whether one value is an injection, once what was escaped is not any more.
func injects(value string, buf *[maxInjected]byte) bool {
	if !mayInject(value) {
		return false
	}
	text := buf[:copy(buf[:], value)]
	for i, c := range text { // in the outermost form only
		if c == '+' {
			text[i] = ' '
		}
	}
	for form := range maxForms {
		n := unescape(text)
		if form > 0 && n == len(text) {
			return false
		}
		text = text[:n]
		if says(text) {
			if is, _ := libinjection.IsSQLi(unsafe.String(unsafe.SliceData(text), len(text))); is { // which keeps nothing of it
				return true
			}
		}
	}
	return false
}

// says tells whether lower-case text may say something in SQL: it ends a text, calls something, begins a comment or another
// statement, or has one of the words that every injection without such a mark has. It is a twentieth of the price of looking closely.
func says(text []byte) bool {
	words := false
	for _, c := range text {
		switch c {
		case '\'', '"', '`', ';', '(', '#', '*', '\\':
			return true
		case ' ', '\t', '\n', '\r', '\v', '\f', 0, 0xa0:
			words = true
		}
	}
	if bytes.Contains(text, []byte("--")) {
		return true
	}
	if words {
		for _, w := range [...]string{"or", "and", "union", "select", "having", "group", "like", "between", "limit", "div", "is", "in"} {
			if bytes.Contains(text, []byte(w)) {
				return true
			}
		}
	}
	return false
}

// unescape replaces every %41 by what it stands for, in place and in lower case, and returns the length of the result.
func unescape(b []byte) int {
	n := 0
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) {
			if hi, lo := nibble(b[i+1]), nibble(b[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		if c >= 'A' && c <= 'Z' { // means nothing to SQL
			c |= 0x20
		}
		b[n] = c
		n++
	}
	return n
}

// nibble is the value of a hexadecimal digit, or 16.
func nibble(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 16
}
