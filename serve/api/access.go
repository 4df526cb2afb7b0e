package api

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"net/http"
	"strings"

	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/serve/auth"
	"github.com/moat-platform/moat/store/book"
)

// bookKeys gives a guard the keys of the book.
type bookKeys struct {
	book   *book.Book
	master book.MasterKey
}

func (k *bookKeys) Key(ctx context.Context, id string) (auth.Key, error) {
	b, err := k.book.LookUpKey(ctx, id)
	if errors.Is(err, book.ErrNotFound) {
		return auth.Key{}, nil
	}
	if err != nil {
		return auth.Key{}, err
	}
	return auth.Key{ID: b.ID, Partner: b.Partner, App: b.App, Operator: b.Operator, Revoked: b.Revoked != 0}, nil
}

func (k *bookKeys) Secret(id string) string { return book.Secret(k.master, id) }

// localID is the id of the key of this process; no key of the book has it, as theirs are longer.
const localID = "local"

// localKey is the operator's key that lives as long as the process, beside the keys of the book.
type localKey struct {
	*bookKeys
	secret string
}

func newLocalKey(keys *bookKeys) *localKey {
	var raw [32]byte
	rand.Read(raw[:]) // never fails
	return &localKey{keys, strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:]))}
}

func (k *localKey) Key(ctx context.Context, id string) (auth.Key, error) {
	if id == localID {
		return auth.Key{ID: localID, Operator: true}, nil
	}
	return k.bookKeys.Key(ctx, id)
}

func (k *localKey) Secret(id string) string {
	if id == localID {
		return k.secret
	}
	return k.bookKeys.Secret(id)
}

// fromWithin marks the context of connections that came in by the local listener.
type fromWithin struct{}

// identify says who sent r. The key of this process is known only where r came in by the local
// listener, and from the machine itself.
func (a *API) identify(r *http.Request) (auth.Identity, error) {
	if within, _ := r.Context().Value(fromWithin{}).(bool); within && loopback(r.RemoteAddr) {
		return a.inner.Authenticate(r)
	}
	return a.guard.Authenticate(r)
}

// authenticate says who calls, and whether they may call the route.
func (c *call) authenticate() (err error) {
	if c.id, err = c.api.identify(c.r); err != nil {
		return err
	}
	switch {
	case c.route.access == operator && !c.id.Operator:
		return &Error{Status: http.StatusForbidden, Code: "forbidden", Message: "only the operator may do this"}
	case c.route.access == reader && c.id.App != "":
		// Such a key lies on a partner's servers to send events. Whoever steals it must not be able to
		// read what is known of them or to undo what was decided about them.
		return &Error{Status: http.StatusForbidden, Code: "forbidden", Message: "a key of an app sends events and asks about risk, no more",
			Hint: "use a key of the partner that is bound to no app"}
	}
	return nil
}

// sender authenticates for events, which come in by a handler of their own.
func (a *API) sender(r *http.Request) (ingest.Caller, error) {
	id, err := a.identify(r)
	var e *auth.Error
	if errors.As(err, &e) {
		return ingest.Caller{}, &ingest.Refusal{Status: e.Status, Code: e.Code, Message: e.Message, Hint: e.Hint, RetryAfter: e.RetryAfter, Cause: e.Cause}
	}
	return callerOf(id), err
}

func callerOf(id auth.Identity) ingest.Caller {
	return ingest.Caller{Partner: id.Partner, App: id.App, KeyID: id.KeyID, Operator: id.Operator}
}
