package world

import (
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
)

// partner is one who sends events, with all that belongs to it.
type partner struct {
	w       *World
	seed    uint64
	id      string
	name    string
	kind    Kind
	country *country
	phase   moat.Time // local midnight after that of UTC
	offset  int       // days by which the local date is ahead of the world's
	habits  habits
	serial  uint64 // events so far
	sent    int64  // of them, those that the platform got

	apps     []*app
	hosts    []*host
	people   []*person
	planted  []*person // thieves among the staff
	accounts int       // in which form accounts are named
	shops    []*shop   // whose orders its people see
	offices  []office  // where its people sit
	tunnel   string    // address of its VPN; "" = none
	outlets  []string  // of a courier; docks of a warehouse
	stores   bool      // a warehouse, not a courier
	pace     float64   // how busy its people are
	secrecy  float64   // share of its people who use its VPN
	second   bool      // logins want a second factor
	volume   float64   // orders a day that pass through, about
	web      bool      // reports what its web servers are asked

	queue  []*order // that came in and are to be packed or delivered
	seen   []*order // of the last days, for a warehouse and a courier
	beside []func(k *desk)
	shared string                   // account that two people use
	robbed bool                     // has a thief
	veil   func(e *moat.Event) bool // tells what the partner does not report; nil: nothing is hidden
}

// office is a place with an address, until it changes.
type office struct {
	ip, next string
	moves    int // day
	moved    oddity
}

// app is a program of a partner that the platform knows.
type app struct {
	p       *partner
	id      string
	key     string
	nextKey string
	rotates int // day of the next key
	scopes  []string
	library string
	release int // days between versions
	lag     int
	every   float64 // minutes between calls
	rate    float64 // milliseconds of a call
	sends   []*receiver
	taps    []tap
	grows   int // day on which it is granted one more scope
	growth  int // which of grants that is
}

// tap sees what an app hands to others.
type tap func(day int, at moat.Time, orders []*order)

// receiver is a system that orders are handed to.
type receiver struct {
	to    string
	kind  string
	from  int // day
	moves int // day on which it gets another address
}

// passed are the fields that a kind of system gets.
func passed(kind string) []string {
	switch kind {
	case "sms", "mail":
		return []string{"phone", "tracking_no"}
	case "courier", "other":
		return label
	}
	return whole
}

// url is the address on a day.
func (x *receiver) url(day int) string {
	if day < x.moves {
		return x.to
	}
	return strings.Replace(x.to, ".example", "-2.example", 1)
}

// host is a server.
type host struct {
	p       *partner
	id      string
	ip      string
	db      bool
	born    int // day
	gone    int
	peers   []string
	backup  string // program that makes the backup at night; "" = none
	minute  float64
	agentOn bool
}

// shop sells.
type shop struct {
	id      string
	seed    uint64
	seller  *partner // whose shop it is; nil if that is no partner
	system  *partner // whose app takes its orders
	store   *partner // nil: the seller packs
	carrier *partner
	rate    float64 // orders a day
	drift   float64 // growth a day
	shift   float64 // hours by which its buyers are later than others
	evening float64 // share of orders that come in the evening
	weekend float64 // Saturdays, compared with the mean day
	sales   bool    // takes part in sale days
	fresh   []*order
	recent  []*order // the last ones
	keep    int
	buyers  uint32
	first   uint64 // number of its first order in this world
	last    uint64 // and of its last, if the system counts each shop's orders by itself; else the platform gives numbers
}

// order is one order on its way.
type order struct {
	id     string
	shop   *shop
	at     moat.Time // when it was born
	ready  moat.Time // when whoever has it next may see it
	buyer  uint32
	lines  uint8
	canary bool // planted by the platform
}

const never = 1 << 20

