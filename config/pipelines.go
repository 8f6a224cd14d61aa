package config

import (
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// pipelineBlock is a way of messages, from a source through stages to sinks.
type pipelineBlock struct {
	_           struct{}           `doc:"A way of messages: one source, stages in the order of the file, and sinks. Without a source it is a branch, which others send to as pipeline.NAME."`
	Name        string             `hcl:"name,label"`
	Sources     []*hclsyntax.Block `hcl:"source,block"`
	Stages      []*hclsyntax.Block `hcl:"stage,block"`
	Sinks       []*hclsyntax.Block `hcl:"sink,block"`
	Retry       *retryBlock        `hcl:"retry,block" doc:"How often a message that failed is tried again, and what becomes of it then. Without it: see docs/failure.md."`
	Order       string             `hcl:"order,optional" default:"strict" enum:"strict,none" doc:"Whether messages keep their order."`
	OrderBy     expr.String        `hcl:"order_by,optional" doc:"Messages keep their order among those for which this is the same."`
	Concurrency int                `hcl:"concurrency,optional" min:"1" doc:"How many messages may be in the stages at once. Default: as they arrive, without a hop."`
	Unmatched   string             `hcl:"unmatched,optional" default:"fail" enum:"fail,drop" doc:"What happens to a message that no sink took."`
}

// retryBlock says what happens after a failure.
type retryBlock struct {
	Attempts int           `hcl:"attempts,optional" default:"4" min:"1" max:"1000" doc:"How often a message is tried in all, the first time included."`
	Min      time.Duration `hcl:"min,optional" default:"1s" min:"1ms" doc:"The first pause. Pauses of a second and more are held by the broker, shorter ones in the process."`
	Max      time.Duration `hcl:"max,optional" default:"5m" min:"1ms" doc:"The longest pause."`
	Factor   float64       `hcl:"factor,optional" default:"2" min:"1" doc:"By how much a pause is longer than the one before."`
	Jitter   float64       `hcl:"jitter,optional" default:"0.2" min:"0" max:"1" doc:"By what share of it a pause may be longer, by chance, so that what failed together is not tried together."`
	When     expr.Bool     `hcl:"when,optional" doc:"Which failures are tried again."`
	Then     sinkRef       `hcl:"then,optional" doc:"The sink that takes what has failed for good, as sink.parked. Default: the queue's dead-letter exchange; where there is none, the message is held."`
}

// longest returns the longest pause that a retry asks for; 0 for none.
func longest(r *engine.Retry) time.Duration {
	if r == nil || r.Attempts < 2 {
		return 0
	}
	return time.Duration(min(float64(r.Max), float64(r.Min)*math.Pow(r.Factor, float64(r.Attempts-2))))
}

// breakerBlock is a circuit breaker.
type breakerBlock struct {
	Failures int           `hcl:"failures,optional" default:"5" min:"1" max:"1000000" doc:"How many failures in a row, of those that may pass, open it."`
	Pause    time.Duration `hcl:"pause,optional" default:"30s" min:"1ms" doc:"How long nothing is tried then, until one message probes whether it works again."`
}

// common are the arguments of every stage and sink.
type common struct {
	When        expr.Bool      `hcl:"when,optional" doc:"Apply only to messages for which this holds. Others go on as if this were not here."`
	OnError     engine.OnError `hcl:"on_error,optional" doc:"What happens to a message that fails here: \"fail\" (the default), \"continue\", \"drop\", or a sink that takes it, as sink.parked."`
	Timeout     time.Duration  `hcl:"timeout,optional" min:"1ms" doc:"How long this may take for one message. Default: no limit."`
	Concurrency int            `hcl:"concurrency,optional" min:"1" doc:"How many messages this may work on at once. Default: no limit."`
	Retry       *retryBlock    `hcl:"retry,block" doc:"What happens to messages that fail here, instead of what the pipeline's retry says."`
	Breaker     *breakerBlock  `hcl:"breaker,block" doc:"A circuit breaker: after several failures in a row messages wait, instead of failing one after the other. For what waits on the outside."`
}

// outlet are the arguments of every sink, beside the common ones.
type outlet struct {
	Fallback     sinkRef             `hcl:"fallback,optional" doc:"The sink that takes, as it is, what this one fails to take."`
	OnUnroutable engine.OnUnroutable `hcl:"on_unroutable,optional" doc:"What happens to a message that no queue takes: \"fail\" (the default), \"hold\" (it is tried again until there is a queue), or a sink that takes it."`
}

// sinkRef is a reference to a sink of the same pipeline.
type sinkRef engine.Target

// options makes what every component may say of the block that it stands in.
func (d *decoder) options(b *hclsyntax.Block, c *common) engine.Options {
	o := engine.Options{OnError: c.OnError, Timeout: c.Timeout, Concurrency: c.Concurrency}
	if c.When.IsSet() {
		o.When = c.When.Eval
	}
	o.Retry = d.retry(b, c.Retry)
	if c.Breaker != nil {
		o.Breaker = &engine.Breaker{Failures: c.Breaker.Failures, Pause: c.Breaker.Pause}
	}
	return o
}

// grouped are the arguments of a stage that works on groups.
type grouped struct {
	Group groupBlock `hcl:"group,block" doc:"When a group of messages is complete: at the first limit that it reaches."`
}

type groupBlock struct {
	Age   time.Duration `hcl:"age" min:"1ms" doc:"How old a group may become, so that no message waits for ever."`
	Size  int           `hcl:"size,optional" min:"1" doc:"How many messages it may have."`
	Bytes int           `hcl:"bytes,optional" unit:"bytes" min:"1" doc:"How many bytes of bodies it may have."`
	Key   expr.String   `hcl:"key,optional" doc:"Messages are grouped with those for which this is the same."`
}

func (g *groupBlock) group() engine.Group {
	out := engine.Group{Size: g.Size, Bytes: g.Bytes, Age: g.Age}
	if g.Key.IsSet() {
		out.Key = g.Key.Eval
	}
	return out
}

// pipeline is a pipeline in the making.
type pipeline struct {
	name      string
	block     *hclsyntax.Block
	hasSource bool
	sinks     map[string]*hclsyntax.Block
	named     map[string]bool // the sinks that other blocks name
	sends     []ref           // to branches

	connections map[string]bool
	reaches     []*entity
	made        engine.Pipeline
}

// setPipelines makes the pipelines: first the names that others can refer to, and then each.
func (l *loader) setPipelines() {
	for _, b := range l.blocks.Pipelines {
		l.notePipeline(b)
	}
	finish := make([]func(), len(l.pipelines))
	for i, p := range l.pipelines {
		finish[i] = l.setPipeline(p)
	}
	for _, f := range finish { // a source wants to know how long the pauses of branches may be
		f()
	}
}

func (l *loader) notePipeline(b *hclsyntax.Block) {
	p := &pipeline{
		block: b, sinks: map[string]*hclsyntax.Block{}, named: map[string]bool{},
		connections: map[string]bool{},
	}
	if len(b.Labels) > 0 {
		p.name = b.Labels[0]
	}
	for _, inner := range b.Body.Blocks {
		p.hasSource = p.hasSource || inner.Type == "source"
		if inner.Type == "sink" && len(inner.Labels) == 2 && p.sinks[inner.Labels[1]] == nil {
			p.sinks[inner.Labels[1]] = inner
		}
	}
	for _, other := range l.pipelines {
		if other.name == p.name && p.name != "" {
			l.duplicate(b.DefRange(), fmt.Sprintf("pipeline %q", p.name), other.block.DefRange())
		}
	}
	l.pipelines = append(l.pipelines, p)
}

// setPipeline makes a pipeline, all but its source: that is for the function that it returns.
func (l *loader) setPipeline(p *pipeline) (finish func()) {
	file := p.block.DefRange().Filename
	d := &decoder{loader: l, pipeline: p, scope: l.scope(file)}
	var decl pipelineBlock
	d.expectSchema(p.block.Body.Blocks)
	d.decode(blockOf(p.block), &decl)
	p.made = engine.Pipeline{Name: p.name, Concurrency: decl.Concurrency, DropUnmatched: decl.Unmatched == "drop"}
	d.setOrder(&decl)
	p.made.Retry = d.retry(p.block, decl.Retry)
	for _, b := range decl.Stages {
		d.addStage(b)
	}
	for _, b := range decl.Sinks {
		d.addSink(b)
	}
	for i := range p.made.Sinks {
		s := &p.made.Sinks[i]
		s.Named = p.named[s.Name]
	}
	l.checkPipeline(p)
	return func() { d.setSource(decl.Sources) }
}

func (d *decoder) setOrder(decl *pipelineBlock) {
	p := &d.pipeline.made
	switch {
	case decl.OrderBy.IsSet() && d.pipeline.block.Body.Attributes["order"] != nil:
		d.error(d.pipeline.block.Body.Attributes["order"].NameRange, "Two ways to give an order", "Give either order or order_by.")
	case decl.OrderBy.IsSet():
		p.Order, p.OrderKey = engine.OrderByKey, decl.OrderBy.Eval
	case decl.Order == "none":
		p.Order = engine.OrderNone
	}
}

// retry makes what a retry block says of where it stands: in the pipeline, or in one of its components.
func (d *decoder) retry(in *hclsyntax.Block, b *retryBlock) *engine.Retry {
	if b == nil {
		return nil
	}
	i := slices.IndexFunc(in.Body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == "retry" })
	at := in.Body.Blocks[i].DefRange()
	if in == d.pipeline.block && !d.pipeline.hasSource {
		d.error(at, "Retry without a source",
			"Pipeline %q is a branch: a message is tried again from the source on. Put the retry into the pipeline with the source, or into a stage or sink of this one.", d.pipeline.name)
	}
	if b.Min > b.Max {
		d.error(at, "Pauses that shrink", "min, %s, is longer than max, %s.", b.Min, b.Max)
	}
	r := &engine.Retry{
		Attempts: b.Attempts, Min: b.Min, Max: b.Max, Factor: b.Factor, Jitter: b.Jitter, Then: engine.Target(b.Then),
	}
	if b.When.IsSet() {
		r.When = b.When.Eval
	}
	return r
}

