package world

import "github.com/moat-platform/moat"

// takeovers are campaigns in which somebody else uses the account of one of the staff.
func takeovers() []campaign {
	return []campaign{{
		name: "takeover and export", days: 3, plan: takeover,
		doc: "An account is opened with a leaked or guessed password, looked around in, and emptied by exports.",
	}}
}

func takeover(t *thief) bool {
	p := t.partner(func(p *partner) bool { return p.kind != Logistics && len(p.people) >= 3 && p.worthwhile() })
	if p == nil {
		return false
	}
	q := t.person(p, t.day, clerk, operation, finance)
	if q == nil {
		return false
	}
	ip := t.hideout(p.country)
	device, agent := t.machine()
	if t.careful && yes(t.r, 0.4) {
		agent = q.browser.agent(t.day, q.lag) // known from the page that caught the password
	}
	guesses := 0
	if !t.careful && yes(t.r, 0.6) {
		guesses = within(t.r, 5, 140)
	}
	night := !t.careful || yes(t.r, 0.3)
	visits := 1 + t.r.IntN(2)
	for v := range visits {
		t.on(t.day+v, func(day int) {
			k := t.desk(q, day)
			t.blame(moat.Account, q.account)
			t.blame(moat.IP, ip)
			t.blame(moat.Device, device)
			k.ip, k.device, k.agent, k.session = ip, device, agent, hex(t.r.Uint64(), 24)
			at := k.from + moat.Time(t.r.Float64()*float64(k.to-k.from))
			if night {
				at = p.at(day, between(t.r, 0, 330))
			}
			for range guesses {
				k.login(at, "wrong password")
				at += moat.Time(spread(t.r, 4, 0.6) * float64(moat.Second))
			}
			guesses = 0
			k.login(at, "")
			at += moat.Time(spread(t.r, 200, 0.8) * float64(moat.Second))
			for range within(t.r, 0, 5) { // looks around
				if o := k.one(at); o != nil {
					t.takes(o)
					k.access(at, "view", whole, o)
					at += moat.Time(spread(t.r, 30, 0.7) * float64(moat.Second))
				}
			}
			t.empty(k, at, visits)
		})
	}
	return true
}

// empty exports what the desk can see: all at once, or in files as the victim makes them.
func (t *thief) empty(k *desk, at moat.Time, visits int) {
	size, most := within(t.r, 300, 1000), 6000
	if t.careful {
		size, most = within(t.r, 60, 300), within(t.r, 300, 1500)
	}
	orders := k.known(at, most/visits)
	for i := 0; i < len(orders); i += size {
		file := orders[i:min(len(orders), i+size)]
		k.access(at, "export", whole, file...)
		t.takes(file...)
		gap := 50.0
		if t.careful {
			gap = 700
		}
		at += moat.Time(spread(t.r, gap, 0.6) * float64(moat.Second))
	}
}
