package expr

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/engine"
)

// Scope is where the expressions of one pipeline are compiled. It knows the names that exist at
// start (var, local, …) and collects the body paths that the expressions refer to, so that one
// validating scan of a body serves them all.
//
// Compile with a scope from one goroutine, before anything that it made is evaluated.
type Scope struct {
	start   *hcl.EvalContext
	paths   pathSet
	reads   int // how many expressions read the body as JSON
	defined map[string]*Definition

	shape    Shape    // of bodies, or nil
	assigned [][]step // what stages have given the body since
}

// NewScope makes a scope. start holds the names that are known at start, and may be nil; functions
// that it has beside those of this package can be called with arguments that are known at start.
func NewScope(start *hcl.EvalContext) *Scope {
	if start == nil {
		start = &hcl.EvalContext{}
	}
	return &Scope{start: start, paths: pathSet{slots: 1}, defined: map[string]*Definition{}}
}

// Bool compiles a condition. A value that is neither true nor false is an error when it is evaluated, or at once if it is known.
// A condition that is the same for every message is warned of, unless a variable of the file decides it, or it is just true or false.
func (s *Scope) Bool(e hcl.Expression) (Bool, hcl.Diagnostics) {
	c := &compiler{scope: s, deciding: true}
	n := c.top(e)
	if _, literal := e.(*hclsyntax.LiteralValueExpr); !literal { // which is how a stage is switched off
		c.warnUnchanging(n)
	}
	p, diags := c.program(n, toBool)
	return Bool{p}, diags
}

// String compiles an expression whose value is wanted as a string.
func (s *Scope) String(e hcl.Expression) (String, hcl.Diagnostics) {
	p, diags := s.compileTo(e, toString)
	return String{p}, diags
}

// Value compiles an expression of any type.
func (s *Scope) Value(e hcl.Expression) (Value, hcl.Diagnostics) {
	p, diags := s.compile(e)
	return Value{p}, diags
}

// Map compiles an object of named values, as { x-reason = error.message }.
func (s *Scope) Map(e hcl.Expression) (Map, hcl.Diagnostics) {
	p, diags := s.compile(e)
	return Map{p}, diags
}

// Bool is a compiled condition. The zero value is not set, and its evaluation an error. It may be evaluated from many goroutines,
// each with a message of its own.
type Bool struct{ p *program }

// IsSet reports whether there is an expression.
func (b Bool) IsSet() bool { return b.p != nil }

// Eval returns whether the condition holds for m. Errors are permanent, of kind
// [engine.KindExpression], and wrap an [*Error].
func (b Bool) Eval(m *engine.Message) (bool, error) {
	e := enter(m)
	defer e.leave()
	holds, err := b.p.orUnset().test(e)
	if err != nil {
		return false, err.classify()
	}
	return holds, nil
}

// String is a compiled expression that makes a string. The zero value is not set, and its evaluation
// an error. It may be evaluated from many goroutines, each with a message of its own.
type String struct{ p *program }

// IsSet reports whether there is an expression.
func (s String) IsSet() bool { return s.p != nil }

// Eval returns the string for m. A number is written in decimal digits, a bool as true or false, a
// timestamp as in RFC 3339, bytes as the text that they are; null, a list and an object are errors.
// The string may share memory with m.Body.
// Errors are permanent, of kind [engine.KindExpression], and wrap an [*Error].
func (s String) Eval(m *engine.Message) (string, error) {
	e := enter(m)
	defer e.leave()
	p := s.p.orUnset()
	v, err := p.eval(e)
	if err == nil && v.kind != kindString {
		v, err = toString(v, &p.place)
	}
	if err != nil {
		return "", err.classify()
	}
	return v.str, nil
}

// Value is a compiled expression of any type. The zero value is not set, and its evaluation an error.
// It may be evaluated from many goroutines, each with a message of its own.
type Value struct{ p *program }

