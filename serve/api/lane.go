package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// lane stands between a listener and net/http, and answers the plain questions among the requests itself: they come by the
// thousand a second, each waited for, and net/http spends more on one than the engine does, most of it on what a
// question does not need: a goroutine that watches whether the caller goes away, deadlines, a tree of contexts. Whatever is not
// plainly a question goes to net/http with its connection, every byte of it, and so do all refusals of bad
// requests: there is one place that knows HTTP in full. Whoever hears the bell of a connection answers; what takes waiting is for
// the goroutine that each connection has, too.
type lane struct {
	net.Listener
	h    http.Handler
	log  *slog.Logger
	bell *bell
	rest chan accepted // for net/http
	done chan struct{} // closed when no more is accepted
	end  sync.Once

	closing atomic.Bool // connections end after their answer
	mu      sync.Mutex
	open    map[*laneConn]struct{}
	group   sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

const (
	questionLine = "POST /v1/risk HTTP/1.1\r\n"
	laneHead     = 4 << 10  // a longer head is not plain
	laneBody     = 16 << 10 // nor is a longer body: that much is read before the caller is known
	laneNames    = 48       // nor are more lines
	laneRefresh  = time.Second
	firstRead    = 2 << 10
)

func newLane(l net.Listener, h http.Handler, log *slog.Logger) (*lane, error) {
	b, err := newBell()
	if err != nil {
		return nil, err
	}
	a := &lane{Listener: l, h: h, log: log, bell: b, rest: make(chan accepted), done: make(chan struct{}), open: map[*laneConn]struct{}{}}
	go a.run()
	return a, nil
}

// run takes connections until the listener is closed. Errors are net/http's to judge.
func (l *lane) run() {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			k := &laneConn{conn: c, lane: l, slow: true, turn: make(chan struct{}, 1)}
			k.rings.Store(1)
			if !l.join(k) {
				c.Close()
				continue
			}
			go k.run()
			continue
		}
		select {
		case l.rest <- accepted{nil, err}:
		case <-l.done:
			return
		}
	}
}

// Accept returns a connection that has more to say than questions.
func (l *lane) Accept() (net.Conn, error) {
	select {
	case a := <-l.rest:
		return a.conn, a.err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends accepting; connections stay.
func (l *lane) Close() error {
	err := net.ErrClosed
	l.end.Do(func() {
		close(l.done)
		err = l.Listener.Close()
	})
	return err
}

func (l *lane) join(k *laneConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Load() {
		return false
	}
	l.open[k] = struct{}{}
	l.group.Add(1)
	return true
}

func (l *lane) leave(k *laneConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, k)
	l.group.Done()
}

// shutdown closes connections that wait for a request, and the others after their answer; when ctx ends, at once.
func (l *lane) shutdown(ctx context.Context) {
	l.closing.Store(true)
	for _, k := range l.all() {
		k.ring()
	}
	gone := make(chan struct{})
	go func() { l.group.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-ctx.Done():
		for _, k := range l.all() {
			k.conn.Close()
			k.ring()
		}
	}
	l.bell.close()
}

func (l *lane) all() []*laneConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.open))
}

// laneConn is a connection in the lane, and the writer of its answers. Its memory is used for one question after another.
type laneConn struct {
	conn net.Conn
	lane *lane

	raw   syscall.RawConn
	rings atomic.Int64  // since somebody took the connection; 0 = nobody has it
	turn  chan struct{} // has something in it when it is the connection's own goroutine's
	timer *time.Timer   // rings when the patience ends

	// What follows is for who has the connection.

	slow   bool   // what comes next is for its own goroutine
	buf    []byte // what was read and not yet worked on
	unsent []byte // the rest of an answer
	last   bool   // nothing comes after it

	head   []byte // of the request that req was made from: most callers send the same again
	digits [2]int // where in head the length of its body begins and ends
	length int    // of its body
	req    http.Request
	body   laneBuffer

	answer http.Header
	status int
	text   bytes.Buffer
	out    []byte

	until time.Time // the end of patience is no earlier than laneRefresh before what it should be
	date  int64     // in seconds, of dated
	dated []byte
}

// laneBuffer is a body in memory.
type laneBuffer struct{ bytes.Reader }

func (*laneBuffer) Close() error { return nil }

