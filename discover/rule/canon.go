package rule

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/moat-platform/moat/discover/feature"
)

// canonical says what a feature computes in words that do not depend on what its detector
// calls things, so that equal features of different detectors are kept once. exprs are
// its value, condition and steps as [compiler.words] writes them.
func canonical(f *Feature, exprs []string) string {
	on := slices.Clone(f.On)
	slices.Sort(on)
	params := make([]string, 0, len(f.Params))
	for k, v := range f.Params {
		params = append(params, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(params)
	return fmt.Sprintf("%s of %s on %v %v%s", f.Kind.Name, f.Of, on, params, strings.Join(exprs, ""))
}

// words writes a checked expression with parameters replaced by their values and features by
// what they compute.
func (c *compiler) words(e ast.Expr) string {
	if k, ok := c.constant(e); ok {
		return fmt.Sprint(k)
	}
	switch e.Kind() {
	case ast.LiteralKind:
		if s, ok := e.AsLiteral().(types.String); ok {
			return fmt.Sprintf("%q", string(s))
		}
		return fmt.Sprint(e.AsLiteral())
	case ast.IdentKind:
		if v := c.peek(e); v != nil && v.slot >= 0 {
			s := c.b.bySlot[v.slot]
			// By its hash: features that read features would otherwise grow without bounds.
			return fmt.Sprintf("{%016x}.%d", HashSeed(0).Text(s.canon), v.slot-s.op.Out)
		}
		return e.AsIdent()
	case ast.ListKind:
		return "[" + strings.Join(c.wordsOf(e.AsList().Elements()), ",") + "]"
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		if name := call.FunctionName(); name == operators.LogicalAnd || name == operators.LogicalOr {
			terms := c.wordsOf(chain(nil, e, name)) // in whatever order, and however they are bracketed
			slices.Sort(terms)
			return name + "(" + strings.Join(terms, ",") + ")"
		}
		if call.IsMemberFunction() {
			args = append([]ast.Expr{call.Target()}, args...)
		}
		return call.FunctionName() + "(" + strings.Join(c.wordsOf(args), ",") + ")"
	}
	return "?"
}

func (c *compiler) wordsOf(list []ast.Expr) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = c.words(e)
	}
	return out
}

// refill returns f with the parameters that refer to those of the detector at their current values.
func (f Feature) refill(params []Param) (Feature, error) {
	given := make(feature.Params, len(f.Params))
	for k, v := range f.Params {
		given[k] = v
	}
	for name, ref := range f.refs {
		for i := range params {
			if params[i].Name == ref {
				given[name] = params[i].Default
			}
		}
	}
	all, err := f.Kind.Fill(given)
	if err != nil {
		return f, fmt.Errorf("feature %s: %w", f.Name, err)
	}
	f.Params = all
	return f, nil
}
