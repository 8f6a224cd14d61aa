package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// variableBlock is a value that is chosen when pipe is started.
type variableBlock struct {
	_           struct{}             `doc:"A value that is chosen when pipe is started: by --var NAME=VALUE, by --var-file FILE, or by the environment variable PIPE_VAR_NAME. It is referred to as var.NAME."`
	Name        string               `hcl:"name,label"`
	Type        hclsyntax.Expression `hcl:"type,optional" doc:"What it may be, as string, number, bool, list(string), map(number) or object({ … }). Default: anything."`
	Default     hclsyntax.Expression `hcl:"default,optional" doc:"The value if none is given. Without it, one must be given."`
	Description string               `hcl:"description,optional" doc:"What it is for."`
	Sensitive   bool                 `hcl:"sensitive,optional" doc:"Never show the value in messages."`
	Validation  []*validationBlock   `hcl:"validation,block" doc:"A condition that the value must meet."`
}

type validationBlock struct {
	Condition    hclsyntax.Expression `hcl:"condition" doc:"The condition, as var.limit > 0."`
	ErrorMessage hclsyntax.Expression `hcl:"error_message" doc:"What is said otherwise."`
}

// variable is a variable on its way to a value.
type variable struct {
	variableBlock
	at       hcl.Range
	typ      cty.Type
	defaults *typeexpr.Defaults
}

const variablePrefix = "PIPE_VAR_"

// setVariables gives every variable its value.
func (l *loader) setVariables() {
	all := map[string]*variable{}
	for _, b := range l.blocks.Variables {
		if v := l.variable(b); v != nil && l.first(all, v.Name, v, b) {
			l.hideDefault(v)
		}
	}
	given := l.givenValues(all)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		v := all[name]
		if value, ok := l.valueOf(v, given[name]); ok {
			l.setVariable(v, value)
			continue
		}
		l.vars[name] = cty.DynamicVal
		l.broken["var."+name] = true
	}
	for _, v := range all {
		l.validate(v)
	}
}

// first notes a variable, unless there is one of that name.
func (l *loader) first(all map[string]*variable, name string, v *variable, b *hclsyntax.Block) bool {
	if other, ok := all[name]; ok {
		l.duplicate(b.DefRange(), fmt.Sprintf("variable %q", name), other.at)
		return false
	}
	all[name] = v
	return true
}

func (l *loader) duplicate(at hcl.Range, what string, first hcl.Range) {
	l.error(at, "Duplicate name", "There already is %s, at %s.", what, position(first))
}

func position(r hcl.Range) string {
	return fmt.Sprintf("%s:%d,%d", r.Filename, r.Start.Line, r.Start.Column)
}

func (l *loader) variable(b *hclsyntax.Block) *variable {
	v := &variable{at: b.DefRange(), typ: cty.DynamicPseudoType}
	(&decoder{loader: l}).decode(blockOf(b), &v.variableBlock)
	if len(b.Labels) != 1 {
		return nil
	}
	if !isIdentifier(v.Name) {
		l.error(b.LabelRanges[0], "Invalid name", "A variable is referred to as var.name, so its name consists of letters, digits, - and _.")
		return nil
	}
	if v.Type != nil {
		typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(v.Type)
		l.add(explainType(diags))
		v.typ, v.defaults = typ, defaults
	}
	return v
}

func explainType(diags hcl.Diagnostics) hcl.Diagnostics {
	for _, d := range diags {
		d.Detail += " The types are string, number, bool, any, list(…), set(…), map(…), object({ name = … }) and tuple([…])."
	}
	return diags
}

func (l *loader) hideDefault(v *variable) {
	if v.Sensitive && v.Default != nil {
		l.secrets.ranges = append(l.secrets.ranges, v.Default.Range())
	}
}

func (l *loader) setVariable(v *variable, value cty.Value) {
	if v.Sensitive {
		l.secrets.add(value)
		value = value.Mark(sensitive)
	}
	l.vars[v.Name] = value
}

