package world

import (
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
)

// fields that a screen or a file shows of an order.
var (
	whole   = []string{"name", "phone", "address", "goods"}
	label   = []string{"name", "phone", "address", "tracking_no"}
	listed  = []string{"goods", "tracking_no"}
	payment = []string{"name", "address", "payment"}
	scanned = []string{"tracking_no"}
)

// desk is a person at work for a day, or a thief who passes for one: hours, address, device and
// session of the day. What is done at it becomes events of the partner. All of it may be changed.
type desk struct {
	q        *person
	w        *World
	r        *rand.Rand
	day      int
	role     string
	from, to moat.Time
	lunch    moat.Time
	back     moat.Time // from lunch
	ip       string
	device   string
	agent    string
	session  string
	account  string
	outlet   string
	by       *thief // nil: the person
}

// desk returns the desk of q on a day. It is the same whenever it is asked for.
func (q *person) desk(day int) *desk {
	r := chance(q.seed, "desk", day)
	p := q.p
	k := &desk{q: q, w: p.w, r: r, day: day, role: q.job(day), account: q.account, device: q.device, outlet: q.outlet, agent: q.browser.agent(day, q.lag), session: hex(mix(q.seed, uint64(day)), 24)}
	k.from = p.at(day, q.from+q.loose*r.NormFloat64())
	k.to = max(k.from+2*moat.Hour, p.at(day, q.to+1.5*q.loose*r.NormFloat64()))
	k.lunch = k.from + moat.Time((q.lunch+12*r.NormFloat64())*float64(moat.Minute))
	k.back = k.lunch + moat.Time(between(r, 20, 65)*float64(moat.Minute))
	if day >= q.laptop {
		k.device = hex(q.seed^0xbeef, 12)
	}
	k.ip = p.offices[q.place].on(day)
	switch {
	case q.mobile && q.role == rider:
		k.ip = p.country.phone(r)
	case day >= q.abroad && day < q.abroad+q.journey:
		k.ip = address(chance(q.seed, "hotel", q.abroad+(day-q.abroad)/3), q.where.home)
	case q.tunnel:
		k.ip = p.tunnel
	case q.privy && yes(r, 0.7):
		k.ip = pick(r, tunnels) + "." + strconv.Itoa(2+r.IntN(60))
	case q.remote>>p.weekday(day)&1 == 1:
		if k.ip = q.home; day/17 > 0 { // homes get another address now and then
			k.ip = q.home[:lastDot(q.home)+1] + strconv.Itoa(2+int(mix(q.seed, uint64(day/17))%250))
		}
	}
	return k
}

// on is the address of an office on a day.
func (o *office) on(day int) string {
	if day >= o.moves {
		return o.next
	}
	return o.ip
}

// event returns an event of the desk, which is on its way.
func (k *desk) event(at moat.Time, t moat.EventType) *moat.Event {
	e := k.w.mail.new()
	e.Time, e.Type, e.Actor, e.Role, e.App, e.IP = at, t, k.account, k.role, k.q.p.apps[0].id, k.ip
	e.Device, e.UserAgent, e.Session, e.Outlet = k.device, k.agent, k.session, k.outlet
	return k.w.mail.post(k.q.p, e, k.by)
}

// login is a login; a failed one says why.
func (k *desk) login(at moat.Time, why string) *moat.Event {
	e := k.event(at, moat.AuthLogin)
	e.Method, e.MFA = "password", k.q.p.second || k.role == admin
	if why != "" {
		e.Outcome, e.Reason, e.Session, e.MFA = moat.Failure, why, "", false
	}
	return e
}

// challenge is a second factor asked for and given, or not.
func (k *desk) challenge(at moat.Time, outcome moat.Outcome) *moat.Event {
	e := k.event(at, moat.AuthChallenge)
	e.Method, e.Outcome = []string{"totp", "sms", "app"}[k.q.p.seed%3], outcome
	return e
}

// change is a change of an account.
func (k *desk) change(at moat.Time, object, what, before, after string) *moat.Event {
	e := k.event(at, moat.AccountChange)
	e.Object, e.Change, e.Before, e.After = object, what, before, after
	return e
}

// access shows orders; an operation is one of the contract.
func (k *desk) access(at moat.Time, operation string, fields []string, orders ...*order) *moat.Event {
	e := k.event(at, moat.OrderAccess)
	e.Operation, e.Fields = operation, fields
	if operation == "view_list" { // masked, but where lists are open, or somebody pressed "show all"
		if e.Encrypted = k.q.p.seed%5 >= 2 && mix(k.q.seed, uint64(at))%12 > 0; !e.Encrypted {
			e.Fields = k.q.p.shown(operation)
		}
	}
	e.Orders, e.Shops = numbers(orders), shopsOf(orders)
	e.Count = int64(len(orders))
	e.URL = "/orders/" + operation
	if operation == "export" || operation == "export_list" || operation == "download" {
		e.Bytes = int64(len(orders)) * int64(140+k.q.seed%90)
		e.FileHash = hex(mix(k.q.seed, uint64(at)), 64)
	}
	return e
}

