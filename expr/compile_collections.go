package expr

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func (c *compiler) tuple(e *hclsyntax.TupleConsExpr) node {
	items := make([]node, len(e.Exprs))
	for i, item := range e.Exprs {
		items[i] = c.compile(item)
	}
	n := over(e.SrcRange, items...)
	at := n.at
	n.eval = func(e *env) (value, *Error) {
		if err := e.spend(elementCost*len(items), at); err != nil {
			return value{}, err
		}
		list := make([]value, len(items))
		for i := range items {
			v, err := items[i].eval(e)
			if err != nil {
				return v, err
			}
			list[i] = v
		}
		return listValue(list), nil
	}
	n.json = tupleJSON(items, at)
	return n
}

func (c *compiler) object(e *hclsyntax.ObjectConsExpr) node {
	keys, items := make([]node, len(e.Items)), make([]node, len(e.Items))
	for i, item := range e.Items {
		keys[i], items[i] = c.compile(item.KeyExpr), c.compile(item.ValueExpr)
	}
	n := over(e.SrcRange, slices.Concat(keys, items)...)
	at := n.at
	n.eval = func(e *env) (value, *Error) {
		if err := e.spend(elementCost*len(items), at); err != nil {
			return value{}, err
		}
		b := newObject(len(items))
		for i := range items {
			key, err := objectKey(e, keys[i])
			if err != nil {
				return value{}, err
			}
			v, err := items[i].eval(e)
			if err != nil {
				return v, err
			}
			b.set(key, v)
		}
		return b.value(), nil
	}
	n.json = objectJSON(keys, items, at)
	return n
}

func objectKey(e *env, n node) (string, *Error) {
	v, err := n.eval(e)
	if err != nil {
		return "", err
	}
	s, err := toString(v, n.at)
	return s.str, err
}

// key compiles the key of an object: a name stands for itself, unless it is in parentheses.
func (c *compiler) key(e *hclsyntax.ObjectConsKeyExpr) node {
	if e.ForceNonLiteral {
		return c.compile(e.Wrapped)
	}
	if name := hcl.ExprAsKeyword(e.Wrapped); name != "" {
		return constant(stringValue(name), &place{rng: e.Range()})
	}
	if t, ok := e.Wrapped.(*hclsyntax.ScopeTraversalExpr); ok && len(t.Traversal) > 1 {
		c.report(e.Range(), "Ambiguous attribute key",
			"Put a reference that is meant to be evaluated in parentheses, and a name that has dots in it in quotes.")
		return c.failed(e.Range())
	}
	return c.compile(e.Wrapped)
}

// splat compiles list[*].name: what follows is done to every element. A value that is no list counts
// as a list of that one value, and null as an empty list.
func (c *compiler) splat(e *hclsyntax.SplatExpr) node {
	source := c.compile(e.Source)
	path := source.at.path
	if path != "" {
		path += "[*]"
	}
	item := c.bind(local{item: e.Item, path: path})
	each := c.lazily(e.Each)
	n := over(e.SrcRange, source, each)
	c.unbind(item, &n)
	at := n.at
	n.eval = func(e *env) (value, *Error) {
		v, err := source.eval(e)
		if err != nil {
			return v, err
		}
		items, err := splatItems(e, v, at)
		if err != nil {
			return v, err
		}
		if err := e.spend(elementCost*len(items), at); err != nil {
			return v, err
		}
		list := make([]value, len(items))
		for i := range items {
			e.set(item, items[i])
			if list[i], err = each.eval(e); err != nil {
				return v, err
			}
		}
		return listValue(list), nil
	}
	return n
}

func splatItems(e *env, v value, at *place) ([]value, *Error) {
	switch v.kind {
	case kindList:
		c, err := e.open(v, at)
		if err != nil {
			return nil, err
		}
		return c.items, nil
	case kindNull:
		return nil, nil
	}
	return []value{v}, nil
}

// loop is a for expression: its variables, and what it does with each element.
type loop struct {
	key, item             int // variables; key is -1 if there is none
	collection            eval
	condition             test // nil if there is none
	keyEval, valueEval    eval // keyEval is nil where a list is made
	valueJSON             func(*env) *Error
	group                 bool
	outermost             bool
	fields                *fieldSet // of the item
	at, from, cond, keyAt *place
}

