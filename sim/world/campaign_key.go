package world

import "github.com/moat-platform/moat"

// keys are campaigns in which the key of an app is used by somebody else.
func keys() []campaign {
	return []campaign{{
		name: "stolen app key", days: 4, plan: stolenKey,
		doc: "The key of an app, left in a public repository or on a stolen server, fetches orders from another address.",
	}}
}

func stolenKey(t *thief) bool {
	p := t.partner(func(p *partner) bool { return p.kind != Logistics && p.worthwhile() })
	if p == nil {
		return false
	}
	a, ip := p.apps[0], t.hideout(p.country)
	agent := pick(t.r, libraries)
	if t.careful {
		agent = a.library
		if yes(t.r, 0.5) {
			ip = address(t.r, p.country.cloud)
		}
	}
	page, gap, most := 100, 3.0, 6000
	if t.careful {
		page, gap, most = within(t.r, 20, 50), 60*a.every, within(t.r, 400, 1500)
	}
	nights := 1 + t.r.IntN(3)
	for n := range nights {
		t.on(t.day+n, func(day int) {
			c := t.caller(a, day, ip)
			c.agent = agent
			t.blame(moat.App, a.id)
			t.blame(moat.IP, ip)
			at := p.at(day, between(t.r, 0, 24*60))
			orders := newest(p.shops, at, most/nights)
			for i := 0; i < len(orders); i += page {
				part := orders[i:min(len(orders), i+page)]
				c.pull(at, part...)
				t.takes(part...)
				if yes(t.r, 0.6) {
					c.decrypt(at+moat.Time(spread(t.r, 2, 0.5)*float64(moat.Second)), "waybill", part...)
				}
				at += moat.Time(spread(t.r, gap, 0.5) * float64(moat.Second))
			}
		})
	}
	return true
}