// unmask shows a list with all that can be read in it.
func (k *desk) unmask(at moat.Time, orders ...*order) *moat.Event {
	e := k.access(at, "view_list", nil, orders...)
	e.Fields, e.Encrypted = k.q.p.shown("view_list"), false
	return e
}

// shown are the fields that the pages of a partner show.
func (p *partner) shown(operation string) []string {
	switch {
	case operation == "decrypt":
		return []string{"phone"}
	case operation == "print" || operation == "download" || p.kind == Logistics && operation != "modify":
		return label
	}
	return whole
}

// search looks for an order by what a customer says.
func (k *desk) search(at moat.Time, s *shop, hits int) *moat.Event {
	e := k.event(at, moat.OrderAccess)
	e.Operation, e.Fields, e.Encrypted, e.Count, e.URL = "search", listed, true, int64(hits), "/orders/search"
	if s != nil {
		e.Shops = []string{s.id}
	}
	return e
}

// decrypt shows what was masked.
func (k *desk) decrypt(at moat.Time, purpose string, orders ...*order) *moat.Event {
	e := k.event(at, moat.DataDecrypt)
	e.Purpose, e.Fields, e.Orders, e.Shops, e.Count = purpose, []string{"phone", "address"}, numbers(orders), shopsOf(orders), int64(len(orders))
	return e
}

// numbers returns the ids of orders, a thousand at most.
func numbers(orders []*order) []string {
	if len(orders) == 0 {
		return nil
	}
	out := make([]string, min(len(orders), 1000))
	for i := range out {
		out[i] = orders[i].id
	}
	return out
}

// shopsOf returns the shops of orders, sorted, a hundred at most.
func shopsOf(orders []*order) []string {
	if len(orders) == 1 {
		return []string{orders[0].shop.id}
	}
	var out []string
	for _, o := range orders {
		if len(out) < 100 && !slices.Contains(out, o.shop.id) {
			out = append(out, o.shop.id)
		}
	}
	slices.Sort(out)
	return out
}

// free moves a time into the shift and out of the break; false if the shift is over.
func (k *desk) free(at moat.Time) (moat.Time, bool) {
	at = max(at, k.from+moat.Time(between(k.r, 1, 15)*float64(moat.Minute)))
	if at >= k.lunch && at < k.back {
		at = k.back + moat.Time(between(k.r, 0, 20)*float64(moat.Minute))
	}
	return at, at < k.to
}

// moments returns n times of the shift, in order.
func (k *desk) moments(n int) []moat.Time {
	out := make([]moat.Time, 0, n)
	for range n {
		at, ok := k.free(k.from + moat.Time(k.r.Float64()*float64(k.to-k.from)))
		if ok {
			out = append(out, at)
		}
	}
	slices.Sort(out)
	return out
}

// pause is the time until the next of several acts of one sort: seconds at the pace of the person.
func (k *desk) pause(seconds float64) moat.Time {
	return moat.Time(spread(k.r, seconds/k.q.pace, 0.6) * float64(moat.Second))
}

// known are orders that the person may see at a time, of shops or of what went through the
// warehouse or courier: the newest last, up to n.
func (k *desk) known(at moat.Time, n int) []*order {
	p := k.q.p
	if p.kind == Logistics {
		return until(p.seen, at, n)
	}
	shops := k.q.shops
	if len(shops) == 0 {
		shops = p.shops
	}
	if len(shops) > 4 && n < 200 { // a screen shows what was chosen
		from := k.r.IntN(len(shops) - 3)
		shops = shops[from : from+4]
	}
	return newest(shops, at, n)
}

// newest returns up to n of the orders of shops that were there at a time, the newest last.
func newest(shops []*shop, at moat.Time, n int) []*order {
	if len(shops) == 1 {
		return until(shops[0].recent, at, n)
	}
	var out []*order
	for _, s := range shops {
		out = append(out, until(s.recent, at, n)...)
	}
	slices.SortStableFunc(out, func(a, b *order) int { return int(a.at - b.at) })
	return out[max(0, len(out)-n):]
}

// until returns up to n of the last of orders that were ready before a time.
func until(orders []*order, at moat.Time, n int) []*order {
	end := len(orders)
	for end > 0 && (orders[end-1].ready > at || orders[end-1].ready == 0) {
		end--
	}
	return orders[max(0, end-n):end]
}

// one returns one of the last orders that the person may see, or nil.
func (k *desk) one(at moat.Time) *order {
	p := k.q.p
	list := p.seen
	if p.kind != Logistics {
		shops := k.q.shops
		if len(shops) == 0 {
			shops = p.shops
		}
		if len(shops) == 0 {
			return nil
		}
		list = pick(k.r, shops).recent
	}
	if list = until(list, at, 400); len(list) == 0 {
		return nil
	}
	back := min(int(k.r.ExpFloat64()*float64(len(list))/4), len(list)-1) // mostly what is new
	return list[len(list)-1-back]
}
