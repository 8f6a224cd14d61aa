package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/expr"
)

// functionBlock is a function that expressions can call.
type functionBlock struct {
	_      struct{}             `doc:"A function for expressions, called as NAME(…). It sees its parameters and variables (var.NAME); the message, or parts of it, are passed to it. An argument that is a path, as body.customer, stays one: has and get see whether it leads anywhere."`
	Name   string               `hcl:"name,label"`
	Params hclsyntax.Expression `hcl:"params" doc:"The names of its parameters, as [amount, rate]."`
	Result hclsyntax.Expression `hcl:"result" doc:"What it gives, as round(amount * rate, 2)."`
}

// functionSetter defines functions, each after those that it calls.
type functionSetter struct {
	*loader
	all  map[string]*expr.Definition
	path []string // being defined
	done map[string]bool
}

// setFunctions defines the functions of the files.
func (l *loader) setFunctions() {
	s := &functionSetter{loader: l, all: map[string]*expr.Definition{}, done: map[string]bool{}}
	for _, b := range l.blocks.Functions {
		d := l.definition(b)
		if d == nil {
			continue
		}
		if other, ok := s.all[d.Name]; ok {
			l.duplicate(d.Range, fmt.Sprintf("function %q", d.Name), other.Range)
			continue
		}
		s.all[d.Name] = d
	}
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		s.define(name)
	}
	clear(l.functions) // those of HCL's evaluator are to have them, too
}

// definition reads a function block.
func (l *loader) definition(b *hclsyntax.Block) *expr.Definition {
	var f functionBlock
	(&decoder{loader: l}).decode(blockOf(b), &f)
	if len(b.Labels) != 1 || f.Params == nil || f.Result == nil {
		return nil
	}
	if !isIdentifier(f.Name) {
		l.error(b.LabelRanges[0], "Invalid name", "A function is called as name(…), so its name consists of letters, digits, - and _.")
		return nil
	}
	names, ok := l.parameters(f.Params)
	if !ok {
		return nil
	}
	return &expr.Definition{Name: f.Name, Params: names, Result: f.Result, Range: b.DefRange()}
}

// parameters reads a list of names.
func (l *loader) parameters(e hclsyntax.Expression) ([]string, bool) {
	list, diags := hcl.ExprList(e)
	if diags.HasErrors() {
		l.error(e.Range(), "Not a list of names", "The parameters of a function are written as [amount, rate].")
		return nil, false
	}
	var names []string
	for _, item := range list {
		name := hcl.ExprAsKeyword(item)
		switch {
		case name == "":
			l.error(item.Range(), "Not a name", "A parameter is a name, without quotes.")
			return nil, false
		case slices.Contains(names, name):
			l.error(item.Range(), "Duplicate name", "There already is a parameter %q.", name)
			return nil, false
		}
		names = append(names, name)
	}
	return names, true
}

func (s *functionSetter) define(name string) {
	d := s.all[name]
	if i := slices.Index(s.path, name); i >= 0 {
		s.error(d.Range, "Functions in a circle", "Each calls the next: %s.", strings.Join(append(slices.Clone(s.path[i:]), name), " → "))
		for _, name := range s.path[i:] {
			s.done[name] = true
		}
	}
	if s.done[name] {
		return
	}
	s.path = append(s.path, name)
	for _, called := range calls(d.Result) {
		if s.all[called] != nil {
			s.define(called)
		}
	}
	s.path = s.path[:len(s.path)-1]
	if s.done[name] {
		return
	}
	s.done[name] = true
	diags := s.scope(d.Range.Filename).Define(*d)
	s.add(diags)
	if !diags.HasErrors() {
		s.defined = append(s.defined, *d)
	}
}

// calls lists the functions that an expression calls.
func calls(e hclsyntax.Expression) []string {
	var names []string
	_ = hclsyntax.VisitAll(e, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			names = append(names, call.Name)
		}
		return nil
	})
	return names
}

// scope returns a scope for the expressions of a file.
func (l *loader) scope(filename string) *expr.Scope {
	return l.withDefinitions(expr.NewScope(l.context(filename, false)))
}

// withDefinitions gives a scope the functions that are defined so far.
func (l *loader) withDefinitions(s *expr.Scope) *expr.Scope {
	for _, d := range l.defined {
		s.Define(d) // it was right before
	}
	return s
}
