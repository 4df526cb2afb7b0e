package ingest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/river"
)

// The bounds of one request, part of the public contract.
const (
	MaxBody   = 10 << 20 // bytes, as sent and after decompression
	MaxEvents = 10_000

	maxListed   = 100     // rejected events that an answer lists
	zstdWindow  = 8 << 20 // what the usual encoders use at most
	baseCharge  = 2 * firstBuffer
	defaultRoom = 256 << 20
	leastRoom   = 64 << 20
)

// Refusal is why a whole request was not taken, and the HTTP answer that says so.
type Refusal struct {
	Status     int
	Code       string
	Message    string
	Hint       string
	RetryAfter time.Duration // 0 if trying again would not help
	Cause      error         // for the operator's log; never sent
}

func (r *Refusal) Error() string { return r.Message }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Cause }

// Config is what a [Handler] needs. River, Authenticate and Key are required.
type Config struct {
	River        River
	Authenticate Authenticate
	// Key makes the hashes of ids, phone numbers and e-mail addresses; see [NewNormaliser].
	Key []byte
	Now func() time.Time // default time.Now
	// Watch sees every event; nil = nobody does.
	Watch Watch
	// Yield is called after every few dozen events, and may wait a moment for what is more urgent; nil = nothing is.
	Yield func()
	Log   *slog.Logger // default: nothing is logged
	// Room bounds the bytes that all requests hold together; one partner's get half of it. Default 256 MiB, at least 64 MiB:
	// one largest batch must fit into a partner's half.
	Room int64
	// ReadFor bounds how long a body may take to arrive. Default 30 s.
	ReadFor time.Duration
	// Refuse writes the body of an answer that says that nothing was taken; other headers are set
	// already. Default: {"error":{"code","message","hint"}}.
	Refuse func(w http.ResponseWriter, r *http.Request, why *Refusal)
}

// Stats counts what a Handler did since it was made.
type Stats struct {
	Requests int64 // all
	Refused  int64 // answered other than 202
	Busy     int64 // of these, answered 429
	Accepted int64 // events
	Rejected int64 // events
	Bytes    int64 // of bodies, after decompression
}

// Handler takes batches of events by POST: NDJSON or a JSON array, plain, gzip or zstd. It
// answers 202 when the good events of the batch are durable, and names the others;
// see the event contract. It is safe for concurrent use. The memory that it takes is bounded by [Config.Room].
type Handler struct {
	cfg     Config
	room    *admission
	workers sync.Pool
	gzips   sync.Pool
	zstds   sync.Pool
	counts  struct{ requests, refused, busy, accepted, rejected, bytes atomic.Int64 }
}

// NewHandler returns a handler, or an error that says what is missing in c.
func NewHandler(c Config) (*Handler, error) {
	if c.River == nil || c.Authenticate == nil {
		return nil, errors.New("cannot make event handler: it needs a river and an authenticator")
	}
	if _, err := NewNormaliser(c.Key); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Room == 0 {
		c.Room = defaultRoom
	}
	c.Room = max(c.Room, leastRoom)
	if c.ReadFor <= 0 {
		c.ReadFor = 30 * time.Second
	}
	return &Handler{cfg: c, room: newAdmission(c.Room)}, nil
}

// Stats returns the counts so far.
func (h *Handler) Stats() Stats {
	c := &h.counts
	return Stats{c.requests.Load(), c.refused.Load(), c.busy.Load(), c.accepted.Load(), c.rejected.Load(), c.bytes.Load()}
}

// ServeHTTP takes one batch.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.counts.requests.Add(1)
	k := h.worker()
	defer h.release(k)
	if err := h.take(k, w, r); err != nil {
		h.refuse(w, r, err)
		return
	}
	h.counts.accepted.Add(int64(k.events - k.rejected))
	h.counts.rejected.Add(int64(k.rejected))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	w.Write(k.answer()) // the sender is gone if it fails, and sends again: the ids are the same
}

// take reads, checks and appends one batch.
func (h *Handler) take(k *worker, w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &Refusal{Status: http.StatusMethodNotAllowed, Code: "method", Message: "events are sent by POST"}
	}
	if r.ContentLength > MaxBody {
		return tooLarge()
	}
	encoding, err := encodingOf(r)
	if err != nil {
		return err
	}
	m := &meter{from: h.room}
	defer m.close()
	if err := m.take(baseCharge + max(r.ContentLength, 0)); err != nil {
		return err
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(h.cfg.ReadFor)) // not every writer can; the server's own limit holds then
	sent := &metered{r: r.Body, m: m, limit: MaxBody, over: tooLarge, paid: max(r.ContentLength, 0)}
	r.Body = sent
	from, err := h.cfg.Authenticate(r)
	if err != nil {
		return authError(sent, err)
	}
	partner := from.Partner
	if from.Operator {
		partner = "operator " + from.KeyID
	}
	if err := m.assign(partner); err != nil {
		return err
	}
	if err := h.read(k, r, encoding, from, m); err != nil {
		return err
	}
	_ = deadline.SetReadDeadline(time.Time{}) // or it would end the append
	return h.append(r.Context(), k)
}

// authError returns why a request was not authenticated: a failure of its body comes first.
func authError(sent *metered, err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal
	}
	if sent.err != nil && sent.err != io.EOF {
		return unreadable(sent.err)
	}
	return &Refusal{Status: http.StatusUnauthorized, Code: "unauthorized", Message: "bad or missing credentials", Cause: err}
}

