package engine_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

func messages(bodies ...string) []*engine.Message {
	var all []*engine.Message
	for _, b := range bodies {
		all = append(all, engine.NewMessage([]byte(b), nil))
	}
	return all
}

func bodies(messages []*engine.Message) string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Body))
	}
	return strings.Join(all, " ")
}

func stages(s ...engine.Stage) []engine.StageNode {
	var nodes []engine.StageNode
	for i, s := range s {
		nodes = append(nodes, engine.StageNode{Kind: "test", Name: string(rune('a' + i)), Stage: s})
	}
	return nodes
}

func sinkNode(name string, s engine.Sink) engine.SinkNode {
	return engine.SinkNode{Kind: "test", Name: name, Sink: s}
}

func one(source engine.Source, s engine.Sink, stage ...engine.Stage) *engine.Pipeline {
	return &engine.Pipeline{Name: "p", Source: source, Stages: stages(stage...), Sinks: []engine.SinkNode{sinkNode("out", s)}}
}

func runner(t *testing.T, o engine.RunOptions, p ...*engine.Pipeline) *engine.Runner {
	t.Helper()
	r, err := engine.NewRunner(o, p...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs pipelines until their sources are through.
func run(t *testing.T, p ...*engine.Pipeline) engine.PipelineStats {
	t.Helper()
	r := runner(t, engine.RunOptions{}, p...)
	if err := r.Run(context.Background()); err != nil {
		t.Error(err)
	}
	return r.Stats()[0]
}

func settledAs(t *testing.T, s *enginetest.Source, want ...engine.Outcome) {
	t.Helper()
	for i, w := range want {
		if o, ok := s.Outcome(i); !ok || o != w {
			t.Errorf("message %d: settled %v with %s, not %s", i, ok, o, w)
		}
	}
}

var pass = stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	emit(m)
	return nil
})

func failing(err error) engine.Stage {
	return stageFunc(func(context.Context, *engine.Message, func(*engine.Message)) error { return err })
}

// logged returns a logger, and what it has written.
func logged() (*slog.Logger, *bytes.Buffer) {
	b := new(bytes.Buffer)
	return slog.New(slog.NewTextHandler(b, nil)), b
}
