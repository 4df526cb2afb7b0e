package api_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moat-platform/moat/serve/api"
)

// echo answers with what it sees of a request.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s %q %d %d %.200q %v\n", r.Method, r.URL, r.RequestURI, r.Host, r.ContentLength, len(body), body, err)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		fmt.Fprintf(&b, "%s: %q\n", name, r.Header[name])
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Seen", "yes")
	if r.Header.Get("X-Last") != "" {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(http.StatusTeapot)
	io.WriteString(w, b.String())
}

// twins are two servers of one handler: the one that Serve makes, and net/http alone.
type twins struct{ ours, plain string }

func newTwins(t testing.TB, h http.HandlerFunc) twins {
	t.Helper()
	listen := func() net.Listener {
		l, err := api.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	ours, plain := listen(), listen()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, ours, h, nil) }()
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	go s.Serve(plain)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return twins{ours.Addr().String(), plain.Addr().String()}
}

// say sends pieces, one write each, and returns all that comes back until the other side ends: status, headers that are not
// about time, and body of each answer.
func say(t testing.TB, address string, pieces ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		for _, p := range pieces {
			io.WriteString(c, p)
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	var b bytes.Buffer
	for r := bufio.NewReader(c); ; {
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			return b.String()
		}
		body, _ := io.ReadAll(a.Body) // a server that does not read on resets the connection, sooner or later
		a.Header.Del("Date")
		a.Header.Del("Content-Length") // long answers go in chunks there
		fmt.Fprintf(&b, "%s %v %v\n%s\n", a.Status, a.Header, a.Close, body)
	}
}

func (x twins) agree(t testing.TB, pieces ...string) string {
	t.Helper()
	got, want := say(t, x.ours, pieces...), say(t, x.plain, pieces...)
	if got != want {
		t.Errorf("%.500q\nis answered with\n%s\nby net/http with\n%s", pieces, got, want)
	}
	return got
}

const (
	plainHead = "POST /v1/risk HTTP/1.1\r\nHost: moat.example:8480\r\nAuthorization: Bearer mk_a_b\r\nContent-Type: application/json\r\n"
	plain     = plainHead + "Content-Length: 7\r\n\r\n{\"a\":1}"
)

