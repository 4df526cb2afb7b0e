package world

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
)

// caller is who uses an app's key: the app itself on one of its servers, or a thief.
type caller struct {
	a      *app
	ip     string
	key    string
	method string // of order pulls
	agent  string
	by     *thief
}

// caller returns the app as it calls on a day, from the i-th of its servers.
func (a *app) caller(day, i int) *caller {
	servers := a.servers(day)
	return &caller{a: a, ip: servers[i%len(servers)], key: a.keyOn(day), method: "orders.list", agent: a.library}
}

// servers are the addresses that the app calls from on a day.
func (a *app) servers(day int) []string {
	var out []string
	for _, h := range a.p.hosts {
		if !h.db && day >= h.born && day < h.gone {
			out = append(out, h.ip)
		}
	}
	if len(out) == 0 {
		return []string{a.p.db().ip}
	}
	return out
}

// keyOn is the id of the app's key on a day.
func (a *app) keyOn(day int) string {
	if day >= a.rotates {
		return a.nextKey
	}
	return a.key
}

// version is what the app says of itself on a day.
func (a *app) version(day int) string {
	n := (day + a.lag) / a.release
	return strconv.Itoa(1+int(a.p.seed%5)) + "." + strconv.Itoa(n) + "." + strconv.Itoa(int(mix(a.p.seed, uint64(n))%4))
}

func (c *caller) event(at moat.Time, t moat.EventType) *moat.Event {
	e := c.a.p.w.mail.new()
	e.Time, e.Type, e.Actor, e.ActorKind, e.App, e.IP, e.UserAgent = at, t, c.a.id, moat.ActorService, c.a.id, c.ip, c.agent
	return c.a.p.w.mail.post(c.a.p, e, c.by)
}

// call is a call of the platform.
func (c *caller) call(at moat.Time, method string, orders ...*order) *moat.Event {
	e := c.event(at, moat.APICall)
	e.Method, e.KeyID, e.Status = method, c.key, 200
	e.LatencyMS = int64(c.a.rate) + 2*int64(len(orders)) + int64(mix(uint64(at), 3)%40)
	e.Orders, e.Count = numbers(orders), int64(len(orders))
	return e
}

// pull fetches orders with what they hold; the platform notes what it served.
func (c *caller) pull(at moat.Time, orders ...*order) *moat.Event {
	e := c.call(at, c.method, orders...)
	e.Operation = "api_pull"
	if e.Shops = shopsOf(orders); len(orders) > 0 {
		s := c.a.p.w.mail.new()
		s.Time, s.Type, s.App, s.Orders, s.Shops, s.Count, s.Method, s.KeyID, s.IP = at, moat.OrderServed, c.a.id, e.Orders, e.Shops, e.Count, c.method, c.key, c.ip
		c.a.p.w.mail.post(c.a.p, s, nil)
	}
	return e
}

// decrypt has the platform open protected fields.
func (c *caller) decrypt(at moat.Time, purpose string, orders ...*order) *moat.Event {
	e := c.event(at, moat.DataDecrypt)
	e.Purpose, e.Fields, e.Orders, e.Shops, e.Count = purpose, []string{"name", "phone", "address"}, numbers(orders), shopsOf(orders), int64(len(orders))
	return e
}

// transmit hands orders to another system.
func (c *caller) transmit(at moat.Time, to, kind string, fields []string, orders ...*order) *moat.Event {
	e := c.event(at, moat.OrderTransmit)
	e.Actor, e.ActorKind = "system", moat.ActorSystem
	e.Destination, e.DestinationKind, e.Fields, e.Orders, e.Shops, e.Count = to, kind, fields, numbers(orders), shopsOf(orders), int64(len(orders))
	e.Encrypted = kind == "isv" || c.a.p.seed%3 == 0
	e.Bytes = int64(len(orders)) * int64(300+c.a.p.seed%400)
	return e
}

// erase deletes orders.
func (c *caller) erase(at moat.Time, reason string, n int64) *moat.Event {
	e := c.event(at, moat.DataDelete)
	e.Actor, e.ActorKind, e.Reason, e.Count = "system", moat.ActorSystem, reason, n
	return e
}

// push hands orders to the receivers of a kind, and to who listens.
func (a *app) push(c *caller, at moat.Time, day int, orders []*order) {
	for _, s := range a.sends {
		if s.kind != "courier" && s.kind != "wms" && day >= s.from && len(orders) > 0 {
			if s.from == day && s.from > 0 {
				a.p.w.note(newDestination)
			}
			c.transmit(at+moat.Time(mix(uint64(at), 9)%uint64(20*moat.Second)), s.url(day), s.kind, passed(s.kind), orders...)
		}
	}
	for _, f := range a.taps {
		f(day, at, orders)
	}
}

