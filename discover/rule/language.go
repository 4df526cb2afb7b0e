package rule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/moat-platform/moat"
)

// The language is CEL without loops: numbers are doubles (an integer literal is read as
// one), texts, truth values and lists of texts. Variables are event.<field>, ip.<fact>, ua.<fact>,
// <feature>, <feature>.<output> and params.<name>.

// variable is a name of the language and how its value is had.
type variable struct {
	typ   *cel.Type
	num   numFn
	str   strFn
	bool  boolFn
	list  listFn
	enum  *moat.Field // for event.type and its like
	slot  int         // of a feature's output; -1 otherwise
	first int         // slot of the feature's first output
	uses  []int       // slots that it reads, if it is a let
	let   bool        // it is a let
	of    string      // the text that it follows from, if that takes long to work out
	doc   string
}

type (
	numFn  func(*Frame) float64
	strFn  func(*Frame) string
	boolFn func(*Frame) bool
	listFn func(*Frame) []string
	keyFn  func(*Frame) uint64
)

var placeType = cel.OpaqueType("place")

// vocabulary is the variables that every detector has.
var vocabulary = buildVocabulary()

func buildVocabulary() map[string]*variable {
	v := map[string]*variable{
		"ip.country": {typ: cel.StringType, str: func(f *Frame) string { return f.Net().Country() }, doc: "country of the address, two letters, or empty"},
		"ip.asn":     {typ: cel.DoubleType, num: func(f *Frame) float64 { return float64(f.Net().ASN) }, doc: "autonomous system of the address, or 0"},
		"ip.hosting": {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Net().Hosting }, doc: "the address belongs to a data centre"},
		"ip.vpn":     {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Net().VPN }, doc: "the address belongs to a VPN"},
		"ip.tor":     {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Net().Tor }, doc: "the address is an exit of Tor"},
		"ip.listed":  {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Net().Listed }, doc: "the address is on public blocklists"},
		"ip.private": {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Net().Private }, doc: "the address is not of the public Internet"},
		"ip.mobile":  {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Net().Mobile }, doc: "the address belongs to a mobile carrier"},
		"ip.self":    {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Net().Self }, doc: "the address is that of the machine itself, 127.0.0.1 or ::1"},
		"ip.place":   {typ: placeType, doc: "where the address is; only as the value of a travel feature"},

		"event.touched":        {typ: cel.DoubleType, num: func(f *Frame) float64 { return float64(f.Event.Touched()) }, doc: "order records touched"},
		"event.weight":         {typ: cel.DoubleType, num: func(f *Frame) float64 { return f.Weight() }, doc: "sensitivity of what was shown, 0..1"},
		"event.leaves":         {typ: cel.BoolType, bool: func(f *Frame) bool { return Leaves(f.Event) }, doc: "the data leaves the application"},
		"event.shop":           {typ: cel.StringType, str: func(f *Frame) string { return f.Event.EntityID(moat.Shop) }, doc: "the shop whose data it is, if it is one shop's"},
		"event.bad_clock":      {typ: cel.BoolType, bool: func(f *Frame) bool { return f.Event.Flags&moat.FlagClock != 0 }, doc: "the event's time is implausible"},
		"event.begins_sitting": {typ: cel.BoolType, bool: func(f *Frame) bool { return f.scene.begins }, doc: "the event is the first of its type for ten minutes that the account sends with this session, device, address, browser, app, role and outcome: what only changes from one sitting to the next need not be looked at more often"},
		"event.network":        {typ: cel.StringType, str: func(f *Frame) string { return network(f.Event.IP) }, doc: "the address cut to its /24 or /48 network"},
	}
	for i := 1; i < len(moat.Fields); i++ {
		fd := &moat.Fields[i]
		x := &variable{doc: fd.Doc}
		switch fd.Kind {
		case moat.KindString, moat.KindObject:
			x.typ, x.str = cel.StringType, func(f *Frame) string { return fd.Text(f.Event) }
		case moat.KindEnum:
			x.typ, x.str, x.enum = cel.StringType, func(f *Frame) string { return fd.Text(f.Event) }, fd
		case moat.KindStrings:
			x.typ, x.list = cel.ListType(cel.StringType), func(f *Frame) []string { return fd.List(f.Event) }
		case moat.KindBool:
			x.typ, x.bool = cel.BoolType, func(f *Frame) bool { return fd.Number(f.Event) != 0 }
		case moat.KindInt:
			x.typ, x.num = cel.DoubleType, func(f *Frame) float64 { return float64(fd.Number(f.Event)) }
		case moat.KindTime:
			x.typ, x.num = cel.DoubleType, func(f *Frame) float64 { return float64(fd.Number(f.Event)) / 1e6 }
		}
		v["event."+fd.Name] = x
	}
	maps.Copy(v, derived())
	maps.Copy(v, agentVariables())
	for _, x := range v {
		x.slot = -1
	}
	return v
}

