package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// place is where in a block something is written.
type place uint8

const (
	inAttribute place = iota
	inBlock
	inLabel
)

// field is one argument, nested block or label, as a struct describes it. The tags are:
//
//	hcl:"name"            an argument that must be given
//	hcl:"name,optional"   one that may be left out
//	hcl:"name,block"      a nested block: a struct must be there once, a pointer may be, a slice may be repeated
//	hcl:"name,label"      a label of the block
//	default:"500"         the value of an argument that is left out, as text
//	doc:"…"               what it is; on a field _ struct{}, what the whole is
//	enum:"a,b"            the values that a string may have
//	min:"1" max:"10"      bounds of a number or a duration
//	unit:"bytes"          a number of bytes, which may be written as "1MB"
type field struct {
	name     string
	place    place
	index    []int
	typ      reflect.Type
	optional bool
	fallback *string
	doc      string
	enum     []string
	min, max string
	bytes    bool
}

// fieldsOf returns the fields of a struct type in order, which the caller does not change, and the documentation of the whole. Tags that
// make no sense are a programmer's mistake and panic.
func fieldsOf(t reflect.Type) (fields []field, doc string) {
	known, ok := structs.Load(t)
	if !ok {
		fields, doc := readFields(t)
		known, _ = structs.LoadOrStore(t, described{fields, doc})
	}
	d := known.(described)
	return d.fields, d.doc
}

// structs are the types that have been read, which files with many pipelines have many of.
var structs sync.Map

type described struct {
	fields []field
	doc    string
}

func readFields(t reflect.Type) (fields []field, doc string) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case f.Name == "_":
			doc = f.Tag.Get("doc")
			continue
		case f.Anonymous:
			inner, _ := fieldsOf(f.Type)
			for _, in := range inner {
				in.index = append([]int{i}, in.index...)
				fields = append(fields, in)
			}
			continue
		}
		if tag, ok := f.Tag.Lookup("hcl"); ok {
			fields = append(fields, newField(t, f, tag))
		}
	}
	return fields, doc
}

func newField(t reflect.Type, f reflect.StructField, tag string) field {
	name, option, _ := strings.Cut(tag, ",")
	out := field{
		name: name, index: f.Index, typ: f.Type, doc: f.Tag.Get("doc"),
		min: f.Tag.Get("min"), max: f.Tag.Get("max"), bytes: f.Tag.Get("unit") == "bytes",
	}
	if text, ok := f.Tag.Lookup("default"); ok {
		out.fallback = &text
	}
	if enum := f.Tag.Get("enum"); enum != "" {
		out.enum = strings.Split(enum, ",")
	}
	switch option {
	case "":
	case "optional":
		out.optional = true
	case "block":
		out.place = inBlock
	case "label":
		out.place = inLabel
	default:
		panic(fmt.Sprintf("config: %s.%s: there is no tag option %q", t, f.Name, option))
	}
	return out
}

// blockType returns the struct of a nested block, and whether it must and whether it may be there more than
// once.
func (f *field) blockType() (t reflect.Type, required, many bool) {
	t, required = f.typ, true
	if t.Kind() == reflect.Slice {
		t, required, many = t.Elem(), false, true
	}
	if t.Kind() == reflect.Pointer {
		t, required = t.Elem(), false
	}
	return t, required, many
}

func named(fields []field, p place, name string) *field {
	i := slices.IndexFunc(fields, func(f field) bool { return f.place == p && f.name == name })
	if i < 0 {
		return nil
	}
	return &fields[i]
}

func namesOf(fields []field, p place) (names []string) {
	for _, f := range fields {
		if f.place == p {
			names = append(names, f.name)
		}
	}
	return names
}
