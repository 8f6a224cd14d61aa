package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/pool"
)

// decoder fills structs from blocks, as their tags say. One decoder serves one connection's declarations
// or one component.
type decoder struct {
	*loader
	pipeline   *pipeline   // nil outside of pipelines
	scope      *expr.Scope // nil outside of pipelines
	connection *connection // the one that the component uses, once it is known
	env        engine.Env
}

// block is a block of a file, or all of a file.
type block struct {
	body        *hclsyntax.Body
	header      hcl.Range
	what        string // as it is called in a sentence: source "amqp"
	labels      []string
	labelRanges []hcl.Range
	top         bool // no block at all, but a file
}

func blockOf(b *hclsyntax.Block) block {
	what := b.Type
	for _, label := range b.Labels {
		what += fmt.Sprintf(" %q", label)
	}
	return block{body: b.Body, header: b.DefRange(), what: what, labels: b.Labels, labelRanges: b.LabelRanges}
}

// target is one field of one of the structs that a block fills.
type target struct {
	field
	value reflect.Value
}

// decode fills structs, which targets point to, from a block: an argument goes where a tag names it. It
// reports whether nothing was wrong.
func (d *decoder) decode(b block, targets ...any) bool {
	before := d.failures
	var all []target
	var fields []field
	for _, t := range targets {
		v := reflect.ValueOf(t).Elem()
		if env := v.FieldByName("Env"); env.IsValid() && env.Type() == reflect.TypeFor[engine.Env]() {
			env.Set(reflect.ValueOf(d.env))
		}
		of, _ := fieldsOf(v.Type())
		for _, f := range of {
			if f.place != inLabel && named(fields, f.place, f.name) != nil {
				panic(fmt.Sprintf("config: %s has %q, which is an argument of every such block", v.Type(), f.name))
			}
			fields = append(fields, f)
			all = append(all, target{f, v.FieldByIndex(f.index)})
		}
	}
	d.labels(b, all)
	d.unknown(b, fields)
	d.attributes(b, all)
	d.blocks(b, all)
	return d.failures == before
}

func (d *decoder) labels(b block, all []target) {
	var labels []target
	for _, t := range all {
		if t.place == inLabel {
			labels = append(labels, t)
		}
	}
	if b.top || !d.labelCount(b, labels) {
		return
	}
	for i, t := range labels {
		if b.labels[i] == "" {
			d.error(b.labelRanges[i], "Empty name", "This name must not be empty.")
		}
		t.value.SetString(b.labels[i])
	}
}

func (d *decoder) labelCount(b block, labels []target) bool {
	if len(b.labels) == len(labels) {
		return true
	}
	want := make([]string, len(labels))
	for i, t := range labels {
		want[i] = fmt.Sprintf("%q", strings.ToUpper(t.name))
	}
	kind, _, _ := strings.Cut(b.what, " ")
	header := strings.Join(append([]string{kind}, want...), " ") + " { … }"
	at := b.header
	if len(b.labels) > len(labels) {
		at = b.labelRanges[len(labels)]
	}
	d.error(at, "Wrong number of names", "A %s block is written as %s.", kind, header)
	return false
}

// unknown reports arguments and blocks that are not among the fields.
func (d *decoder) unknown(b block, fields []field) {
	attributes, blocks := namesOf(fields, inAttribute), namesOf(fields, inBlock)
	for name, a := range b.body.Attributes {
		switch {
		case slices.Contains(attributes, name):
		case slices.Contains(blocks, name):
			d.error(a.NameRange, "Block written as an argument", "%q is a block here, not an argument. Write it without an equals sign: %s { … }.", name, name)
		default:
			d.error(a.NameRange, "Unknown argument", "There is no argument %q in %s.%s", name, b.what, suggestPart(name, attributes, blocks))
		}
	}
	for _, inner := range b.body.Blocks {
		switch {
		case slices.Contains(blocks, inner.Type):
		case slices.Contains(attributes, inner.Type):
			d.error(inner.TypeRange, "Argument written as a block", "%q is an argument here, not a block. Write it with an equals sign: %s = { … }.", inner.Type, inner.Type)
		default:
			d.error(inner.TypeRange, "Unknown block", "There is no block %q in %s.%s", inner.Type, b.what, suggestPart(inner.Type, blocks, attributes))
		}
	}
}

