// Package filter is the stage that keeps the messages for which a condition holds.
package filter

import (
	"context"
	"errors"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// Config describes the stage.
type Config struct {
	_ struct{} `doc:"Keeps the messages for which a condition holds. The others are dropped on purpose: nothing is sent on, and the input is acknowledged."`

	Keep expr.Bool `hcl:"keep" doc:"The condition, as body.status == \"paid\"."`
}

// Stage keeps or drops messages. Process may be called from many goroutines.
type Stage struct{ keep expr.Bool }

var (
	_ engine.Stage  = (*Stage)(nil)
	_ engine.Reader = (*Stage)(nil)
)

// New makes the stage. It returns an error if c.Keep is not set.
func New(c Config) (*Stage, error) {
	if !c.Keep.IsSet() {
		return nil, errors.New("keep is missing: say which messages stay")
	}
	return &Stage{keep: c.Keep}, nil
}

// OnlyReads implements [engine.Reader].
func (*Stage) OnlyReads() {}

// KeepsBody says that messages leave with the body that they came with, but for what is assigned.
func (*Stage) KeepsBody() {}

// Process emits the message, unchanged, if the condition holds for it.
func (s *Stage) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	keep, err := s.keep.Eval(m)
	if err != nil {
		return err
	}
	if keep {
		emit(m)
	}
	return nil
}