// run answers questions until something else comes, or the end.
func (k *laneConn) run() {
	defer k.lane.leave(k)
	k.buf = make([]byte, 0, firstRead)
	k.timer = time.AfterFunc(idleTime, k.ring)
	defer k.timer.Stop()
	if !k.watched() {
		k.handOver()
		return
	}
	for {
		n, plain := k.next()
		if !plain {
			k.lane.bell.remove(k)
			k.handOver()
			return
		}
		if n > 0 {
			k.serve(n)
		}
		if n == 0 || !k.flush() || k.lane.closing.Load() {
			k.lane.bell.remove(k)
			k.conn.Close()
			return
		}
		rest := k.buf[n:]
		if cap(k.buf) > 2*laneHead {
			k.buf = make([]byte, 0, max(firstRead, len(rest)))
		}
		k.buf = append(k.buf[:0], rest...)
	}
}

// watched has the bell rung for the connection.
func (k *laneConn) watched() bool {
	c, ok := k.conn.(syscall.Conn)
	if !ok {
		return false
	}
	var err error
	if k.raw, err = c.SyscallConn(); err == nil {
		err = k.lane.bell.add(k)
	}
	return err == nil
}

// next reads until a whole question is there and returns how many bytes it has; 0 when nothing came before the end. It says no when what is
// there is not plainly a question, or does not become a whole one in time.
func (k *laneConn) next() (n int, plain bool) {
	k.patience(idleTime)
	for begun := false; ; {
		if len(k.buf) > 0 {
			if n, plain = k.whole(); n > 0 || !plain {
				return n, plain
			}
			if !begun {
				begun = true
				k.waitUntil(time.Now(), headerTime)
			}
		}
		if k.more() != nil {
			return 0, len(k.buf) == 0
		}
	}
}

// patience lets the caller take about d to begin the next request.
func (k *laneConn) patience(d time.Duration) {
	if now := time.Now(); k.until.Sub(now) <= d-laneRefresh {
		k.waitUntil(now, d)
	}
}

func (k *laneConn) waitUntil(now time.Time, d time.Duration) {
	k.until = now.Add(d)
	k.timer.Reset(d)
}

// whole returns the length of the question at the beginning of the buffer, 0 if its end is not there yet.
func (k *laneConn) whole() (n int, plain bool) {
	if k.again() {
		return k.ended(len(k.head)), true
	}
	m := min(len(k.buf), len(questionLine))
	if string(k.buf[:m]) != questionLine[:m] {
		return 0, false
	}
	end := bytes.Index(k.buf, []byte("\r\n\r\n"))
	if end < 0 {
		return 0, len(k.buf) < laneHead
	}
	if end += 4; end > laneHead || !k.read(k.buf[:end]) {
		k.head = k.head[:0]
		return 0, false
	}
	k.head = append(k.head[:0], k.buf[:end]...)
	return k.ended(end), true
}

// again tells whether the head is that of the request before, but for the digits of the length, which it takes over.
func (k *laneConn) again() bool {
	h, from, to := k.head, k.digits[0], k.digits[1]
	if len(h) == 0 || len(k.buf) < len(h) || !bytes.Equal(k.buf[:from], h[:from]) || !bytes.Equal(k.buf[to:len(h)], h[to:]) {
		return false
	}
	digits := k.buf[from:to]
	if bytes.Equal(digits, h[from:to]) {
		return true
	}
	n, ok := bodyLength(string(digits))
	if ok {
		copy(h[from:to], digits)
		k.length, k.req.ContentLength = n, int64(n)
		k.req.Header["Content-Length"] = []string{string(digits)}
	}
	return ok
}

// bodyLength reads the length of a body that is plainly one.
func bodyLength(digits string) (n int, ok bool) {
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n > 0 && n <= laneBody && digits[0] != '0'
}

// ended is the length of a request whose head has h bytes, 0 if its body is not whole.
func (k *laneConn) ended(h int) int {
	if len(k.buf) < h+k.length {
		return 0
	}
	return h + k.length
}

// read makes the request of a head, unless there is anything unusual in it.
func (k *laneConn) read(head []byte) bool {
	k.length = -1
	r := http.Request{Method: http.MethodPost, URL: &url.URL{Path: "/v1/risk"}, RequestURI: "/v1/risk", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, RemoteAddr: k.conn.RemoteAddr().String()}
	rest := string(head[len(questionLine) : len(head)-2])
	for lines := 0; rest != ""; lines++ {
		i := bytes.IndexByte([]byte(rest), '\n')
		if i < 1 || rest[i-1] != '\r' || lines == laneNames {
			return false
		}
		line := rest[:i-1]
		rest = rest[i+1:]
		name, value, ok := headerLine(line)
		if !ok || !k.take(&r, name, value) {
			return false
		}
		if name == "Content-Length" {
			to := len(head) - 2 - len(rest) - 2 - (len(line) - len(strings.TrimRight(line, " \t")))
			k.digits = [2]int{to - len(value), to}
		}
	}
	if r.Host == "" || k.length < 0 {
		return false
	}
	r.ContentLength = int64(k.length)
	k.req = r
	return true
}

