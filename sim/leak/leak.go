// Package leak makes leaks with a known source: orders flow through merchants' systems, warehouses,
// logistics companies, outlets and couriers, whose staff look at, print and export them, each order by
// many; then some of what one of them had in hand turns up in complaints, among complaints about other things.
//
// Use it to measure how well a leak is traced: take [World.Events] as the past, ask [World.Leak] for
// leaks of any size and noise, and compare what is answered with [Leak.Sources].
//
// It will not make thieves whose acts look suspicious: here only the overlap of touches tells who it
// was, which is the hardest case. Packages retail and world have thieves who act.
package leak

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
)

// Config says which world to make. The same one gives the same world.
type Config struct {
	Seed   uint64
	Start  moat.Time
	Days   int // 0 = 30
	PerDay int // orders a day; 0 = 1000
}

// Source is an entity from which orders leak. Kind is a word of the event contract, or "destination".
type Source struct {
	Kind    string `json:"kind"`
	Partner string `json:"partner,omitempty"`
	ID      string `json:"id"`
}

// had is that a source had an order in hand in clear.
type had struct {
	order int32 // its place
	at    moat.Time
}

// World is a past. It is not changed by leaks, and safe for concurrent use.
type World struct {
	Events []*moat.Event // by time
	orders []born        // by time of birth
	place  map[string]int32
	had    map[Source][]had // by order and time
	start  moat.Time
	end    moat.Time
}

type born struct {
	id string
	at moat.Time
}

// company is a partner with its staff.
type company struct {
	id, app string
	hosts   []string
	office  string
	clerks  []*person
	outlets []string
	riders  []*person
}

type person struct {
	account, role, device, ip, outlet string
	habit                             float64 // how much of the work falls to the person
	lists                             bool    // exports lists every day
}

// maker is a world in the making.
type maker struct {
	Events []*moat.Event
	start  moat.Time
	r      *rand.Rand
	shops  []shop
	warehouses,
	logistics []*company
}

type shop struct {
	id     string
	erp    *company
	clerks []*person
	wms    *company
	sends  string // text messages
}

// New makes a world.
func New(cfg Config) *World {
	cfg.Days, cfg.PerDay = cmp.Or(cfg.Days, 30), cmp.Or(cfg.PerDay, 1000)
	cfg.Start = cmp.Or(cfg.Start, 1_772_409_600*moat.Second)
	m := &maker{start: cfg.Start, r: rand.New(rand.NewPCG(cfg.Seed, 11))}
	m.settle()
	for d := range cfg.Days {
		m.day(d, cfg.PerDay)
	}
	slices.SortStableFunc(m.Events, func(a, b *moat.Event) int { return cmp.Compare(a.Time, b.Time) })
	for i, e := range m.Events {
		e.ID = fmt.Sprintf("e%08d", i)
		e.MarkAll()
	}
	return Of(m.Events)
}

// Of returns the past that some events are, in the order of time: any ecosystem in which leaks are to be made.
// The events must not change afterwards.
func Of(events []*moat.Event) *World {
	w := &World{Events: events, had: map[Source][]had{}}
	w.index()
	return w
}

// staff makes n people of a company: every fourth shares a device with the one before, some work from home.
func (m *maker) staff(c *company, role string, n int) []*person {
	var list []*person
	for i := range n {
		p := &person{account: fmt.Sprintf("%s.%s%02d", c.id, role, i), role: role, device: fmt.Sprintf("dev-%s-%s%02d", c.id, role, i), ip: c.office,
			habit: 0.4 + m.r.ExpFloat64(), lists: m.r.IntN(3) == 0}
		if i%4 == 3 {
			p.device = list[i-1].device
		}
		if m.r.IntN(5) == 0 {
			p.ip = fmt.Sprintf("10.%d.%d.%d", m.r.IntN(250), m.r.IntN(250), 1+m.r.IntN(250))
		}
		list = append(list, p)
	}
	return list
}

func (m *maker) company(id string, hosts int) *company {
	c := &company{id: id, app: id + "-app", office: fmt.Sprintf("81.%d.%d.7", m.r.IntN(250), m.r.IntN(250))}
	for i := range hosts {
		c.hosts = append(c.hosts, fmt.Sprintf("%s-host-%d", id, i))
	}
	return c
}

