package rule_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/rule"
)

// FuzzParse gives Parse any bytes: it must end, never panic, and place every problem in the file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(base))
	_, sources, err := detectors.All()
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for _, src := range sources {
		if n++; n < 6 {
			f.Add(src)
		}
	}
	f.Add([]byte(family))
	f.Add([]byte(strings.Replace(family, "event.ip}", "event.nothing}", 1)))
	f.Add([]byte("each: [{a: x}, {a: [y, z]}, {b: '${a}'}]\non: ${a}\ntitle: 'é${a}${b}'\nid: x.${a}\n"))
	f.Add([]byte("id: [\n"))
	f.Add([]byte("\xff\xfe\x00"))
	f.Add([]byte("features: {a: {kind: count, window: params.}}"))
	f.Add([]byte("when: >+2\n\n   a\n\n  \\\ntests:\n - {script: \"\\x41\\\n b\"}"))
	f.Fuzz(func(t *testing.T, src []byte) {
		sound(t, string(src))
	})
}

// FuzzExpression puts any text where expressions stand. The places of messages must lie in the
// file, and what compiles must run on any event.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{"touched > 3", "event.orders.exists(o, o == '1')", "[1][0] > 2", "{'a': 1}.a > 1", "event.type in ['a', 1, null]",
		"ip.place == null", "true ? ip.place : null", "-9223372036854775808 > 1u", "b'x' == b'x'", "'\\U0001F600'.size() > 0", "a.?b.c", "event.ip.matches('(a*)*$')",
		"touched.n.n > 1", ".event.ip == ''", "event[\"ip\"]", "if > 1", "1e999 > 0", "((((((((((", "// remark\ntouched > 1", "{touched}", "event.`ip`", "given(event.ip) == given(touched)"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, when, value string) {
		q := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
		sound(t, merge("when: "+q(when)+"\nconfidence: "+q(value)+"\nreason: "+q("{"+value+"}")+"\n"))
		sound(t, merge("features:\n  touched: {kind: last, value: "+q(value)+", where: "+q(when)+"}\n  ips: {kind: age}\n"))
	})
}

// sound checks what is said about src, or runs it.
func sound(t *testing.T, src string) {
	t.Helper()
	problems := check(src)
	if problems == nil {
		list, err := rule.Parse("sample.yaml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		p := compile(t, rule.Options{}, list...)
		if p.Across != nil {
			p = p.Across
		}
		f := p.NewFrame()
		f.Begin(&moat.Event{Orders: []string{"1"}, IP: "1.2.3.4", Rows: 7})
		c := p.Detectors[0]
		c.When(&f)
		if v := c.Confidence(&f); math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("the confidence is %v", v)
		}
		_, _ = c.Reason(&f), c.Evidence(&f)
		for i := range p.Types {
			for _, op := range p.Types[i].Ops {
				if op.Where != nil {
					op.Where(&f)
				}
				if op.Key != nil {
					op.Key(&f)
				}
				if op.Num != nil {
					op.Num(&f)
				}
			}
		}
		return
	}
	lines := strings.Split(src, "\n")
	for _, p := range problems {
		if strings.HasPrefix(p.What, "BUG") {
			t.Fatal(p.What)
		}
		if p.Line < 0 || p.Line > len(lines) || p.Line > 0 && p.Column < 1 {
			t.Errorf("%s: there are %d lines", p.Error(), len(lines))
		}
		if d := p.Display(); strings.ContainsAny(d, "\x00\x1b\r") || len(d) > 8<<10 {
			t.Errorf("not fit for a terminal: %q", d)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	list, _, err := detectors.All()
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range list[:8] {
		f.Add(d.Tests[0].Script.S)
	}
	f.Add("repeat 10000 every 1d\nrepeat 10000 every 1d\nwait 1s\nend\nend")
	f.Add("event order.access orders=A[1..1000],B[000000000001..999] times=100000")
	f.Add("start 9999-01-01T00:00:00Z\nwait 3999d\nevent heartbeat app={i:9}{d}{n} # x")
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > rule.MaxScriptBytes {
			return
		}
		steps, err := rule.ParseScript(src)
		if err != nil {
			return
		}
		events := 0
		for _, s := range steps {
			if s.Event != nil {
				events++
			}
			if (s.Event != nil) == s.Expect || s.Line < 1 || s.Line > strings.Count(src, "\n")+1 {
				t.Fatalf("step %+v", s)
			}
		}
		if events > rule.MaxScriptEvents {
			t.Fatalf("%d events", events)
		}
	})
}

