package rule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
)

// HeaderBytes is the size of the part of a record that is not feature state; package
// engine owns its layout.
const HeaderBytes = 24

// Plan is many detectors compiled together: what to do for each type of event, and how
// the record of each kind of entity is laid out. It is immutable and safe for
// concurrent use.
type Plan struct {
	Detectors []*Compiled // sorted by id
	Types     [moat.EventTypes]TypePlan
	// Records is the size of a record of each kind in bytes, header included, a multiple of [LineBytes]; 0 = none kept.
	Records [moat.EntityKinds]int
	// Sitting is where in the record of an account its [Sitting] lies; 0 = no account is kept.
	Sitting int
	// Exposure tells, per kind of subject, how to read of how many orders it saw personal data in a day.
	Exposure [moat.EntityKinds]*Exposure
	// Layout lists, per kind, where each feature's state lies; a snapshot written under
	// another plan is carried over feature by feature.
	Layout   [moat.EntityKinds][]Place
	Slots    int
	Memos    int // how many pattern memories a Frame needs
	Texts    int // how many hashes of texts a Frame remembers
	Features int // distinct ones, after sharing
	// Across is the plan of the detectors that look at sightings, which an engine of its own runs over what all
	// partners have in common; nil if there are none. Detectors and Features of the whole count them too, the rest does not.
	Across *Plan

	seed HashSeed
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
	Detectors []*Compiled       // that are asked at the event
	Waits     []*Compiled       // that are asked when no such event of their subject has come for a time
	// Conditions are what its ops and detectors ask of the event alone; all are in one that holds. Where features
	// have a say, too, Where and [Ask.Fires] tell at their turn.
	Conditions []Condition
	// Early is how many ops look up one pair whose key follows from the event alone, so that it can be fetched ahead.
	Early int
	// Sits says that such an event may have an account, whose sittings are told apart.
	Sits bool
	// Wheres is how many conditions that do not follow from the event alone several ops have in common.
	Wheres int
	// At gives the place in Ops of the feature with that first slot, or -1.
	At []int16

	typ   moat.EventType
	tests []test // what Conditions need, in the order in which it is settled
	plain int    // how many of them, at the beginning, follow from the profile of an event and where it stands on a few sides
	sides []side // what these look at beside the profile
}

// Condition is what several ops and detectors of a type ask of the event alone. Bit i of Ops is Ops[i] of the
// type, bit i of Detectors is Detectors[i].
type Condition struct {
	Ops, Detectors []uint64
	Lines          []Lines
	facts          []fact
}

// Lines are lines of a record of Of that state of ops lies in.
type Lines struct {
	Of   moat.EntityKind
	Bits LineSet
}

// LineSet has bit i of word w set for the line 64·w + i of a record.
type LineSet [2]uint64

func (s *LineSet) add(o LineSet) {
	for w, bits := range o {
		s[w] |= bits
	}
}

// LineBytes is what the processor fetches from memory at once. A record is a whole number of lines.
const LineBytes = 64

// ahead is how many lines of one state are fetched. Few states are longer; they are gone through in order, or looked
// at in a place or two.
const ahead = 4

// lines returns the lines to fetch of size bytes of a record: the first that they lie in.
func lines(offset, size int) (s LineSet) {
	if size == 0 {
		return s
	}
	first := offset / LineBytes
	end := min((offset+size+LineBytes-1)/LineBytes, first+ahead, 64*len(s))
	for l := first; l < end; l++ {
		s[l>>6] |= 1 << (l & 63)
	}
	return s
}

