package world

import "github.com/moat-platform/moat"

// takeovers are campaigns in which somebody else uses the account of one of the staff.
func takeovers() []campaign {
	return []campaign{{
		name: "takeover and export", days: 3, plan: takeover,
		doc: "An account is opened with a leaked or guessed password, looked around in, and emptied by exports.",
	}, {
		name: "takeover with recovery", days: 6, plan: recovery,
		doc: "Whoever got into an account first changes where its codes and letters go, waits, and comes back for the orders.",
	}, {
		name: "session theft", days: 2, plan: sessionTheft,
		doc: "The cookie of somebody who is at work is used from elsewhere at the same time, with no login of its own.",
	}, {
		name: "MFA fatigue", days: 2, plan: fatigue,
		doc: "With the password known, the second factor is asked for again and again until its owner gives in; then orders are exported.",
	}}
}

// guise is what a thief comes with.
type guise struct{ ip, device, agent string }

// guise returns an address, a device and an agent of the thief's.
func (t *thief) guise(near *country) guise {
	g := guise{ip: t.hideout(near)}
	g.device, g.agent = t.machine()
	return g
}

// desk returns q's desk of a day as it is when the thief sits there in his guise, with a session of his own.
func (g guise) desk(t *thief, q *person, day int) *desk {
	k := t.desk(q, day)
	k.ip, k.device, k.agent, k.session = g.ip, g.device, g.agent, hex(t.r.Uint64(), 24)
	return k
}

// blameAll notes account, address and device of a desk.
func (t *thief) blameAll(k *desk) {
	t.blame(moat.Account, k.account)
	t.blame(moat.IP, k.ip)
	t.blame(moat.Device, k.device)
}

// moment is when the thief comes: mostly at night, or, if he is careful, while the victim works.
func (t *thief) moment(k *desk) moat.Time {
	night := 0.6
	if t.careful {
		night = 0.2
	}
	if yes(t.r, night) {
		return k.q.p.at(k.day, between(t.r, 0, 330))
	}
	return k.from + moat.Time(t.r.Float64()*float64(k.to-k.from))
}

// browse looks at n single orders and returns when that is done.
func (t *thief) browse(k *desk, at moat.Time, n int) moat.Time {
	at += moat.Time(spread(t.r, 60, 0.8) * float64(moat.Second))
	for range n {
		if o := k.one(at); o != nil {
			t.takes(o)
			k.access(at, "view", whole, o)
			at += moat.Time(spread(t.r, 30, 0.7) * float64(moat.Second))
		}
	}
	return at
}

// empty exports what the desk can see: all at once, or in files as the victim makes them.
func (t *thief) empty(k *desk, at moat.Time, visits int) {
	size, most := within(t.r, 300, 1000), 6000
	if t.careful {
		size, most = within(t.r, 60, 300), within(t.r, 300, 1500)
	}
	orders := k.known(at, most/visits)
	operation := pick(t.r, []string{"export", "export", "export", "export_list", "download"})
	for i := 0; i < len(orders); i += size {
		file := orders[i:min(len(orders), i+size)]
		k.access(at, operation, whole, file...)
		t.takes(file...)
		gap := 50.0
		if t.careful {
			gap = 700
		}
		at += moat.Time(spread(t.r, gap, 0.6) * float64(moat.Second))
	}
}

// sells tells whether a partner's people see orders of shops and are enough for one to be picked.
func sells(p *partner) bool { return p.kind != Logistics && len(p.people) >= 3 && p.worthwhile() }

func takeover(t *thief) bool {
	p, q := t.victim(sells, clerk, operation, finance)
	if q == nil {
		return false
	}
	g := t.guise(p.country)
	if t.careful && yes(t.r, 0.4) {
		g.agent = q.browser.agent(t.day, q.lag) // known from the page that caught the password
	}
	guesses := 0
	if !t.careful && yes(t.r, 0.6) {
		guesses = within(t.r, 5, 140)
	}
	visits := 1 + t.r.IntN(2)
	for v := range visits {
		t.on(t.day+v, func(day int) {
			k := g.desk(t, q, day)
			t.blameAll(k)
			at := t.moment(k)
			for range guesses {
				k.login(at, "wrong password")
				at += moat.Time(spread(t.r, 4, 0.6) * float64(moat.Second))
			}
			guesses = 0
			k.login(at, "")
			t.empty(k, t.browse(k, at, within(t.r, 0, 5)), visits)
		})
	}
	return true
}

