package world

import (
	"math/rand/v2"
	"strconv"

	"github.com/moat-platform/moat"
)

// The jobs.
const (
	clerk     = "customer_service"
	operation = "operations"
	finance   = "finance"
	manager   = "manager"
	packer    = "packer"
	lead      = "warehouse_lead"
	porter    = "outlet_clerk"
	rider     = "courier"
	admin     = "admin"
	developer = "developer"
)

// person is one of the staff, with habits.
type person struct {
	p       *partner
	seed    uint64
	account string
	role    string
	newRole string // from changes on
	changes int    // day
	shops   []*shop
	outlet  string
	device  string
	home    string
	browser *browser
	lag     int // days by which its browser is updated later

	from, to float64 // of the shift, minutes after midnight
	loose    float64 // minutes by which the beginning varies
	workdays uint8   // a bit for each day of the week
	remote   uint8   // days of the week at home
	place    int     // office
	pace     float64
	tunnel   bool
	privy    bool // uses a VPN of his own
	typos    float64
	logsOut  float64
	lunch    float64 // minutes after the beginning
	exports  float64 // probability of a small export on a day
	mobile   bool

	hired, left    int // days
	away, returned int
	abroad         int // first day of a journey
	journey        int // days
	where          *country
	laptop         int // day of a new device
	forgot         int
	late           int // day of work into the night
	ill            int // day on which another one works for him
	probed         int // day on which he goes through many orders of one sort
}

var (
	firstNames = []string{"amy", "ben", "carla", "dev", "ella", "finn", "grace", "harry", "isla", "jack", "kira", "liam", "maya", "noah", "olive", "priya", "quinn", "rosa", "sam", "tess",
		"umar", "vera", "will", "xena", "yusuf", "zoe", "adam", "bella", "colm", "dina", "ewan", "freya", "gus", "hana", "ivan", "jade", "kofi", "lena", "milo", "nina", "owen", "petra", "ravi",
		"sofia", "tom", "una", "viktor", "wei", "yara", "zhen"}
	lastNames = []string{"ash", "birch", "cole", "dunn", "east", "ford", "gill", "hope", "ivey", "judd", "kay", "lowe", "marsh", "nash", "oaks", "pike", "reed", "shaw", "tate", "vale", "ward",
		"york", "abbott", "bailey", "chen", "desai", "evans", "fox", "gray", "hall", "iqbal", "jones", "khan", "li", "moss", "novak", "owens", "patel", "ross", "singh", "turner", "wang", "zhou"}
)

// mixes are how many of a hundred people have which job.
var mixes = [kinds + 1][]struct {
	role  string
	share float64
}{
	{{clerk, 52}, {operation, 16}, {finance, 8}, {manager, 6}, {admin, 8}, {developer, 10}},
	{{clerk, 46}, {operation, 30}, {finance, 9}, {manager, 10}, {admin, 5}},
	{{rider, 48}, {porter, 30}, {clerk, 10}, {manager, 6}, {finance, 2}, {admin, 4}},
	{{clerk, 38}, {operation, 38}, {finance, 10}, {manager, 8}, {admin, 6}},
	{{packer, 70}, {lead, 10}, {clerk, 6}, {manager, 5}, {finance, 3}, {admin, 6}}, // of a warehouse
}