var (
	wordsA = []string{"amber", "birch", "cedar", "clover", "copper", "coral", "crown", "delta", "ember", "fern", "fox", "garnet", "granite", "harbour", "hazel", "iris", "ivory", "jade",
		"juniper", "lark", "linden", "lotus", "maple", "meadow", "north", "oak", "onyx", "opal", "otter", "pearl", "pine", "quartz", "raven", "reed", "river", "rowan", "saffron", "sage",
		"silver", "slate", "sparrow", "spruce", "stone", "swift", "tide", "topaz", "violet", "willow", "wren", "yarrow"}
	wordsB = [kinds][]string{
		{"soft", "flow", "desk", "link", "ops", "cloud", "suite", "works", "stack", "sync"},
		{"home", "wear", "kitchen", "toys", "books", "garden", "sport", "beauty", "pets", "crafts", "tea", "shoes", "audio", "lamps", "baby"},
		{"parcels", "freight", "express", "storage", "haul", "depot", "courier", "lines"},
		{"global", "trading", "direct", "export", "market", "outlet"},
	}
)

// settle makes the partners, their shops and the ways that orders take.
func (w *World) settle() {
	n := w.cfg.Partners
	services := max(2, int(math.Round(math.Sqrt(float64(n)))))
	carriers := max(3, int(math.Round(1.1*math.Sqrt(float64(n)))))
	foreign := max(1, n/12)
	used := map[string]bool{}
	for i := range n {
		kind := Merchant
		switch {
		case i < services:
			kind = Service
		case i < services+carriers:
			kind = Logistics
		case i < services+carriers+foreign:
			kind = CrossBorder
		}
		p := w.found(i, kind, used)
		w.partners = append(w.partners, p)
		w.byKind[kind] = append(w.byKind[kind], p)
	}
	// Whoever takes orders in comes before whoever stores, and that before whoever carries: so flows a day.
	r := chance(w.cfg.Seed, "order", 0)
	w.number = 400_000_000_000 + uint64(r.Int64N(300_000_000_000))
	var takes, stores, carries []*partner
	for _, p := range w.partners {
		switch {
		case p.kind != Logistics:
			takes = append(takes, p)
		case p.stores:
			stores = append(stores, p)
		default:
			carries = append(carries, p)
		}
	}
	w.partners = append(append(takes, stores...), carries...)
	w.open(stores, carries)
	for _, s := range w.shops {
		for _, p := range []*partner{s.system, s.store, s.carrier} {
			if p != nil {
				p.volume += s.rate
			}
		}
	}
	for _, p := range w.partners {
		w.connect(p)
		p.assign()
	}
	for d := 9 + r.IntN(9); d < w.cfg.Days; d += 21 + r.IntN(12) {
		w.sales = append(w.sales, d)
	}
}

// found makes the i-th partner.
func (w *World) found(i int, kind Kind, used map[string]bool) *partner {
	p := &partner{w: w, seed: mix(w.cfg.Seed, uint64(i)+1000), kind: kind, country: britain}
	r := chance(p.seed, "partner", 0)
	a, b := pick(r, wordsA), pick(r, wordsB[kind])
	for p.id = a + "-" + b; used[p.id]; p.id = a + "-" + b + "-" + strconv.Itoa(within(r, 2, 99_999)) {
		a, b = pick(r, wordsA), pick(r, wordsB[kind])
	}
	used[p.id] = true
	p.name = string(a[0]-'a'+'A') + a[1:] + " " + string(b[0]-'a'+'A') + b[1:]
	if kind == CrossBorder {
		p.country = abroad[weighted(r, 8, 4, 4, 3, 2, 1, 2, 2, 1, 1)]
	}
	p.phase = (moat.Day - p.country.zone) % moat.Day
	if p.country.zone > 0 {
		p.offset = 1
	}
	p.stores = kind == Logistics && i%3 == 0
	p.pace, p.second, p.web = spread(r, 1, 0.3), yes(r, 0.3), yes(r, 0.35)
	p.report(r, i)
	for range 1 + min(4, int(spread(r, 0.4, 1))) {
		p.offices = append(p.offices, office{ip: address(r, p.country.office), moves: never})
	}
	if yes(r, 0.35) {
		p.tunnel, p.secrecy = address(r, p.country.cloud), between(r, 0.1, 0.9)
	}
	p.build(r)
	p.employ(r, i)
	p.upset(r)
	return p
}

