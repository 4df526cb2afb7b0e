package engine_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/feature"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/sim/load"
)

// The two benchmarks below take the same lines of JSON through the same detectors, once with
// the parts that one would take from the shelf and once with ours. Run both, ten times each,
// and compare:
//
//	go test -run '^$' -bench 'Generic$' -benchtime 20000x -count 10 ./discover/engine | sed s/Generic/Events/ >generic.txt
//	go test -run '^$' -bench 'Ours$' -benchtime 20000x -count 10 ./discover/engine | sed s/Ours/Events/ >ours.txt
//	benchstat generic.txt ours.txt
//
// An operation is one event, from its line of JSON to the answers of all conditions about it.
// The comparison leans towards the generic stack: it runs our closures for the conditions and
// values of features, keeps only counts, sums, distinct values, first seen, age and baselines
// (most of the features that an event touches) and leaves out conditions with words that cel-go lacks, confidence, reasons,
// duplicates, bounds on memory, snapshots, and the encoding that a log needs.

// lines returns n events of the load stream as JSON.
func lines(n int) (out [][]byte) {
	s := load.New(load.Config{Accounts: 100_000, Seed: 1})
	for range n {
		e := s.Next()
		e.Mark(moat.FieldPartner)
		out = append(out, moat.AppendJSON(nil, e))
	}
	return out
}

func BenchmarkOurs(b *testing.B) {
	e := newEngine(b, plan(b))
	in := lines(b.N)
	d := moat.NewDecoder()
	d.AllowPartner = true
	var ev moat.Event
	var w moat.BatchWriter
	b.ReportAllocs()
	b.ResetTimer()
	for i, line := range in {
		if err := d.Decode(line, &ev); err != nil {
			b.Fatal(err)
		}
		ev.Received = ev.Time
		w.Append(&ev)
		if i%512 == 511 || i == b.N-1 {
			ours(b, e, &w)
		}
	}
}

func ours(b *testing.B, e *engine.Engine, w *moat.BatchWriter) {
	if _, err := e.Step(w.Bytes(), nil); err != nil {
		b.Fatal(err)
	}
	w.Reset()
}

