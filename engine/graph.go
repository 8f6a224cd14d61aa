package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// graph is a pipeline made ready to run: targets resolved, limits in place. Each source has a graph
// of its own, branches included, so that the state of its groups is under the lock of its lane.
type graph struct {
	name          string
	stages        []*stage
	always        []*sink // the sinks that take every message
	sinks         map[string]*sink
	branches      map[string]*graph // of the whole run
	dropUnmatched bool
}

// stage is a StageNode made ready.
type stage struct {
	node        *StageNode
	label       string
	meter       *meter
	slots       chan struct{} // bounds the calls at once
	breaker     *breaker
	errorTarget []Target
	reads       bool // it is a Reader
	keepsInput  bool // on_error needs the message as it was before the stage
	groups      map[string]*group
}

// sink is a SinkNode made ready. All graphs share it.
type sink struct {
	node      *SinkNode
	pipeline  string // the one that it is written in
	address   Address
	meter     *meter
	label     string
	bit       uint64 // in the sets of sinks that an entry keeps; 0 if there are too many sinks
	slots     chan struct{}
	breaker   *breaker
	errorSink *sink
	// What takes a message that this one did not, and one that it found no queue for.
	fallback, unroutable *sink
	corker               Corker       // nil where the sink cannot gather writes, or may wait while it does
	doubled              atomic.Int64 // outcomes reported a second time
}

func (o *Options) applies(m *Message) (bool, error) {
	if o.When == nil {
		return true, nil
	}
	return o.When(m)
}

func (s *stage) applies(m *Message) (bool, error) { return s.node.applies(m) }
func (s *sink) applies(m *Message) (bool, error)  { return s.node.applies(m) }

// compiler makes graphs of pipelines.
type compiler struct {
	pipelines map[string]*Pipeline
	sinks     map[*SinkNode]*sink
	breakers  map[*Breaker]*breaker
	thens     map[*Retry]*sink
	bits      map[string]uint64
	paths     [64]string
	meters    map[any]*meter // by node; empty where nothing is measured
	measure   bool
	log       *slog.Logger
	errs      []error
}

func newCompiler(pipelines []*Pipeline, log *slog.Logger, measure bool) *compiler {
	c := &compiler{
		pipelines: make(map[string]*Pipeline), sinks: make(map[*SinkNode]*sink), log: log,
		meters: make(map[any]*meter), measure: measure,
		breakers: make(map[*Breaker]*breaker), thens: make(map[*Retry]*sink), bits: make(map[string]uint64),
	}
	for _, p := range pipelines {
		if _, ok := c.pipelines[p.Name]; ok {
			c.errorf("two pipelines are named %q", p.Name)
		}
		c.pipelines[p.Name] = p
		c.sinksOf(p)
	}
	return c
}

func (c *compiler) errorf(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(format, args...))
}

func (c *compiler) err() error { return errors.Join(c.errs...) }

func (c *compiler) sinksOf(p *Pipeline) {
	byName := make(map[string]*sink)
	var sinks []*sink
	for i := range p.Sinks {
		n := &p.Sinks[i]
		if n.Sink == nil {
			c.errorf("pipeline %q: sink %q is nil", p.Name, n.Name)
		}
		if byName[n.Name] != nil {
			c.errorf("pipeline %q: two sinks are named %q", p.Name, n.Name)
		}
		s := &sink{node: n, label: "sink." + n.Name, slots: slotsFor(n.Concurrency)}
		s.pipeline, s.address, s.meter = p.Name, addressOf(n.Sink), c.meter(n)
		s.breaker = c.breaker(p, s.label, n.Breaker)
		s.bit = c.bit(p.Name + "." + n.Name)
		if s.slots == nil && s.breaker == nil {
			s.corker, _ = n.Sink.(Corker)
		}
		byName[n.Name], c.sinks[n] = s, s
		sinks = append(sinks, s)
	}
	other := func(what, label string, t Target) *sink {
		if t.Name == "" {
			return nil
		}
		s := byName[t.Name]
		if s == nil || t.Branch {
			c.errorf("pipeline %q: %s: %s names %s, which is not a sink of the pipeline", p.Name, label, what, t)
		}
		return s
	}
	for _, s := range sinks {
		if s.node.OnError.Action == OnErrorSend {
			s.errorSink = other("on_error", s.label, s.node.OnError.Target)
		}
		s.fallback = other("fallback", s.label, s.node.Fallback)
		s.unroutable = other("on_unroutable", s.label, s.node.OnUnroutable.Target)
	}
	for _, s := range sinks {
		if s.reaches(s, len(sinks)) {
			c.errorf("pipeline %q: %s: what it fails to take leads back to itself", p.Name, s.label)
		}
	}
	then := func(label string, r *Retry) {
		if r != nil {
			c.thens[r] = other("retry", label, r.Then)
		}
	}
	then("retry", p.Retry)
	for _, s := range sinks {
		then(s.label, s.node.Retry)
	}
	for i := range p.Stages {
		then(p.Stages[i].Kind+"."+p.Stages[i].Name, p.Stages[i].Retry)
	}
}

