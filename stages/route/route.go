// Package route is the stage that chooses where a message goes.
package route

import (
	"context"
	"errors"
	"fmt"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// Config describes the stage.
type Config struct {
	_ struct{} `doc:"Chooses where a message goes when it reaches the end of the pipeline: the first case that holds decides. A sink that is named here takes only what is sent to it. A message for which no case holds goes to default; without a default it is sent nowhere by this stage."`

	Cases   []Case   `hcl:"case,block" doc:"Tried in order; the first one that holds decides."`
	Default *Default `hcl:"default,block" doc:"Decides where no case holds."`
}

// Case sends the messages for which a condition holds.
type Case struct {
	When expr.Bool       `hcl:"when" doc:"The condition, as body.region == \"eu\"."`
	To   []engine.Target `hcl:"to" doc:"The sinks and branches that take the message, as [sink.eu, pipeline.audit]."`
}

// Default sends the messages for which no case holds.
type Default struct {
	To []engine.Target `hcl:"to" doc:"The sinks and branches that take the message."`
}

// Stage routes messages. Process may be called from many goroutines.
type Stage struct {
	cases    []Case
	fallback []engine.Target
}

var (
	_ engine.Stage  = (*Stage)(nil)
	_ engine.Reader = (*Stage)(nil)
)

// New makes the stage. It returns an error if there is neither a case nor a default, or if one of
// them does not say where to.
func New(c Config) (*Stage, error) {
	if len(c.Cases) == 0 && c.Default == nil {
		return nil, errors.New("there is neither a case nor a default: say where messages go")
	}
	for i, k := range c.Cases {
		switch {
		case !k.When.IsSet():
			return nil, fmt.Errorf("case %d has no condition: say when it holds", i+1)
		case len(k.To) == 0:
			return nil, fmt.Errorf("case %d sends to nothing: name a sink, or use a drop stage", i+1)
		}
	}
	s := &Stage{cases: c.Cases}
	if c.Default != nil {
		if len(c.Default.To) == 0 {
			return nil, errors.New("default sends to nothing: name a sink, or use a drop stage")
		}
		s.fallback = c.Default.To
	}
	return s, nil
}

// OnlyReads implements [engine.Reader].
func (*Stage) OnlyReads() {}

// KeepsBody says that messages leave with the body that they came with, but for what is assigned.
func (*Stage) KeepsBody() {}

// Process notes on the message where it goes, and emits it.
func (s *Stage) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	to, err := s.choose(m)
	if err != nil {
		return err
	}
	if len(to) > 0 {
		m.SendTo(to...)
	}
	emit(m)
	return nil
}

func (s *Stage) choose(m *engine.Message) ([]engine.Target, error) {
	for i := range s.cases {
		holds, err := s.cases[i].When.Eval(m)
		if err != nil {
			return nil, err
		}
		if holds {
			return s.cases[i].To, nil
		}
	}
	return s.fallback, nil
}
