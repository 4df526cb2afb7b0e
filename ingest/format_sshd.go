package ingest

import (
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
)

// maxRepeated bounds the events that one line may stand for.
const maxRepeated = 1000

// graceTime is how long a connection that has not said whether it got in is waited
// for: sshd hangs up after two minutes.
const graceTime = 3 * moat.Minute

// attempt is one try to log in, or several of the same.
type attempt struct {
	at                  moat.Time
	id                  string
	host, service, pid  string
	actor, user         string // user: as whom, where it is not the actor
	peer, port          string
	method, reason, exe string
	outcome             moat.Outcome
	count               int
}

// fill makes an event of a.
func (a *attempt) fill(e *moat.Event) {
	e.Type, e.Time, e.ID, e.Outcome = moat.HostLogin, a.at, a.id, a.outcome
	e.Host = fit(a.host, moat.FieldHost)
	if e.Host == "" {
		e.Host = "unknown"
	}
	e.Actor = fit(strings.TrimSpace(a.actor), moat.FieldActor)
	if e.Actor == "" {
		e.Actor = "(none)"
	}
	e.User = e.Actor
	if a.user != "" {
		e.User = fit(a.user, moat.FieldUser)
	}
	e.Service, e.Method = a.service, fit(a.method, moat.FieldMethod)
	e.Reason, e.Exe = fit(a.reason, moat.FieldReason), fit(a.exe, moat.FieldExe)
	setPeer(e, a.peer)
	e.Port, e.PID = int64(max(0, decimal(a.port))), int64(max(0, decimal(a.pid)))
	e.MarkAll()
	e.Mark(moat.FieldOutcome)
}

func itoa(n int) string { return strconv.Itoa(n) }

// repeated reads "<prefix>5 times<rest>", and returns 0 if s is not that.
func repeated(s, prefix string) (n int, rest string) {
	s, ok := strings.CutPrefix(s, prefix)
	if !ok {
		return 0, ""
	}
	number, rest, ok := strings.Cut(s, " times")
	if !ok {
		return 0, ""
	}
	return min(max(0, decimal(number)), maxRepeated), rest
}

// sshd reads a message of sshd into a, and tells whether it is an attempt to log in.
//
// "Failed" and "Accepted" lines are the attempts. All others of the same
// process are context: they say why, or how it ended. Where passwords are off, sshd
// logs no "Failed": then an "Invalid user", or a connection that ends while it
// authenticates, is the only trace of an attempt, and counts as one when the process has said nothing better.
func (f *syslog) sshd(a *attempt, message, line string, emit func(*moat.Event)) bool {
	if n, rest := repeated(message, "message repeated "); n > 0 && strings.HasPrefix(rest, ": [ ") {
		message, a.count = strings.TrimSuffix(rest[len(": [ "):], "]"), n
	}
	word, rest, _ := strings.Cut(message, " ")
	switch word {
	case "Accepted", "Failed":
		how, who, ok := strings.Cut(rest, " for ")
		if !ok || how == "none" || !a.who(who) { // none: what a client asks first, to learn what is allowed
			return false
		}
		a.method = how
		if word == "Accepted" {
			a.outcome = moat.Success
		} else if a.outcome = moat.Failure; a.reason == "" {
			a.reason = "failed " + how
		}
		f.conns.decided(a)
		return true
	case "Invalid", "Illegal":
		if who, ok := strings.CutPrefix(rest, "user "); ok && a.who(who) {
			a.outcome, a.reason = moat.Failure, "invalid user"
			f.pend(a, line, emit)
		}
		return false
	case "User":
		if who, why, ok := strings.Cut(rest, " not allowed because "); ok && a.who(who) {
			a.outcome, a.reason = moat.Denied, "not allowed: "+why
			f.pend(a, line, emit)
		}
		return false
	case "error:":
		if why, ok := strings.CutPrefix(rest, "PAM: "); ok {
			if why, who, ok := strings.Cut(why, " for "); ok && a.who(who) {
				a.outcome, a.method, a.reason = moat.Failure, "keyboard-interactive/pam", strings.ToLower(why)
				f.pend(a, line, emit)
			}
			return false
		}
		return f.ending(a, rest)
	}
	return f.ending(a, message)
}

// pend keeps a until its process says more.
func (f *syslog) pend(a *attempt, line string, emit func(*moat.Event)) {
	a.id = f.lineID(line)
	if earlier := f.conns.pending(a); earlier != nil {
		f.emit(earlier, emit)
	}
}

// ending reads a line about the end of a connection, and tells whether it is the only trace of an attempt.
func (f *syslog) ending(a *attempt, message string) bool {
	if who, ok := strings.CutPrefix(message, "maximum authentication attempts exceeded for "); ok && a.who(who) {
		a.outcome, a.reason = moat.Failure, "maximum authentication attempts"
		return f.conns.ended(a)
	}
	for _, end := range []string{"Connection closed by ", "Connection reset by ", "Disconnected from ", "Disconnecting "} {
		rest, ok := strings.CutPrefix(message, end)
		if !ok {
			continue
		}
		kind, rest, _ := strings.Cut(rest, " user ")
		if kind != "invalid" && kind != "authenticating" {
			return false
		}
		// "root 192.0.2.1 port 22 [preauth]": the name may have spaces.
		before, port, ok := cutLast(rest, " port ")
		if !ok {
			return false
		}
		a.port, _, _ = strings.Cut(strings.ReplaceAll(port, ":", " "), " ")
		if a.actor, a.peer, ok = cutLast(before, " "); !ok {
			return false
		}
		a.outcome, a.reason = moat.Failure, kind+" user"
		if kind == "authenticating" {
			a.reason = "gave up while authenticating"
		}
		return f.conns.ended(a)
	}
	return false
}

