package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/pipeamqp/pipe/expr"
)

// perMessage are the names that have a value for each message, and none at start.
var perMessage = []string{"body", "msg", "error"}

// entityRoots are the names that are references, and have no value at all.
var entityRoots = map[string]string{
	"connection": "a connection", "exchange": "an exchange", "queue": "a queue",
	"sink": "a sink", "pipeline": "a pipeline",
}

// eval returns the value of an expression that is evaluated once, at start. It is known, but may be null.
func (l *loader) eval(e hclsyntax.Expression) (cty.Value, bool) {
	v, ok := l.evalMarked(e)
	if !ok {
		return v, false
	}
	v, marks := v.UnmarkDeep()
	if len(marks) > 0 {
		l.secrets.add(v)
	}
	return v, true
}

// evalMarked is eval for a value that keeps the marks of what it was computed from.
func (l *loader) evalMarked(e hclsyntax.Expression) (cty.Value, bool) {
	if !l.checkStart(e) {
		return cty.NilVal, false
	}
	v, diags := e.Value(l.context(e.Range().Filename, true))
	l.add(plain(diags))
	if diags.HasErrors() || !v.IsWhollyKnown() {
		l.giveUp()
		return cty.NilVal, false
	}
	return v, true
}

// plain leaves out of diagnostics what would make a writer print values.
func plain(diags hcl.Diagnostics) hcl.Diagnostics {
	for _, d := range diags {
		d.Expression, d.EvalContext = nil, nil
	}
	return diags
}

// checkStart checks the names in an expression that is evaluated at start.
func (l *loader) checkStart(e hclsyntax.Expression) bool {
	before := l.failures
	for _, t := range e.Variables() {
		root := t.RootName()
		switch {
		case root == "var" || root == "local":
			if l.broken[variableName(t)] {
				l.giveUp()
			}
		case slices.Contains(perMessage, root):
			l.error(t.SourceRange(), "Known only for each message",
				"%q is a part of the message. This is evaluated once, at start, before there is any.", root)
		case entityRoots[root] != "":
			l.error(t.SourceRange(), "Reference in a wrong place",
				"A reference to %s has no value of its own, so it can be neither computed with nor put where a plain value belongs.", entityRoots[root])
		case len(t) == 1:
			l.error(t.SourceRange(), "Unknown name",
				"There is no %q. Should this be text? Then write it in quotes: %q.", root, root)
		default:
			l.error(t.SourceRange(), "Unknown name", "There is no %q.%s", root, suggest(root, []string{"var", "local"}, bare))
		}
	}
	return l.failures == before
}

// variableName returns var.x of a traversal that begins so, or its root.
func variableName(t hcl.Traversal) string {
	if len(t) > 1 {
		switch step := t[1].(type) {
		case hcl.TraverseAttr:
			return t.RootName() + "." + step.Name
		case hcl.TraverseIndex:
			if step.Key.Type() == cty.String {
				return t.RootName() + "." + step.Key.AsString()
			}
		}
	}
	return t.RootName()
}

// context returns what expressions of a file can refer to at start. Only where marked is set do
// sensitive values carry their mark.
func (l *loader) context(filename string, marked bool) *hcl.EvalContext {
	vars, locals := cty.ObjectVal(l.vars), cty.ObjectVal(l.locals)
	if !marked {
		vars, _ = vars.UnmarkDeep()
		locals, _ = locals.UnmarkDeep()
	}
	return &hcl.EvalContext{
		Variables: map[string]cty.Value{"var": vars, "local": locals},
		Functions: l.functionsIn(filepath.Dir(filename)),
	}
}

// functionsIn returns the functions for files in a folder.
func (l *loader) functionsIn(dir string) map[string]function.Function {
	if fs, ok := l.functions[dir]; ok {
		return fs
	}
	fs := maps.Clone(expr.StartFunctions())
	if fs == nil {
		fs = map[string]function.Function{}
	}
	fs["env"] = l.envFunction()
	fs["file"] = fileFunction(dir)
	scope := l.withDefinitions(expr.NewScope(&hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(l.vars)}, Functions: maps.Clone(fs),
	}))
	for _, d := range l.defined {
		fs[d.Name] = scope.StartFunction(d.Name)
	}
	l.functions[dir] = fs
	return fs
}

// envFunction is env(name) and env(name, default).
func (l *loader) envFunction() function.Function {
	return function.New(&function.Spec{
		Params:   []function.Parameter{{Name: "name", Type: cty.String}},
		VarParam: &function.Parameter{Name: "default", Type: cty.String, AllowNull: true},
		Type:     function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) > 2 {
				return cty.NilVal, function.NewArgErrorf(2, "env takes a name, and what is used where it is not set")
			}
			name := args[0].AsString()
			if text, ok := l.Environ(name); ok {
				return cty.StringVal(text), nil
			}
			if len(args) == 2 {
				return args[1], nil
			}
			return cty.NilVal, fmt.Errorf("the environment variable %s is not set: set it, or give a default as in env(%q, \"…\")", name, name)
		},
	})
}

// fileFunction is file(path): the text of a file, by a path that is relative to a folder.
func fileFunction(dir string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			path := args[0].AsString()
			if !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return cty.NilVal, fmt.Errorf("read the file: %s", fileProblem(path, err))
			}
			return cty.StringVal(string(text)), nil
		},
	})
}