// report chooses how a partner reports: most well, some badly. Of the bad habits each is somebody's in a
// world of the default size, whatever chance says.
func (p *partner) report(r *rand.Rand, i int) {
	h := &p.habits
	h.delay, h.form = moat.Time(spread(r, 1.5, 1)*float64(moat.Second)), r.IntN(4)
	h.retries = max(0, spread(r, 0.0008, 1.2))
	switch weighted(r, 55, 25, 12, 8) {
	case 1:
		h.batch = pick(r, []moat.Time{10 * moat.Second, moat.Minute, 5 * moat.Minute})
	case 2:
		h.batch = pick(r, []moat.Time{15 * moat.Minute, moat.Hour})
	case 3:
		h.batch = pick(r, []moat.Time{3 * moat.Hour, 6 * moat.Hour, 24 * moat.Hour})
	}
	if i%40 == 16 {
		h.batch = pick(r, []moat.Time{6 * moat.Hour, 24 * moat.Hour})
	}
	if yes(r, 0.12) || i%40 == 20 {
		h.skew = moat.Time(spread(r, 90, 1.5) * float64(moat.Second))
		if h.skew = min(h.skew, 3*moat.Hour); yes(r, 0.5) {
			h.skew = -h.skew
		}
		if h.skewUntil = never; yes(r, 0.5) {
			h.skewUntil = within(r, 4, 40)
		}
	}
	if yes(r, 0.08) || i%40 == 24 {
		h.device = pick(r, []string{"web", "unknown", "ffffffffffff", "pc", "default-device"})
	}
	if yes(r, 0.08) || i%40 == 28 {
		for range 1 + r.IntN(3) {
			h.private = append(h.private, "10."+strconv.Itoa(r.IntN(250))+"."+strconv.Itoa(r.IntN(250))+"."+strconv.Itoa(2+r.IntN(250)))
		}
	}
	h.noRole, h.noSession, h.noAgent, h.noDevice, h.noFields = yes(r, 0.12) || i%40 == 32, yes(r, 0.15), yes(r, 0.12), yes(r, 0.08), yes(r, 0.08)
}

// build makes apps and servers.
func (p *partner) build(r *rand.Rand) {
	suffix := [kinds][]string{{"erp", "oms", "cloud"}, {"shop", "desk", "admin"}, {"tms", "hub"}, {"store", "cross"}}[p.kind]
	if p.stores {
		suffix = []string{"wms", "dock"}
	}
	apps := 1
	if p.kind == Service && yes(r, 0.5) || yes(r, 0.08) {
		apps = 2
	}
	servers := 1 + int(spread(r, []float64{2.5, 0.7, 2, 0.8}[p.kind], 0.5))
	stem := p.id[:min(len(p.id), 2)] + digits(p.seed, 2)
	names := pick(r, [][]string{{"web-", "app-", "db-"}, {"fe", "be", "mysql"}, {"node", "node", "data"}, {"prod-web-", "prod-api-", "prod-db-"}})
	for i := range servers {
		h := &host{p: p, ip: address(r, p.country.cloud), gone: never, minute: between(r, 20, 290), agentOn: yes(r, 0.7)}
		role := min(i, 1)
		if h.db = i == servers-1; h.db {
			role = 2
			h.backup = pick(r, []string{"/usr/bin/mysqldump", "/usr/bin/mysqldump", "/usr/bin/pg_dump", "/usr/bin/xtrabackup", ""})
		}
		h.id = stem + "-" + names[role] + strconv.Itoa(i+1)
		for range 1 + r.IntN(4) {
			h.peers = append(h.peers, address(r, p.country.cloud))
		}
		p.hosts = append(p.hosts, h)
	}
	for i := range apps {
		a := &app{p: p, id: p.id + "-" + suffix[i%len(suffix)], key: "ak" + digits(mix(p.seed, uint64(i)+7), 10), rotates: never, grows: never, library: pick(r, libraries),
			release: within(r, 4, 40), lag: r.IntN(40), every: pick(r, []float64{5, 10, 10, 15, 20, 30, 60}), rate: spread(r, 60, 0.5)}
		a.nextKey = "ak" + digits(mix(p.seed, uint64(i)+77), 10)
		a.scopes = []string{"orders.read", "orders.decrypt"}
		p.apps = append(p.apps, a)
	}
}

