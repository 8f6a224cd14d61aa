// Package amqp is the source that consumes an AMQP 0-9-1 queue.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// Config describes the source.
type Config struct {
	_ struct{} `doc:"Consumes a queue. A delivery is acknowledged when everything that it became has been confirmed."`

	Connection  *pool.Pool     `hcl:"connection,optional" doc:"The connection to consume on. Default: the only one, or the one named main."`
	Queue       *pool.Queue    `hcl:"queue" doc:"The queue: a reference to a declared one, or the name of one that exists."`
	Prefetch    int            `hcl:"prefetch,optional" min:"1" max:"65535" doc:"How many deliveries may be unacknowledged at once. It bounds memory, and what is delivered again after a kill. Default: that of the connection's listen block, which is 500."`
	ConsumerTag string         `hcl:"consumer_tag,optional" doc:"The consumer tag that operators see. Default: made of the pipeline's name, the host and the process."`
	Exclusive   bool           `hcl:"exclusive,optional" doc:"Be the queue's only consumer."`
	Priority    *int           `hcl:"priority,optional" doc:"The consumer's priority: the broker delivers to the highest first."`
	Arguments   map[string]any `hcl:"arguments,optional" doc:"Further arguments of basic.consume, as x-stream-offset."`
	Decode      string         `hcl:"decode,optional" default:"json" enum:"json" doc:"How expressions read the body."`

	Env engine.Env
}

// Source consumes a queue. It implements [engine.Source].
//
// A delivery whose headers cannot be read ([pool.ErrUnreadable]) cannot be passed on unchanged, so the source does not hand it over; it
// fails alone, as a permanent failure does in the engine. Where the queue has a dead-letter exchange it is rejected to it: the
// broker keeps the headers. Otherwise it is held: unacknowledged until its channel closes or the source stops, and then it goes back to the
// queue. It counts towards the prefetch, and is not tried again: its headers stay what they are.
type Source struct {
	pool    *pool.Pool
	queue   *pool.Queue
	options pool.ConsumeOptions
	log     *slog.Logger
}

var (
	_ engine.Source       = (*Source)(nil)
	_ engine.DeadLetterer = (*Source)(nil)
)

// New makes a source. It does not dial.
func New(c Config) (*Source, error) {
	switch {
	case c.Connection == nil:
		return nil, errors.New("a connection is missing")
	case c.Queue == nil || c.Queue.Name == "":
		return nil, errors.New("the name of the queue is empty")
	case c.Prefetch < 0 || c.Prefetch > 65535:
		return nil, fmt.Errorf("prefetch is 1 to 65535, not %d", c.Prefetch)
	}
	return &Source{
		pool:  c.Connection,
		queue: c.Queue,
		log:   c.Env.Logger(),
		options: pool.ConsumeOptions{
			Queue: c.Queue.Name, Name: c.Env.Pipeline, Prefetch: c.Prefetch, ConsumerTag: c.ConsumerTag,
			Exclusive: c.Exclusive, Priority: c.Priority, Arguments: c.Arguments,
		},
	}, nil
}

// DeadLetters reports that the queue has a dead-letter exchange, as far as its declaration tells.
func (s *Source) DeadLetters() bool {
	_, argument := s.queue.Arguments["x-dead-letter-exchange"]
	return s.queue.DeadLetterExchange != "" || argument
}

// Run implements [engine.Source].
func (s *Source) Run(ctx context.Context, next func([]engine.Delivery)) error {
	in := intake{next: next, chunk: make([]engine.Delivery, 0, engine.MaxChunk)}
	in.unreadable = unreadable{reject: s.DeadLetters(), log: s.log.With("queue", s.queue.Name)}
	return s.pool.Consume(ctx, s.options, in.take)
}

// intake makes the engine's deliveries of the pool's.
type intake struct {
	next    func([]engine.Delivery)
	chunk   []engine.Delivery
	settler *settler // of the session that the last delivery came on

	unreadable unreadable
}

func (in *intake) take(arrived []pool.Delivery) {
	messages := make([]engine.Message, len(arrived))
	in.chunk = in.chunk[:0]
	for i := range arrived {
		d, m := &arrived[i], &messages[i]
		if d.Unreadable != nil {
			in.unreadable.settle(d)
			continue
		}
		fill(m, &d.Delivery)
		if in.settler == nil || in.settler.session != d.Session {
			in.settler = &settler{d.Session}
		}
		in.chunk = append(in.chunk, engine.Delivery{Message: m, Settler: in.settler, Tag: d.DeliveryTag})
	}
	if len(in.chunk) > 0 {
		in.next(in.chunk)
	}
	clear(in.chunk)
}

// settler settles the deliveries of one session.
type settler struct{ session *pool.Session }

func (s *settler) Stale() bool { return s.session.Stale() }

func (s *settler) Settle(tag uint64, o engine.Outcome) { s.session.Settle(tag, outcomes[o]) }

var outcomes = [...]pool.Outcome{
	engine.Abandon: pool.Abandon,
	engine.Ack:     pool.Ack,
	engine.Reject:  pool.Reject,
	engine.Requeue: pool.Requeue,
}

// deliveryCount is a header that quorum queues add to what they deliver again. It is no part of the
// message, so it does not go on to the next queue.
const deliveryCount = "x-delivery-count"

// fill makes a message of a delivery.
func fill(m *engine.Message, d *amqp091.Delivery) {
	m.Body = d.Body
	m.Exchange, m.RoutingKey, m.Redelivered = d.Exchange, d.RoutingKey, d.Redelivered
	p := &m.Properties
	p.ContentType, p.ContentEncoding = d.ContentType, d.ContentEncoding
	p.DeliveryMode, p.Priority = d.DeliveryMode, d.Priority
	p.CorrelationID, p.ReplyTo, p.Expiration = d.CorrelationId, d.ReplyTo, d.Expiration
	p.MessageID, p.Timestamp = d.MessageId, d.Timestamp
	p.Type, p.UserID, p.AppID = d.Type, d.UserId, d.AppId
	if n, ok := d.Headers[deliveryCount]; ok {
		m.DeliveryCount = whole(n)
		delete(d.Headers, deliveryCount)
	}
	for k, v := range d.Headers {
		if changed, ok := neutral(v); ok {
			d.Headers[k] = changed
		}
	}
	m.Headers = engine.HeadersOf(d.Headers)
}

func whole(v any) int64 {
	switch n := v.(type) {
	case int64:
		return n
	case int32:
		return int64(n)
	case int16:
		return int64(n)
	case uint8:
		return int64(n)
	case int8:
		return int64(n)
	}
	return 0
}

// neutral gives a header value the engine's type for it, where that is another one than the client library's.
func neutral(v any) (changed any, ok bool) {
	switch v := v.(type) {
	case amqp091.Table:
		table := map[string]any(v)
		for k, nested := range table {
			if c, ok := neutral(nested); ok {
				table[k] = c
			}
		}
		return table, true
	case amqp091.Decimal:
		return engine.Decimal(v), true
	case []any:
		for i, nested := range v {
			if c, ok := neutral(nested); ok {
				v[i] = c
			}
		}
	}
	return nil, false
}
