package pool

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Publishing is a message to publish, and where. It must not be changed until its outcome is known.
type Publishing struct {
	Exchange, RoutingKey string
	// Mandatory asks for an error when no queue takes the message; otherwise the broker drops it.
	Mandatory bool
	amqp.Publishing
}

// Completion is told how a message ended: nil, or an error of this package. Done is called exactly once
// a message, possibly before the Send that it was given to returns.
type Completion interface{ Done(err error) }

// Publisher publishes in the order of its Send calls. Its methods are safe to call from many goroutines.
type Publisher struct{}

// Publisher returns a publisher that is known by name in logs.
func (p *Pool) Publisher(name string) *Publisher { return &Publisher{} }

// Send takes responsibility for m. done is called exactly once: with nil when the broker has confirmed m,
// or with an error (see [IsPermanent] and [IsConnection]). It may be called before Send returns, and
// otherwise comes from a goroutine that serves many messages: it must not block. It may call Send.
//
// Send blocks while there is no connection, the broker blocks publishers or too many messages are
// unconfirmed; when ctx ends it stops waiting and m fails with [ErrPoolTimeout] or [ErrBlocked].
// Once m is on its way ctx has no effect.
func (pub *Publisher) Send(ctx context.Context, m *Publishing, done func(error)) {}

// SendTo is Send with an object instead of a function.
func (pub *Publisher) SendTo(ctx context.Context, m *Publishing, done Completion) {}

// Cork holds back what is sent until Uncork, so that it leaves in one write. It is a hint for a few
// messages in a row: what is held back leaves by itself when it grows large, when Send has to wait, or
// after a few milliseconds. Corks nest.
func (pub *Publisher) Cork() {}

// Uncork sends what Cork held back.
func (pub *Publisher) Uncork() {}

// Close waits until every message has its outcome, or ctx ends. Send fails from now on.
func (pub *Publisher) Close(ctx context.Context) error { return nil }

// Publish publishes m and waits for its outcome, or until ctx ends: then the outcome is unknown, and the
// error wraps [ErrUnconfirmed] and the cause of ctx.
func (p *Pool) Publish(ctx context.Context, m *Publishing) error { return nil }
