// Package amqp is the source that consumes an AMQP 0-9-1 queue.
package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/message"
	"github.com/pipeamqp/pipe/pool"
)

// Config describes the source.
type Config struct {
	_ struct{} `doc:"Consumes a queue. A delivery is acknowledged when everything that it became has been confirmed."`

	Connection      *pool.Pool     `hcl:"connection,optional" doc:"The connection to consume on. Default: the only one, or the one named main."`
	Queue           *pool.Queue    `hcl:"queue" doc:"The queue: a reference to a declared one, or the name of one that exists."`
	Prefetch        int            `hcl:"prefetch,optional" min:"1" max:"65535" doc:"How many deliveries may be unacknowledged at once. It bounds memory, and what is delivered again after a kill. Default: that of the connection's listen block, which is 500."`
	ConsumerTag     string         `hcl:"consumer_tag,optional" doc:"The consumer tag that operators see. Default: made of the pipeline's name, the host and the process."`
	Exclusive       bool           `hcl:"exclusive,optional" doc:"Be the queue's only consumer."`
	Priority        *int           `hcl:"priority,optional" doc:"The consumer's priority: the broker delivers to the highest first."`
	Arguments       map[string]any `hcl:"arguments,optional" doc:"Further arguments of basic.consume, as x-stream-offset."`
	ConsumerTimeout time.Duration  `hcl:"consumer_timeout,optional" default:"30m" min:"1m" doc:"How long the broker waits for an acknowledgement before it closes the channel (its consumer_timeout). A message that is held for nearly as long is given back to the queue."`
	Decode          string         `hcl:"decode,optional" default:"json" enum:"json" doc:"How expressions read the body."`

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
	limit   time.Duration // how long a delivery may be held

	unsubscribed atomic.Pointer[string] // why nothing is consumed; nil when something is

	ladder        []time.Duration // the rungs that there are
	publisherOnce sync.Once
	publisher     *pool.Publisher
	log           *slog.Logger
}

var (
	_ engine.Source       = (*Source)(nil)
	_ engine.DeadLetterer = (*Source)(nil)
	_ engine.Delayer      = (*Source)(nil)
	_ engine.HoldLimiter  = (*Source)(nil)
	_ engine.Locator      = (*Source)(nil)
	_ engine.Addressed    = (*Source)(nil)
	_ engine.Readier      = (*Source)(nil)
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
	s := &Source{
		pool:  c.Connection,
		queue: c.Queue,
		limit: c.ConsumerTimeout - c.ConsumerTimeout/10,
		log:   c.Env.Logger(),
		options: pool.ConsumeOptions{
			Queue: c.Queue.Name, Name: c.Env.Pipeline, Prefetch: c.Prefetch, ConsumerTag: c.ConsumerTag,
			Exclusive: c.Exclusive, Priority: c.Priority, Arguments: c.Arguments, EncodedHeaders: true,
		},
	}
	s.options.OnState = s.onState
	s.onState(errors.New("not yet"))
	if c.Env.LongestPause >= rungs[0] {
		for _, rung := range rungs {
			if rung <= c.Env.LongestPause {
				s.ladder = append(s.ladder, rung)
			}
		}
		if err := c.Connection.AddTopology(Ladder(c.Env.LongestPause)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// HoldLimit implements [engine.HoldLimiter]: the broker closes a channel on which a delivery is unacknowledged for too long.
func (s *Source) HoldLimit() time.Duration { return s.limit }

// Location implements [engine.Locator]: the name of the queue.
func (s *Source) Location() string { return s.queue.Name }

// Address implements [engine.Addressed].
func (s *Source) Address() engine.Address { return message.Address(s.pool, s.queue.Name) }

// Ready implements [engine.Readier].
func (s *Source) Ready() error {
	if err := message.CanConsume(s.pool); err != nil {
		return err
	}
	if why := s.unsubscribed.Load(); why != nil {
		return fmt.Errorf("not subscribed to queue %q: %s", s.queue.Name, *why)
	}
	return nil
}

func (s *Source) onState(err error) {
	if err == nil {
		s.unsubscribed.Store(nil)
		return
	}
	why := err.Error()
	s.unsubscribed.Store(&why)
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
		fill(m, d)
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
func fill(m *engine.Message, d *pool.Delivery) {
	message.Take(m, &d.Delivery)
	if !d.Encoded.IsEmpty() {
		m.Headers = engine.HeadersFrom(message.Encoded{EncodedTable: d.Encoded})
	}
	if n, ok := m.Headers.Get(deliveryCount); ok {
		m.DeliveryCount = whole(n)
		m.Headers.Delete(deliveryCount)
	}
	if v, ok := m.Headers.Get(originHeader); ok {
		restore(m, v)
	}
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
