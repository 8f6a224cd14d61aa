package expr

import (
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// binary compiles the operators that have two operands.
func (c *compiler) binary(e *hclsyntax.BinaryOpExpr) node {
	switch e.Op {
	case hclsyntax.OpLogicalAnd, hclsyntax.OpLogicalOr:
		return c.logical(e)
	}
	l, r := c.compile(e.LHS), c.compile(e.RHS)
	n := over(e.SrcRange, l, r)
	switch e.Op {
	case hclsyntax.OpEqual:
		n.eval = equality(l, r, n.at, true)
	case hclsyntax.OpNotEqual:
		n.eval = equality(l, r, n.at, false)
	case hclsyntax.OpLessThan:
		n.eval = ordering(l, r, n.at, func(order int) bool { return order < 0 })
	case hclsyntax.OpLessThanOrEqual:
		n.eval = ordering(l, r, n.at, func(order int) bool { return order <= 0 })
	case hclsyntax.OpGreaterThan:
		n.eval = ordering(l, r, n.at, func(order int) bool { return order > 0 })
	case hclsyntax.OpGreaterThanOrEqual:
		n.eval = ordering(l, r, n.at, func(order int) bool { return order >= 0 })
	default:
		return c.arithmetic(n, l, r, e)
	}
	return n
}

func equality(l, r node, at *place, want bool) eval {
	if l.constant != nil {
		l, r = r, l
	}
	if r.constant != nil && r.constant.kind == kindString {
		return equalToString(l.eval, r.constant.str, want)
	}
	return func(e *env) (value, *Error) {
		a, err := l.eval(e)
		if err != nil {
			return a, err
		}
		b, err := r.eval(e)
		if err != nil {
			return b, err
		}
		if a.kind < kindList || a.kind != b.kind {
			return boolValue(equal(a, b) == want), nil
		}
		same, err := e.equalComposites(a, b, at)
		return boolValue(same == want), err
	}
}

// equalComposites compares two lists or two objects.
func (e *env) equalComposites(a, b value, at *place) (same bool, err *Error) {
	if a.ref, err = e.open(a, at); err != nil {
		return false, err
	}
	if b.ref, err = e.open(b, at); err != nil {
		return false, err
	}
	if len(a.ref.items) != len(b.ref.items) {
		return false, nil
	}
	if err = e.look(openingCost*(a.weight(maxReading)+b.weight(maxReading)), at); err != nil {
		return false, err
	}
	return equal(a, b), nil
}

// equalToString is the comparison that conditions use most.
func equalToString(inner eval, s string, want bool) eval {
	return func(e *env) (value, *Error) {
		v, err := inner(e)
		if err != nil {
			return v, err
		}
		return boolValue((v.kind == kindString && v.str == s) == want), nil
	}
}

func ordering(l, r node, at *place, holds func(int) bool) eval {
	return func(e *env) (value, *Error) {
		a, err := l.eval(e)
		if err != nil {
			return a, err
		}
		b, err := r.eval(e)
		if err != nil {
			return b, err
		}
		order, err := compare(a, b, l.at, r.at)
		return boolValue(holds(order)), err
	}
}

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
	left, right, at := c.number(l), c.number(r), n.at
	n.eval = func(e *env) (value, *Error) {
		a, err := left(e)
		if err != nil {
			return a, err
		}
		b, err := right(e)
		if err != nil {
			return b, err
		}
		return op(a, b, at)
	}
	return n
}

// number compiles an operand that must be a number.
func (c *compiler) number(n node) eval {
	at := n.at
	if v := n.constant; v != nil && !n.broken {
		number, err := toNumber(*v, at)
		if err != nil {
			c.mistake(err)
		}
		return func(*env) (value, *Error) { return number, err }
	}
	return func(e *env) (value, *Error) {
		v, err := n.eval(e)
		if err != nil || v.kind == kindInt {
			return v, err
		}
		return toNumber(v, at)
	}
}

// condition compiles an operand that must be true or false.
func (c *compiler) condition(n node) eval {
	at := n.at
	if v := n.constant; v != nil && !n.broken {
		b, err := toBool(*v, at)
		if err != nil {
			c.mistake(err)
		}
		return func(*env) (value, *Error) { return b, err }
	}
	return func(e *env) (value, *Error) {
		v, err := n.eval(e)
		if err != nil || v.kind == kindBool {
			return v, err
		}
		return toBool(v, at)
	}
}

// mistake reports an error that every evaluation would end in.
func (c *compiler) mistake(err *Error) {
	if c.lazy == 0 {
		c.diags = append(c.diags, err.Diagnostic())
	}
}

