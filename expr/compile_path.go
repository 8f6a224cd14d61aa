package expr

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// traversal compiles a reference that begins with a name.
func (c *compiler) traversal(t hcl.Traversal, r hcl.Range) node {
	name, first := t.RootName(), t[0].SourceRange()
	for i := len(c.locals) - 1; i >= c.visible; i-- {
		if c.locals[i].name == name {
			return c.steps(c.variable(i, first, name), t[1:], r)
		}
	}
	if c.insideDefinition(name, r) {
		return c.failed(r)
	}
	switch name {
	case "body":
		return c.steps(c.bodyPath([]step{}, first, "body"), t[1:], r)
	case "msg":
		return c.steps(rootNode(rootMsg, first, "msg"), t[1:], r)
	case "error":
		return c.steps(rootNode(rootError, first, "error"), t[1:], r)
	}
	return c.startTime(t, r)
}

// variable reads a local variable, or what stands for it.
func (c *compiler) variable(i int, r hcl.Range, name string) node {
	given := c.locals[i].given
	if given == nil {
		return c.local(i, r, name)
	}
	n := *given
	n.at = &place{rng: r, path: given.at.path}
	return n
}

// rootNode stands for what only its attributes are values of.
func rootNode(kind root, r hcl.Range, name string) node {
	n := node{locals: noLocal, dynamic: true, root: kind, at: &place{rng: r, path: name}}
	at := n.at
	n.eval = func(*env) (value, *Error) { return value{}, at.fail("not a value", missing) } // refused before
	if kind == rootError {
		n.opt = func(e *env) (value, *Error) {
			if e.message.Failure() == nil {
				return missing, nil
			}
			return boolValue(true), nil
		}
	}
	return n
}

// startTime evaluates a reference to what is known at start.
func (c *compiler) startTime(t hcl.Traversal, r hcl.Range) node {
	name := t.RootName()
	if !c.scope.knows(name) {
		hint := suggest(name, c.names())
		if hint == "" {
			hint = " The message is body, for what is in it, and msg, for its headers and properties."
		}
		c.report(t[0].SourceRange(), "Unknown name", "There is nothing named %q here.%s", name, hint)
		return c.failed(r)
	}
	v, diags := t.TraverseAbs(c.scope.start)
	at := &place{rng: r, path: traversalText(t)}
	if !diags.HasErrors() {
		n := asPath(c.known(v, at))
		n.settable = true
		return n
	}
	if c.probing {
		return asPath(constant(missing, at))
	}
	c.diags = append(c.diags, c.suggestAttribute(t, diags)...)
	return c.failed(r)
}

// asPath lets has and get look at a constant.
func asPath(n node) node {
	n.opt = n.eval
	return n
}

// suggestAttribute replaces what HCL says of an attribute that an object does not have.
func (c *compiler) suggestAttribute(t hcl.Traversal, diags hcl.Diagnostics) hcl.Diagnostics {
	for i := 1; i < len(t); i++ {
		attr, ok := t[i].(hcl.TraverseAttr)
		if !ok {
			return diags
		}
		parent, failed := t[:i].TraverseAbs(c.scope.start)
		if parent, _ = parent.Unmark(); failed.HasErrors() || parent.IsNull() || !parent.Type().IsObjectType() {
			return diags
		}
		if !parent.Type().HasAttribute(attr.Name) {
			names := sortedKeys(parent.Type().AttributeTypes())
			return hcl.Diagnostics{problem(attr.SrcRange, "Unknown name",
				fmt.Sprintf("%s has nothing named %q.%s", traversalText(t[:i]), attr.Name, suggest(attr.Name, names)))}
		}
	}
	return diags
}

// traversalText is how a reference is written.
func traversalText(t hcl.Traversal) string {
	text := t.RootName()
	for _, part := range t[1:] {
		_, s, _ := traverserStep(part)
		text += s
	}
	return text
}

