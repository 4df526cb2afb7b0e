package auth_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/serve/auth"
)

// sink is a river that counts batches.
type sink struct{ batches atomic.Int64 }

func (*sink) Partitions() int        { return 1 }
func (*sink) PartitionOf(string) int { return 0 }
func (s *sink) Append(context.Context, int, []byte) (uint64, error) {
	return uint64(s.batches.Add(1)), nil
}

// twoKeys are acme's and other's.
type twoKeys struct{}

func (twoKeys) Key(_ context.Context, id string) (auth.Key, error) {
	if id == "acme" || id == "other" {
		return auth.Key{ID: id, Partner: id}, nil
	}
	return auth.Key{}, nil
}
func (twoKeys) Secret(id string) string { return "secretof" + id }

// TestEvents sends batches to the event handler over the wire, as its guard sees them.
func TestEvents(t *testing.T) {
	g, err := auth.New(auth.Config{Keys: twoKeys{}, Failures: 1000})
	if err != nil {
		t.Fatal(err)
	}
	river := &sink{}
	h, err := ingest.NewHandler(ingest.Config{River: river, Key: []byte("sixteen bytes or more"), Authenticate: func(r *http.Request) (ingest.Caller, error) {
		id, err := g.Authenticate(r)
		var no *auth.Error
		if errors.As(err, &no) {
			return ingest.Caller{}, (*ingest.Refusal)(no)
		}
		return ingest.Caller(id), err
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(h)
	defer s.Close()
	event := func(more string) string {
		return fmt.Sprintf(`{"time":%d,"type":"auth.logout","actor":"a"%s}`, time.Now().Unix(), more)
	}
	pack := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		io.WriteString(z, text)
		z.Close()
		return b.Bytes()
	}
	post := func(body []byte, change func(*http.Request)) (int, string) {
		t.Helper()
		req, err := http.NewRequest("POST", s.URL+"/v1/events", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		auth.Sign(req, "acme", "secretofacme", body, time.Now())
		if change != nil {
			change(req)
		}
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		if !json.Valid(text) {
			t.Errorf("answer %q", text)
		}
		return res.StatusCode, string(text)
	}
	plain, packed := []byte(event("")), pack(event(""))
	foreign := []byte(event("") + "\n" + event(`,"partner":"other"`))
	tests := []struct {
		name   string
		body   []byte
		change func(*http.Request)
		status int
		part   string
	}{
		{"signed", plain, nil, 202, `"accepted":1`},
		{"signed as sent", packed, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, 202, `"accepted":1`},
		{"bearer", plain, func(r *http.Request) {
			r.Header = http.Header{"Authorization": {"Bearer " + auth.Token("other", "secretofother")}}
		}, 202, `"accepted":1`},
		{"naming another partner", foreign, nil, 202, `"accepted":1,"rejected":[{"index":1,"code":"forbidden"`},
		{"wrong signature", plain, func(r *http.Request) { r.Header.Set(auth.HeaderSignature, strings.Repeat("ab", 32)) }, 401, `"unauthorized"`},
		{"another partner's key", plain, func(r *http.Request) { r.Header.Set(auth.HeaderKey, "other") }, 401, `"unauthorized"`},
		{"clock ten years off", plain, func(r *http.Request) {
			auth.Sign(r, "acme", "secretofacme", plain, time.Now().AddDate(10, 0, 0))
		}, 401, `"unauthorized"`},
		{"no key", plain, func(r *http.Request) { r.Header = http.Header{} }, 401, `"unauthorized"`},
		{"partner by header", plain, func(r *http.Request) { r.Header.Set("Moat-Partner", "other") }, 202, `"accepted":1`},
	}
	for _, tt := range tests {
		if status, text := post(tt.body, tt.change); status != tt.status || !strings.Contains(text, tt.part) {
			t.Errorf("%s: got %d %s", tt.name, status, text)
		}
	}
	var first http.Header
	post(plain, func(r *http.Request) { first = r.Header.Clone() })
	before := river.batches.Load()
	if status, _ := post(plain, func(r *http.Request) { r.Header = first }); status != 401 || river.batches.Load() != before {
		t.Errorf("a replayed request: %d", status)
	}
}

// TestHugeBody: a signed body of 100 MB is refused before it costs memory, announced or not.
func TestHugeBody(t *testing.T) {
	g, err := auth.New(auth.Config{Keys: twoKeys{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int64{100 << 20, -1} {
		r := httptest.NewRequest("POST", "/v1/events", nil)
		auth.Sign(r, "acme", "secretofacme", nil, time.Now())
		r.Body, r.ContentLength = io.NopCloser(io.LimitReader(zeros{}, 100<<20)), length
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := g.Authenticate(r)
		runtime.ReadMemStats(&after)
		var no *auth.Error
		if !errors.As(err, &no) || no.Status != http.StatusRequestEntityTooLarge {
			t.Errorf("got %v", err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 3*auth.MaxBody {
			t.Errorf("%d KiB were allocated", grown>>10)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
