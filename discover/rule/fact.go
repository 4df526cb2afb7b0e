package rule

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"
	"strings"

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
	is      boolFn
	dear    bool // it looks something up, or reads long texts
	profile bool // it asks for nothing but what a profile is of
}

// fact returns the number of a term, the same for equal words.
func (b *builder) fact(words string, term ast.Expr, is boolFn) fact {
	n, ok := b.byWords[words]
	if !ok {
		n = fact(len(b.facts))
		b.byWords[words] = n
		b.facts = append(b.facts, settled{is, dear(words), ofProfile(term)})
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

// split compiles e. It holds if the facts hold and rest does, which is nil if there is nothing else.
func (c *compiler) split(e ast.Expr) (whole, rest boolFn, facts []fact) {
	var terms, others []boolFn
	for _, part := range chain(nil, e, operators.LogicalAnd) {
		t := &compiler{b: c.b, x: c.x, text: c.text, tree: c.tree}
		is := t.bool(part)
		c.uses = append(c.uses, t.uses...)
		terms = append(terms, is)
		if len(t.uses) > 0 || t.named {
			others = append(others, is)
		} else {
			facts = append(facts, c.b.fact(t.words(part), part, is))
		}
	}
	return all(terms), all(others), facts
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

// ofProfile tells whether a term asks for nothing but the type of an event, its operation, how it ended and what sort of
// account acted.
func ofProfile(term ast.Expr) bool {
	only := true
	ast.PostOrderVisit(term, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			switch e.AsIdent() {
			case "event.type", "event.operation", "event.outcome", "event.actor_kind":
			default:
				only = only && strings.HasPrefix(e.AsIdent(), "params.")
			}
		case ast.CallKind:
			only = only && e.AsCall().FunctionName() != "extra" && e.AsCall().FunctionName() != "given"
		}
	}))
	return only
}

// profile remembers which conditions of a type are left when the facts of its profile are settled. There are
// few, and they decide half of all facts.
type profile struct{ key, left uint64 }

// profiles is how many are remembered.
const profiles = 1 << 9

// profile returns what is left of the at most 64 conditions of tp when the facts of the event's profile are settled.
func (tp *TypePlan) profile(f *Frame) uint64 {
	e := f.Event
	key := Mix(f.seed.Text(e.Operation), uint64(e.Type)<<16|uint64(e.Outcome)<<8|uint64(e.ActorKind)) | 1
	p := &f.profiles[key>>32%profiles]
	if p.key != key {
		*p = profile{key, settle(f, tp.tests[:tp.fixed], ^uint64(0)>>(64-len(tp.Conditions)))}
	}
	return p.left
}

// settle returns what is left of the first 64 conditions after these tests.
func settle(f *Frame, tests []test, left uint64) uint64 {
	for i := range tests {
		if t := &tests[i]; left&t.needs[0] != 0 && !t.is(f) {
			left &^= t.needs[0]
		}
	}
	return left
}

// test is a fact and the conditions that need it, bit i for the i-th.
type test struct {
	is    boolFn
	needs []uint64
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
	bits := op.lines()
	for i := range c.Lines {
		if c.Lines[i].Of == op.Of {
			c.Lines[i].Bits |= bits
			return
		}
	}
	if bits != 0 {
		c.Lines = append(c.Lines, Lines{op.Of, bits})
	}
}

// order lays out in which order the facts of the type's conditions are settled: those of the profile, the cheap, the
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
		case facts[n].profile:
			return -1<<16 - conditions
		case facts[n].dear:
			return 1<<16 - conditions
		}
		return -conditions
	}
	slices.SortFunc(all, func(a, b fact) int { return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(a, b)) })
	for _, n := range all {
		tp.tests = append(tp.tests, test{facts[n].is, needs[n]})
		if facts[n].profile {
			tp.fixed++
		}
	}
}

// Settle appends to to the conditions that hold of the frame's event, bit i for Conditions[i]. A fact is asked for
// only while a condition is left that needs it, and one that does not hold takes all of these away at once.
func (tp *TypePlan) Settle(f *Frame, to []uint64) []uint64 {
	n := len(tp.Conditions)
	if n <= 64 { // nearly always
		return append(to, settle(f, tp.tests[tp.fixed:], tp.profile(f)))
	}
	for ; n > 0; n -= 64 {
		to = append(to, ^uint64(0)>>(64-min(n, 64)))
	}
	for i := range tp.tests {
		t := &tp.tests[i]
		needed := uint64(0)
		for w, bits := range t.needs {
			needed |= to[w] & bits
		}
		if needed == 0 || t.is(f) {
			continue
		}
		for w, bits := range t.needs {
			to[w] &^= bits
		}
	}
	return to
}

// Shape is what an event concerns when certain conditions of its type hold. It is shared and must not be changed.
type Shape struct {
	Holds     []uint64    // bit i: Conditions[i]
	Takes     []*Op       // those that observe the event, unless features have a say
	Fetch     []*Op       // those of them whose pairs can be fetched ahead
	Detectors []*Compiled // that may fire
	Lines     []Lines     // one a kind
}

// Shape returns the shape of an event of which these conditions hold.
func (tp *TypePlan) Shape(holds []uint64) *Shape {
	s := &Shape{Holds: slices.Clone(holds)}
	ops, detectors := make([]uint64, words(len(tp.Ops))), make([]uint64, words(len(tp.Detectors)))
	var lines [moat.EntityKinds]uint64
	for i := range tp.Conditions {
		if !bit(holds, i) {
			continue
		}
		c := &tp.Conditions[i]
		for w, bits := range c.Ops {
			ops[w] |= bits
		}
		for w, bits := range c.Detectors {
			detectors[w] |= bits
		}
		for _, l := range c.Lines {
			lines[l.Of] |= l.Bits
		}
	}
	for i := range tp.Ops {
		if op := &tp.Ops[i]; bit(ops, i) {
			s.Takes = append(s.Takes, op)
			if op.early && op.Ahead {
				s.Fetch = append(s.Fetch, op)
			}
		}
	}
	for i, c := range tp.Detectors {
		if bit(detectors, i) {
			s.Detectors = append(s.Detectors, c)
		}
	}
	for _, k := range tp.Kinds {
		s.Lines = append(s.Lines, Lines{k, lines[k] | 1}) // the first has the header
	}
	return s
}

func bit(of []uint64, i int) bool { return of[i>>6]>>(i&63)&1 != 0 }

// Fires decides what the conditions of its type left open.
func (c *Compiled) Fires(f *Frame) bool { return c.rest == nil || c.rest(f) }