// takeIn fetches the new orders of the day, and hands them on.
func (p *partner) takeIn(day int) {
	var fresh []*order
	for _, s := range p.shops {
		if s.system == p {
			fresh = append(fresh, s.fresh...)
		}
	}
	slices.SortStableFunc(fresh, func(a, b *order) int { return cmp.Compare(a.at, b.at) })
	r := chance(p.seed, "pulls", day)
	a := p.apps[0]
	if len(fresh) == 0 && yes(r, 0.6) {
		return
	}
	c, servers := a.caller(day, 0), a.servers(day)
	polls := 0
	for i, minute := 0, between(r, 0, a.every); minute < 24*60; minute += a.every * between(r, 0.95, 1.1) {
		at, n := p.at(day, minute), 0
		for i+n < len(fresh) && fresh[i+n].at < at {
			n++
		}
		if n == 0 && (polls > 24 || !yes(r, 0.3)) {
			continue
		}
		polls++
		for k := range max(1, (n+99)/100) { // a page is a hundred orders
			c.ip = servers[(polls+k)%len(servers)]
			p.fetch(c, at+moat.Time(k)*moat.Time(spread(r, 1.5, 0.5)*float64(moat.Second)), day, fresh[i+min(n, 100*k):i+min(n, 100*k+100)])
		}
		i += n
	}
	if rest := fresh[len(fresh)-tail(fresh):]; len(rest) > 0 {
		p.fetch(c, p.at(day, 24*60-0.5), day, rest[:min(len(rest), 1000)])
	}
	for _, o := range fresh { // what came after all calls
		if o.ready == 0 {
			o.ready = p.at(day, 24*60)
		}
	}
}

// tail counts the orders at the end that nobody fetched.
func tail(orders []*order) int {
	n := 0
	for n < len(orders) && orders[len(orders)-1-n].ready == 0 {
		n++
	}
	return n
}

// fetch is one call for new orders and what follows from it.
func (p *partner) fetch(c *caller, at moat.Time, day int, orders []*order) {
	c.pull(at, orders...)
	if len(orders) == 0 {
		return
	}
	for _, o := range orders {
		o.ready = at + moat.Second
	}
	r := chance(p.seed, "fetch", int(at/moat.Second))
	if db := p.db(); db != nil && yes(r, 0.5) {
		db.shell(day, c.a.id).query(at+moat.Time(between(r, 0.2, 3)*float64(moat.Second)), "insert into orders values (?)", []string{"orders"}, "jdbc", int64(len(orders)))
	}
	if yes(r, 0.7) {
		c.decrypt(at+moat.Time(between(r, 1, 20)*float64(moat.Second)), "waybill", orders...)
	}
	at += moat.Time(between(r, 5, 240) * float64(moat.Second))
	type batch struct {
		to     *partner
		orders []*order
	}
	var batches []batch
	for _, o := range orders {
		to := o.shop.store
		if to == nil {
			continue
		}
		i := slices.IndexFunc(batches, func(b batch) bool { return b.to == to })
		if i < 0 {
			i, batches = len(batches), append(batches, batch{to: to})
		}
		batches[i].orders = append(batches[i].orders, o)
	}
	for _, b := range batches {
		c.transmit(at, b.to.url(), "wms", whole, b.orders...)
		for _, o := range b.orders {
			o.ready = at
		}
		b.to.queue = append(b.to.queue, b.orders...)
	}
	c.a.push(c, at, day, orders)
	for _, o := range orders {
		if o.shop.store == nil {
			p.queue = append(p.queue, o)
		}
	}
}

// maxQueue bounds what waits at a partner; on a sale day more comes than people can work off, and what is
// over goes out without being looked at.
const maxQueue = 20_000