// open makes the shops and tells which way their orders go.
func (w *World) open(stores, carries []*partner) {
	crowd := min(1, 400/float64(w.cfg.Partners))
	add := func(p, seller *partner, i int, rate float64) {
		s := &shop{seed: mix(p.seed, uint64(i)+31), seller: seller, system: p, rate: rate}
		r := chance(s.seed, "shop", 0)
		number := 10_000_000 + (uint64(len(w.shops))*6_700_417+w.cfg.Seed%9_000_000)%90_000_000 // all differ: the factor is prime
		s.id = "s" + strconv.FormatUint(number, 10)
		if s.first = number*10_000_000 + uint64(within(r, 1_000, 400_000)); p.seed%5 < 2 {
			s.last = s.first
		}
		s.shift, s.evening, s.weekend, s.sales = 0.7*r.NormFloat64(), between(r, 0, 0.25), max(0, between(r, -0.6, 0.7)), yes(r, 0.75)
		s.drift = 0.004 * r.NormFloat64()
		s.keep = int(min(1500, max(30, 14*rate)))
		s.buyers = uint32(20 + 40*rate)
		if len(stores) > 0 && yes(r, 0.6) {
			s.store = pick(r, stores)
		}
		s.carrier = pick(r, carries)
		w.shops = append(w.shops, s)
		if p.shops = append(p.shops, s); seller != nil && seller != p {
			seller.shops = append(seller.shops, s)
		}
	}
	services := w.byKind[Service]
	for _, p := range w.partners {
		r := chance(p.seed, "shops", 0)
		staff := float64(len(p.people))
		switch p.kind {
		case Service:
			for i := range 2 + min(60, int(spread(r, 1+staff/8, 0.5))) {
				add(p, nil, i, min(200, spread(r, 9, 1.1)))
			}
		case Merchant, CrossBorder:
			rate := min(400, spread(r, 3*staff, 0.8)) * math.Sqrt(crowd)
			for i := range 1 + min(6, int(spread(r, 0.6, 0.8))) {
				if system := p; p.kind == Merchant && yes(r, 0.3) { // a service provider takes them in
					system = pick(r, services)
					add(system, p, 1000+i+int(p.seed%1e6), rate)
				} else {
					add(system, p, i, rate)
				}
				rate /= 2
			}
		}
	}
}

// connect tells each app whom it hands orders to.
func (w *World) connect(p *partner) {
	r := chance(p.seed, "receivers", 0)
	a := p.apps[0]
	known := map[string]bool{}
	for _, s := range p.shops {
		to, kind := s.carrier, "courier"
		if s.store != nil && !p.stores {
			to, kind = s.store, "wms"
		}
		if s.system == p && !known[to.id] {
			known[to.id] = true
			a.sends = append(a.sends, &receiver{to: to.url(), kind: kind, moves: never})
		}
	}
	extra := []receiver{{"https://gw." + pick(r, wordsA) + "-sms.example/send", "sms", 0, never}, {"https://print." + pick(r, wordsA) + "-labels.example/v2", "other", 0, never}, {"smtp://mail." + p.id + ".example", "mail", 0, never},
		{"https://" + pick(r, wordsA) + "-erp.example/" + pick(r, []string{"orders", "in"}), "erp", 0, never}, {"https://api." + pick(r, wordsA) + "data.example/v1/push", "isv", 0, never}}
	for _, x := range extra {
		if yes(r, 0.25) {
			if x.from = 0; yes(r, 0.35) {
				x.from = within(r, 5, 50) // a new integration
			} else if yes(r, 0.25) {
				x.moves = within(r, 1, 50)
			}
			a.sends = append(a.sends, &x)
		}
	}
}

// assign gives the people of a service provider with many shops some of them to look after.
func (p *partner) assign() {
	n := len(p.shops)
	if p.kind != Service || n < 5 {
		return
	}
	for _, q := range p.people {
		if r := chance(q.seed, "shops", 0); (q.role == clerk || q.role == operation) && yes(r, 0.85) {
			from, size := r.IntN(n), within(r, 2, min(n, 7))
			for i := range size {
				q.shops = append(q.shops, p.shops[(from+i)%n])
			}
		}
	}
}

// url is where a partner takes orders in.
func (p *partner) url() string { return "https://in." + p.id + ".example/orders" }
