package world

import (
	"slices"

	"github.com/moat-platform/moat"
)

// insiders are campaigns of people who are on the staff.
func insiders() []campaign {
	return []campaign{{
		name: "bribed clerk", slow: true, days: 12, plan: bribedClerk,
		doc: "One of the staff looks at some more orders every working day than the work needs, and sells what he sees.",
	}, {
		name: "bribed clerk, at once", days: 3, plan: bribedOnce,
		doc: "One of the staff, paid for a lot at once, goes through orders as fast as the page shows them, on one day or two.",
	}}
}

func bribedClerk(t *thief) bool {
	_, q := t.victim(func(p *partner) bool { return len(p.people) >= 4 && p.worthwhile() }, clerk, operation, porter, lead)
	if q == nil {
		return false
	}
	more := between(t.r, 40, 110)
	if t.careful {
		more = between(t.r, 15, 40)
	}
	days := within(t.r, 8, 21)
	screens := yes(t.r, 0.4) // photographs lists instead of single orders
	t.blame(moat.Account, q.account)
	t.beside(q, func(k *desk) {
		if k.day < t.day || k.day >= t.day+days {
			return
		}
		t.blame(moat.Device, k.device)
		n := count(k.r, more)
		if screens {
			n /= 8
		}
		for _, at := range k.moments(n) {
			if screens {
				if list := k.known(at, within(k.r, 10, 30)); len(list) > 0 {
					k.unmask(at, list...)
					t.takes(list...)
				}
			} else if o := k.one(at); o != nil {
				k.access(at, "view", whole, o)
				t.takes(o)
			}
		}
	})
	return true
}

func bribedOnce(t *thief) bool {
	p, q := t.victim(func(p *partner) bool { return len(p.people) >= 4 && p.worthwhile() }, clerk, operation, porter, lead, packer)
	if q == nil {
		return false
	}
	first := q.shift(t.day)
	days, many, gap := 1+t.r.IntN(2), within(t.r, 250, 900), spread(t.r, 6, 0.4)
	if t.careful { // some at a time, between the work
		days, many, gap = within(t.r, 2, 3), within(t.r, 90, 220), spread(t.r, 20, 0.4)
	}
	stretch := many // in one go
	if t.careful {
		stretch = within(t.r, 8, 25)
	}
	operation := pick(t.r, []string{"view", "view", "view", "print", "decrypt"})
	t.blame(moat.Account, q.account)
	t.beside(q, func(k *desk) {
		if k.day < first || k.day >= first+days {
			return
		}
		t.blame(moat.Device, k.device)
		orders := slices.Clone(k.known(k.to, 3*many/days+200))
		k.r.Shuffle(len(orders)/4, func(i, j int) { orders[i], orders[j] = orders[j], orders[i] }) // the newest as they come
		orders = orders[max(0, len(orders)-many/days):]
		for len(orders) > 0 {
			for _, at := range k.moments(1) {
				for n := 0; n < stretch && len(orders) > 0; n++ {
					o := orders[0]
					if orders = orders[1:]; o.ready < at {
						k.access(at, operation, p.shown(operation), o)
						t.takes(o)
					}
					at += moat.Time(spread(k.r, gap, 0.5) * float64(moat.Second))
				}
			}
		}
	})
	return true
}