// Op updates or reads one feature of one entity of the event. What is looked at most comes first: there are
// a hundred of them at an event.
type Op struct {
	Stat    feature.Stat
	Offset  int // of its state in the record
	Out     int // first slot
	Own     int // offset of its one pair, where all events have the same value; 0 = its pairs are looked up
	Early   int // its number among those that Early of the type counts, or -1
	Of      moat.EntityKind
	Value   feature.Value // which of Num, Key, … gives the input
	Ahead   bool          // Where needs nothing but the event, or there is none
	Blind   bool          // as of its kind
	Pairs   bool          // as of its kind
	Single  bool          // its one pair is a word
	Mute    bool          // it is observed and nobody reads it at this type
	Key     func(*Frame) uint64
	Num     func(*Frame) float64
	List    func(*Frame) []string
	Steps   []func(*Frame) bool
	Where   func(*Frame) bool
	rest    func(*Frame) bool // what facts leave open of Where; nil = nothing
	Salt    uint64            // tells the pairs of one feature from another's
	Mask    uint64            // only values whose hash has none of these bits are looked at
	Common  int               // offset of the state that is kept once for the partner in the partner's record; 0 = none
	Levels  []func(*Frame) uint64
	Asks    int // number of its Where among those that Wheres of the type counts; -1 if no other op has it
	Kind    *feature.Kind
	Observe bool                            // false: only read at this type
	Size    int                             // of its state
	Name    string                          // what it computes, in words that are the same for equal features, as in Layout
	Vacant  func(state unsafe.Pointer) bool // as of its kind, if the entity's record is never given up

	where string // the words of Where, to lay equal ones together
	facts []fact // of Where
	uses  []int  // slots of features that it reads
	early bool   // it keeps pairs whose keys need nothing but the event
	owns  int    // size of its one pair
	fixed uint64 // its key, if that is the same for all events
}

// Exposure reads of how many orders an entity saw more than was masked in the last 24 h.
type Exposure struct {
	Distinct, Sum             feature.Stat
	DistinctOffset, SumOffset int
}

// Compiled is a detector ready to run.
type Compiled struct {
	*Detector
	When        func(*Frame) bool
	Confidence  func(*Frame) float64
	After       func(*Frame) float64 // s; nil = When is asked at every event
	CostNS      float64              // estimate for one event
	Destination func(*Frame) string  // nil = none
	rest        []clause             // what facts leave open of When
	facts       []fact
	reason      *reason
	evidence    []evidence
}

type evidence struct {
	name        string
	first, slot int
}

// Reason fills the detector's reason for the event of f.
func (c *Compiled) Reason(f *Frame) string { return c.reason.text(f) }