// headerLine cuts a line of a head in two, unless it has anything but printable characters.
func headerLine(line string) (name, value string, ok bool) {
	colon := 0
	for colon < len(line) && (line[colon]|0x20 >= 'a' && line[colon]|0x20 <= 'z' || line[colon] >= '0' && line[colon] <= '9' || line[colon] == '-') {
		colon++
	}
	if colon == 0 || colon == len(line) || line[colon] != ':' {
		return "", "", false
	}
	for i := colon; i < len(line); i++ {
		if line[i] < ' ' || line[i] > '~' {
			return "", "", false
		}
	}
	return textproto.CanonicalMIMEHeaderKey(line[:colon]), textproto.TrimString(line[colon+1:]), true
}

// take puts a header into r; it says no to those that change how a request is read.
func (k *laneConn) take(r *http.Request, name, value string) bool {
	switch name {
	case "Transfer-Encoding", "Expect", "Upgrade", "Trailer", "Te", "Content-Encoding":
		return false
	case "Connection":
		return value == "keep-alive"
	case "Host":
		if r.Host != "" || value == "" {
			return false
		}
		for i := range len(value) {
			if c := value[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '.' || c > ':' || c == '/') && c != '-' && c != '[' && c != ']' {
				return false
			}
		}
		r.Host = value
		return true
	case "Content-Length":
		n, ok := bodyLength(value)
		if !ok || k.length >= 0 {
			return false
		}
		k.length = n
	}
	r.Header[name] = append(r.Header[name], value)
	return true
}

// serve answers the request of n bytes at the beginning of the buffer.
func (k *laneConn) serve(n int) {
	defer func() {
		if p := recover(); p != nil {
			k.last = true
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				k.lane.log.Error("a question crashed", "cause", fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}
	}()
	k.body.Reset(k.buf[n-k.length : n])
	k.req.Body = &k.body
	if k.answer == nil {
		k.answer = http.Header{}
	}
	clear(k.answer)
	k.status = 0
	k.text.Reset()
	k.lane.h.ServeHTTP(k, &k.req)
	if k.status == 0 {
		k.status = http.StatusOK
	}
	k.last = k.answer.Get("Connection") != ""
	k.out = append(k.appendHead(k.out[:0]), k.text.Bytes()...)
	k.push(k.out)
}

// appendHead appends status and headers of the answer.
func (k *laneConn) appendHead(b []byte) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(k.status), 10)
	b = append(append(append(b, ' '), http.StatusText(k.status)...), "\r\n"...)
	for name, values := range k.answer {
		if name == "Content-Length" {
			continue
		}
		for _, v := range values {
			b = append(append(append(append(b, name...), ": "...), v...), "\r\n"...)
		}
	}
	if now := time.Now(); now.Unix() != k.date || k.dated == nil {
		k.date, k.dated = now.Unix(), now.UTC().AppendFormat(k.dated[:0], http.TimeFormat)
	}
	b = append(append(append(b, "Date: "...), k.dated...), "\r\nContent-Length: "...)
	return append(strconv.AppendInt(b, int64(k.text.Len()), 10), "\r\n\r\n"...)
}

// Header returns the headers of the answer.
func (k *laneConn) Header() http.Header { return k.answer }

// WriteHeader sets the status of the answer.
func (k *laneConn) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

// Write adds to the answer, which goes out when it is whole.
func (k *laneConn) Write(b []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.text.Write(b)
}

// handOver gives the connection to net/http as if nothing of it had been read.
func (k *laneConn) handOver() {
	k.conn.SetDeadline(time.Time{})
	select {
	case k.lane.rest <- accepted{&unread{k.conn, k.buf}, nil}:
	case <-k.lane.done:
		k.conn.Close()
	}
}

// unread is a connection of which something has been read.
type unread struct {
	net.Conn
	first []byte
}

func (u *unread) Read(p []byte) (int, error) {
	if len(u.first) > 0 {
		n := copy(p, u.first)
		u.first = u.first[n:]
		return n, nil
	}
	return u.Conn.Read(p)
}
