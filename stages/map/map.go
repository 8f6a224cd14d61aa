// Package mapper is the stage that changes messages.
package mapper

import (
	"context"
	"errors"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// Config describes the stage.
type Config struct {
	_ struct{} `doc:"Changes a message: the body, headers, properties and routing key. Right-hand sides see the message as it came into the stage. What is not named stays as it is, byte for byte; if anything fails, nothing is changed."`

	Set   expr.Assignments `hcl:"set,optional" doc:"What to write, as { body.total = 1, msg.headers[\"x-tier\"] = \"gold\" }."`
	Unset expr.Paths       `hcl:"unset,optional" doc:"What to remove, as [body.note, msg.headers[\"x-old\"]]. Removing what is not there does nothing."`
}

// Stage changes messages. Process may be called from many goroutines.
type Stage struct{ edit *expr.Edit }

var _ engine.Stage = (*Stage)(nil)

// New makes the stage. It returns an error if c says nothing to do.
func New(c Config) (*Stage, error) {
	if !c.Set.IsSet() && !c.Unset.IsSet() {
		return nil, errors.New("there is nothing to do: give set, unset or both")
	}
	return &Stage{edit: expr.NewEdit(c.Set, c.Unset)}, nil
}

// KeepsBody says that messages leave with the body that they came with, but for what is assigned.
func (*Stage) KeepsBody() {}

// Process changes the message and emits it.
func (s *Stage) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	if err := s.edit.Apply(m); err != nil {
		return err
	}
	emit(m)
	return nil
}
