package auth

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// keys is a key source in memory.
type keys struct {
	mu    sync.Mutex
	byID  map[string]Key
	asked int
	err   error
}

func (k *keys) Key(_ context.Context, id string) (Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	return k.byID[id], k.err
}

func (k *keys) Secret(id string) string {
	m := hmac.New(sha256.New, []byte("master"))
	m.Write([]byte(id))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(m.Sum(nil)))
}

type bench struct {
	*Guard
	keys *keys
	now  time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{now: time.Unix(1_750_000_000, 0), keys: &keys{byID: map[string]Key{
		"acme":  {ID: "acme", Partner: "acme-erp", App: "erp"},
		"ops":   {ID: "ops", Operator: true},
		"old":   {ID: "old", Partner: "acme-erp", Revoked: true},
		"a_b.c": {ID: "a_b.c", Partner: "other"},
	}}}
	g, err := New(Config{Keys: b.keys, Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	b.Guard = g
	return b
}

func (b *bench) bearer(id string) *http.Request {
	r := httptest.NewRequest("POST", "/v1/events?x=1", strings.NewReader("body"))
	r.Header.Set("Authorization", "Bearer "+Token(id, b.keys.Secret(id)))
	return r
}

func (b *bench) signed(id, body string) *http.Request {
	r := httptest.NewRequest("POST", "/v1/events?x=1&y=%20", strings.NewReader(body))
	Sign(r, id, b.keys.Secret(id), []byte(body), b.now)
	return r
}

func wantStatus(t *testing.T, err error, want int) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Status != want {
		t.Fatalf("got error %v, want status %d", err, want)
	}
	return e
}

func TestGoodCredentials(t *testing.T) {
	b := newBench(t)
	for _, id := range []string{"acme", "ops", "a_b.c"} {
		for name, r := range map[string]*http.Request{"bearer": b.bearer(id), "signed": b.signed(id, "payload")} {
			got, err := b.Authenticate(r)
			want := Identity{Partner: b.keys.byID[id].Partner, App: b.keys.byID[id].App, KeyID: id, Operator: b.keys.byID[id].Operator}
			if err != nil || got != want {
				t.Errorf("%s %s: got %+v, %v, want %+v", name, id, got, err, want)
			}
			if name == "signed" {
				if body, err := io.ReadAll(r.Body); string(body) != "payload" || err != nil {
					t.Errorf("body afterwards is %q, %v", body, err)
				}
			}
		}
	}
	if !(Identity{Operator: true}).Tenant().Sees("any") || (Identity{Partner: "a"}).Tenant().Sees("b") || (Identity{}).Tenant().Sees("") {
		t.Error("tenants are mixed up")
	}
	if b.keys.asked != 3 {
		t.Errorf("the key source was asked %d times for 3 keys", b.keys.asked)
	}
}

// TestRefused: whatever is wrong, the caller learns the same.
func TestRefused(t *testing.T) {
	set := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(k, v) } }
	add := func(k, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Add(k, v) } }
	tests := []struct {
		name   string
		signed bool
		id     string
		change func(*http.Request)
	}{
		{"nothing", false, "acme", func(r *http.Request) { r.Header.Del("Authorization") }},
		{"unknown bearer", false, "nobody", func(*http.Request) {}},
		{"revoked bearer", false, "old", func(*http.Request) {}},
		{"another's secret", false, "acme", set("Authorization", "Bearer "+Token("acme", (&keys{}).Secret("ops")))},
		{"cut secret", false, "acme", set("Authorization", "Bearer "+Token("acme", (&keys{}).Secret("acme")[:20]))},
		{"basic", false, "acme", set("Authorization", "Basic bWs6")},
		{"no secret", false, "acme", set("Authorization", "Bearer mk_acme_")},
		{"no id", false, "acme", set("Authorization", "Bearer mk__abc")},
		{"strange id", false, "acme", set("Authorization", "Bearer mk_a/../b_abc")},
		{"two bearers", false, "acme", add("Authorization", "Bearer "+Token("ops", (&keys{}).Secret("ops")))},
		{"both ways", false, "acme", set(HeaderKey, "acme")},
		{"unknown signer", true, "nobody", func(*http.Request) {}},
		{"revoked signer", true, "old", func(*http.Request) {}},
		{"two keys", true, "acme", add(HeaderKey, "ops")},
		{"two times", true, "acme", add(HeaderTime, "1750000000")},
		{"two signatures", true, "acme", add(HeaderSignature, strings.Repeat("0", 64))},
		{"another's key", true, "acme", set(HeaderKey, "ops")},
		{"other time", true, "acme", set(HeaderTime, "1750000001")},
		{"same time, written otherwise", true, "acme", set(HeaderTime, "+1750000000.000000000")},
		{"same time, cut", true, "acme", set(HeaderTime, "1750000000")},
		{"strange fraction", true, "acme", set(HeaderTime, "1750000000.0e9")},
		{"short signature", true, "acme", set(HeaderSignature, "00ff")},
		{"no hex", true, "acme", set(HeaderSignature, strings.Repeat("zz", 32))},
		{"no signature", true, "acme", func(r *http.Request) { r.Header.Del(HeaderSignature) }},
		{"other body", true, "acme", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("pAyload")) }},
		{"no body", true, "acme", func(r *http.Request) { r.Body = http.NoBody }},
		{"other path", true, "acme", func(r *http.Request) { r.RequestURI = "/v1/risk?x=1&y=%20" }},
		{"other query", true, "acme", func(r *http.Request) { r.RequestURI = "/v1/events?x=1&y=%21" }},
		{"other method", true, "acme", func(r *http.Request) { r.Method = "PUT" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			r := b.bearer(tt.id)
			if tt.signed {
				r = b.signed(tt.id, "payload")
			}
			tt.change(r)
			_, err := b.Authenticate(r)
			e := wantStatus(t, err, http.StatusUnauthorized)
			if e.Message != "bad or missing credentials" || e.Code != "unauthorized" || e.Cause == nil {
				t.Errorf("the answer tells more than it may: %+v", e)
			}
		})
	}
}

