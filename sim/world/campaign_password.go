package world

import (
	"slices"

	"github.com/moat-platform/moat"
)

// guessers are campaigns that begin with passwords tried on many accounts.
func guessers() []campaign {
	return []campaign{{
		name: "credential stuffing", days: 3, plan: stuffing,
		doc: "Passwords that leaked elsewhere are tried on many accounts from few addresses; where one fits, orders are exported.",
	}, {
		name: "password spraying", slow: true, days: 6, plan: spraying,
		doc: "One common password is tried on account after account, each from another address, slowly enough that none is locked; where it fits, orders are exported.",
	}}
}

// crowded tells whether a partner has many accounts that look after orders.
func crowded(p *partner) bool { return p.kind != Logistics && len(p.people) >= 8 && p.worthwhile() }

// accounts returns the different people of a partner with an account on a day, in a random order.
func (t *thief) accounts(p *partner, day int) []*person {
	var out []*person
	for _, i := range t.r.Perm(len(p.people)) {
		q := p.people[i]
		if q.hired <= day && q.left > day && !slices.ContainsFunc(out, func(x *person) bool { return x.account == q.account }) {
			out = append(out, q)
		}
	}
	return out
}

// prey is what a guessed password must open to be worth it: an account that sees orders.
func prey(q *person, day int) bool {
	return slices.Contains([]string{clerk, operation, finance, manager}, q.job(day)) && q.left > day+4
}

// stranger tries an account that is on the list but not here any more, or never was.
func (k *desk) stranger(at moat.Time) {
	e := k.login(at, "no such account")
	e.Actor, e.Role, e.Outlet = pick(k.r, firstNames)+"."+pick(k.r, lastNames), "", ""
}

func stuffing(t *thief) bool {
	p := t.partner(crowded)
	if p == nil {
		return false
	}
	sources, gap, unknown, hits := within(t.r, 1, 4), spread(t.r, 3, 0.6), between(t.r, 0.2, 0.7), within(t.r, 1, 3)
	if t.careful { // fewer from each, at the pace of people, among their logins
		sources, gap, unknown = within(t.r, 5, 12), spread(t.r, 150, 0.4), between(t.r, 0, 0.15)
	}
	from := make([]guise, sources)
	for i := range from {
		from[i] = t.guise(p.country)
		t.blame(moat.IP, from[i].ip)
	}
	t.on(t.day, func(day int) {
		list := t.accounts(p, day)
		at := t.moment(t.desk(list[0], day))
		for i, q := range list[:min(len(list), within(t.r, 20, 120))] {
			k := from[i%sources].desk(t, q, day)
			if t.careful {
				k.device = "" // a new one each time, with nothing in it
			}
			for yes(t.r, unknown) {
				k.stranger(at)
				at += moat.Time(spread(t.r, gap, 0.5) * float64(moat.Second))
			}
			switch {
			case hits > 0 && prey(q, day) && yes(t.r, 0.3+0.7*float64(i)/float64(len(list))):
				hits--
				k.login(at, "")
				t.harvest(q, from[i%sources], day+t.r.IntN(2), at)
			default:
				k.login(at, "wrong password")
			}
			at += moat.Time(spread(t.r, gap, 0.5) * float64(moat.Second))
		}
	})
	return true
}

// harvest empties an account whose password was found, on the same day or a later one.
func (t *thief) harvest(q *person, g guise, day int, found moat.Time) {
	come := func(day int, at moat.Time) {
		k := g.desk(t, q, day)
		t.blame(moat.Account, q.account)
		t.blame(moat.Device, k.device)
		k.login(at, "")
		t.empty(k, t.browse(k, at, within(t.r, 0, 4)), 1)
	}
	if day == t.w.day {
		come(day, found+moat.Time(spread(t.r, 900, 1)*float64(moat.Second)))
		return
	}
	t.on(day, func(day int) { come(day, t.moment(t.desk(q, day))) })
}

func spraying(t *thief) bool {
	p := t.partner(crowded)
	if p == nil {
		return false
	}
	rounds, gap := within(t.r, 1, 3), spread(t.r, 40, 0.6)
	if t.careful {
		rounds, gap = within(t.r, 2, 4), spread(t.r, 700, 0.4)
	}
	_, agent := t.machine()
	hits := within(t.r, 1, 2)
	for n := range rounds {
		t.on(t.day+n, func(day int) {
			list := t.accounts(p, day)
			at := t.moment(t.desk(list[0], day))
			for i, q := range list[:min(len(list), 150)] {
				near := p.country
				if !t.careful && yes(t.r, 0.6) {
					near = pick(t.r, abroad)
				}
				g := guise{ip: address(t.r, near.home), agent: agent}
				if yes(t.r, 0.6) { // or none
					g.device = hex(t.r.Uint64(), 12)
				}
				if t.careful {
					g.agent = anyBrowser(t.r, false).agent(day, t.r.IntN(60))
				}
				k := g.desk(t, q, day)
				t.blame(moat.IP, g.ip)
				late := n == rounds-1 && i*2 >= len(list)
				if late && hits > 0 && prey(q, day) {
					hits--
					k.login(at, "")
					own := t.guise(p.country)
					t.blame(moat.IP, own.ip)
					t.harvest(q, own, day+within(t.r, 0, 2), at)
				} else {
					k.login(at, "wrong password")
				}
				at += moat.Time(spread(t.r, gap, 0.5) * float64(moat.Second))
			}
		})
	}
	return true
}