// IsSet reports whether there is an expression.
func (v Value) IsSet() bool { return v.p != nil }

// Eval returns the value for m as a Go value that is fit for an AMQP header and for JSON: nil, bool,
// int64, float64, string, []byte, time.Time, []any or map[string]any. What is read from a header
// and not changed keeps the type that it has there. The value belongs to the caller, except that its
// strings may share memory with m.Body, and that headers share their tables and arrays.
// Errors are permanent, of kind [engine.KindExpression], and wrap an [*Error].
func (v Value) Eval(m *engine.Message) (any, error) {
	e := enter(m)
	defer e.leave()
	g, err := v.p.orUnset().goValue(e)
	if err != nil {
		return nil, err.classify()
	}
	return g, nil
}

func (p *program) goValue(e *env) (any, *Error) {
	v, err := p.eval(e)
	if err != nil {
		return nil, err
	}
	return toGo(v, &p.place)
}

// AppendJSON appends the value for m as JSON. Numbers, lists and objects that come from the body and
// were not changed are copied byte for byte; a string is written with as few escapes as it needs.
// Errors are as Eval's.
func (v Value) AppendJSON(dst []byte, m *engine.Message) ([]byte, error) {
	e := enter(m)
	defer e.leave()
	dst, err := v.p.orUnset().appendJSON(dst, e)
	if err != nil {
		return dst, err.classify()
	}
	return dst, nil
}

func (p *program) appendJSON(dst []byte, e *env) ([]byte, *Error) {
	if p.json != nil {
		err := p.json(e)
		if err == nil {
			err = e.spend(len(e.text), &p.place)
		}
		return append(dst, e.text...), err
	}
	v, err := p.eval(e)
	if err != nil {
		return dst, err
	}
	return appendJSON(dst, v, &p.place)
}

// Elements returns the elements of a value that is a list, each as JSON in memory of its own. A
// list that comes from the body is copied byte for byte, what was made is as AppendJSON's. Errors are as Eval's; a value
// that is not a list is one.
func (v Value) Elements(m *engine.Message) ([][]byte, error) {
	e := enter(m)
	defer e.leave()
	list, err := v.p.orUnset().elements(e)
	if err != nil {
		return nil, err.classify()
	}
	return list, nil
}

func (p *program) elements(e *env) ([][]byte, *Error) {
	v, err := p.eval(e)
	if err != nil {
		return nil, err
	}
	if v.kind != kindList {
		return nil, p.place.fail("not a list but %t", v)
	}
	if v.isRaw() {
		return rawElements(v.str), nil
	}
	if v.weight(maxOutput) > maxOutput {
		return nil, p.place.fail(tooLarge, v)
	}
	list := make([][]byte, len(v.ref.items))
	for i, item := range v.ref.items {
		if list[i], err = appendJSON(nil, item, &p.place); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Map is a compiled object of named values. The zero value is not set and has no entries. It may be
// used from many goroutines, each with a message of its own.
type Map struct{ p *program }

// IsSet reports whether there is an expression.
func (x Map) IsSet() bool { return x.p != nil }

// Each evaluates the object for m, and then calls f with every key and value in the order in which
// they are written, until f returns an error, which Each returns. The values are as those of
// [Value.Eval], and so are the errors of an evaluation.
func (x Map) Each(m *engine.Message, f func(key string, v any) error) error {
	if x.p == nil {
		return nil
	}
	e := enter(m)
	defer e.leave()
	object, failed := x.p.object(e)
	if failed != nil {
		return failed.classify()
	}
	for i, key := range object.keys {
		v, failed := toGo(object.items[i], &x.p.place)
		if failed != nil {
			return failed.classify()
		}
		if err := f(key, v); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) object(e *env) (*composite, *Error) {
	v, err := p.eval(e)
	if err != nil {
		return nil, err
	}
	if v.kind != kindObject {
		return nil, p.place.fail("not an object but %t", v)
	}
	return e.open(v, &p.place)
}
