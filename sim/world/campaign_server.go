package world

import (
	"strconv"

	"github.com/moat-platform/moat"
)

// intruders are campaigns against servers and the database behind them.
func intruders() []campaign {
	return []campaign{{
		name: "server break-in", days: 5, plan: breakIn,
		doc: "A web server is searched for a hole, gets a shell put into its pages, and hands out the database.",
	}, {
		name: "SQL injection", days: 3, plan: injection,
		doc: "A field of a web page is not checked; through it statements reach the database, first wrong ones, then ones that answer with orders.",
	}, {
		name: "service account by hand", days: 6, plan: byHand,
		doc: "Somebody who knows the password of the app's own database account reads tables with it, by hand.",
	}}
}

// served tells whether a partner has a web server whose log and agent are read, and something in the database.
func (t *thief) served(p *partner) bool {
	return p.web && p.front(t.day).agentOn && p.worthwhile() && len(p.hosts) > 1
}

// knock searches a web server for holes and returns when that is done.
func (t *thief) knock(p *partner, at moat.Time, ip, agent string) moat.Time {
	tries := within(t.r, 30, 250)
	if t.careful {
		tries = within(t.r, 2, 9)
	}
	for range tries {
		e := t.visit(p, at, ip, agent, pick(t.r, []string{"GET", "GET", "GET", "POST"}), pick(t.r, doors), pick(t.r, []int64{404, 404, 404, 403, 301, 405}))
		if !t.careful && yes(t.r, 0.2) {
			e.WAF = []string{strconv.Itoa(930_100 + 10*t.r.IntN(9))}
		}
		at += moat.Time(spread(t.r, 2, 1) * float64(moat.Second))
	}
	return at
}

// tool is the agent of who attacks web pages: a scanner's, or a browser's.
func (t *thief) tool() string {
	if t.careful || yes(t.r, 0.3) {
		_, agent := t.machine()
		return agent
	}
	return pick(t.r, scanners)
}

func breakIn(t *thief) bool {
	p := t.partner(t.served)
	if p == nil {
		return false
	}
	ip, agent, away := t.hideout(p.country), t.tool(), address(t.r, pick(t.r, abroad).cloud)
	kind := p.stack()
	name := hex(t.r.Uint64(), within(t.r, 4, 12)) + kind.suffix
	if t.careful {
		name = pick(t.r, []string{"index", "health", "thumb", "style", "cache"}) + kind.suffix
	}
	var last moat.Time
	front := func(day int) *shell { return t.shell(p.front(day), day, kind.user, ip) }
	ask := func(day int, at moat.Time, exe, args string) {
		t.visit(p, at, ip, agent, "POST", "/"+lastName(kind.root)+name, 200)
		front(day).process(at+moat.Time(t.r.IntN(400))*moat.Millisecond, exe, args, kind.parent)
	}
	t.on(t.day, func(day int) {
		at := t.knock(p, p.at(day, between(t.r, 0, 20*60)), ip, agent)
		t.blame(moat.IP, ip)
		t.blame(moat.Host, p.front(day).id)
		at += moat.Time(spread(t.r, 600, 1) * float64(moat.Second))
		e := t.visit(p, at, ip, agent, "POST", pick(t.r, []string{"/api/files/upload", "/orders/attach"}), pick(t.r, []int64{200, 200, 500}))
		if !t.careful && yes(t.r, 0.4) {
			e.WAF = []string{strconv.Itoa(933_100 + 10*t.r.IntN(9))}
		}
		front(day).file(at+moat.Time(t.r.IntN(900))*moat.Millisecond, "create", kind.root+name)
		for range within(t.r, 3, 12) {
			at += moat.Time(spread(t.r, 25, 0.8) * float64(moat.Second))
			ask(day, at, pick(t.r, []string{kind.shell, "/usr/bin/id", "/usr/bin/cat", "/usr/bin/ls", "/usr/bin/find", "/usr/bin/env"}), pick(t.r, []string{"-c id", "-c whoami", "/opt/app/config.yml", "-la /opt", "/ -name *.conf", ""}))
		}
		last = at
	})
	nights := 1
	if t.careful {
		nights = within(t.r, 2, 4)
	}
	for n := range nights {
		t.on(t.day+within(t.r, 0, 1)+n, func(day int) {
			at := max(last+moat.Minute, p.at(day, between(t.r, 30, 1000)))
			db := t.shell(p.db(), day, p.apps[0].id, "")
			t.blame(moat.Host, p.db().id)
			t.blame(moat.IP, away)
			rows := min(p.size(day), int64(spread(t.r, 60_000, 1)))
			if t.careful { // in pieces, as the app reads
				rows = int64(within(t.r, 2000, 9000))
				for part := rows; part > 0; part -= 1000 {
					db.query(at, "select * from orders where id between ? and ?", []string{"orders"}, "jdbc", min(part, 1000))
					at += moat.Time(spread(t.r, 20, 0.5) * float64(moat.Second))
				}
			} else {
				client := pick(t.r, []string{"mysqldump", "mysql", "pg_dump", "jdbc"})
				ask(day, at, "/usr/bin/"+client, "-h "+p.db().id+" "+p.id+"_orders")
				db.query(at+moat.Second, pick(t.r, []string{"select * from orders", "select name, phone, address from orders"}), []string{"orders"}, client, rows)
			}
			at += moat.Time(spread(t.r, 300, 0.7) * float64(moat.Second))
			front(day).connect(at, away, pick(t.r, []int64{443, 443, 22, 8443}), rows*int64(within(t.r, 60, 200)), pick(t.r, []string{"/usr/bin/curl", "/usr/bin/scp", kind.parent}))
			t.takes(newest(p.shops, at, int(min(rows, 4000)))...)
			last = at
		})
	}
	return true
}

