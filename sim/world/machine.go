package world

import (
	"math/rand/v2"
	"strconv"

	"github.com/moat-platform/moat"
)

// shell is who acts on a server: a person or a job under a user of the system, or a thief.
type shell struct {
	h    *host
	user string
	ip   string // from where, for logins
	day  int
	by   *thief
}

// shell returns a user on the server.
func (h *host) shell(day int, user string) *shell { return &shell{h: h, user: user, day: day} }

func (s *shell) event(at moat.Time, t moat.EventType) *moat.Event {
	e := s.h.p.w.mail.new()
	e.Time, e.Type, e.Host, e.ActorKind = at, t, s.h.id, moat.ActorSystem
	return s.h.p.w.mail.post(s.h.p, e, s.by)
}

// login is a login at the server.
func (s *shell) login(at moat.Time, service, method string, outcome moat.Outcome) *moat.Event {
	e := s.event(at, moat.HostLogin)
	e.Actor, e.ActorKind, e.User, e.IP, e.Service, e.Method, e.Outcome = s.user, moat.ActorAdmin, s.user, s.ip, service, method, outcome
	return e
}

// process is a program that starts.
func (s *shell) process(at moat.Time, exe, args, parent string) *moat.Event {
	e := s.event(at, moat.HostProcess)
	e.Exe, e.Args, e.Parent, e.User, e.PID = exe, args, parent, s.user, 600+int64(mix(uint64(at), s.h.p.seed)%60_000)
	return e
}

// file is a change of a watched file.
func (s *shell) file(at moat.Time, operation, path string) *moat.Event {
	e := s.event(at, moat.HostFile)
	e.Operation, e.Path, e.User, e.Hash = operation, path, s.user, hex(mix(word(path), uint64(at)), 64)
	return e
}

// connect is a connection from the server.
func (s *shell) connect(at moat.Time, peer string, port, bytes int64, exe string) *moat.Event {
	e := s.event(at, moat.HostNetwork)
	e.Peer, e.Port, e.Bytes, e.Exe, e.Direction = peer, port, bytes, exe, "out"
	return e
}

// query is a statement on the database of the server's partner.
func (s *shell) query(at moat.Time, template string, tables []string, client string, rows int64) *moat.Event {
	e := s.event(at, moat.DBQuery)
	e.Actor, e.ActorKind, e.DB, e.Tables, e.Template, e.Client, e.Rows = s.user, moat.ActorService, s.h.p.id+"_orders", tables, template, client, rows
	e.DurationMS = 1 + rows/40 + int64(mix(uint64(at), 5)%12)
	return e
}

// db is the server with the database.
func (p *partner) db() *host { return p.hosts[len(p.hosts)-1] }

// front is the server that answers the web on a day.
func (p *partner) front(day int) *host {
	for _, h := range p.hosts {
		if day >= h.born && day < h.gone {
			return h
		}
	}
	return p.db()
}

// size is how many orders a partner's database holds.
func (p *partner) size(day int) int64 {
	n := 50.0
	for _, s := range p.shops {
		n += s.rate * float64(200+day)
	}
	return int64(n) + int64(len(p.seen))*9
}

// machines is what servers do of themselves on a day.
func (p *partner) machines(day int) {
	r := chance(p.seed, "machines", day)
	every := 60.0
	if p.w.cfg.Partners > 400 {
		every = 360
	}
	for _, h := range p.hosts {
		if !h.agentOn || day < h.born || day >= h.gone {
			continue
		}
		for minute := between(r, 0, every); minute < 24*60; minute += every {
			e := h.shell(day, "").event(p.at(day, minute), moat.Heartbeat)
			e.Actor, e.App, e.Version, e.Seq = "system", p.apps[0].id, p.apps[0].version(day), int64(float64(day+1)*24*60/every+minute/every)
		}
		for range count(r, 1.5) {
			p.chores(r, h, day)
		}
	}
	p.backup(r, day)
	p.jobs(r, day)
	p.deploy(r, day)
	if p.web {
		p.visit(r, day)
	}
	for _, a := range p.apps {
		if a.rotates == day {
			c := a.caller(day, 0)
			e := c.event(p.at(day, between(r, 540, 1000)), moat.AccountChange)
			e.Object, e.Change, e.Before, e.After = a.id, "key", a.key, a.nextKey
			p.w.note(keyRotation)
		}
		a.evolve(r, day)
	}
}

