package engine_test

import (
	"strings"
	"testing"

	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
)

// scripted runs a detector given as a patch of a small file, with its tests.
func scripted(t *testing.T, body, fires, rests string) {
	t.Helper()
	indent := func(s string) string {
		return "      " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n      ")
	}
	src := "id: test.one\ndimension: A5\ntitle: t\ndoc: d\nconfidence: 0.5\nfalse_positives: [f]\nevasions: [e]\n" + strings.TrimSpace(body) +
		"\ntests:\n  - name: fires\n    script: |\n" + indent(fires) + "\n  - name: rests\n    script: |\n" + indent(rests) + "\n"
	list, err := rule.Parse("one.yaml", []byte(src))
	if err != nil {
		t.Fatal(err, "\n", src)
	}
	for _, p := range engine.RunTests(list[0], engine.Config{Seed: seed, Net: net}) {
		t.Error(p.Display())
	}
}

// TestLevels: the risk of a login from address, network, country and from browser, system, device class, as a detector
// adds it up.
func TestLevels(t *testing.T) {
	scripted(t, `
on: [auth.login]
subject: account
features:
  net: {kind: likelihood, levels: [event.ip, "ip.asn > 0 ? text(ip.asn) : event.network", ip.country], where: event.outcome == "success"}
  agent: {kind: likelihood, w1: 0.54, w2: 0.27, w3: 0.19, w4: 0.005, levels: [event.user_agent, ua.browser, ua.os, ua.device], where: event.outcome == "success"}
when: net.n >= 5 && net.score + agent.score + net.user > 1
reason: "{event.actor} {net.score} {agent.score} {net.user}"
`, `
event auth.login actor=u{i} ip=1.2.3.{i} user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/120.0" times=20 every=1m
repeat 6 every 1d
  event auth.login actor=alice ip=1.2.3.4 user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/120.0"
  event auth.login actor=bob ip=9.2.3.5 user_agent=curl/8
end
expect none
event auth.login actor=alice ip=9.2.3.6 user_agent=curl/9 outcome=failure
expect finding account alice
`, `
event auth.login actor=u{i} ip=1.2.3.{i} user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/120.0" times=20 every=1m
repeat 6 every 1d
  event auth.login actor=alice ip=1.2.3.4 user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/120.0"
end
event auth.login actor=alice ip=1.2.3.9 user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/121.0"
event auth.login actor=alice ip=1.2.3.9
event auth.login actor=alice user_agent=curl/8
event auth.login actor=alice
event auth.login actor=carol ip=9.2.3.6 user_agent=curl/9
expect none
`)
}

// TestCoverage: orders that the marketplace served to a partner against those whose use it reported.
func TestCoverage(t *testing.T) {
	scripted(t, `
on: [order.served, order.access, order.transmit]
subject: partner
features:
  told: {kind: coverage, grace: 1h, value: event.orders, steps: [event.type == "order.served", event.type != "order.served"]}
when: told.n >= 50 && told.share < 0.8
reason: "{told.share | percent} of {told.n} orders were reported"
`, `
event order.served app=erp orders=A[1..100]
event order.access actor=a operation=view orders=A[1..60]
expect none
wait 2h
event order.access actor=a operation=view orders=A1
expect finding partner acme
`, `
event order.served app=erp orders=A[1..100]
event order.access actor=a operation=view orders=A[1..60]
wait 30m
event order.transmit destination=wms orders=A[50..95]
wait 2h
event order.access actor=a operation=view orders=A1
expect none
`)
}

// TestSample: the age of a quarter of the orders shows who reads old ones; a tenth as many orders would do.
func TestSample(t *testing.T) {
	scripted(t, `
on: [order.access]
subject: account
features:
  known: {kind: seen, of: partner, value: event.orders, sample: 4}
  old: {kind: count, window: 1h, where: known.age_s >= 864000}
  all: {kind: count, window: 1h, where: known.n + known.new > 0}
when: old >= 10 && old > 0.8 * all
reason: "{old} of {all} events were about old orders, of 100 about 25 are looked at"
`, `
event order.access actor=a operation=view orders=A{i} times=100 every=1s
wait 20d
event order.access actor=b operation=view orders=A{i} times=100 every=1s
expect finding account b
`, `
event order.access actor=a operation=view orders=A{i} times=100 every=1s
wait 20d
event order.access actor=b operation=view orders=B{i} times=100 every=1s
event order.access actor=c operation=view orders=B{i} times=100 every=1s
event order.access actor=d operation=view orders=A{i} times=12 every=1s
expect none
`)
}

// TestWords uses what the language knows beyond the fields of an event.
func TestWords(t *testing.T) {
	f := func(when, fires, rests string) {
		t.Helper()
		scripted(t, "on: [db.query, http.request, host.network, account.change, client.signal]\nsubject: partner\nfeatures:\n"+
			"  ports: {kind: distinct, window: 1h, value: event.peer + text(event.port)}\nwhen: '"+when+"'\nreason: r",
			"event "+fires+"\nexpect finding partner acme", "event "+rests+"\nexpect none")
	}
	f(`event.tables.matches("(?i)order|buyer")`, "db.query tables=stock,T_ORDER", "db.query tables=stock,price")
	f(`ports >= 3`, "host.network peer=a port={i} times=3", "host.network peer=a port=22 times=3")
	f(`extra("approver") == event.actor && event.actor != ""`, "account.change actor=bob extra.ticket=7 extra.approver=bob", "account.change actor=bob extra.approver=eve")
	f(`event.route == "/orders/*/phone"`, "http.request path=/orders/123456/phone", "http.request path=/orders/x/phone")
	f(`ua.bot && ua.device == "program" && ua.browser == "curl"`, "http.request user_agent=curl/8.1", `http.request user_agent="Mozilla/5.0 (Windows NT 10.0) Chrome/1"`)
	f(`event.timezone_country != "" && event.timezone_country != event.language_country`, "client.signal timezone=Asia/Shanghai language=en-US", "client.signal timezone=Asia/Shanghai language=zh-CN")
	f(`tail(stouffer(event.port, event.port, event.port, event.port)) < 0.0001`, "host.network port=2", "host.network port=1")
	f(`event.hour == 9 && event.weekday == 0 && exp(0) + floor(1.5) == 2`, "host.network port=2", "auth.logout\nwait 1h\nevent host.network port=2")
}
