package config

import (
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/pool"
)

// Doc is the reference of a component, or of a block inside one.
type Doc struct {
	Role     engine.Role // "" for a block inside a component
	Kind     string      // the component's kind, or the block's type
	Text     string      // what it is
	Required bool        // a block that must be there
	Many     bool        // a block that may be repeated
	Labels   []string
	// Arguments and Blocks are its own.
	Arguments []Argument
	Blocks    []Doc
	// CommonArguments and CommonBlocks are those of every component of its role.
	CommonArguments []Argument
	CommonBlocks    []Doc
}

// Argument is one argument of a block.
type Argument struct {
	Name       string
	Type       string // for people, as "string" or "list of sink.NAME or pipeline.NAME"
	Required   bool
	Default    string // as it is written; "" for none
	Enum       []string
	Min, Max   string
	PerMessage bool // evaluated for every message, not once at start
	Text       string
}

// Describe makes the reference of a component from the struct that its constructor takes, the same that its
// blocks are decoded into. A field is described by its tags:
//
//	hcl:"name"            an argument that must be given
//	hcl:"name,optional"   one that may be left out
//	hcl:"name,block"      a nested block: a struct must be there once, a pointer may be, a slice may be repeated
//	hcl:"name,label"      a label of a nested block
//	default:"500"         the value of an argument that is left out, as text
//	doc:"…"               what it is; on a field _ struct{}, what the whole is
//	enum:"a,b"            the values that a string may have
//	min:"1" max:"10"      bounds of a number or a duration
//	unit:"bytes"          a number of bytes, which may be written as "1MB"
//
// Arguments of the types of package expr are evaluated for every message; all others once, at start. They are
// strings, booleans, numbers, durations, slices and maps of those, maps of any (where whole numbers are
// int64), pointers to them, and references: [engine.Target], *[pool.Pool], *[pool.Exchange] and *[pool.Queue].
// A field of type [engine.Env] named Env, without a tag, is told where the component stands. An error of
// the constructor whose text begins with the name of an argument is shown at that argument.
func Describe(c *engine.Component) Doc {
	d := describeBlock(c.Config)
	d.Role, d.Kind = c.Role, c.Kind
	var shared Doc
	switch c.Role {
	case engine.RoleSource:
		shared = describeBlock(reflect.TypeFor[inlet]())
	case engine.RoleStage:
		shared = describeBlock(reflect.TypeFor[common]())
	case engine.RoleSink:
		shared = describeBlock(reflect.TypeFor[sinkCommon]())
	case engine.RoleAggregator:
		shared = describeBlock(reflect.TypeFor[aggregatorCommon]())
	}
	d.CommonArguments, d.CommonBlocks = shared.Arguments, shared.Blocks
	return d
}

// sinkCommon is what every sink takes.
type sinkCommon struct {
	common
	outlet
}

// aggregatorCommon is what every stage that works on groups takes.
type aggregatorCommon struct {
	common
	grouped
}

func describeBlock(t reflect.Type) Doc {
	fields, text := fieldsOf(t)
	d := Doc{Text: text}
	for _, f := range fields {
		switch f.place {
		case inLabel:
			d.Labels = append(d.Labels, f.name)
		case inBlock:
			typ, required, many := f.blockType()
			if typ == reflect.TypeFor[hclsyntax.Block]() {
				continue // what is in it depends on its labels
			}
			b := describeBlock(typ)
			b.Kind, b.Required, b.Many = f.name, required, many
			if f.doc != "" {
				b.Text = f.doc
			}
			d.Blocks = append(d.Blocks, b)
		default:
			d.Arguments = append(d.Arguments, describeArgument(f))
		}
	}
	return d
}

func describeArgument(f field) Argument {
	typ, perMessage := typeName(f.typ, f.bytes)
	a := Argument{
		Name: f.name, Type: typ, Required: !f.optional, Enum: f.enum, Min: f.min, Max: f.max,
		PerMessage: perMessage, Text: f.doc,
	}
	if f.fallback != nil {
		a.Default = written(*f.fallback, f.typ)
	}
	return a
}

// written returns a default as it would be written in a file.
func written(text string, t reflect.Type) string {
	if t.Kind() == reflect.String || t == reflect.TypeFor[time.Duration]() {
		return quoted(text)
	}
	return text
}

// typeName names a type for people, and tells whether it is evaluated for every message.
func typeName(t reflect.Type, bytes bool) (name string, perMessage bool) {
	switch t {
	case reflect.TypeFor[expr.Bool]():
		return "condition", true
	case reflect.TypeFor[expr.String]():
		return "string", true
	case reflect.TypeFor[expr.Value]():
		return "any value", true
	case reflect.TypeFor[expr.Map]():
		return "object of any values", true
	case reflect.TypeFor[expr.Assignments]():
		return "object whose keys are parts of the message", true
	case reflect.TypeFor[expr.Paths]():
		return "list of parts of the message", true
	case reflect.TypeFor[engine.Target]():
		return "sink.NAME or pipeline.NAME", false
	case reflect.TypeFor[sinkRef]():
		return "sink.NAME", false
	case reflect.TypeFor[engine.OnError](), reflect.TypeFor[engine.OnUnroutable]():
		return "string or sink.NAME", false
	case reflect.TypeFor[*pool.Pool]():
		return "connection.NAME", false
	case reflect.TypeFor[pool.Exchange](), reflect.TypeFor[*pool.Exchange]():
		return "exchange.NAME or string", false
	case reflect.TypeFor[*connection]():
		return "connection.NAME", false
	case reflect.TypeFor[endpoint]():
		return "queue.NAME, exchange.NAME or string", false
	case reflect.TypeFor[hclsyntax.Expression]():
		return "any value", false
	case reflect.TypeFor[pool.Queue](), reflect.TypeFor[*pool.Queue]():
		return "queue.NAME or string", false
	case reflect.TypeFor[time.Duration]():
		return "duration", false
	}
	return plainTypeName(t, bytes), false
}

func plainTypeName(t reflect.Type, bytes bool) string {
	inner := func() string {
		name, _ := typeName(t.Elem(), bytes)
		return name
	}
	switch k := t.Kind(); {
	case bytes && k == reflect.Int || bytes && k == reflect.Int64:
		return "size"
	case k == reflect.Pointer:
		return inner()
	case k == reflect.Slice:
		return "list of " + inner()
	case k == reflect.Map:
		return "object of " + inner()
	case k == reflect.Interface:
		return "any value"
	case k == reflect.String:
		return "string"
	case k == reflect.Bool:
		return "bool"
	case strings.HasPrefix(k.String(), "int"), strings.HasPrefix(k.String(), "uint"):
		return "whole number"
	}
	return "number"
}