// pack is the day of those who print waybills and pack.
func (p *partner) pack(team []*desk, day int) {
	if len(team) == 0 || len(p.queue) == 0 {
		return
	}
	slices.SortStableFunc(p.queue, func(a, b *order) int { return cmp.Compare(a.ready, b.ready) })
	p.queue = p.queue[max(0, len(p.queue)-maxQueue):]
	const over = moat.Time(1 << 62)
	at := make([]moat.Time, len(team))
	for i, k := range team {
		at[i] = k.from + k.pause(600)
	}
	crowded := len(p.queue) > 60*len(team)
	queue := p.queue
	for len(queue) > 0 {
		i := earliest(at)
		k := team[i]
		t, ok := k.free(at[i])
		if !ok {
			if t == over { // everybody has gone home
				break
			}
			at[i] = over
			continue
		}
		size, n := within(k.r, 2, 9), 0
		if crowded {
			size = within(k.r, 30, 90)
		}
		for n < len(queue) && n < size && queue[n].ready < t {
			n++
		}
		if n == 0 {
			at[i] = t + k.pause(1500)
			continue
		}
		at[i] = k.wave(t, queue[:n], day, crowded)
		queue = queue[n:]
	}
	p.queue = slices.Clone(queue)
}

// earliest returns the index of the first of the times.
func earliest(at []moat.Time) int {
	best := 0
	for i := range at {
		if at[i] < at[best] {
			best = i
		}
	}
	return best
}

// wave prints waybills, packs what they are for, hands it to the couriers, and returns when that is done.
func (k *desk) wave(at moat.Time, orders []*order, day int, crowded bool) moat.Time {
	k.access(at, "print_list", label, orders...)
	p := k.q.p
	for _, o := range orders {
		if crowded {
			at += k.pause(9)
			continue
		}
		at += k.pause(70 + 12*float64(o.lines))
		if p.stores {
			k.access(at, "view", scanned, o)
		}
	}
	at += k.pause(100)
	a := p.apps[0]
	c := a.caller(day, 1)
	c.call(at, "waybills.confirm", orders...)
	for from := 0; from < len(orders); {
		to := orders[from].shop.carrier
		n := 1
		for from+n < len(orders) && orders[from+n].shop.carrier == to {
			n++
		}
		c.transmit(at+moat.Second, to.url(), "courier", label, orders[from:from+n]...)
		for _, o := range orders[from : from+n] {
			o.ready = at + moat.Second
		}
		to.queue = append(to.queue, orders[from:from+n]...)
		from += n
	}
	if p.stores {
		p.remember(orders)
	}
	return at
}

// remember keeps what went through, the newest last.
func (p *partner) remember(orders []*order) {
	const keep = 3000
	p.seen = append(p.seen, orders...)
	if over := len(p.seen) - keep; over > keep {
		p.seen = slices.Clone(p.seen[over:])
	}
}

// carry is the day of a courier: parcels come in at outlets and are brought to the door.
func (p *partner) carry(porters, riders []*desk, day int) {
	if len(p.queue) == 0 {
		return
	}
	slices.SortStableFunc(p.queue, func(a, b *order) int { return cmp.Compare(a.ready, b.ready) })
	p.queue = p.queue[max(0, len(p.queue)-maxQueue):]
	ready := p.at(day, 7*60)
	n := 0
	for n < len(p.queue) && p.queue[n].ready < ready {
		n++
	}
	parcels, rest := p.queue[:n], slices.Clone(p.queue[n:])
	if len(porters) > 0 {
		at := make([]moat.Time, len(porters))
		for i, k := range porters {
			at[i] = k.from + k.pause(400)
		}
		for _, o := range parcels {
			i := int(word(o.id) % uint64(len(porters)))
			if t, ok := porters[i].free(at[i]); ok {
				porters[i].access(t, "modify", label, o)
				at[i] = t + porters[i].pause(35)
			}
		}
	}
	p.remember(parcels)
	for i, k := range riders {
		from, to := len(parcels)*i/len(riders), len(parcels)*(i+1)/len(riders)
		rest = append(rest, k.round(parcels[from:to])...)
	}
	if len(riders) == 0 {
		rest = append(rest, parcels...)
	}
	p.queue = rest
}

// round brings parcels to the door and returns those that come back.
func (k *desk) round(parcels []*order) (again []*order) {
	if len(parcels) == 0 {
		return nil
	}
	at := k.from + k.pause(500)
	for i := 0; i < len(parcels); i += 100 {
		k.access(at, "view_list", listed, parcels[i:min(len(parcels), i+100)]...)
	}
	pace := float64(k.to-k.from) * 0.75 / float64(len(parcels)) / float64(moat.Second)
	for _, o := range parcels {
		t, ok := k.free(at + k.pause(min(600, pace)))
		if !ok || k.r.IntN(18) == 0 { // the shift is over, or nobody at home
			again = append(again, o)
			continue
		}
		at = t
		k.access(at, "view", label, o)
		if k.r.IntN(3) > 0 {
			k.access(at+k.pause(90), "modify", scanned, o)
		}
	}
	return again
}
