package rule

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/moat-platform/moat"
)

// Conditions are split at their outermost &&. The terms that need nothing but the event are facts: a few of them
// (a person, a success, a file) stand in most conditions, so each is settled once an event for all, and most
// conditions are decided by facts before a feature is looked at.

// fact is the number of a term.
type fact uint16

// settled is a term that needs nothing but the event.
type settled struct {
	is    boolFn
	dear  bool   // it looks something up, or reads long texts
	looks []look // all that it looks at, if it is plain
	plain bool
}

// fact returns the number of a term, the same for equal words.
func (c *compiler) fact(term ast.Expr, is boolFn) fact {
	b, words := c.b, c.words(term)
	n, ok := b.byWords[words]
	if !ok {
		n = fact(len(b.facts))
		b.byWords[words] = n
		t := settled{is: is, dear: dear(words)}
		t.plain = c.looks(term, &t.looks)
		b.facts = append(b.facts, t)
	}
	return n
}

// dear tells whether a term costs many times what others do, by its words.
func dear(words string) bool {
	for _, w := range [...]string{"ip.", "ua.", "matches(", "extra(", "_host", "event.route", "event.timezone_country"} {
		if strings.Contains(words, w) {
			return true
		}
	}
	return false
}

// split compiles e. It holds if the facts hold and so does every term of rest. Terms have no effect, so that those of rest
// may be asked in any order.
func (c *compiler) split(e ast.Expr) (whole boolFn, rest []clause, facts []fact) {
	var terms []boolFn
	for _, p := range chain(nil, e, operators.LogicalAnd) {
		t := &compiler{b: c.b, x: c.x, text: c.text, tree: c.tree}
		is := t.bool(p)
		c.uses = append(c.uses, t.uses...)
		terms = append(terms, is)
		if len(t.uses) > 0 || t.named {
			rest = append(rest, t.clause(p, is))
		} else {
			facts = append(facts, t.fact(p, is))
		}
	}
	return all(terms), rest, facts
}

// all holds if every term does; it is nil without terms.
func all(terms []boolFn) boolFn {
	switch len(terms) {
	case 0:
		return nil
	case 1:
		return terms[0]
	case 2:
		a, b := terms[0], terms[1]
		return func(f *Frame) bool { return a(f) && b(f) }
	case 3:
		a, b, c := terms[0], terms[1], terms[2]
		return func(f *Frame) bool { return a(f) && b(f) && c(f) }
	case 4:
		a, b, c, d := terms[0], terms[1], terms[2], terms[3]
		return func(f *Frame) bool { return a(f) && b(f) && c(f) && d(f) }
	}
	return func(f *Frame) bool {
		for _, t := range terms {
			if !t(f) {
				return false
			}
		}
		return true
	}
}

// look is what a term asks of one side of an event: how a number compares with a constant, whether a text is a
// certain one, or a truth.
type look struct {
	side string // in words
	num  numFn
	str  strFn
	key  keyFn // of str, if its text takes long to work out
	is   boolFn
	set  func(*Frame) uint64 // several truths at once
	at   float64
	text string
}

// looks lists what e, which needs nothing but the event, looks at beside its profile. False means that it looks at more than
// can be said in a few classes.
func (c *compiler) looks(e ast.Expr, to *[]look) bool {
	switch e.Kind() {
	case ast.LiteralKind:
		return true
	case ast.IdentKind:
		v := c.peek(e)
		if ofProfile(e) || v == nil || strings.HasPrefix(e.AsIdent(), "params.") {
			return v != nil
		}
		if strings.HasPrefix(e.AsIdent(), "ip.") {
			*to = append(*to, look{side: "ip", set: func(f *Frame) uint64 { return f.Net().truths() }})
		} else if v.bool != nil {
			*to = append(*to, look{side: e.AsIdent(), is: v.bool})
		}
		return v.bool != nil
	case ast.CallKind:
		return c.looksCall(e, to)
	}
	return false
}

