package message

import (
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
