package expr

import "github.com/hashicorp/hcl/v2/hclsyntax"

func (c *compiler) arithmetic(n, l, r node, e *hclsyntax.BinaryOpExpr) node {
	var op func(a, b value, at *place) (value, *Error)
	switch e.Op {
	case hclsyntax.OpAdd:
		op = add
	case hclsyntax.OpSubtract:
		op = subtract
	case hclsyntax.OpMultiply:
		op = multiply
	case hclsyntax.OpDivide:
		op = divide
	case hclsyntax.OpModulo:
		op = modulo
	default:
		c.report(e.SrcRange, "Unsupported operator", "This operator is not known here.")
		return c.failed(e.SrcRange)
	}
	left, right, at, lt, rt := c.number(l), c.number(r), n.at, l.at, r.at
	n.eval = func(e *env) (value, *Error) {
		a, err := left(e)
		if err == nil && !a.isFinite() {
			a, err = toNumber(a, lt)
		}
		if err != nil {
			return a, err
		}
		b, err := right(e)
		if err == nil && !b.isFinite() {
			b, err = toNumber(b, rt)
		}
		if err != nil {
			return b, err
		}
		return op(a, b, at)
	}
	if l.number != nil && r.number != nil && e.Op == hclsyntax.OpMultiply {
		n.quickly(product(l, r))
	}
	return n
}

// product multiplies what are short numbers, of which one has a fraction: quantities and prices.
func product(l, r node) func(*env) (float64, bool) {
	left, right := l.number, r.number
	return func(e *env) (float64, bool) {
		a, ok := left(e)
		if !ok {
			return 0, false
		}
		b, ok := right(e)
		f := a.asFloat() * b.asFloat()
		return f, ok && (a.fraction || b.fraction) && isFinite(f)
	}
}

// quickly gives a node a short way to its value, which may find that it does not lead there.
func (n *node) quickly(short func(*env) (float64, bool)) {
	eval, at := n.eval, n.at
	n.number = func(e *env) (num, bool) {
		f, ok := short(e)
		return num{floatBits(f), true}, ok
	}
	n.eval = func(e *env) (value, *Error) {
		if f, ok := short(e); ok {
			return floatValue(f), nil
		}
		return eval(e)
	}
	n.json = func(e *env) *Error {
		if f, ok := short(e); ok {
			e.text = appendFloat(e.text, f, 64)
			return e.tooLong(at)
		}
		v, err := eval(e)
		if err == nil {
			e.text, err = appendJSON(e.text, v, at)
		}
		return err
	}
}

// number compiles an operand that must be a number, which only what is constant is yet.
func (c *compiler) number(n node) eval {
	at := n.at
	if v := n.constant; v != nil && !n.broken {
		number, err := toNumber(*v, at)
		if err != nil {
			c.mistake(err)
		}
		return func(*env) (value, *Error) { return number, err }
	}
	return n.eval
}

func (c *compiler) unary(e *hclsyntax.UnaryOpExpr) node {
	inner := c.compile(e.Val)
	n := over(e.SrcRange, inner)
	if e.Op == hclsyntax.OpLogicalNot {
		holds := c.condition(inner)
		return n.testing(func(e *env) (bool, *Error) {
			yes, err := holds(e)
			return !yes, err
		})
	}
	operand, at := c.number(inner), n.at
	n.eval = func(e *env) (value, *Error) {
		v, err := operand(e)
		if err == nil {
			v, err = toNumber(v, inner.at)
		}
		if err != nil {
			return v, err
		}
		return negate(v, at)
	}
	return n
}