// evolve is what an app's owners do to it: it may do more, or hands orders to another place.
func (a *app) evolve(r *rand.Rand, day int) {
	p := a.p
	q := p.first(admin, day)
	if q == nil {
		q = p.people[0]
	}
	k := q.desk(day)
	at := k.from + moat.Time(between(r, 0.1, 0.9)*float64(k.to-k.from))
	for _, s := range a.sends {
		switch {
		case s.from == day && day > 0:
			k.change(at, a.id, "webhook", "", s.to)
		case s.moves == day:
			k.change(at, a.id, "webhook", s.to, s.url(day))
			p.w.note(movedEndpoint)
		}
	}
	if day < a.grows {
		return
	}
	g := grants[a.growth]
	if day == a.grows {
		k.grant(at, a, g.scope)
	}
	p.w.note(newScope)
	c := a.caller(day, 0)
	c.method = g.method
	for range within(r, 1, 12) { // the new feature is used
		if orders := newest(p.shops, at, within(r, 1, 60)); len(orders) > 0 {
			c.pull(at, orders...)
		}
		at += moat.Time(spread(r, 1500, 0.8) * float64(moat.Second))
	}
}

// chores is what a server does now and then.
func (p *partner) chores(r *rand.Rand, h *host, day int) {
	at := p.at(day, between(r, 0, 24*60))
	switch weighted(r, 5, 3, 2, 2, 0.03, 0.5) {
	case 0:
		h.shell(day, "app").connect(at, pick(r, h.peers), 443, int64(spread(r, 40_000, 1.5)), pick(r, []string{"/usr/bin/java", "/usr/bin/java", "/usr/bin/curl", p.stack().parent}))
	case 1:
		exe := pick(r, []string{"/usr/sbin/logrotate", "/usr/bin/certbot", "/usr/bin/apt-get", "/usr/lib/sysstat/sa1", "/usr/bin/find"})
		h.shell(day, "root").process(at, exe, "", "/usr/sbin/cron")
	case 2:
		h.shell(day, "root").file(at, "modify", pick(r, []string{"/etc/resolv.conf", "/var/spool/cron/root", "/etc/nginx/nginx.conf", "/etc/hosts"}))
	case 3:
		h.shell(day, "app").query(at, pick(r, []string{"select * from orders where id = ?", "update orders set state = ? where id = ?", "select id, state from orders where shop = ? and created > ? limit ?", "select * from orders where id between ? and ?"}),
			[]string{"orders"}, "jdbc", max(0, int64(spread(r, 12, 2))-4))
		if yes(r, 0.03) {
			e := h.shell(day, p.apps[0].id).query(at, "update orders set state = ? where id = ?", []string{"orders"}, "jdbc", 0)
			e.Outcome, e.Reason = moat.Failure, pick(r, []string{"lock wait timeout", "connection lost", "syntax error"})
		}
	case 4:
		e := h.shell(day, "root").event(at, moat.HostMalware)
		e.Path, e.Name, e.Action = "/opt/app/lib/agent-"+strconv.Itoa(r.IntN(9))+".jar", pick(r, []string{"PUA.Java.Packed", "Heur.Suspicious.Zip", "Eicar-Test-Signature"}), "quarantined"
		p.w.note(benignMalware)
	case 5: // a picture of a return, made smaller
		x := p.stack()
		h.shell(day, x.user).file(at, "create", x.root+hex(r.Uint64(), 12)+pick(r, []string{".jpg", ".png", ".pdf"}))
		h.shell(day, x.user).process(at+moat.Second, pick(r, []string{"/usr/bin/convert", "/usr/bin/convert", "/usr/bin/exiftool", x.shell}), "", x.parent)
	}
}

// backup is the dump of the database at night, by a job or by an administrator's hand.
func (p *partner) backup(r *rand.Rand, day int) {
	h := p.db()
	if h.backup == "" {
		return
	}
	at, s := p.at(day, h.minute+between(r, 0, 3)), h.shell(day, "backup")
	parent := "/usr/sbin/cron"
	if p.seed%6 == 0 { // by hand, on some days
		if r.IntN(5) > 0 {
			return
		}
		parent = "/bin/bash"
		at += 18 * moat.Hour
		if q := p.first(admin, day); q != nil {
			s.user, s.ip = q.account, q.desk(day).ip
			s.login(at-2*moat.Minute, "sshd", "publickey", moat.Success)
		}
	}
	s.process(at, h.backup, "--single-transaction "+p.id+"_orders", parent)
	client := h.backup[lastSlash(h.backup)+1:]
	s.query(at+10*moat.Second, "select * from orders", []string{"orders"}, client, p.size(day))
	s.connect(at+moat.Time(between(r, 2, 20)*float64(moat.Minute)), p.hosts[0].peers[0], 443, p.size(day)*int64(180+p.seed%100), "/usr/bin/rclone")
	p.w.note(nightDump)
}

