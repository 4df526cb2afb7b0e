package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/river"
)

// answer is what the server says.
type answer struct {
	Accepted int `json:"accepted"`
	Rejected []struct {
		Index   int    `json:"index"`
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"rejected"`
	RejectedCount int `json:"rejected_count"`
	Error         struct{ Code, Message, Hint string }

	status int
	header http.Header
}

// byKey says who sent a request by the key in a header; it is no more than these tests need.
func byKey(r *http.Request) (Caller, error) {
	switch r.Header.Get("Authorization") {
	case "acme":
		return acme, nil
	case "other":
		return Caller{Partner: "other", KeyID: "k2"}, nil
	case "operator":
		return Caller{Operator: true, KeyID: "k0"}, nil
	}
	return Caller{}, errors.New("unknown key")
}

func newTestHandler(t testing.TB, m River, change ...func(*Config)) *Handler {
	t.Helper()
	c := Config{River: m, Authenticate: byKey, Key: testKey, Now: noon.Std}
	for _, f := range change {
		f(&c)
	}
	h, err := NewHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func request(key, contentType, encoding string, body []byte) *http.Request {
	r := httptest.NewRequest("POST", "/v1/events", bytes.NewReader(body))
	r.Header.Set("Authorization", key)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	return r
}

func ask(t testing.TB, h http.Handler, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	if (a.status == 202) != (a.Error.Code == "") || a.status != 202 && a.Error.Message == "" {
		t.Errorf("status %d with %s", a.status, w.Body)
	}
	if (a.status == 429 || a.status == 503) != (a.header.Get("Retry-After") != "") {
		t.Errorf("status %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	return a
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func zstded(t testing.TB, b []byte) []byte {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

const small = `{"id":"%d","time":1750000000,"type":"auth.logout","actor":"a%d"}`

func logouts(n int, between string) string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf(small, i, i)
	}
	return strings.Join(s, between)
}

func TestAccepted(t *testing.T) {
	var pretty bytes.Buffer
	json.Indent(&pretty, []byte("["+logouts(3, ",")+"]"), "  ", "\t")
	torn := gzipped([]byte(logouts(2, "\n") + "\n"))
	many := append(torn, gzipped([]byte(fmt.Sprintf(small, 2, 2)))...)
	tests := []struct {
		name, contentType, encoding string
		body                        []byte
		want                        int
	}{
		{"lines", "application/x-ndjson", "", []byte(logouts(3, "\n")), 3},
		{"one", "", "", []byte(logouts(1, "")), 1},
		{"blank lines, CRLF, byte order mark", "", "", []byte("\xef\xbb\xbf\r\n \r\n" + logouts(3, "\r\n\r\n") + "\r\n"), 3},
		{"array", "application/json", "", []byte("[" + logouts(3, ",") + "]"), 3},
		{"array over lines", "application/json; charset=utf-8", "", pretty.Bytes(), 3},
		{"empty array", "application/json", "", []byte(" [ ] \n"), 0},
		{"gzip", "application/x-ndjson", "gzip", gzipped([]byte(logouts(3, "\n"))), 3},
		{"gzip in two members", "", "gzip", many, 3},
		{"zstd", "application/x-ndjson", "zstd", zstded(t, []byte(logouts(3, "\n"))), 3},
		{"zstd array", "application/json", "ZSTD", zstded(t, []byte("["+logouts(3, " , ")+"]")), 3},
		{"the most events", "", "", []byte(logouts(MaxEvents, "\n")), MaxEvents},
		{"many batches", "", "zstd", zstded(t, sampleBody(4000)), 4000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory(3)
			a := ask(t, newTestHandler(t, m), request("acme", tt.contentType, tt.encoding, tt.body))
			if a.status != 202 || a.Accepted != tt.want || len(a.Rejected) != 0 {
				t.Fatalf("got %+v", a)
			}
			events := m.events(t)
			if len(events) != tt.want {
				t.Fatalf("%d events in the river", len(events))
			}
			for i, e := range events {
				if e.Partner != "acme" || e.App != "erp" || e.Received != noon || tt.want < 5 && e.ID != fmt.Sprint(i) {
					t.Fatalf("event %d: %s", i, moat.AppendJSON(nil, e))
				}
			}
		})
	}
}

// TestBadEvents: a bad one harms no other, whatever it is.
func TestBadEvents(t *testing.T) {
	long := `{"time":1750000000,"type":"auth.logout","actor":"a","extra":{"x":"` + strings.Repeat("y", 2<<20) + `"}}`
	bad := []struct{ text, code string }{
		{`{"time":1750000000,"type":"auth.logout"}`, moat.CodeMissing},
		{`{"time":1750000000,"type":"auth.dance","actor":"a"}`, moat.CodeType},
		{`{"time":"yesterday","type":"auth.logout","actor":"a"}`, moat.CodeTime},
		{`{"time":1750000000,"type":"auth.logout","actor":7}`, moat.CodeValue},
		{`{"time":1750000000,"type":"auth.logout","actor":"a","ip":"1.2.3"}`, moat.CodeValue},
		{`{"time":1750000000,"type":"auth.logout","actor":"a","app":"another"}`, moat.CodeForbidden},
		{`{"time":1750000000,"type":"auth.logout","actor":"a","partner":"other"}`, moat.CodeForbidden},
		{`{"time":1750000000,"type":"complaint","orders":["1"]}`, moat.CodeForbidden},
		{`{"time":1750000000,"type":"auth.logout","actor":"` + strings.Repeat("x", 257) + `"}`, moat.CodeTooLong},
		{"{\"time\":1750000000,\"type\":\"auth.logout\",\"actor\":\"\xff\"}", moat.CodeUTF8},
		{`{"time":1750000000,"type":"auth.logout","actor":"a","extra":` + strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 101), moat.CodeDepth},
		{`7`, moat.CodeJSON},
		{`[]`, moat.CodeJSON},
		{`"text"`, moat.CodeJSON},
		{long, moat.CodeSize},
	}
	var texts []string
	for _, b := range bad {
		texts = append(texts, logouts(1, ""), b.text)
	}
	texts = append(texts, logouts(1, ""))
	bodies := map[string]string{"lines": strings.Join(texts, "\n"), "array": "[" + strings.Join(texts, ",") + "]",
		"lines with no end": strings.Join(append(texts, long), "\n")}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			m := newMemory(2)
			a := ask(t, newTestHandler(t, m), request("acme", "", "", []byte(body)))
			if a.status != 202 || a.Accepted != len(bad)+1 {
				t.Fatalf("got %+v", a)
			}
			for i, b := range bad {
				if r := a.Rejected[i]; r.Index != 2*i+1 || r.Code != b.code || r.Message == "" {
					t.Errorf("%.80s: got %+v, want index %d and code %s", b.text, r, 2*i+1, b.code)
				}
			}
			if n := len(m.events(t)); n != len(bad)+1 {
				t.Errorf("%d events in the river", n)
			}
		})
	}
	t.Run("lines that are no JSON", func(t *testing.T) {
		a := ask(t, newTestHandler(t, newMemory(1)), request("acme", "", "", []byte(logouts(1, "")+"\nrubbish\n{\"\n"+logouts(1, ""))))
		if a.Accepted != 2 || a.RejectedCount != 2 || a.Rejected[0].Code != moat.CodeJSON || a.Rejected[1].Code != moat.CodeJSON {
			t.Errorf("got %+v", a)
		}
	})
	t.Run("only a hundred are listed", func(t *testing.T) {
		a := ask(t, newTestHandler(t, newMemory(1)), request("acme", "", "", []byte(strings.Repeat("{}\n", 250))))
		if a.status != 202 || a.Accepted != 0 || len(a.Rejected) != 100 || a.RejectedCount != 250 {
			t.Errorf("got %d, %d listed of %d", a.status, len(a.Rejected), a.RejectedCount)
		}
	})
}

func TestAppOfTheKey(t *testing.T) {
	m := newMemory(1)
	a := ask(t, newTestHandler(t, m), request("acme", "", "", []byte(`{"time":1750000000,"type":"heartbeat"}`+"\n"+`{"time":1750000000,"type":"db.query","statement":"select 1","app":"erp"}`)))
	if a.Accepted != 2 || m.events(t)[0].App != "erp" {
		t.Errorf("got %+v", a)
	}
}

// TestOperatorNamesNoPartner sends complaints without a partner: where somebody watches, he may find it.
func TestOperatorNamesNoPartner(t *testing.T) {
	body := `{"id":"1","time":1750000000,"type":"complaint","orders":["1"]}
{"id":"2","time":1750000000,"type":"complaint","orders":["2"]}
{"id":"3","time":1750000000,"type":"canary.touch","orders":["3"]}
`
	m := newMemory(4)
	h := newTestHandler(t, m, func(c *Config) {
		c.Watch = func(e *moat.Event, put func(*moat.Event)) error {
			if e.Partner != "" {
				t.Errorf("event %s is of %s", e.ID, e.Partner)
			}
			if e.Orders[0] == "2" {
				return &moat.Problem{Code: moat.CodeMissing, Field: "partner", Message: "nobody knows"}
			}
			e.Partner = "p"
			put(e)
			return nil
		}
	})
	if a := ask(t, h, request("operator", "", "", []byte(body))); a.Accepted != 1 || len(a.Rejected) != 2 || !strings.Contains(a.Rejected[0].Message, "nobody knows") || a.Rejected[1].Code != moat.CodeMissing {
		t.Errorf("got %+v", a)
	}
	if list := m.events(t); len(list) != 1 || list[0].Partner != "p" {
		t.Errorf("%d events are kept", len(list))
	}
	if a := ask(t, newTestHandler(t, newMemory(4)), request("operator", "", "", []byte(body))); a.Accepted != 0 {
		t.Errorf("%d were taken where nobody finds partners", a.Accepted)
	}
}

func TestOperatorNamesPartners(t *testing.T) {
	m := newMemory(4)
	var body string
	for i := range 40 {
		body += fmt.Sprintf(`{"id":"%d","time":1750000000,"type":"complaint","orders":["%d"],"partner":"p%d"}`+"\n", i, i, i%7)
	}
	a := ask(t, newTestHandler(t, m), request("operator", "", "", []byte(body)))
	if a.status != 202 || a.Accepted != 40 {
		t.Fatalf("got %+v", a)
	}
	last := map[string]int{}
	for _, e := range m.events(t) {
		var i int
		fmt.Sscan(e.ID, &i)
		if fmt.Sprintf("p%d", i%7) != e.Partner || i < last[e.Partner] {
			t.Errorf("event %d of %s came after %d", i, e.Partner, last[e.Partner])
		}
		last[e.Partner] = i
	}
	if len(last) != 7 {
		t.Errorf("%d partners", len(last))
	}
}

func TestRefusedBatches(t *testing.T) {
	good := []byte(logouts(3, "\n"))
	cut := gzipped(bytes.Repeat(good, 100))
	tests := []struct {
		name   string
		r      *http.Request
		status int
	}{
		{"no key", request("", "", "", good), 401},
		{"unknown key", request("nobody", "", "", good), 401},
		{"empty", request("acme", "", "", nil), 400},
		{"blank", request("acme", "", "", []byte(" \r\n")), 400},
		{"a web page", request("acme", "text/html", "", []byte("<html>")), 415},
		{"a web page in disguise", request("acme", "application/json", "", []byte("<html>")), 400},
		{"brotli", request("acme", "", "br", good), 415},
		{"gzip twice", request("acme", "", "gzip, gzip", good), 415},
		{"not gzip", request("acme", "", "gzip", good), 400},
		{"not zstd", request("acme", "", "zstd", good), 400},
		{"gzip cut", request("acme", "", "gzip", cut[:len(cut)/2]), 400},
		{"gzip with a wrong checksum", request("acme", "", "gzip", append(cut[:len(cut)-8:len(cut)-8], 0, 0, 0, 0, 0, 0, 0, 0)), 400},
		{"gzip with rubbish behind", request("acme", "", "gzip", append(cut[:len(cut):len(cut)], "rubbish"...)), 400},
		{"zstd cut", request("acme", "", "zstd", zstded(t, good)[:20]), 400},
		{"array cut", request("acme", "", "", []byte("["+logouts(3, ","))), 400},
		{"array cut in a text", request("acme", "", "", []byte(`[{"a":"`)), 400},
		{"array without commas", request("acme", "", "", []byte("["+logouts(3, " ")+"]")), 202}, // one bad element
		{"text behind an array", request("acme", "", "", []byte("["+logouts(3, ",")+"] x")), 400},
		{"10,001 events", request("acme", "", "", []byte(logouts(MaxEvents+1, "\n"))), 413},
		{"10,001 bad events", request("acme", "", "zstd", zstded(t, bytes.Repeat([]byte("{}\n"), MaxEvents+1))), 413},
		{"10,001 events in an array", request("acme", "", "", []byte("["+logouts(MaxEvents+1, ",")+"]")), 413},
		{"over 10 MiB", request("acme", "", "", bytes.Repeat([]byte("{}          \n"), 1<<20)), 413},
		{"over 10 MiB of blanks, packed", request("acme", "", "gzip", gzipped(bytes.Repeat([]byte("\n"), 11<<20))), 413},
		{"get", httptest.NewRequest("GET", "/v1/events", nil), 405},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemory(2)
			a := ask(t, newTestHandler(t, m), tt.r)
			if a.status != tt.status {
				t.Errorf("got %+v, want status %d", a, tt.status)
			}
			if n := len(m.events(t)); n != 0 {
				t.Errorf("%d events came in all the same", n)
			}
		})
	}
	two := request("acme", "", "gzip", good)
	two.Header.Add("Content-Encoding", "identity")
	if a := ask(t, newTestHandler(t, newMemory(1)), two); a.status != 400 {
		t.Errorf("two encodings: %+v", a)
	}
}

// endless is a body that never ends.
type endless struct {
	text string
	read int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.text)
	}
	e.read += int64(n)
	return n, nil
}