// names lists everything that an expression can begin with.
func (c *compiler) names() []string {
	names := []string{"body", "msg", "error"}
	for _, l := range c.locals[c.visible:] {
		if l.name != "" {
			names = append(names, l.name)
		}
	}
	for ctx := c.scope.start; ctx != nil; ctx = ctx.Parent() {
		names = append(names, sortedKeys(ctx.Variables)...)
	}
	return names
}

func (s *Scope) knows(name string) bool {
	for ctx := s.start; ctx != nil; ctx = ctx.Parent() {
		if _, ok := ctx.Variables[name]; ok {
			return true
		}
	}
	return false
}

// steps compiles the attributes and constant indexes that follow a value.
func (c *compiler) steps(n node, t hcl.Traversal, r hcl.Range) node {
	for _, part := range t {
		s, text, ok := traverserStep(part)
		if !ok {
			c.report(part.SourceRange(), "Invalid index", "An index is a string or a whole number.")
			return c.failed(r)
		}
		n = c.step(n, s, text, part.SourceRange(), hcl.RangeBetween(n.at.rng, part.SourceRange()))
	}
	return n
}

// traverserStep returns the step of a part of a traversal, and how it is written.
func traverserStep(t hcl.Traverser) (s step, text string, ok bool) {
	switch t := t.(type) {
	case hcl.TraverseAttr:
		return step{t.Name, -1}, "." + t.Name, true
	case hcl.TraverseIndex:
		return keyStep(t.Key)
	}
	return step{}, "", false
}

// keyStep returns the step of a constant index.
func keyStep(key cty.Value) (s step, text string, ok bool) {
	v, err := fromCty(key)
	if err != nil {
		return step{}, "", false
	}
	return valueStep(v)
}

func valueStep(v value) (s step, text string, ok bool) {
	switch {
	case v.kind == kindString:
		text = "[" + strconv.Quote(v.str) + "]"
		return step{v.str, indexOf(v.str)}, text, true
	case v.isNumber():
		key := string(appendNumber(nil, v))
		return step{key, indexOf(key)}, "[" + key + "]", true
	}
	return step{}, "", false
}

// indexOf returns the list index that a key stands for, or -1.
func indexOf(key string) int {
	i, ok := parseInt(key)
	if !ok || i < 0 || i > 1<<31 || strconv.FormatInt(i, 10) != key {
		return -1
	}
	return int(i)
}

// step compiles one step from a node. own is the range of the step itself, r of everything up to it.
func (c *compiler) step(n node, s step, text string, own, r hcl.Range) node {
	path := ""
	if n.at.path != "" {
		path = n.at.path + text
	}
	switch {
	case n.broken:
		return n
	case n.body != nil:
		if text[0] == '.' {
			c.warnSubtraction(s.key, path, own)
		}
		longer := append(n.body[:len(n.body):len(n.body)], s)
		c.checkShape(longer, own)
		return c.bodyPath(longer, r, path)
	case n.root == rootHeaders:
		return headerNode(s.key, r, path)
	case n.root != rootNone:
		return c.attribute(n.root, s.key, own, r)
	}
	if n.fields != nil {
		return c.elementField(n, s, r, path)
	}
	return relative(n, s, r, path, func(e *env, v value) (value, *Error) { return e.step(v, s, n.at) })
}

// bodyPath compiles a path into the body.
func (c *compiler) bodyPath(path []step, r hcl.Range, text string) node {
	at := &place{rng: r, path: text}
	n := node{locals: noLocal, dynamic: true, body: path, at: at}
	paths := &c.scope.paths
	slot := paths.add(path).slot
	if !c.writing {
		c.scope.reads++
	}
	n.eval = func(e *env) (value, *Error) {
		v := e.view(paths)
		if v.err == nil {
			if found := v.value(slot); found.kind != kindMissing {
				return found, nil
			}
		}
		return value{}, v.explain(path, at)
	}
	n.number = func(e *env) (num, bool) {
		v := e.view(paths)
		if v.err != nil || v.spans[slot].kind != kindInt {
			return num{}, false
		}
		s := &v.spans[slot]
		return shortNumber(alias(v.body[s.start:s.end]))
	}
	n.opt = func(e *env) (value, *Error) {
		switch v := e.view(paths); {
		case v.err == nil:
			return v.value(slot), nil
		case len(path) == 0:
			return missing, nil
		default:
			return value{}, v.explain(path, at)
		}
	}
	return n
}