// longestPause returns the longest pause that a message of the pipeline may be asked to wait: branches included, whose components fail
// on behalf of every pipeline.
func (d *decoder) longestPause() time.Duration {
	pause := longest(d.pipeline.made.Retry)
	for _, p := range d.pipelines {
		if p != d.pipeline && p.hasSource {
			continue
		}
		for i := range p.made.Stages {
			pause = max(pause, longest(p.made.Stages[i].Retry))
		}
		for i := range p.made.Sinks {
			pause = max(pause, longest(p.made.Sinks[i].Retry))
		}
	}
	return pause
}

func (d *decoder) setSource(blocks []*hclsyntax.Block) {
	for i, b := range blocks {
		if i > 0 {
			d.error(b.DefRange(), "Second source", "A pipeline has one source. The first is at %s.", position(blocks[0].DefRange()))
			return
		}
		made, _, ok := d.component(b, 1, []engine.Role{engine.RoleSource}, &inlet{})
		if ok {
			d.pipeline.made.Source = made.(engine.Source)
			if r := d.pipeline.made.Retry; r == nil || r.Then.Name == "" {
				d.checkHeld(b, d.pipeline.made.Source)
			}
		}
	}
}

// checkHeld warns where a failure that cannot pass has nowhere to go.
func (d *decoder) checkHeld(b *hclsyntax.Block, s engine.Source) {
	if l, ok := s.(engine.DeadLetterer); ok && !l.DeadLetters() {
		d.warn(b.DefRange(), "No dead-letter exchange",
			"As far as these files tell, the queue has no dead-letter exchange. A message that can never succeed is held, unacknowledged, and tried again with a growing pause. Give the pipeline a retry with then, declare the queue with dead_letter, or name a sink with on_error wherever messages can fail.")
	}
}

