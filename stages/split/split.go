// Package split is the stage that makes one message of each element of a list.
package split

import (
	"context"
	"errors"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// Config describes the stage.
type Config struct {
	_ struct{} `doc:"Makes one message of each element of a list: its body is the element as JSON, its properties and headers are those of the input. The input is acknowledged when all of them have been confirmed; an empty list drops it. Keep what the elements need to know of the input with an expression, as [for i in body.items : merge(i, { order = body.id })]."`

	Each expr.Value `hcl:"each" doc:"The list, as body.items."`
}

// Stage splits messages. Process may be called from many goroutines.
type Stage struct{ each expr.Value }

var (
	_ engine.Stage  = (*Stage)(nil)
	_ engine.Reader = (*Stage)(nil)
)

// New makes the stage. It returns an error if c.Each is not set.
func New(c Config) (*Stage, error) {
	if !c.Each.IsSet() {
		return nil, errors.New("each is missing: say which list to split")
	}
	return &Stage{each: c.Each}, nil
}

// OnlyReads implements [engine.Reader].
func (*Stage) OnlyReads() {}

// Process emits a message for each element of the list, in the list's order. An element that comes
// from the body leaves byte for byte as it is written there.
func (s *Stage) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	elements, err := s.each.Elements(m)
	if err != nil {
		return err
	}
	for _, element := range elements {
		part := m.Clone()
		part.Body = element
		emit(part)
	}
	return nil
}
