package retail

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/moat-platform/moat"
)

// pipeline is what flows from day to day.
type pipeline struct {
	seen      int      // orders that the shops have
	toPack    []*order // at the warehouse
	toDeliver []*order // at the courier
	waiting   []*order // what was anywhere in the morning
	staffDays int
}

// fields that a screen or a file shows of an order.
var (
	whole   = []string{"name", "phone", "address", "goods"}
	label   = []string{"name", "phone", "address", "tracking_no"}
	listed  = []string{"goods", "tracking_no"}
	account = []string{"name", "address", "payment"}
	scanned = []string{"tracking_no"}
)

// live is a day of everybody honest.
func (w *World) live(day int) {
	for _, c := range w.companies {
		w.machines(c, day)
	}
	var team []*desk
	for _, c := range w.companies {
		for _, p := range c.people {
			if w.works(p, day) {
				k := w.open(p, day)
				k.begin()
				team = append(team, k)
			}
		}
	}
	w.line.staffDays += len(team)
	w.line.waiting = append(slices.Clone(w.line.toDeliver), w.line.toPack...)
	slices.SortFunc(w.line.waiting, byTime)
	w.takeOrders(day)
	slices.SortFunc(w.line.toPack, byTime)
	for _, c := range w.erps {
		w.serve(c, on(team, c, clerk), day)
		for _, k := range on(team, c, finance) {
			k.account(day)
		}
		for _, k := range on(team, c, manager) {
			k.oversee(day)
		}
	}
	w.carry(on(team, w.courier, porter), on(team, w.courier, rider)) // what was packed until yesterday
	w.pack(on(team, w.warehouse, packer))
	for _, k := range team {
		if k.p.role == admin {
			k.administer()
		}
		if k.p.role == manager && k.p.of != w.erps[0] && k.p.of != w.erps[1] {
			k.lists(3, 8, w.line.waiting)
		}
	}
}

func byTime(a, b *order) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) }

// on returns those of a team who are at work in a company in a role.
func on(team []*desk, c *company, role string) []*desk {
	var out []*desk
	for _, k := range team {
		if k.p.of == c && k.p.role == role {
			out = append(out, k)
		}
	}
	return out
}

// desk is a person at work for a day.
type desk struct {
	w          *World
	p          *person
	r          *rand.Rand
	day        int
	from, to   moat.Time
	lunch, end moat.Time // of the break
	ip         string
	device     string
	session    string
}

// open returns the desk of a person on a day.
func (w *World) open(p *person, day int) *desk {
	r := w.chance(p.account, day)
	k := &desk{w: w, p: p, r: r, day: day, ip: p.of.office, device: p.device, session: fmt.Sprintf("%024x", r.Uint64())}
	k.from, k.to = w.at(day, p.from+between(r, -12, 15)), w.at(day, p.to+between(r, -15, 25))
	if day == w.sale { // overtime
		k.to = k.to + moat.Time(between(r, 60, 150)*float64(moat.Minute))
	}
	k.lunch = k.from + moat.Time(between(r, 200, 280)*float64(moat.Minute))
	k.end = k.lunch + moat.Time(between(r, 30, 60)*float64(moat.Minute))
	if p.laptop >= 0 && day >= p.laptop {
		k.device = device(w.chance("laptop of "+p.account, 0))
	}
	switch {
	case p.role == rider:
		k.ip = phone(r)
	case p.travel >= 0 && day >= p.travel && day < p.travel+3:
		k.ip = "79.112.44.19"
	case p.homeDay == day%7 || day%7 == 6 && p.role == clerk:
		k.ip = p.home
	}
	return k
}

// begin is the login in the morning, and what goes with it.
func (k *desk) begin() {
	at := k.from
	switch {
	case k.day == k.p.forgot:
		at = k.forget(at)
	case k.r.IntN(16) == 0:
		at = k.mistype(at, 1+k.r.IntN(2))
	}
	k.login(at)
	if k.r.IntN(3) == 0 {
		k.login(k.end)
	}
	if k.r.IntN(4) > 0 {
		k.w.emit(k.event(k.to, moat.AuthLogout))
	}
}

// event returns an event of the desk.
func (k *desk) event(at moat.Time, t moat.EventType) *moat.Event {
	return &moat.Event{Partner: k.p.of.ID, Time: at, Type: t, Actor: k.p.account, Role: k.p.role, App: k.p.of.App, IP: k.ip,
		Device: k.device, UserAgent: k.p.agent, Session: k.session, Outlet: k.p.outlet}
}

