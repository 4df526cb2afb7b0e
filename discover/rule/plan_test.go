package rule_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// detector returns base with patch, under another name.
func detector(t testing.TB, name, patch string) *rule.Detector {
	t.Helper()
	list, err := rule.Parse(name+".yaml", []byte(merge("id: access."+name+"\n"+patch)))
	if err != nil {
		t.Fatal(display(err))
	}
	return list[0]
}

func compile(t testing.TB, o rule.Options, list ...*rule.Detector) *rule.Plan {
	t.Helper()
	p, err := rule.Compile(list, o)
	if err != nil {
		t.Fatal(display(err))
	}
	return p
}

func display(err error) string {
	s := err.Error()
	for _, p := range rule.AsProblems(err) {
		s += "\n" + p.Display()
	}
	return s
}

// features returns a patch with features a and b, a condition that reads both, and a parameter.
func features(a, b, params string) string {
	return fmt.Sprintf("params:\n  x: {default: %s, min: 1, max: 99999, unit: n, doc: d}\nfeatures:\n  a: {%s}\n  b: {%s}\nwhen: a > 1 && b > 1\nreason: r\n", params, a, b)
}

func TestSharing(t *testing.T) {
	const count = "kind: count, window: 1h"
	for _, c := range []struct {
		name           string
		a1, b1, params string
		a2, b2, other  string
		want           int // features besides the two of every plan
	}{
		{"equal", count, "kind: age", "5", count, "kind: age", "5", 2},
		{"window", count, "kind: age", "5", "kind: count, window: 2h", "kind: age", "5", 3},
		{"window in other words", count, "kind: age", "5", "kind: count, window: 60m", "kind: age", "5", 2},
		{"default written out", "kind: age", "kind: seen, value: event.ip", "5", "kind: age", "kind: seen, value: event.ip, ttl: 90d", "5", 2},
		{"blanks", count + `, where: "event.rows>3"`, "kind: age", "5", count + `, where: "( event.rows  > 3.0 )"`, "kind: age", "5", 2},
		{"parameters of one value", count + `, where: "event.rows > params.x"`, "kind: age", "5", count + `, where: "event.rows > 5"`, "kind: age", "5", 2},
		{"parameters of two values", count + `, where: "event.rows > params . x"`, "kind: age", "5", count + `, where: "event.rows > params . x"`, "kind: age", "6", 3},
		{"a text that looks like a parameter", count + `, where: event.reason == "params.x"`, "kind: age", "5", count + `, where: event.reason == "5"`, "kind: age", "5", 3},
		{"a text that looks like a feature", "kind: age", count + `, where: event.reason == "a"`, "5", "kind: distinct, window: 1h, value: event.ip", count + `, where: event.reason == "a"`, "5", 3},
		{"a text that looks like code", count + `, where: "event.reason in ['a', 'b']"`, "kind: age", "5", count + `, where: "event.reason in [\"a\\\",\\\"b\"]"`, "kind: age", "5", 3},
		{"a phrase and its words", count + `, where: prints_orders()`, "kind: age", "5", count + `, where: 'sees_orders() && event.operation in ["print", "print_list"]'`, "kind: age", "5", 2},
		{"terms in another order", count + `, where: "event.rows > 3 && (event.mfa || event.rows > 5) && event.ip != ''"`, "kind: age", "5", count + `, where: "event.rows > 3 && event.ip != '' && (event.rows > 5 || event.mfa)"`, "kind: age", "5", 2},
		{"reading equal ones", count, "kind: max, window: 1d, value: a + 1", "5", count, "kind: max, window: 1d, value: a.n + 1", "5", 2},
		{"reading different ones", count, "kind: max, window: 1d, value: a + 1", "5", "kind: count, window: 2h", "kind: max, window: 1d, value: a + 1", "5", 4},
		{"other events", count + ", on: [auth.login, order.access]", "kind: age", "5", count + ", on: [order.access, auth.login]", "kind: age", "5", 2},
		{"other entity", count, "kind: age", "5", count + ", of: ip", "kind: age", "5", 3},
		{"kind of literal", "kind: distinct, window: 1h, value: 'event.mfa ? event.ip : \"true\"'", "kind: age", "5", "kind: distinct, window: 1h, value: 'true ? event.ip : \"true\"'", "kind: age", "5", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := detector(t, "one", features(c.a1, c.b1, c.params))
			two := detector(t, "two", features(c.a2, c.b2, c.other))
			if got := compile(t, rule.Options{}, one, two).Features - 2; got != c.want {
				t.Errorf("%d features are kept, want %d", got, c.want)
			}
		})
	}
}

