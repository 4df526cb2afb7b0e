package retail

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
)

// thief is a theft in the making.
type thief struct {
	truth.Theft
	act func(day int)
}

// does notes an event as the thief's.
func (t *thief) does(e *moat.Event) *moat.Event {
	a := truth.Act{Event: e.ID, Time: e.Time, Orders: e.Orders}
	if e.Outcome != moat.Success {
		a.Orders = nil
	}
	if e.Type == moat.DBQuery {
		a.Rows = e.Rows
	}
	if t.From == 0 || e.Time < t.From {
		t.From = e.Time
	}
	t.To = max(t.To, e.Time)
	t.Acts = append(t.Acts, a)
	e.MarkAll()
	return e
}

func (t *thief) blame(k moat.EntityKind, id string) {
	if e := (moat.Entity{Kind: k, ID: id}); id != "" && !slices.Contains(t.Culprits, e) {
		t.Culprits = append(t.Culprits, e)
	}
}

// conspire plans the thefts: each on its own days after two weeks of peace.
func (w *World) conspire() {
	r := w.chance("thefts", 0)
	var days []int
	for d := quiet; d < w.cfg.Days-1; d++ {
		if d%7 < 4 && !w.closed(d) && d != w.sale {
			days = append(days, d)
		}
	}
	r.Shuffle(len(days), func(i, j int) { days[i], days[j] = days[j], days[i] })
	w.thieves = []*thief{
		w.stuffing(days[0]),
		w.drip(quiet + r.IntN(4)),
		w.scraper(days[1]),
		w.key(days[2]),
		w.newcomer(days[3]),
		w.breakIn(days[4]),
	}
}

// known returns up to n of the orders that c has at a time, newest last.
func known(c *company, at moat.Time, n int) []*order {
	var out []*order
	for _, s := range c.shops {
		for _, o := range s.orders {
			if o.there() < at {
				out = append(out, o)
			}
		}
	}
	slices.SortFunc(out, byTime)
	return out[max(0, len(out)-n):]
}

// stuffing tries a list of leaked passwords at night, and takes the orders out with the
// one that opens.
func (w *World) stuffing(day int) *thief {
	c := w.erps[1]
	t := &thief{Theft: truth.Theft{Name: "password stuffing, export", Partner: c.ID}}
	r := w.chance("stuffing", 0)
	ip, agent, dev := fmt.Sprintf("91.219.236.%d", 2+r.IntN(250)), "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36", device(r)
	victim := c.with(clerk)[3]
	t.act = func(today int) {
		if today != day {
			return
		}
		t.blame(moat.Account, victim.account)
		t.blame(moat.Device, dev)
		t.blame(moat.IP, ip)
		k := &desk{w: w, p: victim, r: r, day: day, ip: ip, device: dev, session: fmt.Sprintf("%024x", r.Uint64())}
		at := w.at(day, between(r, 60, 240))
		try := func(name string, outcome moat.Outcome) {
			e := k.event(at, moat.AuthLogin)
			e.Actor, e.Outcome, e.UserAgent, e.Method = name, outcome, agent, "password"
			if outcome == moat.Failure {
				e.Session, e.Reason, e.Role = "", "wrong password", ""
			}
			t.does(w.emit(e))
			at += moat.Time(between(r, 2, 7) * float64(moat.Second))
		}
		opens := 60 + r.IntN(80)
		for i := range 180 {
			switch {
			case i == opens:
				try(victim.account, moat.Success)
			case i%9 == 4:
				try(pick(r, c.people).account, moat.Failure)
			default:
				try(pick(r, firstNames)+strconv.Itoa(r.IntN(100)), moat.Failure)
			}
		}
		at += moat.Time(between(r, 10, 40) * float64(moat.Minute))
		try(victim.account, moat.Success)
		orders := known(c, at, 2000)
		for i := 0; i < len(orders); i += 400 {
			at += moat.Time(between(r, 30, 90) * float64(moat.Second))
			e := k.order(at, "export", whole, orders[i:min(i+400, len(orders))]...)
			e.UserAgent = agent
			t.does(e)
		}
	}
	return t
}

// drip is a bribed clerk who looks at some more orders every day.
func (w *World) drip(from int) *thief {
	p := w.erps[0].with(clerk)[2]
	t := &thief{Theft: truth.Theft{Name: "bribed clerk's slow drip", Partner: p.of.ID}}
	t.blame(moat.Account, p.account)
	t.act = func(today int) {
		if today < from || today >= from+21 || !w.works(p, today) {
			return
		}
		// The same desk as in the morning; what the clerk does besides has its own chance.
		k := w.open(p, today)
		k.r = w.chance("drip", today)
		t.blame(moat.Device, k.device)
		var mine []*order
		for _, s := range p.shops {
			mine = append(mine, s.orders...)
		}
		for range 60 + k.r.IntN(41) {
			at, ok := k.free(k.from + moat.Time(between(k.r, 0.02, 0.98)*float64(k.to-k.from)))
			if o := pick(k.r, mine); ok && o.there() < at {
				t.does(k.order(at, "view", whole, o))
			}
		}
	}
	return t
}