// Evidence lists the numbers that the condition looked at.
func (c *Compiled) Evidence(f *Frame) []moat.Evidence {
	out := make([]moat.Evidence, len(c.evidence))
	for i, e := range c.evidence {
		out[i] = moat.Evidence{Name: e.name, Value: f.at(e.first, e.slot)}
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
	canon  string
	op     Op
	on     []moat.EventType
	need   [moat.EventTypes]bool
	uses   []int // slots of features that it reads
	outs   int
	size   int
	common *shared      // what is kept for the partner, if anything
	single feature.Stat // as of the kind
}

type builder struct {
	base     *cel.Env
	parsed   map[string]*cel.Ast // expressions without fault, by text
	seed     HashSeed
	problems Problems
	features []*shared
	bySlot   []*shared
	byCanon  map[string]*shared
	facts    []settled
	byWords  map[string]fact
	texts    map[string]int // places of hashes in a Frame, by the words of the text
	plan     *Plan
	memos    int                   // of patterns
	halves   [moat.EntityKinds]int // by kind of record: where half a word is left; 0 = nowhere
}

// Compile checks and compiles detectors together. What is wrong comes as [Problems].
func Compile(detectors []*Detector, o Options) (*Plan, error) {
	base, err := newBase()
	if err != nil {
		return nil, fmt.Errorf("cannot build the rule language: %w", err)
	}
	detectors = slices.Clone(detectors)
	slices.SortFunc(detectors, func(a, b *Detector) int { return cmp.Compare(a.ID, b.ID) })
	for id := range o.Overrides {
		if !slices.ContainsFunc(detectors, func(d *Detector) bool { return d.ID == id }) {
			return nil, fmt.Errorf("an override names detector %q, which does not exist", id)
		}
	}
	var within, across []*Detector
	for _, d := range detectors {
		if slices.Contains(d.On, moat.Sighting) {
			across = append(across, d)
		} else {
			within = append(within, d)
		}
	}
	plan, err := compile(base, within, o)
	if len(across) == 0 {
		return plan, err
	}
	beyond, also := compile(base, across, o)
	if problems := append(AsProblems(err), AsProblems(also)...); len(problems) > 0 {
		return nil, problems.once()
	}
	if err := errors.Join(err, also); err != nil {
		return nil, err
	}
	plan.Across, plan.Features = beyond, plan.Features+beyond.Features
	plan.Detectors = append(plan.Detectors, beyond.Detectors...)
	slices.SortFunc(plan.Detectors, func(a, b *Compiled) int { return cmp.Compare(a.ID, b.ID) })
	return plan, nil
}

// compile compiles sorted detectors into one plan.
func compile(base *cel.Env, detectors []*Detector, o Options) (*Plan, error) {
	b := &builder{base: base, parsed: map[string]*cel.Ast{}, seed: o.Seed, byCanon: map[string]*shared{}, byWords: map[string]fact{}, texts: entityTexts(), plan: &Plan{seed: o.Seed}}
	var err error
	if err = b.exposures(detectors); err != nil {
		return nil, err
	}
	for i, d := range detectors {
		if i > 0 && detectors[i-1].ID == d.ID {
			b.problems = append(b.problems, d.Problem(0, "duplicate", fmt.Sprintf("detector %s is in %s too", d.ID, detectors[i-1].File)))
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
	if err := b.problems.once().Err(); err != nil {
		return nil, err
	}
	return b.plan, nil
}

// orderTypes are the events that show order data to their entities.
var orderTypes = []moat.EventType{moat.OrderAccess, moat.OrderTransmit, moat.DataDecrypt, moat.DBQuery, moat.APICall}

// exposures adds, for each kind of subject, the two features that every finding needs.
func (b *builder) exposures(detectors []*Detector) error {
	x, err := b.environment(&Detector{ID: "exposure"})
	if err != nil {
		return err
	}
	shown := fmt.Sprintf("event.weight > %g", unseen)
	// An address or a device is seen with the orders of its account; two more statistics on every one of
	// millions of them would cost more than all detectors that watch them.
	for _, k := range [...]moat.EntityKind{moat.Account, moat.App, moat.Host, moat.Outlet, moat.Partner} {
		if k != moat.Account && !slices.ContainsFunc(detectors, func(d *Detector) bool { return d.Subject == k }) {
			continue
		}
		distinct := b.builtin(x, k, "distinct", "event.orders", shown+" && event.orders.size() > 0")
		// What has no number of an order is counted all the same. Mostly all have one, so that nothing is left to add up.
		sum := b.builtin(x, k, "sum", "max(event.touched, event.rows) - event.orders.size()", shown+" && max(event.touched, event.rows) > event.orders.size()")
		b.plan.Exposure[k] = &Exposure{Distinct: distinct.op.Stat, Sum: sum.op.Stat, DistinctOffset: len(b.features) - 2, SumOffset: len(b.features) - 1}
	}
	return nil
}

// builtin adds a feature of a day that nobody declared.
func (b *builder) builtin(x *environment, of moat.EntityKind, kind, value, where string) *shared {
	k := feature.Find(kind)
	p, err := k.Fill(feature.Params{"window": 86400})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	s, err := b.feature(x, &Feature{Kind: k, Of: of, On: orderTypes, Value: Text{S: value}, Where: Text{S: where}, Params: p})
	if s == nil || err != nil {
		panic(fmt.Sprintf("BUG: %s of what %s was shown: %v, %v", kind, of, err, b.problems))
	}
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
	cost := 0.0
	for i := range d.Features {
		f := &d.Features[i]
		s, err := b.feature(x, f)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		for _, t := range d.On {
			s.need[t] = true
		}
		cost += f.Kind.CostNS
		if err := x.declare(f, s.op.Out); err != nil {
			return err
		}
	}
	if err := b.lets(x, d.Let); err != nil {
		return err
	}
	if len(b.problems) > before {
		return nil // expressions that use broken features would only repeat the trouble
	}
	c := &Compiled{Detector: d, CostNS: cost + 2*float64(1+strings.Count(d.When.S, "&&")+strings.Count(d.When.S, "||"))}
	var uses []int
	if tree := x.checked(d.When, cel.BoolType); tree != nil {
		cc := &compiler{b: b, x: x, text: d.When, tree: tree}
		c.When, c.rest, c.facts = cc.split(tree.Expr())
		uses = cc.uses
	}
	if d.After.S != "" {
		var more []int
		c.After, more = b.after(x, d.After)
		uses = append(uses, more...)
	}
	if tree := x.checked(d.Confidence, cel.DoubleType); tree != nil {
		cc := &compiler{b: b, x: x, text: d.Confidence, tree: tree}
		c.Confidence = cc.num(tree.Expr())
		uses = append(uses, cc.uses...)
	}
	if d.Destination.S != "" {
		if tree := x.checked(d.Destination, cel.StringType); tree != nil {
			cc := &compiler{b: b, x: x, text: d.Destination, tree: tree}
			c.Destination = cc.str(tree.Expr())
		}
	}
	c.reason = b.reason(x, d.Reason)
	c.evidence = x.evidence(uses)
	if len(b.problems) > before {
		return nil
	}
	b.plan.Detectors = append(b.plan.Detectors, c)
	return nil
}

// lets makes values known under their names to the expressions after them. They do not know each other, or
// what eight of them cost would not be bounded by their text.
func (b *builder) lets(x *environment, lets []Let) error {
	values := make([]*variable, len(lets))
	for i, l := range lets {
		if tree := x.checked(l.Value, cel.DoubleType); tree != nil {
			c := &compiler{b: b, x: x, text: l.Value, tree: tree}
			values[i] = &variable{typ: cel.DoubleType, num: c.num(tree.Expr()), slot: -1, let: true}
			values[i].uses = c.uses
		}
	}
	for i, v := range values {
		if v == nil {
			continue
		}
		if err := x.name(lets[i].Name, v); err != nil {
			return err
		}
	}
	return nil
}

// after compiles how long a subject must be silent: a duration or a number of seconds.
func (b *builder) after(x *environment, t Text) (fn func(*Frame) float64, uses []int) {
	if s, err := seconds(t.S); err == nil {
		return func(*Frame) float64 { return s }, nil
	}
	tree := x.checked(t, cel.DoubleType)
	if tree == nil {
		return nil, nil
	}
	c := &compiler{b: b, x: x, text: t, tree: tree}
	return c.num(tree.Expr()), c.uses
}

// evidence names the slots that were read, each once, in the order of their slots.
func (x *environment) evidence(uses []int) []evidence {
	var out []evidence
	slices.Sort(uses)
	for _, slot := range slices.Compact(uses) {
		best, first := "", 0
		for name, v := range x.vars {
			// A default output has two names; the longer says more.
			if v.slot == slot && (len(name) > len(best) || len(name) == len(best) && name < best) {
				best, first = name, v.first
			}
		}
		out = append(out, evidence{best, first, slot})
	}
	return out
}

// feature compiles f, or finds an equal one that another detector declared.
func (b *builder) feature(x *environment, f *Feature) (*shared, error) {
	before := len(b.problems)
	s := &shared{on: f.On, outs: len(f.Kind.Outputs)}
	s.op = Op{Of: f.Of, Kind: f.Kind, Out: len(b.bySlot), Value: feature.NoValue}
	var exprs []string // what is read from the event, in canonical words
	expression := func(what string, t Text, use func(*compiler, ast.Expr), want ...*cel.Type) *compiler {
		tree := x.checked(t, want...)
		if tree == nil {
			return &compiler{}
		}
		c := &compiler{b: b, x: x, text: t, tree: tree}
		use(c, tree.Expr())
		s.uses = append(s.uses, c.uses...)
		exprs = append(exprs, " "+what+" "+c.words(tree.Expr()))
		return c
	}
	if f.Where.S != "" {
		c := expression("where", f.Where, func(c *compiler, e ast.Expr) {
			var rest []clause
			s.op.Where, rest, s.op.facts = c.split(e)
			s.op.rest = together(rest)
		}, cel.BoolType)
		s.op.where, s.op.Ahead = strings.Join(exprs, ""), len(c.uses) == 0
	} else {
		s.op.Ahead = true
	}
	s.op.early = f.Kind.Pairs
	for _, level := range f.Levels {
		s.op.Value = feature.Levels
		c := expression("level", level, func(c *compiler, e ast.Expr) { s.op.Levels = append(s.op.Levels, c.key(e)) }, cel.StringType)
		s.op.early = s.op.early && len(c.uses) == 0 // earlier features come after keys are fetched ahead
	}
	for _, step := range f.Steps {
		s.op.Value = feature.Steps
		expression("step", step, func(c *compiler, e ast.Expr) { s.op.Steps = append(s.op.Steps, c.bool(e)) }, cel.BoolType)
	}
	if f.Value.S != "" {
		c := expression("value", f.Value, func(c *compiler, e ast.Expr) { c.value(e, &s.op) })
		s.op.early = s.op.early && len(c.uses) == 0
	}
	if !f.Kind.Takes(s.op.Value) && len(b.problems) == before {
		x.wrongValue(f, s.op.Value)
	}
	x.wrongParts(f, s.op.Value)
	if len(b.problems) > before {
		return nil, nil
	}
	s.canon = canonical(f, exprs)
	if old, ok := b.byCanon[s.canon]; ok {
		return old, nil
	}
	s.size = f.Kind.Size(f.Params)
	s.op.Stat = f.Kind.New(f.Params)
	if f.Kind.Single != nil {
		s.single = f.Kind.Single(f.Params)
	}
	if f.Kind.Sample != nil {
		s.op.Mask = uint64(f.Kind.Sample(f.Params)) - 1
	}
	s.op.Salt = b.seed.Text("pair " + s.canon)
	b.add(s)
	if f.Kind.Common != nil {
		s.common = &shared{canon: "common of " + s.canon, on: s.on, op: Op{Of: moat.Partner}, size: f.Kind.Common(f.Params)}
	}
	return s, nil
}

// sorts are the sorts of value in words of the language.
var sorts = [...]string{feature.NoValue: "nothing", feature.Number: "a number", feature.Key: "a text", feature.Keys: "a list of texts", feature.Place: "ip.place", feature.Steps: "steps", feature.Levels: "levels"}

// wrongValue reports that f's kind does not take values of the sort got.
func (x *environment) wrongValue(f *Feature, got feature.Value) {
	at, want := Text{S: f.Name, Line: f.Line, Col: f.Col}, sorts[f.Kind.Value]
	for _, v := range f.Kind.Also {
		want += " or " + sorts[v]
	}
	what := fmt.Sprintf("%s takes %s as its value, not %s", f.Kind.Name, want, sorts[got])
	switch {
	case got == feature.NoValue:
		what = fmt.Sprintf("%s needs a value: %s", f.Kind.Name, want)
	case f.Value.S != "":
		at = f.Value
	}
	x.add(at, 0, "type", what, "see the manual of features")
}

// wrongParts reports steps and levels that f's kind does not look at, and steps that it lacks.
func (x *environment) wrongParts(f *Feature, got feature.Value) {
	at, need := Text{S: f.Name, Line: f.Line, Col: f.Col}, f.Kind.Conditions
	switch {
	case need > 0 && len(f.Steps) != need:
		x.add(at, 0, "value", fmt.Sprintf("%s needs %d steps beside its value", f.Kind.Name, need), "steps: [condition, condition]")
	case need == 0 && len(f.Steps) > 0 && got != feature.Steps:
		x.add(f.Steps[0], 0, "field", f.Kind.Name+" does not look at steps", "put a condition under where")
	case len(f.Levels) > 0 && got != feature.Levels:
		x.add(f.Levels[0], 0, "field", "a feature has either a value or levels", "")
	}
}

// value lowers the value of a feature, whatever its sort.
func (c *compiler) value(e ast.Expr, op *Op) {
	switch t := c.tree.GetType(e.ID()); {
	case t.IsExactType(cel.DoubleType):
		op.Value, op.Num = feature.Number, c.num(e)
	case t.IsExactType(cel.StringType):
		op.Value, op.Key = feature.Key, c.key(e)
		if _, ok := literal(e); ok {
			op.fixed = op.Key(nil)
		}
	case t.IsExactType(cel.ListType(cel.StringType)):
		op.Value, op.List = feature.Keys, c.list(e)
	case t.IsExactType(placeType) && e.Kind() == ast.IdentKind:
		c.variable(e)
		op.Value = feature.Place
	case t.IsExactType(placeType):
		c.fail(e, "type", "a place is used as it is", "put conditions under where")
	case t.IsExactType(cel.BoolType):
		c.fail(e, "type", "a condition is no value of a feature", "put it under where")
	default:
		c.fail(e, "type", fmt.Sprintf("a %s is no value of a feature", typeName(t)), "")
	}
}

// lay makes room for a state in the records of a kind. One of a multiple of 8 bytes, which may have words of 8, lies at such a
// multiple; where that leaves half a word, the next of 4 bytes fills it.
func (b *builder) lay(of moat.EntityKind, name string, size int) int {
	p, at := b.plan, b.plan.Records[of]
	switch half := &b.halves[of]; {
	case size == 4 && *half != 0:
		at, *half = *half, 0
	case size > 0 && size%8 == 0 && at%8 != 0:
		*half = at
		at += 4
		fallthrough
	default:
		p.Records[of] = at + size
	}
	p.Layout[of] = append(p.Layout[of], Place{name, at, size})
	return at
}

// layout gives every feature its place and fills the plans of the types.
func (b *builder) layout() {
	p := b.plan
	p.Slots, p.Features, p.Memos, p.Texts = len(b.bySlot), len(b.features), b.memos, len(b.texts)+int(moat.EntityKinds)
	// What is observed at the same events is kept together: fewer cache lines an event.
	order := slices.Clone(b.features)
	for _, s := range b.features {
		if s.common != nil {
			order = append(order, s.common)
		}
	}
	often := make([]int, len(b.facts))
	for _, s := range order {
		for _, n := range s.op.facts {
			often[n]++
		}
	}
	for _, s := range order { // what many ask first: features that begin alike lie together
		slices.SortFunc(s.op.facts, func(m, n fact) int { return cmp.Or(cmp.Compare(often[n], often[m]), cmp.Compare(m, n)) })
	}
	slices.SortStableFunc(order, func(a, c *shared) int {
		return cmp.Or(slices.Compare(a.on, c.on), slices.Compare(a.op.facts, c.op.facts), cmp.Compare(a.op.where, c.op.where))
	})
	for _, s := range order {
		if p.Records[s.op.Of] == 0 {
			p.Records[s.op.Of] = HeaderBytes
			if s.op.Of == moat.Account {
				p.Sitting = b.lay(s.op.Of, "sitting", int(unsafe.Sizeof(Sitting(0))))
			}
		}
		s.op.Offset = b.lay(s.op.Of, s.canon, s.size)
		if s.op.fixed == 0 || s.op.fixed&s.op.Mask != 0 || !s.op.Kind.Pairs {
			continue
		}
		s.op.owns = int(unsafe.Sizeof(feature.Pair{}))
		if s.op.Of == moat.Account && s.single != nil {
			s.op.Stat, s.op.Single, s.op.owns = s.single, true, int(unsafe.Sizeof(uint64(0)))
		}
		s.op.Own = b.lay(s.op.Of, "pair of "+s.canon, s.op.owns)
	}
	for k, size := range p.Records {
		p.Records[k] = (size + LineBytes - 1) / LineBytes * LineBytes
		if limit := MaxRecordBytes[k]; size > limit {
			b.problems = append(b.problems, &Problem{Code: "cost", What: fmt.Sprintf("the features of all detectors need %d bytes for each %s, more than %d", size, moat.EntityKind(k), limit), Hint: "share features between detectors: equal ones are kept once"})
		}
	}
	for _, x := range p.Exposure {
		if x != nil { // until now the offsets were places in b.features
			x.DistinctOffset, x.SumOffset = b.features[x.DistinctOffset].op.Offset, b.features[x.SumOffset].op.Offset
		}
	}
	// Later features read earlier ones, also where they are only read: what one needs, those
	// before it must compute.
	for _, s := range slices.Backward(b.features) {
		for _, slot := range s.uses {
			for t := range s.need {
				if s.need[t] || slices.Contains(s.on, moat.EventType(t)) {
					b.bySlot[slot].need[t] = true
				}
			}
		}
	}
	for t := range p.Types {
		b.typePlan(moat.EventType(t), &p.Types[t])
	}
}

// arrange has the ops of a kind of record follow each other as far as each comes after those that it reads: the engine
// turns to another record as rarely as may be. Otherwise they stay in order.
func (tp *TypePlan) arrange(bySlot []*shared) {
	at := map[int]int{} // by first slot
	for i := range tp.Ops {
		at[tp.Ops[i].Out] = i
	}
	waits, readers := make([]int, len(tp.Ops)), make([][]int, len(tp.Ops))
	for i := range tp.Ops {
		for _, slot := range tp.Ops[i].uses {
			if of, ok := at[bySlot[slot].op.Out]; ok && !slices.Contains(readers[of], i) {
				readers[of] = append(readers[of], i)
				waits[i]++
			}
		}
	}
	ready := [moat.EntityKinds][]int{}
	for i, n := range waits {
		if n == 0 {
			ready[tp.Ops[i].Of] = append(ready[tp.Ops[i].Of], i)
		}
	}
	ops := make([]Op, 0, len(tp.Ops))
	for len(ops) < len(tp.Ops) {
		most := 0
		for k := range ready {
			if len(ready[k]) > len(ready[most]) {
				most = k
			}
		}
		for list := &ready[most]; len(*list) > 0; {
			slices.Sort(*list)
			i := (*list)[0]
			*list = (*list)[1:]
			ops = append(ops, tp.Ops[i])
			for _, r := range readers[i] {
				if waits[r]--; waits[r] == 0 {
					ready[tp.Ops[r].Of] = append(ready[tp.Ops[r].Of], r)
				}
			}
		}
	}
	tp.Ops = ops
}

// takes tells whether op takes events in: without state there is nothing to take in.
func (op *Op) takes() bool { return op.Observe && (op.Size > 0 || op.Pairs) }

// Adds tells at how many types of events p has how many features take them in that other has not: what comes on top of
// other's work. Features that a where keeps out of most events count like any other.
func (p *Plan) Adds(other *Plan) map[moat.EventType]int {
	adds := map[moat.EventType]int{}
	for t := range p.Types {
		has := map[string]bool{}
		for i := range other.Types[t].Ops {
			has[other.Types[t].Ops[i].Name] = true
		}
		for i := range p.Types[t].Ops {
			if op := &p.Types[t].Ops[i]; op.takes() && !has[op.Name] {
				adds[moat.EventType(t)]++
			}
		}
	}
	return adds
}

func (b *builder) typePlan(t moat.EventType, tp *TypePlan) {
	tp.typ = t
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
		op.Observe, op.Size, op.Mute, op.Name, op.uses = observe, s.size, observe && !s.need[t], s.canon, s.uses
		op.Pairs, op.Blind = op.Kind.Pairs, op.Kind.Blind
		if op.Of == moat.Partner {
			op.Vacant = op.Kind.Vacant
		}
		if s.common != nil {
			op.Common = s.common.op.Offset
			add(&tp.Kinds, moat.Partner)
		}
		tp.Ops = append(tp.Ops, op)
		add(&tp.Kinds, op.Of)
	}
	for _, c := range b.plan.Detectors {
		if slices.Contains(c.On, t) {
			if c.After != nil {
				tp.Waits = append(tp.Waits, c)
			} else {
				tp.Detectors = append(tp.Detectors, c)
			}
			add(&tp.Kinds, c.Subject)
			add(&tp.Kinds, moat.Account) // whose orders a finding counts where its subject keeps no count
			add(&tp.Subjects, c.Subject)
		}
	}
	tp.arrange(b.bySlot)
	slices.Sort(tp.Kinds)
	tp.Sits = b.plan.Sitting > 0 && slices.Contains(tp.Kinds, moat.Account)
	tp.At = slices.Repeat([]int16{-1}, len(b.bySlot))
	wheres := map[string]*Op{}
	for i := range tp.Ops {
		op := &tp.Ops[i]
		tp.At[op.Out] = int16(i)
		op.Early = -1
		if op.early && op.Value == feature.Key && op.Own == 0 {
			op.Early = tp.Early
			tp.Early++
		}
		if op.takes() {
			c := tp.condition(op.facts)
			c.Ops[i>>6] |= 1 << (i & 63)
			if op.Ahead || op.Own != 0 { // else it is not likely to be needed
				c.touch(op)
			}
			for _, slot := range op.uses {
				if of := tp.At[b.bySlot[slot].op.Out]; of >= 0 {
					c.touch(&tp.Ops[of])
				}
			}
		}
		op.Asks = -1
		if op.Ahead {
			continue
		}
		if first, ok := wheres[op.where]; !ok {
			wheres[op.where] = op
		} else {
			if first.Asks < 0 {
				first.Asks = tp.Wheres
				tp.Wheres++
			}
			op.Asks = first.Asks
		}
	}
	for i, d := range tp.Detectors {
		tp.condition(d.facts).Detectors[i>>6] |= 1 << (i & 63)
	}
	tp.order(b.facts)
}
