package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// checkReferences reports every var.x and local.x that does not exist, wherever it is written, and notes
// those that are used.
func (l *loader) checkReferences() {
	have := map[string][]string{"var": nil, "local": nil}
	for _, b := range l.blocks.Variables {
		if len(b.Labels) == 1 {
			have["var"] = append(have["var"], b.Labels[0])
		}
	}
	for _, b := range l.blocks.Locals {
		have["local"] = slices.AppendSeq(have["local"], maps.Keys(b.Body.Attributes))
	}
	for _, body := range l.bodies {
		eachExpression(body, func(e hclsyntax.Expression) {
			for _, t := range e.Variables() {
				l.checkReference(t, have)
			}
		})
	}
}

func (l *loader) checkReference(t hcl.Traversal, have map[string][]string) {
	names, ok := have[t.RootName()]
	ref := variableName(t)
	root, name, named := strings.Cut(ref, ".")
	switch {
	case !ok || !named:
		return
	case slices.Contains(names, name):
		l.used[ref] = true
		return
	}
	l.broken[ref] = true
	kind := map[string]string{"var": "variable", "local": "local value"}[root]
	l.error(t.SourceRange(), "Unknown "+kind, "There is no %s %q.%s", kind, name, suggest(name, names, reference(root)))
}

func eachExpression(body *hclsyntax.Body, f func(hclsyntax.Expression)) {
	for _, a := range body.Attributes {
		f(a.Expr)
	}
	for _, b := range body.Blocks {
		eachExpression(b.Body, f)
	}
}

// checkUnused warns of variables and local values that nothing refers to.
func (l *loader) checkUnused() {
	for _, b := range l.blocks.Variables {
		if len(b.Labels) == 1 && !l.used["var."+b.Labels[0]] {
			l.warn(b.DefRange(), "Unused variable", "Nothing refers to %s.", reference("var")(b.Labels[0]))
		}
	}
	for _, b := range l.blocks.Locals {
		for name, a := range b.Body.Attributes {
			if !l.used["local."+name] {
				l.warn(a.NameRange, "Unused local value", "Nothing refers to local.%s.", name)
			}
		}
	}
}

// isIdentifier reports whether a name can stand behind a dot.
func isIdentifier(name string) bool { return hclsyntax.ValidIdentifier(name) }
