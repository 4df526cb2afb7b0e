package world

import (
	"slices"

	"github.com/moat-platform/moat"
)

// scrapers are campaigns in which a program reads what was made for people, or more of it than it should.
func scrapers() []campaign {
	return []campaign{{
		name: "screen scraping", days: 4, plan: scrape,
		doc: "A program turns the pages of order lists in somebody's session, his own or a stolen one, in the rhythm of a machine.",
	}, {
		name: "foreign objects", days: 3, plan: foreign,
		doc: "Orders of other shops are asked for, refused, and asked for elsewhere, until a page is found that does not ask whose they are.",
	}, {
		name: "whole shop by API", days: 4, plan: wholeShop,
		doc: "A client of the app's programming interface fetches all orders of a shop, page by page, as far back as they go.",
	}}
}

func scrape(t *thief) bool {
	p, q := t.victim(sells, clerk, operation, manager)
	if q == nil {
		return false
	}
	own := yes(t.r, 0.5)
	g := t.guise(p.country)
	pages, gap, jitter, size := within(t.r, 80, 600), spread(t.r, 3, 0.5), between(t.r, 0, 0.15), pick(t.r, []int{10, 20, 20, 50})
	if t.careful {
		pages, gap, jitter = within(t.r, 40, 150), spread(t.r, 45, 0.4), between(t.r, 0.15, 0.5)
	}
	nights := 1 + t.r.IntN(2)
	first := q.shift(t.day)
	for n := range nights {
		t.on(first+n, func(day int) {
			k := t.desk(q, day)
			if !own {
				k.ip, k.agent = g.ip, g.agent
				if yes(t.r, 0.5) {
					k.device = g.device
				}
				t.blame(moat.IP, g.ip)
			}
			t.blame(moat.Account, k.account)
			t.blame(moat.Device, k.device)
			at := t.moment(k)
			if own && yes(t.r, 0.7) {
				at = k.from + moat.Time(between(t.r, 0, 0.6)*float64(k.to-k.from))
			}
			if !t.careful && yes(t.r, 0.3) {
				e := k.event(at, moat.ClientSignal)
				e.Timezone, e.Language, e.Webdriver, e.Headless = p.country.timezone, p.country.language, true, yes(t.r, 0.5)
			}
			orders := newest(k.mine(), at, pages*size)
			for len(orders) > 0 {
				n := min(size, len(orders))
				page := orders[len(orders)-n:] // from the newest back
				k.unmask(at, page...)
				t.takes(page...)
				orders = orders[:len(orders)-n]
				at += moat.Time(gap * max(0.2, 1+jitter*t.r.NormFloat64()) * float64(moat.Second))
			}
		})
	}
	return true
}

// mine are the shops that the person may see.
func (k *desk) mine() []*shop {
	if len(k.q.shops) > 0 {
		return k.q.shops
	}
	return k.q.p.shops
}

func foreign(t *thief) bool {
	p, q := t.victim(func(p *partner) bool { return sells(p) && p.volume > 30 }, clerk, operation)
	if q == nil {
		return false
	}
	g, own := t.guise(p.country), yes(t.r, 0.4)
	probes, hits, gap := within(t.r, 15, 120), within(t.r, 100, 900), spread(t.r, 2, 0.5)
	if t.careful {
		probes, hits, gap = within(t.r, 3, 15), within(t.r, 60, 300), spread(t.r, 50, 0.4)
	}
	t.on(q.shift(t.day), func(day int) {
		k := t.desk(q, day)
		if !own {
			k.ip, k.device, k.agent = g.ip, g.device, g.agent
			t.blame(moat.IP, g.ip)
		}
		t.blame(moat.Account, k.account)
		t.blame(moat.Device, k.device)
		at := t.moment(k)
		if !own {
			k.login(at, "")
		}
		strange := t.foreigners(k, at)
		for n := 0; n < probes && len(strange) > 0; n++ {
			at += moat.Time(spread(t.r, gap, 0.5) * float64(moat.Second))
			e := k.access(at, "view", nil, pick(t.r, strange))
			e.Outcome, e.Reason, e.Shops = moat.Denied, pick(t.r, []string{"not your shop", "not your shop", "no such order"}), nil
		}
		operation := pick(t.r, []string{"print", "download", "view", "modify"}) // that nobody thought of
		for n := 0; n < hits && len(strange) > 0; n++ {
			at += moat.Time(spread(t.r, gap, 0.5) * float64(moat.Second))
			o := strange[t.r.IntN(len(strange))]
			e := k.access(at, operation, p.shown(operation), o)
			if yes(t.r, 0.1) {
				e.Outcome, e.Reason, e.Fields, e.Shops, e.Bytes, e.FileHash = moat.Denied, "not your shop", nil, nil, 0, ""
				continue
			}
			t.takes(o)
		}
	})
	return true
}

// foreigners are orders that the same system holds, but not for the one at the desk: of other shops of its partner's,
// or, where he may see all of these, of others.
func (t *thief) foreigners(k *desk, at moat.Time) []*order {
	var out []*order
	for _, s := range t.w.shops {
		mine := slices.Contains(k.mine(), s)
		if !mine && (s.system == k.q.p || len(k.q.shops) == 0 && s.seed%8 == k.q.seed%8) && len(out) < 3000 {
			out = append(out, until(s.recent, at, 300)...)
		}
	}
	return out
}

func wholeShop(t *thief) bool {
	p := t.partner(func(p *partner) bool { return p.kind != Logistics && p.worthwhile() && len(p.shops) > 0 })
	if p == nil {
		return false
	}
	a := p.apps[t.r.IntN(len(p.apps))]
	shops := slices.Clone(p.shops)
	slices.SortFunc(shops, func(a, b *shop) int { return int(b.rate - a.rate) })
	shops = shops[:1+t.r.IntN(min(2, len(shops)))]
	inside := yes(t.r, 0.5) || t.careful // a script on the app's own server
	ip, agent := t.hideout(p.country), pick(t.r, libraries)
	if inside {
		agent = a.library
	}
	page, gap, nights, method := pick(t.r, []int{20, 50, 100, 100}), spread(t.r, 1.5, 0.5), 1, pick(t.r, []string{"orders.list", "orders.list", "orders.search"})
	if t.careful {
		page, gap, nights, method = pick(t.r, []int{10, 20, 50}), spread(t.r, 90, 0.4), within(t.r, 2, 4), "orders.list"
	}
	for n := range nights {
		t.on(t.day+n, func(day int) {
			from := ip
			if inside {
				from = a.servers(day)[0]
			}
			c := t.caller(a, day, from)
			c.agent, c.method = agent, method
			t.blame(moat.App, a.id)
			t.blame(moat.IP, from)
			at := p.at(day, between(t.r, 0, 20*60))
			orders := newest(shops, at, 1<<20)
			orders = orders[len(orders)*n/nights : len(orders)*(n+1)/nights]
			for i := 0; i < len(orders); i += page {
				part := orders[i:min(len(orders), i+page)]
				c.pull(at, part...)
				t.takes(part...)
				if at += moat.Time(spread(t.r, gap, 0.3) * float64(moat.Second)); at > p.at(day, 24*60) {
					break
				}
			}
		})
	}
	return true
}
