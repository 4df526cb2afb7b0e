package rule

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
)

// HeaderBytes is the size of the part of a record that is not feature state; package
// engine owns its layout.
const HeaderBytes = 32

// Plan is many detectors compiled together: what to do for each type of event, and how
// the record of each kind of entity is laid out. It is immutable and safe for
// concurrent use.
type Plan struct {
	Detectors []*Compiled // sorted by id
	Types     [moat.EventTypes]TypePlan
	// Records is the size of a record of each kind in bytes, header included; 0 = none kept.
	Records [moat.EntityKinds]int
	// Exposure tells, per kind of subject, how to read how many orders it touched in a day.
	Exposure [moat.EntityKinds]*Exposure
	// Layout lists, per kind, where each feature's state lies; a snapshot written under
	// another plan is carried over feature by feature.
	Layout   [moat.EntityKinds][]Place
	Slots    int
	Memos    int // how many pattern memories a Frame needs
	Features int // distinct ones, after sharing
}

// Place is where the state of one feature lies in a record.
type Place struct {
	Name         string // what the feature computes, in words that are the same for equal features
	Offset, Size int
}

// TypePlan is what happens at one type of event.
type TypePlan struct {
	Kinds     []moat.EntityKind // whose records are touched
	Subjects  []moat.EntityKind // of Detectors
	Ops       []Op              // in order: an op may read slots of earlier ones
	Detectors []*Compiled
	Net       bool // the address must be looked up
	// Lines lists, per kind, the cache lines of its record that Ops look at, by offset.
	Lines [moat.EntityKinds][]int
	// Early lists the ops that look up one pair whose key follows from the event alone, so that
	// it can be fetched ahead.
	Early []int
}

// Op updates or reads one feature of one entity of the event.
type Op struct {
	Of      moat.EntityKind
	Offset  int // of its state in the record
	Kind    *feature.Kind
	Stat    feature.Stat
	Observe bool // false: only read at this type
	Where   func(*Frame) bool
	Value   feature.Value // which of the following gives the input
	Num     func(*Frame) float64
	Key     func(*Frame) uint64
	List    func(*Frame) []string
	Steps   []func(*Frame) bool
	Salt    uint64 // tells the pairs of one feature from another's
	Out     int    // first slot
	Early   int    // place in TypePlan.Early, or -1

	early bool // it keeps a pair whose key needs nothing but the event
	size  int  // of its state
}

// Exposure reads how many orders an entity touched in the last 24 h.
type Exposure struct {
	Distinct, Sum             feature.Stat
	DistinctOffset, SumOffset int
}

// Compiled is a detector ready to run.
type Compiled struct {
	*Detector
	Index      int
	When       func(*Frame) bool
	Confidence func(*Frame) float64
	CostNS     float64 // estimate for one event
	reason     *reason
	evidence   []evidence
}

type evidence struct {
	name string
	slot int
}

// Reason fills the detector's reason for the event of f.
func (c *Compiled) Reason(f *Frame) string { return c.reason.text(f) }

// Evidence lists the numbers that the condition looked at.
func (c *Compiled) Evidence(f *Frame) []moat.Evidence {
	out := make([]moat.Evidence, len(c.evidence))
	for i, e := range c.evidence {
		out[i] = moat.Evidence{Name: e.name, Value: f.Slots[e.slot]}
	}
	return out
}

// Options change how detectors are compiled.
type Options struct {
	Seed      HashSeed
	Overrides map[string]Override // by detector id
	Sources   map[string][]byte   // by file, for messages that show the line
}

// shared is a feature after equal ones of several detectors were merged.
type shared struct {
	canon string
	op    Op
	on    []moat.EventType
	need  [moat.EventTypes]bool
	uses  []int // slots of features that it reads
	outs  int
	size  int
	net   bool // it looks at the address
}

type builder struct {
	base     *cel.Env
	seed     HashSeed
	problems Problems
	features []*shared
	bySlot   []*shared
	byCanon  map[string]*shared
	plan     *Plan
	memos    int // of patterns
}