// who reads "invalid user bob from 192.0.2.1 port 22 ssh2". What a client calls
// itself may hold anything, so the last " from " counts: it is sshd's own.
func (a *attempt) who(s string) bool {
	for _, prefix := range []string{"invalid user ", "illegal user "} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			s, a.reason = rest, "invalid user"
		}
	}
	actor, from, ok := cutLast(s, " from ")
	if !ok {
		if actor, ok = strings.CutPrefix(s, "from "); !ok { // the empty name
			return false
		}
		actor, from = "", actor
	}
	a.actor = actor
	a.peer, from, _ = strings.Cut(from, " ")
	if port, ok := strings.CutPrefix(from, "port "); ok {
		a.port, _, _ = strings.Cut(port, " ")
	}
	return a.peer != ""
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// sudo reads "alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls -l". Of the
// command only the program is kept: its arguments may hold a password.
func (a *attempt) sudo(message string) bool {
	actor, rest, ok := strings.Cut(strings.TrimLeft(message, " "), " : ")
	at := strings.Index(rest, "COMMAND=")
	if !ok || at < 0 || strings.IndexByte(actor, ' ') >= 0 {
		return false
	}
	a.actor, a.method = actor, "sudo"
	a.exe, _, _ = strings.Cut(rest[at+len("COMMAND="):], " ")
	for part := range strings.SplitSeq(rest[:at], " ; ") {
		name, value, given := strings.Cut(part, "=")
		switch {
		case given && name == "USER":
			a.user = value
		case given || strings.TrimSpace(part) == "":
		default:
			a.reason = part
			n, _, wrong := strings.Cut(part, " incorrect password attempt")
			if wrong {
				a.outcome, a.count = moat.Failure, min(max(1, decimal(n)), maxRepeated)
			} else {
				a.outcome = moat.Denied
			}
		}
	}
	return true
}

// su reads what the su programs of the distributions say.
func (a *attempt) su(message string) bool {
	a.method = "su"
	word, rest, _ := strings.Cut(message, " ")
	failed := word == "FAILED"
	switch {
	case word == "Successful" || failed && strings.HasPrefix(rest, "su for "):
		target, actor, ok := strings.Cut(strings.TrimPrefix(rest, "su for "), " by ")
		if !ok {
			return false
		}
		a.user, a.actor = target, actor
	case failed || strings.HasPrefix(message, "(to "): // (to root) alice on pts/0
		i := strings.Index(message, "(to ")
		if i < 0 {
			return false
		}
		target, actor, ok := strings.Cut(message[i+len("(to "):], ") ")
		if !ok {
			return false
		}
		a.user = target
		a.actor, _, _ = strings.Cut(actor, " on ")
	default:
		return false
	}
	if failed {
		a.outcome, a.reason = moat.Failure, "failed su"
	}
	return true
}

// conns remembers what is known of connections, by process, for [graceTime].
type conns struct {
	by    map[connKey]*conn
	order []*conn // as they came
}

type connKey struct{ host, pid string }

type conn struct {
	key     connKey
	at      moat.Time
	tried   bool     // an attempt of it has been seen
	waiting *attempt // the only trace of one so far
}

// maxConns bounds the connections remembered.
const maxConns = 1 << 14

func (c *conns) get(a *attempt) *conn {
	key := connKey{a.host, a.pid}
	if a.pid == "" {
		key.pid = a.peer
	}
	k := c.by[key]
	if k == nil {
		k = &conn{key: key, at: a.at}
		c.by[key] = k
		c.order = append(c.order, k)
	}
	return k
}

// counts tells whether what waits at k is an attempt of its own. One that names
// a method always is; a weaker trace only if nothing better was seen.
func (k *conn) counts() bool { return k.waiting != nil && (k.waiting.method != "" || !k.tried) }

// decided notes that an attempt was seen, which is what the trace before was of.
func (c *conns) decided(a *attempt) {
	k := c.get(a)
	if w := k.waiting; w != nil && a.outcome != moat.Success && w.reason != "" {
		a.reason = w.reason
	}
	k.tried, k.waiting = true, nil
}

// pending notes a trace of an attempt. It returns the one that waited if that was another attempt.
func (c *conns) pending(a *attempt) *attempt {
	k := c.get(a)
	w := k.waiting
	if a.method == "" && (k.tried || w != nil) {
		return nil
	}
	copied := *a
	k.waiting = &copied
	if w == nil || w.method == "" {
		return nil
	}
	k.tried = true
	return w
}

// ended tells whether the end of a connection shows an attempt that has not been counted. If there
// was a trace of it, a becomes that.
func (c *conns) ended(a *attempt) bool {
	k := c.get(a)
	counts := k.counts()
	if counts {
		*a = *k.waiting
	} else {
		counts = !k.tried
	}
	k.tried, k.waiting = true, nil
	return counts
}

// expire forgets connections that began before a time, and gives out the attempts that they leave.
func (c *conns) expire(before moat.Time, give func(*attempt)) {
	n := 0
	for n < len(c.order) && (c.order[n].at < before || len(c.order)-n > maxConns) {
		k := c.order[n]
		if k.counts() {
			give(k.waiting)
		}
		delete(c.by, k.key)
		c.order[n] = nil
		n++
	}
	if n > 0 {
		c.order = append(c.order[:0], c.order[n:]...)
	}
}