// reaches reports whether what s fails to take can get to another sink, in so many steps.
func (s *sink) reaches(to *sink, steps int) bool {
	if steps == 0 {
		return false
	}
	for _, next := range []*sink{s.errorSink, s.fallback, s.unroutable} {
		if next != nil && (next == to || next.reaches(to, steps-1)) {
			return true
		}
	}
	return false
}

// bit gives a sink a place in the sets of sinks that an entry keeps.
func (c *compiler) bit(path string) uint64 {
	n := len(c.bits)
	if n >= len(c.paths) {
		return 0
	}
	c.bits[path], c.paths[n] = 1<<n, path
	return 1 << n
}

// breaker makes the breaker of a component, which all graphs share.
func (c *compiler) breaker(p *Pipeline, label string, b *Breaker) *breaker {
	if b == nil {
		return nil
	}
	if c.breakers[b] == nil {
		c.breakers[b] = newBreaker(b, label, c.log.With("pipeline", p.Name))
	}
	return c.breakers[b]
}

// meter makes the meter of a component, which all graphs share; nil where nothing is measured.
func (c *compiler) meter(node any) *meter {
	if c.measure && c.meters[node] == nil {
		c.meters[node] = new(meter)
	}
	return c.meters[node]
}

func slotsFor(n int) chan struct{} {
	if n <= 0 {
		return nil
	}
	return make(chan struct{}, n)
}

// root makes the graph of a pipeline that has a source.
func (c *compiler) root(p *Pipeline) *graph {
	branches := make(map[string]*graph)
	for _, b := range c.pipelines {
		if b.Source == nil {
			branches[b.Name] = c.graph(b, branches)
		}
	}
	return c.graph(p, branches)
}

func (c *compiler) graph(p *Pipeline, branches map[string]*graph) *graph {
	g := &graph{
		name: p.Name, dropUnmatched: p.DropUnmatched,
		sinks: make(map[string]*sink), branches: branches,
	}
	for i := range p.Sinks {
		n := &p.Sinks[i]
		s := c.sinks[n]
		g.sinks[n.Name] = s
		if !n.Named {
			g.always = append(g.always, s)
		}
	}
	for i := range p.Stages {
		g.stages = append(g.stages, c.stage(p, g, &p.Stages[i]))
	}
	return g
}

func (c *compiler) stage(p *Pipeline, g *graph, n *StageNode) *stage {
	s := &stage{node: n, label: n.Kind + "." + n.Name, slots: slotsFor(n.Concurrency), meter: c.meter(n)}
	s.breaker = c.breaker(p, s.label, n.Breaker)
	if (n.Stage == nil) == (n.Aggregator == nil) {
		c.errorf("pipeline %q: %s must have either a stage or an aggregator", p.Name, s.label)
	}
	_, s.reads = n.Stage.(Reader)
	if n.Aggregator != nil {
		s.groups = make(map[string]*group)
		if n.Group.Age <= 0 {
			c.errorf("pipeline %q: %s needs an age for its groups", p.Name, s.label)
		}
	}
	if n.OnError.Action == OnErrorSend {
		s.errorTarget = []Target{n.OnError.Target}
		if g.sinks[n.OnError.Target.Name] == nil || n.OnError.Target.Branch {
			c.errorf("pipeline %q: %s: on_error names %s, which is not a sink of the pipeline",
				p.Name, s.label, n.OnError.Target)
		}
	}
	s.keepsInput = n.OnError.Action == OnErrorContinue || n.OnError.Action == OnErrorSend
	return s
}

