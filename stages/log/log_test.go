package log_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/stages/log"
)

// handler writes text without times.
func handler(w *bytes.Buffer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func Example() {
	var out bytes.Buffer
	fields, err := expr.ParseMap(`{ region = body.region, total = body.total }`)
	if err != nil {
		fmt.Println(err)
		return
	}
	stage, err := log.New(log.Config{
		Message: expr.MustParseString(`"order ${body.id}"`), Fields: fields, Level: "warn",
		Env: engine.Env{Log: handler(&out, slog.LevelInfo)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := engine.NewMessage([]byte(`{"id":7,"region":"eu","total":1.5}`), nil)
	_ = stage.Process(context.Background(), m, func(m *engine.Message) { fmt.Printf("%s\n", m.Body) })
	_, _ = out.WriteTo(os.Stdout)
	// Output:
	// {"id":7,"region":"eu","total":1.5}
	// level=WARN msg="order 7" region=eu total=1.5
}

func TestNew(t *testing.T) {
	message := expr.MustParseString(`"x"`)
	for name, c := range map[string]log.Config{
		"no message":    {},
		"unknown level": {Message: message, Level: "loud"},
	} {
		if _, err := log.New(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A line that cannot be made fails the message; one that is hidden is not made.
func TestFailure(t *testing.T) {
	var out bytes.Buffer
	for name, test := range map[string]struct {
		level slog.Level
		fails bool
	}{
		"shown":  {slog.LevelInfo, true},
		"hidden": {slog.LevelWarn, false},
	} {
		t.Run(name, func(t *testing.T) {
			stage, err := log.New(log.Config{
				Message: expr.MustParseString(`"order ${body.id}"`), Level: "info",
				Env: engine.Env{Log: handler(&out, test.level)},
			})
			if err != nil {
				t.Fatal(err)
			}
			emitted := 0
			err = stage.Process(context.Background(), engine.NewMessage([]byte(`{}`), nil), func(*engine.Message) { emitted++ })
			if test.fails != (err != nil) || test.fails == (emitted == 1) {
				t.Errorf("error %v, emitted %d times", err, emitted)
			}
			if strings.Contains(out.String(), "order") {
				t.Errorf("logged %q", out.String())
			}
		})
	}
}

// Without a logger of its own a stage is usable.
func TestZeroEnv(t *testing.T) {
	stage, err := log.New(log.Config{Message: expr.MustParseString(`body.missing`)})
	if err != nil {
		t.Fatal(err)
	}
	if err := stage.Process(context.Background(), engine.NewMessage([]byte(`{}`), nil), func(*engine.Message) {}); err != nil {
		t.Error(err)
	}
}

func TestConformance(t *testing.T) {
	newStage := func() engine.Stage {
		s, err := log.New(log.Config{Message: expr.MustParseString(`"order ${body.id}"`)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	enginetest.TestStage(t, newStage, engine.NewMessage([]byte(`{"id":7,"status":"paid","region":"eu-west","total":5,"items":[{"sku":"tea"}],"note":"x"}`), nil))
}
