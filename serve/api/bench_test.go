package api_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat/serve/api"
)

// questionAt is a login to ask about, about 300 bytes; every one is another's.
func questionAt(i int, at time.Time) string {
	return fmt.Sprintf(`{"id":"q-%d","time":%d,"type":"auth.login","actor":"staff%05d","role":"customer_service","ip":"10.1.%d.%d","device":"dev-%06x","user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36","session":"s%016x","outcome":"success","method":"password","mfa":false}`,
		i, at.UnixMilli(), i%5000, i%200, i%250, i%9000, i)
}

// sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { s.n += len(b); return len(b), nil }

// BenchmarkRisk is one question through the whole handler: route, key, decode, normal form, engine,
// answer; the note into the log is behind it and in the figure too, as it takes the same processor.
func BenchmarkRisk(b *testing.B) {
	w := newWorld(b)
	w.story()
	now := time.Now()
	bodies := make([]string, 4096)
	for i := range bodies {
		bodies[i] = questionAt(i, now)
	}
	body := strings.NewReader("")
	r := httptest.NewRequestWithContext(context.Background(), "POST", "/v1/risk", nil)
	r.Header.Set("Authorization", "Bearer "+w.keys["acme"])
	r.Header.Set("Content-Type", "application/json")
	b.ReportAllocs()
	i, cpu := 0, cpuTime(b)
	for b.Loop() {
		body.Reset(bodies[i%len(bodies)])
		i++
		r.Body = io.NopCloser(body)
		s := sink{header: http.Header{}}
		w.api.ServeHTTP(&s, r)
		if s.status != http.StatusOK {
			b.Fatal(s.status)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
}

// BenchmarkRiskTCP is the same over a kept connection on loopback, caller included.
func BenchmarkRiskTCP(b *testing.B) {
	w := newWorld(b)
	w.story()
	l, err := api.Listen(b.Context(), "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, w.api, nil) }()
	defer func() { cancel(); <-done }()
	now := time.Now()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	b.ReportAllocs()
	i, cpu := 0, cpuTime(b)
	for b.Loop() {
		i++
		r, _ := http.NewRequest("POST", "http://"+l.Addr().String()+"/v1/risk", strings.NewReader(questionAt(i%4096, now)))
		r.Header.Set("Authorization", "Bearer "+w.keys["acme"])
		r.Header.Set("Content-Type", "application/json")
		a, err := client.Do(r)
		if err != nil || a.StatusCode != http.StatusOK {
			b.Fatal(a, err)
		}
		io.Copy(io.Discard, a.Body)
		a.Body.Close()
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
}

// BenchmarkCases is one page of a list.
func BenchmarkCases(b *testing.B) {
	w := newWorld(b)
	w.story()
	r := httptest.NewRequestWithContext(context.Background(), "GET", "/v1/cases", nil)
	r.Header.Set("Authorization", "Bearer "+w.keys["acme"])
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		w.api.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK || !bytes.Contains(rec.Body.Bytes(), []byte("alice")) {
			b.Fatal(rec.Code)
		}
	}
}
