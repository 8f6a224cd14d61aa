package expr

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// node is a compiled expression, and what is known about it.
type node struct {
	eval eval
	// opt evaluates a path, and yields missing where eval is an error because the path leads nowhere.
	// It is nil for what is not a path.
	opt eval
	// test evaluates what is always true or false; nil: by way of eval.
	test test
	// number reads what is a short number most often, and says whether it is; nil: by way of eval. No value is made, nothing else is
	// noted, and no error.
	number func(*env) (num, bool)
	// text appends the value's text to the scratch text; nil: by way of eval.
	text func(*env) *Error
	// json appends the value's JSON to the scratch text, without making the value; nil: by way of eval.
	json func(*env) *Error
	// fields notes what is read of a loop's variable, of which this is one; nil where it is none.
	fields *fieldSet

	constant *value
	dynamic  bool // depends on the message, or differs from call to call
	settable bool // a variable is in it, which whoever runs it may set
	broken   bool // a diagnostic has been given for it
	locals   int  // the lowest of the local variables that it reads, or noLocal

	at   *place
	body []step // not nil: the path into the body
	root root
}

// root says what a path begins with, where that matters for the next step.
type root uint8

const (
	rootNone root = iota
	rootMsg
	rootHeaders
	rootError
)

const noLocal = 1 << 30

// compiler makes the closures of one expression.
type compiler struct {
	scope  *Scope
	diags  hcl.Diagnostics
	locals []local
	lazy   int // inside what is perhaps never evaluated
	// visible is the first of locals that can be named: those before are of the caller of a definition.
	visible  int
	inside   *Definition // whose result is being compiled, or nil
	inlined  int
	writing  bool // what is being compiled is a place that is written
	fields   int  // how many fields of elements are noted
	deciding bool // what is compiled is a condition
	// probing says that what is being compiled asks whether something is there.
	probing bool
}

// local is a variable of a for, the item of a splat, or the parameter of a definition.
type local struct {
	name  string
	item  *hclsyntax.AnonSymbolExpr
	path  string // how errors name the item of a splat
	given *node  // what stands for a parameter, in place of a variable
	// fields notes what the loop's body reads of its variable.
	fields *fieldSet
}

// compile makes a program of an expression. With error diagnostics the program is not to be used.
func (s *Scope) compile(e hcl.Expression) (*program, hcl.Diagnostics) {
	return s.compileTo(e, func(v value, _ *place) (value, *Error) { return v, nil })
}

// compileTo compiles an expression whose value is converted when it is evaluated; what is known at start must be fit for that.
func (s *Scope) compileTo(e hcl.Expression, convert func(value, *place) (value, *Error)) (*program, hcl.Diagnostics) {
	c := &compiler{scope: s}
	n := c.top(e)
	return c.program(n, convert)
}

// program makes a program of a node whose value is converted.
func (c *compiler) program(n node, convert func(value, *place) (value, *Error)) (*program, hcl.Diagnostics) {
	if n.constant != nil && !n.broken {
		if _, err := convert(*n.constant, n.at); err != nil {
			c.diags = append(c.diags, err.Diagnostic())
		}
	}
	if c.diags.HasErrors() {
		return nil, c.diags
	}
	return &program{eval: n.eval, test: n.holds(), json: n.json, place: *n.at}, c.diags
}

// top compiles an expression of HCL's native syntax, or takes a value that needs no evaluation.
func (c *compiler) top(e hcl.Expression) node {
	if native, ok := e.(hclsyntax.Expression); ok {
		return c.compile(native)
	}
	if len(e.Variables()) > 0 {
		c.report(e.Range(), "Unsupported syntax", "Expressions about messages are written in HCL's native syntax.")
		return c.failed(e.Range())
	}
	v, diags := e.Value(nil)
	c.diags = append(c.diags, diags...)
	return c.known(v, &place{rng: e.Range()})
}

func (c *compiler) report(r hcl.Range, summary, detail string, args ...any) {
	c.diags = append(c.diags, problem(r, summary, fmt.Sprintf(detail, args...)))
}

// failed stands for an expression that a diagnostic has been given for.
func (c *compiler) failed(r hcl.Range) node {
	n := constant(null, &place{rng: r})
	n.broken = true
	return n
}

// constant makes a node of a value.
func constant(v value, at *place) node {
	n := node{
		eval:     func(*env) (value, *Error) { return v, nil },
		constant: &v, locals: noLocal, at: at,
	}
	if v.isFinite() {
		known := num{v.num, v.kind == kindFloat}
		n.number = func(*env) (num, bool) { return known, true }
	}
	return n
}

// known makes a node of a value that is known at start.
func (c *compiler) known(v cty.Value, at *place) node {
	converted, err := fromCty(v)
	if err != nil {
		c.report(at.rng, "Unsuitable value", "%s", sentence(err.Error()))
		return c.failed(at.rng)
	}
	return constant(converted, at)
}

// compile makes a node, and evaluates it at once if nothing in it waits for a message.
func (c *compiler) compile(e hclsyntax.Expression) node {
	before := len(c.diags)
	n := c.expression(e)
	if n.constant != nil || n.dynamic || n.broken || n.locals != noLocal {
		return n
	}
	env := &env{}
	v, err := n.eval(env)
	if err == nil {
		known := constant(v, n.at)
		known.opt, known.settable = n.opt, n.settable
		return known
	}
	if c.lazy > 0 {
		return n
	}
	if !c.diags[before:].HasErrors() {
		c.diags = append(c.diags, err.Diagnostic())
	}
	n.broken = true
	return n
}