func (k *desk) login(at moat.Time) {
	e := k.event(at, moat.AuthLogin)
	e.Method, e.MFA = "password", k.p.role == admin
	k.w.emit(e)
}

// mistype fails to log in n times and returns when it goes on.
func (k *desk) mistype(at moat.Time, n int) moat.Time {
	for range n {
		e := k.event(at, moat.AuthLogin)
		e.Outcome, e.Reason, e.Method, e.Session = moat.Failure, "wrong password", "password", ""
		k.w.emit(e)
		at += moat.Time(between(k.r, 8, 25) * float64(moat.Second))
	}
	return at
}

// forget tries what might have been the password, then asks for a new one.
func (k *desk) forget(at moat.Time) moat.Time {
	at = k.mistype(at, 5) + 4*moat.Minute
	e := k.event(at, moat.AccountChange)
	e.Object, e.Change, e.Session = k.p.account, "password", ""
	k.w.emit(e)
	return at + moat.Minute
}

// order shows orders to the desk.
func (k *desk) order(at moat.Time, operation string, fields []string, orders ...*order) *moat.Event {
	e := k.event(at, moat.OrderAccess)
	e.Operation, e.Fields, e.Encrypted = operation, fields, operation == "view_list"
	for _, o := range orders {
		if e.Orders = append(e.Orders, o.id); o.shop != nil && !slices.Contains(e.Shops, o.shop.id) {
			e.Shops = append(e.Shops, o.shop.id)
		}
	}
	slices.Sort(e.Shops)
	e.Count = int64(len(orders))
	e.URL = "/orders/" + operation
	return k.w.emit(e)
}

// free moves a time out of the lunch break and into the shift; false if the shift is over.
func (k *desk) free(at moat.Time) (moat.Time, bool) {
	at = max(at, k.from+moat.Time(between(k.r, 2, 20)*float64(moat.Minute)))
	if at >= k.lunch && at < k.end {
		at = k.end + moat.Time(between(k.r, 1, 25)*float64(moat.Minute))
	}
	return at, at < k.to
}

// anytime is a time of the shift.
func (k *desk) anytime() moat.Time {
	at, _ := k.free(k.from + moat.Time(k.r.Float64()*float64(k.to-k.from-30*moat.Minute)))
	return at
}

// lists looks at lists of the newest orders some times a day.
func (k *desk) lists(from, to int, orders []*order) {
	if len(orders) == 0 {
		return
	}
	for range from + k.r.IntN(to-from+1) {
		at := k.anytime()
		n := len(orders)
		for n > 0 && orders[n-1].there() > at {
			n--
		}
		if size := 6 + k.r.IntN(10); n > 0 {
			k.order(at, "view_list", listed, orders[max(0, n-size):n]...)
		}
	}
}

// takeOrders brings the day's orders into the service providers' systems, and on to the warehouse.
func (w *World) takeOrders(day int) {
	for _, c := range w.erps {
		r := w.chance("pulls of "+c.ID, day)
		first, end := w.line.seen, 0
		_, end = w.span(0, w.at(day+1, 0))
		fresh := slices.Clone(w.orders[first:end])
		fresh = slices.DeleteFunc(fresh, func(o *order) bool { return !slices.Contains(c.shops, o.shop) })
		for minute := 0.0; minute < 24*60; {
			at := w.at(day, minute+between(r, 0, 0.4))
			n := 0
			for n < len(fresh) && fresh[n].at <= at {
				n++
			}
			w.pull(c, at, fresh[:n])
			fresh = fresh[n:]
			if minute += 10; minute < 6*60 || minute > 21*60 {
				minute += 20
			}
		}
		w.pull(c, w.at(day+1, -0.1), fresh)
	}
	_, w.line.seen = w.span(0, w.at(day+1, 0))
}