// suggestPart suggests one of names, or else one of the others if it is near.
func suggestPart(given string, names, others []string) string {
	if nearest(given, names) == "" && nearest(given, others) != "" {
		names = others
	}
	return suggest(given, names, quoted)
}

// attributes fills the fields that are arguments: connections first, because references depend on them,
// and then in the order of the file.
func (d *decoder) attributes(b block, all []target) {
	var order []target
	for _, t := range all {
		if t.place == inAttribute {
			order = append(order, t)
		}
	}
	slices.SortStableFunc(order, func(x, y target) int {
		return cmp.Or(cmp.Compare(rank(b, x), rank(b, y)), cmp.Compare(offset(b, x), offset(b, y)))
	})
	for _, t := range order {
		if a := b.body.Attributes[t.name]; a != nil {
			d.attribute(t, a.Expr)
			continue
		}
		d.leftOut(b, t)
	}
}

func rank(b block, t target) int {
	switch {
	case t.typ == reflect.TypeFor[*pool.Pool]() || t.typ == reflect.TypeFor[*connection]():
		return 0
	case b.body.Attributes[t.name] != nil:
		return 1
	}
	return 2
}

func offset(b block, t target) int {
	if a := b.body.Attributes[t.name]; a != nil {
		return a.SrcRange.Start.Byte
	}
	return 0
}

