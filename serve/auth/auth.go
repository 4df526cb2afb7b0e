// Package auth says who sent a request: by a bearer key, or by an
// HMAC-SHA-256 signature over method, path, time and body.
//
// Use [Guard.Authenticate] in front of every endpoint that partners' programs
// call, and [Sign] in those programs; what comes back is an [Identity], whose
// [Identity.Tenant] every query of kept data takes.
//
// It will not sign people in (the console does, by passkeys), keep keys
// (a [KeySource] does), or say what a caller may do beyond whose data it sees.
package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/moat-platform/moat"
)

// Key is what is known of a key besides its secret.
type Key struct {
	ID       string
	Partner  string // tenant whose events it sends and whose data it sees
	App      string // "" if the key serves several apps
	Operator bool   // the operator's own: sees all partners, may name a partner in an event
	Revoked  bool
}

// KeySource knows the keys. It must be safe for concurrent use.
type KeySource interface {
	// Key returns the key with that id, or the zero Key if there is none. An
	// error means that it could not be looked up: callers are then refused.
	Key(ctx context.Context, id string) (Key, error)
	// Secret returns the secret that belongs to an id, whether or not such a key
	// exists: lower-case base32 without padding of HMAC-SHA-256(master key, id).
	Secret(id string) string
}

// Identity is who sent a request.
type Identity struct {
	Partner  string
	App      string // "" if the key serves several apps
	KeyID    string
	Operator bool
}

// Tenant is whose data the sender may see.
func (i Identity) Tenant() moat.Tenant {
	if i.Operator {
		return moat.Everyone()
	}
	return moat.Only(i.Partner)
}

// Error is a refusal and the HTTP answer that tells it. All failures of
// credentials are the same to the caller, so that nothing can be learnt of
// which keys exist.
type Error struct {
	Status     int
	Code       string
	Message    string
	Hint       string
	RetryAfter time.Duration // 0 if trying again would not help
	Cause      error         // for the operator's log; never sent
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("cannot authenticate request: %s: %v", e.Message, e.Cause)
	}
	return "cannot authenticate request: " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Limits of a request's credentials.
const (
	// Window is how far a signed time may be from the clock, either way.
	Window = 5 * time.Minute
	// MaxBody bounds the body of a signed request, as sent.
	MaxBody = 10 << 20

	maxKeyID = 64
)

// Config is what a [Guard] needs. Keys is required.
type Config struct {
	Keys KeySource
	Now  func() time.Time // default time.Now
	Log  *slog.Logger     // default: nothing is logged
	// CacheFor is how long a looked-up key is believed: a revoked key works that much longer. Default 5 s.
	CacheFor time.Duration
	// Failures is how many failures an address may have at once, and gets back every minute.
	// Beyond it, it is answered 429 unless it shows a good key. Default 30.
	Failures int
}

// Guard authenticates requests. It is safe for concurrent use, and its memory
// is bounded: see the constants of cache, failures and replays.
type Guard struct {
	now      func() time.Time
	log      *slog.Logger
	keys     keyCache
	failures failures
	replays  replays
}

// New returns a Guard, or an error if Keys is missing.
func New(c Config) (*Guard, error) {
	if c.Keys == nil {
		return nil, errors.New("cannot make guard: no key source")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.CacheFor <= 0 {
		c.CacheFor = 5 * time.Second
	}
	if c.Failures <= 0 {
		c.Failures = 30
	}
	return &Guard{
		now:      c.Now,
		log:      c.Log,
		keys:     newKeyCache(c.Keys, c.CacheFor),
		failures: failures{burst: float64(c.Failures), seen: map[string]bucket{}},
		replays:  replays{byKey: map[string]*window{}, perKey: replaysPerKey, total: replaysTotal},
	}, nil
}

// Forget drops what is remembered of a key, so that a change (revoked, renamed)
// holds from the next request on.
func (g *Guard) Forget(id string) { g.keys.forget(id) }

// Authenticate says who sent r, or returns an *[Error]. For a signed request it reads the body,
// at most [MaxBody] bytes of it, and puts it back into r; an error of reading the
// body is returned as it is. A signature is good once.
func (g *Guard) Authenticate(r *http.Request) (Identity, error) {
	now := g.now()
	c, err := readCredentials(r)
	if err != nil {
		return g.fail(r, now, err)
	}
	key, secret, err := g.keys.get(r.Context(), c.id, now, func() bool { return !g.failures.over(addressOf(r), now) })
	switch {
	case errors.Is(err, errNotAsked):
		return g.fail(r, now, err)
	case err != nil:
		g.log.ErrorContext(r.Context(), "key lookup failed", "error", err)
		return Identity{}, &Error{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "keys cannot be looked up at the moment",
			Hint: "send the request again", RetryAfter: time.Second, Cause: err}
	}
	// An unknown id is checked against the secret that it would have: it costs the same.
	if c.signed() {
		body, err := c.readBody(r)
		if err != nil {
			return Identity{}, err
		}
		if err := c.checkSignature(r, secret, body, now); err != nil {
			return g.fail(r, now, err)
		}
	} else if !equal(c.secret, secret) {
		return g.fail(r, now, errSecret)
	}
	if key.ID != c.id || key.Revoked {
		return g.fail(r, now, errUnknownKey)
	}
	if c.signed() {
		if err := g.replays.add(c.id, c.signature, c.time, now.Unix()); err != nil {
			return g.fail(r, now, err)
		}
	}
	return Identity{Partner: key.Partner, App: key.App, KeyID: key.ID, Operator: key.Operator}, nil
}

// fail counts a failure against the sender's address and says no in the one way.
func (g *Guard) fail(r *http.Request, now time.Time, cause error) (Identity, error) {
	address := addressOf(r)
	wait := g.failures.count(address, now)
	g.log.InfoContext(r.Context(), "request refused", "address", address, "cause", cause.Error())
	if wait > 0 {
		return Identity{}, &Error{Status: http.StatusTooManyRequests, Code: "too_many_failures", Message: "too many failed requests from this address",
			Hint: "check the key, then try again later", RetryAfter: wait, Cause: cause}
	}
	return Identity{}, &Error{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "bad or missing credentials",
		Hint: "send Authorization: Bearer mk_<id>_<secret>, or Moat-Key, Moat-Time (within 5 minutes, never reused) and Moat-Signature, once each", Cause: cause}
}

// readBody reads the body as sent and puts it back.
func (c *credentials) readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > MaxBody {
		return nil, errBodyTooLarge()
	}
	body, err := readAll(r.Body, r.ContentLength)
	if err != nil {
		return nil, err
	}
	r.Body = &reread{rest: body, body: r.Body}
	return body, nil
}

func errBodyTooLarge() error {
	return &Error{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: fmt.Sprintf("body is over %d bytes", MaxBody), Hint: "send smaller batches"}
}

// readAll reads r to its end; size is its length if known, else -1. Memory grows
// with what really arrives, so that a length announced is not a length spent.
func readAll(r io.Reader, size int64) ([]byte, error) {
	b := make([]byte, 0, min(max(size+1, 512), 1<<20))
	for {
		if len(b) == cap(b) {
			grown := make([]byte, len(b), min(2*cap(b), MaxBody+1))
			copy(grown, b)
			b = grown
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if len(b) > MaxBody {
			return nil, errBodyTooLarge()
		}
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// reread gives out a body that has been read already.
type reread struct {
	rest []byte
	body io.Closer
}

func (b *reread) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *reread) Close() error { return b.body.Close() }