func BenchmarkGeneric(b *testing.B) {
	g := newGeneric(b)
	in := lines(b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for _, line := range in {
		g.take(b, line)
	}
	b.ReportMetric(float64(g.asked)/float64(b.N), "conditions/op")
}

// TestGeneric checks that the generic stack does the work: each of its conditions must say the
// same as ours on the same numbers.
func TestGeneric(t *testing.T) {
	g := newGeneric(t)
	if len(g.conditions) < 32 {
		t.Errorf("only %d conditions take part", len(g.conditions))
	}
	t.Logf("%d conditions", len(g.conditions))
	for _, line := range lines(3000) {
		g.take(t, line)
	}
	if g.asked < 3000 || len(g.states) < 3000 || g.wrong > 0 {
		t.Errorf("%d conditions asked, %d states, %d answers differ on the same numbers", g.asked, len(g.states), g.wrong)
	}
}

// plain is an event as encoding/json reads it.
type plain struct {
	Partner         string    `json:"partner"`
	ID              string    `json:"id"`
	Time            time.Time `json:"time"`
	Type            string    `json:"type"`
	ActorKind       string    `json:"actor_kind"`
	Outcome         string    `json:"outcome"`
	Actor           string    `json:"actor"`
	Role            string    `json:"role"`
	App             string    `json:"app"`
	Shops           []string  `json:"shops"`
	IP              string    `json:"ip"`
	Device          string    `json:"device"`
	UserAgent       string    `json:"user_agent"`
	Session         string    `json:"session"`
	Host            string    `json:"host"`
	Outlet          string    `json:"outlet"`
	URL             string    `json:"url"`
	Operation       string    `json:"operation"`
	Reason          string    `json:"reason"`
	Orders          []string  `json:"orders"`
	Count           int64     `json:"count"`
	Fields          []string  `json:"fields"`
	Encrypted       bool      `json:"encrypted"`
	Bytes           int64     `json:"bytes"`
	Method          string    `json:"method"`
	Object          string    `json:"object"`
	Change          string    `json:"change"`
	Destination     string    `json:"destination"`
	DestinationKind string    `json:"destination_kind"`
	Statement       string    `json:"statement"`
	Template        string    `json:"template"`
	DB              string    `json:"db"`
	Tables          []string  `json:"tables"`
	Rows            int64     `json:"rows"`
	DurationMS      int64     `json:"duration_ms"`
	Client          string    `json:"client"`
	Status          int64     `json:"status"`
	LatencyMS       int64     `json:"latency_ms"`
	Path            string    `json:"path"`
	Exe             string    `json:"exe"`
	Parent          string    `json:"parent"`
	User            string    `json:"user"`
	PID             int64     `json:"pid"`
}

// event gives p to the closures of features, which want our type.
func (p *plain) event() moat.Event {
	typ, _ := moat.ParseEventType(p.Type)
	e := moat.Event{
		Partner: p.Partner, ID: p.ID, Time: moat.TimeOf(p.Time), Received: moat.TimeOf(p.Time), Type: typ, Actor: p.Actor, Role: p.Role, App: p.App,
		Shops: p.Shops, IP: p.IP, Device: p.Device, UserAgent: p.UserAgent, Session: p.Session, Host: p.Host, Outlet: p.Outlet, URL: p.URL,
		Operation: p.Operation, Reason: p.Reason, Orders: p.Orders, Count: p.Count, Fields: p.Fields, Encrypted: p.Encrypted, Bytes: p.Bytes,
		Method: p.Method, Object: p.Object, Change: p.Change, Destination: p.Destination, DestinationKind: p.DestinationKind,
		Statement: p.Statement, Template: p.Template, DB: p.DB, Tables: p.Tables, Rows: p.Rows, DurationMS: p.DurationMS, Client: p.Client,
		Status: p.Status, LatencyMS: p.LatencyMS, Path: p.Path, Exe: p.Exe, Parent: p.Parent, User: p.User, PID: p.PID,
	}
	if p.Outcome == "failure" {
		e.Outcome = moat.Failure
	}
	if p.ActorKind == "service" {
		e.ActorKind = moat.ActorService
	}
	return e
}

// generic is the stack from the shelf.
type generic struct {
	plan       *rule.Plan
	frame      rule.Frame
	states     map[string]*state
	conditions map[*rule.Compiled]*condition
	key        []byte
	asked      int // conditions
	wrong      int // answers that differ from ours on the same numbers
}

// state is one feature of one entity.
type state struct {
	times  []int64 // of events within the last hour, for counts and sums
	nums   []float64
	total  float64
	values map[string]int64 // when each value was last seen
	first  int64
	days   map[int64]float64
}

// condition is a detector's condition in cel-go's interpreter, and how its variables are had.
type condition struct {
	program cel.Program
	slots   map[string]int
	params  map[string]any
	g       *generic
}

func (c *condition) Parent() cel.Activation { return nil }

// ResolveName makes a condition an activation over the frame.
func (c *condition) ResolveName(name string) (any, bool) {
	if i, ok := c.slots[name]; ok {
		return c.g.frame.Slots[i], true
	}
	if p, ok := c.params[name]; ok {
		return p, true
	}
	f := &c.g.frame
	switch name {
	case "event.touched":
		return float64(f.Event.Touched()), true
	case "event.weight":
		return rule.Sensitivity(f.Event), true
	case "event.leaves":
		return rule.Leaves(f.Event), true
	case "ip.tor":
		return f.Net().Tor, true
	case "ip.vpn":
		return f.Net().VPN, true
	case "ip.hosting":
		return f.Net().Hosting, true
	case "ip.listed":
		return f.Net().Listed, true
	case "ip.private":
		return f.Net().Private, true
	case "ip.country":
		return f.Net().Country(), true
	}
	fd := moat.FieldByName(strings.TrimPrefix(name, "event."))
	if fd == nil {
		return nil, false
	}
	switch fd.Kind {
	case moat.KindStrings:
		return fd.List(f.Event), true
	case moat.KindInt, moat.KindTime:
		return float64(fd.Number(f.Event)), true
	case moat.KindBool:
		return fd.Number(f.Event) != 0, true
	}
	return fd.Text(f.Event), true
}

func newGeneric(t testing.TB) *generic {
	t.Helper()
	g := &generic{plan: plan(t), states: map[string]*state{}, conditions: map[*rule.Compiled]*condition{}}
	g.frame = g.plan.NewFrame()
	base := genericLanguage(t)
	for _, c := range g.plan.Detectors {
		if cond := g.condition(t, base, c); cond != nil {
			g.conditions[c] = cond
		}
	}
	return g
}

// genericLanguage is cel-go's standard library with the variables of events and our functions.
func genericLanguage(t testing.TB) *cel.Env {
	t.Helper()
	num := cel.DoubleType
	opts := []cel.EnvOption{cel.CrossTypeNumericComparisons(true), cel.Variable("event.touched", num), cel.Variable("event.weight", num),
		cel.Variable("event.leaves", cel.BoolType), cel.Variable("ip.country", cel.StringType)}
	for _, name := range []string{"tor", "vpn", "hosting", "listed", "private"} {
		opts = append(opts, cel.Variable("ip."+name, cel.BoolType))
	}
	for i := 1; i < len(moat.Fields); i++ {
		typ := cel.StringType
		switch moat.Fields[i].Kind {
		case moat.KindStrings:
			typ = cel.ListType(cel.StringType)
		case moat.KindInt, moat.KindTime:
			typ = num
		case moat.KindBool:
			typ = cel.BoolType
		}
		opts = append(opts, cel.Variable("event."+moat.Fields[i].Name, typ))
	}
	two := func(name string, f func(a, b float64) float64) cel.EnvOption {
		return cel.Function(name, cel.Overload(name+"_double", []*cel.Type{num, num}, num, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
			return types.Double(f(float64(a.(types.Double)), float64(b.(types.Double))))
		})))
	}
	opts = append(opts, two("max", func(a, b float64) float64 { return max(a, b) }), two("min", func(a, b float64) float64 { return min(a, b) }))
	env, err := cel.NewEnv(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// condition compiles the condition of c for the interpreter; nil when the interpreter lacks a word of it.
func (g *generic) condition(t testing.TB, env *cel.Env, c *rule.Compiled) *condition {
	t.Helper()
	out := &condition{g: g, slots: map[string]int{}, params: map[string]any{}}
	var opts []cel.EnvOption
	for i := range g.frame.Slots {
		g.frame.Slots[i] = float64(i)
	}
	for _, e := range c.Evidence(&g.frame) { // tells which slot each name stands for
		names := []string{e.Name}
		root, output, _ := strings.Cut(e.Name, ".")
		i := slices.IndexFunc(c.Features, func(f rule.Feature) bool { return f.Name == root })
		if c.Features[i].Kind.Outputs[0].Name == output {
			names = append(names, root)
		}
		for _, n := range names {
			out.slots[n] = int(e.Value)
			opts = append(opts, cel.Variable(n, cel.DoubleType))
		}
	}
	for _, p := range c.Params {
		out.params["params."+p.Name] = p.Default
		opts = append(opts, cel.Variable("params."+p.Name, cel.DoubleType))
	}
	clear(g.frame.Slots)
	env, err := env.Extend(opts...)
	if err != nil {
		t.Fatal(err)
	}
	when := c.Detector.When.S
	for _, l := range c.Let {
		when = regexp.MustCompile(`\b`+l.Name+`\b`).ReplaceAllLiteralString(when, "("+l.Value.S+")")
	}
	parsed, iss := env.Parse(when)
	if iss.Err() != nil {
		t.Fatal(iss.Err())
	}
	fac := ast.NewExprFactory()
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.LiteralKind {
			if i, ok := e.AsLiteral().(types.Int); ok {
				e.SetKindCase(fac.NewLiteral(e.ID(), types.Double(i)))
			}
		}
	}))
	tree, iss := env.Check(parsed)
	if iss.Err() != nil {
		return nil // it uses words that only our language has
	}
	if out.program, err = env.Program(tree, cel.EvalOptions(cel.OptOptimize)); err != nil {
		t.Fatal(err)
	}
	return out
}

