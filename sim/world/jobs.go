package world

import (
	"slices"
	"strconv"

	"github.com/moat-platform/moat"
)

// live is a day of a partner, of its servers and of its people.
func (p *partner) live(day int) {
	if p.asleep(day) {
		return
	}
	p.machines(day)
	if p.kind != Logistics {
		p.takeIn(day)
	}
	var team []*desk
	for _, q := range p.people {
		if q.works(day) {
			k := q.desk(day)
			k.begin()
			team = append(team, k)
		}
	}
	if day >= 0 { // the day before the first is only there to begin with
		p.w.staffDays += len(team)
	}
	on := func(roles ...string) []*desk {
		return slices.DeleteFunc(slices.Clone(team), func(k *desk) bool { return !slices.Contains(roles, k.role) })
	}
	switch {
	case p.kind != Logistics:
		packers := on(operation)
		if len(packers) == 0 {
			packers = team
		}
		p.pack(packers, day)
	case p.stores:
		p.pack(on(packer, lead), day)
	default:
		p.carry(on(porter), on(rider), day)
	}
	for _, k := range append(team, p.plants(day)...) {
		k.work()
		for _, f := range p.beside {
			f(k)
		}
	}
	p.cover(day, team)
}

// plants returns the desks of thieves who were hired, after their logins.
func (p *partner) plants(day int) []*desk {
	var out []*desk
	for _, q := range p.planted {
		if a := p.first(admin, day); a != nil && day == q.hired {
			k := a.desk(day)
			k.change(k.from+k.pause(1800), q.account, "sub_account", "", q.role)
		} else if a != nil && day == q.left {
			k := a.desk(day)
			k.change(k.from+k.pause(1800), q.account, "status", "active", "closed")
		}
		if q.works(day) {
			k := q.desk(day)
			k.begin()
			out = append(out, k)
		}
	}
	return out
}

// asleep tells whether nothing happens at a partner: in a large world most small ones sell only now and then.
func (p *partner) asleep(day int) bool {
	share := min(1, 400/float64(p.w.cfg.Partners))
	if p.kind == Service || p.kind == Logistics || share == 1 {
		return false
	}
	return chance(p.seed, "asleep", (day+14)/14).Float64() > share+0.05
}

// begin is the login in the morning, and what goes with it.
func (k *desk) begin() {
	q, w, at := k.q, k.w, k.from
	switch {
	case k.day == q.forgot:
		for range within(k.r, 2, 6) {
			k.login(at, "wrong password")
			at += k.pause(15)
		}
		at += k.pause(200)
		k.change(at, k.account, "password", "", "").Session = ""
		at += k.pause(40)
		w.note(passwordReset)
	case yes(k.r, q.typos):
		for range within(k.r, 1, 2) {
			if e := k.login(at, "wrong password"); yes(k.r, 0.12) { // in the name
				e.Actor, e.Reason, e.Role, e.Outlet = k.account[:len(k.account)-1], "no such account", "", ""
			} else if yes(k.r, 0.15) { // a private window, or the page had not looked yet
				e.Device = ""
			}
			at += k.pause(14)
		}
		w.note(mistyped)
	}
	k.login(at, "")
	if k.q.p.second && yes(k.r, 0.5) {
		for yes(k.r, 0.05) { // a code mistyped, a message missed; whose phone's clock is wrong does it again and again
			for range 1 + q.seed%16/15*4 {
				k.challenge(at, pick(k.r, []moat.Outcome{moat.Failure, moat.Failure, moat.Denied}))
				at += k.pause(25)
			}
		}
		k.challenge(at+k.pause(8), moat.Success)
	}
	if yes(k.r, 0.3) {
		k.login(k.back, "")
	}
	if yes(k.r, 0.003) {
		k.change(at+k.pause(900), k.account, pick(k.r, []string{"phone", "email", "mfa", "password"}), "", "")
	}
	if yes(k.r, q.logsOut) {
		k.event(k.to, moat.AuthLogout)
	}
	if yes(k.r, 0.15) && k.device != "" {
		e := k.event(at+k.pause(5), moat.ClientSignal)
		e.Timezone, e.Language = k.q.p.country.timezone, k.q.p.country.language
		if k.day >= q.abroad && k.day < q.abroad+q.journey && yes(k.r, 0.8) { // the clock goes along
			e.Timezone = q.where.timezone
		}
		if q.seed%40 == 0 {
			e.Script = "https://cdn." + wordsA[q.seed/40%uint64(len(wordsA))] + "-helper.example/content.js"
			w.note(clientPlugin)
		}
	}
	k.notes()
}