func TestClock(t *testing.T) {
	for _, d := range []time.Duration{0, Window, -Window, Window + time.Second, -Window - time.Second, 87600 * time.Hour, -87600 * time.Hour} {
		b := newBench(t)
		r := b.signed("acme", "")
		b.now = b.now.Add(d)
		_, err := b.Authenticate(r)
		if good := d <= Window && d >= -Window; good != (err == nil) {
			t.Errorf("clock %v off: %v", d, err)
		}
	}
}

func TestReplay(t *testing.T) {
	b := newBench(t)
	r := b.signed("acme", "x")
	if _, err := b.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.now = b.now.Add(time.Minute)
		r.Body = io.NopCloser(strings.NewReader("x"))
		_, err := b.Authenticate(r)
		if e := wantStatus(t, err, 401); !errors.Is(e, errReplayed) {
			t.Fatalf("replay was refused for the wrong reason: %v", e)
		}
	}
	if _, err := b.Authenticate(b.signed("acme", "x")); err != nil {
		t.Fatalf("the same body signed anew: %v", err)
	}
}

// TestReplayBounded: a busy key narrows its own window and nobody else's, and no
// signature is ever good twice.
func TestReplayBounded(t *testing.T) {
	r := replays{byKey: map[string]*window{}, perKey: 64, total: 160}
	now, good := int64(1_000_000), 0
	type use struct {
		s  signature
		at int64
	}
	var used []use
	for i := range 20_000 {
		at := now - int64(i%200) // a sender whose clock jumps about
		s := signature(sha256.Sum256([]byte(strconv.Itoa(i))))
		if r.add("busy", s, at, now) == nil {
			good++
			used = append(used, use{s, at})
		}
		if i%50 == 0 {
			now++
			key := fmt.Sprint("calm", i%4)
			if err := r.add(key, s, now, now); err != nil {
				t.Fatalf("%s was harmed: %v", key, err)
			}
		}
		if r.n > r.total || len(r.byKey["busy"].seen) > r.perKey {
			t.Fatalf("%d signatures are kept, %d of the busy key", r.n, len(r.byKey["busy"].seen))
		}
	}
	if good < 100 {
		t.Errorf("only %d of a busy key's requests passed", good)
	}
	for _, u := range used {
		if u.at >= now-int64(Window/time.Second) && r.add("busy", u.s, u.at, now) == nil {
			t.Fatal("a signature was good twice")
		}
	}
	r.sweepLocked(now + 3600)
	if r.n != 0 || len(r.byKey) != 0 {
		t.Errorf("an hour later %d signatures of %d keys are kept", r.n, len(r.byKey))
	}
}

