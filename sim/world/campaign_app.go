package world

import (
	"slices"
	"strings"

	"github.com/moat-platform/moat"
)

// overreaches are campaigns in which an app does what it was not made for.
func overreaches() []campaign {
	return []campaign{{
		name: "over-granted scope", days: 5, plan: overgranted,
		doc: "An app that may do more than it needs begins to use it, or is granted more first, and reads what it never read.",
	}, {
		name: "changed webhook", days: 6, plan: webhook,
		doc: "Where an app pushes new orders to is changed to another system, which gets them from then on.",
	}, {
		name: "rogue destination", slow: true, days: 8, plan: rogue,
		doc: "An app quietly hands some of the orders that it takes in to one more system.",
	}}
}

// grants are what an app may be allowed and what it can call then.
var grants = []struct{ scope, method string }{{"refunds.read", "refunds.list"}, {"buyers.read", "buyers.get"}, {"notes.read", "orders.notes"}, {"tracks.read", "logistics.trace"}, {"ratings.read", "ratings.list"}, {"orders.export", "orders.export"}}

// grant is the change by which an administrator gives an app one more scope.
func (k *desk) grant(at moat.Time, a *app, scope string) *moat.Event {
	before := strings.Join(a.scopes, " ")
	return k.change(at, a.id, "scope", before, before+" "+scope)
}

func overgranted(t *thief) bool {
	p := t.partner(func(p *partner) bool { return p.kind != Logistics && p.worthwhile() })
	if p == nil {
		return false
	}
	a, g := p.apps[t.r.IntN(len(p.apps))], pick(t.r, grants)
	granted := yes(t.r, 0.5)
	q := t.person(p, t.day, admin, manager)
	from := t.hideout(p.country)
	inside := t.careful || yes(t.r, 0.6) // it is the app itself, or what its maker put into it
	days, many, page, gap := within(t.r, 1, 3), within(t.r, 1000, 5000), 100, 2.0
	if t.careful {
		days, many, page, gap = within(t.r, 3, 8), within(t.r, 150, 500), within(t.r, 10, 50), 60*a.every
	}
	for n := range days {
		t.on(t.day+n, func(day int) {
			ip := from
			if inside {
				ip = a.servers(day)[0]
			}
			at := p.at(day, between(t.r, 0, 20*60))
			if n == 0 && granted && q != nil {
				k := t.desk(q, day)
				if !inside {
					k.ip = from
				}
				at = k.from + moat.Time(between(t.r, 0.05, 0.9)*float64(k.to-k.from))
				k.grant(at, a, g.scope)
				t.blame(moat.Account, k.account)
				at += moat.Time(spread(t.r, 1200, 1) * float64(moat.Second))
			}
			c := t.caller(a, day, ip)
			c.method = g.method
			t.blame(moat.App, a.id)
			if !inside {
				t.blame(moat.IP, ip)
			}
			orders := newest(p.shops, at, many)
			for i := 0; i < len(orders); i += page {
				part := orders[i:min(len(orders), i+page)]
				c.pull(at, part...)
				t.takes(part...)
				at += moat.Time(spread(t.r, gap, 0.4) * float64(moat.Second))
			}
		})
	}
	return true
}

// sink is a system of the thief's that takes orders: any, or one with a name like those that orders go to anyway.
func (t *thief) sink(p *partner, a *app) (url, kind string) {
	if t.careful && len(a.sends) > 0 && yes(t.r, 0.7) {
		like := pick(t.r, a.sends)
		return strings.Replace(like.to, ".example", pick(t.r, []string{"-cdn", "-api", "-eu", "2"})+".example", 1), like.kind
	}
	host := pick(t.r, wordsA) + pick(t.r, []string{"-sync", "-hook", "-relay", "data", "-erp"})
	return "https://" + pick(t.r, []string{"api.", "in.", "hook.", ""}) + host + ".example/" + pick(t.r, []string{"orders", "v1/push", "notify", "in"}), pick(t.r, []string{"other", "erp", "isv"})
}

// siphon hands a share of what an app takes in to another system, for some days.
func (t *thief) siphon(a *app, from, to int, share float64, url, kind string) {
	delay := spread(t.r, 8, 1)
	t.tap(a, func(day int, at moat.Time, orders []*order) {
		if day < from || day >= to {
			return
		}
		r := chance(a.p.seed, "siphon "+t.Name, int(at/moat.Second))
		some := slices.DeleteFunc(slices.Clone(orders), func(*order) bool { return !yes(r, share) })
		if len(some) == 0 {
			return
		}
		t.blame(moat.App, a.id)
		t.blame(moat.Partner, a.p.id) // whose orders go where they should not
		t.caller(a, day, a.servers(day)[0]).transmit(at+moat.Time(delay*between(r, 0.5, 2)*float64(moat.Second)), url, kind, passed(kind), some...)
		t.takes(some...)
	})
}

func webhook(t *thief) bool {
	p, q := t.victim(pushes, admin, manager)
	if q == nil {
		return false
	}
	a, g, own := p.apps[0], t.guise(p.country), t.careful && yes(t.r, 0.5)
	url, kind := t.sink(p, a)
	before := ""
	if len(a.sends) > 0 {
		before = pick(t.r, a.sends).to
	}
	share := 1.0
	if t.careful {
		share = between(t.r, 0.4, 1)
	}
	start := q.shift(t.day)
	t.on(start, func(day int) {
		k := t.desk(q, day)
		if !own {
			k = g.desk(t, q, day)
			t.blame(moat.IP, k.ip)
			t.blame(moat.Device, k.device)
		}
		t.blame(moat.Account, k.account)
		at := t.moment(k)
		if !own {
			k.login(at, "")
			at += moat.Time(spread(t.r, 150, 0.8) * float64(moat.Second))
		}
		k.change(at, a.id, "webhook", before, url)
	})
	t.siphon(a, start+1, start+1+within(t.r, 2, 10), share, url, kind)
	return true
}

// pushes tells whether an app of the partner takes orders in and hands them on.
func pushes(p *partner) bool {
	return p.kind != Logistics && p.worthwhile() && slices.ContainsFunc(p.shops, func(s *shop) bool { return s.system == p })
}

func rogue(t *thief) bool {
	p := t.partner(pushes)
	if p == nil {
		return false
	}
	a := p.apps[0]
	url, kind := t.sink(p, a)
	share := between(t.r, 0.5, 1)
	if t.careful {
		share = between(t.r, 0.1, 0.4)
	}
	t.siphon(a, t.day, t.day+within(t.r, 6, 25), share, url, kind)
	return true
}
