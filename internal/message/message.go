// Package message converts between the engine's messages and those of the pool.
package message

import (
	"fmt"
	"maps"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// Address returns where something takes messages from or sends them to.
func Address(p *pool.Pool, destination string) engine.Address {
	host, port := p.Server()
	return engine.Address{System: "rabbitmq", Destination: destination, Server: host, Port: port}
}

// CanConsume returns why a pool cannot consume just now, or nil.
func CanConsume(p *pool.Pool) error {
	if state := p.State(); state != pool.StateReady && state != pool.StateBlocked {
		return fmt.Errorf("connection %q is not ready: %s", p.Name(), state)
	}
	return nil
}

// CanPublish returns why a pool cannot publish just now, or nil.
func CanPublish(p *pool.Pool) error {
	if p.State() == pool.StateBlocked {
		return fmt.Errorf("the broker blocks publishers of connection %q", p.Name())
	}
	return CanConsume(p)
}

// Take fills m with a delivery, whose headers table it takes over. Headers get the engine's types.
func Take(m *engine.Message, d *amqp.Delivery) {
	m.Body = d.Body
	m.Exchange, m.RoutingKey, m.Redelivered = d.Exchange, d.RoutingKey, d.Redelivered
	p := &m.Properties
	p.ContentType, p.ContentEncoding = d.ContentType, d.ContentEncoding
	p.DeliveryMode, p.Priority = d.DeliveryMode, d.Priority
	p.CorrelationID, p.ReplyTo, p.Expiration = d.CorrelationId, d.ReplyTo, d.Expiration
	p.MessageID, p.Timestamp = d.MessageId, d.Timestamp
	p.Type, p.UserID, p.AppID = d.Type, d.UserId, d.AppId
	neutralTable(d.Headers)
	m.Headers = engine.HeadersOf(d.Headers)
}

// Put fills p with the body, the properties and the headers of m. It shares with m what need not be converted. The user-id is left
// out: the broker takes it from few.
func Put(p *pool.Publishing, m *engine.Message) {
	q := &m.Properties
	p.Body = m.Body
	p.ContentType, p.ContentEncoding = q.ContentType, q.ContentEncoding
	p.DeliveryMode, p.Priority = q.DeliveryMode, q.Priority
	p.CorrelationId, p.ReplyTo, p.Expiration = q.CorrelationID, q.ReplyTo, q.Expiration
	p.MessageId, p.Timestamp, p.Type, p.AppId = q.MessageID, q.Timestamp, q.Type, q.AppID
	PutHeaders(p, &m.Headers)
}

// PutHeaders fills p with headers. Those that came encoded leave as they are.
func PutHeaders(p *pool.Publishing, h *engine.Headers) {
	if e, ok := h.Encoded().(Encoded); ok {
		p.Headers, p.Encoded = nil, e.EncodedTable
		return
	}
	p.Headers, p.Encoded = wireTable(h.Table()), pool.EncodedTable{}
}

// Encoded is headers as they came from a broker. It implements [engine.EncodedHeaders].
type Encoded struct{ pool.EncodedTable }

// Get implements [engine.EncodedHeaders].
func (e Encoded) Get(key string) (any, bool) {
	v, ok := e.EncodedTable.Get(key)
	return neutral(v), ok
}

// Table implements [engine.EncodedHeaders].
func (e Encoded) Table() map[string]any {
	table := e.EncodedTable.Table()
	neutralTable(table)
	return table
}

// With implements [engine.EncodedHeaders].
func (e Encoded) With(key string, value any) (engine.EncodedHeaders, bool) {
	if changed, ok := wireValue(value); ok {
		value = changed
	}
	table, err := e.EncodedTable.With(key, value)
	if err != nil {
		return nil, false
	}
	return Encoded{table}, true
}

// Without implements [engine.EncodedHeaders].
func (e Encoded) Without(key string) engine.EncodedHeaders {
	table := e.EncodedTable.Without(key)
	if table == e.EncodedTable {
		return e
	}
	return Encoded{table}
}

func neutralTable(table map[string]any) {
	for k, v := range table {
		if changed, ok := neutralValue(v); ok {
			table[k] = changed
		}
	}
}

func neutral(v any) any {
	if changed, ok := neutralValue(v); ok {
		return changed
	}
	return v
}

// neutralValue gives a header value the engine's type for it, where that is another one than the client library's.
func neutralValue(v any) (changed any, ok bool) {
	switch v := v.(type) {
	case amqp.Table:
		neutralTable(v)
		return map[string]any(v), true
	case amqp.Decimal:
		return engine.Decimal(v), true
	case []any:
		for i, nested := range v {
			if c, ok := neutralValue(nested); ok {
				v[i] = c
			}
		}
	}
	return nil, false
}

// wireTable returns headers with the client library's types in it: the same one if nothing is to be
// changed. The pool takes nested tables and arrays as they are.
func wireTable(table map[string]any) pool.Table {
	copied := false
	for k, v := range table {
		changed, ok := wireValue(v)
		if !ok {
			continue
		}
		if !copied {
			table, copied = maps.Clone(table), true
		}
		table[k] = changed
	}
	return table
}

// wireValue returns what stands for v on the wire, where that is another type.
func wireValue(v any) (changed any, ok bool) {
	switch v := v.(type) {
	case engine.Decimal:
		return amqp.Decimal(v), true
	case map[string]any:
		return wireTable(v), true
	case []any:
		for i, nested := range v {
			if c, ok := wireValue(nested); ok {
				if changed == nil {
					changed = slices.Clone(v)
				}
				changed.([]any)[i] = c
			}
		}
		return changed, changed != nil
	}
	return nil, false
}
