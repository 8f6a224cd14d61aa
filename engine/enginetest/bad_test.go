package enginetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

type stageFunc func(context.Context, *engine.Message, func(*engine.Message)) error

func (f stageFunc) Process(ctx context.Context, m *engine.Message, emit func(*engine.Message)) error {
	return f(ctx, m, emit)
}

type reader struct{ stageFunc }

func (reader) OnlyReads() {}

type sinkFunc func(context.Context, *engine.Message, func(error))

func (f sinkFunc) Send(ctx context.Context, m *engine.Message, done func(error)) { f(ctx, m, done) }

type sourceFunc func(context.Context, func([]engine.Delivery)) error

func (f sourceFunc) Run(ctx context.Context, next func([]engine.Delivery)) error { return f(ctx, next) }

var kept func(*engine.Message)

// bad are components that break their contract, and what the suites say of them.
var bad = map[string]struct {
	component any
	says      string
}{
	"writes into the body": {stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		if len(m.Body) > 0 {
			m.Body[0] = 'x'
		}
		emit(m)
		return nil
	}), "wrote into the bytes of the body"},
	"writes into a nested table": {stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		if table, ok := m.Headers.Table()["table"].(map[string]any); ok {
			table["a"] = "changed"
		}
		emit(m)
		return nil
	}), "changed another message"},
	"changes what it only reads": {reader{func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		m.RoutingKey = "changed"
		emit(m)
		return nil
	}}, "is an engine.Reader, and changed a message"},
	"emits nil": {stageFunc(func(_ context.Context, _ *engine.Message, emit func(*engine.Message)) error {
		emit(nil)
		return nil
	}), "emitted nil"},
	"emits the same message twice": {stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		emit(m)
		emit(m)
		return nil
	}), "the same message twice"},
	"emits late": {stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		if kept != nil {
			kept(m)
		}
		kept = emit
		return nil
	}), "after Process had returned"},
	"panics": {stageFunc(func(_ context.Context, m *engine.Message, _ func(*engine.Message)) error {
		_ = m.Body[0]
		return nil
	}), "Process panicked"},
	"leaves goroutines behind": {stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		go time.Sleep(time.Hour)
		emit(m)
		return nil
	}), "found unexpected goroutines"},
	"errors without a text": {stageFunc(func(context.Context, *engine.Message, func(*engine.Message)) error {
		return errors.New("")
	}), "has no text"},

	"tells twice": {sinkFunc(func(_ context.Context, _ *engine.Message, done func(error)) {
		done(nil)
		done(nil)
	}), "outcomes twice"},
	"changes what it is sent": {sinkFunc(func(_ context.Context, m *engine.Message, done func(error)) {
		m.Headers.Set("sent", true)
		done(nil)
	}), "the sink changed message"},
	"fails": {sinkFunc(func(_ context.Context, _ *engine.Message, done func(error)) {
		done(errors.New("no"))
	}), "a message failed: no"},

	"ends too early": {sourceFunc(func(ctx context.Context, _ func([]engine.Delivery)) error {
		return errors.New("gone")
	}), "the source has ended: gone"},
}

// TestBad runs the suites, in processes of their own, on what they must find.
func TestBad(t *testing.T) {
	for name, b := range bad {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestOneThatIsBad$")
			cmd.Env = append(os.Environ(), "BAD="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), b.says) {
				t.Errorf("%v, and not %q:\n%s", err, b.says, out)
			}
		})
	}
}

func TestOneThatIsBad(t *testing.T) {
	switch c := bad[os.Getenv("BAD")].component.(type) {
	case engine.Stage:
		enginetest.TestStage(t, func() engine.Stage { return c })
	case engine.Sink:
		enginetest.TestSink(t, func(*testing.T) enginetest.SinkCase { return enginetest.SinkCase{Sink: c} })
	case engine.Source:
		enginetest.TestSource(t, func(*testing.T) enginetest.SourceCase {
			return enginetest.SourceCase{Source: c, Publish: func(...*engine.Message) {}, Left: func(int) int { return 0 }}
		})
	default:
		t.Skip("TestBad runs this")
	}
}