func (c *compiler) looksCall(e ast.Expr, to *[]look) bool {
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional:
		for _, a := range args {
			if !c.looks(a, to) {
				return false
			}
		}
		return true
	case "given":
		*to = append(*to, look{side: c.words(e), is: c.bool(e)})
		return true
	case operators.In:
		if args[1].Kind() != ast.ListKind {
			return false
		}
		for _, el := range args[1].AsList().Elements() {
			if !c.compared(args[0], el, to) {
				return false
			}
		}
		return true
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return c.compared(args[0], args[1], to) || c.compared(args[1], args[0], to)
	}
	return false
}

// compared notes that e is compared with a constant.
func (c *compiler) compared(e, constant ast.Expr, to *[]look) bool {
	if ofProfile(e) {
		_, ok := literal(constant)
		return ok
	}
	field := e.Kind() == ast.IdentKind && !dear(e.AsIdent()) || e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "size" && e.AsCall().Target().Kind() == ast.IdentKind
	if !field {
		return false
	}
	switch t := c.tree.GetType(e.ID()); {
	case t.IsExactType(cel.DoubleType):
		at, ok := c.folded(constant)
		*to = append(*to, look{side: c.words(e), num: c.num(e), at: at})
		return ok
	case t.IsExactType(cel.StringType):
		text, ok := literal(constant)
		l := look{side: c.words(e), str: c.str(e), text: text}
		if v := c.peek(e); v != nil && v.of != "" {
			l.key = c.key(e)
		}
		*to = append(*to, l)
		return ok
	}
	return false
}

// folded is constant for differences, too.
func (c *compiler) folded(e ast.Expr) (float64, bool) {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Subtract {
		a, first := c.folded(e.AsCall().Args()[0])
		b, second := c.folded(e.AsCall().Args()[1])
		return a - b, first && second
	}
	return c.constant(e)
}

// ofProfile tells whether e is a field of the profile of an event: its type, its operation, how it ended and what sort of
// account acted.
func ofProfile(e ast.Expr) bool {
	if e.Kind() != ast.IdentKind {
		return false
	}
	switch e.AsIdent() {
	case "event.type", "event.operation", "event.outcome", "event.actor_kind":
		return true
	}
	return false
}

// side is one thing that plain facts of a type look at, with all constants that they compare it with.
type side struct {
	look
	at    []float64
	texts []string
}

// look adds to the sides of tp what a plain fact looks at, and returns the number of the side.
func (tp *TypePlan) look(l look) int {
	i := slices.IndexFunc(tp.sides, func(s side) bool { return s.side == l.side })
	if i < 0 {
		i = len(tp.sides)
		tp.sides = append(tp.sides, side{look: l})
	}
	s := &tp.sides[i]
	if l.num != nil && !slices.Contains(s.at, l.at) {
		s.at = append(s.at, l.at)
	}
	if l.str != nil && !slices.Contains(s.texts, l.text) {
		s.texts = append(s.texts, l.text)
	}
	return i
}

// class returns what says where an event stands: events of one class are alike to every fact.
func (s *side) class() func(*Frame) uint64 {
	switch num, str, key, is, at, texts := s.num, s.str, s.key, s.is, s.at, s.texts; {
	case s.set != nil:
		return s.set
	case is != nil:
		return func(f *Frame) uint64 {
			if is(f) {
				return 1
			}
			return 0
		}
	case num != nil:
		slices.Sort(at)
		return func(f *Frame) uint64 {
			v, n := num(f), 0
			for n < len(at) && v > at[n] {
				n++
			}
			if n < len(at) && v == at[n] {
				return uint64(2*n + 1)
			}
			return uint64(2 * n)
		}
	case len(texts) == 1 && texts[0] == "" && key != nil:
		return func(f *Frame) uint64 { return min(key(f), 1) }
	case len(texts) == 1 && texts[0] == "":
		return func(f *Frame) uint64 { return uint64(min(len(str(f)), 1)) }
	default:
		return func(f *Frame) uint64 { return uint64(slices.Index(texts, str(f)) + 1) }
	}
}

