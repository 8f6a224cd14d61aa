package telemetry

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pipeamqp/pipe/engine"
)

// onTerminal returns a tracer, and what it prints of one trace in so many.
func onTerminal(every uint64, sampler trace.Sampler) (*tracer, *string) {
	printed := new(string)
	shown := newTerminal(func(lines string) { *printed += lines }, every)
	p := trace.NewTracerProvider(trace.WithSampler(trace.AlwaysSample()), trace.WithIDGenerator(ids{}), trace.WithSpanProcessor(shown))
	return newTracer(p, settingsOf(nil), sampler, false, new(atomic.Int64)), printed
}

func expect(t *testing.T, printed string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(printed, want) {
			t.Errorf("no %q in\n%s", want, printed)
		}
	}
}

func TestTerminal(t *testing.T) {
	tracer, printed := onTerminal(1, &oneIn{n: 2})
	for range 4 {
		s := tracer.Process(attempt(map[string]any{"traceparent": unsampledParent}))
		if s == nil {
			continue
		}
		stage := s.Stage("p", &engine.StageNode{Kind: "filter", Name: "paid"}, nil)
		stage.Fail(&engine.Failure{Kind: engine.KindExpression, Err: errors.New("no such field")})
		stage.End()
		s.Settle(engine.Reject).End()
		s.End()
	}
	if n := strings.Count(*printed, "process q"); n != 2 {
		t.Errorf("%d traces of four messages, one in two", n)
	}
	expect(t, *printed, "├─ filter paid", "failed: no such field", "└─ reject q", "  reject  trace 4bf92f3577b34da6a3ce929d0e0e4736\n")
}

// TestTerminalTellsWhatBecameOfAMessage: at which attempt, and where it was dropped.
func TestTerminalTellsWhatBecameOfAMessage(t *testing.T) {
	tracer, printed := onTerminal(1, trace.AlwaysSample())
	a := attempt(nil)
	a.Number = 2
	s := tracer.Process(a)
	stage := s.Stage("p", &engine.StageNode{Kind: "filter", Name: "paid"}, nil)
	stage.Discard()
	stage.End()
	s.Settle(engine.Ack).End()
	s.End()
	expect(t, *printed, "ms  attempt 2  ack  trace ", "ms  discard\n")
}

// TestTerminalBesideABackend: of the traces that are exported, one in so many is printed, whole.
func TestTerminalBesideABackend(t *testing.T) {
	tracer, printed := onTerminal(3, trace.AlwaysSample())
	for i := range 7 {
		a := attempt(nil)
		a.Message.Properties.MessageID = fmt.Sprint("m-", i)
		s := tracer.Process(a)
		s.Settle(engine.Ack).End()
		s.End()
	}
	if n := strings.Count(*printed, "process q"); n != 3 || strings.Count(*printed, "└─ ack q") != n {
		t.Errorf("%d of seven traces, one in three:\n%s", n, *printed)
	}
	expect(t, *printed, "m-0", "m-3", "m-6")
}

// TestTerminalKnowsAMessageAgain that the broker has held: its next attempt is in the same trace, and it has its own headers again.
func TestTerminalKnowsAMessageAgain(t *testing.T) {
	tracer, printed := onTerminal(1, &oneIn{n: 100})
	tracer.private = true
	a := attempt(map[string]any{"own": "header"})
	out := a.Message.Clone()
	s := tracer.Process(a)
	s.Publish("p", engine.RetryComponent, engine.Address{}, out).End()
	s.End()
	again := engine.Attempt{Pipeline: "p", Message: out, Number: 2}
	s = tracer.Process(again)
	if s == nil {
		t.Fatal("it is not followed any longer")
	}
	s.End()
	id, _ := s.IDs()
	if n := strings.Count(*printed, "trace "+id); n != 2 {
		t.Errorf("%d trees of trace %s:\n%s", n, id, *printed)
	}
	if got := out.Headers.Table(); len(got) != 1 || got["own"] != "header" {
		t.Errorf("the headers are %v", got)
	}
}

// TestTerminalChangesNoMessage: what is only looked at leaves as it came.
func TestTerminalChangesNoMessage(t *testing.T) {
	for _, headers := range []map[string]any{nil, {"traceparent": unsampledParent}, {"traceparent": sampledParent, "tracestate": "vendor=1"}} {
		tracer, _ := onTerminal(1, &oneIn{n: 2})
		tracer.private = true
		for range 2 { // followed, and not
			a := attempt(nil)
			for k, v := range headers {
				a.Message.Headers.Set(k, v)
			}
			out := a.Message.Clone()
			if s := tracer.Process(a); s != nil {
				s.Publish("p", "sink.s", engine.Address{}, out)
			}
			for _, m := range []*engine.Message{a.Message, out} {
				if fmt.Sprint(m.Headers.Table()) != fmt.Sprint(headers) {
					t.Errorf("the headers are %v, not %v", m.Headers.Table(), headers)
				}
			}
		}
	}
}
