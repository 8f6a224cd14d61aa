package expr

import (
	"slices"

	"github.com/pipeamqp/pipe/engine"
)

// Edit is what assignments and removals do together, with one pass over the body. It may be used from
// many goroutines, each with a message of its own.
type Edit struct {
	scope   *Scope
	set     []assignment
	unset   []target
	body    *editNode // nil: nothing inside the body changes
	removes bool      // something inside the body is removed
	raw     int       // the assignment of msg.body, or -1

	readsBefore int // what the scope had compiled that reads the body
}

// NewEdit combines what a stage sets and what it removes; either may be unset. What both name is
// removed. Where both come from the same scope, one scan of the body serves them.
func NewEdit(set Assignments, unset Paths) *Edit {
	var (
		scope   *Scope
		items   []assignment
		targets []target
	)
	if unset.p != nil {
		scope, targets = unset.p.scope, unset.p.targets
	}
	if set.p != nil {
		scope, items = set.p.scope, set.p.items
	}
	return newEdit(scope, items, targets)
}

func newEdit(scope *Scope, set []assignment, unset []target) *Edit {
	e := &Edit{scope: scope, set: set, unset: unset, raw: -1}
	if scope != nil {
		e.readsBefore = scope.reads
	}
	for i, a := range set {
		switch {
		case a.target.rawBody:
			e.raw = i
		case a.target.body != nil && !removed(a.target, unset):
			n := e.tree(a.target).at(a.target, &scope.paths)
			n.set = i
			e.body.markSets(a.target.body)
		}
	}
	for _, t := range unset {
		switch {
		case t.rawBody:
			e.body = nil
			return e
		case t.body != nil:
			e.tree(t).at(t, &scope.paths).remove, e.removes = true, true
		}
	}
	return e
}

// removed reports whether what is assigned is, or is part of, what is removed.
func removed(t target, unset []target) bool {
	return slices.ContainsFunc(unset, func(u target) bool {
		return u.body != nil && len(u.body) <= len(t.body) && samePrefix(u.body, t.body)
	})
}

// editNode is a step of the body paths that an edit changes.
type editNode struct {
	step
	path     *pathNode // the same step for the scanner
	depth    int       // how many steps lead here
	place    *place    // of the first target that is here or below
	set      int       // the assignment that this is given, or -1
	sets     bool      // something here or below is assigned
	remove   bool
	children []*editNode
}

// tree returns the root, which stands where the first target does.
func (e *Edit) tree(first target) *editNode {
	if e.body == nil {
		e.body = &editNode{path: &e.scope.paths.root, set: -1, place: &place{first.at.rng, "body"}}
	}
	return e.body
}

// at returns the node of a target.
func (n *editNode) at(t target, paths *pathSet) *editNode {
	text := "body"
	for _, s := range t.body {
		text += s.text()
		i := slices.IndexFunc(n.children, func(c *editNode) bool { return c.step == s })
		if i < 0 {
			i = len(n.children)
			n.children = append(n.children, &editNode{step: s, path: paths.child(n.path, s), depth: n.depth + 1, place: &place{t.at.rng, text}, set: -1})
		}
		n = n.children[i]
	}
	return n
}

func (n *editNode) markSets(path []step) {
	n.sets = true
	for _, s := range path {
		i := slices.IndexFunc(n.children, func(c *editNode) bool { return c.step == s })
		n = n.children[i]
		n.sets = true
	}
}

// Apply evaluates every right-hand side against m as it is, then writes every target, and then
// removes what is to go; what is absent already is left so. An object that a path leads through is
// made where it is absent or null. All other bytes of the body stay as they are: the order of keys,
// white space, the literals of numbers. A body that is JSON is only needed for paths into it. A key
// that comes twice in the body is changed in both places.
//
// null removes a property; in the body and in headers it is a value. On an error nothing of m is
// changed. Errors are permanent, of kind [engine.KindExpression], and wrap an [*Error].
func (x *Edit) Apply(m *engine.Message) error {
	e := enter(m)
	defer e.leave()
	if err := x.prepare(e); err != nil {
		return err.classify()
	}
	for i := range e.changes {
		e.changes[i].commit(m)
	}
	return nil
}

// change is what becomes of one part of a message: a property where put is set, else a header where one is named, else the body.
type change struct {
	put    func(*engine.Message)
	header *string
	value  any  // of the header
	gone   bool // the header is removed
	body   []byte
	view   *view // of that body, where somebody is going to want it
}

func (c *change) commit(m *engine.Message) {
	switch {
	case c.put != nil:
		c.put(m)
	case c.header == nil:
		m.Body = c.body
		if c.view != nil {
			m.SetDecoded(c.view)
		}
	case c.gone:
		m.Headers.Delete(*c.header)
	default:
		m.Headers.Set(*c.header, c.value)
	}
}

// prepare evaluates everything, and notes what changes the message.
func (x *Edit) prepare(e *env) *Error {
	base := len(e.args)
	for i := range x.set {
		v, err := x.set[i].eval(e)
		if err != nil {
			return err
		}
		e.args = append(e.args, v)
	}
	values := e.args[base:]
	for i := range x.set {
		if err := x.set[i].target.put(e, values[i]); err != nil {
			return err
		}
	}
	for i := range x.unset {
		x.unset[i].drop(e)
	}
	return x.prepareBody(e, values)
}

func (x *Edit) prepareBody(e *env, values []value) *Error {
	if x.body == nil {
		return nil
	}
	r := &rewriter{values: values, set: x.set}
	switch {
	case x.body.set >= 0:
	case x.raw >= 0:
		r.src = values[x.raw].str
		if err := checkJSON(r.src); err != nil {
			return x.set[x.raw].target.at.failed("the new body is not JSON", err)
		}
	default:
		v := e.view(&x.scope.paths)
		if v.err != nil {
			return v.explain(nil, x.first())
		}
		r.src = alias(v.body)
		if done, err := x.splice(e, r, v); done || err != nil {
			return err
		}
	}
	body, err := r.rewrite(x.body)
	if err == nil && body != nil {
		e.changes = append(e.changes, change{body: body})
	}
	return err
}

// first is the place of the first target in the body.
func (x *Edit) first() *place {
	for _, a := range x.set {
		if a.target.body != nil {
			return a.target.at
		}
	}
	for _, t := range x.unset {
		if t.body != nil {
			return t.at
		}
	}
	return &place{}
}

// put notes that a value is written where the target is, unless that is inside the body.
func (t *target) put(e *env, v value) (err *Error) {
	c := change{header: t.header}
	switch {
	case t.header != nil:
		c.value, err = toGo(v, t.at)
	case t.attribute != nil:
		c.put, err = t.attribute.put(v, t.at)
	case t.rawBody:
		var s value
		s, err = octets(v, t.at)
		c.body = []byte(s.str)
	default:
		return nil
	}
	e.changes = append(e.changes, c)
	return err
}

// drop notes that the target is removed, unless that is inside the body.
func (t *target) drop(e *env) {
	c := change{header: t.header, gone: true}
	switch {
	case t.attribute != nil:
		if c.put, _ = t.attribute.put(null, t.at); c.put == nil {
			return
		}
	case t.header == nil && !t.rawBody:
		return
	}
	e.changes = append(e.changes, c)
}