// allocated returns how many bytes f allocated in all: it held at most that at one time.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// TestMemoryBounded: bodies that would be huge are stopped early.
func TestMemoryBounded(t *testing.T) {
	bomb := make([]byte, 1<<30/64)
	zeros := zstded(t, bomb)
	for range 4 { // frames one after another: a gigabyte in all
		zeros = append(zeros, zeros...)
	}
	newline := gzipped(bytes.Repeat([]byte("{}\n"), 100<<20/3))
	long := gzipped(append([]byte("{"), bytes.Repeat([]byte("x"), 100<<20)...))
	deep := []byte(`{"time":1750000000,"type":"auth.logout","actor":"a","extra":` + strings.Repeat("[", 5<<20))
	wide := []byte("[" + strings.Repeat("[", 9<<20))
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0, 0} // a frame that asks for 2 TiB
	tests := []struct {
		name   string
		make   func() *http.Request
		status int
		most   int64
	}{
		{"100 MB, announced", func() *http.Request {
			r := request("acme", "", "", nil)
			r.Body, r.ContentLength = io.NopCloser(&endless{text: "x"}), 100<<20
			return r
		}, 413, 1 << 20},
		{"endless lines", func() *http.Request {
			r := request("acme", "", "", nil)
			r.Body, r.ContentLength = io.NopCloser(&endless{text: "{\"a\":1,\"b\":2,\"c\":\"" + strings.Repeat("x", 4000) + "\"}\n"}), -1
			return r
		}, 413, 8 << 20},
		{"endless line", func() *http.Request {
			r := request("acme", "", "", nil)
			r.Body, r.ContentLength = io.NopCloser(&endless{text: "{"}), -1
			return r
		}, 413, 8 << 20},
		{"gzip bomb of lines", func() *http.Request { return request("acme", "", "gzip", newline) }, 413, 12 << 20},
		{"gzip bomb of one line", func() *http.Request { return request("acme", "", "gzip", long) }, 413, 12 << 20},
		{"zstd bomb", func() *http.Request { return request("acme", "", "zstd", zeros) }, 400, 24 << 20},
		{"zstd window", func() *http.Request { return request("acme", "", "zstd", window) }, 413, 24 << 20},
		{"deep", func() *http.Request { return request("acme", "", "", deep) }, 202, 12 << 20},
		{"deep array", func() *http.Request { return request("acme", "", "", wide) }, 400, 12 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newTestHandler(t, newMemory(1))
			r := tt.make()
			var a answer
			if got := allocated(func() { a = ask(t, h, r) }); got > tt.most {
				t.Errorf("%d KiB were allocated, want at most %d", got>>10, tt.most>>10)
			}
			if a.status != tt.status || a.Accepted != 0 {
				t.Errorf("got %+v, want status %d", a, tt.status)
			}
			if h.room.used != 0 || len(h.room.by) != 0 {
				t.Errorf("%d bytes are still held: %v", h.room.used, h.room.by)
			}
		})
	}
}

