// Package runtest makes streams of events like those of a marketplace's
// partners. Use it in tests and benchmarks of what keeps rows. It will not make
// anything that depends on the clock: the same seed gives the same events.
package runtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	moat "github.com/moat-platform/moat"
)

// Workload is a stream of events: busy and idle accounts of many partners,
// each with an app, an outlet, a few devices and addresses, that touch orders
// of their shops; an order is touched some seven times over two days.
type Workload struct {
	rng    *rand.Rand
	zipf   *rand.Zipf // few accounts do much
	now    moat.Time
	step   float64 // µs between events
	orders uint64  // ids of orders go up to here
	ids    [50]string
	shop   [1]string
	fields [2]string
	w      moat.BatchWriter
}

// Start is the time of the first event.
const Start = 1_770_000_000 * moat.Second

// New returns a workload of so many accounts and events a second.
func New(seed uint64, accounts, rate int) *Workload {
	r := rand.New(rand.NewPCG(seed, 7))
	return &Workload{rng: r, zipf: rand.NewZipf(r, 1.1, 50, uint64(accounts-1)), now: Start, step: 1e6 / float64(rate), orders: 1 << 20,
		fields: [2]string{"name", "phone"}}
}

// OrderID returns the id of the n-th order.
func OrderID(n uint64) string {
	// Ids of marketplaces look like numbers of 18 digits in no order.
	return fmt.Sprintf("%018d", (n*0x9e3779b97f4a7c15>>5)%1_000_000_000_000_000_000)
}

// Event fills e with the next event. Its lists are reused by the next call.
func (l *Workload) Event(e *moat.Event) {
	r := l.rng
	l.now += moat.Time(l.step)
	if frac := l.step - math.Floor(l.step); r.Float64() < frac {
		l.now++
	}
	a := int(l.zipf.Uint64())
	partner := a % 197
	*e = moat.Event{
		ID:       fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48)),
		Partner:  fmt.Sprintf("partner-%03d", partner),
		Received: l.now,
		Time:     l.now - moat.Time(r.ExpFloat64()*2e6),
		Actor:    fmt.Sprintf("user%07d", a),
		Role:     []string{"customer_service", "packer", "courier", "manager"}[a%4],
		App:      fmt.Sprintf("app-%03d-%d", partner, a%3),
		Device:   fmt.Sprintf("%016x", uint64(a)*0x9e3779b97f4a7c15+uint64(r.IntN(20)/19)),
		IP:       fmt.Sprintf("%d.%d.%d.%d", 11+a%200, a>>8&255, a>>16&255, 1+r.IntN(8)/7*r.IntN(20)),
		Host:     fmt.Sprintf("web-%02d.partner-%03d.example", r.IntN(8), partner),
	}
	if a%4 == 1 || a%4 == 2 { // packers and couriers
		e.Outlet = fmt.Sprintf("outlet-%05d", a%2000)
	}
	if partner%2 == 0 { // whose app says which it is
		e.Version = fmt.Sprintf("4.%d", partner%9)
	}
	l.shop[0] = fmt.Sprintf("shop-%06d", a/7)
	e.Shops = l.shop[:]
	l.kind(e)
	e.MarkAll()
}

// kind gives e its type and orders.
func (l *Workload) kind(e *moat.Event) {
	r := l.rng
	switch p := r.IntN(100); {
	case p < 60:
		e.Type, e.Operation = moat.OrderAccess, []string{"view", "view", "view_list", "search", "print", "export"}[r.IntN(6)]
		e.Fields = l.fields[:1+r.IntN(2)]
	case p < 72:
		e.Type, e.Destination, e.DestinationKind = moat.OrderTransmit, fmt.Sprintf("courier-%02d", r.IntN(40)), "courier"
	case p < 85:
		e.Type, e.Operation = moat.HTTPRequest, "view"
	default:
		e.Type, e.Operation = moat.AuthLogin, "login"
	}
	if e.Type != moat.OrderAccess && e.Type != moat.OrderTransmit {
		return
	}
	n := min(1+int(r.ExpFloat64()*3.3), len(l.ids))
	l.orders += uint64(r.IntN(7) / 6 * n)
	for i := range n {
		l.ids[i] = OrderID(l.orders - uint64(r.ExpFloat64()*1e5))
	}
	e.Orders = l.ids[:n]
}

// Batch returns the next n events as a batch, in memory of its own.
func (l *Workload) Batch(n int) []byte {
	var e moat.Event
	l.w.Reset()
	for range n {
		l.Event(&e)
		l.w.Append(&e)
	}
	return append([]byte(nil), l.w.Bytes()...)
}
