package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// ref is a reference as it is written: queue["orders.in"] has the root queue and the name orders.in.
type ref struct {
	root, name string
	at         hcl.Range
}

// references are the names that start a reference.
var references = []string{"connection", "exchange", "queue", "sink", "pipeline"}

// asRef reads an expression as a reference. It returns false for one that has a value instead.
func (d *decoder) asRef(e hclsyntax.Expression, want ...string) (r ref, is, ok bool) {
	t, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() || slices.Contains([]string{"var", "local"}, t.RootName()) {
		return ref{}, false, true
	}
	r = ref{root: t.RootName(), at: e.Range()}
	_, r.name, _ = strings.Cut(variableName(t), ".")
	shape := list(want, func(root string) string { return root + ".NAME" }, "or")
	switch {
	case slices.Contains(perMessage, r.root):
		d.checkStart(e)
	case !slices.Contains(references, r.root):
		d.error(r.at, "Unknown reference", "There is no %q. Expected is %s.%s", r.root, shape, maybe(r.root, want))
	case !slices.Contains(want, r.root):
		d.error(r.at, "Wrong kind of reference", "%s is needed here, not %s.", shape, article(entityRoots[r.root]))
	case r.name == "":
		d.error(r.at, "Incomplete reference", "Say which one, as %s.NAME.", r.root)
	case len(t) > 2:
		d.error(r.at, "Reference that goes on too long", `Expected is %s. A name with dots is written in brackets, as %s["%s"].`, shape, r.root, dotted(t[1:]))
	default:
		return r, true, true
	}
	return r, true, false
}

func maybe(given string, names []string) string {
	if near := nearest(given, names); near != "" {
		return " Did you mean " + near + "?"
	}
	return ""
}

func article(what string) string {
	if what == "" {
		return "that"
	}
	return what
}

// dotted returns the names of a traversal's steps, joined by dots.
func dotted(steps hcl.Traversal) string {
	var names []string
	for _, step := range steps {
		switch s := step.(type) {
		case hcl.TraverseAttr:
			names = append(names, s.Name)
		case hcl.TraverseIndex:
			if s.Key.Type() == cty.String {
				names = append(names, s.Key.AsString())
			}
		}
	}
	return strings.Join(names, ".")
}

// target reads sink.x or pipeline.x.
func (d *decoder) target(t target, e hclsyntax.Expression) {
	if to, ok := d.targetOf(e, "sink", "pipeline"); ok {
		t.value.Set(reflect.ValueOf(to))
	}
}

func (d *decoder) targetOf(e hclsyntax.Expression, want ...string) (engine.Target, bool) {
	r, is, ok := d.asRef(e, want...)
	if !is {
		d.error(e.Range(), "Reference needed", "%s is needed here, without quotes.",
			list(want, func(root string) string { return root + ".NAME" }, "or"))
		return engine.Target{}, false
	}
	if !ok {
		return engine.Target{}, false
	}
	if r.root == "pipeline" {
		return engine.Target{Branch: true, Name: r.name}, d.branch(r)
	}
	return engine.Target{Name: r.name}, d.sink(r)
}

// sink notes that a block names a sink of its pipeline.
func (d *decoder) sink(r ref) bool {
	if _, ok := d.pipeline.sinks[r.name]; ok {
		d.pipeline.named[r.name] = true
		return true
	}
	for _, other := range d.pipelines {
		if _, ok := other.sinks[r.name]; ok && other != d.pipeline {
			d.error(r.at, "Sink of another pipeline",
				"sink.%s belongs to pipeline %q. A pipeline sends to its own sinks, and to pipelines without a source.", r.name, other.name)
			return false
		}
	}
	d.error(r.at, "Unknown sink", "There is no sink %q in pipeline %q.%s", r.name, d.pipeline.name,
		suggest(r.name, keys(d.pipeline.sinks), reference("sink")))
	return false
}

