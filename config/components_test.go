package config_test

import (
	"context"
	"errors"

	"github.com/pipeamqp/pipe/engine"
)

// gatherConfig is the struct of a component of these tests.
type gatherConfig struct {
	_    struct{} `doc:"Makes one message of a group."`
	Max  int      `hcl:"max,optional" default:"10" min:"1" max:"100" doc:"The most."`
	Unit string   `hcl:"unit" enum:"kg,lb" doc:"What it is counted in."`
}

type gather struct{ gatherConfig }

func newGather(c gatherConfig) (*gather, error) {
	if c.Max == 13 {
		return nil, errors.New("max must not be 13")
	}
	return &gather{c}, nil
}

func (*gather) Aggregate(_ context.Context, group []*engine.Message, emit func(*engine.Message)) error {
	emit(group[0])
	return nil
}