// valueOf returns what a variable is given, or its default.
func (l *loader) valueOf(v *variable, g *given) (cty.Value, bool) {
	switch {
	case g != nil:
		return l.givenValue(v, g)
	case v.Default != nil:
		return l.defaultOf(v)
	}
	l.error(v.at, "No value for a variable",
		"Variable %q has no default, so it must be given a value: with --var %s=…, in a --var-file, or as environment variable %s%s.",
		v.Name, v.Name, variablePrefix, v.Name)
	return cty.NilVal, false
}

func (l *loader) defaultOf(v *variable) (cty.Value, bool) {
	for _, t := range v.Default.Variables() {
		if root := t.RootName(); root == "var" || root == "local" {
			l.error(t.SourceRange(), "Default that refers to other values", "A default can refer neither to variables nor to local values. Compute what depends on others in locals.")
			return cty.NilVal, false
		}
	}
	value, ok := l.eval(v.Default)
	if !ok {
		return cty.NilVal, false
	}
	value, err := v.convert(value)
	if err != nil {
		l.error(v.Default.Range(), "Default of a wrong type", "The default of variable %q is not what its type asks for: %s", v.Name, sentence(err.Error()))
	}
	return value, err == nil
}

func (v *variable) convert(value cty.Value) (cty.Value, error) {
	if v.defaults != nil && !value.IsNull() {
		value = v.defaults.Apply(value)
	}
	return convert.Convert(value, v.typ)
}

// validate checks a variable's value against its conditions.
func (l *loader) validate(v *variable) {
	if l.broken["var."+v.Name] {
		return
	}
	for _, check := range v.Validation {
		if check.Condition == nil || check.ErrorMessage == nil {
			continue
		}
		holds, ok := l.eval(check.Condition)
		if !ok {
			continue
		}
		holds, err := convert.Convert(holds, cty.Bool)
		if err != nil || holds.IsNull() {
			l.error(check.Condition.Range(), "Condition that is not true or false", "The condition of a validation must be true or false.")
			continue
		}
		if holds.True() {
			continue
		}
		text := "The value is not allowed."
		if m, ok := l.eval(check.ErrorMessage); ok && !m.IsNull() && m.Type() == cty.String {
			text = m.AsString()
		}
		l.error(v.at, "Invalid value for a variable", "Variable %q: %s", v.Name, sentence(text))
	}
}

// setLocals computes the local values, each after those that it refers to.
func (l *loader) setLocals() {
	all := map[string]*hclsyntax.Attribute{}
	for _, b := range l.blocks.Locals {
		l.checkLocals(b)
		for name, a := range b.Body.Attributes {
			if other, ok := all[name]; ok {
				l.duplicate(a.NameRange, fmt.Sprintf("local value %q", name), other.NameRange)
				continue
			}
			all[name] = a
		}
	}
	s := &localSetter{loader: l, all: all}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s.set(name)
	}
}

func (l *loader) checkLocals(b *hclsyntax.Block) {
	for _, inner := range b.Body.Blocks {
		l.error(inner.DefRange(), "Block in locals", "Local values are arguments: write %s = …, with an equals sign.", inner.Type)
	}
}

type localSetter struct {
	*loader
	all  map[string]*hclsyntax.Attribute
	path []string // being computed
}

func (s *localSetter) set(name string) {
	if _, done := s.locals[name]; done {
		return
	}
	a := s.all[name]
	if i := slices.Index(s.path, name); i >= 0 {
		circle := append(slices.Clone(s.path[i:]), name)
		s.error(a.NameRange, "Local values in a circle", "Each needs the next: %s.", "local."+strings.Join(circle, " → local."))
		s.fail(name)
		return
	}
	s.path = append(s.path, name)
	for _, t := range a.Expr.Variables() {
		root, needed, _ := strings.Cut(variableName(t), ".")
		if root == "local" && s.all[needed] != nil {
			s.set(needed)
		}
	}
	s.path = s.path[:len(s.path)-1]
	s.compute(name, a)
}

func (s *localSetter) compute(name string, a *hclsyntax.Attribute) {
	if _, failed := s.locals[name]; failed {
		return
	}
	value, ok := s.evalMarked(a.Expr)
	if !ok {
		s.fail(name)
		return
	}
	s.locals[name] = value
}

func (s *localSetter) fail(name string) {
	s.locals[name] = cty.DynamicVal
	s.broken["local."+name] = true
}
