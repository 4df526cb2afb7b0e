package world

import (
	"math/rand/v2"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/truth"
)

// campaign is one way to steal. Each stands in a function of its own, or a few alike in one file,
// and is listed in campaigns.
//
// A campaign has one duty: plan. It is called once, before the first day, with a thief who has
// chance (t.r), a day to begin on (t.day) and a manner (t.careful). It chooses victims with
// [thief.partner] and [thief.person], notes who is to blame with [thief.blame], arranges what happens
// with [thief.on], [thief.daily], [thief.beside] or [thief.tap], and returns false if this world has no
// victim for it. Nothing else is kept of it.
//
// On the days themselves a thief acts through the same three roads as honest people:
//
//   - a [desk] (t.desk: the victim's hours, address, device, session of that day, to be changed at will): logins, orders, account changes;
//   - a [caller] (t.caller: an app's key): calls, pulls, decryption, hand-overs to other systems;
//   - a [shell] (t.shell: a user on a server): logins, processes, files, connections, statements;
//
// and t.visit asks its web servers. t.hire makes him one of the staff; t.another has him steal from more partners.
//
// Whatever goes over a road that the thief made is recorded as his act. The event that a method returns may
// still be changed until the day is over. What he takes is sold: customers complain, planted orders are
// touched (t.resale says how much of it). For an event that no method makes, use [thief.does]; for a report of
// what never happened, [thief.lie]. What a partner hides its veil tells: it hides what is reported, not what is done.
//
// A campaign may not look like itself: draw whatever may vary (hour, pace, amount, tools, order
// of steps) from t.r, and take addresses, devices and agents from the same sources as honest people where a real thief
// would. Honest people's chance is their own: a thief never changes what they do.
type campaign struct {
	name string // as in Theft.Name and Config.Only
	doc  string // a sentence
	slow bool   // a drip of days, not a burst of hours
	days int    // how many days it may take from first to last act
	plan func(t *thief) bool
}

// campaigns lists the ways to steal.
func campaigns() []campaign {
	return slices.Concat(takeovers(), guessers(), insiders(), comers(), scrapers(), overreaches(), intruders(), drips(), liars(), keys(), walkers())
}

// thief is a theft in the making.
type thief struct {
	truth.Theft
	w       *World
	r       *rand.Rand
	day     int     // of the first act
	careful bool    // imitates, takes less at a time, waits
	resale  float64 // share of what he takes that ends in complaints
	acts    map[int][]func(day int)
	every   []func(day int)
	loot    []*order             // to be sold
	lies    map[*moat.Event]bool // what was reported but never happened
}

// conspire plans the thefts.
func (w *World) conspire(list []campaign) {
	n := w.cfg.Thefts
	if n == 0 {
		n = min(200, max(5, w.cfg.Partners/4))
	}
	quiet := min(maxQuiet, w.cfg.Days/2)
	r := chance(w.cfg.Seed, "thefts", 0)
	order := r.Perm(len(list))
	for i := range max(0, n) {
		c := list[order[i%len(order)]]
		room := w.cfg.Days - quiet - c.days
		for try := range 4 { // a plan may fail for want of a victim: another day, another chance
			t := &thief{w: w, r: chance(mix(w.cfg.Seed, uint64(i*4+try)+1<<40), "thief", 0), acts: map[int][]func(int){}}
			t.Name, t.Slow = c.name, c.slow
			t.day = quiet + t.r.IntN(max(1, room))
			if t.careful = yes(t.r, 0.4); t.careful {
				t.Variant = "careful"
			}
			t.resale = spread(t.r, 0.02, 0.8)
			if t.day < w.cfg.Days && c.plan(t) {
				w.thieves = append(w.thieves, t)
				break
			}
		}
	}
}

// partner returns a partner that fits, one that no other thief has if there is such, and makes it the victim; nil if none fits.
func (t *thief) partner(fits func(p *partner) bool) *partner {
	p := t.any(fits)
	if p != nil {
		t.Partner, p.robbed = p.id, true
	}
	return p
}

