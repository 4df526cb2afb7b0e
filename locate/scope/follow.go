package scope

import (
	"cmp"
	"context"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// Next is where the exposed orders went from the moment at which the source had them.
type Next struct {
	// Followed is how many orders were followed. It is fewer than there are when there are more than
	// [MaxFollowed]: a fair sample then, from which Orders and Events below are scaled up. What
	// the source itself handed on is always counted in full.
	Followed int64  `json:"followed"`
	Hands    []Hand `json:"hands"` // to whom they were handed, the first first
	After    []Hold `json:"after"` // who else touched them, most orders first
	Cut      bool   `json:"cut,omitempty"`

	damaged int
}

// MaxFollowed is how many orders are followed one by one.
const MaxFollowed = 2048

// maxParties bounds each list of [Next].
const maxParties = 200

// Hand is orders that were handed to another system.
type Hand struct {
	Partner     string    `json:"partner,omitempty"` // who handed them on
	App         string    `json:"app,omitempty"`
	Source      bool      `json:"source,omitempty"` // the source itself did
	Destination string    `json:"destination"`
	Kind        string    `json:"destination_kind,omitempty"`
	Orders      int64     `json:"orders"`
	Events      int64     `json:"events"`
	Records     int64     `json:"records,omitempty"` // of the source's own
	First       moat.Time `json:"first"`
	Last        moat.Time `json:"last"`
}

// merge adds what else was handed to the same destination.
func (h *Hand) merge(m *Hand) {
	if m.Events > 0 && (h.Events == 0 || m.First < h.First) {
		h.First, h.Kind = m.First, m.Kind
	}
	h.Last = max(h.Last, m.Last)
	h.Events, h.Records = h.Events+m.Events, plus(h.Records, m.Records)
}

// Hold is orders in the hands of somebody after the source had them.
type Hold struct {
	Partner string    `json:"partner"`
	App     string    `json:"app,omitempty"`
	Outlet  string    `json:"outlet,omitempty"`
	Orders  int64     `json:"orders"`
	Events  int64     `json:"events"`
	First   moat.Time `json:"first"`
	Last    moat.Time `json:"last"`
}

// met counts the orders and events of one line.
type met struct {
	seen        []uint64 // a bit for each order
	events      int64
	first, last moat.Time
}

func (m *met) add(i, n int, at moat.Time) {
	if m.seen == nil {
		m.seen, m.first = make([]uint64, n/64+1), at
	}
	m.seen[i/64] |= 1 << (i % 64)
	m.events++
	m.first, m.last = min(m.first, at), max(m.last, at)
}

func (m *met) orders() (n int64) {
	for _, w := range m.seen {
		for ; w != 0; w &= w - 1 {
			n++
		}
	}
	return n
}

// way is who handed orders to whom; place who had them.
type (
	way   struct{ partner, app, destination, kind string }
	place struct{ partner, app, outlet string }
)

// follow asks the ledger where the orders went next; all is how many are exposed.
func (f *Finder) follow(ctx context.Context, tenant moat.Tenant, q *Question, s *survey, all int64) (n Next, err error) {
	n.Hands, n.After = []Hand{}, []Hold{}
	list := s.orders.least(MaxFollowed)
	keys, from := make([]uint64, len(list)), moat.Time(0)
	for i, o := range list {
		keys[i] = o.key
		if i == 0 || o.first < from {
			from = o.first
		}
	}
	ways, places := map[way]*met{}, map[place]*met{}
	if len(keys) > 0 {
		n.damaged, err = f.cfg.Ledger.EachKey(ctx, tenant, keys, from, 0, func(i int, r *run.Row) error {
			if r.Time < list[i].first {
				return nil
			}
			src, act, err := r.Acted()
			if err != nil || !exposes[act.Type] || act.Outcome != moat.Success || own(q, src, act) {
				return err
			}
			if act.Type == moat.OrderTransmit {
				n.Cut = meet(ways, way{src.Partner, src.App, destinationOf(act), act.DestinationKind}, i, len(list), r.Time) || n.Cut
			} else {
				n.Cut = meet(places, place{src.Partner, src.App, src.Outlet}, i, len(list), r.Time) || n.Cut
			}
			return nil
		})
	}
	if err != nil {
		return n, err
	}
	n.Followed = int64(len(list))
	n.tell(s, ways, places, func(x int64) int64 { // what a figure of the sample stands for
		if n.Followed == 0 || all == n.Followed {
			return x
		}
		return int64(float64(x) * float64(all) / float64(n.Followed))
	})
	return n, nil
}

// least returns the n exposed orders with the smallest keys, which are as good as random: those of the first shards.
func (t *orders) least(n int) (list []*order) {
	for i := range t.shards {
		t.shards[i].each(func(o *order) {
			if o.exposed() {
				list = append(list, o)
			}
		})
		if len(list) >= n {
			break
		}
	}
	slices.SortFunc(list, func(a, b *order) int { return cmp.Compare(a.key, b.key) })
	return list[:min(len(list), n)]
}

// meet adds one touch to its line, and tells whether there was no room for it.
func meet[K comparable](lines map[K]*met, k K, i, n int, at moat.Time) (cut bool) {
	m := lines[k]
	if m == nil {
		if len(lines) >= 4*maxParties {
			return true
		}
		m = &met{}
		lines[k] = m
	}
	m.add(i, n, at)
	return false
}

// tell makes lines of what was met.
func (n *Next) tell(s *survey, ways map[way]*met, places map[place]*met, scale func(int64) int64) {
	for _, h := range s.hands {
		if h.Events > 0 {
			n.Hands = append(n.Hands, h)
		}
	}
	for w, m := range ways {
		n.Hands = append(n.Hands, Hand{Partner: w.partner, App: w.app, Destination: w.destination, Kind: w.kind,
			Orders: scale(m.orders()), Events: scale(m.events), First: m.first, Last: m.last})
	}
	for p, m := range places {
		n.After = append(n.After, Hold{p.partner, p.app, p.outlet, scale(m.orders()), scale(m.events), m.first, m.last})
	}
	slices.SortFunc(n.Hands, func(a, b Hand) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Destination, b.Destination), cmp.Compare(a.Partner, b.Partner), cmp.Compare(a.App, b.App))
	})
	slices.SortFunc(n.After, func(a, b Hold) int {
		return cmp.Or(cmp.Compare(b.Orders, a.Orders), cmp.Compare(a.Partner, b.Partner), cmp.Compare(a.App, b.App), cmp.Compare(a.Outlet, b.Outlet))
	})
	n.Cut = n.Cut || len(n.Hands) > maxParties || len(n.After) > maxParties
	n.Hands, n.After = n.Hands[:min(len(n.Hands), maxParties)], n.After[:min(len(n.After), maxParties)]
}
