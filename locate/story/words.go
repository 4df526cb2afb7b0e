package story

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moat-platform/moat"
)

// step makes a sentence of a group.
func (g *gathering) step(x *group) Step {
	s := Step{From: x.first, To: x.last, Kind: x.kind.String(), Why: x.begins, Beginning: x.begins != "", Who: x.actor, IP: x.ip, Device: x.device, Host: x.host,
		Outcome: x.outcome.String(), Events: x.events, Records: x.records, Orders: int64(len(x.orders))}
	if x.ip != "" {
		s.Country = g.t.cfg.Country(x.ip)
	}
	text := g.did(x)
	if d := x.last - x.first; d >= moat.Second && x.events > 1 {
		text += " in " + lasting(d)
	}
	if x.ip != "" {
		text += " from " + x.ip
		if s.Country != "" {
			text += " (" + s.Country + ")"
		}
	}
	if x.device != "" {
		text += " with device " + short(x.device)
	}
	s.Text = text + "."
	for _, word := range []string{"the ", "server ", "somebody ", "a ", "malware "} { // names stay as they are
		if strings.HasPrefix(text, word) {
			s.Text = strings.ToUpper(text[:1]) + text[1:] + "."
		}
	}
	return s
}

// birth is the step in which a new account was seen first.
func (g *gathering) birth() Step {
	e := g.c.Entities[0]
	return Step{From: g.born, To: g.born, Kind: "account", Text: fmt.Sprintf("Account %s was seen for the first time, %s before the first finding.", e.ID, lasting(g.first-g.born)),
		Beginning: true, Why: "an account this new has not earned the trust to touch so much: ask who made it, for whom", Who: e.ID, Events: 1}
}

// verbs says what an operation does to orders.
var verbs = map[string]string{"view": "viewed", "view_list": "listed", "search": "searched", "print": "printed", "print_list": "printed", "export": "exported",
	"export_list": "exported", "download": "downloaded", "decrypt": "decrypted", "modify": "changed", "delete": "deleted", "send": "sent", "api_pull": "pulled"}

// did says who did what, without where.
func (g *gathering) did(x *group) string {
	who := cmp.Or(x.actor, x.app, "somebody")
	if x.job {
		who = "a job of " + cmp.Or(x.app, x.host, "the system")
	}
	e := x.detail
	if e == nil {
		e = &moat.Event{}
	}
	switch x.kind {
	case moat.AuthLogin, moat.HostLogin:
		return signIn(x, who)
	case moat.AuthChallenge:
		return who + " was asked for a second proof" + times(x.events) + outcome(x)
	case moat.AccountChange:
		what := cmp.Or(e.Change, "something")
		if e.Object != "" && e.Object != x.actor {
			return fmt.Sprintf("%s changed %s of account %s", who, what, short(e.Object))
		}
		return fmt.Sprintf("the %s of account %s was changed", what, who)
	case moat.OrderTransmit:
		return fmt.Sprintf("%s sent %s to %s", who, x.orderWord(), cmp.Or(short(x.destination), "a system without a name"))
	case moat.DBQuery:
		text := fmt.Sprintf("%s read %s from the database %s", who, many(x.records, "row"), short(e.DB))
		return strings.TrimRight(text, " ") + on(x.host)
	case moat.HostProcess:
		return fmt.Sprintf("%s was started%s%s%s", cmp.Or(short(e.Exe), "a program"), times(x.events), on(x.host), by(e.User))
	case moat.HostFile:
		return fmt.Sprintf("the file %s was %s%s%s", cmp.Or(short(e.Path), "(unknown)"), cmp.Or(map[string]string{"create": "created", "delete": "removed"}[x.operation], "changed"), on(x.host), by(e.User))
	case moat.HostNetwork:
		if e.Direction == "in" {
			return fmt.Sprintf("%s connected to server %s%s", cmp.Or(e.Peer, "somebody"), x.host, times(x.events))
		}
		return fmt.Sprintf("server %s sent %s to %s%s", x.host, size(e.Bytes), cmp.Or(e.Peer, "an unknown address"), by(short(e.Exe)))
	case moat.HostMalware:
		return fmt.Sprintf("malware %s was found%s: %s", short(e.Name), on(x.host), short(e.Path))
	case moat.HTTPRequest:
		return fmt.Sprintf("%s made %s%s", who, many(x.events, "request"), outcome(x))
	}
	if x.records == 0 && x.kind != moat.OrderAccess && x.kind != moat.APICall {
		return fmt.Sprintf("%s: %s of type %s%s", who, many(x.events, "event"), x.kind, outcome(x))
	}
	verb := cmp.Or(verbs[x.operation], "touched")
	if x.outcome != moat.Success {
		return fmt.Sprintf("%s was refused %s", who, x.orderWord())
	}
	text := fmt.Sprintf("%s %s %s", who, verb, x.orderWord())
	if x.encrypted {
		text += " (masked)"
	}
	if x.operation == "api_pull" {
		text += " through the API"
	}
	if len(x.fields) > 0 && !x.encrypted {
		text += " with " + list(x.fields)
	}
	return text
}

func signIn(x *group, who string) string {
	to := ""
	if x.kind == moat.HostLogin {
		to = " to server " + x.host
	}
	if x.outcome == moat.Success {
		return fmt.Sprintf("%s signed in%s%s", who, to, times(x.events))
	}
	text := many(x.events, "sign-in") + to + " failed"
	if x.outcome == moat.Challenged {
		text = many(x.events, "sign-in") + to + " had to be confirmed"
	}
	switch n := len(x.actors); {
	case n == 1:
		for a := range x.actors {
			text += ", on account " + short(a)
		}
	case n > 1:
		text += ", on " + many(int64(n), "account")
	}
	return text
}

// orderWord writes how many orders a group touched.
func (x *group) orderWord() string {
	n := int64(len(x.orders))
	switch {
	case !x.named:
		return many(x.records, "record")
	case x.records > n && n < x.events:
		return many(n, "order") + ", " + number(x.records) + " times in all,"
	}
	return many(n, "order")
}

func outcome(x *group) string {
	switch x.outcome {
	case moat.Failure:
		return " and failed"
	case moat.Denied:
		return " and was refused"
	}
	return ""
}

func on(host string) string {
	if host == "" {
		return ""
	}
	return " on server " + host
}

func by(whom string) string {
	if whom == "" {
		return ""
	}
	return " by " + whom
}

func times(n int64) string {
	if n == 1 {
		return ""
	}
	return " " + number(n) + " times"
}

// list writes "name, phone and address".
func list(words []string) string {
	words = slices.Clone(words)
	if n := len(words); n > 1 {
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
	return words[0]
}

// short cuts text that others wrote.
func short(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:79]) + "…"
	}
	return s
}

// lasting writes a span of time as people say it.
func lasting(t moat.Time) string {
	d := time.Duration(t) * time.Microsecond
	switch {
	case d < 2*time.Minute:
		return many(int64(d.Round(time.Second)/time.Second), "second")
	case d < 2*time.Hour:
		return number(int64(d.Round(time.Minute)/time.Minute)) + " min"
	case d < 48*time.Hour:
		return many(int64(d.Round(time.Hour)/time.Hour), "hour")
	}
	return many(int64(d.Round(24*time.Hour)/(24*time.Hour)), "day")
}

func size(n int64) string {
	switch {
	case n <= 0:
		return "data"
	case n < 1<<20:
		return number(max(1, n>>10)) + " KiB"
	}
	return number(n>>20) + " MiB"
}

func many(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return number(n) + " " + noun
}

// number writes 1234567 as 1,234,567.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