func lastSlash(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '/' {
			return i
		}
	}
	return -1
}

// first returns one who works in a role on a day, or nil.
func (p *partner) first(role string, day int) *person {
	for _, q := range p.people {
		if q.job(day) == role && q.works(day) {
			return q
		}
	}
	return nil
}

// jobs are programs that read or delete much, by plan.
func (p *partner) jobs(r *rand.Rand, day int) {
	a := p.apps[0]
	if p.kind != Logistics && p.seed%3 == 0 && p.weekday(day) == int(p.seed/3%7) { // reconciliation
		at, c := p.at(day, p.db().minute+65), a.caller(day, 1)
		c.method = "orders.get"
		orders := newest(p.shops, at, 3000)
		for i := 0; i < len(orders); i += 100 {
			at += moat.Time(spread(r, 2, 0.5) * float64(moat.Second))
			c.pull(at, orders[i:min(len(orders), i+100)]...)
		}
		p.db().shell(day, "report").query(at, "select id, buyer, amount from orders where created >= ?", []string{"orders", "payments"}, "jdbc", int64(len(orders))*7)
		if len(orders) > 0 {
			p.w.note(bulkJob)
		}
	}
	if p.seed%4 == 1 && p.weekday(day) == int(p.seed/4%7) {
		a.caller(day, 0).erase(p.at(day, p.db().minute+140), "retention", p.size(day)/200)
		p.w.note(erasure)
	}
}

// deploy is the day of a new version.
func (p *partner) deploy(r *rand.Rand, day int) {
	a := p.apps[0]
	if day < 1 || a.version(day) == a.version(day-1) {
		return
	}
	at := p.at(day, between(r, 600, 1380))
	for _, h := range p.hosts {
		if day < h.born || day >= h.gone || h.db {
			continue
		}
		s := h.shell(day, "deploy")
		s.ip = p.hosts[0].ip
		s.login(at, "sshd", "publickey", moat.Success)
		s.process(at+3*moat.Second, "/usr/bin/systemctl", "restart "+a.id, "/bin/bash")
		s.file(at+5*moat.Second, "modify", "/opt/"+a.id+"/app.jar")
		for range within(r, 0, 4) {
			s.file(at+6*moat.Second, "create", "/var/www/html/static/"+pick(r, wordsA)+"."+hex(r.Uint64(), 8)+pick(r, []string{".js", ".css", ".html"}))
		}
		s.process(at+9*moat.Second, "/usr/bin/java", "-jar /opt/"+a.id+"/app.jar", "/usr/lib/systemd/systemd")
		at += moat.Time(between(r, 40, 400) * float64(moat.Second))
	}
	p.w.note(deployment)
}

// visit is what the web server is asked: by browsers of the staff, and by the internet.
func (p *partner) visit(r *rand.Rand, day int) {
	see := func(at moat.Time, ip, agent, method, path string, status int64) *moat.Event {
		return p.visited(at, ip, agent, method, path, status, nil)
	}
	pages := []string{"/", "/login", "/orders", "/orders/view", "/orders/search", "/orders/attach", "/api/files/upload", "/track", "/static/app.js", "/api/orders/list", "/api/health", "/api/profile"}
	for range min(60, len(p.people)*2) {
		q := pick(r, p.people)
		see(p.at(day, between(r, q.from, q.to)), p.offices[q.place].on(day), q.browser.agent(day, q.lag), pick(r, []string{"GET", "GET", "GET", "POST"}), pick(r, pages), pick(r, []int64{200, 200, 200, 200, 304, 302, 404, 500}))
	}
	if yes(r, 0.25) {
		ip, at := address(r, crawls), p.at(day, between(r, 0, 1400))
		agent := pick(r, scanners)
		for range within(r, 4, 60) {
			e := see(at, ip, agent, pick(r, []string{"GET", "GET", "GET", "POST"}), pick(r, doors), pick(r, []int64{404, 404, 404, 403, 301, 405}))
			if yes(r, 0.3) {
				e.WAF = []string{strconv.Itoa(pick(r, []int{930, 932, 933, 942})*1000 + 100 + 10*r.IntN(9))}
			}
			at += moat.Time(spread(r, 1, 1) * float64(moat.Second))
		}
		p.w.note(scan)
	}
}