// notes counts what is odd about the day.
func (k *desk) notes() {
	q := k.q
	for o, is := range map[oddity]bool{travel: k.day >= q.abroad && k.day < q.abroad+q.journey, tunnelled: q.tunnel || slices.Contains(tunnels, k.ip[:max(0, lastDot(k.ip))]),
		kiosk: q.device != hex(q.seed, 12) && q.outlet != "", newHire: q.hired >= 0 && k.day-q.hired < 3, roleChange: k.day >= q.changes && k.day < q.changes+3,
		sharedPassword: k.account == q.p.shared, newDevice: k.day >= q.laptop && k.day < q.laptop+3, holiday: k.day >= q.returned && k.day < q.returned+3} {
		if is {
			k.w.note(o)
		}
	}
	if o := q.p.offices[q.place]; k.day >= o.moves && k.ip == o.next {
		k.w.note(o.moved)
	}
}

// work is what a person does on a day, by role, besides packing and carrying.
func (k *desk) work() {
	switch k.role {
	case clerk:
		k.serve(26)
	case operation:
		k.serve(9)
		k.lists(2, 6, 40)
	case finance:
		k.reckon()
	case manager, lead:
		k.lists(2, 7, 60)
		k.serve(4)
	case porter:
		k.serve(5)
	case packer, rider:
		k.serve(1)
	case admin:
		k.administer()
	case developer:
		k.develop()
	}
	if k.q.exports > 0 && yes(k.r, k.q.exports) {
		if list := k.moments(1); len(list) > 0 {
			if orders := k.known(list[0], within(k.r, 20, 160)); len(orders) > 0 {
				k.access(list[0], pick(k.r, []string{"export", "export", "export_list", "download"}), whole, orders...)
			}
		}
	}
	if k.q.seed%31 == 0 && (k.role == operation || k.role == clerk || k.role == manager) {
		k.macro()
	}
	if k.day == k.q.late {
		k.stayLate()
	}
	if k.day == k.q.probed {
		k.probe()
	}
}

// serve is the work with single orders: mean is how many a person takes in hand on a day.
func (k *desk) serve(mean float64) {
	n := count(k.r, mean*k.q.pace)
	if k.q.p.shopsQuiet() {
		n = min(n, 6)
	}
	for _, at := range k.moments(n) {
		o := k.one(at)
		if o == nil {
			continue
		}
		k.handle(at, o)
	}
}

// shopsQuiet tells whether there is little to do.
func (p *partner) shopsQuiet() bool {
	if p.kind == Logistics {
		return len(p.seen) < 20
	}
	n := 0.0
	for _, s := range p.shops {
		n += s.rate
	}
	return n < 4
}

// handle is one matter: a call of a buyer, an address to correct, a parcel that is asked after.
func (k *desk) handle(at moat.Time, o *order) {
	if yes(k.r, 0.008) { // a number with a slip in it, or of another shop
		x := order{id: o.id[:len(o.id)-1] + strconv.Itoa(k.r.IntN(10)), shop: o.shop}
		e := k.access(at-k.pause(10), pick(k.r, []string{"view", "view", "print", "download", "modify"}), nil, &x)
		e.Outcome, e.Reason, e.Shops, e.Bytes, e.FileHash = moat.Denied, pick(k.r, []string{"no such order", "no such order", "not your shop"}), nil, 0, ""
	}
	switch weighted(k.r, 50, 20, 9, 9, 6, 3, 3, 0.8, 0.5, 0.6, 0.7) {
	case 0:
		k.search(at, o.shop, 1+k.r.IntN(3))
		k.access(at+k.pause(20), "view", whole, o)
	case 1:
		k.access(at, "view", whole, o)
	case 2:
		k.access(at, "view", whole, o)
		k.access(at+k.pause(60), "modify", whole, o)
	case 3:
		if list := k.known(at, within(k.r, 8, 30)); len(list) > 0 {
			k.access(at, "view_list", listed, list...)
		}
	case 4:
		k.access(at, "view", listed, o)
		k.decrypt(at+k.pause(12), pickPurpose(o), o)
	case 5:
		k.access(at, "print", label, o)
	case 6:
		k.access(at, "view", whole, o)
		for range within(k.r, 1, 4) {
			if o := k.one(at); o != nil {
				at += k.pause(45)
				k.access(at, "view", whole, o)
			}
		}
	case 7: // the label as a file
		k.access(at, "download", label, o)
	case 8: // a double
		k.access(at, "view", whole, o)
		k.access(at+k.pause(30), "delete", nil, o)
	case 9: // an invoice to the customer
		k.access(at, "send", payment, o)
	case 10: // in the screen itself
		k.access(at, "decrypt", []string{"phone"}, o)
	}
}

