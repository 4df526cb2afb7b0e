package world

import (
	"slices"

	"github.com/moat-platform/moat"
)

// comers are campaigns of people who come in order to steal, or steal because they go, or together.
func comers() []campaign {
	return []campaign{{
		name: "hired to steal", days: 8, plan: hiredToSteal,
		doc: "Somebody takes a job in order to get at orders, works for some days like a beginner, and copies in bulk.",
	}, {
		name: "departing employee", slow: true, days: 6, plan: departing,
		doc: "One who has given notice takes along, in the last days, what was sold to whom, also from shops that others look after.",
	}, {
		name: "collusion", slow: true, days: 8, plan: collusion,
		doc: "Two of the staff share what they take, so that neither of them alone stands out.",
	}}
}

// copies takes orders in the way of somebody at his own desk: a few files, or lists on the screen, or page after page.
func (t *thief) copies(k *desk, orders []*order, bulk bool) {
	size, gap, operation := within(k.r, 15, 50), 20.0, ""
	if bulk {
		size, gap, operation = within(k.r, 80, 1000), 150, pick(k.r, []string{"export", "export", "export_list", "download"})
	}
	list := k.moments(1)
	if len(list) == 0 {
		return
	}
	for at := list[0]; len(orders) > 0; at += k.pause(gap) {
		n := min(len(orders), size)
		part := slices.DeleteFunc(slices.Clone(orders[:n]), func(o *order) bool { return o.ready == 0 || o.ready > at })
		if orders = orders[n:]; len(part) > 0 {
			if operation == "" {
				k.unmask(at, part...)
			} else {
				k.access(at, operation, whole, part...)
			}
			t.takes(part...)
		}
	}
}

func hiredToSteal(t *thief) bool {
	p := t.partner(func(p *partner) bool { return len(p.people) >= 4 && p.worthwhile() })
	if p == nil {
		return false
	}
	role := pick(t.r, []string{clerk, clerk, operation, finance})
	if p.kind == Logistics {
		role = pick(t.r, []string{clerk, porter})
		if p.stores {
			role = pick(t.r, []string{clerk, packer, lead})
		}
	}
	q := t.hire(p, role, t.day)
	q.hired = q.shift(t.day)
	from, days, many, bulk := q.hired+within(t.r, 0, 3), 1+t.r.IntN(2), within(t.r, 500, 3000), yes(t.r, 0.6)
	if t.careful { // settles in, and takes what a diligent beginner may look at
		from, days, many = q.hired+within(t.r, 2, 4), within(t.r, 3, 6), within(t.r, 200, 700)
	}
	t.blame(moat.Account, q.account)
	t.beside(q, func(k *desk) {
		if k.day < from || k.day >= from+7 || days == 0 {
			return
		}
		days--
		t.blame(moat.Device, k.device)
		orders := k.known(k.to, many)
		if t.careful {
			skip := k.r.IntN(len(orders)/2 + 1)
			orders = orders[skip : skip+min(len(orders)-skip, many/4)]
		}
		t.copies(k, orders, bulk)
	})
	return true
}

func departing(t *thief) bool {
	var leaver *person
	fits := func(q *person) bool {
		return q.left > t.day && q.left <= t.day+7 && q.hired < t.day-5 && slices.Contains([]string{clerk, operation, finance, manager, lead}, q.job(q.left-1)) && q.away >= q.left
	}
	p := t.partner(func(p *partner) bool { return p.worthwhile() && slices.ContainsFunc(p.people, fits) })
	if p != nil {
		leaver = p.people[slices.IndexFunc(p.people, fits)]
	} else if p = t.partner(sells); p != nil { // nobody goes just then: one goes who was there without being counted
		leaver = t.hire(p, pick(t.r, []string{clerk, operation, manager}), -1)
		leaver.left = t.day + within(t.r, 3, 6)
	} else {
		return false
	}
	many, bulk := within(t.r, 800, 5000), yes(t.r, 0.7)
	if t.careful {
		many = within(t.r, 150, 500)
	}
	t.blame(moat.Account, leaver.account)
	t.beside(leaver, func(k *desk) {
		left := leaver.left - k.day
		if k.day < t.day || left > 5 || !t.careful && !yes(k.r, 0.5) && left > 2 {
			return
		}
		t.blame(moat.Device, k.device)
		orders := k.known(k.to, many)
		if p.kind != Logistics && yes(k.r, 0.7) { // of all, not only those that he looks after
			orders = newest(p.shops, k.to, many)
		}
		if t.careful && len(orders) > 0 {
			orders = orders[k.r.IntN(len(orders)):]
		}
		t.copies(k, orders, bulk)
	})
	return true
}

func collusion(t *thief) bool {
	p := t.partner(func(p *partner) bool { return len(p.people) >= 5 && p.worthwhile() })
	if p == nil {
		return false
	}
	a, b := t.person(p, t.day, clerk, operation, porter, lead, manager), t.person(p, t.day, clerk, operation, porter, lead, manager)
	if a == nil || a.account == b.account {
		return false
	}
	days, most, gap := within(t.r, 5, 12), within(t.r, 60, 180), spread(t.r, 15, 0.5)
	if t.careful {
		days, most, gap = within(t.r, 8, 16), within(t.r, 25, 60), spread(t.r, 90, 0.5)
	}
	manner := weighted(t.r, 2, 1, 1) // both as themselves, both at one computer, in turn
	for i, q := range []*person{a, b} {
		t.blame(moat.Account, q.account)
		t.beside(q, func(k *desk) {
			if k.day < t.day || k.day >= t.day+days || manner == 2 && k.day%2 != i {
				return
			}
			if manner == 1 {
				k.device, k.ip, k.agent = a.desk(k.day).device, a.desk(k.day).ip, a.desk(k.day).agent
				k.login(k.to-moat.Time(between(k.r, 1, 2)*float64(moat.Hour)), "")
			}
			t.blame(moat.Device, k.device)
			for _, at := range k.moments(within(k.r, 2, 5)) {
				for _, o := range k.halves(at, most/3, i) {
					k.access(at, "view", whole, o)
					t.takes(o)
					at += moat.Time(spread(k.r, gap, 0.5) * float64(moat.Second))
				}
			}
		})
	}
	return true
}

// halves returns every second one of the last orders, those of the first or of the second of two.
func (k *desk) halves(at moat.Time, n, which int) (out []*order) {
	for _, o := range k.known(at, 2*n) {
		if int(word(o.id)%2) == which {
			out = append(out, o)
		}
	}
	return out
}
