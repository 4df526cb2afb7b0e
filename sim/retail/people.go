package retail

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/moat-platform/moat"
)

// company is a partner with all that belongs to it.
type company struct {
	Company
	shops  []*shop
	people []*person
	office string // address that everybody in the office has
	server string // address that its servers call from
	hosts  []string
	key    string // id of its key for the platform
}

// shop is a merchant whose orders a service provider handles.
type shop struct {
	id     string
	orders []*order // that came in so far
}

// The jobs.
const (
	clerk   = "customer_service"
	finance = "finance"
	manager = "manager"
	packer  = "packer"
	porter  = "outlet_clerk" // takes parcels in at an outlet
	rider   = "courier"
	admin   = "admin"
)

// person is one of the staff.
type person struct {
	of      *company
	account string
	role    string
	shops   []*shop // a clerk's
	outlet  string
	device  string
	agent   string
	home    string  // address
	from    float64 // of the shift, minutes after midnight
	to      float64
	homeDay int // of the week; -1 for none
	off     int // day of the week without work, besides Saturday

	hired, left    int // days
	away, returned int // holiday, from one day to before the other
	travel         int // first of three days abroad; -1 for none
	laptop         int // day on which the device is replaced; -1 for none
	forgot         int // day on which the password is forgotten; -1 for none
}

const never = 1 << 20

var browsers = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0",
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
}

const scanner = "Mozilla/5.0 (Linux; Android 13; TC26) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36"

var (
	firstNames = []string{"amy", "ben", "carla", "dev", "ella", "finn", "grace", "harry", "isla", "jack", "kira", "liam", "maya", "noah", "olive", "priya",
		"quinn", "rosa", "sam", "tess", "umar", "vera", "will", "xena", "yusuf", "zoe", "adam", "bella", "colm", "dina", "ewan", "freya", "gus", "hana", "ivan", "jade", "kofi", "lena", "milo", "nina"}
	lastNames = []string{"ash", "birch", "cole", "dunn", "east", "ford", "gill", "hope", "ivey", "judd", "kay", "lowe", "marsh", "nash", "oaks", "pike", "reed", "shaw", "tate", "vale", "ward", "york"}
)

// settle makes the companies, their shops and their people.
func (w *World) settle() {
	r := w.chance("cast", 0)
	names := r.Perm(len(firstNames))
	add := func(c *company, role string, n int, from, to float64) {
		for i := range n {
			first := firstNames[names[0]]
			names = names[1:]
			p := &person{of: c, role: role, account: first + "." + pick(r, lastNames), device: device(r), agent: pick(r, browsers), home: household(r),
				from: from, to: to, homeDay: -1, off: -1, left: never, travel: -1, laptop: -1, forgot: -1}
			if i%2 == 1 { // the late shift
				p.from, p.to = from+90, to+90
			}
			c.people = append(c.people, p)
		}
	}
	tidewell := w.company("tidewell", "Tidewell ERP", "tidewell-erp", "81.138.20.14", "195.171.2.40", "tw-web-1", "tw-app-1", "tw-db-1")
	larkfield := w.company("larkfield", "Larkfield OMS", "larkfield-oms", "86.5.40.77", "213.120.9.20", "lf-web-1", "lf-db-1")
	w.warehouse = w.company("quayside", "Quayside Warehouse", "quayside-wms", "62.31.9.130", "62.31.9.131", "qs-wms-1")
	w.courier = w.company("swallow", "Swallow Parcels", "swallow-hub", "217.33.140.9", "217.33.140.30", "sw-hub-1")
	w.erps = []*company{tidewell, larkfield}
	for _, s := range []string{"attic-lane", "copper-kettle", "harbour-home", "wren-garden"} {
		tidewell.shops = append(tidewell.shops, &shop{id: s})
	}
	for _, s := range []string{"little-fox", "oak-and-ivy", "paper-moon"} {
		larkfield.shops = append(larkfield.shops, &shop{id: s})
	}
	for i, c := range w.erps {
		add(c, clerk, 5-i, 8*60, 16.5*60)
		add(c, finance, 2-i, 8.5*60, 17*60)
		add(c, manager, 1, 8.5*60, 17.5*60)
		add(c, admin, 2, 9*60, 17*60)
	}
	add(w.warehouse, packer, 5, 7*60, 15.5*60)
	add(w.warehouse, manager, 1, 7*60, 16*60)
	add(w.warehouse, admin, 1, 9*60, 17*60)
	add(w.courier, porter, 4, 5.75*60, 13.5*60)
	add(w.courier, rider, 7, 7.5*60, 16*60)
	add(w.courier, manager, 1, 7*60, 16*60)
	add(w.courier, admin, 1, 9*60, 17*60)
	w.arrange(r)
	shops := append(slices.Clone(tidewell.shops), larkfield.shops...)
	for _, o := range w.orders {
		o.shop = shops[w.share(o)%uint64(len(shops))]
	}
}