func (d *decoder) addStage(b *hclsyntax.Block) {
	generic, group := &common{}, &grouped{}
	made, name, ok := d.component(b, 2, []engine.Role{engine.RoleStage, engine.RoleAggregator}, generic, group)
	if !ok {
		return
	}
	if _, keeps := made.(bodyKeeper); !keeps {
		d.scope.Expect(nil)
	}
	node := engine.StageNode{Kind: b.Labels[0], Name: name, Options: d.options(b, generic)}
	switch c := made.(type) {
	case engine.Stage:
		node.Stage = c
	case engine.Aggregator:
		node.Aggregator, node.Group = c, group.Group.group()
	}
	for _, other := range d.pipeline.made.Stages {
		if other.Name == name {
			d.error(b.LabelRanges[1], "Duplicate name", "There is another stage %q in this pipeline.", name)
		}
	}
	d.pipeline.made.Stages = append(d.pipeline.made.Stages, node)
}

func (d *decoder) addSink(b *hclsyntax.Block) {
	generic, out := &common{}, &outlet{}
	made, name, ok := d.component(b, 2, []engine.Role{engine.RoleSink}, generic, out)
	if len(b.Labels) == 2 && d.pipeline.sinks[b.Labels[1]] != b {
		d.duplicate(b.DefRange(), fmt.Sprintf("sink %q", b.Labels[1]), d.pipeline.sinks[b.Labels[1]].DefRange())
	}
	if !ok {
		return
	}
	node := engine.SinkNode{Kind: b.Labels[0], Name: name, Sink: made.(engine.Sink), Options: d.options(b, generic)}
	node.Fallback, node.OnUnroutable = engine.Target(out.Fallback), out.OnUnroutable
	d.pipeline.made.Sinks = append(d.pipeline.made.Sinks, node)
}