// take decodes one event, updates its features and asks all conditions about it.
func (g *generic) take(t testing.TB, line []byte) {
	var p plain
	if err := json.Unmarshal(line, &p); err != nil {
		t.Fatal(err)
	}
	ev := p.event()
	tp := &g.plan.Types[ev.Type]
	g.frame.Look = net
	g.frame.Begin(&ev)
	for i := range tp.Ops {
		g.feature(&tp.Ops[i], &ev)
	}
	_, testing := t.(*testing.T)
	for _, c := range tp.Detectors {
		if g.conditions[c] == nil {
			continue
		}
		out, _, err := g.conditions[c].program.Eval(g.conditions[c])
		if err != nil {
			t.Fatalf("%s: %v", c.ID, err)
		}
		g.asked++
		if testing && out.Value() != c.When(&g.frame) {
			g.wrong++
		}
	}
}

// feature updates one feature and writes its outputs.
func (g *generic) feature(op *rule.Op, ev *moat.Event) {
	id := ev.EntityID(op.Of)
	if id == "" {
		return
	}
	g.key = append(append(append(g.key[:0], ev.Partner...), 0, byte(op.Of)), id...)
	g.key = strconv.AppendInt(append(g.key, 0), int64(op.Out), 10)
	now := int64(ev.Time)
	s := g.states[string(g.key)]
	if s == nil {
		s = &state{values: map[string]int64{}, days: map[int64]float64{}, first: now}
		g.states[string(g.key)] = s
	}
	observe := op.Observe && (op.Where == nil || op.Where(&g.frame))
	out := g.frame.Slots[op.Out:]
	switch op.Kind.Name {
	case "count", "sum":
		s.window(op, &g.frame, now, observe, out)
	case "distinct", "seen":
		s.distinct(op, &g.frame, now, observe, out)
	case "age":
		out[0] = float64(now-s.first) / 1e6
	case "baseline":
		s.baseline(op, &g.frame, now, observe, out)
	}
}