func (m *maker) settle() {
	for i := range 3 {
		w := m.company(fmt.Sprintf("wms%d", i), 2)
		w.clerks = m.staff(w, "packer", 10)
		m.warehouses = append(m.warehouses, w)
	}
	for i := range 3 {
		l := m.company(fmt.Sprintf("post%d", i), 2)
		for o := range 8 {
			outlet := fmt.Sprintf("post%d-outlet-%d", i, o)
			l.outlets = append(l.outlets, outlet)
			for _, p := range append(m.staff(l, fmt.Sprintf("porter%d-", o), 3), m.staff(l, fmt.Sprintf("rider%d-", o), 4)...) {
				p.outlet = outlet
				if p.role[:5] == "rider" {
					l.riders = append(l.riders, p)
				} else {
					l.clerks = append(l.clerks, p)
				}
			}
		}
		m.logistics = append(m.logistics, l)
	}
	for i := range 5 {
		e := m.company(fmt.Sprintf("erp%d", i), 3)
		for s := range 6 {
			sh := shop{id: fmt.Sprintf("shop-%d-%d", i, s), erp: e, clerks: m.staff(e, fmt.Sprintf("clerk%d-", s), 5), wms: m.warehouses[m.r.IntN(3)], sends: fmt.Sprintf("sms-%d", (i+s)%3)}
			if s > 0 { // clerks help out at the next shop
				sh.clerks = append(sh.clerks, m.shops[len(m.shops)-1].clerks[:2]...)
			}
			e.clerks = append(e.clerks, sh.clerks...)
			m.shops = append(m.shops, sh)
		}
	}
}

var clear = []string{"name", "phone", "address"}

// day lets the orders of a day flow.
func (m *maker) day(d, n int) {
	midnight := m.start + moat.Time(d)*moat.Day
	byShop := make([][]born, len(m.shops))
	for range n {
		s := min(m.r.IntN(len(m.shops)), m.r.IntN(len(m.shops))) // some shops are busier
		o := born{fmt.Sprintf("%018d", m.r.Uint64N(1e18)), midnight + moat.Time(m.r.Int64N(int64(20*moat.Hour)))}
		byShop[s] = append(byShop[s], o)
	}
	for s := range m.shops {
		slices.SortFunc(byShop[s], func(a, b born) int { return cmp.Compare(a.at, b.at) })
		m.flow(&m.shops[s], byShop[s], midnight)
	}
}

// flow lets the orders of a shop's day pass through everybody's hands.
func (m *maker) flow(s *shop, orders []born, midnight moat.Time) {
	if len(orders) == 0 {
		return
	}
	r := m.r
	post := m.logistics[r.IntN(3)]
	for _, o := range orders {
		host := s.erp.hosts[r.IntN(len(s.erp.hosts))]
		m.emit(&moat.Event{Type: moat.OrderServed, Time: o.at, Partner: s.erp.id, App: s.erp.app, Orders: []string{o.id}, Shops: []string{s.id}})
		for range 1 + r.IntN(3) {
			m.act(s.erp, m.pick(s.clerks), o.at+m.after(3), "view", host, s, clear, o.id)
		}
		if r.IntN(4) == 0 {
			m.act(s.erp, m.pick(s.erp.clerks), o.at+m.after(20), "search", host, s, clear, o.id)
		}
		m.emit(&moat.Event{Type: moat.OrderTransmit, Time: o.at + m.after(2), Partner: s.erp.id, App: s.erp.app, Host: host, Destination: s.sends, DestinationKind: "sms",
			Fields: []string{"name", "phone"}, Orders: []string{o.id}, Shops: []string{s.id}})
		at := o.at + m.after(8)
		m.act(s.wms, m.pick(s.wms.clerks), at, "view", s.wms.hosts[0], s, []string{"goods"}, o.id)
		m.act(s.wms, m.pick(s.wms.clerks), at+m.after(3), "print", s.wms.hosts[1], s, clear, o.id)
		at += moat.Day/2 + m.after(10)
		outlet := post.outlets[min(r.IntN(8), r.IntN(8))]
		m.act(post, m.at(post.clerks, outlet), at, "view", post.hosts[0], s, clear, o.id)
		m.act(post, m.at(post.riders, outlet), at+m.after(5), "view", post.hosts[1], s, clear, o.id)
		if r.IntN(3) == 0 {
			m.act(post, m.at(post.riders, outlet), at+moat.Day, "view", post.hosts[1], s, clear, o.id)
		}
	}
	ids := make([]string, len(orders))
	for i := range orders {
		ids[i] = orders[i].id
	}
	// Lists: printed for the warehouse, exported by some every day and by all now and then.
	m.act(s.erp, m.pick(s.clerks), midnight+21*moat.Hour, "print_list", s.erp.hosts[0], s, clear, ids...)
	for _, p := range s.clerks {
		if p.lists && r.IntN(10) < 8 || r.IntN(25) == 0 {
			m.act(s.erp, p, midnight+22*moat.Hour+m.after(1), "export_list", s.erp.hosts[0], s, clear, ids...)
		}
	}
	for _, p := range s.wms.clerks {
		if p.lists && r.IntN(2) == 0 {
			m.act(s.wms, p, midnight+23*moat.Hour+m.after(1), "export_list", s.wms.hosts[0], s, clear, ids...)
		}
	}
	m.emit(&moat.Event{Type: moat.OrderTransmit, Time: midnight + 21*moat.Hour + m.after(1), Partner: s.erp.id, App: s.erp.app, Host: s.erp.hosts[1],
		Destination: s.wms.app, DestinationKind: "wms", Fields: clear, Orders: ids, Shops: []string{s.id}})
	m.emit(&moat.Event{Type: moat.OrderTransmit, Time: midnight + 23*moat.Hour + m.after(1), Partner: s.wms.id, App: s.wms.app, Host: s.wms.hosts[1],
		Destination: post.app, DestinationKind: "courier", Fields: clear, Orders: ids, Shops: []string{s.id}})
}