// rude are requests that two readers of HTTP could take for different ones, or none should take at all.
var rude = []string{
	"",
	"\r\n\r\n" + plain,
	"GET /v1/risk HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /v1/risk HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
	"POST /v1/risk?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
	"POST /v1/risk HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
	"POST /v1/risk HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}",
	plainHead + "Host: b\r\nContent-Length: 2\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
	plainHead + "Content-Length: 2, 2\r\n\r\n{}",
	plainHead + "Content-Length: +2\r\n\r\n{}",
	plainHead + "Content-Length: -2\r\n\r\n{}",
	plainHead + "Content-Length: 0x2\r\n\r\n{}",
	plainHead + "Content-Length: 02\r\n\r\n{}",
	plainHead + "Content-Length: 0\r\n\r\n",
	plainHead + "Content-Length:\r\n\r\n",
	plainHead + "Content-Length : 2\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\n X-Folded: 1\r\n\r\n{}",
	plainHead + "X-Folded: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}",
	plainHead + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	plainHead + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	plainHead + "Content-Length: 2\r\nTransfer-Encoding : chunked\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nTransfer_Encoding: chunked\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nConnection: close\r\n\r\n{}" + plain,
	plainHead + "Content-Length: 2\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nX-Last: 1\r\n\r\n{}" + plain,
	plainHead + "Content-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nX-Bad: a\x00b\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nX-Bad: a\rb\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nX-Latin: \xe9\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\n: empty\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nno colon\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nX-Empty:\r\nx-empty: 2\r\nX-Tab:\t1 \t\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\nAuthorization: Bearer other\r\n\r\n{}",
	plainHead + "Content-Length: 3\r\n\r\n{}",
	plainHead + "Content-Length: 2\r\n",
	"POST /v1/risk HTTP/1.1\r\nHost: \r\nContent-Length: 2\r\n\r\n{}",
	"POST /v1/risk HTTP/1.1\r\nHost: a b\r\nContent-Length: 2\r\n\r\n{}",
	"POST /v1/risk HTTP/1.1\r\nHost: a/b\r\nContent-Length: 2\r\n\r\n{}",
	"POST /v1/risk HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 2\r\n\r\n{}",
	plain + "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + plain,
	plain + "nonsense",
	plainHead + "X-Long: " + strings.Repeat("x", 3<<10) + "\r\nX-More: " + strings.Repeat("y", 1<<10) + "\r\nContent-Length: 2\r\n\r\n{}",
	plainHead + strings.Repeat("X-Many: 1\r\n", 100) + "Content-Length: 2\r\n\r\n{}",
	plainHead + "Content-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000) + plain,
	// Heads that differ from the one before in the length alone, or near it.
	plain + plainHead + "Content-Length: 9\r\n\r\n{\"a\":1} \n" + plain,
	plain + plainHead + "Content-Length: 0\r\n\r\n" + plain,
	plain + plainHead + "Content-Length: x\r\n\r\n{\"a\":1}" + plain,
	plain + plainHead + "Content-Length: 10\r\n\r\n{\"a\":100}" + plain,
	plainHead + "X-N: 7\r\nContent-Length: 7  \r\nX-M: 7\r\n\r\n{\"a\":1}" + plainHead + "X-N: 7\r\nContent-Length: 5  \r\nX-M: 7\r\n\r\n{\"a\"}",
	plainHead + "Content-Length: 10\r\n\r\n{\"a\":1234}" + plainHead + "Content-Length: 09\r\n\r\n{\"a\":123}",
	plainHead + "Content-Length: 10\r\n\r\n{\"a\":1234}" + plainHead + "Content-Length: +9\r\n\r\n{\"a\":123}",
	plainHead + "Content-Length: 16000\r\n\r\n" + strings.Repeat("x", 16000) + plainHead + "Content-Length: 16999\r\n\r\n" + strings.Repeat("x", 16999) + plain,
	plainHead + "Content-Length: 9000\r\n\r\n" + strings.Repeat("x", 9000) + plain,
}

// TestLane holds the lane against net/http: whatever is sent is answered in the same way.
func TestLane(t *testing.T) {
	x := newTwins(t, echo)
	for _, text := range rude {
		x.agree(t, text)
	}
	if got := x.agree(t, plain+plain, plain); strings.Count(got, "418 I'm a teapot") != 3 {
		t.Errorf("three questions in a row are answered with\n%s", got)
	}
	for i := range len(plain) { // cut anywhere
		x.agree(t, plain[:i], plain[i:]+plain)
	}
}