func TestParseScript(t *testing.T) {
	show := func(steps []rule.Step) string {
		var b strings.Builder
		for _, s := range steps {
			switch {
			case s.None:
				fmt.Fprintf(&b, "%d none; ", s.Line)
			case s.Expect:
				fmt.Fprintf(&b, "%d %s; ", s.Line, s.Entity)
			default:
				fmt.Fprintf(&b, "%d %s %s %s %v %q; ", s.Line, s.Event.Time.Std().Format("0102T15:04:05"), s.Event.Type, s.Event.Actor, s.Event.Orders, s.Event.Reason)
			}
		}
		return strings.TrimSuffix(b.String(), "; ")
	}
	for _, c := range []struct{ src, want string }{
		{"", ""},
		{"event auth.login actor=a", `1 0302T09:00:00 auth.login a [] ""`},
		{"# all\n\nevent auth.login actor=a # rest", `3 0302T09:00:00 auth.login a [] ""`},
		{`event auth.login actor="a b" reason="x # y"`, `1 0302T09:00:00 auth.login a b [] "x # y"`},
		{"start 2026-01-05T00:00:00Z\nwait 90s\nevent auth.login actor=a", `3 0105T00:01:30 auth.login a [] ""`},
		{"event auth.login actor=u{i:2} times=2 every=5s\nevent auth.login actor=v{n}", `1 0302T09:00:00 auth.login u01 [] ""; 1 0302T09:00:05 auth.login u02 [] ""; 2 0302T09:00:10 auth.login v3 [] ""`},
		{"event order.access orders=x,A[08..10]z", `1 0302T09:00:00 order.access  [x A08z A09z A10z] ""`},
		{"repeat 2 every 1d\nevent auth.login actor=a{d}\nend\nevent auth.login", `2 0302T09:00:00 auth.login a1 [] ""; 2 0303T09:00:00 auth.login a2 [] ""; 4 0304T09:00:00 auth.login  [] ""`},
		{"repeat 2 every 1m\nrepeat 2 every 1s\nevent auth.login actor=a{d}\nend\nend\nexpect none", `3 0302T09:00:00 auth.login a1 [] ""; 3 0302T09:00:01 auth.login a2 [] ""; 3 0302T09:01:00 auth.login a1 [] ""; 3 0302T09:01:01 auth.login a2 [] ""; 6 none`},
		{"expect finding ip 1.2.3.4\nexpect none", "1 ip:1.2.3.4; 2 none"},
		{"evnt", `line 1: unknown statement "evnt": want start, event, wait, repeat, end or expect`},
		{"event", "line 1: write event TYPE field=value …"},
		{"event auth.logn", `line 1: unknown event type "auth.logn"`},
		{"event auth.login bob", `line 1: "bob" is not of the form field=value`},
		{"event auth.login who=bob", `line 1: the event has no field "who"`},
		{"event auth.login outcome=won", `line 1: outcome is never "won"`},
		{"event auth.login times=0", `line 1: cannot read "times=0"`},
		{"event auth.login every=x", `line 1: cannot read "every=x"`},
		{"event auth.login count=-1", `line 1: count wants a whole number, not "-1"`},
		{"\nend", "line 2: end without repeat"},
		{"repeat 2 every 1d\nwait 1s", "line 1: repeat without end"},
		{"repeat 2", "line 1: write repeat N every DURATION"},
		{"repeat 20000 every 1s\nend", "line 1: write repeat N every DURATION"},
		{"wait", "line 1: write wait DURATION"},
		{"wait -5s", `line 1: "-5s" is no duration: write it like 90s, 5m, 1h or 30d`},
		{"start noon", `line 1: time "noon"`},
		{"expect trouble", "line 1: write expect none, or expect finding KIND ID"},
		{"expect finding cat tom", `line 1: unknown entity kind "cat"`},
		{`event auth.login actor="a`, "line 1: a quotation mark is not closed"},
		{"repeat 9000 every 30d\nend", "line 1: the clock runs past the year 2100"},
		{"event heartbeat times=9000 every=30d", "line 1: the clock runs past the year 2100"},
		{"repeat 10000 every 0\nrepeat 10000 every 0\nwait 0\nend\nend", "line 3: the script runs more than 200000 statements"},
		{"event heartbeat times=100001", "line 1: the script has more than 100000 events"},
		{"event order.access orders=A[1..1000] times=90000", "line 1: the values of the script's events have more than 67108864 bytes"},
		{"event order.access reason=" + strings.Repeat("x", 7000) + "{i} times=90000", "line 1: the values of the script's events have more than 67108864 bytes"},
	} {
		steps, err := rule.ParseScript(c.src)
		got := show(steps)
		if err != nil {
			got = err.Error()
		}
		if got != c.want && !(err != nil && strings.HasPrefix(got, c.want)) {
			t.Errorf("%.60s:\n got %.300s\nwant %s", c.src, got, c.want)
		}
	}
}

