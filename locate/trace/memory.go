package trace

import (
	"context"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
	"github.com/zeebo/xxh3"
)

// Memory is touches in memory, found as in a ledger and a diary: for simulations and tests. Add is
// not safe for concurrent use; the other methods are, once all was added.
type Memory struct {
	touches  []Touch
	named    [][]uint64 // hashes of the orders of each
	orders   map[uint64][]int32
	sorted   []uint64 // keys of orders, when all was added
	entities map[Owner][]int32
	partners []string
	sources  map[run.Source]*run.Source
	acts     map[string]*run.Act
}

// NewMemory returns a memory without touches.
func NewMemory() *Memory {
	return &Memory{orders: map[uint64][]int32{}, entities: map[Owner][]int32{}, sources: map[run.Source]*run.Source{}, acts: map[string]*run.Act{}}
}

// Add adds what an event did with the orders that it names.
func (m *Memory) Add(e *moat.Event) {
	if len(e.Orders) == 0 {
		return
	}
	src := run.Source{Partner: e.Partner, App: e.App, Outlet: e.Outlet, Role: e.Role, Actor: e.Actor, Device: e.Device, IP: e.IP, Version: e.Version, ActorKind: e.ActorKind}
	s, ok := m.sources[src]
	if !ok {
		s = &src
		m.sources[src] = s
		if i, found := slices.BinarySearch(m.partners, e.Partner); !found {
			m.partners = slices.Insert(m.partners, i, e.Partner)
		}
	}
	a := m.act(e)
	i := int32(len(m.touches))
	m.touches = append(m.touches, Touch{Time: e.Time, Count: e.Touched(), Source: s, Act: a, Shops: e.Shops})
	keys := make([]uint64, 0, len(e.Orders))
	for _, o := range e.Orders {
		k := xxh3.HashString(o)
		keys = append(keys, k)
		if had := m.orders[k]; len(had) == 0 || had[len(had)-1] != i { // an event may name an order twice
			m.orders[k] = append(had, i)
		}
	}
	m.named = append(m.named, keys)
	m.sorted = nil
	add := func(kind moat.EntityKind, id string) {
		if id != "" {
			o := Owner{kind, e.Partner, id}
			m.entities[o] = append(m.entities[o], i)
		}
	}
	if e.ActorKind != moat.ActorSystem {
		add(moat.Account, e.Actor)
	}
	add(moat.App, e.App)
	add(moat.Outlet, e.Outlet)
	add(moat.IP, e.IP)
	if strings.Trim(e.Device, "0") != "" {
		add(moat.Device, e.Device)
	}
	add(moat.Host, e.Host)
	add(moat.Destination, e.Destination)
}

// act returns the act of e, the same one for the same.
func (m *Memory) act(e *moat.Event) *run.Act {
	key := strings.Join(append([]string{e.Partner, string(rune(e.Type)), string(rune(e.Outcome)), e.Host, e.Operation, e.Destination, e.DestinationKind}, e.Fields...), "\x00")
	if e.Encrypted {
		key += "\x01"
	}
	a, ok := m.acts[key]
	if !ok {
		a = &run.Act{Type: e.Type, Outcome: e.Outcome, Encrypted: e.Encrypted, Host: e.Host, Operation: e.Operation,
			Destination: e.Destination, DestinationKind: e.DestinationKind, Fields: slices.Clone(e.Fields)}
		m.acts[key] = a
	}
	return a
}

// Ready ends adding.
func (m *Memory) Ready() {
	m.sorted = make([]uint64, 0, len(m.orders))
	for k := range m.orders {
		m.sorted = append(m.sorted, k)
	}
	slices.Sort(m.sorted)
}

func within(t, from, to moat.Time) bool { return t >= from && (to == 0 || t < to) }

// Touches is [Rows].
func (m *Memory) Touches(_ context.Context, tenant moat.Tenant, ids []string, from, to moat.Time, fn func(i int, t *Touch) error) (int, error) {
	for i, id := range ids {
		for _, n := range m.orders[xxh3.HashString(id)] {
			if t := &m.touches[n]; within(t.Time, from, to) && tenant.Sees(t.Source.Partner) {
				if err := fn(i, t); err != nil {
					return 0, err
				}
			}
		}
	}
	return 0, nil
}

// Sample is [Rows]. It needs [Memory.Ready].
func (m *Memory) Sample(_ context.Context, tenant moat.Tenant, n int, from, to moat.Time, fn func(order uint64, t *Touch) error) (float64, error) {
	found := 0
	for i, k := range m.sorted {
		met := false
		for _, j := range m.orders[k] {
			if t := &m.touches[j]; within(t.Time, from, to) && tenant.Sees(t.Source.Partner) {
				met = true
				if err := fn(k, t); err != nil {
					return 0, err
				}
			}
		}
		if met {
			found++
		}
		if found >= n {
			return float64(i+1) / float64(len(m.sorted)), nil
		}
	}
	return 1, nil
}

// Exposures is [Rows].
func (m *Memory) Exposures(_ context.Context, tenant moat.Tenant, list []Owner, from, to moat.Time) ([]Exposure, error) {
	out := make([]Exposure, len(list))
	left := maxRead
	for i, o := range list {
		partners := []string{o.Partner}
		if o.Partner == "" {
			partners = m.partners
		}
		n := 0
		for _, p := range partners {
			n += len(m.entities[Owner{o.Kind, p, o.ID}])
		}
		if n > min(left, maxOneRead) {
			continue
		}
		left -= n
		var had hand
		for _, p := range partners {
			if !tenant.Sees(p) {
				continue
			}
			for _, j := range m.entities[Owner{o.Kind, p, o.ID}] {
				t := &m.touches[j]
				shown := Shown(t.Act)
				if shown == 0 || !within(t.Time, from, to) {
					continue
				}
				for _, k := range m.named[j] {
					had.take(k, shown, slotOf(t.Time, from, to))
				}
			}
		}
		out[i] = had.exposure()
	}
	return out, nil
}