// logical compiles && and ||: from left to right, and no further than the answer needs.
func (c *compiler) logical(e *hclsyntax.BinaryOpExpr) node {
	l := c.compile(e.LHS)
	r := c.lazily(e.RHS)
	n := over(e.SrcRange, l, r)
	decides := uint64(0)
	if e.Op == hclsyntax.OpLogicalOr {
		decides = 1
	}
	left := c.condition(l)
	c.lazy++
	right := c.condition(r)
	c.lazy--
	n.eval = func(e *env) (value, *Error) {
		v, err := left(e)
		if err != nil || v.num == decides {
			return v, err
		}
		return right(e)
	}
	return n
}

func (c *compiler) unary(e *hclsyntax.UnaryOpExpr) node {
	inner := c.compile(e.Val)
	n := over(e.SrcRange, inner)
	if e.Op == hclsyntax.OpLogicalNot {
		holds := c.condition(inner)
		n.eval = func(e *env) (value, *Error) {
			v, err := holds(e)
			return boolValue(v.num == 0), err
		}
		return n
	}
	operand, at := c.number(inner), n.at
	n.eval = func(e *env) (value, *Error) {
		v, err := operand(e)
		if err != nil {
			return v, err
		}
		return negate(v, at)
	}
	return n
}

// conditional compiles "? :". Only the branch that is chosen is evaluated, and it keeps its type.
func (c *compiler) conditional(e *hclsyntax.ConditionalExpr) node {
	cond := c.compile(e.Condition)
	yes, no := c.lazily(e.TrueResult), c.lazily(e.FalseResult)
	holds := c.condition(cond)
	n := over(e.SrcRange, cond, yes, no)
	if cond.constant != nil && !n.broken {
		return chosen(n, cond, yes, no)
	}
	n.eval = func(e *env) (value, *Error) {
		v, err := holds(e)
		if err != nil {
			return v, err
		}
		if v.num != 0 {
			return yes.eval(e)
		}
		return no.eval(e)
	}
	return n
}

// chosen is the branch of a conditional whose condition is constant.
func chosen(n, cond, yes, no node) node {
	v, err := toBool(*cond.constant, cond.at)
	switch {
	case err != nil:
		n.eval = func(*env) (value, *Error) { return value{}, err }
		return n
	case v.num != 0:
		return yes
	}
	return no
}

// template compiles a string with interpolations.
func (c *compiler) template(e *hclsyntax.TemplateExpr) node {
	parts := make([]node, len(e.Parts))
	for i, p := range e.Parts {
		parts[i] = c.compile(p)
	}
	n := over(e.SrcRange, parts...)
	at := n.at
	appends := make([]func(*env) *Error, len(parts))
	for i, p := range parts {
		appends[i] = c.text(p)
	}
	n.text = func(e *env) *Error {
		for _, part := range appends {
			if err := part(e); err != nil {
				return err
			}
		}
		return e.tooLong(at)
	}
	n.eval = made(n.text, at)
	return n
}

// made makes a string of what text appends.
func made(text func(*env) *Error, at *place) eval {
	return func(e *env) (value, *Error) {
		from := len(e.text)
		if err := text(e); err != nil {
			return value{}, err
		}
		return e.makeString(from, at)
	}
}

// tooLong stops an evaluation whose scratch text alone is more than it may produce.
func (e *env) tooLong(at *place) *Error {
	if len(e.text) > maxOutput {
		return e.spend(len(e.text), at)
	}
	return nil
}

// text compiles an operand of a template.
func (c *compiler) text(n node) func(*env) *Error {
	at := n.at
	if v := n.constant; v != nil && !n.broken {
		s, err := toString(*v, at)
		if err != nil {
			c.mistake(err)
			return func(*env) *Error { return err }
		}
		return func(e *env) *Error {
			e.text = append(e.text, s.str...)
			return nil
		}
	}
	if n.text != nil {
		return n.text
	}
	return func(e *env) *Error {
		v, err := n.eval(e)
		if err != nil {
			return err
		}
		e.text, err = appendText(e.text, v, at)
		return err
	}
}

// join compiles the loop of a template.
func (c *compiler) join(e *hclsyntax.TemplateJoinExpr) node {
	list := c.compile(e.Tuple)
	n := over(e.Tuple.Range(), list)
	at := n.at
	n.text = func(e *env) *Error {
		v, err := list.eval(e)
		if err != nil {
			return err
		}
		if v.kind != kindList {
			return at.fail("not a list but %t", v)
		}
		c, err := e.open(v, at)
		if err != nil {
			return err
		}
		for _, item := range c.items {
			if e.text, err = appendText(e.text, item, at); err != nil {
				return err
			}
		}
		return e.tooLong(at)
	}
	n.eval = made(n.text, at)
	return n
}
