package rule

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Conditions are split at their outermost &&. The terms that need nothing but the event are facts: a few of them
// (a person, a success, a file) stand in most conditions, so each is settled once an event for all, and most
// conditions are decided by facts before a feature is looked at.

// fact is the number of a term in Plan.Facts.
type fact uint16

// fact returns the number of a term, the same for equal words.
func (b *builder) fact(words string, is boolFn) fact {
	n, ok := b.facts[words]
	if !ok {
		n = fact(len(b.plan.Facts))
		b.facts[words] = n
		b.plan.Facts = append(b.plan.Facts, is)
	}
	return n
}

// split compiles e. It holds if the facts hold and rest does, which is nil if there is nothing else.
func (c *compiler) split(e ast.Expr) (whole, rest boolFn, facts []fact) {
	var terms, others []boolFn
	for _, term := range chain(nil, e, operators.LogicalAnd) {
		t := &compiler{b: c.b, x: c.x, text: c.text, tree: c.tree}
		is := t.bool(term)
		c.uses = append(c.uses, t.uses...)
		terms = append(terms, is)
		if len(t.uses) > 0 || t.named {
			others = append(others, is)
		} else {
			facts = append(facts, c.b.fact(t.words(term), is))
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

// hold tells whether all of these facts hold of the frame's event.
func (f *Frame) hold(facts []fact) bool {
	for _, n := range facts {
		w, bit := n>>6, uint64(1)<<(n&63)
		if f.known[w]&bit == 0 {
			f.known[w] |= bit
			if f.held[w] &^= bit; f.facts[n](f) {
				f.held[w] |= bit
			}
		}
		if f.held[w]&bit == 0 {
			return false
		}
	}
	return true
}

// Holds tells whether c's ops observe the frame's event, as far as the event alone tells.
func (c *Condition) Holds(f *Frame) bool { return f.hold(c.facts) }

// May tells whether the detector may fire at the frame's event, as far as the event alone tells; [Compiled.Fires]
// decides the rest.
func (c *Compiled) May(f *Frame) bool { return f.hold(c.facts) }

// Fires decides what May left open.
func (c *Compiled) Fires(f *Frame) bool { return c.rest == nil || c.rest(f) }