func (w *World) company(id, name, app, office, server string, hosts ...string) *company {
	c := &company{Company: Company{id, name, app}, office: office, server: server, hosts: hosts, key: "ak-" + id}
	w.companies = append(w.companies, c)
	return c
}

// share maps an order to a number by which it goes to a shop: a customer stays with one.
func (w *World) share(o *order) uint64 {
	what := fmt.Sprint("customer ", o.customer)
	if o.customer == 0 {
		what = "order " + o.id
	}
	return w.chance(what, 0).Uint64()
}

// arrange gives people their shops, outlets, days off and days at home.
func (w *World) arrange(r *rand.Rand) {
	outlets := []string{"swallow-north", "swallow-river", "swallow-hill"}
	for _, c := range w.companies {
		for i, p := range c.people {
			switch p.role {
			case clerk: // every shop has two or three of them
				for j, s := range c.shops {
					if (i+j)%2 == 0 {
						p.shops = append(p.shops, s)
					}
				}
				p.off, p.homeDay = -1, r.IntN(5)
				if i > 0 { // of those who work on Sundays, each has another free day
					p.off = i % 5
				}
			case packer:
				p.outlet, p.agent, p.off = "quayside-dock", scanner, i%5
			case porter, rider:
				p.outlet, p.agent, p.off = outlets[i%len(outlets)], scanner, i%5
			case finance, manager:
				p.homeDay = 2 + r.IntN(3)
			}
		}
	}
}

// oddities gives some people what happens to honest ones.
func (w *World) oddities() {
	r := w.chance("oddities", 0)
	last := w.cfg.Days
	workday := func(from, to int) int {
		for {
			if d := from + r.IntN(max(1, to-from)); d%7 < 5 && !w.closed(d) {
				return d
			}
		}
	}
	staff := func(i int, role string) []*person { return w.companies[i].with(role) }
	// The accountant forgets the password, of all days on the Monday of the report.
	staff(0, finance)[0].forgot = 7 * (2 + r.IntN(last/7-2))
	staff(1, clerk)[1].forgot = workday(10, last)
	staff(0, clerk)[3].laptop = workday(16, last)
	staff(3, manager)[0].laptop = workday(10, last)
	// A holiday of two weeks.
	p := staff(1, clerk)[2]
	p.away = 7 + r.IntN(5)
	p.returned = p.away + 14
	p = staff(2, packer)[1]
	p.away = workday(10, last-10)
	p.returned = p.away + 9
	// The manager of Larkfield sees suppliers abroad.
	staff(1, manager)[0].travel = 7*(2+r.IntN(last/7-2)) + 1
	// An honest new hire, who learns for some days.
	staff(2, packer)[4].hired = 7 * (2 + r.IntN(last/7-2))
}

// with returns the people of a role.
func (c *company) with(role string) []*person {
	var out []*person
	for _, p := range c.people {
		if p.role == role {
			out = append(out, p)
		}
	}
	return out
}

// works tells whether p is at work on a day.
func (w *World) works(p *person, day int) bool {
	switch {
	case day < p.hired || day >= p.left || day >= p.away && day < p.returned:
		return false
	case day%7 == 5:
		return p.role == rider && p.off > 2 // parcels go out on Saturdays too
	case w.closed(day):
		return false
	case day%7 == 6:
		return (p.role == clerk || p.role == packer) && p.off >= 0 && p.off < 3
	}
	return p.off != day%7
}

// closed tells whether a day is a holiday: the real shop took no order.
func (w *World) closed(day int) bool {
	from, to := w.span(w.at(day, 0), w.at(day+1, 0))
	return from == to
}

// span returns which orders came from one time to before another.
func (w *World) span(from, to moat.Time) (first, end int) {
	by := func(o *order, t moat.Time) int {
		if o.at < t {
			return -1
		}
		return 1
	}
	first, _ = slices.BinarySearchFunc(w.orders, from, by)
	end, _ = slices.BinarySearchFunc(w.orders, to, by)
	return first, end
}

func device(r *rand.Rand) string { return fmt.Sprintf("%012x", r.Uint64()>>16) }

// household returns an address as homes in Britain have them.
func household(r *rand.Rand) string {
	net := pick(r, []string{"82.30", "90.196", "31.48", "94.12", "78.144", "87.81", "80.0"})
	return fmt.Sprintf("%s.%d.%d", net, 1+r.IntN(250), 2+r.IntN(250))
}

// phone returns an address of a mobile carrier; it changes within few networks.
func phone(r *rand.Rand) string {
	return fmt.Sprintf("%s.%d", pick(r, []string{"92.40.1", "92.40.7", "94.197.3", "188.28.4"}), 2+r.IntN(250))
}
