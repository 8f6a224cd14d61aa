// Package log is the stage that writes a line to pipe's own log for each message.
package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// Config describes the stage.
type Config struct {
	_ struct{} `doc:"Writes one line to the log for each message, and sends the message on unchanged. Where the line cannot be made, the message fails; on_error = \"continue\" tolerates that."`

	Message expr.String `hcl:"message" doc:"The text, as \"order $${body.id}\"."`
	Level   string      `hcl:"level,optional" default:"info" enum:"debug,info,warn,error" doc:"How much the line matters; run --log-level hides lesser ones."`
	Fields  expr.Map    `hcl:"fields,optional" doc:"Values beside the text, as { region = body.region }."`

	Env engine.Env
}

// Stage logs messages. Process may be called from many goroutines.
type Stage struct {
	message expr.String
	fields  expr.Map
	level   slog.Level
	log     *slog.Logger
}

var (
	_ engine.Stage  = (*Stage)(nil)
	_ engine.Reader = (*Stage)(nil)
)

// New makes the stage. It returns an error if c.Message is not set, or if c.Level is none of debug,
// info, warn, error; an empty level is info.
func New(c Config) (*Stage, error) {
	if !c.Message.IsSet() {
		return nil, errors.New("message is missing: say what to log")
	}
	s := &Stage{message: c.Message, fields: c.Fields, log: c.Env.Logger()}
	if c.Level != "" {
		if err := s.level.UnmarshalText([]byte(c.Level)); err != nil {
			return nil, fmt.Errorf("level is debug, info, warn or error, not %q", c.Level)
		}
	}
	return s, nil
}

// OnlyReads implements [engine.Reader].
func (*Stage) OnlyReads() {}

// KeepsBody says that messages leave with the body that they came with, but for what is assigned.
func (*Stage) KeepsBody() {}

// Process logs the message and emits it. A line that the log's level hides costs nothing.
func (s *Stage) Process(ctx context.Context, m *engine.Message, emit func(*engine.Message)) error {
	if s.log.Enabled(ctx, s.level) {
		if err := s.write(ctx, m); err != nil {
			return err
		}
	}
	emit(m)
	return nil
}

func (s *Stage) write(ctx context.Context, m *engine.Message) error {
	text, err := s.message.Eval(m)
	if err != nil {
		return err
	}
	var fields []slog.Attr
	err = s.fields.Each(m, func(key string, value any) error {
		fields = append(fields, slog.Any(key, value))
		return nil
	})
	if err != nil {
		return err
	}
	s.log.LogAttrs(ctx, s.level, text, fields...)
	return nil
}
