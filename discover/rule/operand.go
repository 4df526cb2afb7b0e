package rule

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// operand is a number in a calculation. Most are outputs of features and constants, which need no call to be had.
type operand struct {
	num         numFn
	first, slot int // of a feature's output; slot is -1 otherwise
	k           float64
	constant    bool
}

func (c *compiler) operand(e ast.Expr) operand {
	o := operand{num: c.num(e), slot: -1}
	if v := c.peek(e); v != nil && v.slot >= 0 {
		o.first, o.slot = v.first, v.slot
	}
	o.k, o.constant = c.constant(e)
	return o
}

// of returns the number at the frame's event.
func (o *operand) of(f *Frame) float64 {
	if o.slot >= 0 {
		return f.at(o.first, o.slot)
	}
	return o.num(f)
}

// joined returns a calculation of two operands of which one need not be called, nil if it knows none. It gives what
// [arithmetic] gives.
func joined(name string, of []operand) numFn {
	if len(of) != 2 {
		return nil
	}
	switch a, b := of[0], of[1]; {
	case a.slot >= 0 && b.slot >= 0:
		return outputs(name, a, b)
	case b.constant:
		return withConstant(name, a, b.k)
	case b.slot >= 0 && !a.constant:
		return withOutput(name, a.num, b)
	case a.constant && name == operators.Multiply:
		x, k := b.num, a.k
		return func(f *Frame) float64 { return finite(k * x(f)) }
	}
	return nil
}

// outputs joins two outputs of features.
func outputs(name string, a, b operand) numFn {
	i, j, k, l := a.first, a.slot, b.first, b.slot
	switch name {
	case operators.Add:
		return func(f *Frame) float64 { return finite(f.at(i, j) + f.at(k, l)) }
	case operators.Subtract:
		return func(f *Frame) float64 { return finite(f.at(i, j) - f.at(k, l)) }
	}
	return nil
}

// withOutput joins a number and the output of a feature.
func withOutput(name string, x numFn, b operand) numFn {
	first, slot := b.first, b.slot
	switch name {
	case operators.Add:
		return func(f *Frame) float64 { return finite(x(f) + f.at(first, slot)) }
	case operators.Subtract:
		return func(f *Frame) float64 { return finite(x(f) - f.at(first, slot)) }
	case operators.Multiply:
		return func(f *Frame) float64 { return finite(x(f) * f.at(first, slot)) }
	}
	return nil
}

// withConstant joins a number and a constant.
func withConstant(name string, a operand, k float64) numFn {
	x := a.num
	if first, slot := a.first, a.slot; slot >= 0 {
		switch name {
		case operators.Add:
			return func(f *Frame) float64 { return finite(f.at(first, slot) + k) }
		case operators.Subtract:
			return func(f *Frame) float64 { return finite(f.at(first, slot) - k) }
		case "max":
			return func(f *Frame) float64 { return max(f.at(first, slot), k) }
		}
	}
	switch name {
	case operators.Add:
		return func(f *Frame) float64 { return finite(x(f) + k) }
	case operators.Subtract:
		return func(f *Frame) float64 { return finite(x(f) - k) }
	case operators.Multiply:
		return func(f *Frame) float64 { return finite(x(f) * k) }
	case "max":
		return func(f *Frame) float64 { return max(x(f), k) }
	}
	return nil
}