func TestStepCheck(t *testing.T) {
	alice := moat.Entity{Kind: moat.Account, ID: "alice"}
	found := []moat.Finding{{Entity: moat.Entity{Kind: moat.IP, ID: "::1"}, Reason: "why"}, {Entity: alice}}
	for _, c := range []struct {
		step  rule.Step
		found []moat.Finding
		want  string
	}{
		{rule.Step{None: true}, nil, ""},
		{rule.Step{None: true}, found, "nothing should be found, but ip:::1 was: why"},
		{rule.Step{Entity: alice}, found, ""},
		{rule.Step{Entity: alice}, found[:1], "account:alice should be found, but this was: ip:::1"},
		{rule.Step{Entity: alice}, nil, "account:alice should be found, but this was: nothing"},
	} {
		if err := c.step.Check(c.found); fmt.Sprint(errors.Join(err)) != c.want && !(err == nil && c.want == "") {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// writer makes random expressions: one text in our language, and one that means the same to
// cel-go's interpreter, which knows neither our functions nor our division.
type writer struct{ r *rand.Rand }

func (w writer) pick(s ...[2]string) [2]string { return s[w.r.IntN(len(s))] }

func same(s string) [2]string { return [2]string{s, s} }

func both(format string, args ...[2]string) [2]string {
	var a, b []any
	for _, x := range args {
		a, b = append(a, x[0]), append(b, x[1])
	}
	return [2]string{fmt.Sprintf(format, a...), fmt.Sprintf(format, b...)}
}

func (w writer) bool(depth int) [2]string {
	if depth == 0 {
		return w.pick(same("true"), same("false"), same("event.mfa"), same("event.encrypted"), same("ip.tor"))
	}
	n, s, b := func() [2]string { return w.num(depth - 1) }, func() [2]string { return w.str(depth - 1) }, func() [2]string { return w.bool(depth - 1) }
	text := [2]string{"'admin'", "'admin'"}
	switch w.r.IntN(16) {
	case 0:
		return both("(%s && %s)", b(), b())
	case 1:
		return both("(%s || %s)", b(), b())
	case 2:
		return both("%s && %s && %s", both("(%s)", b()), both("(%s)", b()), both("(%s)", b()))
	case 3:
		return both("!(%s)", b())
	case 4:
		return both("(%s ? %s : %s)", b(), b(), b())
	case 5:
		op := []string{"<", "<=", ">", ">=", "==", "!="}[w.r.IntN(6)]
		return both("(%s "+op+" %s)", n(), n())
	case 6:
		return both("(%s "+[]string{"==", "!="}[w.r.IntN(2)]+" %s)", s(), s())
	case 7:
		return both("(%s "+[]string{"==", "!="}[w.r.IntN(2)]+" %s)", b(), b())
	case 8:
		return both("(%s in %s)", s(), w.list())
	case 9:
		return both("%s."+[]string{"contains", "startsWith", "endsWith"}[w.r.IntN(3)]+"(%s)", s(), s())
	case 10:
		pattern := []string{"'^a'", "'[0-9]+$'", "'(?i)ADMIN'", "''", "'a.*b'"}[w.r.IntN(5)]
		return both("%s.matches("+pattern+")", s())
	case 11:
		return both("(event.actor == %s)", text)
	case 12, 13, 14:
		return both("(%s "+[]string{"<", "<=", ">", ">="}[w.r.IntN(4)]+" %s)", w.slot(), w.number()) // the commonest form has closures of its own
	default:
		return b()
	}
}

func (w writer) slot() [2]string {
	return w.pick(same("touched"), same("ips"), same("ips.n"), same("touched.n"))
}

// number is an integer in our language half of the time, which cel-go would not compare with a double.
func (w writer) number() [2]string {
	v := w.r.IntN(20) - 5
	if w.r.IntN(2) == 0 {
		return [2]string{fmt.Sprintf("(%d)", v), fmt.Sprintf("(%d.0)", v)}
	}
	return same(fmt.Sprintf("(%d.25)", v))
}

func (w writer) num(depth int) [2]string {
	if depth == 0 {
		return w.pick(w.number(), w.slot(), same("event.rows"), same("event.count"), same("ip.asn"), [2]string{"params.most", "5.0"})
	}
	n := func() [2]string { return w.num(depth - 1) }
	switch w.r.IntN(10) {
	case 0:
		return both("(%s + %s)", n(), n())
	case 1:
		return both("(%s - %s)", n(), n())
	case 2:
		return both("(%s * %s)", n(), n())
	case 3:
		a, b := n(), n()
		return [2]string{fmt.Sprintf("(%s / %s)", a[0], b[0]), fmt.Sprintf("(%s == 0.0 ? 0.0 : %s / %s)", b[1], a[1], b[1])}
	case 4:
		return both("(-%s)", n())
	case 5:
		return both("(%s ? %s : %s)", w.bool(depth-1), n(), n())
	case 6:
		a, b := n(), n()
		return [2]string{fmt.Sprintf("min(%s, %s)", a[0], b[0]), fmt.Sprintf("(%s < %s ? %s : %s)", a[1], b[1], a[1], b[1])}
	case 7:
		a, b := n(), n()
		return [2]string{fmt.Sprintf("max(%s, %s)", a[0], b[0]), fmt.Sprintf("(%s > %s ? %s : %s)", a[1], b[1], a[1], b[1])}
	case 8:
		s := w.pick(w.str(0), same("event.orders"))
		return [2]string{s[0] + ".size()", "double(" + s[1] + ".size())"}
	default:
		return n()
	}
}

func (w writer) str(depth int) [2]string {
	if depth > 0 && w.r.IntN(4) == 0 {
		return both("(%s ? %s : %s)", w.bool(depth-1), w.str(depth-1), w.str(depth-1))
	}
	return w.pick(same("event.actor"), same("event.ip"), same("event.reason"), same("event.operation"), same("'a'"), same("''"), same(`"admin"`), same("'é'"), same("'1.2.3.4'"))
}

func (w writer) list() [2]string {
	return w.pick(same("event.orders"), same("event.fields"), same("['a', 'b']"), same("[]"), same("['a', 'admin', 'x', '', 'é', 'zz']"))
}

// values are those of one random event.
type values map[string]any

func (w writer) values() (values, *moat.Event, rule.Net) {
	words := []string{"", "a", "admin", "é", "1.2.3.4", "xa", "42", "ab\nb"}
	word := func() string { return words[w.r.IntN(len(words))] }
	e := &moat.Event{Actor: word(), IP: word(), Reason: word(), Operation: word(), Rows: int64(w.r.IntN(20)), Count: int64(w.r.IntN(3)),
		MFA: w.r.IntN(2) == 0, Encrypted: w.r.IntN(2) == 0}
	for range w.r.IntN(4) {
		e.Orders, e.Fields = append(e.Orders, word()), append(e.Fields, word())
	}
	var net rule.Net
	if e.IP != "" {
		net = rule.Net{ASN: uint32(w.r.IntN(5)), Tor: w.r.IntN(2) == 0}
	}
	return values{"event.actor": e.Actor, "event.ip": e.IP, "event.reason": e.Reason, "event.operation": e.Operation, "event.rows": float64(e.Rows),
		"event.count": float64(e.Count), "event.mfa": e.MFA, "event.encrypted": e.Encrypted, "event.orders": e.Orders, "event.fields": e.Fields,
		"ip.asn": float64(net.ASN), "ip.tor": net.Tor}, e, net
}

// reference is cel-go with its standard library and our variables.
func reference(t testing.TB) *cel.Env {
	t.Helper()
	num, str, truth, list := cel.DoubleType, cel.StringType, cel.BoolType, cel.ListType(cel.StringType)
	var opts []cel.EnvOption
	for name, typ := range map[string]*cel.Type{"event.actor": str, "event.ip": str, "event.reason": str, "event.operation": str, "event.rows": num,
		"event.count": num, "event.mfa": truth, "event.encrypted": truth, "event.orders": list, "event.fields": list, "ip.asn": num, "ip.tor": truth,
		"touched": num, "touched.n": num, "ips": num, "ips.n": num} {
		opts = append(opts, cel.Variable(name, typ))
	}
	env, err := cel.NewEnv(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func eval(t *testing.T, env *cel.Env, expr string) func(values) any {
	t.Helper()
	tree, iss := env.Compile(expr)
	if iss.Err() != nil {
		t.Fatalf("%s: %v", expr, iss.Err())
	}
	p, err := env.Program(tree)
	if err != nil {
		t.Fatal(err)
	}
	return func(v values) any {
		out, _, err := p.Eval(map[string]any(v))
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		return out.Value()
	}
}

// FuzzAgainstInterpreter compiles random expressions and compares the closures with cel-go's
// interpreter on random events.
func FuzzAgainstInterpreter(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	env := reference(f)
	f.Fuzz(func(t *testing.T, seed uint64) {
		w := writer{rand.New(rand.NewPCG(seed, 1))}
		const n = 10
		var list []*rule.Detector
		var whens, nums []func(values) any
		for i := range n {
			when, num := w.bool(1+i%3), w.num(1+i%3)
			one, err := rule.Parse("x.yaml", []byte(merge(fmt.Sprintf("id: access.d%d\nwhen: |\n  %s\nconfidence: |\n  %s\n", i, when[0], num[0]))))
			if err != nil {
				continue // too long
			}
			if _, err := rule.Compile(one, rule.Options{}); err != nil {
				if p := rule.AsProblems(err); p == nil || p[0].Code != "cost" && !strings.Contains(p[0].What, "recursion") {
					t.Fatal(display(err))
				}
				continue
			}
			list = append(list, one...)
			whens, nums = append(whens, eval(t, env, when[1])), append(nums, eval(t, env, num[1]))
		}
		probe := detector(t, "probe", "when: touched > 0 && ips > 0\n")
		p := compile(t, rule.Options{}, append(list, probe)...)
		frame := p.NewFrame()
		last := p.Detectors[len(p.Detectors)-1]
		for range 20 {
			v, ev, net := w.values()
			for i := range frame.Slots {
				frame.Slots[i] = float64(w.r.IntN(20) - 5)
			}
			frame.Look = func(string) rule.Net { return net }
			frame.Begin(ev)
			for _, e := range last.Evidence(&frame) { // tells which slot is which
				name, _, _ := strings.Cut(e.Name, ".")
				v[name], v[name+".n"] = e.Value, e.Value
			}
			for i := range list {
				c := p.Detectors[i]
				if got, want := c.When(&frame), whens[i](v); got != want {
					t.Fatalf("%s\nis %v, cel-go says %v\nfor %v", c.Detector.When.S, got, want, v)
				}
				if got, want := c.Confidence(&frame), nums[i](v); got != want {
					t.Fatalf("%s\nis %v, cel-go says %v\nfor %v", c.Detector.Confidence.S, got, want, v)
				}
			}
		}
	})
}