// after is a time of some hours, on average.
func (m *maker) after(hours float64) moat.Time {
	return moat.Minute + moat.Time(m.r.ExpFloat64()*hours*float64(moat.Hour))
}

// pick returns one of the staff, the busy more often.
func (m *maker) pick(list []*person) *person {
	all := 0.0
	for _, p := range list {
		all += p.habit
	}
	x := m.r.Float64() * all
	for _, p := range list {
		if x -= p.habit; x <= 0 {
			return p
		}
	}
	return list[len(list)-1]
}

func (m *maker) at(list []*person, outlet string) *person {
	var here []*person
	for _, p := range list {
		if p.outlet == outlet {
			here = append(here, p)
		}
	}
	return m.pick(here)
}

func (m *maker) act(c *company, p *person, at moat.Time, operation, host string, s *shop, fields []string, ids ...string) {
	m.emit(&moat.Event{Type: moat.OrderAccess, Time: at, Partner: c.id, App: c.app, Actor: p.account, Role: p.role, Device: p.device, IP: p.ip, Outlet: p.outlet,
		Host: host, Operation: operation, Fields: fields, Orders: ids, Shops: []string{s.id}})
}

func (m *maker) emit(e *moat.Event) { m.Events = append(m.Events, e) }

// shows tells whether an act shows a thief what he wants.
func shows(e *moat.Event) bool {
	switch e.Type {
	case moat.OrderAccess, moat.OrderTransmit, moat.DataDecrypt:
		return e.Outcome == moat.Success && !e.Encrypted && (slices.Contains(e.Fields, "phone") || slices.Contains(e.Fields, "address"))
	case moat.OrderServed:
		return true
	}
	return false
}

// index notes what each entity had in hand in clear.
func (w *World) index() {
	w.place = map[string]int32{}
	for _, e := range w.Events {
		if e.Type == moat.Complaint || e.Type == moat.CanaryTouch || len(e.Orders) == 0 {
			continue
		}
		if w.start == 0 {
			w.start = e.Time
		}
		w.end = e.Time
		for _, o := range e.Orders {
			if _, ok := w.place[o]; !ok {
				w.place[o] = int32(len(w.orders))
				w.orders = append(w.orders, born{o, e.Time})
			}
		}
		if !shows(e) {
			continue
		}
		actor, device := e.Actor, e.Device
		if e.ActorKind == moat.ActorSystem {
			actor = ""
		}
		if strings.Trim(device, "0") == "" {
			device = ""
		}
		for _, s := range [...]Source{{"account", e.Partner, actor}, {"device", e.Partner, device}, {"ip", e.Partner, e.IP}, {"host", e.Partner, e.Host},
			{"app", e.Partner, e.App}, {"outlet", e.Partner, e.Outlet}, {"destination", "", e.Destination}} {
			if s.ID == "" {
				continue
			}
			list := w.had[s]
			for _, o := range e.Orders {
				list = append(list, had{w.place[o], e.Time})
			}
			w.had[s] = list
		}
	}
	for _, list := range w.had {
		slices.SortFunc(list, func(a, b had) int { return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.at, b.at)) })
	}
}
