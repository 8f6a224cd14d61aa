package expr

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// Definition is a function that a user has defined: an expression with parameters. Its result is
// compiled into every expression that calls it, as if it were written there. It sees its parameters
// and what is known at start, but not the message: that is passed to it.
//
// An argument that is a path stays one: has and get in the function see whether it leads anywhere.
// Every other argument is evaluated once, before the result.
type Definition struct {
	Name   string
	Params []string // no two the same
	Result hclsyntax.Expression
	Range  hcl.Range // where diagnostics about the whole of it point
}

// maxInlined is how many calls of definitions an expression may come to, those in definitions
// included.
const maxInlined = 1000

// Define adds a definition. Its result is compiled once, to see whether it is right; what it calls must
// have been defined before, and so no definition calls itself.
func (s *Scope) Define(d Definition) hcl.Diagnostics {
	if _, ok := functions[d.Name]; ok {
		return hcl.Diagnostics{problem(d.Range, "Function that there already is", fmt.Sprintf("%s is a function of the language. Give this one another name.", d.Name))}
	}
	if _, ok := s.defined[d.Name]; ok {
		return hcl.Diagnostics{problem(d.Range, "Duplicate name", fmt.Sprintf("There already is a function %q.", d.Name))}
	}
	_, diags := s.compileDefinition(d)
	if !diags.HasErrors() {
		s.defined[d.Name] = &d
	}
	return diags
}

// compileDefinition compiles the result for parameters that are the first local variables.
func (s *Scope) compileDefinition(d Definition) (node, hcl.Diagnostics) {
	c := &compiler{scope: s, inside: &d}
	for _, name := range d.Params {
		c.bind(local{name: name})
	}
	n := c.compile(d.Result)
	return n, c.diags
}

// StartFunction returns a definition as a function for expressions that are evaluated at start.
func (s *Scope) StartFunction(name string) function.Function {
	d := s.defined[name]
	n, _ := s.compileDefinition(*d) // it compiled before
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "argument", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true},
		Type:     anyType,
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if why := d.takes(len(args)); why != "" {
				return cty.NilVal, errors.New(why)
			}
			e := &env{}
			for i, arg := range args {
				if !arg.IsWhollyKnown() {
					return cty.DynamicVal, nil
				}
				v, err := fromCty(arg)
				if err != nil {
					return cty.NilVal, function.NewArgError(i, err)
				}
				e.set(i, v)
			}
			v, failed := n.eval(e)
			if failed != nil {
				return cty.NilVal, failed
			}
			result, failed := toCty(v, n.at)
			if failed != nil {
				return cty.NilVal, failed
			}
			return result, nil
		},
	})
}

// takes says why a number of arguments does not fit, or nothing.
func (d *Definition) takes(count int) string {
	if count == len(d.Params) {
		return ""
	}
	return fmt.Sprintf("%s takes %d, %v, and was given %d", d.Name, len(d.Params), d.Params, count)
}

// inline compiles a call of a definition.
func (c *compiler) inline(d *Definition, e *hclsyntax.FunctionCallExpr) node {
	c.inlined++
	switch why := d.takes(len(e.Args)); {
	case c.inlined > maxInlined:
		c.report(e.Range(), "Too many calls", "The functions that are called here call others, %d times in all and more.", maxInlined)
		return c.failed(e.Range())
	case e.ExpandFinal:
		c.report(e.Range(), "Unsupported argument", "%s does not take its arguments from a list.", d.Name)
		return c.failed(e.Range())
	case why != "":
		c.report(e.Range(), "Wrong number of arguments", "%s.", why)
		return c.failed(e.Range())
	}
	first := len(c.locals)
	for range d.Params { // the variables of the arguments come after those of the parameters
		c.bind(local{})
	}
	args := make([]node, len(e.Args))
	for i, arg := range e.Args {
		args[i] = c.argument(param{kind: anyParam}, arg)
		c.locals[first+i].given = givenAs(&args[i], arg)
	}
	n := over(e.Range(), args...)
	if n.broken {
		c.unbind(first, &n)
		return n
	}
	body := c.within(d, first)
	n.need(body)
	n.eval = called(args, c.locals[first:], first, body.eval)
	c.unbind(first, &n)
	return n
}

// givenAs returns an argument that stands for itself wherever its parameter is read, or nil.
func givenAs(n *node, e hclsyntax.Expression) *node {
	if _, path := e.(*hclsyntax.ScopeTraversalExpr); path || n.constant != nil {
		return n
	}
	return nil
}

// within compiles the result of a definition, whose parameters are the local variables from first on.
func (c *compiler) within(d *Definition, first int) node {
	visible, inside := c.visible, c.inside
	defer func() { c.visible, c.inside = visible, inside }()
	c.visible, c.inside = first, d
	for i, name := range d.Params {
		c.locals[first+i].name = name
	}
	return c.compile(d.Result)
}

// called evaluates the arguments that do not stand for themselves, and then the result.
func called(args []node, params []local, first int, result eval) eval {
	var evaluated []int
	for i := range params {
		if params[i].given == nil {
			evaluated = append(evaluated, i)
		}
	}
	return func(e *env) (value, *Error) {
		for _, i := range evaluated {
			v, err := args[i].eval(e)
			if err != nil {
				return v, err
			}
			e.set(first+i, v)
		}
		return result(e)
	}
}

// insideDefinition reports a name that a definition does not see.
func (c *compiler) insideDefinition(name string, r hcl.Range) bool {
	if c.inside == nil || !slices.Contains([]string{"body", "msg", "error", "local"}, name) {
		return false
	}
	c.report(r, "Not known in a function", "A function sees its parameters and variables (var), neither the message nor local values. Give %s a parameter for %s, and pass it where it is called.", c.inside.Name, name)
	return true
}