// branch notes that a block sends to a pipeline without a source.
func (d *decoder) branch(r ref) bool {
	i := slices.IndexFunc(d.pipelines, func(p *pipeline) bool { return p.name == r.name })
	if i < 0 {
		var branches []string
		for _, p := range d.pipelines {
			if !p.hasSource {
				branches = append(branches, p.name)
			}
		}
		d.error(r.at, "Unknown pipeline", "There is no pipeline %q.%s", r.name, suggest(r.name, branches, reference("pipeline")))
		return false
	}
	if d.pipelines[i].hasSource {
		d.error(r.at, "Pipeline with a source", "Pipeline %q has a source of its own, so nothing can be sent to it. Publish to its queue instead, or remove its source.", r.name)
		return false
	}
	d.pipeline.sends = append(d.pipeline.sends, r)
	return true
}

var onErrorActions = map[string]engine.OnErrorAction{
	"fail": engine.OnErrorFail, "continue": engine.OnErrorContinue, "drop": engine.OnErrorDrop,
}

// onError reads what happens to a message that fails.
func (d *decoder) onError(t target, e hclsyntax.Expression) {
	if r, is, ok := d.asRef(e, "sink"); is {
		if ok && d.sink(r) {
			to := engine.Target{Name: r.name}
			t.value.Set(reflect.ValueOf(engine.OnError{Action: engine.OnErrorSend, Target: to}))
		}
		return
	}
	var text string
	if !d.text(e, &text) {
		return
	}
	action, ok := onErrorActions[text]
	if !ok {
		d.error(e.Range(), "Invalid value", `"on_error" is "fail", "continue", "drop", or a sink as sink.NAME, not %q.%s`, text, maybe(text, keys(onErrorActions)))
		return
	}
	t.value.Set(reflect.ValueOf(engine.OnError{Action: action}))
}

// sinkRef reads sink.x.
func (d *decoder) sinkRef(t target, e hclsyntax.Expression) {
	if to, ok := d.targetOf(e, "sink"); ok {
		t.value.Set(reflect.ValueOf(sinkRef(to)))
	}
}

// onUnroutable reads what happens to a message that no queue takes.
func (d *decoder) onUnroutable(t target, e hclsyntax.Expression) {
	if r, is, ok := d.asRef(e, "sink"); is {
		if ok && d.sink(r) {
			t.value.Set(reflect.ValueOf(engine.OnUnroutable{Target: engine.Target{Name: r.name}}))
		}
		return
	}
	var text string
	if !d.text(e, &text) {
		return
	}
	if text != "fail" && text != "hold" {
		d.error(e.Range(), "Invalid value", `"on_unroutable" is "fail", "hold", or a sink as sink.NAME, not %q.%s`, text, maybe(text, []string{"fail", "hold"}))
		return
	}
	t.value.Set(reflect.ValueOf(engine.OnUnroutable{Hold: text == "hold"}))
}

// text reads a plain string.
func (d *decoder) text(e hclsyntax.Expression, to *string) bool {
	v, ok := d.eval(e)
	if !ok {
		return false
	}
	if err := setValue(reflect.ValueOf(to).Elem(), v, &field{}); err != nil {
		d.error(e.Range(), "Invalid value", "%s", sentence(err.Error()))
		return false
	}
	return true
}

// connectionRef reads connection.x.
func (d *decoder) connectionRef(t target, e hclsyntax.Expression) {
	if c := d.connectionOf(e); c != nil {
		t.value.Set(reflect.ValueOf(c))
	}
}

// poolRef reads connection.x as its pool.
func (d *decoder) poolRef(t target, e hclsyntax.Expression) {
	if c := d.connectionOf(e); c != nil {
		d.use(c)
		t.value.Set(reflect.ValueOf(c.pool))
	}
}

// defaultPool fills in the connection that is meant where none is named.
func (d *decoder) defaultPool(b block, t target) {
	if c := d.defaultConnection(b.header, b.what); c != nil {
		d.use(c)
		t.value.Set(reflect.ValueOf(c.pool))
	}
}

