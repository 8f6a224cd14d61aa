package pool

import (
	"bytes"
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// cameBack matches a message that came back to those in flight. A return carries no sequence
// number, but the whole message, and comes before the confirm; so it belongs to the oldest of those in
// flight that look the same. It is called by the reader goroutine.
func (c *channel) cameBack(r *amqp.Return) {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	x := c.match(r)
	if x == nil {
		c.lane.pool.log.Error("the broker returned a message that is not in flight", "exchange", r.Exchange, "routing_key", r.RoutingKey)
		return
	}
	x.returned = &ErrReturned{Code: r.ReplyCode, Text: r.ReplyText, Exchange: r.Exchange, RoutingKey: r.RoutingKey}
}

// match returns the message in flight that came back. Where none is quite the same, which a plugin of the
// broker's may cause, the most alike is taken: better to fail one of them than to lose it. Headers that cannot be read (see
// inbound), which prepare lets nobody publish, are like no others: the rest of the message decides.
func (c *channel) match(r *amqp.Return) *inflight {
	var best *inflight
	likeness := 0
	for i := range c.count {
		x := c.at(i)
		if !x.m.Mandatory || x.returned != nil || x.decided {
			continue
		}
		switch n := alike(x.m, r); {
		case n == whole:
			return x
		case n > likeness:
			best, likeness = x, n
		}
	}
	return best
}

// Likenesses of a message and one that came back.
const (
	none = iota
	mandatory
	addressed
	content
	whole
)

func alike(m *Publishing, r *amqp.Return) int {
	switch {
	case m.RoutingKey != r.RoutingKey || m.Exchange != r.Exchange:
		return mandatory
	case !bytes.Equal(m.Body, r.Body):
		return addressed
	case !sameProperties(&m.Publishing, r) || !sameTable(m.table(), r.Headers):
		return content
	}
	return whole
}

func sameProperties(m *amqp.Publishing, r *amqp.Return) bool {
	return m.MessageId == r.MessageId && m.CorrelationId == r.CorrelationId && m.Type == r.Type &&
		m.ContentType == r.ContentType && m.ContentEncoding == r.ContentEncoding &&
		m.DeliveryMode == r.DeliveryMode && m.Priority == r.Priority && m.ReplyTo == r.ReplyTo &&
		m.Expiration == r.Expiration && m.UserId == r.UserId && m.AppId == r.AppId &&
		sameTime(m.Timestamp, r.Timestamp)
}

// sameTime compares as AMQP does, in whole seconds.
func sameTime(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && (a.IsZero() || a.Unix() == b.Unix())
}

// sameTable compares headers that were sent with those that came back. RabbitMQ takes BCC away.
func sameTable(sent, back Table) bool {
	n := len(sent)
	if _, ok := sent["BCC"]; ok {
		n--
	}
	if n != len(back) {
		return false
	}
	for k, b := range back {
		if s, ok := sent[k]; !ok || !sameValue(s, b) {
			return false
		}
	}
	return true
}

func sameValue(a, b any) bool {
	switch a := a.(type) {
	case Table:
		b, ok := b.(Table)
		return ok && len(a) == len(b) && sameTable(a, b)
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameValue(a[i], b[i]) {
				return false
			}
		}
		return true
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Unix() == b.Unix()
	case float32:
		b, ok := b.(float32)
		return ok && math.Float32bits(a) == math.Float32bits(b)
	case float64:
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case nil, bool, int8, uint8, int16, uint16, int32, uint32, int64, string, amqp.Decimal:
		return a == b
	}
	return false
}
