// Package split is the stage that makes one message of each element of a list.
package split

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

// Config describes the stage.
type Config struct {
	_ struct{} `doc:"Makes one message of each element of a list: its body is the element as JSON, its properties and headers are those of the input. The input is acknowledged when all of them have been confirmed; an empty list drops it. Keep what the elements need to know of the input with an expression, as [for i in body.items : merge(i, { order = body.id })]."`

	Each expr.Value `hcl:"each" doc:"The list, as body.items."`
}

// Stage splits messages. Process may be called from many goroutines.
type Stage struct{ each expr.Value }

var _ engine.Stage = (*Stage)(nil)

// New makes the stage. It returns an error if c.Each is not set.
func New(c Config) (*Stage, error) {
	if !c.Each.IsSet() {
		return nil, errors.New("each is missing: say which list to split")
	}
	return &Stage{each: c.Each}, nil
}

// Process emits a message for each element of the list, in the list's order.
func (s *Stage) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	value, err := s.each.Eval(m)
	if err != nil {
		return err
	}
	list, ok := value.([]any)
	if !ok {
		return failed(fmt.Errorf("each: not a list but %s", kindOf(value)))
	}
	for i, element := range list {
		body, err := encode(element)
		if err != nil {
			return failed(fmt.Errorf("each: element %d: %w", i, err))
		}
		part := m.Clone()
		part.Body = body
		emit(part)
	}
	return nil
}

func failed(err error) error {
	return engine.Permanent(engine.WithKind(engine.KindExpression, err))
}

// encode writes JSON as it is usually written: <, > and & as they are, no line end.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// kindOf names the kind of a value that is not a list.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a bool"
	case int64, float64:
		return "a number"
	case string, []byte:
		return "a string"
	case map[string]any:
		return "an object"
	default:
		return fmt.Sprintf("a %T", v)
	}
}