// leftOut gives an argument that is not written its default.
func (d *decoder) leftOut(b block, t target) {
	switch {
	case t.typ == reflect.TypeFor[*pool.Pool]():
		d.defaultPool(b, t)
	case t.fallback != nil:
		if err := d.set(t, cty.StringVal(*t.fallback)); err != nil {
			panic(fmt.Sprintf("config: the default of %q: %v", t.name, err))
		}
	case !t.optional:
		d.error(b.header, "Missing argument", "%s needs the argument %q%s.", capital(b.what), t.name, about(t.doc))
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// about puts the first sentence of a doc text behind a name.
func about(doc string) string {
	first, _, _ := strings.Cut(doc, ". ")
	first = strings.TrimSuffix(first, ".")
	if first == "" {
		return ""
	}
	return ": " + strings.ToLower(first[:1]) + first[1:]
}

// blocks fills the fields that are nested blocks.
func (d *decoder) blocks(b block, all []target) {
	for _, t := range all {
		if t.place != inBlock {
			continue
		}
		var found []*hclsyntax.Block
		for _, inner := range b.body.Blocks {
			if inner.Type == t.name {
				found = append(found, inner)
			}
		}
		if t.typ == reflect.TypeFor[[]*hclsyntax.Block]() {
			t.value.Set(reflect.AppendSlice(t.value, reflect.ValueOf(found)))
			continue
		}
		d.nested(b, t, found)
	}
}

func (d *decoder) nested(b block, t target, found []*hclsyntax.Block) {
	typ, required, many := t.blockType()
	if required && len(found) == 0 {
		d.error(b.header, "Missing block", "%s needs a block %s { … }%s.", capital(b.what), t.name, about(t.doc))
	}
	for i, inner := range found {
		if i > 0 && !many {
			d.error(inner.DefRange(), "Block written twice", "There can be only one block %q in %s. The first is at %s.", t.name, b.what, position(found[0].DefRange()))
			return
		}
		v := reflect.New(typ)
		d.decode(blockOf(inner), v.Interface())
		putBlock(t.value, v)
	}
}

// attribute fills a field from an expression.
func (d *decoder) attribute(t target, e hclsyntax.Expression) {
	if set := special(t.typ); set != nil {
		set(d, t, e)
		return
	}
	if elem, ok := elementOf(t.typ); ok {
		d.elements(t, elem, e)
		return
	}
	v, ok := d.eval(e)
	if !ok || v.IsNull() && t.optional {
		return
	}
	if err := d.set(t, v); err != nil {
		d.error(e.Range(), "Invalid value", "%q does not take this value: %s", t.name, ended(err.Error()))
	}
}

// elementOf returns the element of a slice whose elements are no plain values.
func elementOf(t reflect.Type) (reflect.Type, bool) {
	if t.Kind() != reflect.Slice {
		return nil, false
	}
	return t.Elem(), special(t.Elem()) != nil
}

// elements fills a slice from a list, or from the only element.
func (d *decoder) elements(t target, elem reflect.Type, e hclsyntax.Expression) {
	parts, diags := hcl.ExprList(e)
	if diags.HasErrors() {
		parts = []hcl.Expression{e}
	}
	for _, part := range parts {
		one := target{t.field, reflect.New(elem).Elem()}
		before := d.failures
		special(elem)(d, one, part.(hclsyntax.Expression))
		if d.failures == before {
			t.value.Set(reflect.Append(t.value, one.value))
		}
	}
}

// compiled compiles what is evaluated for each message.
func compiled[T any](compile func(*expr.Scope, hcl.Expression) (T, hcl.Diagnostics)) setter {
	return func(d *decoder, t target, e hclsyntax.Expression) {
		if d.scope == nil {
			panic(fmt.Sprintf("config: %q is evaluated for each message, outside of pipelines", t.name))
		}
		for _, v := range e.Variables() {
			if d.broken[variableName(v)] {
				d.giveUp()
				return
			}
		}
		value, diags := compile(d.scope, e)
		d.add(plain(diags))
		t.value.Set(reflect.ValueOf(value))
	}
}

// setter fills a field from an expression.
type setter = func(*decoder, target, hclsyntax.Expression)

// special returns the way to fill a field whose type says more than a plain value's, or nil.
func special(t reflect.Type) setter {
	switch t {
	case reflect.TypeFor[expr.Bool]():
		return compiled((*expr.Scope).Bool)
	case reflect.TypeFor[expr.String]():
		return compiled((*expr.Scope).String)
	case reflect.TypeFor[expr.Value]():
		return compiled((*expr.Scope).Value)
	case reflect.TypeFor[expr.Map]():
		return compiled((*expr.Scope).Map)
	case reflect.TypeFor[expr.Assignments]():
		return compiled((*expr.Scope).Assignments)
	case reflect.TypeFor[expr.Paths]():
		return compiled((*expr.Scope).Paths)
	case reflect.TypeFor[hclsyntax.Expression]():
		return func(_ *decoder, t target, e hclsyntax.Expression) { t.value.Set(reflect.ValueOf(e)) }
	case reflect.TypeFor[engine.Target]():
		return (*decoder).target
	case reflect.TypeFor[sinkRef]():
		return (*decoder).sinkRef
	case reflect.TypeFor[engine.OnUnroutable]():
		return (*decoder).onUnroutable
	case reflect.TypeFor[engine.OnError]():
		return (*decoder).onError
	case reflect.TypeFor[*connection]():
		return (*decoder).connectionRef
	case reflect.TypeFor[*pool.Pool]():
		return (*decoder).poolRef
	case reflect.TypeFor[pool.Exchange](), reflect.TypeFor[*pool.Exchange]():
		return (*decoder).exchangeRef
	case reflect.TypeFor[pool.Queue](), reflect.TypeFor[*pool.Queue]():
		return (*decoder).queueRef
	case reflect.TypeFor[endpoint]():
		return (*decoder).endpointRef
	}
	return nil
}

// putBlock puts what v points to into a field that is a value, a pointer or a slice of either.
func putBlock(field, v reflect.Value) {
	switch {
	case field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Pointer:
		field.Set(reflect.Append(field, v))
	case field.Kind() == reflect.Slice:
		field.Set(reflect.Append(field, v.Elem()))
	case field.Kind() == reflect.Pointer:
		field.Set(v)
	default:
		field.Set(v.Elem())
	}
}