// pull is one call of a service provider's program for new orders, and what it does with them.
func (w *World) pull(c *company, at moat.Time, fresh []*order) {
	e := &moat.Event{Partner: c.ID, Time: at, Type: moat.APICall, Actor: c.App, ActorKind: moat.ActorService, App: c.App, IP: c.server,
		Method: "orders.list", Operation: "api_pull", Status: 200, LatencyMS: 40 + int64(len(fresh))*3, KeyID: c.key, Count: int64(len(fresh)), Host: c.hosts[0]}
	e.Mark(moat.FieldCount)
	var send []string
	for _, o := range fresh {
		e.Orders = append(e.Orders, o.id)
		o.shop.orders = append(o.shop.orders, o)
		if !o.cancels {
			send = append(send, o.id)
			w.line.toPack = append(w.line.toPack, o)
		}
	}
	w.emit(e)
	if len(fresh) == 0 {
		return
	}
	w.query(c, at+moat.Second, c.App, "jdbc", "INSERT INTO orders VALUES (?)", int64(len(fresh)))
	if len(send) > 0 {
		w.emit(&moat.Event{Partner: c.ID, Time: at + 3*moat.Second, Type: moat.OrderTransmit, Actor: "system", ActorKind: moat.ActorSystem, App: c.App, IP: c.server,
			Destination: "https://in.quayside-wms.example/orders", DestinationKind: "wms", Orders: send, Count: int64(len(send)), Fields: whole})
	}
}

func (w *World) query(c *company, at moat.Time, actor, client, template string, rows int64) *moat.Event {
	return w.emit(&moat.Event{Partner: c.ID, Time: at, Type: moat.DBQuery, Actor: actor, ActorKind: moat.ActorService,
		Host: c.hosts[len(c.hosts)-1], DB: c.ID + "_orders", Tables: []string{"orders"}, Template: template, Client: client, Rows: rows, DurationMS: 2 + rows/50})
}

// machines is what servers do of themselves: they say that they live, and make a backup at night.
func (w *World) machines(c *company, day int) {
	r := w.chance("machines of "+c.ID, day)
	for _, h := range c.hosts {
		for i := range 48 {
			at := w.at(day, float64(i)*30+between(r, 0, 0.2))
			w.emit(&moat.Event{Partner: c.ID, Time: at, Type: moat.Heartbeat, Actor: "system", ActorKind: moat.ActorSystem, Host: h, App: c.App, Version: "1.4.2", Seq: int64(day*48 + i + 1)})
		}
	}
	db := c.hosts[len(c.hosts)-1]
	at := w.at(day, 150+between(r, 0, 2))
	w.emit(&moat.Event{Partner: c.ID, Time: at, Type: moat.HostProcess, Host: db, Exe: "/usr/bin/mysqldump", Args: "--single-transaction " + c.ID + "_orders",
		Parent: "/usr/sbin/cron", User: "backup", PID: 2000 + int64(r.IntN(30000))})
	e := w.query(c, at+20*moat.Second, "backup", "mysqldump", "SELECT * FROM orders", int64(40_000+w.line.seen))
	e.DurationMS = 45_000
}

// serve is the day of a company's clerks: new orders are checked, buyers call, parcels are asked after.
func (w *World) serve(c *company, clerks []*desk, day int) {
	r := w.chance("buyers of "+c.ID, day)
	for _, k := range clerks {
		for _, s := range k.p.shops {
			k.lists(2, 4, s.orders)
		}
	}
	knows := func(s *shop) []*desk {
		var out []*desk
		for _, k := range clerks {
			if slices.Contains(k.p.shops, s) {
				out = append(out, k)
			}
		}
		return out
	}
	for _, s := range c.shops {
		team := knows(s)
		if len(team) == 0 {
			team = clerks // someone covers
		}
		if len(team) == 0 {
			continue
		}
		n := len(s.orders)
		for i := n - 1; i >= 0 && s.orders[i].at >= w.at(day-1, 17*60); i-- {
			o := s.orders[i]
			if r.Float64() < 0.8 || o.lines > 30 {
				pick(r, team).look(o.at+moat.Time(between(r, 2, 60)*float64(moat.Minute)), o)
			}
			if o.cancels {
				pick(r, team).change(o.at+moat.Time(between(r, 5, 90)*float64(moat.Minute)), o)
			}
		}
		recent := s.orders[max(0, n-120):]
		calls := len(recent) / 9
		if day%7 == 6 {
			calls /= 3
		}
		for range calls {
			pick(r, team).answer(pick(r, recent), s)
		}
	}
}

// look opens an order.
func (k *desk) look(at moat.Time, o *order) {
	if at, ok := k.free(max(at, o.there())); ok {
		k.order(at, "view", whole, o)
	}
}

// change notes something on an order.
func (k *desk) change(at moat.Time, o *order) {
	if at, ok := k.free(max(at, o.there())); ok {
		k.order(at, "modify", whole, o)
	}
}