// Compile checks and compiles detectors together. What is wrong comes as [Problems].
func Compile(detectors []*Detector, o Options) (*Plan, error) {
	base, err := newBase()
	if err != nil {
		return nil, fmt.Errorf("cannot build the rule language: %w", err)
	}
	b := &builder{base: base, seed: o.Seed, byCanon: map[string]*shared{}, plan: &Plan{}}
	detectors = slices.Clone(detectors)
	slices.SortFunc(detectors, func(a, b *Detector) int { return cmp.Compare(a.ID, b.ID) })
	for id := range o.Overrides {
		if !slices.ContainsFunc(detectors, func(d *Detector) bool { return d.ID == id }) {
			return nil, fmt.Errorf("an override names detector %q, which does not exist", id)
		}
	}
	b.exposures(detectors)
	for i, d := range detectors {
		if i > 0 && detectors[i-1].ID == d.ID {
			b.problems = append(b.problems, &Problem{File: d.File, Code: "duplicate", What: fmt.Sprintf("detector %s is in %s too", d.ID, detectors[i-1].File)})
			continue
		}
		if ov, ok := o.Overrides[d.ID]; ok {
			if d, err = d.apply(ov); err != nil {
				return nil, err
			}
		}
		if err := b.detector(d, o.Sources[d.File]); err != nil {
			return nil, err
		}
	}
	b.layout()
	if err := b.problems.Err(); err != nil {
		return nil, err
	}
	return b.plan, nil
}

// orderTypes are the events that show order data to their entities.
var orderTypes = []moat.EventType{moat.OrderAccess, moat.OrderTransmit, moat.DataDecrypt, moat.DBQuery, moat.APICall}

// exposures adds, for each kind of subject, the two features that every finding needs.
func (b *builder) exposures(detectors []*Detector) {
	for k := moat.NoEntity + 1; k < moat.EntityKinds; k++ {
		if !slices.ContainsFunc(detectors, func(d *Detector) bool { return d.Subject == k }) {
			continue
		}
		day := feature.Params{"window": 86400}
		distinct := b.builtin(k, "distinct", day, func(op *Op) {
			op.Value, op.List = feature.Keys, func(f *Frame) []string { return f.Event.Orders }
		})
		sum := b.builtin(k, "sum", day, func(op *Op) {
			op.Value = feature.Number
			op.Num = func(f *Frame) float64 {
				return float64(max(f.Event.Touched(), f.Event.Rows) - int64(len(f.Event.Orders)))
			}
		})
		b.plan.Exposure[k] = &Exposure{Distinct: distinct.op.Stat, Sum: sum.op.Stat, DistinctOffset: len(b.features) - 2, SumOffset: len(b.features) - 1}
	}
}

func (b *builder) builtin(of moat.EntityKind, kind string, p feature.Params, set func(*Op)) *shared {
	k := feature.Find(kind)
	p, err := k.Fill(p)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	s := &shared{canon: fmt.Sprintf("exposure %s %s", of, kind), on: orderTypes, outs: len(k.Outputs), size: k.Size(p)}
	s.op = Op{Of: of, Kind: k, Stat: k.New(p), Observe: true, Out: len(b.bySlot)}
	set(&s.op)
	b.add(s)
	return s
}

func (b *builder) add(s *shared) {
	b.features = append(b.features, s)
	b.byCanon[s.canon] = s
	for range s.outs {
		b.bySlot = append(b.bySlot, s)
	}
}

// detector compiles one detector and adds its features.
func (b *builder) detector(d *Detector, src []byte) error {
	before := len(b.problems)
	x, err := b.environment(d)
	if err != nil {
		return err
	}
	x.lines = strings.Split(string(src), "\n")
	canon := map[string]string{}
	cost := 0.0
	for i := range d.Features {
		f := &d.Features[i]
		s, err := b.feature(x, f, canon)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		for _, t := range d.On {
			s.need[t] = true
		}
		canon[f.Name] = s.canon
		cost += f.Kind.CostNS
		if err := x.declare(f, s.op.Out); err != nil {
			return err
		}
	}
	if len(b.problems) > before {
		return nil // expressions that use broken features would only repeat the trouble
	}
	c := &Compiled{Detector: d, CostNS: cost + 2*float64(1+strings.Count(d.When.S, "&&")+strings.Count(d.When.S, "||"))}
	var uses []int
	if tree := x.checked(d.When, cel.BoolType); tree != nil {
		cc := &compiler{b: b, x: x, text: d.When, tree: tree}
		c.When, uses = cc.bool(tree.Expr()), cc.uses
	}
	if tree := x.checked(d.Confidence, cel.DoubleType); tree != nil {
		cc := &compiler{b: b, x: x, text: d.Confidence, tree: tree}
		c.Confidence = cc.num(tree.Expr())
		uses = append(uses, cc.uses...)
	}
	c.reason, _ = b.reason(x, d.Reason)
	c.evidence = x.evidence(uses)
	if len(b.problems) > before {
		return nil
	}
	c.Index = len(b.plan.Detectors)
	b.plan.Detectors = append(b.plan.Detectors, c)
	return nil
}