func TestRiverRefuses(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		retry  string
	}{
		{fmt.Errorf("cannot append: %w", &river.FullError{RetryAfter: 2500 * time.Millisecond}), 429, "3"},
		{river.ErrUnknown, 503, "1"},
		{errors.New("disk on fire"), 503, "1"},
	} {
		m := newMemory(4)
		m.refuse = func(p int) error {
			if p == 1 {
				return tt.err
			}
			return nil
		}
		var body string
		for i := range 20 {
			body += fmt.Sprintf(`{"time":1750000000,"type":"auth.logout","actor":"a","partner":"p%d"}`+"\n", i)
		}
		h := newTestHandler(t, m)
		a := ask(t, h, request("operator", "", "", []byte(body)))
		if a.status != tt.status || a.header.Get("Retry-After") != tt.retry || strings.Contains(a.Error.Message, "fire") {
			t.Errorf("%v: got %+v", tt.err, a)
		}
		if s := h.Stats(); s.Accepted != 0 || s.Refused != 1 {
			t.Errorf("stats %+v", s)
		}
	}
}

// stuck is a river whose Append waits until it is let go.
type stuck struct {
	*memory
	entered chan struct{}
	gate    chan struct{}
}

func (s *stuck) Append(ctx context.Context, p int, b []byte) (uint64, error) {
	s.entered <- struct{}{}
	<-s.gate
	return s.memory.Append(ctx, p, b)
}