// TestFailuresBounded: an address that fails too often is told to wait, the source is
// spared, and a good key at the same address goes on.
func TestFailuresBounded(t *testing.T) {
	b := newBench(t)
	if _, err := b.Authenticate(b.bearer("acme")); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		_, err := b.Authenticate(b.bearer(fmt.Sprint("guess", i)))
		wantStatus(t, err, 401)
	}
	asked := b.keys.asked
	for i := range 100 {
		_, err := b.Authenticate(b.bearer(fmt.Sprint("more", i)))
		if e := wantStatus(t, err, 429); e.RetryAfter < time.Second || e.RetryAfter > time.Minute {
			t.Fatalf("retry after %v", e.RetryAfter)
		}
	}
	if b.keys.asked != asked {
		t.Errorf("the key source was asked %d times by a barred address", b.keys.asked-asked)
	}
	b.now = b.now.Add(4 * time.Second)
	if _, err := b.Authenticate(b.signed("acme", "x")); err != nil {
		t.Errorf("a good key at the same address: %v", err)
	}
	other := b.bearer("nobody")
	other.RemoteAddr = "198.51.100.7:99"
	_, err := b.Authenticate(other)
	wantStatus(t, err, 401)
	b.now = b.now.Add(time.Minute)
	_, err = b.Authenticate(b.bearer("nobody"))
	wantStatus(t, err, 401)
}

func TestFailureAddressesBounded(t *testing.T) {
	f := failures{burst: 3, seen: map[string]bucket{}}
	now := time.Unix(0, 0)
	for i := range failureAddresses + 1000 {
		f.count(strconv.Itoa(i), now)
	}
	if len(f.seen) > failureAddresses {
		t.Errorf("%d addresses are kept", len(f.seen))
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:80":              "192.0.2.1",
		"[::ffff:192.0.2.1]:80":     "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":         "fe80::/64",
		"@":                         "unknown",
	} {
		if got := addressOf(&http.Request{RemoteAddr: in}); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestSourceFails(t *testing.T) {
	b := newBench(t)
	b.keys.err = errors.New("disk is gone")
	_, err := b.Authenticate(b.bearer("acme"))
	if e := wantStatus(t, err, 503); strings.Contains(e.Message, "disk") || e.RetryAfter == 0 {
		t.Errorf("answer %+v", e)
	}
}

func TestRevokedSoon(t *testing.T) {
	b := newBench(t)
	if _, err := b.Authenticate(b.bearer("acme")); err != nil {
		t.Fatal(err)
	}
	b.keys.byID["acme"] = Key{ID: "acme", Partner: "acme-erp", Revoked: true}
	b.Forget("acme")
	_, err := b.Authenticate(b.bearer("acme"))
	wantStatus(t, err, 401)
	b.keys.byID["acme"] = Key{ID: "acme", Partner: "acme-erp"}
	b.now = b.now.Add(6 * time.Second)
	if _, err := b.Authenticate(b.bearer("acme")); err != nil {
		t.Errorf("6 s later: %v", err)
	}
}

func TestBodyBounded(t *testing.T) {
	b := newBench(t)
	for name, length := range map[string]int64{"announced": 100 << 20, "not announced": -1} {
		r := b.signed("acme", "x")
		read := &counter{}
		r.Body, r.ContentLength = io.NopCloser(read), length
		_, err := b.Authenticate(r)
		wantStatus(t, err, 413)
		if read.n > MaxBody+1<<20 || length > 0 && read.n > 0 {
			t.Errorf("%s: %d bytes were read", name, read.n)
		}
	}
	torn := errors.New("torn")
	r := b.signed("acme", "x")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), errReader{torn}))
	if _, err := b.Authenticate(r); err != torn {
		t.Errorf("got %v, want the error of the body", err)
	}
}