// explain says why a path leads nowhere.
func (v *view) explain(path []step, at *place) *Error {
	if v.err != nil {
		return &Error{Range: at.rng, Path: "body", what: "the body is not JSON", cause: v.err}
	}
	n, text := &v.paths.root, "body"
	for _, s := range path {
		parent := v.spans[n.slot].kind
		n = v.paths.child(n, s)
		if v.spans[n.slot].kind == kindMissing {
			return absent(value{kind: parent}, s, &place{at.rng, text}, at.rng)
		}
		text += s.text()
	}
	return at.fail("there is no such field", missing)
}

// text is how a step is written.
func (s step) text() string {
	switch {
	case s.isNumber():
		return "[" + s.key + "]"
	case hclsyntax.ValidIdentifier(s.key):
		return "." + s.key
	}
	return "[" + strconv.Quote(s.key) + "]"
}

func (s step) isNumber() bool {
	_, ok := parseNumber(s.key)
	return ok
}

// absent says why a step from a value leads nowhere. at is the place of that value, own the range of
// the path with the step.
func absent(from value, s step, at *place, own hcl.Range) *Error {
	below := &place{rng: own}
	if at.path != "" {
		below.path = at.path + s.text()
	}
	switch {
	case from.kind == kindObject:
		return below.fail("there is no such field", from)
	case from.kind == kindList && s.isNumber():
		return below.fail("the list has no such element", from)
	case s.isNumber():
		return at.fail("not a list or an object but %t", from)
	}
	return at.fail("not an object but %t", from)
}

// relative compiles a step from any value, which walk takes.
func relative(n node, s step, r hcl.Range, path string, walk func(*env, value) (value, *Error)) node {
	result := over(r, n)
	result.at.path = path
	inner, at, own := n.eval, n.at, result.at.rng
	result.eval = func(e *env) (value, *Error) {
		v, err := inner(e)
		if err != nil {
			return v, err
		}
		found, err := walk(e, v)
		if err == nil && found.kind == kindMissing {
			err = absent(v, s, at, own)
		}
		return found, err
	}
	result.opt = then(n.reach(), walk)
	return result
}

// reach evaluates what is asked for its presence: a path, or any value that a path begins with.
func (n *node) reach() eval {
	if n.opt != nil {
		return n.opt
	}
	return n.eval
}

func then(from eval, walk func(*env, value) (value, *Error)) eval {
	return func(e *env) (value, *Error) {
		v, err := from(e)
		if err != nil {
			return v, err
		}
		return walk(e, v)
	}
}

// step returns what a step from v leads to, or missing.
func (v value) step(s step) value {
	switch v.kind {
	case kindObject:
		return v.field(s.key)
	case kindList:
		return v.element(int64(s.index))
	}
	return missing
}

// warnSubtraction warns of body.total-1, which is the name of a field.
func (c *compiler) warnSubtraction(key, path string, r hcl.Range) {
	i := strings.LastIndexByte(key, '-')
	if i <= 0 || !c.isOperand(key[i+1:]) {
		return
	}
	right := key[i+1:]
	c.diags = append(c.diags, &hcl.Diagnostic{
		Severity: hcl.DiagWarning,
		Summary:  "A name that looks like a subtraction",
		Detail: "This reads the field \"" + key + "\": a name may contain a minus sign. To subtract, put spaces around it: " +
			strings.TrimSuffix(path, "-"+right) + " - " + right + ". For the field, write [\"" + key + "\"].",
		Subject: &r,
	})
}

// isOperand reports whether the end of a name would mean something on its own.
func (c *compiler) isOperand(s string) bool {
	switch s {
	case "body", "msg", "error", "var", "local":
		return true
	}
	_, number := parseInt(s)
	return number || slices.ContainsFunc(c.locals[c.visible:], func(l local) bool { return l.name == s && s != "" })
}