// component makes a component of a block that is labelled with its kind and, if it has a second label, with
// its name.
func (d *decoder) component(b *hclsyntax.Block, labels int, roles []engine.Role, generic ...any) (made any, name string, ok bool) {
	if !d.componentLabels(b, labels) {
		return nil, "", false
	}
	if labels > 1 {
		name = b.Labels[1]
	}
	c := d.kind(b, roles)
	if c == nil {
		return nil, name, false
	}
	if c.Role != engine.RoleAggregator {
		generic = slices.DeleteFunc(generic, func(g any) bool { _, is := g.(*grouped); return is })
	}
	part := &decoder{loader: d.loader, pipeline: d.pipeline, scope: d.scope}
	part.env = engine.Env{Pipeline: d.pipeline.name, Kind: c.Kind, Name: name, Log: d.logger(b, c.Kind, name)}
	if c.Role == engine.RoleSource {
		part.env.LongestPause = d.longestPause()
	}
	made, ok = part.make(c, b, generic)
	return made, name, ok
}

func (d *decoder) componentLabels(b *hclsyntax.Block, n int) bool {
	form := `"KIND"`
	if n == 2 {
		form = `"KIND" "NAME"`
	}
	switch {
	case len(b.Labels) < n:
		d.error(b.DefRange(), "Wrong number of names", `A %s is written as %s %s { … }, as in %s.`, b.Type, b.Type, form, exampleOf[b.Type])
		return false
	case len(b.Labels) > n:
		d.error(b.LabelRanges[n], "Wrong number of names", `A %s is written as %s %s { … }.`, b.Type, b.Type, form)
		return false
	case slices.Contains(b.Labels, ""):
		d.error(b.DefRange(), "Empty name", "Kind and name of a %s must not be empty.", b.Type)
		return false
	}
	return true
}

var exampleOf = map[string]string{
	"source": `source "amqp" { … }`, "stage": `stage "filter" "paid" { … }`, "sink": `sink "amqp" "out" { … }`,
}

func (d *decoder) logger(b *hclsyntax.Block, kind, name string) *slog.Logger {
	label := kind
	if name != "" {
		label += "." + name
	}
	return d.Logger.With("pipeline", d.pipeline.name, b.Type, label)
}

// kind finds the registered kind that a block names.
func (d *decoder) kind(b *hclsyntax.Block, roles []engine.Role) *engine.Component {
	var kinds []string
	for _, role := range roles {
		if c, ok := d.Registry.Lookup(role, b.Labels[0]); ok {
			return c
		}
		kinds = append(kinds, d.Registry.Kinds(role)...)
	}
	d.error(b.LabelRanges[0], "Unknown kind of "+b.Type, "There is no %s %q.%s", b.Type, b.Labels[0], suggest(b.Labels[0], kinds, quoted))
	return nil
}

// make decodes a component's arguments and calls its constructor.
func (d *decoder) make(c *engine.Component, b *hclsyntax.Block, generic []any) (any, bool) {
	in := blockOf(b)
	in.labels, in.labelRanges = nil, nil
	arguments := reflect.New(c.Config)
	if !d.decode(in, append(generic, arguments.Interface())...) {
		return nil, false
	}
	made, err := c.New(arguments.Elem().Interface())
	if err == nil {
		return made, true
	}
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		d.constructorError(b, in.what, err)
	}
	return nil, false
}

// constructorError reports what a constructor complains about: at the argument whose name begins the error's text, or else
// at the block.
func (d *decoder) constructorError(b *hclsyntax.Block, what string, err error) {
	text := err.Error()
	word, _, _ := strings.Cut(text, " ")
	if a := b.Body.Attributes[strings.TrimSuffix(word, ":")]; a != nil {
		d.error(a.SrcRange, "Invalid "+what, "%s", ended(text))
		return
	}
	d.error(b.DefRange(), "Invalid "+what, "%s", sentence(text))
}