// network cuts an address to the network that one subscriber or office usually has.
func network(ip string) string {
	if i := strings.LastIndexByte(ip, '.'); i > 0 {
		return ip[:i]
	}
	n := 0
	for i := 0; i < len(ip); i++ {
		if ip[i] == ':' {
			if n++; n == 3 {
				return ip[:i]
			}
		}
	}
	return ip
}

// functions declares what may be called. The names are CEL's own where it has them.
func functions() []cel.EnvOption {
	num, str, truth, list := cel.DoubleType, cel.StringType, cel.BoolType, cel.ListType(cel.StringType)
	a := cel.TypeParamType("A")
	f := func(name string, result *cel.Type, args ...*cel.Type) cel.EnvOption {
		id := name
		for _, t := range args {
			id += "_" + strings.Trim(t.String(), "()")
		}
		return cel.Function(name, cel.Overload(id, args, result))
	}
	m := func(name string, result *cel.Type, args ...*cel.Type) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload(name+"_member", args, result))
	}
	return []cel.EnvOption{
		f(operators.LogicalAnd, truth, truth, truth), f(operators.LogicalOr, truth, truth, truth), f(operators.LogicalNot, truth, truth),
		f(operators.Conditional, a, truth, a, a),
		f(operators.Equals, truth, num, num), f(operators.Equals, truth, str, str), f(operators.Equals, truth, truth, truth),
		f(operators.NotEquals, truth, num, num), f(operators.NotEquals, truth, str, str), f(operators.NotEquals, truth, truth, truth),
		f(operators.Less, truth, num, num), f(operators.LessEquals, truth, num, num),
		f(operators.Greater, truth, num, num), f(operators.GreaterEquals, truth, num, num),
		f(operators.Add, num, num, num), f(operators.Subtract, num, num, num), f(operators.Multiply, num, num, num),
		f(operators.Divide, num, num, num), f(operators.Negate, num, num),
		f(operators.Add, str, str, str),
		f(operators.In, truth, str, list),
		f("given", truth, num), f("given", truth, str), f("given", truth, truth), f("given", truth, list),
		f("min", num, num, num), f("max", num, num, num), f("log", num, num), f("sqrt", num, num), f("abs", num, num),
		f("clamp", num, num, num, num), f("exp", num, num), f("floor", num, num), f("tail", num, num), f("text", str, num), f("extra", str, str),
		variadic("stouffer", num, num, 2, 8), f("colleague", num, num, num, num, num, num),
		m("contains", truth, str, str), m("startsWith", truth, str, str), m("endsWith", truth, str, str),
		cel.Function("matches", cel.MemberOverload("matches_member", []*cel.Type{str, str}, truth), cel.MemberOverload("matches_member_list", []*cel.Type{list, str}, truth)),
		cel.Function("size", cel.MemberOverload("size_member_text", []*cel.Type{str}, num), cel.MemberOverload("size_member_list", []*cel.Type{list}, num)),
	}
}