// A let stands for its expression: in the condition, the confidence, the reason and the evidence.
func TestLet(t *testing.T) {
	named := detector(t, "named", "let: {many: touched + 2 * ips}\nwhen: many > 4\nconfidence: many / 100\nreason: '{many} of {event.actor}'\n")
	plain := detector(t, "plain", "when: touched + 2 * ips > 4\nconfidence: (touched + 2 * ips) / 100\nreason: '{touched + 2 * ips} of {event.actor}'\n")
	p := compile(t, rule.Options{}, named, plain)
	f := p.NewFrame()
	f.Begin(&moat.Event{Actor: "bob"})
	for i := range 9 {
		for j := range f.Slots {
			f.Slots[j] = float64(i)
		}
		var got []string
		for _, c := range p.Detectors {
			got = append(got, fmt.Sprint(c.When(&f), c.Confidence(&f), c.Reason(&f), c.Evidence(&f)))
		}
		if got[0] != got[1] {
			t.Errorf("%d: %s, want %s", i, got[0], got[1])
		}
	}
}

func TestOverride(t *testing.T) {
	d := detector(t, "one", "features:\n  touched: {kind: count, window: params.most}\n  ips: {kind: distinct, window: 1d, value: event.ip, where: event.rows < params.most}\n"+
		"when: touched > params.most && ips > 0\nconfidence: params.most / 100\n")
	describe := func(p *rule.Plan) string {
		f := p.NewFrame()
		s := fmt.Sprintf("%s %v", p.Detectors[0].Mode, p.Detectors[0].Confidence(&f))
		for _, l := range p.Layout[moat.Account] {
			if strings.HasPrefix(l.Name, "count") {
				s += " " + l.Name
			}
			if strings.HasPrefix(l.Name, "distinct of") && strings.HasSuffix(l.Name, "value event.ip") {
				_, where, _ := strings.Cut(l.Name, "where")
				s += " where" + where
			}
		}
		return s
	}
	shadow := moat.Shadow
	for _, c := range []struct {
		o    rule.Override
		want string
	}{
		{rule.Override{}, "enforce 0.05 count of account on [auth.login order.access] [window=5] where _<_(event.rows,5) value event.ip"},
		{rule.Override{Mode: &shadow}, "shadow 0.05 count of account on [auth.login order.access] [window=5] where _<_(event.rows,5) value event.ip"},
		{rule.Override{Params: map[string]float64{"most": 20}}, "enforce 0.2 count of account on [auth.login order.access] [window=20] where _<_(event.rows,20) value event.ip"},
	} {
		if got := describe(compile(t, rule.Options{Overrides: map[string]rule.Override{d.ID: c.o}}, d)); got != c.want {
			t.Errorf("\n got %s\nwant %s", got, c.want)
		}
	}
	for _, c := range []struct {
		id   string
		o    rule.Override
		want string
	}{
		{"access.nobody", rule.Override{}, `an override names detector "access.nobody", which does not exist`},
		{d.ID, rule.Override{Params: map[string]float64{"least": 1}}, `detector access.one has no parameter "least"`},
		{d.ID, rule.Override{Params: map[string]float64{"most": 51}}, "parameter most of access.one must be between 1 and 50, not 51"},
		{d.ID, rule.Override{Params: map[string]float64{"most": math.NaN()}}, "parameter most of access.one must be between 1 and 50, not NaN"},
	} {
		_, err := rule.Compile([]*rule.Detector{d}, rule.Options{Overrides: map[string]rule.Override{c.id: c.o}})
		if err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	wide := detector(t, "wide", "params:\n  span: {default: 1h, min: 0, max: 3000d, unit: duration, doc: d}\n"+
		"features:\n  a: {kind: count, window: params.span}\nwhen: a > 1\nreason: r\n")
	_, err := rule.Compile([]*rule.Detector{wide}, rule.Options{Overrides: map[string]rule.Override{wide.ID: {Params: map[string]float64{"span": 2e8}}}})
	if err == nil || !strings.Contains(err.Error(), "feature a: window of count must be between") {
		t.Errorf("an override beyond the bounds of the feature gives %v", err)
	}
}

// ops lists the features at events of type t: name of the kind, and ! if it observes.
func ops(p *rule.Plan, t moat.EventType) string {
	var out []string
	for _, op := range p.Types[t].Ops {
		s := op.Kind.Name
		if op.Observe {
			s += "!"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// TestOrder checks that a feature that reads earlier ones finds them computed, at every type
// of event at which anything looks at it.
func TestOrder(t *testing.T) {
	p := compile(t, rule.Options{}, detector(t, "one", `on: [auth.login]
features:
  a: {kind: count, window: 1h, on: [data.delete]}
  b: {kind: max, window: 1h, value: a, on: [heartbeat]}
  c: {kind: last, value: b + 1, on: [host.login]}
  unread: {kind: age}
when: c > 0
reason: r
`))
	for _, c := range []struct {
		at   moat.EventType
		want string
	}{
		{moat.AuthLogin, "count max last age!"}, // the detector reads all
		{moat.HostLogin, "count max last!"},     // c is observed, so b and what b reads must be there
		{moat.Heartbeat, "count max!"},
		{moat.DataDelete, "count!"},
		{moat.Complaint, ""},
	} {
		if got := ops(p, c.at); got != c.want {
			t.Errorf("%s: %s, want %s", c.at, got, c.want)
		}
	}
	seen := 0
	for _, op := range p.Types[moat.AuthLogin].Ops {
		if op.Out < seen {
			t.Errorf("%s writes slot %d after slot %d", op.Kind.Name, op.Out, seen)
		}
		seen = op.Out
	}
}

// TestLayout checks that states do not overlap and fit into their record.
func TestLayout(t *testing.T) {
	var list []*rule.Detector
	for i := range 8 {
		list = append(list, detector(t, fmt.Sprintf("d%d", i), features(fmt.Sprintf("kind: count, window: %dh", i+1), fmt.Sprintf("kind: distinct, window: 1d, value: event.ip, of: device, where: event.rows > %d", i/4), "5")))
	}
	p := compile(t, rule.Options{}, list...)
	for k := range p.Layout {
		end := rule.HeaderBytes
		for _, l := range p.Layout[k] {
			if l.Offset != end || l.Size <= 0 || l.Size%8 != 0 {
				t.Errorf("%s: %d bytes at %d, after %d", l.Name, l.Size, l.Offset, end)
			}
			end += l.Size
		}
		if len(p.Layout[k]) > 0 && (p.Records[k]%rule.LineBytes != 0 || p.Records[k] < end || p.Records[k] >= end+rule.LineBytes) {
			t.Errorf("record %d has %d bytes, its features end at %d", k, p.Records[k], end)
		}
	}
	x := p.Exposure[moat.Account]
	if x == nil || p.Exposure[moat.Host] != nil {
		t.Fatal("exposure is kept for subjects, and for them alone")
	}
	place := func(at int) string {
		i := slices.IndexFunc(p.Layout[moat.Account], func(l rule.Place) bool { return l.Offset == at })
		return p.Layout[moat.Account][i].Name
	}
	if a, b := place(x.DistinctOffset), place(x.SumOffset); !strings.HasPrefix(a, "distinct of account") || !strings.HasSuffix(a, " value event.orders") || !strings.HasPrefix(b, "sum of account") {
		t.Errorf("exposure is read from %q and %q", a, b)
	}
	for i := range 60 {
		list = append(list, detector(t, fmt.Sprintf("e%d", i), features("kind: age", fmt.Sprintf("kind: distinct, window: 1d, value: event.ip, of: device, where: event.rows > %d", i), "5")))
	}
	_, err := rule.Compile(list, rule.Options{})
	if err == nil || !strings.Contains(err.Error(), "bytes for each device, more than 384") {
		t.Errorf("a record that is too large gives %v", err)
	}
}

// TestNames checks that features that read features do not grow without bounds.
func TestNames(t *testing.T) {
	var b strings.Builder
	b.WriteString("features:\n  f0: {kind: count, window: 1h}\n")
	for i := 1; i < rule.MaxFeatures; i++ {
		fmt.Fprintf(&b, "  f%d: {kind: last, value: %s}\n", i, strings.Repeat(fmt.Sprintf("f%d+", i-1), 25)+"1")
	}
	fmt.Fprintf(&b, "when: f%d > 1\nreason: r\n", rule.MaxFeatures-1)
	p := compile(t, rule.Options{}, detector(t, "one", b.String()))
	for _, l := range p.Layout[moat.Account] {
		if len(l.Name) > 8<<10 {
			t.Errorf("the name of a feature has %d bytes", len(l.Name))
		}
	}
}

func TestDuplicateDetectors(t *testing.T) {
	_, err := rule.Compile([]*rule.Detector{detector(t, "one", ""), detector(t, "one", "")}, rule.Options{})
	if err == nil || err.Error() != "one.yaml: detector access.one is in one.yaml too" {
		t.Error(err)
	}
}

// TestNumbers checks that no expression gives infinity or NaN.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		expr string
		want float64
	}{
		{"1 / 0", 0}, {"0.0 / 0.0", 0}, {"1e308 * 10", math.MaxFloat64}, {"-1e308 * 10", -math.MaxFloat64}, {"1e308 * 10 - 1e308 * 10", 0},
		{"1 / 5e-324", math.MaxFloat64}, {"log(0)", 0}, {"log(0 - 5)", 0}, {"sqrt(-4)", 0}, {"abs(-4)", 4}, {"clamp(9, 1, 3)", 3}, {"clamp(-9, 1, 3)", 1},
		{"min(3, 4) + max(3, 4)", 7}, {"-(2 + 3)", -5}, {"true ? 1 : 2", 1}, {"'é€x'.size()", 3}, {"event.orders.size()", 2}, {"event.bytes * 0.5", 21},
		{"1 + 2 * 3 - 4 / 2", 5},
	} {
		p := compile(t, rule.Options{}, detector(t, "one", fmt.Sprintf("confidence: %q\n", c.expr)))
		f := p.NewFrame()
		f.Begin(&moat.Event{Orders: []string{"1", "2"}, Bytes: 42})
		if got := p.Detectors[0].Confidence(&f); got != c.want {
			t.Errorf("%s = %v, want %v", c.expr, got, c.want)
		}
	}
}

func TestReason(t *testing.T) {
	for _, c := range []struct{ reason, want string }{
		{"plain", "plain"},
		{"a } b {event.rows}", "a } b 7"},
		{"{event.rows}{event.actor}", "7bob"},
		{"{ event.rows > 3 || event.rows < 1 ? 1 : 2 }", "1"},
		{`{event.actor == "a|b" ? 1 : 0.25 | percent}`, "25 %"},
		{"{event.duration_ms | duration}", "50 min"},
		{"{60 | duration} {3000 | duration} {7300 | duration} {864000 | duration} {1e300} {1e300 | duration}", "60 s 50 min 2 h 10 d 1e+300 1.2e+295 d"},
		{"{0.12345} {1.26} {31.6} {123.4} {-3} {0}", "0.12 1.3 32 123 -3 0"},
		{"{0 | count failed login}, {1 | count failed login}, {31.6 | count account}, {0.9 | count}", "0 failed logins, 1 failed login, 32 accounts, 1"},
		{"{2 | count address}, {2 | count query}, {2 | count day}, {2 | count person}, {2 | count search}", "2 addresses, 2 queries, 2 days, 2 people, 2 searches"},
		{"{640 | bytes}, {58000 | bytes}, {61e6 | bytes}, {1.5e12 | bytes}", "640 B, 58 kB, 61 MB, 1.5 TB"},
		{"with {event.client} ({event.rows}), from {event.ip} {event.db}, by {event.actor} {event.db}; {event.db}", "with (7), from, by bob;"},
		{"by {event.actor} ({event.ip} {event.db}), at {event.rows} ({event.ip}{event.db}) ({event.rows} {event.db}) ( )", "by bob, at 7 (7)"},
		{"{event.path}", "??[31m?x"},
		{"{event.user_agent}", strings.Repeat("é", 58) + "…"},
		{"{event.touched} {event.weight}", "0 0.7"},
	} {
		p := compile(t, rule.Options{}, detector(t, "one", fmt.Sprintf("reason: %q\n", c.reason)))
		f := p.NewFrame()
		f.Begin(&moat.Event{Actor: "bob", Rows: 7, DurationMS: 3000, Path: "\u202e\x1b[31m\xffx", UserAgent: strings.Repeat("é", 300)})
		if got := p.Detectors[0].Reason(&f); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

// TestKeys checks which texts make one key.
func TestKeys(t *testing.T) {
	key := func(expr string, ev moat.Event) uint64 {
		p := compile(t, rule.Options{Seed: 7}, detector(t, "one", features(fmt.Sprintf("kind: seen, value: %q", expr), "kind: age", "5")))
		f := p.NewFrame()
		f.Begin(&ev)
		return p.Types[moat.AuthLogin].Ops[0].Key(&f)
	}
	ab := moat.Event{IP: "a", Device: "b"}
	seed := rule.HashSeed(7)
	for _, c := range []struct {
		expr string
		ev   moat.Event
		want uint64
	}{
		{"event.ip", ab, seed.Text("a")},
		{"event.ip", moat.Event{}, 0},
		{"event.ip + event.device", ab, rule.Mix(seed.Text("a"), seed.Text("b"))},
		{"event.ip + event.device", moat.Event{IP: "ab"}, 0},
		{"event.device == 'b' ? event.ip + '/' : event.device", ab, rule.Mix(seed.Text("a"), seed.Text("/"))},
		{"event.network", moat.Event{IP: "10.1.2.3"}, seed.Text("10.1.2")},
		{"event.network", moat.Event{IP: "2001:db8:1:2::3"}, seed.Text("2001:db8:1")},
	} {
		if got := key(c.expr, c.ev); got != c.want {
			t.Errorf("%s of %+v is %x, want %x", c.expr, c.ev, got, c.want)
		}
	}
	if rule.Mix(1, 2) == rule.Mix(2, 1) {
		t.Error("the order of joined texts does not matter")
	}
}

// TestShape asks the detectors of a shape against their whole conditions, for few conditions and for more than a word has bits.
func TestShape(t *testing.T) {
	for _, n := range []int{12, 150} {
		var list []*rule.Detector
		for i := range n {
			asks := [...]string{"event.operation == 'view'", "event.outcome == 'success'", "given(event.operation)", "event.operation in ['view', 'print'] && event.actor_kind != 'service'"}[i%4]
			list = append(list, detector(t, fmt.Sprintf("d%d", i), fmt.Sprintf("when: %s && event.rows > %d && event.bytes != %d\n", asks, i%5, i)))
		}
		p := compile(t, rule.Options{}, list...)
		f, sorter, fired := p.NewFrame(), p.NewSorter(), 0
		for i := range 600 {
			ev := moat.Event{Type: moat.OrderAccess, Operation: []string{"", "view", "print", "send"}[i%4], Outcome: moat.Outcome(i / 4 % 3), ActorKind: moat.ActorKind(i / 12 % 3), Rows: int64(i % 7), Bytes: int64(i % n)}
			if i%8 < 4 {
				ev.MarkAll()
			}
			tp := &p.Types[ev.Type]
			f.Begin(&ev)
			shape := sorter.Shape(&f)
			for _, c := range tp.Detectors {
				if got, want := slices.ContainsFunc(shape.Detectors, func(a rule.Ask) bool { return a.Compiled == c && a.Fires(&f) }), c.When(&f); got != want {
					t.Fatalf("%d detectors, event %d: %s fires is %v, its condition %v", n, i, c.ID, got, want)
				} else if got {
					fired++
				}
			}
		}
		if fired < 100 {
			t.Errorf("%d detectors fired %d times", n, fired)
		}
	}
}