// begins returns a hash of the fields of the profile of an event, which most conditions say something of.
func (f *Frame) begins() uint64 {
	e := f.Event
	return Mix(f.seed.Text(e.Operation), uint64(e.Type)<<16|uint64(e.Outcome)<<8|uint64(e.ActorKind)) | 1
}

// classes returns what must be known beside its profile of an event like the frame's, for all that plain facts say: where it
// stands on the sides that the conditions which its profile leaves look at.
func (tp *TypePlan) classes(f *Frame) (of []func(*Frame) uint64) {
	left := tp.all()
	for i := range tp.tests[:tp.plain] {
		if t := &tp.tests[i]; len(t.sides) == 0 && !t.is(f) {
			t.rule(left)
		}
	}
	for i := range tp.sides {
		if slices.ContainsFunc(tp.tests[:tp.plain], func(t test) bool { return slices.Contains(t.sides, i) && t.needed(left) }) {
			of = append(of, tp.sides[i].class())
		}
	}
	return of
}

// all returns the set of all conditions.
func (tp *TypePlan) all() []uint64 {
	set := make([]uint64, words(len(tp.Conditions)))
	for i := range tp.Conditions {
		set[i>>6] |= 1 << (i & 63)
	}
	return set
}

// test is a fact and the conditions that need it, bit i for the i-th.
type test struct {
	is    boolFn
	needs []uint64
	sides []int // that it looks at beside the profile, if it is plain
}

// words is how many words it takes to have a bit for each of n.
func words(n int) int { return (n + 63) / 64 }

// condition returns the type's condition with these facts.
func (tp *TypePlan) condition(facts []fact) *Condition {
	facts = slices.Clone(facts)
	slices.Sort(facts)
	facts = slices.Compact(facts)
	for i := range tp.Conditions {
		if slices.Equal(tp.Conditions[i].facts, facts) {
			return &tp.Conditions[i]
		}
	}
	tp.Conditions = append(tp.Conditions, Condition{Ops: make([]uint64, words(len(tp.Ops))), Detectors: make([]uint64, words(len(tp.Detectors))), facts: facts})
	return &tp.Conditions[len(tp.Conditions)-1]
}

// touch adds the lines of op's state to those that are fetched when c holds.
func (c *Condition) touch(op *Op) {
	near := op.Size
	if op.Kind.Near != 0 {
		near = op.Kind.Near
	}
	c.fetch(op.Of, lines(op.Offset, near))
	if op.Own != 0 {
		c.fetch(op.Of, lines(op.Own, op.owns))
	}
}

func (c *Condition) fetch(of moat.EntityKind, set LineSet) {
	for i := range c.Lines {
		if c.Lines[i].Of == of {
			c.Lines[i].Bits.add(set)
			return
		}
	}
	if set != (LineSet{}) {
		c.Lines = append(c.Lines, Lines{of, set})
	}
}

// order lays out in which order the facts of the type's conditions are settled: the plain, the other cheap, the
// dear, and among these first what decides most.
func (tp *TypePlan) order(facts []settled) {
	needs := map[fact][]uint64{}
	for i := range tp.Conditions {
		for _, n := range tp.Conditions[i].facts {
			if needs[n] == nil {
				needs[n] = make([]uint64, words(len(tp.Conditions)))
			}
			needs[n][i>>6] |= 1 << (i & 63)
		}
	}
	all := slices.Collect(maps.Keys(needs))
	cost := func(n fact) int {
		conditions := 0
		for _, w := range needs[n] {
			conditions += bits.OnesCount64(w)
		}
		switch {
		case facts[n].plain:
			return -1<<16 - conditions
		case facts[n].dear:
			return 1<<16 - conditions
		}
		return -conditions
	}
	slices.SortFunc(all, func(a, b fact) int { return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(a, b)) })
	for _, n := range all {
		t := test{is: facts[n].is, needs: needs[n]}
		if facts[n].plain {
			tp.plain++
			for _, l := range facts[n].looks {
				t.sides = append(t.sides, tp.look(l))
			}
		}
		tp.tests = append(tp.tests, t)
	}
}