func (c *compiler) loop(e *hclsyntax.ForExpr) node {
	collection := c.compile(e.CollExpr)
	l := &loop{key: -1, collection: collection.eval, group: e.Group, from: collection.at}
	first := len(c.locals)
	l.outermost, l.fields = first == 0, &fieldSet{element: c.newField()}
	if e.KeyVar != "" {
		l.key = c.bind(local{name: e.KeyVar})
	}
	l.item = c.bind(local{name: e.ValVar, fields: l.fields})
	l.fields.local = l.item
	n := over(e.SrcRange, collection)
	l.at = n.at
	c.lazy++
	c.loopBody(e, l, &n)
	c.lazy--
	c.unbind(first, &n)
	n.eval = l.run
	if l.keyEval == nil {
		n.json = l.listJSON
	}
	return n
}

func (c *compiler) loopBody(e *hclsyntax.ForExpr, l *loop, n *node) {
	if e.CondExpr != nil {
		cond, holds := c.decision(e.CondExpr)
		n.need(cond)
		l.condition, l.cond = holds, cond.at
	}
	if e.KeyExpr != nil {
		key := c.compile(e.KeyExpr)
		n.need(key)
		l.keyEval, l.keyAt = key.eval, key.at
	}
	v := c.compile(e.ValExpr)
	n.need(v)
	l.valueEval, l.valueJSON = v.eval, toJSON(v)
}

// source is what the loop goes through.
func (l *loop) source(e *env) (value, *Error) {
	from, err := l.collection(e)
	if err == nil && from.kind != kindList && from.kind != kindObject {
		err = l.from.fail("not a list or an object but %t", from)
	}
	return from, err
}

func (l *loop) run(e *env) (value, *Error) {
	from, err := l.source(e)
	if err != nil {
		return from, err
	}
	if l.keyEval == nil {
		return l.list(e, from)
	}
	return l.object(e, from)
}

// each calls f for every element that the condition lets through: a list's in order, an object's in
// the order of its keys.
func (l *loop) each(e *env, from value, f func() *Error) *Error {
	if l.outermost && from.kind == kindList && from.isRaw() && len(l.fields.keys) > 0 {
		return l.stream(e, from.str, f)
	}
	c, err := e.open(from, l.from)
	if err != nil {
		return err
	}
	if c.keys == nil {
		for i, item := range c.items {
			if err := l.turn(e, intValue(int64(i)), item, f); err != nil {
				return err
			}
		}
		return nil
	}
	for _, i := range iterationOrder(c) {
		if err := l.turn(e, stringValue(c.keys[i]), c.items[i], f); err != nil {
			return err
		}
	}
	return nil
}

// turn gives the variables their values, and calls f if the condition lets them through.
func (l *loop) turn(e *env, key, item value, f func() *Error) *Error {
	if err := e.spend(elementCost, l.at); err != nil {
		return err
	}
	e.set(l.item, item)
	if l.key >= 0 {
		e.set(l.key, key)
	}
	if l.condition != nil {
		if keep, err := l.condition(e); err != nil || !keep {
			return err
		}
	}
	return f()
}

// iterationOrder lists the positions of a list in order, of an object by its keys' bytes.
func iterationOrder(c *composite) []int {
	order := make([]int, len(c.items))
	for i := range order {
		order[i] = i
	}
	if c.keys != nil {
		slices.SortFunc(order, func(i, j int) int { return strings.Compare(c.keys[i], c.keys[j]) })
	}
	return order
}

func (l *loop) list(e *env, from value) (value, *Error) {
	list := []value{}
	err := l.each(e, from, func() *Error {
		v, err := l.valueEval(e)
		list = append(list, v)
		return err
	})
	return listValue(list), err
}

func (l *loop) object(e *env, from value) (value, *Error) {
	b := newObject(0)
	groups := map[string][]value{}
	err := l.each(e, from, func() *Error {
		key, err := objectKey(e, node{eval: l.keyEval, at: l.keyAt})
		if err != nil {
			return err
		}
		v, err := l.valueEval(e)
		if err != nil {
			return err
		}
		if _, twice := b.c.find(key); twice && !l.group {
			return l.keyAt.fail("two elements have the same key: write ... after the value to group them", v)
		}
		groups[key] = append(groups[key], v)
		b.set(key, v)
		return nil
	})
	if l.group {
		for i, key := range b.c.keys {
			b.c.items[i] = listValue(groups[key])
		}
	}
	return b.value(), err
}