// variadic declares a function that takes least to most arguments of one type.
func variadic(name string, result, arg *cel.Type, least, most int) cel.EnvOption {
	var overloads []cel.FunctionOpt
	for n := least; n <= most; n++ {
		overloads = append(overloads, cel.Overload(fmt.Sprintf("%s_%d", name, n), slices.Repeat([]*cel.Type{arg}, n), result))
	}
	return cel.Function(name, overloads...)
}

// functionNames are the functions and phrases that a rule may name, for hints.
var functionNames = append(phraseNames(), "given", "min", "max", "log", "sqrt", "abs", "exp", "floor", "clamp", "tail", "stouffer", "colleague", "text", "extra", "contains", "startsWith", "endsWith", "matches", "size")

// environment checks the expressions of one detector.
type environment struct {
	detector *Detector
	env      *cel.Env
	vars     map[string]*variable
	problems *Problems
	parsed   map[string]*cel.Ast // of all detectors that are compiled together: many say the same
	lines    []string
}

// base is the environment without features and parameters; extending it is much
// cheaper than building it again for every detector.
func newBase() (*cel.Env, error) {
	opts := functions()
	for name, v := range vocabulary {
		opts = append(opts, cel.Variable(name, v.typ))
	}
	opts = append(opts, cel.ParserRecursionLimit(MaxDepth), cel.ParserExpressionSizeLimit(MaxExpressionBytes))
	env, err := cel.NewCustomEnv(opts...)
	if err != nil {
		return nil, err
	}
	return phrased(env)
}

func (b *builder) environment(d *Detector) (*environment, error) {
	x := &environment{detector: d, vars: map[string]*variable{}, problems: &b.problems, parsed: b.parsed}
	var opts []cel.EnvOption
	for i := range d.Params {
		p := &d.Params[i]
		v := p.Default
		x.vars["params."+p.Name] = &variable{typ: cel.DoubleType, num: func(*Frame) float64 { return v }, slot: -1}
		opts = append(opts, cel.Variable("params."+p.Name, cel.DoubleType))
	}
	env, err := b.base.Extend(opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot build the environment of %s: %w", d.ID, err)
	}
	x.env = env
	return x, nil
}

// declare makes a feature's outputs known to the expressions after it.
func (x *environment) declare(f *Feature, slot int) error {
	var opts []cel.EnvOption
	first := slot
	add := func(name string, slot int) {
		x.vars[name] = &variable{typ: cel.DoubleType, num: func(f *Frame) float64 { return f.at(first, slot) }, slot: slot, first: first}
		opts = append(opts, cel.Variable(name, cel.DoubleType))
	}
	add(f.Name, slot)
	for i, o := range f.Kind.Outputs {
		add(f.Name+"."+o.Name, slot+i)
	}
	env, err := x.env.Extend(opts...)
	if err != nil {
		return fmt.Errorf("cannot declare feature %s of %s: %w", f.Name, x.detector.ID, err)
	}
	x.env = env
	return nil
}

// name makes v known to the expressions after it.
func (x *environment) name(name string, v *variable) error {
	env, err := x.env.Extend(cel.Variable(name, v.typ))
	if err != nil {
		return fmt.Errorf("cannot name %s of %s: %w", name, x.detector.ID, err)
	}
	x.vars[name], x.env = v, env
	return nil
}

func (x *environment) lookup(name string) *variable {
	if v, ok := x.vars[name]; ok {
		return v
	}
	return vocabulary[name]
}

// names returns what expressions may name, sorted.
func (x *environment) names() []string {
	out := slices.AppendSeq(slices.Collect(maps.Keys(x.vars)), maps.Keys(vocabulary))
	slices.Sort(out)
	return out
}