// answer is a call of a buyer: the clerk searches, opens the order, and often another of the same buyer.
func (k *desk) answer(o *order, s *shop) {
	at, ok := k.free(k.anytime())
	if !ok || o.there() > at {
		return
	}
	e := k.event(at, moat.OrderAccess)
	e.Operation, e.Fields, e.Encrypted, e.Count, e.Shops = "search", listed, true, 1, []string{s.id}
	e.URL = "/orders/search"
	k.w.emit(e)
	at += moat.Time(between(k.r, 10, 50) * float64(moat.Second))
	k.order(at, "view", whole, o)
	if o.customer == 0 {
		return
	}
	for _, other := range s.orders {
		if other.customer == o.customer && other != o && other.there() < at && k.r.IntN(3) == 0 {
			at += moat.Time(between(k.r, 20, 90) * float64(moat.Second))
			k.order(at, "view", whole, other)
		}
	}
}

// account is the day of an accountant: payments, on Mondays the report of the week, and on
// the first working day of a month that of the month before.
func (k *desk) account(day int) {
	w := k.w
	var all []*order
	for _, s := range k.p.of.shops {
		all = append(all, s.orders...)
	}
	slices.SortFunc(all, byTime)
	k.lists(2, 5, all)
	for range 6 + k.r.IntN(8) {
		if len(all) > 0 {
			k.look(k.anytime(), pick(k.r, all[max(0, len(all)-250):]))
		}
	}
	since := func(from, to moat.Time) []*order {
		var out []*order
		for _, o := range all {
			if o.at >= from && o.at < to {
				out = append(out, o)
			}
		}
		return out[:min(len(out), 1000)]
	}
	if k.p != k.p.of.with(finance)[0] {
		return
	}
	if day%7 == 0 || day%7 == 1 && w.closed(day-1) {
		if week := since(w.at(day-7, 0), w.at(day, 0)); len(week) > 0 {
			k.export(k.from+moat.Time(between(k.r, 30, 80)*float64(moat.Minute)), week)
		}
	}
	today := w.at(day, 0).Std()
	first := today.Day() == 1 || today.Day() <= 3 && w.firstOpen(day, today.Day())
	if first {
		month := w.at(day, 0).Std().AddDate(0, 0, 1-today.Day())
		if orders := since(moat.TimeOf(month.AddDate(0, -1, 0)), moat.TimeOf(month)); len(orders) > 0 {
			at := k.from + moat.Time(between(k.r, 100, 150)*float64(moat.Minute))
			k.export(at, orders)
			for range 25 { // what does not add up is looked at
				k.look(k.anytime(), pick(k.r, orders))
			}
		}
	}
}

// firstOpen tells whether all days of the month before this one, dayOfMonth, were closed.
func (w *World) firstOpen(day, dayOfMonth int) bool {
	for i := 1; i < dayOfMonth; i++ {
		if d := day - i; d >= 0 && d%7 < 5 && !w.closed(d) {
			return false
		}
	}
	return true
}

func (k *desk) export(at moat.Time, orders []*order) {
	e := k.order(at, "export", account, orders...)
	e.Bytes = 180 * int64(len(orders))
	e.MarkAll()
}

// oversee is the day of a manager: large orders, and a file of the sale.
func (k *desk) oversee(day int) {
	first, end := k.w.span(k.w.at(day-1, 12*60), k.w.at(day, 16*60))
	var mine []*order
	for _, o := range k.w.orders[first:end] {
		if slices.Contains(k.p.of.shops, o.shop) {
			mine = append(mine, o)
		}
	}
	k.lists(3, 6, mine)
	for _, o := range mine {
		if o.lines > 40 {
			k.look(o.at+moat.Time(between(k.r, 30, 240)*float64(moat.Minute)), o)
		}
	}
	if day == k.w.sale && len(mine) > 0 {
		k.export(k.to-10*moat.Minute, mine)
	}
}

// pack is the day of the warehouse: waves of waybills are printed, then parcels are packed.
func (w *World) pack(team []*desk) {
	if len(team) == 0 {
		return
	}
	at := make([]moat.Time, len(team))
	for i, k := range team {
		at[i] = k.from + 10*moat.Minute
	}
	var done []*order
	queue := w.line.toPack
	for busy := true; busy && len(queue) > 0; {
		busy = false
		for i := range team {
			i = (i + len(queue)) % len(team) // nobody is always first
			k, n := team[i], 0
			for size := 3 + k.r.IntN(6); n < len(queue) && n < size && queue[n].there() < at[i]; n++ {
			}
			t, ok := k.free(at[i])
			if !ok {
				continue
			}
			busy = true
			if n < 3 {
				at[i] = t + moat.Time(between(k.r, 15, 40)*float64(moat.Minute))
				if n == 0 {
					continue
				}
			}
			at[i] = max(at[i], k.wave(t, queue[:n]))
			done, queue = append(done, queue[:n]...), queue[n:]
		}
	}
	w.line.toPack, w.line.toDeliver = queue, append(w.line.toDeliver, done...)
}

