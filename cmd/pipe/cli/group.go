package cli

import (
	"fmt"
	"slices"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// group is pipelines that run together: one that has a source and the branches that it sends to, and
// the other pipelines that send to one of these.
type group struct {
	pipelines   []*engine.Pipeline // in the order of the files
	connections []string           // that they use
}

// groupPipelines sorts pipelines into groups that have nothing to do with each other but, perhaps,
// connections. A branch that nobody sends to is left out.
func groupPipelines(c *config.Config) []group {
	leader := make(map[string]string) // of each pipeline's group
	find := func(name string) string {
		for leader[name] != "" {
			name = leader[name]
		}
		return name
	}
	for _, p := range c.Pipelines {
		for _, branch := range c.Uses[p.Name].Branches {
			if a, b := find(p.Name), find(branch); a != b {
				leader[b] = a
			}
		}
	}
	var groups []group
	index := make(map[string]int)
	for _, p := range c.Pipelines {
		name := find(p.Name)
		if _, ok := index[name]; !ok {
			index[name] = len(groups)
			groups = append(groups, group{})
		}
		g := &groups[index[name]]
		g.pipelines = append(g.pipelines, p)
		g.connections = append(g.connections, c.Uses[p.Name].Connections...)
	}
	for i := range groups {
		slices.Sort(groups[i].connections)
		groups[i].connections = slices.Compact(groups[i].connections)
	}
	return slices.DeleteFunc(groups, func(g group) bool { return !slices.ContainsFunc(g.pipelines, hasSource) })
}

func hasSource(p *engine.Pipeline) bool { return p.Source != nil }

// usable returns the pipelines of a group that can run, its connections having started, and an error
// that wraps errRefused if some cannot. These have been logged.
func (s *session) usable(g group) (pipelines []*engine.Pipeline, refused error) {
	for _, p := range g.pipelines {
		why := s.obstacle(p)
		switch {
		case why == "":
			pipelines = append(pipelines, p)
		case p.Source != nil:
			s.log.Error("pipeline does not run", "pipeline", p.Name, "because", why)
			refused = errRefused
		}
	}
	return pipelines, refused
}

// obstacle says what keeps a pipeline from running, if anything does.
func (s *session) obstacle(p *engine.Pipeline) string {
	uses := s.config.Uses[p.Name]
	for _, name := range uses.Connections {
		if s.connections[name].err != nil {
			return fmt.Sprintf("connection %q cannot be used", name)
		}
	}
	for _, e := range uses.Entities {
		same := func(failed *pool.TopologyError) bool { return failed.Entity == e.Kind && failed.Name == e.Name }
		if c := s.connections[e.Connection]; c != nil && slices.ContainsFunc(c.failed, same) {
			return fmt.Sprintf("%s %q could not be declared", e.Kind, e.Name)
		}
	}
	return ""
}