// scraper uses the session of a clerk, stolen by a page that the clerk opened, and goes through the order numbers.
func (w *World) scraper(day int) *thief {
	p := w.erps[0].with(clerk)[0]
	t := &thief{Theft: truth.Theft{Name: "scraper in a stolen session", Partner: p.of.ID}}
	r := w.chance("scraper", 0)
	ip := household(r)
	for !w.works(p, day) {
		day++
	}
	t.act = func(today int) {
		if today != day {
			return
		}
		k := w.open(p, today)
		k.r, k.ip, k.device = r, ip, ""
		k.p = &person{of: p.of, account: p.account, role: p.role, agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/139.0.0.0 Safari/537.36"}
		t.blame(moat.Account, p.account)
		t.blame(moat.IP, ip)
		at := k.lunch + moat.Time(between(r, 5, 100)*float64(moat.Minute))
		first, end := w.span(0, at-transit)
		list := w.orders[max(first, end-1000):end]
		number, _ := strconv.Atoi(strings.TrimPrefix(list[len(list)-1].id, "C"))
		has := map[string]*order{}
		for _, o := range list {
			has[o.id] = o
		}
		for range 900 {
			o := has[strconv.Itoa(number)]
			refused := o == nil || !slices.Contains(p.of.shops, o.shop)
			if refused {
				o = &order{id: strconv.Itoa(number)}
			}
			e := k.order(at, "view", whole, o)
			if refused {
				e.Outcome, e.Reason, e.Fields = moat.Denied, "no such order", nil
			}
			t.does(e)
			number--
			at += moat.Time(between(r, 1.2, 4) * float64(moat.Second))
		}
	}
	return t
}

// key is a key of an app that was left in a public repository.
func (w *World) key(day int) *thief {
	c := w.erps[1]
	t := &thief{Theft: truth.Theft{Name: "stolen app key", Partner: c.ID}}
	r := w.chance("key", 0)
	ip := fmt.Sprintf("188.24.%d.%d", 1+r.IntN(250), 2+r.IntN(250))
	t.act = func(today int) {
		if today != day {
			return
		}
		t.blame(moat.App, c.App)
		t.blame(moat.IP, ip)
		at := w.at(day, between(r, 18*60, 22*60))
		orders := known(c, at, 4000)
		for i := 0; i < len(orders); i += 50 {
			page := orders[i:min(i+50, len(orders))]
			e := &moat.Event{Partner: c.ID, Time: at, Type: moat.APICall, Actor: c.App, ActorKind: moat.ActorService, App: c.App, IP: ip, Method: "orders.list",
				Operation: "api_pull", Status: 200, LatencyMS: 210, KeyID: c.key, Count: int64(len(page))}
			for _, o := range page {
				e.Orders = append(e.Orders, o.id)
			}
			t.does(w.emit(e))
			at += moat.Time(between(r, 3, 9) * float64(moat.Second))
		}
	}
	return t
}

// newcomer was hired to copy: some days of work, then everything that the account opens.
func (w *World) newcomer(day int) *thief {
	c := w.courier
	t := &thief{Theft: truth.Theft{Name: "new hire's bulk copy", Partner: c.ID}}
	r := w.chance("newcomer", 0)
	p := &person{of: c, role: porter, account: "robin." + pick(r, lastNames), device: device(r), agent: scanner, home: household(r), outlet: "swallow-river",
		from: 8 * 60, to: 16 * 60, homeDay: -1, off: -1, left: never, travel: -1, laptop: -1, forgot: -1}
	p.hired, p.left = day-3, day+1
	c.people = append(c.people, p)
	t.act = func(today int) {
		if today != day {
			return
		}
		k := w.open(p, today)
		k.r = r
		t.blame(moat.Account, p.account)
		t.blame(moat.Device, p.device)
		_, end := w.span(0, k.from-transit)
		at := k.lunch
		for _, o := range w.orders[max(0, end-500):end] {
			at += moat.Time(between(r, 8, 40) * float64(moat.Second))
			t.does(k.order(at, "view", label, o))
		}
	}
	return t
}

// breakIn guesses the password of a server, dumps the database and carries it away.
func (w *World) breakIn(day int) *thief {
	c := w.erps[0]
	host := c.hosts[len(c.hosts)-1]
	t := &thief{Theft: truth.Theft{Name: "break-in, database dump", Partner: c.ID}}
	r := w.chance("break-in", 0)
	ip := fmt.Sprintf("5.188.206.%d", 2+r.IntN(250))
	t.act = func(today int) {
		if today != day {
			return
		}
		t.blame(moat.IP, ip)
		t.blame(moat.Host, host)
		t.blame(moat.Account, "deploy")
		at := w.at(day, between(r, 20, 200))
		login := func(user string, outcome moat.Outcome) {
			t.does(w.emit(&moat.Event{Partner: c.ID, Time: at, Type: moat.HostLogin, Actor: user, ActorKind: moat.ActorAdmin, Host: host, IP: ip, User: user, Service: "sshd",
				Method: "password", Outcome: outcome}))
			at += moat.Time(between(r, 2, 6) * float64(moat.Second))
		}
		for range 140 {
			login(pick(r, []string{"root", "root", "admin", "ubuntu", "test", "oracle", "deploy", "git"}), moat.Failure)
		}
		login("deploy", moat.Success)
		at += moat.Time(between(r, 5, 30) * float64(moat.Minute))
		t.does(w.emit(&moat.Event{Partner: c.ID, Time: at, Type: moat.HostProcess, Host: host, Exe: "/usr/bin/mysqldump", Args: c.ID + "_orders", Parent: "/bin/bash", User: "deploy",
			PID: 1000 + int64(r.IntN(30000))}))
		e := w.query(c, at+10*moat.Second, "deploy", "mysqldump", "SELECT * FROM orders", int64(40_000+w.line.seen))
		t.does(e)
		t.does(w.emit(&moat.Event{Partner: c.ID, Time: at + 5*moat.Minute, Type: moat.HostNetwork, Host: host, Peer: "45.155.205.88", Port: 443, Direction: "out", Bytes: 61 << 20,
			Exe: "/usr/bin/curl"}))
	}
	return t
}
