package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// twice emits every message and a copy of it.
type twice struct{}

func (twice) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	emit(m.Clone())
	emit(m)
	return nil
}

func TestStageThatIsWell(t *testing.T) {
	enginetest.TestStage(t, func() engine.Stage { return twice{} }, engine.NewMessage([]byte("{}"), nil))
}

func TestMemorySource(t *testing.T) {
	enginetest.TestSource(t, func(*testing.T) enginetest.SourceCase {
		s := enginetest.NewSource()
		s.Endless = true
		published := 0
		return enginetest.SourceCase{
			Source: s,
			Publish: func(messages ...*engine.Message) {
				published += len(messages)
				s.Add(messages...)
			},
			Left: func(int) int { return published - s.Count(engine.Ack) - s.Count(engine.Reject) },
		}
	})
}

func TestMemorySink(t *testing.T) {
	enginetest.TestSink(t, func(*testing.T) enginetest.SinkCase {
		refused := errors.New("refused")
		s := &enginetest.Sink{Outcome: func(m *engine.Message) error {
			if m.Properties.Type == "refused" {
				return refused
			}
			return nil
		}}
		bad := engine.NewMessage(nil, nil)
		bad.Properties.Type = "refused"
		return enginetest.SinkCase{Sink: s, Refused: bad, Received: func(int) []*engine.Message {
			var taken []*engine.Message
			for _, m := range s.Received() {
				if m.Properties.Type != "refused" {
					taken = append(taken, m)
				}
			}
			return taken
		}}
	})
}

func TestDiff(t *testing.T) {
	for i, m := range enginetest.Samples() {
		if d := enginetest.Diff(m, enginetest.Samples()[i]); d != "" {
			t.Errorf("sample %d differs from itself: %s", i, d)
		}
	}
	with := func(change func(*engine.Message)) *engine.Message {
		m := enginetest.Samples()[0]
		change(m)
		return m
	}
	for want, changed := range map[string]*engine.Message{
		`body: want`:                  with(func(m *engine.Message) { m.Body = nil }),
		`Priority: want uint8 0x7`:    with(func(m *engine.Message) { m.Properties.Priority = 1 }),
		`headers["empty"] is missing`: with(func(m *engine.Message) { m.Headers.Delete("empty") }),
		`headers["more"]: got`:        with(func(m *engine.Message) { m.Headers.Set("more", 1) }),
		`headers["int8"]: want int8`:  with(func(m *engine.Message) { m.Headers.Set("int8", int64(-128)) }),
		`headers["table"]["a"] is`:    with(func(m *engine.Message) { m.Headers.Set("table", map[string]any{}) }),
		`headers["array"]: want`:      with(func(m *engine.Message) { m.Headers.Set("array", []any{1}) }),
	} {
		if got := enginetest.Diff(enginetest.Samples()[0], changed); len(got) < len(want) || got[:len(want)] != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
}

// ExampleNewSource runs a pipeline in memory.
func ExampleNewSource() {
	source := enginetest.NewSource(
		engine.NewMessage([]byte("a"), nil),
		engine.NewMessage([]byte("b"), nil),
	)
	sink := new(enginetest.Sink)
	runner, err := engine.NewRunner(engine.RunOptions{}, &engine.Pipeline{
		Name: "copy", Source: source,
		Stages: []engine.StageNode{{Kind: "twice", Name: "t", Stage: twice{}}},
		Sinks:  []engine.SinkNode{{Kind: "memory", Name: "out", Sink: sink}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := runner.Run(context.Background()); err != nil {
		fmt.Println(err)
	}
	for _, m := range sink.Received() {
		fmt.Printf("%s ", m.Body)
	}
	fmt.Println(source.Count(engine.Ack), "acknowledged")
	// Output: a a b b 2 acknowledged
}