// TestLaneEnds stops a server while connections wait, are in the middle of a question, and have one under way.
func TestLaneEnds(t *testing.T) {
	l, err := api.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, goOn := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- api.Serve(ctx, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			<-goOn
			io.WriteString(w, "answer")
		}), nil)
	}()
	dial := func(text string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, text)
		return c
	}
	waits, half, busy := dial(""), dial(plain[:50]), dial(plain)
	<-asked
	cancel()
	for _, c := range []net.Conn{waits, half} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a connection without a whole question was not closed: %v", err)
		}
	}
	close(goOn)
	if text, err := io.ReadAll(busy); err != nil || !bytes.HasSuffix(text, []byte("answer")) {
		t.Errorf("the question under way: %q, %v", text, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestLaneCrash lets a handler panic: its connection ends, the server goes on.
func TestLaneCrash(t *testing.T) {
	x := newTwins(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Crash") != "" {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "well")
	})
	x.agree(t, plain[:len(plainHead)]+"X-Crash: 1\r\n"+plain[len(plainHead):]+plain)
	if got := say(t, x.ours, plain); !strings.Contains(got, "well") {
		t.Errorf("after a crash: %s", got)
	}
}

func FuzzLane(f *testing.F) {
	x := newTwins(f, echo)
	f.Add(plain, 10)
	for _, text := range rude {
		f.Add(text, 30)
	}
	f.Fuzz(func(t *testing.T, text string, cut int) {
		if cut < 0 || cut > len(text) {
			cut = 0
		}
		x.agree(t, text[:cut], text[cut:])
	})
}

// dial connects, for twenty seconds.
func dial(address string) (net.Conn, *bufio.Reader, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	return c, bufio.NewReader(c), c.SetDeadline(time.Now().Add(20 * time.Second))
}

// TestLaneMany asks on many connections one question after another, of lengths that differ, some cut in two, some with a second behind
// them: each is answered once, in order, with its own text.
func TestLaneMany(t *testing.T) {
	x := newTwins(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			c, r, err := dial(x.ours)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for j := range 100 {
				bodies := []string{fmt.Sprintf("%d of %d %s", j, i, strings.Repeat("x", j*i%300))}
				if j%7 == 3 {
					bodies = append(bodies, "behind it")
				}
				var text string
				for _, b := range bodies {
					text += fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", plainHead, len(b), b)
				}
				cut := len(text)
				if j%5 == 1 {
					cut = (i*j + 1) % len(text)
				}
				io.WriteString(c, text[:cut])
				io.WriteString(c, text[cut:])
				for _, want := range bodies {
					a, err := http.ReadResponse(r, nil)
					if err != nil {
						t.Errorf("question %d of connection %d: %v", j, i, err)
						return
					}
					if got, _ := io.ReadAll(a.Body); string(got) != want {
						t.Errorf("question %d of connection %d is answered with %.50q, want %.50q", j, i, got, want)
						return
					}
				}
			}
		})
	}
	group.Wait()
}

// TestLaneUnread asks until the answers do not fit between the two any more, and then takes them: none is lost, and who looks for
// questions does not wait for it.
func TestLaneUnread(t *testing.T) {
	long := strings.Repeat("an answer ", 1<<16)
	x := newTwins(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, long) })
	c, err := net.Dial("tcp", x.ours)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	const times = 50
	go func() {
		for range times {
			io.WriteString(c, plain)
		}
	}()
	if got := say(t, x.ours, plain); !strings.Contains(got, "an answer") {
		t.Errorf("beside who does not read: %.100q", got)
	}
	r := bufio.NewReader(c)
	for i := range times {
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		if got, err := io.ReadAll(a.Body); string(got) != long {
			t.Fatalf("answer %d has %d bytes, want %d: %v", i, len(got), len(long), err)
		}
	}
}

// TestLaneLooked asks while others look between their own work whether questions have come, as engines do, and ends the server under them.
func TestLaneLooked(t *testing.T) {
	w := newWorld(t)
	base, stop := w.served()
	ended := make(chan struct{})
	var lookers, askers sync.WaitGroup
	for range 3 {
		lookers.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					w.node.Look()
					runtime.Gosched()
				}
			}
		})
	}
	now := time.Now()
	for i := range 20 {
		askers.Go(func() {
			c, r, err := dial(strings.TrimPrefix(base, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for j := range 50 {
				body := questionAt(100*i+j, now)
				fmt.Fprintf(c, "POST /v1/risk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", w.keys["acme"], len(body), body)
				a, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Errorf("question %d of connection %d: %v", j, i, err)
					return
				}
				if text, err := io.ReadAll(a.Body); a.StatusCode != http.StatusOK || err != nil || !bytes.Contains(text, []byte(`"risk":`)) {
					t.Errorf("question %d of connection %d: %s %.200s %v", j, i, a.Status, text, err)
				}
			}
		})
	}
	askers.Wait()
	stop()
	close(ended)
	lookers.Wait()
}