// What is the same whether honest people or thieves do it.
var (
	doors    = []string{"/.env", "/wp-login.php", "/upload.php", "/actuator/health", "/actuator/env", "/.git/config", "/phpmyadmin/index.php", "/api/v1/users", "/admin/login", "/server-status", "/cgi-bin/luci", "/console", "/manager/html", "/solr/admin", "/api/export", "/api/files/upload", "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php"}
	scanners = []string{"Mozilla/5.0 zgrab/0.x", "curl/8.5.0", "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)", "python-requests/2.31.0", "Go-http-client/1.1", "sqlmap/1.8.4#stable (https://sqlmap.org)", ""}
	clients  = []string{"DBeaver", "DBeaver", "DataGrip", "mysql", "psql", "Navicat"}
	byEye    = []string{"select * from orders where id = ?", "select state, count(*) from orders group by state", "select id, created from orders where shop = ? limit ?", "show tables", "select count(*) from orders", "select * from orders limit ?"}
	byMany   = []string{"select * from orders where created > ?", "select name, phone, address from orders where created between ? and ?", "select o.*, b.phone from orders o join buyers b on b.id = o.buyer"}
	stacks   = []stack{{"www-data", "/var/www/html/uploads/", ".php", "/usr/sbin/php-fpm8.2", "/bin/sh"}, {"tomcat", "/opt/tomcat/webapps/files/", ".jsp", "/usr/bin/java", "/bin/bash"},
		{"app", "/var/www/html/static/", ".jspx", "/usr/bin/java", "/bin/sh"}, {"nginx", "/usr/share/nginx/html/img/", ".php", "/usr/sbin/php-fpm", "/bin/dash"}}
)

// stack is what a web server runs on.
type stack struct{ user, root, suffix, parent, shell string }

// stack is that of a partner's web servers.
func (p *partner) stack() stack { return stacks[p.seed/7%4] }

// visited is a request that the web server was asked.
func (p *partner) visited(at moat.Time, ip, agent, method, path string, status int64, by *thief) *moat.Event {
	e := p.w.mail.new()
	x := mix(uint64(at), p.seed)
	e.Time, e.Type, e.Host, e.App, e.IP, e.UserAgent, e.Method, e.Path, e.Status = at, moat.HTTPRequest, p.front(p.w.day).id, p.apps[0].id, ip, agent, method, path, status
	e.LatencyMS, e.Bytes = int64(8+x%40*(1+x>>8%7)), int64(200+x>>16%9000)
	return p.w.mail.post(p, e, by)
}

// administer is the day of an administrator: servers and accounts.
func (k *desk) administer() {
	p := k.q.p
	for _, at := range k.moments(count(k.r, 1.6*k.q.pace)) {
		h := pick(k.r, p.hosts)
		if k.day < h.born || k.day >= h.gone {
			continue
		}
		s := h.shell(k.day, k.account)
		s.ip = k.ip
		if yes(k.r, 0.06) {
			s.login(at-20*moat.Second, "sshd", "publickey", moat.Failure)
		}
		s.login(at, "sshd", "publickey", moat.Success)
		s.process(at+k.pause(60), pick(k.r, []string{"/usr/bin/sudo", "/usr/bin/less", "/usr/bin/journalctl", "/usr/bin/vim", "/usr/bin/htop", "/usr/bin/ls", "/usr/bin/cat", "/usr/bin/id", "/usr/bin/env", "/usr/bin/find"}), "", "/bin/bash")
		if h.db && yes(k.r, 0.3) {
			s.query(at+k.pause(120), "select count(*) from orders where state = ?", []string{"orders"}, "mysql", 1)
		}
	}
	if p.first(admin, k.day) != k.q { // one looks after the accounts
		return
	}
	for _, q := range p.people {
		at := k.from + k.pause(2400)
		switch k.day {
		case q.hired:
			k.change(at, q.account, "sub_account", "", q.role)
		case q.left:
			k.change(at, q.account, "status", "active", "closed")
			k.w.note(leaver)
		case q.changes:
			k.change(at, q.account, "role", q.role, q.newRole)
		}
	}
}

// develop is the day of a developer.
func (k *desk) develop() {
	h := k.q.p.db()
	for _, at := range k.moments(count(k.r, 1.5*k.q.pace)) {
		s := h.shell(k.day, k.account)
		s.ip = k.ip
		rows, template := int64(spread(k.r, 20, 1.3)), pick(k.r, byEye)
		if yes(k.r, 0.05) {
			rows, template = int64(within(k.r, 500, 3000)), pick(k.r, byMany)
			k.w.note(adHocQuery)
		}
		if yes(k.r, 0.03) {
			s.user = k.q.p.apps[0].id
			k.w.note(serviceByHand)
		}
		s.query(at, template, []string{"orders"}, pick(k.r, clients), rows).IP = k.ip
		if yes(k.r, 0.06) {
			e := s.query(at-k.pause(30), template, []string{"orders"}, pick(k.r, clients), 0)
			e.IP, e.Outcome, e.Reason = k.ip, moat.Failure, "syntax error"
		}
	}
}
