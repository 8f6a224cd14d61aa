package expr

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/engine"
)

// Assignments are compiled changes to a message. The zero value is not set and changes nothing. They
// may be used from many goroutines, each with a message of its own.
type Assignments struct{ p *assignments }

// Paths are compiled names of what is to be removed from a message. The zero value is not set and
// removes nothing. They may be used from many goroutines, each with a message of its own.
type Paths struct{ p *removals }

// IsSet reports whether there is an expression.
func (a Assignments) IsSet() bool { return a.p != nil }

// IsSet reports whether there is an expression.
func (p Paths) IsSet() bool { return p.p != nil }

// Apply does what the assignments say to m, as [Edit.Apply].
func (a Assignments) Apply(m *engine.Message) error {
	if a.p == nil {
		return nil
	}
	return a.p.edit.Apply(m)
}

// Apply removes from m what the paths name, as [Edit.Apply].
func (p Paths) Apply(m *engine.Message) error {
	if p.p == nil {
		return nil
	}
	return p.p.edit.Apply(m)
}

type assignments struct {
	scope *Scope
	items []assignment
	edit  *Edit
}

type removals struct {
	scope   *Scope
	targets []target
	edit    *Edit
}

// assignment is one target and what it is given.
type assignment struct {
	target target
	eval   eval
}

// target is a place in a message that can be written or removed. Exactly one of body, header and
// attribute says which.
type target struct {
	at        *place
	body      []step // not nil: in the body; empty: the whole body as JSON
	header    *string
	attribute *attribute
	rawBody   bool // msg.body, which is written as it is
}

// Assignments compiles an object whose keys are places in the message: body paths, msg.headers["…"],
// msg.routing_key, msg.body (the bytes) and the properties, as { body.total = 1 }.
func (s *Scope) Assignments(e hcl.Expression) (Assignments, hcl.Diagnostics) {
	pairs, diags := hcl.ExprMap(e)
	if diags.HasErrors() {
		return Assignments{}, hcl.Diagnostics{problem(e.Range(), "Not assignments",
			"What is set is written in braces, as { body.total = 1, msg.headers[\"x\"] = body.id }.")}
	}
	c := &compiler{scope: s}
	a := &assignments{scope: s}
	for _, pair := range pairs {
		t, ok := c.target(pair.Key)
		v := c.top(pair.Value)
		if ok {
			c.overlap(a.items, t)
			a.items = append(a.items, assignment{t, v.eval})
		}
	}
	s.assign(a.items)
	if c.diags.HasErrors() {
		return Assignments{}, c.diags
	}
	a.edit = newEdit(s, a.items, nil)
	return Assignments{a}, c.diags
}

// Paths compiles a list of what is to be removed, as [body.note, msg.headers["x"]].
func (s *Scope) Paths(e hcl.Expression) (Paths, hcl.Diagnostics) {
	list, diags := hcl.ExprList(e)
	if diags.HasErrors() {
		return Paths{}, hcl.Diagnostics{problem(e.Range(), "Not a list of places",
			"What is removed is written in brackets, as [body.note, msg.headers[\"x\"]].")}
	}
	c := &compiler{scope: s}
	r := &removals{scope: s}
	for _, item := range list {
		t, ok := c.target(item)
		if ok && t.body != nil && len(t.body) == 0 {
			c.report(t.at.rng, "The body cannot be removed", "A message always has a body. Assign msg.body = \"\" for an empty one.")
		} else if ok {
			r.targets = append(r.targets, t)
		}
	}
	if c.diags.HasErrors() {
		return Paths{}, c.diags
	}
	r.edit = newEdit(s, nil, r.targets)
	return Paths{r}, c.diags
}

// target compiles a place in the message.
func (c *compiler) target(e hcl.Expression) (target, bool) {
	if key, ok := e.(*hclsyntax.ObjectConsKeyExpr); ok {
		e = key.Wrapped
	}
	native, ok := written(e)
	if !ok {
		return c.noTarget(e.Range())
	}
	before := len(c.diags)
	c.writing = true
	n := c.compile(native)
	c.writing = false
	if len(c.diags) > before && c.diags[before:].HasErrors() {
		return target{}, false
	}
	t := target{at: n.at, body: n.body}
	switch {
	case n.body != nil:
		return t, true
	case strings.HasPrefix(n.at.path, "msg."):
		return c.messageTarget(t, native)
	}
	return c.noTarget(e.Range())
}

// written returns a place that is written as it is, neither in quotes nor in parentheses, where a
// value would be meant.
func written(e hcl.Expression) (hclsyntax.Expression, bool) {
	switch e := e.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		return e, true
	case *hclsyntax.IndexExpr:
		_, ok := written(e.Collection)
		return e, ok
	case *hclsyntax.RelativeTraversalExpr:
		_, ok := written(e.Source)
		return e, ok
	}
	return nil, false
}

func (c *compiler) noTarget(r hcl.Range) (target, bool) {
	c.report(r, "Not a place in the message",
		`This is where a value goes: body.field, msg.headers["name"], msg.routing_key or a property such as msg.priority.`)
	return target{}, false
}

// messageTarget finds what of the message a path names.
func (c *compiler) messageTarget(t target, e hclsyntax.Expression) (target, bool) {
	path, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() {
		return c.noTarget(e.Range())
	}
	name, _, _ := traverserStep(path[1])
	switch {
	case name.key == "headers" && len(path) == 3:
		key, _, _ := traverserStep(path[2])
		if len(key.key) > maxShortString {
			c.report(t.at.rng, "Name too long", "The name of a header has 255 bytes at most.")
			return target{}, false
		}
		t.header = &key.key
		return t, true
	case name.key == "headers" && len(path) == 2:
		c.report(t.at.rng, "Not a single header", `Name the header, as msg.headers["x-tier"].`)
		return target{}, false
	case len(path) > 2:
		c.report(t.at.rng, "Not a whole header", "What is inside a header or property cannot be changed on its own: assign all of it.")
		return target{}, false
	case name.key == "body":
		t.rawBody = true
		return t, true
	}
	a, _ := findAttribute(rootMsg, name.key)
	if a == nil || a.put == nil {
		c.report(t.at.rng, "Cannot be changed", "%s says where the message came from; a sink decides where it goes.", t.at.path)
		return target{}, false
	}
	t.attribute = a
	return t, true
}

// overlap reports a target that is, or is part of, one that came before.
func (c *compiler) overlap(before []assignment, t target) {
	for _, b := range before {
		if b.target.touches(t) {
			c.report(t.at.rng, "Assigned twice", "%s is already assigned by %s in line %d.",
				t.at.path, b.target.at.path, b.target.at.rng.Start.Line)
			return
		}
	}
}

func (t target) touches(o target) bool {
	switch {
	case t.isBody() && o.isBody():
		return t.rawBody || o.rawBody || samePrefix(t.body, o.body)
	case t.header != nil && o.header != nil:
		return *t.header == *o.header
	}
	return t.attribute != nil && t.attribute == o.attribute
}

func (t target) isBody() bool { return t.body != nil || t.rawBody }

func samePrefix(a, b []step) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