// TestRoom: with a slow river, memory is bounded: one partner gets half of it and is then
// told to wait, another still comes in, and afterwards all is as before.
func TestRoom(t *testing.T) {
	s := &stuck{newMemory(1), make(chan struct{}, 1000), make(chan struct{})}
	h := newTestHandler(t, s, func(c *Config) { c.Room = leastRoom })
	body := bytes.Repeat(append(sampleLine(1), '\n'), 5000)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[string]int{}
	post := func(key string) {
		a := ask(t, h, request(key, "", "", body))
		mu.Lock()
		statuses[fmt.Sprint(key, a.status)]++
		mu.Unlock()
	}
	for {
		done := make(chan struct{})
		wg.Go(func() { post("acme"); close(done) })
		select {
		case <-s.entered:
			continue
		case <-done:
		}
		break
	}
	wg.Go(func() { post("other") })
	<-s.entered
	if h.room.used > h.room.limit {
		t.Errorf("%d bytes are held", h.room.used)
	}
	close(s.gate)
	wg.Wait()
	if statuses["acme429"] != 1 || statuses["acme202"] < 2 || statuses["other202"] != 1 {
		t.Errorf("answers: %v", statuses)
	}
	if a := ask(t, h, request("acme", "", "", body)); a.status != 202 || h.room.used != 0 {
		t.Errorf("afterwards: %d, %d bytes held", a.status, h.room.used)
	}
}

