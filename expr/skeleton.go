package expr

import (
	"errors"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/pipeamqp/pipe/engine"
)

var errNotYet = errors.New("expressions are not compiled yet")

type program struct{}

// Scope is where the expressions of one pipeline are compiled. It knows the names that exist at
// start (var, local, …) and collects the body paths that the expressions refer to, so that one
// validating scan of a body serves them all.
//
// Compile with a scope from one goroutine, before anything that it made is evaluated.
type Scope struct{ start *hcl.EvalContext }

// NewScope makes a scope. start holds the names that are known at start, and may be nil; functions
// that it has beside those of this package can be called with arguments that are known at start.
func NewScope(start *hcl.EvalContext) *Scope { return &Scope{start} }

// Bool compiles a condition.
func (s *Scope) Bool(e hcl.Expression) (Bool, hcl.Diagnostics) { return Bool{&program{}}, nil }

// String compiles an expression whose value is wanted as a string.
func (s *Scope) String(e hcl.Expression) (String, hcl.Diagnostics) { return String{&program{}}, nil }

// Value compiles an expression of any type.
func (s *Scope) Value(e hcl.Expression) (Value, hcl.Diagnostics) { return Value{&program{}}, nil }

// Map compiles an object of named values, as { x-reason = error.message }.
func (s *Scope) Map(e hcl.Expression) (Map, hcl.Diagnostics) { return Map{&program{}}, nil }

// Assignments compiles an object whose keys are targets in the message, as { body.total = 1 }.
func (s *Scope) Assignments(e hcl.Expression) (Assignments, hcl.Diagnostics) {
	return Assignments{&program{}}, nil
}

// Paths compiles a list of what is to be removed from a message, as [body.note, msg.headers["x"]].
func (s *Scope) Paths(e hcl.Expression) (Paths, hcl.Diagnostics) { return Paths{&program{}}, nil }

// Bool is a compiled condition. The zero value is not set.
type Bool struct{ p *program }

// IsSet reports whether there is an expression.
func (b Bool) IsSet() bool { return b.p != nil }

// Eval returns whether the condition holds for m.
func (b Bool) Eval(m *engine.Message) (bool, error) { return false, errNotYet }

// String is a compiled expression that makes a string. The zero value is not set.
type String struct{ p *program }

// IsSet reports whether there is an expression.
func (s String) IsSet() bool { return s.p != nil }

// Eval returns the string for m.
func (s String) Eval(m *engine.Message) (string, error) { return "", errNotYet }

// Value is a compiled expression of any type. The zero value is not set.
type Value struct{ p *program }

// IsSet reports whether there is an expression.
func (v Value) IsSet() bool { return v.p != nil }

// Eval returns the value for m as nil, bool, int64, float64, string, []byte, time.Time, []any or
// map[string]any; what is read from a header and not changed keeps its type.
func (v Value) Eval(m *engine.Message) (any, error) { return nil, errNotYet }

// Map is a compiled object of named values. The zero value is not set and has no entries.
type Map struct{ p *program }

// IsSet reports whether there is an expression.
func (x Map) IsSet() bool { return x.p != nil }

// Each calls f with each key and its value for m, in the order in which they are written, and stops
// at the first error.
func (x Map) Each(m *engine.Message, f func(key string, v any) error) error { return errNotYet }

// Assignments are compiled changes to a message. The zero value is not set and changes nothing.
type Assignments struct{ p *program }

// IsSet reports whether there is an expression.
func (a Assignments) IsSet() bool { return a.p != nil }

// Apply evaluates every right-hand side against m as it is, and then writes every target. On an
// error nothing is changed.
func (a Assignments) Apply(m *engine.Message) error { return NewEdit(a, Paths{}).Apply(m) }

// Paths are compiled names of what is to be removed from a message. The zero value is not set.
type Paths struct{ p *program }

// IsSet reports whether there is an expression.
func (p Paths) IsSet() bool { return p.p != nil }

// Apply removes what the paths name; what is absent is left so.
func (p Paths) Apply(m *engine.Message) error { return NewEdit(Assignments{}, p).Apply(m) }

// Edit is what a set and an unset do together, in one pass over the body. Make it once.
type Edit struct{}

// NewEdit combines assignments and removals; either may be unset. Where both name the same thing it
// is removed.
func NewEdit(set Assignments, unset Paths) *Edit { return &Edit{} }

// Apply evaluates every right-hand side against m as it is, and then writes every target and removes
// what is to go. All other bytes of the body stay as they are. On an error nothing is changed.
func (e *Edit) Apply(m *engine.Message) error { return errNotYet }

// ParseBool compiles a condition from its text, for Go programs and tests.
func ParseBool(src string) (Bool, error) { return Bool{}, errNotYet }

// MustParseBool is ParseBool for text that is known to be right; it panics otherwise.
func MustParseBool(src string) Bool { panic(errNotYet) }

// ParseString compiles an expression that makes a string from its text.
func ParseString(src string) (String, error) { return String{}, errNotYet }

// MustParseString is ParseString for text that is known to be right; it panics otherwise.
func MustParseString(src string) String { panic(errNotYet) }

// ParseValue compiles an expression from its text.
func ParseValue(src string) (Value, error) { return Value{}, errNotYet }

// MustParseValue is ParseValue for text that is known to be right; it panics otherwise.
func MustParseValue(src string) Value { panic(errNotYet) }

// ParseMap compiles an object of named values from its text.
func ParseMap(src string) (Map, error) { return Map{}, errNotYet }

// ParseAssignments compiles assignments from their text, braces included.
func ParseAssignments(src string) (Assignments, error) { return Assignments{}, errNotYet }

// ParsePaths compiles paths from their text, brackets included.
func ParsePaths(src string) (Paths, error) { return Paths{}, errNotYet }

// StartFunctions returns the functions of this package for expressions that are evaluated at start.
func StartFunctions() map[string]function.Function { return map[string]function.Function{} }

// RefersToMessage reports whether an expression refers to body, msg or error, which are known only
// for each message, and where it does so first.
func RefersToMessage(e hcl.Expression) (hcl.Range, bool) { return hcl.Range{}, false }
