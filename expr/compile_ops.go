package expr

import (
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
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
		return n.testing(equality(l, r, n.at, true))
	case hclsyntax.OpNotEqual:
		return n.testing(equality(l, r, n.at, false))
	case hclsyntax.OpLessThan:
		return n.testing(ordering(l, r, true, false, false))
	case hclsyntax.OpLessThanOrEqual:
		return n.testing(ordering(l, r, true, true, false))
	case hclsyntax.OpGreaterThan:
		return n.testing(ordering(l, r, false, false, true))
	case hclsyntax.OpGreaterThanOrEqual:
		return n.testing(ordering(l, r, false, true, true))
	}
	return c.arithmetic(n, l, r, e)
}

// testing gives a node what is always true or false.
func (n node) testing(holds test) node {
	n.test = holds
	n.eval = func(e *env) (value, *Error) {
		yes, err := holds(e)
		return boolValue(yes), err
	}
	return n
}

func equality(l, r node, at *place, want bool) test {
	if l.constant != nil {
		l, r = r, l
	}
	left, right := l.eval, r.eval
	if r.constant != nil && r.constant.kind == kindString {
		return equalToString(left, r.constant.str, want)
	}
	return func(e *env) (bool, *Error) {
		a, err := left(e)
		if err != nil {
			return false, err
		}
		b, err := right(e)
		if err != nil {
			return false, err
		}
		if a.kind < kindList || a.kind != b.kind {
			return equal(a, b) == want, nil
		}
		same, err := e.equalComposites(a, b, at)
		return same == want, err
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
func equalToString(inner eval, s string, want bool) test {
	return func(e *env) (bool, *Error) {
		v, err := inner(e)
		return (v.kind == kindString && v.str == s) == want, err
	}
}

// ordering compiles a comparison from its answers for less, equal and greater.
func ordering(l, r node, less, same, greater bool) test {
	left, right, at, bt := l.eval, r.eval, l.at, r.at
	holds := [...]bool{less, same, greater}
	general := func(e *env) (bool, *Error) {
		a, err := left(e)
		if err != nil {
			return false, err
		}
		b, err := right(e)
		if err != nil {
			return false, err
		}
		order, err := compare(a, b, at, bt)
		return holds[1+order], err
	}
	if l.number == nil || r.constant == nil || r.constant.kind != kindInt {
		return general
	}
	number, limit := l.number, r.constant.int() // the comparison that conditions use next to equality
	return func(e *env) (bool, *Error) {
		n, ok := number(e)
		switch {
		case !ok:
			return general(e)
		case n.fraction:
			return holds[1+compareFloatInt(floatFrom(n.bits), limit)], nil
		}
		return holds[1+cmpOrdered(int64(n.bits), limit)], nil
	}
}

// condition compiles an operand that must be true or false. A constant that is neither is a mistake.
func (c *compiler) condition(n node) test {
	at := n.at
	if v := n.constant; v != nil && !n.broken {
		b, err := toBool(*v, at)
		if err != nil {
			c.mistake(err)
		}
		c.warnUnchanging(n)
		return func(*env) (bool, *Error) { return b.num != 0, err }
	}
	return n.holds()
}

// decision compiles a condition that decides about a part of an expression, whatever that is for.
func (c *compiler) decision(e hclsyntax.Expression) (node, test) {
	before := c.deciding
	c.deciding = true
	defer func() { c.deciding = before }()
	n := c.compile(e)
	return n, c.condition(n)
}

const unchanging = "A condition that never changes"

// warnUnchanging warns of a condition that is the same for every message, in place of what was said of its parts. One that a
// variable decides is meant to be.
func (c *compiler) warnUnchanging(n node) {
	if !c.deciding || n.constant == nil || n.constant.kind != kindBool || n.broken || n.settable || c.inside != nil {
		return
	}
	r := n.at.rng
	c.diags = slices.DeleteFunc(c.diags, func(d *hcl.Diagnostic) bool { return d.Summary == unchanging && r.Overlaps(*d.Subject) })
	c.diags = append(c.diags, &hcl.Diagnostic{
		Severity: hcl.DiagWarning,
		Summary:  unchanging,
		Detail:   fmt.Sprintf("This is %t for every message.", n.constant.num != 0),
		Subject:  &r,
	})
}

// holds is a node as a condition.
func (n *node) holds() test {
	if n.test != nil {
		return n.test
	}
	eval, at := n.eval, n.at
	return func(e *env) (bool, *Error) {
		v, err := eval(e)
		if err == nil && v.kind != kindBool {
			v, err = toBool(v, at)
		}
		return v.num != 0, err
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
	decides := e.Op == hclsyntax.OpLogicalOr
	left := c.condition(l)
	c.lazy++
	right := c.condition(r)
	c.lazy--
	return n.testing(func(e *env) (bool, *Error) {
		yes, err := left(e)
		if err != nil || yes == decides {
			return yes, err
		}
		return right(e)
	})
}

// conditional compiles "? :". Only the branch that is chosen is evaluated, and it keeps its type.
func (c *compiler) conditional(e *hclsyntax.ConditionalExpr) node {
	cond, holds := c.decision(e.Condition)
	yes, no := c.lazily(e.TrueResult), c.lazily(e.FalseResult)
	n := over(e.SrcRange, cond, yes, no)
	if cond.constant != nil && !n.broken {
		branch := chosen(n, cond, yes, no)
		branch.settable = n.settable
		return branch
	}
	n.eval = func(e *env) (value, *Error) {
		chosen, err := holds(e)
		if err != nil {
			return value{}, err
		}
		if chosen {
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