func (d *decoder) use(c *connection) {
	d.connection = c
	c.used = true
	if d.pipeline != nil {
		d.pipeline.connections[c.name] = true
	}
}

func (d *decoder) connectionOf(e hclsyntax.Expression) *connection {
	r, is, ok := d.asRef(e, "connection")
	if !is {
		d.error(e.Range(), "Reference needed", "connection.NAME is needed here, without quotes.")
	}
	if !is || !ok {
		return nil
	}
	c := d.connections[r.name]
	if c == nil {
		d.error(r.at, "Unknown connection", "There is no connection %q.%s", r.name, suggest(r.name, keys(d.connections), reference("connection")))
	}
	return c
}

// exchangeRef reads an exchange: a reference, or a name.
func (d *decoder) exchangeRef(t target, e hclsyntax.Expression) {
	if n, ok := d.entityOf(e, "exchange"); ok {
		putBlock(t.value, reflect.ValueOf(n.exchange))
	}
}

// queueRef reads a queue: a reference, or a name.
func (d *decoder) queueRef(t target, e hclsyntax.Expression) {
	if n, ok := d.entityOf(e, "queue"); ok {
		putBlock(t.value, reflect.ValueOf(n.queue))
	}
}

// endpoint is where a binding leads: one of the two is set.
type endpoint struct {
	queue    *pool.Queue
	exchange *pool.Exchange
}

// endpointRef reads a queue or an exchange; a plain name is a queue's.
func (d *decoder) endpointRef(t target, e hclsyntax.Expression) {
	if n, ok := d.entityOf(e, "queue", "exchange"); ok {
		t.value.Set(reflect.ValueOf(endpoint{n.queue, n.exchange}))
	}
}

// entityOf reads one of some kinds of entity; a plain name is of the first.
func (d *decoder) entityOf(e hclsyntax.Expression, kinds ...string) (*entity, bool) {
	r, is, ok := d.asRef(e, kinds...)
	if is {
		if !ok {
			return nil, false
		}
		n := d.declared(r)
		return n, n != nil
	}
	var name string
	if !d.text(e, &name) {
		return nil, false
	}
	return d.byName(kinds[0], name), true
}

// declared finds what a reference means: on the component's own connection if there are several.
func (d *decoder) declared(r ref) *entity {
	var names []string
	var other *entity
	for _, n := range d.entities {
		switch {
		case n.kind != r.root:
		case n.label != r.name:
			names = append(names, n.label)
		case d.connection == nil || n.connection == d.connection:
			d.reach(n)
			return n
		default:
			other = n
		}
	}
	if other != nil {
		d.error(r.at, "Declared on another connection", "%s is declared on connection.%s, but this uses connection.%s.%s",
			reference(r.root)(r.name), other.connection.name, d.connection.name, d.connectionAdvice(other))
		return nil
	}
	d.error(r.at, "Unknown "+r.root, "No %s %q is declared.%s One that is not declared in these files is named in quotes: %q.",
		r.root, r.name, suggest(r.name, names, reference(r.root)), r.name)
	return nil
}

func (d *decoder) connectionAdvice(n *entity) string {
	if d.pipeline == nil {
		return ""
	}
	return " Add connection = " + reference("connection")(n.connection.name) + ", or declare it there as well."
}

// byName finds an entity by its name on the broker; one that is not declared is nothing but its name.
func (d *decoder) byName(kind, name string) *entity {
	for _, n := range d.entities {
		if n.kind == kind && n.name() == name && (d.connection == nil || n.connection == d.connection) {
			d.reach(n)
			return n
		}
	}
	n := &entity{kind: kind, label: name, connection: d.connection}
	if kind == "exchange" {
		n.exchange = &pool.Exchange{Name: name}
	} else {
		n.queue = &pool.Queue{Name: name}
	}
	d.reach(n)
	return n
}

// reach notes that a pipeline uses an entity.
func (d *decoder) reach(n *entity) {
	if d.pipeline != nil && n.connection != nil {
		d.pipeline.reaches = append(d.pipeline.reaches, n)
	}
}