// checked parses t, checks limits and types. It returns nil after reporting what is wrong.
func (x *environment) checked(t Text, want ...*cel.Type) *ast.AST {
	parsed := x.parsed[t.S]
	if parsed == nil {
		if parsed = x.parse(t); parsed == nil {
			return nil
		}
		x.parsed[t.S] = parsed
	}
	done, iss := x.env.Check(parsed)
	if iss.Err() != nil {
		x.report(t, "type", iss)
		return nil
	}
	if len(want) > 0 && !slices.ContainsFunc(want, func(w *cel.Type) bool { return done.OutputType().IsExactType(w) }) {
		x.add(t, 0, "type", fmt.Sprintf("the expression is a %s, a %s is wanted", typeName(done.OutputType()), typeName(want[0])), "")
		return nil
	}
	return done.NativeRep()
}

// parse parses t and reads integers as doubles. It returns nil after reporting what is wrong. What a text means, its detector's own words decide, which
// come later: one tree does for all that say the same.
func (x *environment) parse(t Text) *cel.Ast {
	parsed, iss := x.env.Parse(t.S)
	if iss.Err() != nil {
		x.report(t, "syntax", iss)
		return nil
	}
	tree := parsed.NativeRep()
	if n := ast.NodeCount(tree); n > MaxNodes {
		x.add(t, 0, "cost", fmt.Sprintf("the expression has %d nodes, more than %d: its cost would not be bounded well", n, MaxNodes), "split it into features or detectors")
		return nil
	}
	before := len(*x.problems)
	fac := ast.NewExprFactory()
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.LiteralKind:
			if i, ok := e.AsLiteral().(types.Int); ok {
				e.SetKindCase(fac.NewLiteral(e.ID(), types.Double(i)))
			}
		case ast.CallKind:
			x.refuseLoop(t, tree, e)
		}
	}))
	if len(*x.problems) > before {
		return nil
	}
	return parsed
}

// refuseLoop reports the loops of CEL by name, which would otherwise be unknown functions.
func (x *environment) refuseLoop(t Text, tree *ast.AST, e ast.Expr) {
	name, at := e.AsCall().FunctionName(), 0
	if r, ok := tree.SourceInfo().GetOffsetRange(e.ID()); ok {
		at = int(r.Start)
	}
	switch name {
	case "exists", "all", "map", "filter", "exists_one", "existsOne", "transformList", "transformMap", "transformMapEntry":
		x.add(t, at, "cost", name+" is a loop; the cost of a rule must be bounded by its text", "count with a feature, or use `text in list`")
	case "has":
		x.add(t, at, "unknown", "has is not known here", "given(event.ip) tells whether the event has the field")
	}
}

func typeName(t *cel.Type) string {
	switch {
	case t.IsExactType(cel.DoubleType):
		return "number"
	case t.IsExactType(cel.StringType):
		return "text"
	case t.IsExactType(cel.BoolType):
		return "condition (true or false)"
	case t.IsExactType(cel.ListType(cel.StringType)):
		return "list of texts"
	}
	return t.String()
}

// plain says in words of the language what cel-go says in those of its types and operators.
var plain = strings.NewReplacer("list(string)", "list", "double", "number", "string", "text", "bool", "condition",
	"_?_:_", "? :", "@in", "in", "!_", "!", "-_", "-", "_", "")

// report turns cel-go's issues into problems of the file.
func (x *environment) report(t Text, code string, iss *cel.Issues) {
	for _, e := range iss.Errors() {
		at := t.offset(e.Location.Line(), max(e.Location.Column(), 0))
		what, hint := e.Message, ""
		var name, operand string
		switch {
		case scan(what, "undeclared reference to '", "'", &name):
			x.unknown(t, at, name)
			continue
		case strings.HasSuffix(what, "does not support field selection"):
			x.unknown(t, at, x.selected(t, at))
			continue
		case scan(what, "found no matching overload for '", "'", &name) && scan(what, "applied to '", "'", &operand):
			what = fmt.Sprintf("%s does not take %s", operator(name), plain.Replace(operand))
			hint = "numbers, texts and conditions do not mix; compare like with like"
		}
		what, _, _ = strings.Cut(strings.TrimPrefix(what, "Syntax error: "), " expecting ")
		if strings.HasSuffix(what, "input '<EOF>'") {
			what = "the expression ends too early"
		}
		x.add(t, at, code, what, hint)
	}
}