func pickPurpose(o *order) string {
	return []string{"call the customer", "address check", "refund"}[o.buyer%3]
}

// lists looks at lists of the newest orders some times a day.
func (k *desk) lists(least, most, size int) {
	for _, at := range k.moments(within(k.r, least, most)) {
		if list := k.known(at, within(k.r, 8, size)); len(list) > 0 {
			k.access(at, "view_list", listed, list...)
		}
	}
}

// reckon is the day of an accountant: payments, once a week the report, at the beginning of a month that of the month.
func (k *desk) reckon() {
	p := k.q.p
	k.lists(1, 4, 50)
	for _, at := range k.moments(count(k.r, 10*k.q.pace)) {
		if o := k.one(at); o != nil {
			k.access(at, "view", payment, o)
		}
	}
	if p.first(finance, k.day) != k.q { // one makes the reports
		return
	}
	at := k.from + k.pause(3000)
	if p.weekday(k.day) == int(p.seed%5) {
		if list := k.known(at, 1000); len(list) > 0 {
			k.access(at, "export", payment, list...)
			k.w.note(weeklyExport)
		}
	}
	if d, week := p.monthday(k.day), p.weekday(k.day); d == 1 && week < 5 || d <= 3 && week == 0 {
		if list := k.known(at+moat.Hour, 4000); len(list) > 0 {
			for i := 0; i < len(list); i += 1000 {
				k.access(at+moat.Hour+moat.Time(i)*moat.Second/10, "export", payment, list[i:min(len(list), i+1000)]...)
			}
			k.w.note(monthEnd)
		}
	}
}

// stayLate is work into the night.
func (k *desk) stayLate() {
	at := k.to + moat.Time(between(k.r, 1, 5)*float64(moat.Hour))
	k.login(at, "")
	for range within(k.r, 4, 25) {
		if o := k.one(at); o != nil {
			at += k.pause(90)
			k.access(at, "view", whole, o)
		}
	}
	k.w.note(overtime)
}

// macro has a program of the person's own turn the pages of lists, into a table of the team's.
func (k *desk) macro() {
	gap := 3 + float64(k.q.seed>>8%9)
	for _, at := range k.moments(1) {
		for range within(k.r, 5, 40) {
			if list := k.known(at, 20); len(list) > 0 {
				k.access(at, "view_list", listed, list...)
			}
			at += moat.Time(gap * between(k.r, 0.95, 1.05) * float64(moat.Second))
		}
		k.w.note(screenMacro)
	}
}

// probe goes through many orders that belong together, as they do when something went wrong.
func (k *desk) probe() {
	list := k.moments(1)
	if len(list) == 0 {
		return
	}
	at := list[0]
	orders := k.known(at, 120)
	if k.q.p.kind != Logistics && len(orders) > 0 && yes(k.r, 0.5) { // of one buyer, as far as there are any
		buyer := pick(k.r, orders).buyer % 7
		orders = slices.DeleteFunc(slices.Clone(orders), func(o *order) bool { return o.buyer%7 != buyer })
		k.w.note(largeCustomer)
	} else {
		k.w.note(lostParcels)
	}
	for _, o := range orders {
		at += k.pause(25)
		if t, ok := k.free(at); ok {
			k.access(t, "view", whole, o)
		}
	}
}

// cover has somebody do the work of who is ill, at his own desk but for other shops and hours.
func (p *partner) cover(day int, team []*desk) {
	for _, q := range p.people {
		if day != q.ill || len(team) == 0 || q.role == rider {
			continue
		}
		r := chance(q.seed, "cover", day)
		k := pick(r, team)
		k.to = max(k.to, q.desk(day).to) + moat.Hour
		k.serve(14)
		p.w.note(coveredShift)
	}
}