// wave prints waybills, packs what they are for and returns when that is done.
func (k *desk) wave(at moat.Time, orders []*order) moat.Time {
	k.order(at, "print_list", label, orders...)
	var ids []string
	for _, o := range orders {
		at += moat.Time((1.5 + float64(min(o.lines, 60))*between(k.r, 0.05, 0.2)) * float64(moat.Minute))
		k.order(at, "view", scanned, o)
		ids = append(ids, o.id)
	}
	at += 2 * moat.Minute
	c := k.p.of
	k.w.emit(&moat.Event{Partner: c.ID, Time: at, Type: moat.APICall, Actor: c.App, ActorKind: moat.ActorService, App: c.App, IP: c.server, Method: "waybills.confirm",
		Status: 200, LatencyMS: 80, KeyID: c.key, Orders: ids, Count: int64(len(ids))})
	k.w.emit(&moat.Event{Partner: c.ID, Time: at + moat.Second, Type: moat.OrderTransmit, Actor: "system", ActorKind: moat.ActorSystem, App: c.App, IP: c.server,
		Destination: "https://hub.swallow-parcels.example/parcels", DestinationKind: "courier", Orders: ids, Count: int64(len(ids)), Fields: label})
	return at
}

// carry is the day of the courier: parcels are taken in, sorted to rounds and brought to the door.
func (w *World) carry(porters, riders []*desk) {
	parcels := w.line.toDeliver
	for i, o := range parcels {
		if len(porters) > 0 {
			k := porters[i%len(porters)]
			k.change(k.from+moat.Time((8+between(k.r, 1, 3)*float64(i/len(porters)))*float64(moat.Minute)), o)
		}
	}
	if len(riders) == 0 {
		return
	}
	rounds := make([][]*order, len(riders))
	for i, o := range parcels {
		rounds[i%len(riders)] = append(rounds[i%len(riders)], o)
	}
	w.line.toDeliver = nil
	for i, k := range riders {
		if len(rounds[i]) > 0 {
			w.line.toDeliver = append(w.line.toDeliver, k.deliver(rounds[i])...)
		}
	}
}

// deliver goes a round and returns what comes back.
func (k *desk) deliver(round []*order) (again []*order) {
	at := k.from + moat.Time(between(k.r, 5, 20)*float64(moat.Minute))
	k.order(at, "view_list", listed, round...)
	for _, o := range round {
		t, ok := k.free(at + moat.Time(between(k.r, 5, 22)*float64(moat.Minute)))
		if !ok || k.r.IntN(16) == 0 { // the shift is over, or nobody at home
			again = append(again, o)
			continue
		}
		at = t
		k.order(at, "view", label, o)
		if k.r.IntN(3) > 0 {
			k.order(at+moat.Time(between(k.r, 1, 4)*float64(moat.Minute)), "modify", scanned, o)
		}
	}
	return again
}

// administer is a server login or two.
func (k *desk) administer() {
	for range k.r.IntN(3) {
		at, ok := k.free(k.anytime())
		if !ok {
			continue
		}
		host := pick(k.r, k.p.of.hosts)
		if k.r.IntN(12) == 0 {
			k.ssh(at-20*moat.Second, host, moat.Failure)
		}
		k.ssh(at, host, moat.Success)
		k.w.emit(&moat.Event{Partner: k.p.of.ID, Time: at + 2*moat.Minute, Type: moat.HostProcess, Host: host, Exe: "/usr/bin/sudo", Args: "systemctl status", Parent: "/bin/bash",
			User: k.p.account, PID: 1000 + int64(k.r.IntN(30000))})
	}
}

func (k *desk) ssh(at moat.Time, host string, outcome moat.Outcome) {
	k.w.emit(&moat.Event{Partner: k.p.of.ID, Time: at, Type: moat.HostLogin, Actor: k.p.account, ActorKind: moat.ActorAdmin, Role: admin, Host: host, IP: k.ip,
		User: k.p.account, Service: "sshd", Method: "publickey", Outcome: outcome})
}
