package world

import "github.com/moat-platform/moat"

// liars are campaigns of partners who steal themselves, and report less than happens, or something else.
func liars() []campaign {
	return []campaign{{
		name: "suppressed telemetry", slow: true, days: 7, plan: suppressed,
		doc: "A partner's app goes on to fetch orders, more than it needs, but no longer tells who looks at them.",
	}, {
		name: "fabricated telemetry", slow: true, days: 7, plan: fabricated,
		doc: "A partner reports accesses that never were, made up or repeated from other days, instead of those that were.",
	}}
}

// human tells whether an event is what a person did with an app.
func human(e *moat.Event) bool {
	switch e.Type {
	case moat.AuthLogin, moat.AuthLogout, moat.AuthChallenge, moat.OrderAccess, moat.DataDecrypt, moat.ClientSignal:
		return e.ActorKind == moat.ActorUser
	}
	return false
}

// skim has the partner's own app fetch orders again that it has had, from its own server and with its own key.
func (t *thief) skim(a *app, day, many int) {
	c, at := a.caller(day, 0), a.p.at(day, between(t.r, 0, 22*60))
	c.by, c.method = t, pick(t.r, []string{"orders.list", "orders.get"})
	orders := newest(a.p.shops, at, 4*many)
	if len(orders) > many {
		from := t.r.IntN(len(orders) - many)
		orders = orders[from : from+many]
	}
	for i := 0; i < len(orders); i += 100 {
		part := orders[i:min(len(orders), i+100)]
		c.pull(at, part...)
		t.takes(part...)
		at += moat.Time(spread(t.r, 4, 0.5) * float64(moat.Second))
	}
}

// ownApp tells whether a partner has an app that takes orders in, and people whose accesses it reports.
func ownApp(p *partner) bool { return pushes(p) && len(p.people) >= 3 && p.veil == nil }

func suppressed(t *thief) bool {
	p := t.partner(ownApp)
	if p == nil {
		return false
	}
	a := p.apps[0]
	hidden, many, to := 1.0, within(t.r, 200, 900), t.day+within(t.r, 5, 20)
	if t.careful { // of some people only, and a while each day
		hidden, many = between(t.r, 0.4, 0.8), within(t.r, 60, 250)
	}
	t.blame(moat.Partner, p.id)
	t.blame(moat.App, a.id)
	salt := t.r.Uint64()
	p.veil = func(e *moat.Event) bool {
		day := int((e.Time - t.w.cfg.Start) / moat.Day)
		return day >= t.day && day < to && (e.Type == moat.OrderAccess || e.Type == moat.DataDecrypt) && human(e) && mix(word(e.Actor), salt)%1000 < uint64(1000*hidden)
	}
	t.daily(t.day, to, func(day int) { t.skim(a, day, many) })
	return true
}

// fabricated replaces what people did by what nobody did.
func fabricated(t *thief) bool {
	p := t.partner(func(p *partner) bool { return ownApp(p) && len(p.people) <= 80 })
	if p == nil {
		return false
	}
	a, to := p.apps[0], t.day+within(t.r, 5, 16)
	many := within(t.r, 200, 900)
	if t.careful {
		many = within(t.r, 60, 250)
	}
	t.blame(moat.Partner, p.id)
	t.blame(moat.App, a.id)
	inside := func(day int) bool { return day >= t.day && day < to }
	var past []*moat.Event // what is repeated
	fake := t.repeat
	if yes(t.r, 0.5) {
		fake = t.invent
	}
	p.veil = func(e *moat.Event) bool {
		day := int((e.Time - t.w.cfg.Start) / moat.Day)
		if day >= t.day-7 && day < t.day && human(e) && len(past) < 20_000 {
			past = append(past, new(*e))
		}
		return inside(day) && human(e)
	}
	t.daily(t.day, to, func(day int) {
		fake(p, day, past)
		t.skim(a, day, many)
	})
	return true
}

// lie posts an event of what never was; nothing is taken by it.
func (t *thief) lie(p *partner, e *moat.Event) {
	if t.lies == nil {
		t.lies = map[*moat.Event]bool{}
	}
	t.lies[t.does(p, e)] = true
}

// repeat reports the same day of the week before the lies began again, under new ids.
func (t *thief) repeat(p *partner, day int, past []*moat.Event) {
	jitter := 0.0
	if t.careful {
		jitter = 900
	}
	for _, e := range past {
		was := int((e.Time - t.w.cfg.Start) / moat.Day)
		if p.weekday(was) != p.weekday(day) {
			continue
		}
		x := new(*e)
		if x.Time += moat.Time(day-was)*moat.Day + moat.Time(jitter*t.r.Float64()*float64(moat.Second)); int((x.Time-t.w.cfg.Start)/moat.Day) != day {
			continue
		}
		if x.Received = 0; t.careful && x.Session != "" {
			x.Session = hex(mix(word(x.Session), uint64(day)), 24)
		}
		if t.careful && len(x.Orders) > 0 { // at least those of today
			if list := newest(p.shops, x.Time, 400); len(list) > 0 {
				some := list[t.r.IntN(len(list)):]
				some = some[:min(len(some), len(x.Orders))]
				x.Orders, x.Shops, x.Count = numbers(some), shopsOf(some), int64(len(some))
			}
		}
		t.lie(p, x)
	}
}

// invent reports accesses as a program makes them up.
func (t *thief) invent(p *partner, day int, past []*moat.Event) {
	accounts := t.accounts(p, day)
	r := chance(p.seed, "invent", t.day) // the same every day: a program with a table of its own
	device, ip, agent := hex(r.Uint64(), 12), p.offices[0].ip, accounts[0].browser.agent(day, 0)
	step := moat.Time(pick(r, []int{20, 30, 60, 90})) * moat.Second
	at := p.at(day, 60*float64(within(r, 7, 9)))
	n := min(600, max(60, len(past)/5))
	impossible := between(r, 0, 0.3)
	for i := range n {
		q := accounts[i%min(len(accounts), 12)]
		k := q.desk(day)
		e := t.w.mail.new()
		e.Time, e.Type, e.Actor, e.Role, e.App, e.IP, e.Device, e.UserAgent = at, moat.OrderAccess, q.account, q.job(day), p.apps[0].id, ip, device, agent
		if t.careful {
			e.IP, e.Device, e.UserAgent, e.Session = k.ip, k.device, k.agent, k.session
		}
		o := k.one(at)
		if o == nil {
			return
		}
		e.Operation, e.Fields, e.Orders, e.Shops, e.Count, e.URL = "view", whole, []string{o.id}, []string{o.shop.id}, 1, "/orders/view"
		if !t.careful && yes(t.r, impossible) {
			switch t.r.IntN(3) {
			case 0:
				e.IP = pick(t.r, []string{"127.0.0.1", "0.0.0.0", "192.0.2.1", "255.255.255.255"})
			case 1:
				e.Orders = []string{pick(t.r, []string{"123456789", "1", "000000000000", "test"})}
			case 2:
				e.UserAgent, e.Device = "Mozilla/5.0", "0000000000"
			}
		}
		t.blame(moat.Account, e.Actor) // in whose name
		t.blame(moat.Device, e.Device)
		t.lie(p, e)
		if at += step; t.careful {
			at += moat.Time(between(t.r, -0.5, 0.9) * float64(step))
		}
	}
}
