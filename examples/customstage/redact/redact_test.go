package redact_test

import (
	"context"
	"testing"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"

	"github.com/pipeamqp/pipe/examples/customstage/redact"
)

// The one line that tells whether the stage keeps the engine's contract.
func TestConformance(t *testing.T) {
	enginetest.TestStage(t, newStage(t), engine.NewMessage([]byte(`{"card":"4111111111111111"}`), nil))
}

func newStage(t *testing.T) func() engine.Stage {
	return func() engine.Stage {
		s, err := redact.New(redact.Config{Mask: "*", Keep: 4})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestRedact(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"a card":               {`{"card":"4111111111111111"}`, `{"card":"************1111"}`},
		"wrong check digit":    {`{"card":"4111111111111112"}`, `{"card":"4111111111111112"}`},
		"two cards":            {`5500005555555559 4012888888881881`, `************5559 ************1881`},
		"at the end":           {`card 378282246310005`, `card ***********0005`},
		"too long for a card":  {`00000000000000000000`, `00000000000000000000`},
		"too short for a card": {`000000000000`, `000000000000`},
		"nothing":              {``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			m := engine.NewMessage([]byte(test.in), nil)
			err := newStage(t)().Process(context.Background(), m, func(m *engine.Message) { got = string(m.Body) })
			if err != nil || got != test.want {
				t.Errorf("%q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]redact.Config{
		"no mask":        {Keep: 4},
		"long mask":      {Mask: "##", Keep: 4},
		"keep too large": {Mask: "*", Keep: 7},
		"keep negative":  {Mask: "*", Keep: -1},
	} {
		if _, err := redact.New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