// TestServer sends over the wire what a client library would not.
func TestServer(t *testing.T) {
	m := newMemory(1)
	s := httptest.NewServer(newTestHandler(t, m, func(c *Config) { c.ReadFor = 50 * time.Millisecond }))
	defer s.Close()
	good := logouts(1, "")
	head := "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: acme\r\nConnection: close\r\n"
	for name, tt := range map[string]struct {
		raw    string
		status string
	}{
		"good":                  {head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(good), good), "202"},
		"two lengths":           {head + fmt.Sprintf("Content-Length: %d\r\nContent-Length: 5\r\n\r\n%s", len(good), good), "400"},
		"length with a sign":    {head + fmt.Sprintf("Content-Length: +%d\r\n\r\n%s", len(good), good), "400"},
		"chunked twice":         {head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "501"},
		"folded header":         {head + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", "400"},
		"space before a colon":  {head + "Content-Length : 5\r\n\r\n12345", "400"},
		"body that never comes": {head + "Content-Length: 100\r\n\r\n{", "408"},
		"chunk that is none":    {head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := raw(t, s, tt.raw); !strings.HasPrefix(got, "HTTP/1.1 "+tt.status) {
				t.Errorf("got %.100q, want %s", got, tt.status)
			}
		})
	}
	// Length and chunks disagree: the chunks count, and what follows is no second request.
	both := strings.Replace(head, "Connection: close\r\n", "", 1) + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(good), good)
	before := len(m.events(t))
	if got := raw(t, s, both+"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: nobody\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 202") && !strings.HasPrefix(got, "HTTP/1.1 400") {
		t.Errorf("got %.100q", got)
	}
	if n := len(m.events(t)) - before; n > 1 {
		t.Errorf("%d events came of one", n)
	}
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{{}, {River: newMemory(1)}, {River: newMemory(1), Authenticate: byKey, Key: []byte("short")}} {
		if _, err := NewHandler(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// FuzzRecords compares the splitting of arrays, read in small pieces, with encoding/json.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`[{"a":"x,]\"\\"}, 5 ,[1,[2]],{}]`), 3)
	f.Add([]byte("{}\n\n{\"a\":1}\r\n"), 1)
	f.Add([]byte(`[`), 1)
	f.Add([]byte("\n\r"), 1)
	f.Fuzz(func(t *testing.T, text []byte, size int) {
		var l records
		l.reset(&pieces{text, max(1, size%100)})
		var got []string
		var err error
		for {
			var e []byte
			if e, err = l.element(); err != nil {
				break
			}
			got = append(got, string(bytes.TrimSpace(e)))
		}
		var want []json.RawMessage
		if json.Unmarshal(text, &want) == nil && want != nil {
			if err != io.EOF || len(got) != len(want) {
				t.Fatalf("%q: %d elements, %v; want %d", text, len(got), err, len(want))
			}
			for i := range want {
				if got[i] != string(want[i]) {
					t.Errorf("%q: element %d is %q, want %q", text, i, got[i], want[i])
				}
			}
		}
		l.reset(&pieces{text, max(1, size%100)})
		var joined []byte
		for {
			line, err := l.line()
			if err != nil {
				break
			}
			joined = append(append(joined, line...), '\n')
		}
		plain := func(b []byte) string { return strings.TrimRight(strings.ReplaceAll(string(b), "\r", ""), "\n") }
		if plain(joined) != plain(text) {
			t.Errorf("lines of %q are %q", text, joined)
		}
	})
}

// pieces reads a text a few bytes at a time.
type pieces struct {
	text []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.text)
	p.text = p.text[n:]
	return n, nil
}

