package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// checkPipeline checks what only the whole pipeline shows.
func (l *loader) checkPipeline(p *pipeline) {
	l.checkOutlet(p)
	for _, s := range p.made.Sinks {
		if l.leadsBack(p, s) {
			l.error(p.sinks[s.Name].DefRange(), "Failures in a circle", "What sink %q fails to take (on_error, fallback, on_unroutable) leads back to itself.", s.Name)
		}
	}
}

// checkOutlet reports a pipeline whose messages have nowhere to go.
func (l *loader) checkOutlet(p *pipeline) {
	dropped := slices.ContainsFunc(p.made.Stages, func(s engine.StageNode) bool { return s.Kind == "drop" })
	if p.made.DropUnmatched || dropped || len(p.sends) > 0 {
		return
	}
	if len(p.sinks) == 0 {
		l.error(p.block.DefRange(), "Pipeline without a sink",
			`Nothing takes the messages of pipeline %q, so all of them would fail. Add a sink, or drop them on purpose: unmatched = "drop".`, p.name)
	}
}

// leadsBack reports whether what a sink fails to take can come back to it.
func (l *loader) leadsBack(p *pipeline, s engine.SinkNode) bool {
	seen := map[string]bool{}
	var reach func(s engine.SinkNode) bool
	reach = func(from engine.SinkNode) bool {
		for _, to := range []string{from.OnError.Target.Name, from.Fallback.Name, from.OnUnroutable.Target.Name} {
			if to == s.Name {
				return true
			}
			i := slices.IndexFunc(p.made.Sinks, func(s engine.SinkNode) bool { return s.Name == to })
			if i < 0 || seen[to] {
				continue
			}
			seen[to] = true
			if reach(p.made.Sinks[i]) {
				return true
			}
		}
		return false
	}
	return reach(s)
}

// checkBranches reports circles among branches, and branches that nothing sends to.
func (l *loader) checkBranches() {
	sent := map[string]bool{}
	for _, p := range l.pipelines {
		for _, r := range p.sends {
			sent[r.name] = true
		}
		if path := l.circle(p, nil); path != nil {
			l.error(p.sends[0].at, "Branches in a circle", "A message would never leave: %s.", "pipeline."+strings.Join(path, " → pipeline."))
		}
	}
	for _, p := range l.pipelines {
		if !p.hasSource && !sent[p.name] && p.name != "" {
			l.warn(p.block.DefRange(), "Pipeline that gets no messages",
				"Pipeline %q has no source, and nothing sends to it. Add a source, or name it where messages are routed: to = [%s].", p.name, reference("pipeline")(p.name))
		}
	}
}

// circle returns the way from p back to itself through branches, or nil. Only the circle's first pipeline by
// name has one, so that it is told of once.
func (l *loader) circle(p *pipeline, path []string) []string {
	path = append(slices.Clone(path), p.name)
	for _, r := range p.sends {
		switch {
		case r.name == path[0]:
			return append(path, r.name)
		case r.name < path[0] || slices.Contains(path, r.name):
			continue
		}
		if found := l.circle(l.byPipeline(r.name), path); found != nil {
			return found
		}
	}
	return nil
}

func (l *loader) byPipeline(name string) *pipeline {
	i := slices.IndexFunc(l.pipelines, func(p *pipeline) bool { return p.name == name })
	return l.pipelines[i]
}

// fill makes the configuration of all that was read.
func (l *loader) fill(c *Config) {
	c.Telemetry, c.Embedded = l.telemetry, l.embedded
	c.Connections, c.Uses = map[string]*pool.Pool{}, map[string]Uses{}
	for name, conn := range l.connections {
		switch {
		case conn.used:
			c.Connections[name] = conn.pool
		case conn.at != nil:
			l.warn(*conn.at, "Unused connection", "Nothing uses connection %q, so it is not made.", name)
		}
	}
	for _, p := range l.pipelines {
		c.Pipelines = append(c.Pipelines, &p.made)
		c.Uses[p.name] = l.uses(p)
	}
}

// uses finds what a pipeline and its branches cannot run without.
func (l *loader) uses(p *pipeline) Uses {
	var all []*pipeline
	var visit func(p *pipeline)
	visit = func(p *pipeline) {
		if slices.Contains(all, p) {
			return
		}
		all = append(all, p)
		for _, r := range p.sends {
			visit(l.byPipeline(r.name))
		}
	}
	visit(p)
	connections, branches := map[string]bool{}, map[string]bool{}
	r := reached{loader: l, seen: map[Entity]bool{}}
	for _, q := range all {
		branches[q.name] = q != p
		for name := range q.connections {
			connections[name] = true
		}
		for _, n := range q.reaches {
			r.entity(n.connection, n.kind, n.name())
		}
	}
	delete(branches, p.name)
	return Uses{Connections: keys(connections), Entities: r.found, Branches: keys(branches)}
}

// reached collects what is declared along the ways of messages.
type reached struct {
	*loader
	seen  map[Entity]bool
	found []Entity
}

func (r *reached) entity(c *connection, kind, name string) {
	key := Entity{c.name, kind, name}
	if name == "" || r.seen[key] {
		return
	}
	r.seen[key] = true
	n := r.declaredAs(kind, name, c)
	if n != nil {
		r.found = append(r.found, key)
	}
	if kind == "queue" {
		if n != nil {
			r.entity(c, "exchange", n.queue.DeadLetterExchange)
		}
		return
	}
	if n != nil {
		r.entity(c, "exchange", n.exchange.AlternateExchange)
	}
	for _, b := range r.bindings {
		if b.connection == c && b.Exchange == name {
			r.binding(b)
		}
	}
}

func (r *reached) binding(b *binding) {
	to := b.ToQueue + b.ToExchange // one of them is empty
	key := Entity{b.connection.name, "binding", fmt.Sprintf("%s → %s", b.Exchange, to)}
	if !r.seen[key] {
		r.seen[key] = true
		r.found = append(r.found, key)
	}
	r.entity(b.connection, "queue", b.ToQueue)
	r.entity(b.connection, "exchange", b.ToExchange)
}
