package rule

import (
	"fmt"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/zeebo/xxh3"

	"github.com/moat-platform/moat"
)

// HashSeed keys the hashes of texts so that nobody outside can make two that
// collide. An engine sets it from its installation's secret before it compiles.
type HashSeed uint64

// Text returns the hash of s. Ids and words are short as a rule: up to 16 bytes take two multiplications, which none can
// foresee the factors of who does not know the seed (after wyhash, Wang Yi 2019); what is longer takes XXH3.
func (h HashSeed) Text(s string) uint64 {
	if len(s) > 16 {
		return xxh3.HashStringSeed(s, uint64(h))
	}
	n, p := uint64(len(s)), unsafe.Pointer(unsafe.StringData(s))
	var a, b uint64
	switch {
	case n >= 8:
		a, b = load[uint64](p, 0), load[uint64](p, n-8)
	case n >= 4:
		a, b = uint64(load[uint32](p, 0)), uint64(load[uint32](p, n-4))
	case n > 0:
		a, b = uint64(load[byte](p, 0))<<8|uint64(load[byte](p, n/2)), uint64(load[byte](p, n-1))
	}
	return Mix(Mix(a^uint64(h), b^bits.RotateLeft64(uint64(h), 32)), n+uint64(h))
}

// load reads a number that lies in memory, lowest byte first.
func load[T byte | uint32 | uint64](p unsafe.Pointer, at uint64) T { return *(*T)(unsafe.Add(p, at)) }

// key is the hash of s, 0 if it is empty.
func (h HashSeed) key(s string) uint64 {
	if s == "" {
		return 0
	}
	return h.Text(s)
}

// Mix combines two hashes; the order matters.
func Mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a^0x9E3779B97F4A7C15, b^0xD6E8FEB86659FD93)
	return high ^ low
}

// compiler lowers one checked expression to closures.
type compiler struct {
	b     *builder
	x     *environment
	text  Text
	tree  *ast.AST
	uses  []int // slots read
	named bool  // it reads a let
}

func (c *compiler) fail(e ast.Expr, code, what, hint string) {
	at := 0
	if r, ok := c.tree.SourceInfo().GetOffsetRange(e.ID()); ok {
		at = int(r.Start)
	}
	c.x.add(c.text, at, code, what, hint)
}

// compile* return closures that never panic; on a problem they report it and return a
// closure that gives zero, so that all problems of a file are found at once.

func (c *compiler) bool(e ast.Expr) boolFn {
	no := func(*Frame) bool { return false }
	switch e.Kind() {
	case ast.LiteralKind:
		v := e.AsLiteral() == types.True
		return func(*Frame) bool { return v }
	case ast.IdentKind:
		v := c.variable(e)
		if v == nil || v.bool == nil {
			return no
		}
		return v.bool
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		switch name := call.FunctionName(); name {
		case operators.LogicalAnd, operators.LogicalOr:
			return c.logical(e, name)
		case operators.LogicalNot:
			a := c.bool(args[0])
			return func(f *Frame) bool { return !a(f) }
		case operators.Conditional:
			q, a, b := c.bool(args[0]), c.bool(args[1]), c.bool(args[2])
			return func(f *Frame) bool {
				if q(f) {
					return a(f)
				}
				return b(f)
			}
		case operators.Equals, operators.NotEquals:
			return c.equal(args[0], args[1], name == operators.NotEquals)
		case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
			return c.order(name, args[0], args[1])
		case operators.In:
			return c.in(args[0], args[1])
		case "given":
			return c.has(args[0])
		case "contains", "startsWith", "endsWith", "matches":
			return c.match(name, call.Target(), args[0])
		}
	}
	c.fail(e, "syntax", "this is not supported in a condition", "")
	return no
}

// logical flattens a chain of && or || so that its terms run in one loop.
func (c *compiler) logical(e ast.Expr, name string) boolFn {
	var terms []boolFn
	for _, t := range chain(nil, e, name) {
		terms = append(terms, c.bool(t))
	}
	if name == operators.LogicalAnd {
		return all(terms)
	}
	if len(terms) == 2 {
		a, b := terms[0], terms[1]
		return func(f *Frame) bool { return a(f) || b(f) }
	}
	return func(f *Frame) bool {
		for _, t := range terms {
			if t(f) {
				return true
			}
		}
		return false
	}
}

// chain appends the terms of a chain of calls of name, however they are nested.
func chain(terms []ast.Expr, e ast.Expr, name string) []ast.Expr {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != name {
		return append(terms, e)
	}
	for _, a := range e.AsCall().Args() {
		terms = chain(terms, a, name)
	}
	return terms
}