// counter is an endless body.
type counter struct{ n int }

func (c *counter) Read(p []byte) (int, error) { c.n += len(p); return len(p), nil }

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestOverTheWire signs with the helper and checks on a real server, for the
// encodings of a path that client and server could disagree on.
func TestOverTheWire(t *testing.T) {
	b := newBench(t)
	b.now = time.Now()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/rewritten"
		if _, err := b.Authenticate(r); err != nil {
			http.Error(w, err.Error(), 401)
		}
	}))
	defer s.Close()
	for _, path := range []string{"", "/", "/v1/events", "/v1/a%2Fb?x=1&x=2", "/v1/中文?q=打印", "/v1/events?", "//x", "/a b?c d"} {
		for _, body := range []string{"", "x", strings.Repeat("long", 1<<18)} {
			req, err := http.NewRequest("POST", s.URL+strings.ReplaceAll(path, " ", "%20"), bytes.NewReader([]byte(body)))
			if err != nil {
				t.Fatal(err)
			}
			b.now = b.now.Add(time.Microsecond)
			Sign(req, "acme", b.keys.Secret("acme"), []byte(body), b.now)
			res, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != 200 {
				t.Errorf("%q with %d bytes: %d %s", path, len(body), res.StatusCode, text)
			}
		}
	}
}

func TestConcurrent(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				if _, err := b.Authenticate(b.signed("acme", fmt.Sprint(i, j))); err != nil {
					t.Error(err)
				}
				b.Authenticate(b.bearer("nobody"))
				b.Forget("acme")
			}
		})
	}
	wg.Wait()
}

func FuzzCredentials(f *testing.F) {
	f.Add("Bearer mk_acme_abc", "", "", "", false)
	f.Add("", "acme", "1750000000", strings.Repeat("ab", 32), false)
	f.Add("bearer  mk_a_b_c", "x", "1", "2", true)
	f.Fuzz(func(t *testing.T, bearer, id, at, sig string, twice bool) {
		r := &http.Request{Header: http.Header{}}
		for k, v := range map[string]string{"Authorization": bearer, HeaderKey: id, HeaderTime: at, HeaderSignature: sig} {
			if v != "" {
				r.Header.Add(k, v)
				if twice {
					r.Header.Add(k, v)
				}
			}
		}
		c, err := readCredentials(r)
		if err == nil && (!validID(c.id) || twice || bearer != "" && (id != "" || sig != "" || !strings.HasSuffix(bearer, Token(c.id, c.secret)))) {
			t.Errorf("read %+v from %v", c, r.Header)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	body := strings.Repeat("x", 190<<10) // 512 events
	for _, name := range []string{"bearer", "signed"} {
		b.Run(name, func(b *testing.B) {
			bb := newBench(b)
			r := bb.bearer("acme")
			if name == "signed" {
				r = bb.signed("acme", body)
			}
			b.ReportAllocs()
			for b.Loop() {
				clear(bb.replays.byKey)
				r.Body = io.NopCloser(strings.NewReader(body))
				if _, err := bb.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestIntegerTime: a sender may sign with whole seconds.
func TestIntegerTime(t *testing.T) {
	b := newBench(t)
	r := httptest.NewRequest("POST", "/v1/events", strings.NewReader("x"))
	s := sign(b.keys.Secret("acme"), "POST", "/v1/events", "1750000000", []byte("x"))
	r.Header.Set(HeaderKey, "acme")
	r.Header.Set(HeaderTime, "1750000000")
	r.Header.Set(HeaderSignature, hex.EncodeToString(s[:]))
	if _, err := b.Authenticate(r); err != nil {
		t.Error(err)
	}
}
