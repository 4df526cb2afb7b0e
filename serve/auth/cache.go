package auth

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Bounds of the cache of keys.
const (
	cachedKeys    = 1 << 16
	cachedUnknown = 1 << 14 // ids that no key has; a scan must not push keys out
)

// errNotAsked: the key source was spared a question from a misbehaving address.
var errNotAsked = errors.New("key is not known, and the address has used up its failures")

// keyCache remembers keys for a few seconds, so that the source is not asked per request.
type keyCache struct {
	source KeySource
	keep   time.Duration

	mu      sync.Mutex
	known   map[string]cachedKey
	unknown map[string]time.Time
}

type cachedKey struct {
	key    Key
	secret string
	at     time.Time
}

func newKeyCache(source KeySource, keep time.Duration) keyCache {
	return keyCache{source: source, keep: keep, known: map[string]cachedKey{}, unknown: map[string]time.Time{}}
}

// get returns the key with that id (the zero Key if there is none) and the secret
// of the id. Where may says no, an id that has not been seen to exist gives errNotAsked.
func (c *keyCache) get(ctx context.Context, id string, now time.Time, may func() bool) (Key, string, error) {
	c.mu.Lock()
	hit, ok := c.known[id]
	var none time.Time
	isNone := false
	if !ok {
		none, isNone = c.unknown[id]
	}
	c.mu.Unlock()
	switch {
	case ok && fresh(now, hit.at, c.keep):
		return hit.key, hit.secret, nil
	case !ok && !may():
		return Key{}, "", errNotAsked
	case isNone && fresh(now, none, c.keep):
		return Key{}, c.source.Secret(id), nil
	}
	key, err := c.source.Key(ctx, id)
	if err != nil {
		return Key{}, "", err
	}
	secret := c.source.Secret(id)
	if secret == "" { // anyone could sign with it
		return Key{}, "", errors.New("key source has no secret")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if key.ID == "" {
		delete(c.known, id)
		if len(c.unknown) >= cachedUnknown {
			clear(c.unknown)
		}
		c.unknown[id] = now
		return key, secret, nil
	}
	delete(c.unknown, id)
	if _, ok := c.known[id]; !ok && len(c.known) >= cachedKeys {
		for old := range c.known { // any will do: it is asked for again
			delete(c.known, old)
			break
		}
	}
	c.known[id] = cachedKey{key: key, secret: secret, at: now}
	return key, secret, nil
}

func fresh(now, at time.Time, keep time.Duration) bool {
	age := now.Sub(at)
	return age >= 0 && age < keep
}

func (c *keyCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k, ok := c.known[id]; ok { // it exists: an address that fails a lot may still ask for it
		k.at = time.Time{}
		c.known[id] = k
	}
	delete(c.unknown, id)
}