// worthwhile tells whether enough passes through a partner for a thief to come: a theft of a handful of orders is none.
func (p *partner) worthwhile() bool { return p.volume >= 8 }

// another returns a further partner that fits, from whom the thief steals, too; nil if none fits.
func (t *thief) another(fits func(p *partner) bool) *partner {
	p := t.any(func(p *partner) bool { return p.id != t.Partner && !slices.Contains(t.Elsewhere, p.id) && fits(p) })
	if p != nil {
		t.Elsewhere = append(t.Elsewhere, p.id)
	}
	return p
}

// any returns a partner that fits.
func (t *thief) any(fits func(p *partner) bool) *partner {
	var all []*partner
	var weights []float64
	for _, p := range t.w.partners {
		if fits(p) {
			weight := float64(8 + len(p.people)) // large ones are worth more
			if p.robbed {
				weight /= 1000
			}
			all, weights = append(all, p), append(weights, weight)
		}
	}
	for range 40 {
		if len(all) == 0 {
			return nil
		}
		if p := all[weighted(t.r, weights...)]; !p.asleep(t.day) {
			return p
		}
	}
	return nil
}

// person returns one of a partner's staff in one of the roles who is there from a day on and works on it; nil if there is none.
func (t *thief) person(p *partner, day int, roles ...string) *person {
	var list []*person
	for _, q := range p.people {
		if slices.Contains(roles, q.job(day)) && q.hired <= max(0, day-7) && q.left > day+7 && (q.works(day) || q.works(day+1) || q.works(day+2)) {
			list = append(list, q)
		}
	}
	if len(list) == 0 {
		return nil
	}
	return pick(t.r, list)
}

// hire has a partner hire the thief in a role on a day. He has habits like anybody, logs in and works
// like his colleagues every day, but takes no part in packing and carrying, so that they do what they
// would do without him. What he steals goes with [thief.beside].
func (t *thief) hire(p *partner, role string, day int) *person {
	taken := map[string]bool{}
	for _, q := range append(slices.Clone(p.people), p.planted...) {
		taken[q.account] = true
	}
	q := p.hire(t.r, role, p.accounts, 1<<19+len(p.planted), taken)
	q.hired, q.left, q.away, q.changes = day, never, never, never
	p.planted = append(p.planted, q)
	return q
}

// victim returns a partner that fits and one of its staff in one of the roles, who is there when the thief begins;
// no person if there is none.
func (t *thief) victim(fits func(p *partner) bool, roles ...string) (*partner, *person) {
	p := t.partner(fits)
	if p == nil {
		return nil, nil
	}
	return p, t.person(p, t.day, roles...)
}

// shift returns the first day from day on that q works, at most a week later.
func (q *person) shift(day int) int {
	for d := day; d < day+7; d++ {
		if q.works(d) {
			return d
		}
	}
	return day
}

// blame notes a culprit: what the thief acts as or from.
func (t *thief) blame(k moat.EntityKind, id string) {
	if e := (moat.Entity{Kind: k, ID: id}); id != "" && !slices.Contains(t.Culprits, e) {
		t.Culprits = append(t.Culprits, e)
	}
}

// on has something happen on a day.
func (t *thief) on(day int, act func(day int)) { t.acts[day] = append(t.acts[day], act) }

// daily has something happen on each day from one to before another.
func (t *thief) daily(from, to int, act func(day int)) {
	t.every = append(t.every, func(day int) {
		if day >= from && day < to {
			act(day)
		}
	})
}

// beside has something happen on each working day of q after the honest work of the day was
// laid out. The desk is the honest one, as the thief's: what is done at it is his act.
func (t *thief) beside(q *person, act func(k *desk)) {
	q.p.beside = append(q.p.beside, func(k *desk) {
		if k.q == q {
			x := *k
			x.by, x.r = t, chance(q.seed, "beside "+t.Name, k.day)
			act(&x)
		}
	})
}

// tap has something happen whenever an app hands orders on, at the time and with the orders of that.
func (t *thief) tap(a *app, act func(day int, at moat.Time, orders []*order)) {
	a.taps = append(a.taps, act)
}