// employ hires the staff: two to three hundred, by a distribution with a long tail.
func (p *partner) employ(r *rand.Rand, i int) {
	median, sigma, least, most := []float64{14, 4, 20, 6}[p.kind], 1.0, []int{3, 2, 6, 2}[p.kind], []int{300, 150, 300, 120}[p.kind]
	n := min(most, max(least, int(spread(r, median, sigma))))
	if i == 0 {
		n = within(r, 150, 300) // there is always a large one
	}
	jobs := mixes[p.kind]
	if p.stores {
		jobs = mixes[kinds]
	}
	if p.kind == Logistics {
		for j := range 1 + min(40, n/7) {
			p.outlets = append(p.outlets, p.id+"-"+pick(r, []string{"o", "st", "hub"})+strconv.Itoa(100+j*7+r.IntN(6)))
		}
	}
	p.accounts = r.IntN(5)
	taken := map[string]bool{}
	for j := range n {
		role := jobs[min(j, len(jobs)-1)].role // a small one has one of each as far as they go
		if j >= len(jobs) {
			weights := make([]float64, len(jobs))
			for k := range jobs {
				weights[k] = jobs[k].share
			}
			role = jobs[weighted(r, weights...)].role
		}
		q := p.join(p.hire(r, role, p.accounts, len(p.people), taken))
		if yes(r, 0.0015*float64(p.w.cfg.Days)) { // turnover: leaves, and another one comes
			q.left = within(r, 3, max(4, p.w.cfg.Days-1))
			next := p.join(p.hire(r, role, p.accounts, len(p.people), taken))
			next.hired = q.left + within(r, -3, 6)
		}
	}
	if (yes(r, 0.1) || i == 1) && n > 5 { // two who use one account
		b := p.people[1]
		if a := p.people[0]; a.role == b.role || i == 1 {
			b.account = a.account
			p.shared = a.account
		}
	}
	if len(p.outlets) > 0 && yes(r, 0.4) { // kiosks: one device for all of an outlet
		for _, q := range p.people {
			if q.outlet != "" && q.role != rider {
				q.device = hex(mix(p.seed, word(q.outlet)), 12)
			}
		}
	}
}

// hire makes a person with habits.
func (p *partner) hire(r *rand.Rand, role string, style, n int, taken map[string]bool) *person {
	q := &person{p: p, seed: mix(p.seed, uint64(n)+1<<20), role: role, changes: never, left: never, away: never, returned: never, abroad: never, laptop: never,
		forgot: never, late: never, ill: never, probed: never, hired: -1}
	for q.account = ""; q.account == "" || taken[q.account]; {
		first, last := pick(r, firstNames), pick(r, lastNames)
		switch style {
		case 0:
			q.account = first + "." + last
		case 1:
			q.account = first[:1] + last
		case 2:
			q.account = "u" + strconv.Itoa(10_000+r.IntN(80_000))
		case 3:
			q.account = first + "_" + last
		default:
			q.account = p.id[:min(3, len(p.id))] + ":" + first
		}
		if style != 2 && (taken[q.account] || yes(r, 0.2)) {
			q.account += strconv.Itoa(1 + r.IntN(99))
		}
	}
	taken[q.account] = true
	q.device = hex(q.seed, 12)
	if style == 4 {
		q.device = digits(q.seed, 19)
	}
	q.home, q.place = address(r, p.country.home), r.IntN(len(p.offices))
	q.mobile = role == rider || role == porter && yes(r, 0.6) || role == packer && yes(r, 0.7) || role == manager && yes(r, 0.1)
	q.browser, q.lag = anyBrowser(r, q.mobile), r.IntN(30)
	q.pace, q.typos, q.logsOut = p.pace*spread(r, 1, 0.4), min(0.5, spread(r, 0.03, 1)), r.Float64()
	q.tunnel, q.privy = p.tunnel != "" && yes(r, p.secrecy) && role != rider, yes(r, 0.015)
	q.lunch, q.loose = between(r, 170, 290), spread(r, 9, 0.6)
	start, length := 8.5+0.6*r.NormFloat64(), 8+0.5*r.NormFloat64()
	q.workdays = 0b0011111
	switch role {
	case clerk:
		start += pick(r, []float64{0, 0, 0.5, 1.5, 4})
		q.rota(r, 0.35)
	case packer, lead:
		start += pick(r, []float64{-2, -1.5, -1.5, 4.5})
		q.rota(r, 0.3)
	case porter:
		start += pick(r, []float64{-3, -2.5, 3})
		q.rota(r, 0.4)
	case rider:
		start += pick(r, []float64{-1, -0.5, 0, 1})
		q.rota(r, 0.5)
	case operation:
		q.rota(r, 0.12)
	case admin:
		q.late = within(r, 1, 60)
	case developer:
		start++
	}
	q.from, q.to = 60*start, 60*(start+max(4, length))
	if role != packer && role != porter && role != rider && role != lead && yes(r, 0.5) {
		q.remote = uint8(r.IntN(128) & r.IntN(128))
	}
	if len(p.outlets) > 0 && (role == packer || role == porter || role == rider || role == lead) {
		q.outlet = pick(r, p.outlets)
	}
	if yes(r, 0.25) && (role == operation || role == manager || role == finance || role == clerk && q.seed%5 == 0) {
		q.exports = min(0.5, spread(r, 0.05, 1))
	}
	q.fate(r)
	return q
}

