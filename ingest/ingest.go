// Package ingest takes events in: over HTTP from partners ([Handler]) and from
// files and logs on disk ([Loader]). It checks them, brings them into one normal
// form, strips what must not be kept, and puts them into the river in batches.
//
// Use it at the edge of Moat, as the only way by which events come in; what
// it puts into the river is within the contract and free of literals, query values, phone
// numbers and e-mail addresses in text.
//
// It will not authenticate (it is given an [Authenticate]), drop duplicates
// (the engine does, by event id), or keep anything that the river did not acknowledge.
package ingest

import (
	"context"
	"net/http"

	"github.com/moat-platform/moat"
)

// River is the durable log that events are put into. It must be safe for concurrent use.
type River interface {
	// Partitions returns how many partitions there are; it does not change.
	Partitions() int
	// PartitionOf returns the partition of a partner's events.
	PartitionOf(partner string) int
	// Append returns when the batch is durable. It must not keep batch. An error for want of
	// room is a *river.FullError; one that wraps river.ErrUnknown may have been
	// appended, and appending it again does no harm.
	Append(ctx context.Context, partition int, batch []byte) (seq uint64, err error)
}

// Caller is who sends events, as the credentials say.
type Caller struct {
	Partner  string
	App      string // "" if the credentials serve several apps
	KeyID    string
	Operator bool // may name a partner in an event, and send the operator's types
}

// Watch is given each event in its normal form on its way into a batch, and calls put with what is to be kept: the event
// itself, or others in its place, or both. It may change the event, must not keep it, and must be
// safe for concurrent use; put copies. A complaint of the operator's may come to it without a partner: it puts events that have one, and
// returns a [moat.Problem] that says what of the complaint it could not place.
type Watch func(e *moat.Event, put func(*moat.Event)) error

// Authenticate says who sent r. It may read the body if it puts it back. Its
// error should be a *[Refusal]; any other is answered with 401 and not
// explained, except an error of reading the body, which it must pass on.
type Authenticate func(r *http.Request) (Caller, error)
