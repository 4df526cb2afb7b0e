// Package ledger remembers who touched which order: one narrow row for every
// order of every event that names orders, found by the order's id. Its rows are in the same set of runs as the
// diary's, which package index opens: an event is kept once, under the keys of both.
//
// Use it when orders have leaked, to see everybody who had them in hand before,
// over all partners that they passed through: trace starts here. The diary
// answers the opposite question, what somebody touched.
//
// It will not tell the ids of orders that it was not asked for, since it keeps
// only keyed hashes of them; show a tenant rows of partners that it does not
// see; or keep rows longer than the retention.
//
// The key of an order is a hash of its id alone, without the partner: the id is
// the marketplace's, and the same order passes through several partners.
// Hashes are not checked against ids; package run says what the odds are.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// Touch is one event that named an order. Orders is empty; Count is how many
// orders the event touched.
type Touch = run.Touch

// Ledger is the ledger of an open set, safe for concurrent use.
type Ledger struct {
	set  *run.Set
	hash run.Hasher
}

// Limits of one question.
const (
	MaxOrders       = 1 << 20 // ids
	MaxTouches      = 1000    // of one order in an answer of [Ledger.Orders]
	MaxTotalTouches = 1 << 18 // in an answer of [Ledger.Orders]
)

// ErrTooMany says that a question names too many orders.
var ErrTooMany = errors.New("too many orders in one question")

// Keys returns the Event of the [run.Index] of a set that has a ledger.
func Keys(secret [16]byte) func(keys []uint64, e *moat.Event) []uint64 {
	l := New(nil, secret)
	return func(keys []uint64, e *moat.Event) []uint64 {
		for _, o := range e.Orders {
			keys = append(keys, l.Key(o))
		}
		return keys
	}
}

// New returns the ledger of a set that was opened with the [Keys] of the same secret.
func New(set *run.Set, secret [16]byte) *Ledger {
	return &Ledger{set: set, hash: run.NewHasher(secret).Derive("order")}
}

// Order is the touches of one order.
type Order struct {
	ID      string  `json:"id"`
	Touches []Touch `json:"touches"`       // oldest first
	Cut     bool    `json:"cut,omitempty"` // there are more, later ones

	most int // that it may have since it was last cut, 0 for no limit
}

// Answer is what the ledger knows of some orders.
type Answer struct {
	Orders []Order `json:"orders"` // one for each id asked for, in that order, each once
	// Damaged is the number of runs that could not be read: if it is not 0,
	// touches may be missing.
	Damaged int `json:"damaged,omitempty"`
}

