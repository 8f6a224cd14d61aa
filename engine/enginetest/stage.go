package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/sourcegraph/conc"
	"go.uber.org/goleak"

	"github.com/pipeamqp/pipe/engine"
)

// patience is how long something may take that ought to happen at once, before it is taken not to happen at all.
const patience = time.Minute

// TestStage checks that a stage keeps the contract of [engine.Stage]: with the inputs, which should be messages that it is
// made for, and with odd ones. newStage makes a new stage at each call.
func TestStage(t *testing.T, newStage func() engine.Stage, inputs ...*engine.Message) {
	all := func() []*engine.Message {
		messages := Samples()
		for _, m := range inputs {
			messages = append(messages, copied(m))
		}
		return messages
	}
	if !t.Run("leaves what is shared alone", func(t *testing.T) { stageShares(t, newStage(), all()) }) {
		return // in many goroutines it would crash the process, and nobody would read why
	}
	t.Run("emits as it should", func(t *testing.T) { stageEmits(t, newStage(), all()) })
	t.Run("returns when its context has ended", func(t *testing.T) { stageEnds(t, newStage(), all()) })
	t.Run("works in many goroutines", func(t *testing.T) { stageInMany(t, newStage(), all) })
	t.Run("settles every delivery in a pipeline", func(t *testing.T) { stageInPipeline(t, newStage(), all()) })
}

// begin starts a component, if it needs that; it is closed when the test ends. Goroutines that are then left are an error.
func begin(t *testing.T, component any) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	if s, ok := component.(engine.Starter); ok {
		if err := s.Start(t.Context()); err != nil {
			t.Fatalf("Start: %v", err)
		}
	}
	if c, ok := component.(engine.Closer); ok {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := c.Close(ctx); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// process calls the stage, which must not panic, and returns what it emitted.
func process(t *testing.T, ctx context.Context, s engine.Stage, m *engine.Message) (emitted []*engine.Message, err error) {
	t.Helper()
	returned := false
	defer func() {
		if v := recover(); v != nil {
			t.Errorf("Process panicked with the body %.100q: %v", m.Body, v)
			err = errors.New("panic")
		}
	}()
	err = s.Process(ctx, m, func(out *engine.Message) {
		if returned {
			t.Error("emit was called after Process had returned")
		}
		emitted = append(emitted, out)
	})
	returned = true
	return emitted, err
}

func stageShares(t *testing.T, s engine.Stage, messages []*engine.Message) {
	begin(t, s)
	for _, m := range messages {
		body := m.Body
		shared := m.Clone()
		want := copied(m)
		_, _ = process(t, t.Context(), s, m)
		if !bytes.Equal(body, want.Body) {
			t.Errorf("the stage wrote into the bytes of the body %.100q, which clones of the message share: replace Body", want.Body)
		}
		if d := Diff(want, shared); d != "" {
			t.Errorf("the stage changed another message through what they share: %s", d)
		}
		if _, reads := s.(engine.Reader); !reads {
			continue
		}
		d := Diff(want, m)
		if m.RoutingKey != want.RoutingKey {
			d = fmt.Sprintf("routing key: want %q, got %q", want.RoutingKey, m.RoutingKey)
		}
		if d != "" {
			t.Errorf("the stage says that it is an engine.Reader, and changed a message: %s", d)
		}
	}
}

func stageEmits(t *testing.T, s engine.Stage, messages []*engine.Message) {
	begin(t, s)
	for _, m := range messages {
		emitted, err := process(t, t.Context(), s, m)
		seen := make(map[*engine.Message]bool)
		for _, out := range emitted {
			switch {
			case out == nil:
				t.Error("the stage emitted nil")
			case seen[out]:
				t.Error("the stage emitted the same message twice: emit a Clone")
			}
			seen[out] = true
		}
		if err != nil && err.Error() == "" {
			t.Error("an error of the stage has no text")
		}
	}
}

func stageEnds(t *testing.T, s engine.Stage, messages []*engine.Message) {
	begin(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var work conc.WaitGroup
	returned := make(chan struct{})
	work.Go(func() {
		defer close(returned)
		for _, m := range messages {
			_, _ = process(t, ctx, s, m)
		}
	})
	select {
	case <-returned:
	case <-time.After(patience):
		t.Fatal("Process does not return, though its context has ended")
	}
	work.Wait()
}

func stageInMany(t *testing.T, s engine.Stage, messages func() []*engine.Message) {
	begin(t, s)
	var work conc.WaitGroup
	shared := messages()
	for range 8 {
		mine := make([]*engine.Message, len(shared))
		for i, m := range shared {
			mine[i] = m.Clone()
		}
		work.Go(func() {
			for range 20 {
				for _, m := range mine {
					_, _ = process(t, t.Context(), s, m.Clone())
				}
			}
		})
	}
	work.Wait()
}

func stageInPipeline(t *testing.T, s engine.Stage, messages []*engine.Message) {
	before := goleak.IgnoreCurrent()
	defer goleak.VerifyNone(t, before)
	source, sink := NewSource(messages...), new(Sink)
	source.Keeps = true // what the stage sends to a target that is not there is a failure, and done with
	runner, err := engine.NewRunner(engine.RunOptions{}, &engine.Pipeline{
		Name: "conformance", Source: source,
		Stages: []engine.StageNode{{
			Kind: "stage", Name: "tested", Stage: s,
			Options: engine.Options{OnError: engine.OnError{Action: engine.OnErrorDrop}},
		}},
		Sinks:         []engine.SinkNode{{Kind: "sink", Name: "out", Sink: sink}},
		DropUnmatched: true, Concurrency: 4,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := runner.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	for i := range messages {
		if _, ok := source.Outcome(i); !ok {
			t.Errorf("delivery %d is not settled", i)
		}
	}
	if n := source.Twice(); n > 0 {
		t.Errorf("%d deliveries were settled twice", n)
	}
}