// FuzzBody: whatever is sent, the answer is one of the contract's and what came in is within it.
func FuzzBody(f *testing.F) {
	f.Add([]byte(logouts(2, "\n")), uint8(0))
	f.Add([]byte("["+logouts(2, ",")+"]"), uint8(0))
	f.Add(gzipped([]byte(logouts(2, "\n"))), uint8(1))
	f.Add(zstded(f, []byte(logouts(2, "\n"))), uint8(2))
	f.Add([]byte(`{"time":"2025-06-15T12:00:00Z","type":"db.query","actor":"系统","statement":"select 'x'","extra":{"p":13800138000},"url":"/a?b=c"}`), uint8(0))
	f.Fuzz(func(t *testing.T, body []byte, encoding uint8) {
		m := newMemory(2)
		h := newTestHandler(t, m)
		a := ask(t, h, request("acme", "", []string{"", "gzip", "zstd"}[encoding%3], body))
		switch a.status {
		case 202, 400, 413:
		default:
			t.Errorf("status %d", a.status)
		}
		if n := len(m.events(t)); n != a.Accepted || h.room.used != 0 {
			t.Errorf("%d events, %d accepted, %d bytes held", n, a.Accepted, h.room.used)
		}
	})
}

func BenchmarkHandler(b *testing.B) {
	plain := sampleBody(512)
	array := append([]byte("["), bytes.ReplaceAll(bytes.TrimSpace(plain), []byte("\n"), []byte(","))...)
	for _, bb := range []struct {
		name, encoding string
		body           []byte
	}{{"ndjson", "", plain}, {"array", "", append(array, ']')}, {"gzip", "gzip", gzipped(plain)}, {"zstd", "zstd", zstded(b, plain)}} {
		b.Run(bb.name, func(b *testing.B) {
			m := newMemory(1)
			m.discard = true
			h := newTestHandler(b, m)
			r := request("acme", "", bb.encoding, nil)
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			b.SetBytes(int64(len(plain)))
			start := cpuTime(b)
			for b.Loop() {
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(bb.body)), int64(len(bb.body))
				h.ServeHTTP(w, r)
				if w.status != 202 {
					b.Fatal(w.status)
				}
			}
			b.ReportMetric(float64((cpuTime(b)-start).Nanoseconds())/float64(b.N)/512, "cpu-ns/event")
		})
	}
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(s int)           { d.status = s }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// TestLargestBatch: a batch as large as may be fits into the least room, however it is sent.
func TestLargestBatch(t *testing.T) {
	line := []byte(fmt.Sprintf(`{"id":"%%05d","time":1750000000,"type":"auth.logout","actor":"a","extra":{"x":"%s"}}`+"\n", strings.Repeat("y", 950)))
	var body []byte
	for i := range MaxEvents {
		body = fmt.Appendf(body, string(line), i)
	}
	for encoding, b := range map[string][]byte{"": body, "gzip": gzipped(body), "zstd": zstded(t, body)} {
		h := newTestHandler(t, newMemory(1), func(c *Config) { c.Room = 1 })
		if a := ask(t, h, request("acme", "", encoding, b)); a.status != 202 || a.Accepted != MaxEvents {
			t.Errorf("%q, %d bytes: %+v", encoding, len(b), a)
		}
	}
}

// TestYield counts how often a large batch makes way.
func TestYield(t *testing.T) {
	var body bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&body, small+"\n", i, i)
	}
	yields := 0
	h := newTestHandler(t, newMemory(2), func(c *Config) { c.Yield = func() { yields++ } })
	if a := ask(t, h, request("acme", "", "", body.Bytes())); a.Accepted != 200 || yields != 3 {
		t.Errorf("200 events: %d accepted, %d yields", a.Accepted, yields)
	}
}