// scan sets to to what stands in s between two marks.
func scan(s, from, until string, to *string) bool {
	_, rest, ok := strings.Cut(s, from)
	if ok {
		*to, _, ok = strings.Cut(rest, until)
	}
	return ok
}

// operator returns an operator or function as it is written.
func operator(name string) string {
	if strings.ContainsAny(name, "@!-&|?<>=+*/%[") {
		return plain.Replace(name)
	}
	return name
}

// unknown reports a name at character at of t that means nothing.
func (x *environment) unknown(t Text, at int, name string) {
	if op := operator(name); op != name {
		x.add(t, at, "unknown", fmt.Sprintf("the operator %s is not known here", op), "")
		return
	}
	if !strings.Contains(name, ".") {
		if full := x.selected(t, at); strings.HasPrefix(full, name+".") {
			name = full
		}
	}
	root, rest, _ := strings.Cut(name, ".")
	v, quoted := x.vars[root], fmt.Sprintf("%q", clip(name, 64))
	switch {
	case strings.HasPrefix(after(t.S, at), "("):
		x.add(t, at, "unknown", quoted+" is no function", didYouMean(name, functionNames))
	case root == "event" && rest != "":
		x.add(t, at, "unknown", fmt.Sprintf("the event has no field %q", clip(rest, 64)), strings.TrimSuffix("see the event contract; "+x.near(root, rest), "; "))
	case rest != "" && v != nil && v.slot >= 0:
		x.add(t, at, "unknown", fmt.Sprintf("feature %s has no output %q", root, clip(rest, 64)), x.near(root, rest))
	case root == "ip" || root == "ua" || root == "params":
		x.add(t, at, "unknown", quoted+" is not known here", x.near(root, rest))
	default:
		x.add(t, at, "unknown", quoted+" is not known here", didYouMean(name, x.names()))
	}
}

// after returns the rest of s from character i on.
func after(s string, i int) string {
	for n := range s {
		if i == 0 {
			return s[n:]
		}
		i--
	}
	return ""
}

// near hints at the names that begin with root, of which field should be one.
func (x *environment) near(root, field string) string {
	var words []string
	for _, w := range x.names() {
		if f, ok := strings.CutPrefix(w, root+"."); ok {
			words = append(words, f)
		}
	}
	if w := nearest(field, words); w != "" {
		return fmt.Sprintf("did you mean %q?", root+"."+w)
	}
	return didYouMean(field, words)
}

func isName(c rune) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// start returns where the name begins that cel-go places at character at: it means the dot
// of a field and the parenthesis of a call.
func start(s []rune, at int) int {
	if at >= len(s) || s[at] != '(' && s[at] != '.' {
		return at
	}
	call, i := s[at] == '(', at
	for i > 0 && (isName(s[i-1]) || !call && s[i-1] == '.') {
		i--
	}
	return i
}

// selected returns the dotted name that begins at character at of t.
func (x *environment) selected(t Text, at int) string {
	s := []rune(t.S)
	i := start(s, at)
	j := i
	for j < len(s) && (isName(s[j]) || s[j] == '.') {
		j++
	}
	return string(s[i:j])
}

// add reports a problem at character at of t, or at the beginning of the name there.
func (x *environment) add(t Text, at int, code, what, hint string) {
	p := &Problem{File: x.detector.File, Row: x.detector.rowName(), Code: code, What: printable(what), Hint: printable(hint)}
	p.Line, p.Column = t.at(start([]rune(t.S), at))
	if i := p.Line - 1; i >= 0 && i < len(x.lines) {
		p.Source = x.lines[i]
	}
	*x.problems = append(*x.problems, p)
}
