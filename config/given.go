package config

import (
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// given is a value for a variable from outside of the files: a text, or an expression in a file of values.
type given struct {
	from string // as "--var fx_eur"
	text string
	expr hclsyntax.Expression
}

// givenValues collects the values from outside; the later places win.
func (l *loader) givenValues(all map[string]*variable) map[string]*given {
	values := map[string]*given{}
	for name := range all {
		if text, ok := l.Environ(variablePrefix + name); ok {
			values[name] = &given{from: "environment variable " + variablePrefix + name, text: text}
		}
	}
	for _, path := range l.VarFiles {
		l.readValues(path, all, values)
	}
	for _, name := range slices.Sorted(maps.Keys(l.Vars)) {
		if all[name] == nil {
			l.report(hcl.DiagError, nil, "Unknown variable", "--var %s: the files have no variable %q.%s",
				name, name, suggest(name, slices.Collect(maps.Keys(all)), quoted))
			continue
		}
		values[name] = &given{from: "--var " + name, text: l.Vars[name]}
	}
	return values
}

// readValues reads a file of values, as name = value.
func (l *loader) readValues(path string, all map[string]*variable, values map[string]*given) {
	text, ok := l.readFile(path)
	if !ok {
		return
	}
	if _, ok := l.files[path]; !ok {
		l.order[path] = len(l.order)
	}
	body := l.parse(source{path, text})
	for _, b := range body.Blocks {
		l.error(b.DefRange(), "Block in a file of values", "A file of values holds nothing but the values of variables, as name = value.")
	}
	for name, a := range body.Attributes {
		v := all[name]
		if v == nil {
			l.warn(a.NameRange, "Unknown variable", "The pipeline files have no variable %q.%s", name, suggest(name, slices.Collect(maps.Keys(all)), quoted))
			continue
		}
		if v.Sensitive {
			l.secrets.ranges = append(l.secrets.ranges, a.Expr.Range())
		}
		values[name] = &given{from: path, expr: a.Expr}
	}
}

// givenValue makes a value of a variable's type of what was given.
func (l *loader) givenValue(v *variable, g *given) (cty.Value, bool) {
	if v.Sensitive {
		l.secrets.addText(g.text)
	}
	value, at, ok := l.parseGiven(v, g)
	if !ok {
		return cty.NilVal, false
	}
	value, err := v.convert(value)
	if err != nil {
		l.report(hcl.DiagError, &at, "Value of a wrong type", "%s: the value for variable %q is not what its type asks for: %s",
			g.from, v.Name, sentence(err.Error()))
	}
	return value, err == nil
}

// parseGiven returns what was given. A text is itself where a string, number or bool is wanted, and an
// expression otherwise.
func (l *loader) parseGiven(v *variable, g *given) (value cty.Value, at hcl.Range, ok bool) {
	if g.expr != nil {
		value, ok = l.evalLiteral(g.expr)
		return value, g.expr.Range(), ok
	}
	if v.typ.IsPrimitiveType() || v.typ == cty.DynamicPseudoType {
		return cty.StringVal(g.text), v.at, true
	}
	src := source{g.from, []byte(g.text)}
	if _, deep := tooDeep(src); deep {
		l.error(v.at, "Value that cannot be read", "%s: it is nested too deeply.", g.from)
		return cty.NilVal, v.at, false
	}
	e, diags := hclsyntax.ParseExpression(src.text, src.name, hcl.InitialPos)
	if !diags.HasErrors() {
		value, diags = e.Value(nil)
	}
	if diags.HasErrors() {
		l.error(v.at, "Value that cannot be read", "%s: the value for variable %q is written as in a file, as '[\"a\", \"b\"]': %s",
			g.from, v.Name, diags[0].Detail)
	}
	return value, v.at, !diags.HasErrors()
}

// evalLiteral evaluates an expression of a file of values, which can refer to nothing.
func (l *loader) evalLiteral(e hclsyntax.Expression) (cty.Value, bool) {
	if vars := e.Variables(); len(vars) > 0 {
		l.error(vars[0].SourceRange(), "Reference in a file of values", "A file of values can refer to nothing. Text is written in quotes.")
		return cty.NilVal, false
	}
	value, diags := e.Value(&hcl.EvalContext{})
	l.add(plain(diags))
	return value, !diags.HasErrors()
}
