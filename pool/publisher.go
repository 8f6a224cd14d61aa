package pool

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Publishing is a message to publish, and where. It must not be touched until its outcome is known; its
// Headers may be replaced by an equal table of the types that AMQP has.
type Publishing struct {
	Exchange, RoutingKey string
	// Mandatory asks for an error when no queue takes the message; otherwise the broker drops it.
	Mandatory bool
	amqp.Publishing
	// Encoded is the headers as they came with a delivery, instead of Headers, which must be nil then. See [ConsumeOptions].EncodedHeaders.
	Encoded EncodedTable
}

// table returns the headers, decoded.
func (m *Publishing) table() Table { return m.Encoded.or(m.Headers) }

// Completion is told how a message ended: nil, or an error of this package. Done is called exactly once
// a message, possibly before the Send that it was given to returns.
type Completion interface{ Done(err error) }

// done makes a Completion of a function.
type done func(error)

func (f done) Done(err error) { f(err) }

// Publisher publishes in the order of its Send calls. Its methods are safe to call from many goroutines.
type Publisher struct {
	name string
	lane *lane

	corks  sync.Mutex
	depth  int
	corked atomic.Pointer[wire] // the wire that it holds back; nil for none

	// The lane's lock guards these.
	open   int
	closed bool
	idle   chan struct{} // closed when open is 0; nil when nobody waits for it
}

// Publisher returns a publisher that is known by name in errors. It has a publishing channel to itself
// as long as there are no more publishers than channels.
func (p *Pool) Publisher(name string) *Publisher {
	p.mu.Lock()
	l := p.lanes[p.publishers%p.opts.Publish.Channels]
	p.publishers++
	p.mu.Unlock()
	p.startLane(l)
	return &Publisher{name: name, lane: l}
}

// Send takes responsibility for m. done is called exactly once: with nil when the broker has confirmed m,
// or with an error (see [IsPermanent] and [IsConnection]). It may be called before Send returns, and
// otherwise comes from a goroutine that serves many messages: it should not wait for long. It may
// call Send.
//
// Send blocks while there is no connection, the broker blocks publishers or too many messages are
// unconfirmed; when ctx ends it stops waiting and m fails with [ErrPoolTimeout] or [ErrBlocked].
// Once m is on its way ctx has no effect.
func (pub *Publisher) Send(ctx context.Context, m *Publishing, f func(error)) {
	pub.lane.send(ctx, pub, m, done(f))
}

// SendTo is Send with an object instead of a function.
func (pub *Publisher) SendTo(ctx context.Context, m *Publishing, done Completion) {
	pub.lane.send(ctx, pub, m, done)
}

// Cork holds back what is sent until Uncork, so that it leaves in one write. It is a hint for a few
// messages in a row: what is held back leaves by itself when it grows large, when Send has to wait, or
// after a few milliseconds. Corks nest.
func (pub *Publisher) Cork() {
	pub.corks.Lock()
	defer pub.corks.Unlock()
	pub.depth++
	if pub.depth > 1 {
		return
	}
	if w := pub.lane.wire(); w != nil {
		w.cork()
		pub.corked.Store(w)
	}
}

// Uncork sends what Cork held back.
func (pub *Publisher) Uncork() {
	pub.corks.Lock()
	defer pub.corks.Unlock()
	if pub.depth == 0 {
		return
	}
	if pub.depth--; pub.depth > 0 {
		return
	}
	if w := pub.corked.Swap(nil); w != nil {
		w.uncork()
	}
}

// flush sends what is held back, because the caller is about to wait.
func (pub *Publisher) flush() {
	if w := pub.corked.Load(); w != nil {
		w.flush()
	}
}

// Close waits until every message has its outcome, or ctx ends. Send fails from now on.
func (pub *Publisher) Close(ctx context.Context) error {
	l := pub.lane
	l.mu.Lock()
	pub.closed = true
	if pub.idle == nil {
		pub.idle = make(chan struct{})
	}
	idle := pub.idle
	pub.doneLocked()
	l.mu.Unlock()
	l.wakeAll()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		return fmt.Errorf("close publisher %q: %d messages are unconfirmed: %w", pub.name, pub.open, context.Cause(ctx))
	}
}

func (pub *Publisher) toldLocked() {
	pub.open--
	pub.doneLocked()
}

func (pub *Publisher) doneLocked() {
	if pub.open == 0 && pub.idle != nil {
		close(pub.idle)
		pub.idle = nil
	}
}

// Result is how a message ended that was given to [Pool.PublishAsync]: Err is nil when the broker has confirmed it.
type Result struct {
	Publishing *Publishing
	Err        error
}

// PublishAsync publishes m and calls f with its outcome: exactly once, and not before the outcome is known. Calls of PublishAsync and
// Publish keep their order. It waits for room as [Publisher.Send] does, and f may be called from where Send calls back: f may publish
// again, but should not wait for long. [Pool.Close] waits for the outcomes.
func (p *Pool) PublishAsync(ctx context.Context, m *Publishing, f func(Result)) {
	p.plainPublisher().Send(ctx, m, func(err error) { f(Result{m, err}) })
}

func (p *Pool) plainPublisher() *Publisher {
	p.plain.once.Do(func() { p.plain.publisher = p.Publisher("publish") })
	return p.plain.publisher
}

// Publish publishes m and waits for its outcome, or until ctx ends: then the outcome is unknown, and the
// error wraps [ErrUnconfirmed] and the cause of ctx.
func (p *Pool) Publish(ctx context.Context, m *Publishing) error {
	return p.plainPublisher().publish(ctx, m)
}

func (pub *Publisher) publish(ctx context.Context, m *Publishing) error {
	told := make(chan error, 1)
	pub.Send(ctx, m, func(err error) { told <- err })
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-told: // it was refused because ctx had ended: it has not been sent
		return err
	default:
		return fmt.Errorf("%w: %w", ErrUnconfirmed, context.Cause(ctx))
	}
}
