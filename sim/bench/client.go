package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/load"
)

// Job tells a client what to send. It travels to the client's process as JSON.
type Job struct {
	URL         string
	Keys        []string // bearer texts, one a partner
	Accounts    int
	Fill        bool // have each account log in and look at orders and stop, at the latest after Seconds
	Batch       int  // events a request
	Connections int
	Rate        int // events a second offered; 0 = as many as are taken
	Seconds     float64
	Questions   int // synchronous questions a second; then nothing else is sent
	FirstID     uint64
}

// Sent is what a client did.
type Sent struct {
	Events     int64
	Requests   int64
	Failed     int64
	FirstError string
	Seconds    float64
	CPUSeconds float64
	P50, P99   float64 // of a request, in milliseconds
	P999, Max  float64
	NextID     uint64
}

// RunClient reads a job from in, does it, and writes what it did to out.
func RunClient(ctx context.Context, in io.Reader, out io.Writer) error {
	var j Job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return fmt.Errorf("cannot read job: %w", err)
	}
	c := &client{job: j, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512, MaxConnsPerHost: 512}}}
	c.next.Store(j.FirstID)
	ready := c.prepare()
	start, cpu := time.Now(), cpuSeconds()
	if err := ready(ctx); err != nil {
		return err
	}
	s := Sent{Events: c.events.Load(), Requests: c.requests.Load(), Failed: c.failed.Load(), Seconds: time.Since(start).Seconds(), CPUSeconds: cpuSeconds() - cpu, NextID: c.next.Load()}
	if e := c.first.Load(); e != nil {
		s.FirstError = *e
	}
	s.P50, s.P99, s.P999, s.Max = quantile(c.times, 0.5), quantile(c.times, 0.99), quantile(c.times, 0.999), quantile(c.times, 1)
	return json.NewEncoder(out).Encode(s)
}

// quantile returns a quantile of times, which it sorts, in milliseconds; 0 if there are none.
func quantile(times []time.Duration, q float64) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(int(q*float64(len(times))), len(times)-1)].Seconds() * 1000
}

type client struct {
	job                      Job
	http                     *http.Client
	events, requests, failed atomic.Int64
	next                     atomic.Uint64
	first                    atomic.Pointer[string]
	mu                       sync.Mutex
	times                    []time.Duration
}

// prepare makes all bodies before the clock starts, and returns what sends them.
func (c *client) prepare() func(context.Context) error {
	j := c.job
	if j.Questions > 0 {
		s := load.New(load.Config{Partners: len(j.Keys), Accounts: j.Accounts, Seed: j.FirstID + 2})
		logins := make([]*load.Body, 100*len(j.Keys))
		for i := range logins {
			logins[i] = s.Login(i % len(j.Keys))
		}
		return func(ctx context.Context) error { return c.ask(ctx, logins) }
	}
	conns := make([]func(i int) (*load.Body, int), j.Connections)
	for conn := range conns {
		if conns[conn] = c.endless(conn); j.Fill {
			conns[conn] = c.filling(conn)
		}
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Duration(j.Seconds*float64(time.Second)))
		defer cancel()
		var group sync.WaitGroup
		start := time.Now()
		for _, next := range conns {
			group.Go(func() { c.send(ctx, start, next) })
		}
		group.Wait()
		return nil
	}
}

// endless returns the bodies of a connection, one after the other, and their partners: few enough to be made in advance, and sent again and again.
func (c *client) endless(conn int) func(i int) (*load.Body, int) {
	j := c.job
	s := load.New(load.Config{Partners: len(j.Keys), Accounts: j.Accounts, Seed: j.FirstID + 1 + uint64(conn)})
	partner := func(i int) int { return (conn + i*j.Connections) % len(j.Keys) }
	bodies := make([]*load.Body, max(24, (len(j.Keys)+j.Connections-1)/j.Connections))
	for i := range bodies {
		bodies[i] = s.Body(partner(i), j.Batch)
	}
	return func(i int) (*load.Body, int) { return bodies[i%len(bodies)], partner(i % len(bodies)) }
}

// filling returns bodies with two events of every account of those partners that a connection has to itself. They are too many to be made
// in advance, and how long they take is not measured.
func (c *client) filling(conn int) func(i int) (*load.Body, int) {
	j := c.job
	s := load.New(load.Config{Partners: len(j.Keys), Accounts: j.Accounts, Even: true, Seed: j.FirstID + 1})
	own := (len(j.Keys) - conn + j.Connections - 1) / j.Connections
	each := (2*j.Accounts/len(j.Keys) + j.Batch - 1) / j.Batch
	return func(i int) (*load.Body, int) {
		if i == own*each {
			return nil, 0
		}
		partner := conn + i%own*j.Connections
		return s.Body(partner, j.Batch), partner
	}
}

// send sends bodies until there are no more or ctx ends.
func (c *client) send(ctx context.Context, start time.Time, next func(i int) (*load.Body, int)) {
	for i := 0; ctx.Err() == nil; i++ {
		b, p := next(i)
		if b == nil {
			return
		}
		if c.job.Rate > 0 {
			due := start.Add(time.Duration(float64(c.events.Load()) / float64(c.job.Rate) * float64(time.Second)))
			if d := time.Until(due); d > 0 {
				time.Sleep(d)
			}
		}
		b.Renew(c.next.Add(uint64(b.Count))-uint64(b.Count), moat.TimeOf(time.Now()))
		for try := 0; try < 1000 && ctx.Err() == nil; try++ {
			begin := time.Now()
			retry, err := c.post("/v1/events", "application/x-ndjson", c.job.Keys[p], b.Text)
			c.mu.Lock()
			c.times = append(c.times, time.Since(begin))
			c.mu.Unlock()
			if err == nil {
				c.events.Add(int64(b.Count))
				break
			}
			if retry == 0 {
				c.fail(err)
				break
			}
			time.Sleep(retry)
		}
	}
}

// post returns how long to wait before trying again, if the server said so.
func (c *client) post(path, kind, key string, body []byte) (time.Duration, error) {
	r, err := http.NewRequest(http.MethodPost, c.job.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", kind)
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	c.requests.Add(1)
	switch {
	case err != nil:
		return 0, err
	case resp.StatusCode == http.StatusTooManyRequests:
		s, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return min(time.Duration(max(s, 1))*time.Second/20, time.Second), fmt.Errorf("busy")
	case resp.StatusCode/100 != 2:
		return 0, fmt.Errorf("%s: %.200s", resp.Status, answer)
	case bytes.Contains(answer, []byte(`"index"`)):
		return 0, fmt.Errorf("rejected: %.200s", answer)
	}
	return 0, nil
}

func (c *client) fail(err error) {
	c.failed.Add(1)
	s := err.Error()
	c.first.CompareAndSwap(nil, &s)
}

// cpuSeconds is what this process has used of the processors.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// rss is the resident memory of this process in bytes.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages int64
	fmt.Sscan(string(b), &size, &pages)
	return pages * int64(os.Getpagesize())
}