// lastName is the last folder of a path, with the slash after it.
func lastName(path string) string {
	return path[lastSlash(path[:len(path)-1])+1:]
}

func injection(t *thief) bool {
	p := t.partner(func(p *partner) bool { return p.web && p.worthwhile() })
	if p == nil {
		return false
	}
	ip, agent := t.hideout(p.country), t.tool()
	page, gap, tries := pick(t.r, []string{"/orders/view", "/api/orders/list", "/track", "/orders/search"}), spread(t.r, 0.8, 0.6), within(t.r, 40, 300)
	if t.careful {
		gap, tries = spread(t.r, 20, 0.6), within(t.r, 15, 60)
	}
	wrong := []string{"select * from orders where id = ? or ? = ?", "select * from orders where id = ? and sleep(?)", "select * from orders where id = ? union select ?",
		"select * from orders where id = ? union select ?", "select * from orders where id = ? and extractvalue(?, concat(?, (select version())))", "select * from orders where id = ? order by ?"}
	asks := func(day int, at moat.Time, template string, tables []string, rows int64, waf float64) *moat.Event {
		status := int64(200)
		if rows < 0 {
			status = pick(t.r, []int64{500, 500, 200, 403})
		}
		e := t.visit(p, at, ip, agent, "GET", page, status)
		if yes(t.r, waf) {
			e.WAF = []string{strconv.Itoa(942_100 + 10*t.r.IntN(40))}
		}
		return t.shell(p.db(), day, p.apps[0].id, "").query(at+20*moat.Millisecond, template, tables, "jdbc", max(0, rows))
	}
	t.on(t.day, func(day int) {
		t.blame(moat.IP, ip)
		t.blame(moat.Account, p.apps[0].id)
		t.blame(moat.Host, p.db().id)
		at := p.at(day, between(t.r, 0, 20*60))
		waf := between(t.r, 0.2, 0.8)
		if t.careful {
			waf = between(t.r, 0, 0.1)
		}
		for range tries {
			e := asks(day, at, pick(t.r, wrong), []string{"orders"}, -1, waf)
			if yes(t.r, 0.7) {
				e.Outcome, e.Reason = moat.Failure, "syntax error"
			}
			at += moat.Time(spread(t.r, gap, 0.7) * float64(moat.Second))
		}
		for range within(t.r, 1, 6) {
			asks(day, at, "select * from orders where id = ? union select table_name, ? from information_schema.tables", []string{"orders", "information_schema.tables"}, int64(within(t.r, 20, 200)), waf)
			at += moat.Time(spread(t.r, 30, 0.7) * float64(moat.Second))
		}
		rows, most := 1.0, within(t.r, 3000, 30_000)
		if t.careful {
			most = within(t.r, 500, 3000)
		}
		for taken := 0; taken < most; { // more at a time, as long as it goes well
			n := int(min(rows, 2000, float64(most-taken)))
			if n < 1 {
				n = 1
			}
			asks(day, at, "select * from orders where id = ? union select name, phone, address from orders limit ?", []string{"orders"}, int64(n), waf)
			taken += n
			rows *= between(t.r, 1.3, 4)
			at += moat.Time(spread(t.r, 10*gap, 0.7) * float64(moat.Second))
		}
		t.takes(newest(p.shops, at, most)...)
	})
	return true
}

func byHand(t *thief) bool {
	p := t.partner(func(p *partner) bool { return p.kind != Logistics && p.worthwhile() })
	if p == nil {
		return false
	}
	q := t.person(p, t.day, developer, admin)
	ip := t.hideout(p.country) // who found it in a configuration file
	if q != nil && yes(t.r, 0.6) {
		ip = "" // one who works here
	}
	client := pick(t.r, clients)
	visits, share := within(t.r, 1, 2), 1.0
	if t.careful {
		visits, share = within(t.r, 3, 5), 0.04
	}
	for n := range visits {
		t.on(t.day+n, func(day int) {
			at, from := p.at(day, between(t.r, 0, 23*60)), ip
			if q != nil && from == "" {
				k := t.desk(q, day)
				at, from = t.moment(k), k.ip
			}
			s := t.shell(p.db(), day, p.apps[0].id, from)
			t.blame(moat.Account, s.user)
			t.blame(moat.IP, from)
			for range within(t.r, 2, 9) {
				s.query(at, pick(t.r, byEye), []string{"orders"}, client, int64(within(t.r, 1, 100))).IP = from
				at += moat.Time(spread(t.r, 70, 0.8) * float64(moat.Second))
			}
			for range within(t.r, 1, 4) {
				rows := max(200, min(60_000, int64(share*spread(t.r, 0.5, 0.6)*float64(p.size(day)))))
				e := s.query(at, pick(t.r, byMany), []string{"orders"}, client, rows)
				e.IP = from
				t.takes(newest(p.shops, at, int(min(rows, 2000)))...)
				at += moat.Time(spread(t.r, 240, 0.8) * float64(moat.Second))
			}
		})
	}
	return true
}
