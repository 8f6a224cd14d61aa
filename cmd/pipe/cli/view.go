package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
	"github.com/pipeamqp/pipe/telemetry"
)

// pipelineView is a pipeline as the admin endpoint shows it, with what it has done since pipe started.
type pipelineView struct {
	Name   string          `json:"name"`
	State  string          `json:"state"` // running, paused, waiting, or branch
	Source *sourceView     `json:"source,omitempty"`
	Stages []componentView `json:"stages"`
	Sinks  []componentView `json:"sinks"`
	// Branches are the pipelines that it sends to, directly or not.
	Branches []string `json:"branches,omitempty"`
}

type sourceView struct {
	Queue     string `json:"queue"`
	In        int64  `json:"in"`
	InFlight  int64  `json:"in_flight"`
	Acked     int64  `json:"acked"`
	Rejected  int64  `json:"rejected"`
	Returned  int64  `json:"returned"`
	Failed    int64  `json:"failed_attempts"`
	Retried   int64  `json:"retried"`
	Delayed   int64  `json:"delayed"`
	Tolerated int64  `json:"tolerated"`
	Dropped   int64  `json:"dropped"`
}

type componentView struct {
	Kind        string                `json:"kind"`
	Name        string                `json:"name"`
	Destination string                `json:"destination,omitempty"`
	Named       bool                  `json:"named,omitempty"` // a sink that takes only what a stage sends to it
	Received    int64                 `json:"received"`
	Sent        int64                 `json:"sent"`
	Discarded   int64                 `json:"discarded"`
	InFlight    int64                 `json:"in_flight"`
	Errors      map[engine.Kind]int64 `json:"errors"`
}

// readiness says of a connection, source or sink why it is not ready; Why is empty where it is.
type readiness struct{ What, Why string }

// snapshot returns what has been counted since the start, in the present configuration and in those before.
func (s *service) snapshot() telemetry.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all telemetry.Snapshot
	if s.present != nil {
		addSnapshot(&all, s.present.session.snapshot())
	}
	for _, g := range s.running {
		if g != s.present {
			addSnapshot(&all, g.session.snapshot())
		}
	}
	addSnapshot(&all, s.past)
	return all
}

// over keeps the counters of a configuration that has ended.
func (s *service) over(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g == s.present {
		return // it is looked at as long as nothing takes its place
	}
	s.forget(g)
}

func (s *service) forget(g *generation) {
	i := slices.Index(s.running, g)
	if i < 0 {
		return
	}
	s.running = slices.Delete(s.running, i, i+1)
	now := g.session.snapshot()
	for i := range now.Pipelines {
		now.Pipelines[i].InFlight = 0
	}
	addSnapshot(&now, s.past)
	s.past = now
}

func (s *service) currently() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.present == nil {
		return nil
	}
	return s.present.session
}

// view shows the pipelines of the present configuration.
func (s *service) view() []pipelineView {
	now, counted := s.currently(), s.snapshot()
	if now == nil {
		return []pipelineView{}
	}
	views := make([]pipelineView, 0, len(now.config.Pipelines))
	for _, p := range now.config.Pipelines {
		v := pipelineView{Name: p.Name, State: now.stateOf(p), Stages: []componentView{}, Sinks: []componentView{}, Branches: now.config.Uses[p.Name].Branches}
		if p.Source != nil {
			v.Source = sourceOf(p, counted.Pipelines)
		}
		for i := range p.Stages {
			v.Stages = append(v.Stages, componentOf(counted.Components, p.Name, engine.RoleStage, p.Stages[i].Kind, p.Stages[i].Name))
		}
		for i := range p.Sinks {
			c := componentOf(counted.Components, p.Name, engine.RoleSink, p.Sinks[i].Kind, p.Sinks[i].Name)
			c.Named = p.Sinks[i].Named
			v.Sinks = append(v.Sinks, c)
		}
		views = append(views, v)
	}
	return views
}