// encodingOf returns how the body is compressed: "", gzip or zstd.
func encodingOf(r *http.Request) (string, error) {
	kind := strings.ToLower(strings.TrimSpace(strings.Split(r.Header.Get("Content-Type"), ";")[0]))
	switch kind {
	case "", "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "text/plain",
		"application/octet-stream", "application/x-www-form-urlencoded": // the last is what curl says of anything
	default:
		return "", &Refusal{Status: http.StatusUnsupportedMediaType, Code: "media_type", Message: "this content type is not known here",
			Hint: "send application/x-ndjson or application/json"}
	}
	if len(r.Header["Content-Encoding"]) > 1 || len(r.Header["Content-Type"]) > 1 {
		return "", &Refusal{Status: http.StatusBadRequest, Code: "header_twice", Message: "a header is given twice"}
	}
	switch e := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); e {
	case "", "identity":
		return "", nil
	case "gzip", "zstd":
		return e, nil
	}
	return "", &Refusal{Status: http.StatusUnsupportedMediaType, Code: "encoding", Message: "this content encoding is not known here",
		Hint: "send gzip, zstd or no encoding"}
}

// read decodes the whole body into k's batches.
func (h *Handler) read(k *worker, r *http.Request, encoding string, from Caller, m *meter) error {
	var body io.Reader = r.Body
	switch encoding {
	case "gzip":
		z, err := h.gzip(body)
		if err != nil {
			return unreadable(err)
		}
		defer h.gzips.Put(z)
		body = z
	case "zstd":
		if err := m.take(zstdWindow); err != nil {
			return err
		}
		defer m.give(zstdWindow)
		z, err := h.zstd(body)
		if err != nil {
			return unreadable(err)
		}
		defer func() { _ = z.Reset(nil); h.zstds.Put(z) }()
		body = z
	}
	plain := &metered{r: body, m: m, limit: MaxBody, over: tooLarge, paid: baseCharge}
	err := k.read(plain, from, moat.TimeOf(h.cfg.Now()))
	h.counts.bytes.Add(plain.read)
	return err
}

func (h *Handler) gzip(r io.Reader) (*gzip.Reader, error) {
	if z, ok := h.gzips.Get().(*gzip.Reader); ok {
		return z, z.Reset(r)
	}
	return gzip.NewReader(r)
}

func (h *Handler) zstd(r io.Reader) (*zstd.Decoder, error) {
	if z, ok := h.zstds.Get().(*zstd.Decoder); ok {
		return z, z.Reset(r)
	}
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(MaxBody))
}

// append makes k's batches durable.
func (h *Handler) append(ctx context.Context, k *worker) error {
	err := k.out.send(ctx, func(ctx context.Context, partition int, batch []byte) error {
		_, err := h.cfg.River.Append(ctx, partition, batch)
		return err
	})
	var full *river.FullError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &full):
		r := busy(full.RetryAfter)
		r.Cause = err
		return r
	}
	return &Refusal{Status: http.StatusServiceUnavailable, Code: "unavailable", Message: "events cannot be kept at the moment",
		Hint: "send the same batch again: what is in already counts once", RetryAfter: time.Second, Cause: err}
}

func tooLarge() *Refusal {
	return &Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the body is over 10 MiB", Hint: "send smaller batches: 512 events are a good size"}
}

func tooManyEvents() *Refusal {
	return &Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too_many", Message: "the batch has over 10,000 events", Hint: "send smaller batches: 512 events are a good size"}
}

// unreadable is the refusal of a body whose reading failed.
func unreadable(err error) *Refusal {
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Refusal{Status: http.StatusRequestTimeout, Code: "timeout", Message: "the body took too long to arrive", RetryAfter: time.Second, Cause: err}
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &Refusal{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "the body needs more memory to decompress than it may take",
			Hint: "compress with a window of at most 8 MiB", Cause: err}
	}
	return &Refusal{Status: http.StatusBadRequest, Code: "unreadable", Message: "the body cannot be read to its end",
		Hint: "check Content-Encoding and Content-Length", Cause: err}
}

// refuse answers that nothing was taken, and why.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.counts.refused.Add(1)
	refusal := unreadable(err)
	if refusal.Status == http.StatusTooManyRequests {
		h.counts.busy.Add(1)
	}
	if refusal.Cause != nil {
		h.cfg.Log.InfoContext(r.Context(), "batch refused", "status", refusal.Status, "code", refusal.Code, "cause", refusal.Cause)
	}
	if s := refusal.RetryAfter.Seconds(); s > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(s))))
	}
	if refusal.Status == http.StatusRequestEntityTooLarge || refusal.Status == http.StatusRequestTimeout {
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
	}
	if h.cfg.Refuse != nil {
		h.cfg.Refuse(w, r, refusal)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(refusal.Status)
	b := append([]byte(nil), `{"error":{"code":`...)
	b = appendQuoted(b, refusal.Code)
	b = appendQuoted(append(b, `,"message":`...), refusal.Message)
	if refusal.Hint != "" {
		b = appendQuoted(append(b, `,"hint":`...), refusal.Hint)
	}
	w.Write(append(b, "}}\n"...)) // nobody is left to tell if it fails
}

func (h *Handler) worker() *worker {
	if k, ok := h.workers.Get().(*worker); ok {
		return k
	}
	n, err := NewNormaliser(h.cfg.Key)
	if err != nil {
		panic("BUG: a key that was good is not: " + err.Error())
	}
	n.unplaced = h.cfg.Watch != nil
	k := &worker{normal: n, out: batches{river: h.cfg.River}, watch: h.cfg.Watch, yield: h.cfg.Yield}
	k.put = k.out.add
	return k
}

func (h *Handler) release(k *worker) {
	k.reset()
	h.workers.Put(k)
}