// expression makes a node of what is a value.
func (c *compiler) expression(e hclsyntax.Expression) node {
	if !leadsOn(e) {
		defer c.probe(false)()
	}
	n := c.node(e)
	if n.root == rootMsg || n.root == rootError && !c.probing {
		c.report(n.at.rng, "Not a value", "%s is not a value, only its attributes are, as msg.routing_key or error.message.", n.at.path)
		return c.failed(n.at.rng)
	}
	return n
}

// leadsOn reports whether what asks for an expression's presence asks for that of its parts.
func leadsOn(e hclsyntax.Expression) bool {
	switch e.(type) {
	case *hclsyntax.ScopeTraversalExpr, *hclsyntax.RelativeTraversalExpr, *hclsyntax.IndexExpr,
		*hclsyntax.ParenthesesExpr, *hclsyntax.TemplateWrapExpr:
		return true
	}
	return false
}

// probe says whether what is compiled next asks for presence, until the function that it returns is called.
func (c *compiler) probe(on bool) func() {
	before := c.probing
	c.probing = on
	return func() { c.probing = before }
}

// node makes a node of any of the kinds of expression that the syntax has.
func (c *compiler) node(e hclsyntax.Expression) node {
	switch e := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return c.known(e.Val, &place{rng: e.SrcRange})
	case *hclsyntax.ParenthesesExpr:
		return c.compile(e.Expression)
	case *hclsyntax.ScopeTraversalExpr:
		return c.traversal(e.Traversal, e.SrcRange)
	case *hclsyntax.RelativeTraversalExpr:
		return c.steps(c.compile(e.Source), e.Traversal, e.SrcRange)
	case *hclsyntax.IndexExpr:
		return c.index(e)
	case *hclsyntax.AnonSymbolExpr:
		return c.item(e)
	case *hclsyntax.SplatExpr:
		return c.splat(e)
	case *hclsyntax.ForExpr:
		return c.loop(e)
	case *hclsyntax.TupleConsExpr:
		return c.tuple(e)
	case *hclsyntax.ObjectConsExpr:
		return c.object(e)
	case *hclsyntax.ObjectConsKeyExpr:
		return c.key(e)
	case *hclsyntax.TemplateExpr:
		return c.template(e)
	case *hclsyntax.TemplateWrapExpr:
		return c.compile(e.Wrapped)
	case *hclsyntax.TemplateJoinExpr:
		return c.join(e)
	case *hclsyntax.ConditionalExpr:
		return c.conditional(e)
	case *hclsyntax.BinaryOpExpr:
		return c.binary(e)
	case *hclsyntax.UnaryOpExpr:
		return c.unary(e)
	case *hclsyntax.FunctionCallExpr:
		return c.call(e)
	case *hclsyntax.ExprSyntaxError:
		c.diags = append(c.diags, e.ParseDiags...)
		if !e.ParseDiags.HasErrors() {
			c.report(e.SrcRange, "Invalid expression", "This is not an expression.")
		}
		return c.failed(e.SrcRange)
	}
	c.report(e.Range(), "Unsupported expression", "Expressions of type %T are not known here.", e)
	return c.failed(e.Range())
}

// over makes a node that has no value yet, from what its parts are.
func over(r hcl.Range, parts ...node) node {
	n := node{locals: noLocal, at: &place{rng: r}}
	for _, p := range parts {
		n.need(p)
	}
	return n
}

// need notes that n depends on part.
func (n *node) need(part node) {
	n.dynamic = n.dynamic || part.dynamic
	n.settable = n.settable || part.settable
	n.broken = n.broken || part.broken
	n.locals = min(n.locals, part.locals)
}

// lazily compiles what is perhaps never evaluated: that it is an error is no mistake yet.
func (c *compiler) lazily(e hclsyntax.Expression) node {
	c.lazy++
	defer func() { c.lazy-- }()
	return c.compile(e)
}

// bind makes a variable for the duration of f, and returns which one it is.
func (c *compiler) bind(l local) int {
	c.locals = append(c.locals, l)
	return len(c.locals) - 1
}

// unbind forgets the variables from one on. What n read of them is no concern of what is outside.
func (c *compiler) unbind(first int, n *node) {
	c.locals = c.locals[:first]
	if n.locals >= first {
		n.locals = noLocal
	}
}

// local reads a variable.
func (c *compiler) local(i int, r hcl.Range, name string) node {
	n := node{locals: i, at: &place{rng: r, path: name}, fields: c.locals[i].fields}
	n.eval = func(e *env) (value, *Error) { return e.locals[i], nil }
	n.opt = n.eval
	return n
}

func (e *env) set(local int, v value) {
	for len(e.locals) <= local {
		e.locals = append(e.locals, value{})
	}
	e.locals[local] = v
}

func (c *compiler) item(e *hclsyntax.AnonSymbolExpr) node {
	for i := len(c.locals) - 1; i >= 0; i-- {
		if c.locals[i].item == e {
			return c.local(i, e.SrcRange, c.locals[i].path)
		}
	}
	c.report(e.SrcRange, "Invalid expression", "An item is only known inside its splat.")
	return c.failed(e.SrcRange)
}
