package trace

import (
	"cmp"
	"context"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/run"
	"github.com/zeebo/xxh3"
)

// kept is the touches in a ledger and a diary.
type kept struct {
	ledger *ledger.Ledger
	diary  *diary.Diary
}

// Kept returns the touches that a ledger and a diary keep; they must stay open.
func Kept(l *ledger.Ledger, d *diary.Diary) Rows { return &kept{l, d} }

// Touches is [Rows].
func (k *kept) Touches(ctx context.Context, tenant moat.Tenant, ids []string, from, to moat.Time, fn func(i int, t *Touch) error) (int, error) {
	return k.ledger.Each(ctx, tenant, ids, from, to, func(i int, r *run.Row) error {
		t, err := touchOf(r)
		if err != nil {
			return err
		}
		if t.Shops, err = r.Shops(); err != nil {
			return err
		}
		return fn(i, &t)
	})
}

// Sample is [Rows].
func (k *kept) Sample(ctx context.Context, tenant moat.Tenant, n int, from, to moat.Time, fn func(order uint64, t *Touch) error) (float64, error) {
	share, _, err := k.ledger.Sample(ctx, tenant, n, from, to, func(order uint64, r *run.Row) error {
		t, err := touchOf(r)
		if err != nil {
			return err
		}
		return fn(order, &t)
	})
	return share, err
}

func touchOf(r *run.Row) (t Touch, err error) {
	t.Source, t.Act, err = r.Acted()
	t.Time, t.Count = r.Time, r.Count
	return t, err
}

// Exposures is [Rows].
func (k *kept) Exposures(ctx context.Context, tenant moat.Tenant, list []Owner, from, to moat.Time) ([]Exposure, error) {
	owned := make([]diary.Owned, len(list))
	for i, o := range list {
		owned[i] = diary.Owned{Partner: o.Partner, Entity: moat.Entity{Kind: o.Kind, ID: o.ID}}
	}
	counts, err := k.diary.Counts(ctx, tenant, owned)
	if err != nil {
		return nil, err
	}
	out := make([]Exposure, len(list))
	read, place := owned[:0], []int(nil)
	left := int64(maxRead)
	for i, n := range counts {
		if n <= min(left, maxOneRead) {
			left -= n
			read, place = append(read, owned[i]), append(place, i)
		}
	}
	had := make([]hand, len(read))
	for i, k := range place {
		had[i].index = make(map[uint64]int32, counts[k])
	}
	var e seen
	_, err = k.diary.EachOf(ctx, tenant, read, from, to, func(i int, r *run.Row) error {
		if err := e.read(r); err != nil {
			return err
		}
		when := slotOf(r.Time, from, to)
		for _, order := range e.orders {
			had[i].take(order, e.shown, when)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range had {
		out[place[i]] = had[i].exposure()
	}
	return out, nil
}

// seen is what an event showed. Several entities have the same events, which come one after the other.
type seen struct {
	at     run.At
	shown  float64
	orders []uint64 // hashes of their ids
}

func (s *seen) read(r *run.Row) error {
	if r.At == s.at {
		return nil
	}
	a, err := r.Act()
	if err != nil {
		return err
	}
	s.at, s.shown, s.orders = r.At, Shown(a), s.orders[:0]
	if s.shown == 0 {
		return nil
	}
	return r.Orders(func(id []byte) { s.orders = append(s.orders, xxh3.Hash(id)) })
}

// hand is what an entity had in it, in the order in which it was met.
type hand struct {
	index map[uint64]int32
	list  []held
}

type held struct {
	shown float64
	when  span
}

func (h *hand) take(order uint64, shown float64, when span) {
	if h.index == nil {
		h.index = map[uint64]int32{}
	}
	i, ok := h.index[order]
	if !ok {
		i = int32(len(h.list))
		h.index[order], h.list = i, append(h.list, held{})
	}
	x := &h.list[i]
	x.shown, x.when = max(x.shown, shown), x.when|when
}

func (h *hand) exposure() Exposure {
	e := Exposure{Known: true, Orders: len(h.list), When: make([]uint64, len(h.list))}
	for i, x := range h.list {
		e.Weight += x.shown
		e.When[i] = uint64(x.when)
	}
	return e
}

// Findings returns the findings of a book for a [Tracer]: the strongest 5 of an entity in a window.
func Findings(b *book.Book) func(ctx context.Context, tenant moat.Tenant, of Owner, from, to moat.Time) ([]moat.Finding, error) {
	return func(ctx context.Context, tenant moat.Tenant, of Owner, from, to moat.Time) ([]moat.Finding, error) {
		if of.Kind == moat.Destination || of.Kind == Version {
			return nil, nil
		}
		q := book.Query{Partner: of.Partner, Entity: moat.Entity{Kind: of.Kind, ID: of.ID}, Since: from, Until: to, Limit: 200}
		list, _, err := b.Findings(ctx, tenant, q)
		if err != nil {
			return nil, err
		}
		return strongest(list, 5), nil
	}
}

// strongest returns the n likeliest findings of different detectors, oldest first.
func strongest(list []moat.Finding, n int) []moat.Finding {
	slices.SortStableFunc(list, func(a, b moat.Finding) int { return cmp.Compare(b.Score, a.Score) })
	var out []moat.Finding
	for _, f := range list {
		if len(out) < n && !slices.ContainsFunc(out, func(o moat.Finding) bool { return o.Detector == f.Detector }) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b moat.Finding) int { return cmp.Compare(a.Time, b.Time) })
	return out
}
