package expr_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/expr"
)

// failing is a stage that fails with an expression's error, or with one of its own.
type failing struct{ condition expr.Bool }

func (f failing) Process(_ context.Context, m *engine.Message, _ func(*engine.Message)) error {
	if _, err := f.condition.Eval(m); err != nil {
		return err
	}
	return errors.New("the stage is broken")
}

// failedMessage runs a message into a stage that fails, and returns what the sink for failures takes.
func failedMessage(t *testing.T, body string) *engine.Message {
	t.Helper()
	source := enginetest.NewSource(engine.NewMessage([]byte(body), nil))
	sink := new(enginetest.Sink)
	runner, err := engine.NewRunner(engine.RunOptions{}, &engine.Pipeline{
		Name: "orders", Source: source,
		Stages: []engine.StageNode{{
			Kind: "check", Name: "paid", Stage: failing{expr.MustParseBool(`body.paid == true`)},
			Options: engine.Options{OnError: engine.OnError{Action: engine.OnErrorSend, Target: engine.Target{Name: "failed"}}},
		}},
		Sinks: []engine.SinkNode{{Kind: "memory", Name: "failed", Sink: sink, Named: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(sink.Received()) != 1 {
		t.Fatalf("the sink took %d messages", len(sink.Received()))
	}
	return sink.Received()[0]
}

// TestFailure reads what happened to a message that failed.
func TestFailure(t *testing.T) {
	headers := expr.MustParseMap(`{
		x-reason = error.message, x-kind = error.kind, x-stage = error.stage, x-attempt = error.attempt, x-permanent = error.permanent,
		x-text = "${error.kind} in ${error["stage"]}", failed = has(error), has = has(error.kind), get = get(error.message, "none"),
	}`)
	for body, want := range map[string]string{
		`{}`: `x-reason=expression:1,1-10: body.paid: there is no such field|x-kind=expression|x-stage=check.paid|x-attempt=1|x-permanent=true|` +
			`x-text=expression in check.paid|failed=true|has=true|get=expression:1,1-10: body.paid: there is no such field|`,
		`{"paid": 1}`: `x-reason=the stage is broken|x-kind=stage|x-stage=check.paid|x-attempt=1|x-permanent=false|` +
			`x-text=stage in check.paid|failed=true|has=true|get=the stage is broken|`,
	} {
		got := ""
		err := headers.Each(failedMessage(t, body), func(key string, v any) error {
			got += fmt.Sprintf("%s=%v|", key, v)
			return nil
		})
		if err != nil || got != want {
			t.Errorf("%s\n got %s, %v\nwant %s", body, got, err, want)
		}
	}
}

// TestNoFailure reads it of a message that has not failed.
func TestNoFailure(t *testing.T) {
	m := engine.NewMessage(nil, nil)
	for source, want := range map[string]string{
		`[has(error), has(error.kind), get(error.message, "none"), coalesce(error.stage, "none")]`: `[false,false,"none","none"]`,
		`error.attempt`: `expression:1,1-14: error.attempt: there is no error: the message has not failed`,
	} {
		out, err := expr.MustParseValue(source).AppendJSON(nil, m)
		if err != nil {
			out = []byte(err.Error())
		}
		if string(out) != want {
			t.Errorf("%s is %s, want %s", source, out, want)
		}
	}
}