// Orders returns the touches of each order that tenant sees, at from or later
// and before to; a to of 0 means no end. Of one order it returns the oldest
// [MaxTouches], of all together [MaxTotalTouches], and says where it cut.
// More than [MaxOrders] ids are [ErrTooMany].
func (l *Ledger) Orders(ctx context.Context, tenant moat.Tenant, ids []string, from, to moat.Time) (*Answer, error) {
	ids = distinct(ids)
	a := &Answer{Orders: make([]Order, len(ids))}
	for i, id := range ids {
		a.Orders[i].ID = id
	}
	// What is over a limit by twice is cut at once, so that memory stays bounded.
	total := 0
	damaged, err := l.Each(ctx, tenant, ids, from, to, func(i int, r *run.Row) error {
		t, err := r.Touch()
		if err != nil {
			return err
		}
		t.Orders = nil
		o := &a.Orders[i]
		o.Touches = append(o.Touches, t)
		if total++; len(o.Touches) >= 2*MaxTouches {
			total -= o.cut(MaxTouches)
		}
		if total >= 2*MaxTotalTouches {
			total = a.cut()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range a.Orders {
		a.Orders[i].cut(MaxTouches)
	}
	a.cut()
	a.Damaged = damaged
	return a, nil
}

// cut sorts the touches, leaves the n oldest, or fewer if it was cut to fewer
// before, and returns how many went.
func (o *Order) cut(n int) (gone int) {
	if o.most > 0 {
		n = min(n, o.most)
	}
	slices.SortFunc(o.Touches, func(a, b Touch) int { return a.Compare(&b) })
	if gone = len(o.Touches) - n; gone <= 0 {
		return 0
	}
	clear(o.Touches[n:])
	o.Touches, o.Cut, o.most = o.Touches[:n], true, max(n, 1)
	return gone
}

// cut shortens the longest orders until all together are within the limit, and
// returns how many touches are left.
func (a *Answer) cut() (total int) {
	for n := MaxTouches; ; n /= 2 {
		total = 0
		for i := range a.Orders {
			total += len(a.Orders[i].Touches)
		}
		if total <= MaxTotalTouches || n <= 1 {
			return total
		}
		for i := range a.Orders {
			a.Orders[i].cut(n)
		}
	}
}

// Each calls fn for each touch, in no order and without limit; i is the place
// of the order in ids, the first one if an id is there twice. The row is valid
// during the call. It stops with the error that fn returns. damaged is how many
// runs could not be read.
func (l *Ledger) Each(ctx context.Context, tenant moat.Tenant, ids []string, from, to moat.Time,
	fn func(i int, r *run.Row) error) (damaged int, err error) {
	if len(ids) > MaxOrders {
		return 0, fmt.Errorf("cannot read ledger: %w: %d, at most %d", ErrTooMany, len(ids), MaxOrders)
	}
	keys := make([]uint64, 0, len(ids))
	place := make([]int, 0, len(ids))
	seen := make(map[uint64]bool, len(ids))
	for i, id := range ids {
		if k := l.Key(id); !seen[k] {
			seen[k] = true
			keys, place = append(keys, k), append(place, i)
		}
	}
	return l.EachKey(ctx, tenant, keys, from, to, func(i int, r *run.Row) error { return fn(place[i], r) })
}

// Key returns the key under which the touches of an order are kept: whoever has many orders to
// count and then to ask for needs to remember no more of them.
func (l *Ledger) Key(id string) uint64 { return run.EventKey(l.hash.Sum(id)) }

// EachKey is [Ledger.Each] for the keys of orders, which must be distinct.
func (l *Ledger) EachKey(ctx context.Context, tenant moat.Tenant, keys []uint64, from, to moat.Time,
	fn func(i int, r *run.Row) error) (damaged int, err error) {
	v, err := l.set.View()
	if err != nil {
		return 0, fmt.Errorf("cannot read ledger: %w", err)
	}
	defer v.Close()
	if err = v.Each(ctx, tenant, keys, from, to, fn); err != nil {
		return 0, fmt.Errorf("cannot read ledger: %w", err)
	}
	return v.Damaged(), nil
}

// Sample calls fn for each touch that tenant sees, at from or later and before
// to, of orders chosen by chance: all orders whose keys lie in a part of the
// space of keys, which grows until n of them have a touch in the window. order tells
// orders apart; touches come in no order. It returns how much of the space
// that was, from 0 to 1, so that orders/share estimates how many there are. The
// same ledger gives the same sample; without the secret nobody knows which orders are in it.
func (l *Ledger) Sample(ctx context.Context, tenant moat.Tenant, n int, from, to moat.Time,
	fn func(order uint64, r *run.Row) error) (share float64, damaged int, err error) {
	v, err := l.set.View()
	if err != nil {
		return 0, 0, fmt.Errorf("cannot sample ledger: %w", err)
	}
	defer v.Close()
	st := l.set.Stats()
	// Of a key's width between neighbours; the diary's keys, and the same key in several runs, make it look smaller.
	gap := max(1, math.MaxUint64/uint64(max(1, st.Total().Keys)))
	seen := map[uint64]bool{}
	lo := uint64(0)
	for width, read := uint64(firstSlice), uint64(0); ; {
		hi := uint64(math.MaxUint64)
		if rest := (hi - lo) / gap; rest > width {
			hi = lo + width*gap - 1
		}
		err = v.Scan(ctx, tenant, lo, hi, from, to, func(key uint64, r *run.Row) error {
			seen[key] = true
			return fn(key, r)
		})
		if err != nil {
			return 0, 0, fmt.Errorf("cannot sample ledger: %w", err)
		}
		if hi == math.MaxUint64 {
			return 1, v.Damaged(), nil
		}
		// The next slice is as wide as it needs to be, if the window is as full there.
		lo = hi + 1
		read += width
		if len(seen) >= n || read >= maxSampled {
			return float64(lo) / math.MaxUint64, v.Damaged(), nil
		}
		need := read * uint64(min(n, maxSampled)-len(seen)) / uint64(max(1, len(seen)))
		width = min(2*width, need+firstSlice/8)
	}
}

// A sample begins with as many keys as firstSlice, and has at most about maxSampled.
const (
	firstSlice = 1 << 10
	maxSampled = 1 << 19
)

// distinct returns the ids without repetitions, in their order.
func distinct(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}
