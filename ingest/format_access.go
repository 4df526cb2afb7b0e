package ingest

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/moat-platform/moat"
)

// access reads nginx and Apache access logs, in the combined or the common format, also with
// the virtual host in front, and with more behind.
type access struct {
	host   string
	lineID func(string) string
	event  moat.Event
}

// accessLine is one line of an access log.
type accessLine struct {
	vhost, client, user string
	at                  clock
	text                string // the request line
	status, bytes       int64
	referer, agent      string
}

var errAccess = errors.New("not a line of an access log")

// parseAccess reads one line. The last text may have lost its closing quote, as loggers cut long lines.
func parseAccess(s string) (r accessLine, ok bool) {
	open := strings.Index(s, " [")
	if open < 0 {
		return r, false
	}
	names := strings.Fields(s[:open])
	s = s[open+2:]
	if len(names) > 3 && !isAddress(names[0]) && isAddress(names[1]) {
		r.vhost, names = names[0], names[1:]
	}
	if len(names) < 3 {
		return r, false
	}
	r.client, r.user = names[0], strings.Join(names[2:], " ")
	end := strings.IndexByte(s, ']')
	if end < 0 {
		return r, false
	}
	if r.at, ok = accessTime(s[:end]); !ok || !strings.HasPrefix(s[end:], `] "`) {
		return r, false
	}
	var whole bool
	if r.text, s, whole = quotedText(s[end+2:]); !whole {
		return r, false
	}
	var status, size string
	status, s, _ = strings.Cut(strings.TrimPrefix(s, " "), " ")
	size, s, _ = strings.Cut(s, " ")
	if len(status) != 3 || decimal(status) < 0 {
		return r, false
	}
	r.status = int64(decimal(status))
	if size != "-" {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 {
			return r, false
		}
		r.bytes = n
	}
	r.referer, s, _ = quotedText(s)
	r.agent, _, _ = quotedText(strings.TrimPrefix(s, " "))
	return r, true
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// accessTime reads "17/May/2015:10:05:03 +0000".
func accessTime(s string) (c clock, ok bool) {
	if len(s) != 26 || s[2] != '/' || s[6] != '/' || s[11] != ':' || s[20] != ' ' {
		return c, false
	}
	c.day, c.month, c.year, c.seconds = decimal(s[:2]), monthOf(s[3:6]), decimal(s[7:11]), timeOfDay(s[12:20])
	h, m := decimal(s[22:24]), decimal(s[24:])
	if c.day < 1 || c.day > 31 || c.month == 0 || c.year < 1970 || c.seconds < 0 || h < 0 || h > 15 || m < 0 || m > 59 || s[21] != '+' && s[21] != '-' {
		return c, false
	}
	c.zone = time.UTC
	if offset := h*3600 + m*60; offset != 0 {
		if s[21] == '-' {
			offset = -offset
		}
		c.zone = time.FixedZone("", offset)
	}
	return c, true
}

// quotedText reads the "…" that s starts with. It returns the text, what follows, and whether it had an end.
func quotedText(s string) (text, rest string, whole bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			text = s[1:i]
			if escaped {
				text = strings.ReplaceAll(text, `\"`, `"`)
			}
			return text, s[i+1:], true
		}
	}
	return s[1:], "", false
}

func (f *access) line(text []byte, emit func(*moat.Event)) error {
	line := string(text)
	r, ok := parseAccess(line)
	if !ok {
		return errAccess
	}
	at, ok := r.at.in(0, time.UTC)
	if !ok {
		return errors.New("no such day")
	}
	e := &f.event
	e.Reset()
	e.Type, e.Time, e.ID = moat.HTTPRequest, at, f.lineID(line)
	setPeer(e, r.client)
	e.Host = fit(f.host, moat.FieldHost)
	if r.vhost != "" {
		e.Host = fit(r.vhost, moat.FieldHost)
	}
	if r.user != "-" && r.user != `""` {
		e.Actor = fit(r.user, moat.FieldActor)
	}
	e.Method, e.Path = requestLine(r.text)
	e.Status, e.Bytes = r.status, r.bytes
	if r.referer != "-" {
		e.Referer = fit(r.referer, moat.FieldReferer)
	}
	if r.agent != "-" {
		e.UserAgent = fit(r.agent, moat.FieldUserAgent)
	}
	e.MarkAll()
	e.Conclude()
	emit(e)
	return nil
}

func (f *access) settle(moat.Time, func(*moat.Event)) {}

// requestLine reads "GET /path HTTP/1.1". What is not like that (a TLS hello on a plain port, …) has
// method "-" and is its own path: it shows a scan.
func requestLine(s string) (method, path string) {
	method, rest, ok := strings.Cut(s, " ")
	if !ok || method == "" || len(method) > 32 || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-") != "" {
		if s == "" {
			s = "-"
		}
		return "-", fit(s, moat.FieldPath)
	}
	path = rest
	if i := strings.LastIndex(rest, " HTTP/"); i >= 0 {
		path = rest[:i]
	}
	if path == "" {
		path = "-"
	}
	return method, fit(path, moat.FieldPath)
}