// desk returns q's desk of a day in the thief's hands.
func (t *thief) desk(q *person, day int) *desk {
	k := q.desk(day)
	k.by, k.r = t, t.r
	return k
}

// caller returns an app's key of a day in the thief's hands, used from an address.
func (t *thief) caller(a *app, day int, ip string) *caller {
	c := a.caller(day, 0)
	c.by, c.ip = t, ip
	return c
}

// shell returns a user on a server in the thief's hands.
func (t *thief) shell(h *host, day int, user, ip string) *shell {
	return &shell{h: h, user: user, ip: ip, day: day, by: t}
}

// visit is a request of the thief to a partner's web server, as its access log has it.
func (t *thief) visit(p *partner, at moat.Time, ip, agent, method, path string, status int64) *moat.Event {
	return p.visited(at, ip, agent, method, path, status, t)
}

// does posts an event as the thief's.
func (t *thief) does(p *partner, e *moat.Event) *moat.Event { return t.w.mail.post(p, e, t) }

// takes notes orders as taken, to be sold; whoever goes over one of the roads need only say what is worth selling.
func (t *thief) takes(orders ...*order) { t.loot = append(t.loot, orders...) }

// record notes a finished event as an act. A clock that is fast cannot make it later than its receipt.
func (t *thief) record(e *moat.Event) {
	at := min(e.Time, e.Received)
	a := truth.Act{Event: e.ID, Time: at}
	if e.Outcome == moat.Success && !t.lies[e] {
		a.Orders = e.Orders
		if len(e.Orders) == 0 && e.Type != moat.HTTPRequest {
			a.Rows = max(e.Rows, e.Count)
		}
	}
	if t.From == 0 || at < t.From {
		t.From = at
	}
	t.To = max(t.To, at)
	t.Acts = append(t.Acts, a)
}

// live is a day of the thief, and of those who buy from him.
func (t *thief) live(day int) {
	for _, f := range t.acts[day] {
		f(day)
	}
	for _, f := range t.every {
		f(day)
	}
	t.sell(day)
}

// sell has customers complain about what was taken, one to ten days later.
func (t *thief) sell(day int) {
	r := chance(t.w.cfg.Seed, "sale "+t.Name+t.Partner, day)
	for _, o := range t.loot {
		if !yes(r, t.resale) && !(o.canary && yes(r, 0.7)) {
			continue
		}
		after := day + 1 + min(9, int(spread(r, 2, 0.8)))
		t.on(after, func(day int) {
			at := t.w.at(day) + moat.Time(between(r, 8, 21)*float64(moat.Hour))
			if !o.canary {
				t.echo(t.w.complaint(at, o, pick(r, []string{"scam_call", "scam_call", "fraud", "scam_sms"})))
				return
			}
			e := t.w.mail.new()
			e.Time, e.Type, e.Orders, e.Channel = at, moat.CanaryTouch, []string{o.id}, pick(r, []string{"call", "sms", "parcel"})
			t.echo(t.w.mail.post(o.shop.system, e, nil))
		})
	}
	t.loot = nil
}

// echo notes an event that tells of what was taken.
func (t *thief) echo(e *moat.Event) {
	t.Echoes = append(t.Echoes, truth.Echo{Partner: e.Partner, Event: e.ID, Time: e.Time})
}

// Where thieves come from.

// hideout is an address that a thief acts from: a VPN, a rented server, a foreign home, or a proxy in a home of the victim's country.
func (t *thief) hideout(near *country) string {
	if t.careful && yes(t.r, 0.7) {
		return address(t.r, near.home)
	}
	switch weighted(t.r, 3, 3, 2, 2) {
	case 0:
		return address(t.r, tunnels)
	case 1:
		return address(t.r, pick(t.r, abroad).cloud)
	case 2:
		return address(t.r, pick(t.r, abroad).home)
	}
	return address(t.r, near.home)
}

// machine is the device and the user agent of a thief.
func (t *thief) machine() (device, agent string) {
	b := anyBrowser(t.r, false)
	return hex(t.r.Uint64(), 12), b.agent(t.day, t.r.IntN(200))
}
