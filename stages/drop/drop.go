// Package drop is the stage that drops every message that reaches it.
package drop

import (
	"context"

	"github.com/pipeamqp/pipe/engine"
)

// Config describes the stage.
type Config struct {
	_ struct{} `doc:"Drops every message that reaches it: nothing is sent on, and the input is acknowledged. With when it drops only those for which the condition holds."`
}

// Stage drops messages on purpose. Process may be called from many goroutines.
type Stage struct{}

var (
	_ engine.Stage  = Stage{}
	_ engine.Reader = Stage{}
)

// New makes the stage. It cannot fail.
func New(Config) (Stage, error) { return Stage{}, nil }

// OnlyReads implements [engine.Reader].
func (Stage) OnlyReads() {}

// KeepsBody says that messages leave with the body that they came with, but for what is assigned.
func (Stage) KeepsBody() {}

// Process emits nothing.
func (Stage) Process(context.Context, *engine.Message, func(*engine.Message)) error { return nil }
