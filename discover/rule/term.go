package rule

import (
	"cmp"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// clause is what facts leave open of a condition, one of the terms between its outermost &&.
type clause struct {
	term
	reads []read
}

// term is a clause ready to be asked, in half a line of memory.
type term struct {
	is boolFn
	// Most terms compare one output of a feature with a constant, which takes no call.
	k           float64
	first, slot int32
	cost        int32 // of reads that are not computed anyhow
	compare     comparison
}

// read is that a feature is read, and what that costs, about.
type read struct {
	first int
	cost  int32
}

type comparison uint8

const (
	called comparison = iota // by is
	less
	lessEqual
	greater
	greaterEqual
	equal
)

var comparisons = map[string]comparison{
	operators.Less: less, operators.LessEquals: lessEqual, operators.Greater: greater, operators.GreaterEquals: greaterEqual, operators.Equals: equal,
}

// clause returns the clause that e, which compiles to is, makes.
func (c *compiler) clause(e ast.Expr, is boolFn) clause {
	t := clause{term: term{is: is}}
	for _, slot := range c.uses {
		t.read(c.b.bySlot[slot])
	}
	if e.Kind() != ast.CallKind {
		return t
	}
	call := e.AsCall()
	compare := comparisons[call.FunctionName()]
	if compare == called || !c.tree.GetType(call.Args()[0].ID()).IsExactType(cel.DoubleType) {
		return t
	}
	if v := c.peek(call.Args()[0]); v != nil && v.slot >= 0 {
		if k, ok := c.constant(call.Args()[1]); ok {
			t.compare, t.first, t.slot, t.k = compare, int32(v.first), int32(v.slot), k
		}
	}
	return t
}

func (t *clause) read(s *shared) {
	r := read{s.op.Out, 1}
	switch {
	case slices.ContainsFunc(t.reads, func(o read) bool { return o.first == r.first }):
		return
	case s.op.Kind.Pairs:
		r.cost = 8
	case s.size > 0:
		r.cost = 3
	}
	t.reads = append(t.reads, r)
}

func (t *term) holds(f *Frame) bool {
	if t.compare == called {
		return t.is(f)
	}
	switch v := f.at(int(t.first), int(t.slot)); t.compare {
	case less:
		return v < t.k
	case lessEqual:
		return v <= t.k
	case greater:
		return v > t.k
	case greaterEqual:
		return v >= t.k
	default:
		return v == t.k
	}
}

// cheapestFirst returns the terms sorted by what it costs to read the features that are not computed anyhow, by their first slots: most
// are decided before a pair is looked up.
func cheapestFirst(clauses []clause, computed func(first int) bool) []term {
	terms := make([]term, len(clauses))
	for i, c := range clauses {
		terms[i] = c.term
		for _, r := range c.reads {
			if !computed(r.first) {
				terms[i].cost += r.cost
			}
		}
	}
	slices.SortStableFunc(terms, func(a, b term) int { return cmp.Compare(a.cost, b.cost) })
	return terms
}

// together returns what holds if all terms do, asked cheapest first; nil without any.
func together(clauses []clause) boolFn {
	var is []boolFn
	for _, t := range cheapestFirst(clauses, func(int) bool { return false }) {
		is = append(is, t.is)
	}
	return all(is)
}

// Ask is a detector that may fire at events of a shape.
type Ask struct {
	*Compiled
	terms []term // what the shape leaves open of its condition
}

// Fires tells whether it does at the frame's event. Of terms that cost the same, what says no is asked earlier the next
// time, which changes no answer.
func (a *Ask) Fires(f *Frame) bool {
	for i := range a.terms {
		if a.terms[i].holds(f) {
			continue
		}
		if i > 0 && a.terms[i].cost <= a.terms[i-1].cost {
			a.terms[i-1], a.terms[i] = a.terms[i], a.terms[i-1]
		}
		return false
	}
	return true
}
