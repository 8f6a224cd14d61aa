package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/zclconf/go-cty/cty"

	"github.com/pipeamqp/pipe/expr"
)

// inlet are the arguments of every source, beside its own.
type inlet struct {
	Schema string `hcl:"schema,optional" doc:"A JSON Schema of the messages' bodies, as a file: a path is relative to this file's folder. Paths into the body that lead nowhere by it are mistakes then. Messages are not checked against it."`
}

// bodyKeeper is a stage whose messages leave with the body that they came with, but for what its
// assignments say. After any other stage a source's schema says nothing any more.
type bodyKeeper interface{ KeepsBody() }

// expectSchema reads the schema of a source before the stages are compiled.
func (d *decoder) expectSchema(blocks []*hclsyntax.Block) {
	for _, b := range blocks {
		a := b.Body.Attributes["schema"]
		if b.Type != "source" || a == nil {
			continue
		}
		v, ok := d.eval(a.Expr)
		if !ok {
			return
		}
		text, err := as(v, cty.String, "text, in quotes")
		if err != nil {
			return // told when the source is made
		}
		path := text.AsString()
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(b.DefRange().Filename), path)
		}
		schema, err := readSchema(path)
		if err != nil {
			d.error(a.Expr.Range(), "Schema that cannot be used", "%s", sentence(err.Error()))
			return
		}
		d.scope.Expect(shape{schema})
	}
}

// readSchema reads a JSON Schema; it may refer to other files, but to nothing on a network.
func readSchema(path string) (*jsonschema.Schema, error) {
	text, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the schema: %s", fileProblem(path, err))
	}
	defer text.Close()
	doc, err := jsonschema.UnmarshalJSON(text)
	if err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(path, doc); err != nil {
		return nil, err
	}
	return c.Compile(path)
}

// shape is what is known of a value: the schemas that it may have to meet.
type shape []*jsonschema.Schema

var _ expr.Shape = shape(nil)

// Field finds what schemas say of a key or an index.
func (s shape) Field(key string) (expr.Shape, bool, []string) {
	all := s.spread()
	var below shape
	keys, open := map[string]bool{}, true
	for _, schema := range all {
		found, closed := fieldOf(schema, key)
		below = append(below, found...)
		for name := range schema.Properties {
			keys[name] = true
		}
		open = open && !closed
	}
	switch {
	case len(below) > 0:
		return below, true, nil
	case len(keys) == 0 && open:
		return nil, true, nil
	}
	return nil, false, slices.Sorted(maps.Keys(keys))
}

// fieldOf returns what one schema says of a key or an index, and whether it allows no other keys.
func fieldOf(schema *jsonschema.Schema, key string) (below shape, closed bool) {
	if p := schema.Properties[key]; p != nil {
		below = append(below, p)
	}
	for pattern, p := range schema.PatternProperties {
		if pattern.MatchString(key) {
			below = append(below, p)
		}
	}
	switch more := schema.AdditionalProperties.(type) {
	case *jsonschema.Schema:
		below = append(below, more)
	case bool:
		closed = !more
	}
	if i, err := strconv.Atoi(key); err == nil {
		below = append(below, itemOf(schema, i)...)
	}
	return below, closed
}

// itemOf returns what one schema says of an element of a list.
func itemOf(schema *jsonschema.Schema, i int) shape {
	if i < len(schema.PrefixItems) {
		return shape{schema.PrefixItems[i]}
	}
	if schema.Items2020 != nil {
		return shape{schema.Items2020}
	}
	switch items := schema.Items.(type) {
	case *jsonschema.Schema:
		return shape{items}
	case []*jsonschema.Schema:
		if i < len(items) {
			return shape{items[i]}
		}
	}
	return nil
}

// spread returns the schemas with all that they refer to, or consist of.
func (s shape) spread() shape {
	var all shape
	var visit func(schemas ...*jsonschema.Schema)
	visit = func(schemas ...*jsonschema.Schema) {
		for _, schema := range schemas {
			if schema == nil || slices.Contains(all, schema) {
				continue
			}
			all = append(all, schema)
			visit(schema.Ref, schema.If, schema.Then, schema.Else)
			visit(schema.AllOf...)
			visit(schema.AnyOf...)
			visit(schema.OneOf...)
			for _, dependent := range schema.DependentSchemas {
				visit(dependent)
			}
		}
	}
	visit(s...)
	return all
}