func recovery(t *thief) bool {
	p, q := t.victim(sells, clerk, operation, finance, manager)
	if q == nil {
		return false
	}
	g := t.guise(p.country)
	changes := []string{pick(t.r, []string{"phone", "email"})}
	if yes(t.r, 0.5) {
		changes = append(changes, "mfa")
	}
	var last moat.Time
	t.on(t.day, func(day int) {
		k := g.desk(t, q, day)
		t.blameAll(k)
		at := t.moment(k)
		k.login(at, "")
		for _, what := range changes {
			at += moat.Time(spread(t.r, 100, 0.7) * float64(moat.Second))
			k.change(at, k.account, what, "", "")
		}
		last = at
		if !t.careful && yes(t.r, 0.4) {
			t.empty(k, t.browse(k, at, 2), 2)
		}
	})
	wait := within(t.r, 0, 1)
	if t.careful {
		wait = within(t.r, 1, 4)
	}
	t.on(t.day+wait, func(day int) {
		k := g.desk(t, q, day)
		at := t.moment(k)
		if wait == 0 {
			at = max(at, last+moat.Time(between(t.r, 10, 90)*float64(moat.Minute)))
		}
		k.login(at, "")
		if p.second { // the codes come to the thief
			k.challenge(at+moat.Time(spread(t.r, 12, 0.4)*float64(moat.Second)), moat.Success)
		}
		t.empty(k, t.browse(k, at, within(t.r, 0, 4)), 1)
	})
	return true
}

func sessionTheft(t *thief) bool {
	p, q := t.victim(sells, clerk, operation, finance, manager)
	if q == nil {
		return false
	}
	g := t.guise(p.country)
	copied := yes(t.r, 0.4) || t.careful // the device's id is a cookie, too
	t.on(q.shift(t.day), func(day int) {
		k := t.desk(q, day)
		k.ip = g.ip
		t.blame(moat.Account, k.account)
		t.blame(moat.IP, k.ip)
		if !copied {
			k.device = g.device
			t.blame(moat.Device, k.device)
		}
		if !t.careful || yes(t.r, 0.3) {
			k.agent = g.agent
		}
		at := k.from + moat.Time(between(t.r, 0.1, 0.8)*float64(k.to-k.from))
		if yes(t.r, 0.5) {
			t.empty(k, t.browse(k, at, within(t.r, 0, 6)), 1)
			return
		}
		pages, gap := within(t.r, 15, 60), 12.0 // opens lists and copies them
		if t.careful {
			pages, gap = within(t.r, 6, 20), 240
		}
		for range pages {
			if list := k.known(at, within(t.r, 20, 50)); len(list) > 0 && at < k.to {
				k.unmask(at, list...)
				t.takes(list...)
			}
			at += moat.Time(spread(t.r, gap, 0.6) * float64(moat.Second))
		}
	})
	return true
}

func fatigue(t *thief) bool {
	p, q := t.victim(func(p *partner) bool { return p.second && sells(p) }, clerk, operation, finance, manager)
	if q == nil {
		return false
	}
	g := t.guise(p.country)
	denials, gap := within(t.r, 6, 40), 25.0
	if t.careful { // an excuse by telephone does more than a hundred messages
		denials, gap = within(t.r, 2, 5), 400
	}
	t.on(q.shift(t.day), func(day int) {
		k := g.desk(t, q, day)
		t.blameAll(k)
		at := t.moment(k)
		if t.careful {
			at = k.from + moat.Time(between(t.r, 0, 1.5)*float64(moat.Hour)) // among those that he expects
		}
		for n := range denials {
			if n == 0 || yes(t.r, 0.3) {
				k.login(at, "")
			}
			at += moat.Time(spread(t.r, gap, 0.6) * float64(moat.Second))
			k.challenge(at, pick(t.r, []moat.Outcome{moat.Denied, moat.Failure}))
		}
		at += moat.Time(spread(t.r, gap, 0.6) * float64(moat.Second))
		k.challenge(at, moat.Success)
		t.empty(k, t.browse(k, at, within(t.r, 0, 3)), 1)
	})
	return true
}
