package world

import "github.com/moat-platform/moat"

// drips are campaigns that take a little at a time, from where much passes.
func drips() []campaign {
	return []campaign{{
		name: "outlet leak", slow: true, days: 10, plan: outletLeak,
		doc: "The account of a courier's outlet looks up parcels that are not its own, and has their telephone numbers shown.",
	}, {
		name: "Trojan at the packing table", slow: true, days: 7, plan: trojan,
		doc: "A program on a packer's computer reads order lists in the background, in his session and from his device.",
	}, {
		name: "low and slow", slow: true, days: 10, plan: lowAndSlow,
		doc: "From the same few devices and addresses accounts of many partners are used, for some orders each.",
	}}
}

func outletLeak(t *thief) bool {
	_, q := t.victim(func(p *partner) bool { return p.kind == Logistics && !p.stores && p.worthwhile() }, porter)
	if q == nil {
		return false
	}
	more, days, shown := between(t.r, 50, 150), within(t.r, 7, 18), between(t.r, 0.5, 1)
	if t.careful {
		more, days, shown = between(t.r, 12, 35), within(t.r, 10, 25), between(t.r, 0.1, 0.4)
	}
	t.blame(moat.Account, q.account)
	t.blame(moat.Outlet, q.outlet)
	t.beside(q, func(k *desk) {
		if k.day < t.day || k.day >= t.day+days {
			return
		}
		t.blame(moat.Device, k.device)
		for _, at := range k.moments(count(k.r, more)) {
			o := k.one(at)
			if o == nil {
				continue
			}
			k.access(at, "view", label, o)
			if yes(k.r, shown) {
				k.decrypt(at+k.pause(5), pickPurpose(o), o)
			}
			t.takes(o)
		}
	})
	return true
}

func trojan(t *thief) bool {
	p, q := t.victim(func(p *partner) bool {
		return (p.stores || p.kind != Logistics) && p.worthwhile() && len(p.people) >= 3
	}, packer, operation, lead)
	if q == nil {
		return false
	}
	days, every, jitter, size := within(t.r, 5, 14), between(t.r, 3, 15), between(t.r, 0, 0.1), within(t.r, 20, 60)
	if t.careful {
		every, jitter, size = between(t.r, 20, 60), between(t.r, 0.2, 0.6), within(t.r, 8, 25)
	}
	longer := !t.careful && yes(t.r, 0.5) // the computer is not switched off in the evening
	told := yes(t.r, 0.4)
	t.blame(moat.Account, q.account)
	t.beside(q, func(k *desk) {
		if k.day < t.day || k.day >= t.day+days {
			return
		}
		t.blame(moat.Device, k.device)
		end := k.to
		if longer {
			end += moat.Time(between(k.r, 1, 5) * float64(moat.Hour))
		}
		if told && yes(k.r, 0.3) && k.device != "" {
			e := k.event(k.from+k.pause(300), moat.ClientSignal)
			e.Timezone, e.Language, e.Tampered = p.country.timezone, p.country.language, yes(k.r, 0.5)
			e.Script = "https://cdn." + wordsA[p.seed%uint64(len(wordsA))] + "-update.example/c.js"
		}
		for at := k.from + moat.Time(k.r.Float64()*every*float64(moat.Minute)); at < end; at += moat.Time(every * max(0.2, 1+jitter*k.r.NormFloat64()) * float64(moat.Minute)) {
			if list := k.known(at, size); len(list) > 0 {
				k.unmask(at, list...)
				t.takes(list...)
			}
		}
	})
	return true
}

func lowAndSlow(t *thief) bool {
	days := within(t.r, 7, 20)
	fits := func(p *partner) bool { return sells(p) && t.person(p, t.day, clerk, operation, manager) != nil }
	p := t.partner(fits)
	if p == nil {
		return false
	}
	victims := []*person{t.person(p, t.day, clerk, operation, manager)}
	for range within(t.r, 3, 9) {
		if p = t.another(fits); p != nil {
			victims = append(victims, t.person(p, t.day, clerk, operation, manager))
		}
	}
	lairs := make([]guise, within(t.r, 1, 3))
	for i := range lairs {
		lairs[i] = t.guise(britain)
	}
	few, often := between(t.r, 6, 15), between(t.r, 0.5, 0.9)
	if t.careful {
		few, often = between(t.r, 2, 6), between(t.r, 0.3, 0.6)
	}
	t.daily(t.day, t.day+days, func(day int) {
		for _, q := range victims {
			if !q.works(day) || !yes(t.r, often) || q.p.asleep(day) {
				continue
			}
			g := pick(t.r, lairs)
			if t.careful && yes(t.r, 0.5) { // another way out, but the same machine
				g.ip = address(t.r, q.p.country.home)
			}
			k := g.desk(t, q, day)
			t.blameAll(k)
			at := t.moment(k)
			k.login(at, "")
			t.browse(k, at, 1+count(t.r, few))
		}
	})
	return true
}
