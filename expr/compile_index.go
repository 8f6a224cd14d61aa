package expr

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// index compiles an index that may be known only for each message.
func (c *compiler) index(e *hclsyntax.IndexExpr) node {
	n, key := c.compile(e.Collection), c.indexKey(e.Key)
	if n.broken || key.broken {
		return c.failed(e.SrcRange)
	}
	if key.constant != nil {
		s, text, ok := valueStep(*key.constant)
		if !ok {
			c.report(e.BracketRange, "Invalid index", "An index is a string or a whole number, not %s.", key.constant.kind)
			return c.failed(e.SrcRange)
		}
		return c.step(n, s, text, e.BracketRange, e.SrcRange)
	}
	if n.root == rootError {
		c.report(e.BracketRange, "Invalid index", "An attribute of error is named in the file, as error.message.")
		return c.failed(e.SrcRange)
	}
	if len(c.locals) > 0 {
		n = again(n)
	}
	return dynamicIndex(n, key, e.SrcRange)
}

// again makes a node of what is looked into in every turn of a loop: it is opened once.
func again(n node) node {
	from, at := n.reach(), n.at
	open := func(inner eval) eval {
		return func(e *env) (value, *Error) {
			v, err := inner(e)
			if err == nil && v.isRaw() {
				v.ref, err = e.open(v, at)
			}
			return v, err
		}
	}
	n.eval, n.opt = open(n.eval), open(from)
	return n
}

// indexKey compiles an index, which must be there whatever the path around it is asked.
func (c *compiler) indexKey(e hclsyntax.Expression) node {
	defer c.probe(false)()
	return c.compile(e)
}

func dynamicIndex(n, key node, r hcl.Range) node {
	result := over(r, n, key)
	if n.at.path != "" {
		result.at.path = n.at.path + "[…]"
	}
	at, keyAt := n.at, key.at
	lookup := func(e *env, collection eval) (value, value, step, *Error) {
		v, err := collection(e)
		if err != nil {
			return v, v, step{}, err
		}
		k, err := key.eval(e)
		if err != nil {
			return v, v, step{}, err
		}
		s, _, ok := valueStep(k)
		if !ok {
			return v, v, s, keyAt.fail("an index is a string or a whole number, not %t", k)
		}
		found, err := e.step(v, s, at)
		return v, found, s, err
	}
	result.eval = func(e *env) (value, *Error) {
		from, found, s, err := lookup(e, n.eval)
		if err == nil && found.kind == kindMissing {
			err = absent(from, s, at, r)
		}
		return found, err
	}
	from := n.reach()
	result.opt = func(e *env) (value, *Error) {
		_, found, _, err := lookup(e, from)
		return found, err
	}
	return result
}