func sourceOf(p *engine.Pipeline, counted []engine.PipelineStats) *sourceView {
	v := &sourceView{}
	if l, ok := p.Source.(engine.Locator); ok {
		v.Queue = l.Location()
	}
	if c := find(counted, func(c *engine.PipelineStats) bool { return c.Name == p.Name }); c != nil {
		v.In, v.InFlight, v.Acked, v.Rejected, v.Returned = c.In, c.InFlight, c.Acked, c.Rejected, c.Abandoned
		v.Failed, v.Retried, v.Delayed, v.Tolerated, v.Dropped = c.Failed, c.Retried, c.Delayed, c.Tolerated, c.Dropped
	}
	return v
}

func componentOf(counted []engine.ComponentStats, pipeline string, role engine.Role, kind, name string) componentView {
	v := componentView{Kind: kind, Name: name, Errors: map[engine.Kind]int64{}}
	c := find(counted, func(c *engine.ComponentStats) bool {
		return c.Pipeline == pipeline && c.Role == role && c.Kind == kind && c.Name == name
	})
	if c != nil {
		v.Destination, v.Received, v.Sent, v.Discarded, v.InFlight = c.Address.Destination, c.Received, c.Sent, c.Discarded, c.InFlight()
		v.Errors = c.Errors
	}
	return v
}

// readiness tells of every connection, source and sink whether it is ready.
func (s *service) readiness() (all []readiness) {
	now := s.currently()
	if now == nil {
		return []readiness{{"pipe", "it is starting"}}
	}
	for _, name := range slices.Sorted(maps.Keys(now.connections)) {
		all = append(all, readiness{"connection " + name, trouble(now.connections[name].pool)})
	}
	for _, p := range now.config.Pipelines {
		if p.Source != nil {
			all = append(all, readiness{fmt.Sprintf("source of pipeline %s", p.Name), now.whyNot(p)})
		}
		for i := range p.Sinks {
			all = append(all, readiness{fmt.Sprintf("sink %s of pipeline %s", p.Sinks[i].Name, p.Name), notReady(p.Sinks[i].Sink)})
		}
	}
	return all
}

// trouble says why a connection is not up, or takes nothing; "" where it is, and does.
func trouble(p *pool.Pool) string {
	note := stateNote(p.State())
	if err := p.Trouble(); note != "" && err != nil {
		note += ": " + err.Error()
	}
	return note
}

func notReady(component any) string {
	if r, ok := component.(engine.Readier); ok {
		if err := r.Ready(); err != nil {
			return err.Error()
		}
	}
	return ""
}

// do has f done between two events of the service, or returns an error when ctx ends first.
func (s *service) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case s.asked <- func() { f(); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stops.ctx.Done():
		return errors.New("pipe is stopping")
	}
}

// has reports whether the present configuration has a pipeline with a source of that name.
func (s *service) has(name string) bool {
	now := s.currently()
	return now != nil && slices.ContainsFunc(now.config.Pipelines, func(p *engine.Pipeline) bool { return p.Name == name && p.Source != nil })
}

// snapshot returns what the session has counted.
func (s *session) snapshot() (now telemetry.Snapshot) {
	s.mu.Lock()
	for _, r := range s.runners {
		now.Pipelines = append(now.Pipelines, r.Stats()...)
		addSnapshot(&now, telemetry.Snapshot{Components: r.Components()}) // a branch of several pipelines is in several runners
	}
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.connections)) {
		now.Connections = append(now.Connections, telemetry.Connection{Name: name, Stats: s.connections[name].pool.Stats()})
	}
	return now
}

// stateOf names the state of a pipeline.
func (s *session) stateOf(p *engine.Pipeline) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.Source == nil:
		return "branch"
	case s.runs[p.Name] != pipelineRuns:
		return cmp.Or(s.runs[p.Name], "waiting")
	case s.pauses.has(p.Name):
		return "paused"
	}
	return pipelineRuns
}

// whyNot says why a pipeline's source takes nothing; "" where it does.
func (s *session) whyNot(p *engine.Pipeline) string {
	switch state := s.stateOf(p); state {
	case pipelineRuns:
		return notReady(p.Source)
	case pipelineRefused:
		return "the pipeline does not run: " + cmp.Or(s.obstacle(p), state)
	default:
		return "the pipeline is " + state
	}
}
