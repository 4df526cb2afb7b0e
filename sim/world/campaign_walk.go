package world

import (
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
)

// walkers are campaigns that go through what can be guessed.
func walkers() []campaign {
	return []campaign{{
		name: "id enumeration", days: 3, plan: walk,
		doc: "A page that shows an order by its number, without asking whose it is, is called with one number after another.",
	}}
}

func walk(t *thief) bool {
	dense := yes(t.r, 0.8) // numbers that one shop gives follow each other closely; those of the platform are anybody's
	p, q := t.victim(func(p *partner) bool {
		counts := slices.ContainsFunc(p.shops, func(s *shop) bool { return s.last > 0 && s.system == p })
		return p.worthwhile() && (counts || !dense && p.volume > 60)
	}, clerk, operation, porter)
	if q == nil {
		return false
	}
	device, agent := t.machine()
	ip := t.hideout(p.country)
	gap, most, skip := spread(t.r, 2, 0.4), within(t.r, 400, 1500), 1
	if t.careful {
		gap, most, skip = spread(t.r, 40, 0.3), within(t.r, 150, 500), within(t.r, 1, 4)
	}
	t.on(q.shift(t.day), func(day int) {
		k := t.desk(q, day)
		t.blame(moat.Account, q.account)
		t.blame(moat.IP, ip)
		k.ip, k.device, k.agent = ip, device, agent
		if yes(t.r, 0.5) {
			k.device = ""
		}
		at := k.from + moat.Time(t.r.Float64()*float64(k.to-k.from)/2)
		if !t.careful && yes(t.r, 0.5) {
			at = p.at(day, between(t.r, 0, 300))
		}
		known := k.known(at, 3000)
		if len(known) == 0 {
			return
		}
		has := make(map[string]*order, len(known))
		for _, o := range known {
			has[o.id] = o
		}
		last := known[len(known)-1]
		for _, o := range known {
			if dense && o.shop.last > 0 {
				last = o
			}
		}
		number, _ := strconv.ParseUint(last.id, 10, 64)
		if yes(t.r, 0.7) {
			k.login(at, "")
			at += moat.Time(spread(t.r, 40, 0.6) * float64(moat.Second))
		}
		for range most {
			id := strconv.FormatUint(number, 10)
			o := has[id]
			exists := o != nil || last.shop.last > 0 && number/10_000_000 == last.shop.first/10_000_000 // older than what is kept here
			if o == nil {
				o = &order{id: id, shop: last.shop}
			} else {
				t.takes(o)
			}
			if e := k.access(at, "view", whole, o); !exists {
				e.Outcome, e.Reason, e.Fields, e.Shops = moat.Denied, "no such order", nil, nil
			}
			number -= uint64(1 + t.r.IntN(skip))
			at += moat.Time(spread(t.r, gap, 0.5) * float64(moat.Second))
		}
	})
	return true
}
