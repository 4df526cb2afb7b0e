package ingest

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// admission bounds the memory that all requests take together, and what one
// partner's may take of it: half, so that one in trouble leaves room to the others.
type admission struct {
	limit int64

	mu   sync.Mutex
	used int64
	by   map[string]int64 // by partner; "" before it is known
}

func newAdmission(limit int64) *admission { return &admission{limit: limit, by: map[string]int64{}} }

func (a *admission) take(partner string, n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.used+n > a.limit || a.by[partner]+n > a.limit/2 {
		return false
	}
	a.used += n
	a.by[partner] += n
	return true
}

func (a *admission) give(partner string, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used -= n
	if a.by[partner] -= n; a.by[partner] == 0 {
		delete(a.by, partner)
	}
}

// meter is what one request has taken.
type meter struct {
	from    *admission
	partner string
	held    int64
}

// take takes n bytes, or says that there is no room.
func (m *meter) take(n int64) error {
	if !m.from.take(m.partner, n) {
		return busy(time.Second)
	}
	m.held += n
	return nil
}

func (m *meter) give(n int64) {
	m.held -= n
	m.from.give(m.partner, n)
}

// assign counts what is held as partner's from now on.
func (m *meter) assign(partner string) error {
	held := m.held
	m.give(held)
	m.partner = partner
	return m.take(held)
}

func (m *meter) close() { m.give(m.held) }

func busy(wait time.Duration) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Code: "busy", Message: "too much is on its way already",
		Hint: "send the same batch again after Retry-After", RetryAfter: wait}
}

// meterStep is how much a metered reader takes at a time.
const meterStep = 256 << 10

// metered is a reader that ends with a Refusal at a limit, and takes room for what it reads
// beyond what was paid for in advance.
type metered struct {
	r     io.Reader
	m     *meter
	limit int64
	over  func() *Refusal
	read  int64
	paid  int64
	err   error
}

func (r *metered) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if int64(len(p)) > r.limit-r.read+1 {
		p = p[:r.limit-r.read+1]
	}
	n, err := r.r.Read(p)
	r.read += int64(n)
	switch {
	case r.read > r.limit:
		n, err = 0, r.over()
	case r.read > r.paid:
		step := max(meterStep, r.read-r.paid)
		if busy := r.m.take(step); busy != nil {
			n, err = 0, busy
		}
		r.paid += step
	}
	r.err = err
	return n, err
}

func (r *metered) Close() error { return nil }
