package message

import (
	"reflect"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// TestPassingThroughAllocatesNothing: headers and properties that nobody looks at are not copied on their way from a delivery to a publishing.
func TestPassingThroughAllocatesNothing(t *testing.T) {
	d := &amqp.Delivery{
		Headers:     amqp.Table{"text": "a", "number": int32(7), "bytes": []byte("b"), "at": time.Unix(1, 0), "list": []any{"x", int64(1)}},
		ContentType: "application/json", MessageId: "1", Body: []byte("body"),
	}
	var m engine.Message
	var p pool.Publishing
	n := testing.AllocsPerRun(1000, func() {
		Take(&m, d)
		Put(&p, &m)
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(p.Headers) != 5 || p.Headers["number"] != int32(7) || p.MessageId != "1" || string(p.Body) != "body" {
		t.Errorf("%+v", p)
	}
}

// TestEncodedHeaders: headers that came encoded have the engine's types, keep what is set, and leave encoded as long as they can.
func TestEncodedHeaders(t *testing.T) {
	table := map[string]any{
		"text": "a", "decimal": engine.Decimal{Scale: 2, Value: 5}, "table": map[string]any{"d": engine.Decimal{Value: 1}},
		"list": []any{map[string]any{"x": int32(1)}, engine.Decimal{}}, "void": nil,
	}
	var h engine.Headers
	var encoded engine.EncodedHeaders = Encoded{}
	for k, v := range table {
		encoded, _ = encoded.With(k, v)
	}
	h = engine.HeadersFrom(encoded)
	if got := h.Table(); !reflect.DeepEqual(got, table) || h.Len() != len(table) {
		t.Errorf("%#v", got)
	}
	for k, want := range table {
		if v, ok := h.Get(k); !ok || !reflect.DeepEqual(v, want) {
			t.Errorf("%s is %#v", k, v)
		}
	}

	for _, same := range []engine.Headers{h, engine.HeadersOf(table)} {
		if v, ok := same.Text("text"); v != "a" || !ok {
			t.Errorf("the text is %q, %v", v, ok)
		}
		for _, k := range []string{"decimal", "void", "none"} {
			if v, ok := same.Text(k); v != "" || ok {
				t.Errorf("the text of %s is %q", k, v)
			}
		}
	}

	m := engine.Message{Headers: h}
	clone := m.Clone()
	clone.Headers.Set("text", "b")
	clone.Headers.Delete("void")
	clone.Headers.Delete("none")
	if v, _ := m.Headers.Get("text"); v != "a" || m.Headers.Len() != len(table) {
		t.Error("a change shows in another message")
	}
	var p pool.Publishing
	Put(&p, clone)
	if v, _ := p.Encoded.Get("text"); v != "b" || p.Headers != nil || p.Encoded.Len() != len(table)-1 {
		t.Errorf("%+v", p)
	}

	clone.Headers.Set("odd", struct{}{}) // is refused when it is published
	Put(&p, clone)
	if clone.Headers.Encoded() != nil || len(p.Headers) != len(table) || p.Headers["text"] != "b" || !p.Encoded.IsEmpty() {
		t.Errorf("%+v", p)
	}
}