// firstAggregator returns the index of the first stage of g that makes groups. Where only a branch
// has one it is the end of g's stages, and -1 where there is none at all.
func (g *graph) firstAggregator() int {
	for i, s := range g.stages {
		if s.groups != nil {
			return i
		}
	}
	for _, b := range g.branches {
		for _, s := range b.stages {
			if s.groups != nil {
				return len(g.stages)
			}
		}
	}
	return -1
}

// group is what an aggregator has collected under one key.
type group struct {
	key     string
	members []*Message
	bytes   int
}

// join puts a message into its group, which owes its outcome from then on.
func (w *worker) join(g *graph, i int, m *Message) *Failure {
	s := g.stages[i]
	key, err := "", error(nil)
	if s.node.Group.Key != nil {
		if key, err = s.node.Group.Key(m); err != nil {
			s.meter.fail(err)
			return w.stageFailed(g, i, m, err)
		}
	}
	grp := s.groups[key]
	if grp == nil {
		grp = &group{key: key}
		s.groups[key] = grp
		w.run.clock.at(time.Now().Add(s.node.Group.Age), func() { w.run.groupDue(g, i, grp) })
	}
	m.entry.owe()
	s.meter.receive()
	grp.members = append(grp.members, m)
	grp.bytes += len(m.Body)
	limit := s.node.Group
	if limit.Size > 0 && len(grp.members) >= limit.Size || limit.Bytes > 0 && grp.bytes >= limit.Bytes {
		w.complete(g, i, grp)
	}
	return nil
}

// complete takes a complete group on, as an entry that stands for its members.
func (w *worker) complete(g *graph, i int, grp *group) {
	s := g.stages[i]
	delete(s.groups, grp.key)
	ge := &entry{run: w.run, members: make([]*entry, len(grp.members))}
	for k, m := range grp.members {
		ge.members[k] = m.entry
		ge.attempt = max(ge.attempt, m.entry.attempt-1)
	}
	ge.begin()
	if w.run.tracer != nil {
		w.run.traceGroup(s.node, ge, g.name)
	}
	outer, input, again := w.e, w.input, w.again
	w.e, w.input, w.again = ge, nil, false
	w.done = append(w.done, ge)
	mark := len(w.sends)
	if f := w.guarded(func() *Failure { return w.aggregate(g, i, grp) }); f != nil {
		w.undo(ge, mark)
		ge.fail(f)
	} else {
		ge.found()
	}
	w.e, w.input, w.again = outer, input, again
}

func (w *worker) aggregate(g *graph, i int, grp *group) *Failure {
	start := len(w.buf)
	meter := g.stages[i].meter
	began := meter.now()
	err := g.stages[i].aggregate(w, grp.members)
	sent := len(w.buf) - start
	meter.stop(began, len(grp.members), sent, err, w.e.span())
	if err == nil {
		discardSpan(w.e.span(), sent)
		return w.stepAll(g, i+1, start)
	}
	w.pop(start)
	for _, m := range grp.members {
		m.entry = w.e
		if f := w.stageFailed(g, i, m, err); f != nil {
			return f
		}
	}
	return nil
}

func (s *stage) aggregate(w *worker, group []*Message) (err error) {
	defer rescue(&err)
	ctx := w.run.ctx
	if span := w.e.span(); span != nil {
		ctx = span.Context(ctx)
	}
	if s.node.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, s.node.Timeout)
		defer cancel()
		ctx = limited
	}
	return s.node.Aggregator.Aggregate(ctx, group, w.emit)
}