// join adds q to the staff.
func (p *partner) join(q *person) *person {
	p.people = append(p.people, q)
	return q
}

// rota gives some work on days at the weekend, and others off instead.
func (q *person) rota(r *rand.Rand, share float64) {
	for d := 5; d < 7; d++ {
		if yes(r, share) {
			q.workdays = q.workdays&^(1<<r.IntN(5)) | 1<<d
		}
	}
}

// fate draws what will happen to q.
func (q *person) fate(r *rand.Rand) {
	days := q.p.w.cfg.Days
	happens := func(perMonth float64) (day int) {
		if p := perMonth * float64(days) / 30; yes(r, p) {
			return r.IntN(days)
		}
		return never
	}
	if q.away = happens(0.08); q.away != never {
		q.returned = q.away + within(r, 4, 21)
	}
	if q.abroad = happens(0.012); q.abroad != never {
		q.journey, q.where = within(r, 2, 9), pick(r, abroad)
	}
	q.laptop, q.forgot, q.ill = happens(0.025), happens(0.05), happens(0.1)
	if q.late == never {
		q.late = happens(0.05)
	}
	q.probed = happens(0.06)
	if q.changes = happens(0.01); q.changes != never {
		q.newRole = map[string]string{clerk: operation, operation: manager, packer: lead, porter: clerk, rider: porter}[q.role]
		if q.newRole == "" {
			q.changes = never
		}
	}
}

// upset draws what will happen to a partner as a whole.
func (p *partner) upset(r *rand.Rand) {
	days := p.w.cfg.Days
	if r := chance(p.seed, "outage", 0); yes(r, 0.2*float64(days)/30) {
		h := &p.habits
		h.down = p.at(r.IntN(days), between(r, 0, 24*60))
		h.up, h.loses = h.down+moat.Time(min(72, spread(r, 6, 0.8))*float64(moat.Hour)), yes(r, 0.5)
	}
	for i := range p.offices {
		if yes(r, 0.15*float64(days)/30) {
			o := &p.offices[i]
			o.moves, o.next, o.moved = within(r, 1, max(2, days-1)), address(r, p.country.office), movedOffice
			if yes(r, 0.6) {
				o.moved = natChange
				o.next = o.ip[:lastDot(o.ip)+1] + strconv.Itoa(2+r.IntN(250))
			}
		}
	}
	for _, a := range p.apps {
		if yes(r, 0.2*float64(days)/30) {
			a.rotates = within(r, 1, max(2, days-1))
		}
		if yes(r, 0.15*float64(days)/30) {
			a.grows, a.growth = within(r, 1, max(2, days-1)), r.IntN(len(grants))
		}
	}
	if n := len(p.hosts); n > 1 && yes(r, 0.2*float64(days)/30) { // a server is replaced
		old := p.hosts[0]
		old.gone = within(r, 1, max(2, days-1))
		p.hosts = append([]*host{{p: p, id: old.id + "b", ip: address(r, p.country.cloud), born: old.gone, gone: never, peers: old.peers, agentOn: old.agentOn, minute: old.minute}}, p.hosts...)
	}
}

func lastDot(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}

// job is the role of q on a day.
func (q *person) job(day int) string {
	if day >= q.changes {
		return q.newRole
	}
	return q.role
}

// works tells whether q is at work on a day.
func (q *person) works(day int) bool {
	switch {
	case day < q.hired || day >= q.left || day >= q.away && day < q.returned || day == q.ill:
		return false
	}
	return q.workdays>>q.p.weekday(day)&1 == 1
}

// weekday is 0 on Mondays, where p is.
func (p *partner) weekday(day int) int { return int((p.w.at(day+p.offset)/moat.Day + 3) % 7) } // 1970 began on a Thursday

// monthday is the day of the month, where p is.
func (p *partner) monthday(day int) int { return p.w.at(day + p.offset).Std().Day() }

// at is a time of a day where p is, given in minutes after its midnight.
func (p *partner) at(day int, minute float64) moat.Time {
	return p.w.at(day) + p.phase + moat.Time(minute*float64(moat.Minute))
}