func (c *compiler) equal(a, b ast.Expr, not bool) boolFn {
	switch t := c.tree.GetType(a.ID()); {
	case t.IsExactType(cel.DoubleType):
		x, y := c.num(a), c.num(b)
		return func(f *Frame) bool { return (x(f) == y(f)) != not }
	case t.IsExactType(cel.BoolType):
		x, y := c.bool(a), c.bool(b)
		return func(f *Frame) bool { return (x(f) == y(f)) != not }
	}
	if a.Kind() == ast.LiteralKind {
		a, b = b, a
	}
	x := c.str(a)
	if want, ok := literal(b); ok {
		c.possible(a, b, want)
		if v := c.peek(a); v != nil && v.enum != nil {
			field, ordinal := v.enum, slices.Index(v.enum.Enum, want)
			return func(f *Frame) bool { return (int(field.Ordinal(f.Event)) == ordinal) != not }
		}
		return func(f *Frame) bool { return (x(f) == want) != not }
	}
	y := c.str(b)
	return func(f *Frame) bool { return (x(f) == y(f)) != not }
}

// literal returns the text that e is, if it is a constant.
func literal(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// possible reports a constant that a can never be.
func (c *compiler) possible(a, constant ast.Expr, want string) {
	if v := c.peek(a); v != nil && v.enum != nil && !slices.Contains(v.enum.Enum, want) {
		c.fail(constant, "value", fmt.Sprintf("event.%s is never %.64q", v.enum.Name, want), didYouMean(want, v.enum.Enum))
	}
}

func (c *compiler) order(name string, a, b ast.Expr) boolFn {
	if v := c.peek(a); v != nil && v.slot >= 0 {
		if k, ok := c.constant(b); ok {
			c.uses = append(c.uses, v.slot)
			first, slot := v.first, v.slot
			switch name {
			case operators.Less:
				return func(f *Frame) bool { return f.at(first, slot) < k }
			case operators.LessEquals:
				return func(f *Frame) bool { return f.at(first, slot) <= k }
			case operators.Greater:
				return func(f *Frame) bool { return f.at(first, slot) > k }
			}
			return func(f *Frame) bool { return f.at(first, slot) >= k }
		}
	}
	x, y := c.num(a), c.num(b)
	switch name {
	case operators.Less:
		return func(f *Frame) bool { return x(f) < y(f) }
	case operators.LessEquals:
		return func(f *Frame) bool { return x(f) <= y(f) }
	case operators.Greater:
		return func(f *Frame) bool { return x(f) > y(f) }
	}
	return func(f *Frame) bool { return x(f) >= y(f) }
}

func (c *compiler) in(a, list ast.Expr) boolFn {
	s := c.str(a)
	if list.Kind() == ast.ListKind {
		var words []string
		for _, el := range list.AsList().Elements() {
			want, ok := literal(el)
			if !ok {
				c.fail(el, "syntax", "a list in a condition holds constant texts", "")
				continue
			}
			c.possible(a, el, want)
			words = append(words, want)
		}
		if len(words) <= 16 { // most are told apart by their length
			return func(f *Frame) bool { return slices.Contains(words, s(f)) }
		}
		set := make(map[string]bool, len(words))
		for _, w := range words {
			set[w] = true
		}
		return func(f *Frame) bool { return set[s(f)] }
	}
	l := c.list(list)
	return func(f *Frame) bool { return slices.Contains(l(f), s(f)) }
}

func (c *compiler) has(e ast.Expr) boolFn {
	if e.Kind() == ast.IdentKind {
		if name, ok := strings.CutPrefix(e.AsIdent(), "event."); ok {
			if fd := moat.FieldByName(name); fd != nil {
				id := fd.ID
				return func(f *Frame) bool { return f.Event.Has(id) }
			}
		}
	}
	c.fail(e, "syntax", "given() takes a field of the event", "such as given(event.ip)")
	return func(*Frame) bool { return false }
}

func (c *compiler) match(name string, target, arg ast.Expr) boolFn {
	if name == "matches" {
		return c.matches(target, arg)
	}
	s, a := c.str(target), c.str(arg)
	switch name {
	case "contains":
		return func(f *Frame) bool { return strings.Contains(s(f), a(f)) }
	case "startsWith":
		return func(f *Frame) bool { return strings.HasPrefix(s(f), a(f)) }
	}
	return func(f *Frame) bool { return strings.HasSuffix(s(f), a(f)) }
}

// matches compiles a pattern on a text, or on any of a list.
func (c *compiler) matches(target, arg ast.Expr) boolFn {
	no := func(*Frame) bool { return false }
	src, ok := literal(arg)
	if !ok {
		c.fail(arg, "cost", "the pattern of matches() must be a constant", "")
		return no
	}
	if len(src) > MaxPatternBytes {
		c.fail(arg, "cost", fmt.Sprintf("the pattern has %d bytes, more than %d", len(src), MaxPatternBytes), "")
		return no
	}
	re, err := regexp.Compile(src)
	if err != nil {
		c.fail(arg, "syntax", strings.TrimPrefix(err.Error(), "error parsing regexp: "), "the syntax is RE2")
		return no
	}
	memo, seed := c.b.memos, c.b.seed
	c.b.memos++
	if c.tree.GetType(target.ID()).IsExactType(cel.ListType(cel.StringType)) {
		l := c.list(target)
		return func(f *Frame) bool {
			for _, s := range l(f) {
				m, h := &f.Memos[memo], seed.Text(s)
				is, known := m.recall(h)
				if !known {
					is = m.learn(h, re, s)
				}
				if is {
					return true
				}
			}
			return false
		}
	}
	s := c.str(target)
	key := func(f *Frame) uint64 { return seed.Text(s(f)) }
	if target.Kind() == ast.IdentKind { // a key of joined texts is none for the whole if one of them is empty
		key = c.key(target)
	}
	return func(f *Frame) bool {
		m, h := &f.Memos[memo], key(f)
		is, known := m.recall(h)
		if !known {
			is = m.learn(h, re, s(f)) // only now: the text may take long to work out
		}
		return is
	}
}

func (c *compiler) num(e ast.Expr) numFn {
	zero := func(*Frame) float64 { return 0 }
	if k, ok := c.constant(e); ok {
		return func(*Frame) float64 { return k }
	}
	switch e.Kind() {
	case ast.IdentKind:
		v := c.variable(e)
		if v == nil || v.num == nil {
			return zero
		}
		return v.num
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		if call.FunctionName() == "size" {
			if c.tree.GetType(call.Target().ID()).IsExactType(cel.StringType) {
				s := c.str(call.Target())
				return func(f *Frame) float64 { return float64(utf8.RuneCountInString(s(f))) }
			}
			l := c.list(call.Target())
			return func(f *Frame) float64 { return float64(len(l(f))) }
		}
		if call.FunctionName() == operators.Conditional {
			q, a, b := c.bool(args[0]), c.num(args[1]), c.num(args[2])
			return func(f *Frame) float64 {
				if q(f) {
					return a(f)
				}
				return b(f)
			}
		}
		of := make([]operand, len(args))
		for i, a := range args {
			of[i] = c.operand(a)
		}
		if call.FunctionName() == "colleague" {
			return colleague(of)
		}
		if r := joined(call.FunctionName(), of); r != nil {
			return r
		}
		fn := make([]numFn, len(args))
		for i := range of {
			fn[i] = of[i].num
		}
		if r := arithmetic(call.FunctionName(), fn); r != nil {
			return r
		}
	}
	c.fail(e, "syntax", "this is not supported as a number", "")
	return zero
}

// arithmetic never gives infinity or NaN: a division by zero is 0, a logarithm of nothing
// is 0, what is too large is the largest number, so that a rule says false rather than
// anything surprising and every score can be written.
func arithmetic(name string, a []numFn) numFn {
	switch name {
	case operators.Add:
		return func(f *Frame) float64 { return finite(a[0](f) + a[1](f)) }
	case operators.Subtract:
		return func(f *Frame) float64 { return finite(a[0](f) - a[1](f)) }
	case operators.Multiply:
		return func(f *Frame) float64 { return finite(a[0](f) * a[1](f)) }
	case operators.Divide:
		return func(f *Frame) float64 {
			if d := a[1](f); d != 0 {
				return finite(a[0](f) / d)
			}
			return 0
		}
	case operators.Negate:
		return func(f *Frame) float64 { return -a[0](f) }
	case "min":
		return func(f *Frame) float64 { return min(a[0](f), a[1](f)) }
	case "max":
		return func(f *Frame) float64 { return max(a[0](f), a[1](f)) }
	case "clamp":
		return func(f *Frame) float64 { return min(max(a[0](f), a[1](f)), a[2](f)) }
	case "abs":
		return func(f *Frame) float64 { return math.Abs(a[0](f)) }
	case "exp":
		return func(f *Frame) float64 { return finite(math.Exp(a[0](f))) }
	case "floor":
		return func(f *Frame) float64 { return math.Floor(a[0](f)) }
	case "tail":
		return func(f *Frame) float64 { return upperTail(a[0](f)) }
	case "stouffer":
		return stouffer(a)
	case "sqrt":
		return func(f *Frame) float64 { return math.Sqrt(max(a[0](f), 0)) }
	case "log":
		return func(f *Frame) float64 {
			if v := a[0](f); v > 0 {
				return math.Log(v)
			}
			return 0
		}
	}
	return nil
}

func finite(v float64) float64 {
	if math.IsInf(v, 0) {
		return math.Copysign(math.MaxFloat64, v)
	}
	return v
}

func (c *compiler) str(e ast.Expr) strFn {
	none := func(*Frame) string { return "" }
	switch e.Kind() {
	case ast.LiteralKind:
		s, _ := e.AsLiteral().(types.String)
		return func(*Frame) string { return string(s) }
	case ast.IdentKind:
		v := c.variable(e)
		if v == nil || v.str == nil {
			return none
		}
		return v.str
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() == operators.Add {
			c.fail(e, "cost", "texts are joined only in the value of a feature", "")
			return none
		}
		if call.FunctionName() == "text" {
			c.fail(e, "cost", "text() makes a key of a number, only in the value of a feature", "compare numbers with numbers")
			return none
		}
		if call.FunctionName() == "extra" {
			name, ok := literal(call.Args()[0])
			if !ok {
				c.fail(call.Args()[0], "cost", "extra() takes the name of a member as a constant", "such as extra(\"approver\")")
			}
			return func(f *Frame) string { return f.Event.ExtraText(name) }
		}
		if call.FunctionName() == operators.Conditional {
			args := call.Args()
			q, a, b := c.bool(args[0]), c.str(args[1]), c.str(args[2])
			return func(f *Frame) string {
				if q(f) {
					return a(f)
				}
				return b(f)
			}
		}
	}
	c.fail(e, "syntax", "this is not supported as a text", "")
	return none
}

func (c *compiler) list(e ast.Expr) listFn {
	if e.Kind() == ast.IdentKind {
		if v := c.variable(e); v != nil && v.list != nil {
			return v.list
		}
	}
	c.fail(e, "syntax", "this is not supported as a list", "use event.orders, event.shops, event.fields, event.tables or event.waf")
	return func(*Frame) []string { return nil }
}

// key lowers a text to the hash of its value; joined texts are hashed part by part, so that
// nothing is allocated. An empty text gives 0: there is no value.
func (c *compiler) key(e ast.Expr) keyFn {
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Add {
		args := e.AsCall().Args()
		a, b := c.key(args[0]), c.key(args[1])
		return func(f *Frame) uint64 {
			x, y := a(f), b(f)
			if x == 0 || y == 0 {
				return 0
			}
			return Mix(x, y)
		}
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "text" {
		n, seed := c.num(e.AsCall().Args()[0]), uint64(c.b.seed)
		return func(f *Frame) uint64 { return Mix(math.Float64bits(n(f)+0), seed) | 1 }
	}
	if e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.Conditional {
		args := e.AsCall().Args()
		q, a, b := c.bool(args[0]), c.key(args[1]), c.key(args[2])
		return func(f *Frame) uint64 {
			if q(f) {
				return a(f)
			}
			return b(f)
		}
	}
	if text, ok := literal(e); ok {
		k := c.b.seed.key(text)
		return func(*Frame) uint64 { return k }
	}
	s, place := c.str(e), c.b.place(c.words(e))
	if v := c.peek(e); v != nil && v.of != "" {
		of, origin := c.x.lookup(v.of).str, c.b.place(v.of)
		return func(f *Frame) uint64 {
			if m := &f.texts[place]; m.turn == f.turn {
				return m.hash
			}
			return f.follow(f.hash(origin, of(f)), place, s)
		}
	}
	return func(f *Frame) uint64 {
		if m := &f.texts[place]; m.turn == f.turn {
			return m.hash
		}
		return f.hash(place, s(f))
	}
}

// place returns the place of a text among those whose hashes are remembered, by its words.
func (b *builder) place(words string) int {
	place, ok := b.texts[words]
	if !ok {
		place = len(b.texts) + int(moat.EntityKinds)
		b.texts[words] = place
	}
	return place
}

// constant folds literals and parameters.
func (c *compiler) constant(e ast.Expr) (float64, bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		if d, ok := e.AsLiteral().(types.Double); ok {
			return float64(d), true
		}
	case ast.IdentKind:
		if strings.HasPrefix(e.AsIdent(), "params.") {
			if v := c.peek(e); v != nil {
				return v.num(nil), true
			}
		}
	case ast.CallKind:
		if call := e.AsCall(); call.FunctionName() == operators.Negate {
			if k, ok := c.constant(call.Args()[0]); ok {
				return -k, true
			}
		}
	}
	return 0, false
}

// peek returns the variable that e names, or nil.
func (c *compiler) peek(e ast.Expr) *variable {
	if e.Kind() != ast.IdentKind {
		return nil
	}
	return c.x.lookup(e.AsIdent())
}

func (c *compiler) variable(e ast.Expr) *variable {
	v := c.peek(e)
	if v == nil {
		c.fail(e, "unknown", fmt.Sprintf("%q is not known here", e.AsIdent()), didYouMean(e.AsIdent(), c.x.names()))
		return nil
	}
	if v.slot >= 0 {
		c.uses = append(c.uses, v.slot)
	}
	c.uses, c.named = append(c.uses, v.uses...), c.named || v.let
	return v
}
