package expr

import (
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Shape says what a JSON value may have in it. nil is the shape of a value of which nothing is known.
type Shape interface {
	// Field returns the shape of the value at a key of an object; an index of a list is a key that is a
	// whole number. Where there is no such value, found is false, and keys are those that there may be.
	Field(key string) (below Shape, found bool, keys []string)
}

// Expect says what bodies look like, from here on: a path that leads nowhere in them is an error when it
// is compiled. nil says that it is not known. What is assigned counts as being there.
func (s *Scope) Expect(body Shape) { s.shape, s.assigned = body, nil }

// checkShape reports a path whose last step leads nowhere in what bodies look like.
func (c *compiler) checkShape(path []step, own hcl.Range) {
	if c.scope.shape == nil || c.writing || len(path) == 0 || c.scope.isAssigned(path) {
		return
	}
	shape, last := c.scope.shape, len(path)-1
	for i, s := range path {
		below, found, keys := shape.Field(s.key)
		switch {
		case !found && i == last:
			c.report(own, "Not in the schema", "By the schema of the messages, there is nothing at %s.%s", pathText(path), suggest(s.key, keys))
			return
		case !found || below == nil:
			return // reported before, or not known
		}
		shape = below
	}
}

func pathText(path []step) string {
	var b strings.Builder
	b.WriteString("body")
	for _, s := range path {
		b.WriteString(s.text())
	}
	return b.String()
}

// isAssigned reports whether a stage has given the body a value there, above it or below it.
func (s *Scope) isAssigned(path []step) bool {
	return slices.ContainsFunc(s.assigned, func(a []step) bool { return samePrefix(a, path) })
}

// assign notes the places in the body that assignments give a value.
func (s *Scope) assign(items []assignment) {
	for _, a := range items {
		if a.target.isBody() {
			s.assigned = append(s.assigned, a.target.body) // none of msg.body: all of the body
		}
	}
}
