package world

import "github.com/moat-platform/moat"

// insiders are campaigns of people who are on the staff.
func insiders() []campaign {
	return []campaign{{
		name: "bribed clerk", slow: true, days: 12, plan: bribedClerk,
		doc: "One of the staff looks at some more orders every working day than the work needs, and sells what he sees.",
	}}
}

func bribedClerk(t *thief) bool {
	p := t.partner(func(p *partner) bool { return len(p.people) >= 4 && p.worthwhile() })
	if p == nil {
		return false
	}
	q := t.person(p, t.day, clerk, operation, porter, lead)
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
					k.access(at, "view_list", whole, list...).Encrypted = false
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