// evidence names the slots that were read, each once, in the order of their slots.
func (x *environment) evidence(uses []int) []evidence {
	var out []evidence
	slices.Sort(uses)
	for _, slot := range slices.Compact(uses) {
		best := ""
		for name, v := range x.vars {
			// A default output has two names; the longer says more.
			if v.slot == slot && (len(name) > len(best) || len(name) == len(best) && name < best) {
				best = name
			}
		}
		out = append(out, evidence{best, slot})
	}
	return out
}

// feature compiles f, or finds an equal one that another detector declared.
func (b *builder) feature(x *environment, f *Feature, canon map[string]string) (*shared, error) {
	before := len(b.problems)
	s := &shared{on: f.On, outs: len(f.Kind.Outputs)}
	s.op = Op{Of: f.Of, Kind: f.Kind, Out: len(b.bySlot), Value: feature.NoValue}
	at := Text{S: f.Name, Line: f.Line, Col: f.Col}
	var uses []int
	if f.Where.S != "" {
		if tree := x.checked(f.Where, cel.BoolType); tree != nil {
			c := &compiler{b: b, x: x, text: f.Where, tree: tree}
			s.op.Where = c.bool(tree.Expr())
			uses = append(uses, c.uses...)
		}
	}
	for _, step := range f.Steps {
		if tree := x.checked(step, cel.BoolType); tree != nil {
			c := &compiler{b: b, x: x, text: step, tree: tree}
			s.op.Steps = append(s.op.Steps, c.bool(tree.Expr()))
			s.op.Value = feature.Steps
			uses = append(uses, c.uses...)
		}
	}
	if f.Value.S != "" {
		uses = append(uses, b.value(x, f, &s.op)...)
	}
	if !f.Kind.Takes(s.op.Value) && len(b.problems) == before {
		x.add(at, 1, 0, "type", fmt.Sprintf("%s takes a %s as its value, not a %s", f.Kind.Name, f.Kind.Value, s.op.Value), "see the manual of features")
	}
	if len(b.problems) > before {
		return nil, nil
	}
	s.canon = canonical(x.detector, f, canon)
	if old, ok := b.byCanon[s.canon]; ok {
		return old, nil
	}
	s.size = (f.Kind.Size(f.Params) + 7) &^ 7
	s.op.Stat = f.Kind.New(f.Params)
	s.op.Salt = b.seed.Text("pair " + s.canon)
	s.op.early = f.Kind.Pairs && s.op.Value == feature.Key && !strings.Contains(f.Value.S, "ip.")
	s.uses = uses
	s.net = s.op.Value == feature.Place || strings.Contains(f.Where.S+f.Value.S, "ip.")
	b.add(s)
	return s, nil
}

func (b *builder) value(x *environment, f *Feature, op *Op) []int {
	tree := x.checked(f.Value)
	if tree == nil {
		return nil
	}
	c := &compiler{b: b, x: x, text: f.Value, tree: tree}
	switch t := tree.GetType(tree.Expr().ID()); {
	case t.IsExactType(cel.DoubleType):
		op.Value, op.Num = feature.Number, c.num(tree.Expr())
	case t.IsExactType(cel.StringType):
		op.Value, op.Key = feature.Key, c.key(tree.Expr())
	case t.IsExactType(cel.ListType(cel.StringType)):
		op.Value, op.List = feature.Keys, c.list(tree.Expr())
	case t.IsExactType(placeType):
		op.Value = feature.Place
	default:
		x.add(f.Value, 1, 0, "type", "a condition is no value of a feature", "put it under where")
	}
	return c.uses
}

var name = regexp.MustCompile(`[a-z_][a-z0-9_]*(\.[a-z0-9_]+)*`)

