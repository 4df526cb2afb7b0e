package auth

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// failureAddresses bounds the addresses whose failures are counted. When it is
// reached, those that have recovered are forgotten, then all.
const failureAddresses = 1 << 16

// failures counts failed requests per address, as token buckets: burst at
// once, and burst more each minute.
type failures struct {
	burst float64
	mu    sync.Mutex
	seen  map[string]bucket
}

// bucket holds how much of the burst is used up, as of a time.
type bucket struct {
	used float64
	at   time.Time
}

func (f *failures) usedLocked(address string, now time.Time) float64 {
	b := f.seen[address]
	return max(0, b.used-max(0, now.Sub(b.at).Minutes())*f.burst)
}

// over tells whether address has no failure left.
func (f *failures) over(address string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.usedLocked(address, now) > f.burst-1
}

// count adds a failure of address. It returns how long to wait if it had none left, else 0.
func (f *failures) count(address string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	used := f.usedLocked(address, now)
	if used > f.burst-1 {
		return time.Duration((used-f.burst+1)/f.burst*float64(time.Minute)).Truncate(time.Second) + time.Second
	}
	if _, ok := f.seen[address]; !ok && len(f.seen) >= failureAddresses {
		for a := range f.seen {
			if f.usedLocked(a, now) == 0 {
				delete(f.seen, a)
			}
		}
		if len(f.seen) >= failureAddresses {
			clear(f.seen)
		}
	}
	f.seen[address] = bucket{used: used + 1, at: now}
	return 0
}

// Bounds of the signatures remembered: about 40 bytes each.
const (
	replaysPerKey = 1 << 18
	replaysTotal  = 1 << 21
)

var (
	errReplayed = errors.New("signature was used before")
	errBehind   = errors.New("signed time is before what is still remembered of this key")
)

// replays remembers the signatures of the last two windows, so that each is good
// once. Memory is bounded by narrowing the window of a busy key, not
// by forgetting: a signed time at or before a key's floor is refused.
type replays struct {
	perKey, total int

	mu    sync.Mutex
	byKey map[string]*window
	n     int
	swept int64
}

type window struct {
	seen  map[[16]byte]int64 // half a signature is enough → its signed second
	floor int64
}

// add records a valid signature of key, signed at second at, or says why it must not be believed.
func (r *replays) add(key string, s signature, at, now int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.byKey[key]
	if w == nil {
		w = &window{seen: map[[16]byte]int64{}}
		r.byKey[key] = w
	}
	id := [16]byte(s[:])
	if at <= w.floor {
		return errBehind
	}
	if _, ok := w.seen[id]; ok {
		return errReplayed
	}
	if len(w.seen) >= r.perKey || r.n >= r.total || now-r.swept >= int64(Window/time.Second) {
		r.sweepLocked(now)
		if len(w.seen) >= r.perKey {
			r.halveLocked(w)
		}
		for r.n >= r.total {
			r.halveLocked(r.largestLocked())
		}
		if at <= w.floor {
			return errBehind
		}
		r.byKey[key] = w // the sweep may have dropped it
	}
	w.seen[id] = at
	r.n++
	return nil
}

// sweepLocked forgets signatures whose time has left the window anyway.
func (r *replays) sweepLocked(now int64) {
	oldest := now - int64(Window/time.Second)
	for key, w := range r.byKey {
		w.dropLocked(r, oldest-1)
		if len(w.seen) == 0 && w.floor < oldest {
			delete(r.byKey, key)
		}
	}
	r.swept = now
}

// halveLocked forgets the older half of w, and raises its floor to match.
func (r *replays) halveLocked(w *window) {
	times := make([]int64, 0, len(w.seen))
	for _, at := range w.seen {
		times = append(times, at)
	}
	slices.Sort(times)
	w.floor = max(w.floor, times[len(times)/2])
	w.dropLocked(r, w.floor)
}

func (w *window) dropLocked(r *replays, upTo int64) {
	before := len(w.seen)
	for id, at := range w.seen {
		if at <= upTo {
			delete(w.seen, id)
		}
	}
	r.n -= before - len(w.seen)
}

func (r *replays) largestLocked() *window {
	var most *window
	for _, w := range r.byKey {
		if most == nil || len(w.seen) > len(most.seen) {
			most = w
		}
	}
	return most
}