// window counts or adds up what happened within the last hour.
func (s *state) window(op *rule.Op, f *rule.Frame, now int64, observe bool, out []float64) {
	for len(s.times) > 0 && s.times[0] < now-int64(moat.Hour) {
		s.total -= s.nums[0]
		s.times, s.nums = s.times[1:], s.nums[1:]
	}
	if observe {
		v := 1.0
		if op.Num != nil {
			v = op.Num(f)
		}
		s.times, s.nums = append(s.times, now), append(s.nums, v)
		s.total += v
	}
	out[0] = s.total
}

// distinct keeps when each value was last seen, by its hash written out.
func (s *state) distinct(op *rule.Op, f *rule.Frame, now int64, observe bool, out []float64) {
	var list []string
	switch op.Value {
	case feature.Keys:
		list = op.List(f)
	case feature.Key:
		if k := op.Key(f); k != 0 {
			list = []string{strconv.FormatUint(k, 36)}
		}
	}
	for _, v := range list {
		if _, ok := s.values[v]; !ok {
			out[len(op.Kind.Outputs)-1]++
		}
		if observe {
			s.values[v] = now
		}
	}
	out[0] = float64(len(s.values))
}

// baseline keeps a number a day and compares today's with the median.
func (s *state) baseline(op *rule.Op, f *rule.Frame, now int64, observe bool, out []float64) {
	day := now / int64(moat.Day)
	if observe {
		v := 1.0
		switch {
		case op.Num != nil:
			v = op.Num(f)
		case op.List != nil:
			v = float64(len(op.List(f)))
		}
		s.days[day] += v
	}
	past := make([]float64, 0, len(s.days))
	for d, v := range s.days {
		if d != day {
			past = append(past, v)
		}
	}
	slices.Sort(past)
	out[0] = s.days[day]
	if n := len(past); n > 0 && len(op.Kind.Outputs) > 2 {
		out[1], out[2] = float64(n), past[n/2]
	}
}