// canonical says what a feature computes in words that do not depend on what its detector
// calls things, so that equal features of different detectors are kept once.
func canonical(d *Detector, f *Feature, canon map[string]string) string {
	norm := func(s string) string {
		return name.ReplaceAllStringFunc(s, func(w string) string {
			root, rest, _ := strings.Cut(w, ".")
			if root == "params" {
				for _, p := range d.Params {
					if p.Name == rest {
						return fmt.Sprint(p.Default)
					}
				}
			}
			if c, ok := canon[root]; ok {
				return "{" + c + "}." + rest
			}
			return w
		})
	}
	on := slices.Clone(f.On)
	slices.Sort(on)
	var params []string
	for k, v := range f.Params {
		params = append(params, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(params)
	c := fmt.Sprintf("%s of %s on %v value %q where %q %v", f.Kind.Name, f.Of, on, norm(f.Value.S), norm(f.Where.S), params)
	for _, s := range f.Steps {
		c += fmt.Sprintf(" step %q", norm(s.S))
	}
	return c
}

// layout gives every feature its place and fills the plans of the types.
func (b *builder) layout() {
	p := b.plan
	p.Slots, p.Features, p.Memos = len(b.bySlot), len(b.features), b.memos
	// What is observed at the same events is kept together: fewer cache lines an event.
	order := slices.Clone(b.features)
	slices.SortStableFunc(order, func(a, c *shared) int { return slices.Compare(a.on, c.on) })
	for _, s := range order {
		if p.Records[s.op.Of] == 0 {
			p.Records[s.op.Of] = HeaderBytes
		}
		s.op.Offset = p.Records[s.op.Of]
		p.Layout[s.op.Of] = append(p.Layout[s.op.Of], Place{s.canon, s.op.Offset, s.size})
		p.Records[s.op.Of] += s.size
	}
	for k, size := range p.Records {
		if limit := MaxRecordBytes[k]; size > limit {
			b.problems = append(b.problems, &Problem{Code: "cost", What: fmt.Sprintf("the features of all detectors need %d bytes for each %s, more than %d", size, moat.EntityKind(k), limit), Hint: "share features between detectors: equal ones are kept once"})
		}
	}
	for _, x := range p.Exposure {
		if x != nil { // until now the offsets were places in b.features
			x.DistinctOffset, x.SumOffset = b.features[x.DistinctOffset].op.Offset, b.features[x.SumOffset].op.Offset
		}
	}
	// Later features read earlier ones: what one needs, those before it must compute.
	for _, s := range slices.Backward(b.features) {
		for _, slot := range s.uses {
			for t := range s.need {
				if slices.Contains(s.on, moat.EventType(t)) {
					b.bySlot[slot].need[t] = true
				}
			}
		}
	}
	for t := range p.Types {
		b.typePlan(moat.EventType(t), &p.Types[t])
	}
}

func (b *builder) typePlan(t moat.EventType, tp *TypePlan) {
	add := func(list *[]moat.EntityKind, k moat.EntityKind) {
		if !slices.Contains(*list, k) {
			*list = append(*list, k)
		}
	}
	for _, s := range b.features {
		observe := slices.Contains(s.on, t)
		if !observe && !s.need[t] {
			continue
		}
		op := s.op
		op.Observe, op.size = observe, s.size
		tp.Ops = append(tp.Ops, op)
		add(&tp.Kinds, op.Of)
		tp.Net = tp.Net || observe && s.net
	}
	for _, c := range b.plan.Detectors {
		if slices.Contains(c.On, t) {
			tp.Detectors = append(tp.Detectors, c)
			add(&tp.Kinds, c.Subject)
			add(&tp.Subjects, c.Subject)
		}
	}
	for _, c := range tp.Detectors {
		tp.Net = tp.Net || strings.Contains(c.Detector.When.S+c.Detector.Confidence.S+c.Detector.Reason.S, "ip.")
	}
	slices.Sort(tp.Kinds)
	for i := range tp.Ops {
		op := &tp.Ops[i]
		op.Early = -1
		if op.early {
			op.Early = len(tp.Early)
			tp.Early = append(tp.Early, i)
		}
		for at := op.Offset &^ 63; at < op.Offset+op.size; at += 64 {
			if !slices.Contains(tp.Lines[op.Of], at) {
				tp.Lines[op.Of] = append(tp.Lines[op.Of], at)
			}
		}
	}
	for k := range tp.Lines {
		slices.Sort(tp.Lines[k])
	}
}
