package pool

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// directReplyTo is RabbitMQ's pseudo-queue: replies come back on the channel that asked, without a queue.
const directReplyTo = "amq.rabbitmq.reply-to"

// ErrNoReply says that the connection went before the reply came: whether the request was worked on is unknown.
var ErrNoReply = errors.New("the connection went before the reply: the request may or may not have been worked on")

// requests asks and waits for replies, on one channel of a publish connection.
type requests struct {
	pool *Pool
	turn chan struct{} // held while a channel is opened or a request is sent

	mu      sync.Mutex
	asking  *asking
	lastTag uint64
}

// asking is one channel for requests.
type asking struct {
	gen     *generation
	ch      *amqp.Channel
	mu      sync.Mutex
	waiting map[string]chan answer
	err     error // the channel has gone
}

type answer struct {
	delivery amqp.Delivery
	err      error
}

func newRequests(p *Pool) *requests { return &requests{pool: p, turn: make(chan struct{}, 1)} }

// Request publishes m and waits for the reply to it, over RabbitMQ's direct reply-to: m's ReplyTo and CorrelationId are set, and
// whoever answers publishes to the default exchange with ReplyTo as routing key and the same CorrelationId.
//
// A request that no queue takes fails with [*ErrReturned]. When ctx ends first the error wraps its cause, and a late reply is
// dropped. When the connection goes first it is [ErrNoReply]. Requests are not confirmed: the reply says that they have arrived.
// A reply whose headers cannot be read is returned without them, and with an [*ErrUnreadable]; with every other error there is no reply.
func (p *Pool) Request(ctx context.Context, m *Publishing) (*amqp.Delivery, error) {
	d, err := p.requests.request(ctx, m)
	if err != nil {
		err = fmt.Errorf("request %q: %w", m.RoutingKey, err)
	}
	return d, err
}

func (r *requests) request(ctx context.Context, m *Publishing) (*amqp.Delivery, error) {
	r.pool.propagate(ctx, m)
	header, err := prepare(m)
	if err != nil {
		return nil, err
	}
	if limit := r.pool.opts.Publish.MaxMessage; len(m.Body) > limit {
		return nil, &ErrTooLarge{"body", len(m.Body), limit}
	}
	if err := r.pool.enter(); err != nil {
		return nil, err
	}
	defer r.pool.leave()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(r.pool.ctx, func() { cancel(ErrClosed) })
	defer stop()
	a, id, replies, err := r.ask(ctx, m, header)
	if err != nil {
		return nil, err
	}
	defer a.forget(id)
	select {
	case reply := <-replies:
		if reply.err != nil {
			return nil, reply.err
		}
		return &reply.delivery, unmark(&reply.delivery.Headers)
	case <-ctx.Done():
		return nil, fmt.Errorf("no reply: %w", context.Cause(ctx))
	}
}

// ask sends the request, and returns where the reply will come.
func (r *requests) ask(ctx context.Context, m *Publishing, header int) (*asking, string, <-chan answer, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return nil, "", nil, fmt.Errorf("%w: %w", ErrPoolTimeout, context.Cause(ctx))
	}
	a, err := r.channel(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	if limit := a.gen.conn.Config.FrameSize; limit > 0 && header+len(directReplyTo)+20 > limit {
		return nil, "", nil, &ErrTooLarge{"properties and headers", header, limit}
	}
	if err := a.gen.exchanges.check(ctx, r.pool, m.Exchange); err != nil {
		return nil, "", nil, checkFailed(ctx, err)
	}
	r.lastTag++
	id := strconv.FormatUint(a.gen.id, 36) + "-" + strconv.FormatUint(r.lastTag, 36)
	sent := m.Publishing
	sent.ReplyTo, sent.CorrelationId = directReplyTo, id
	replies := a.expect(id)
	err = a.gen.call(func() error {
		return a.ch.PublishWithContext(ctx, m.Exchange, m.RoutingKey, true, false, sent)
	})
	if err != nil {
		a.forget(id)
		return nil, "", nil, fmt.Errorf("%w (%w)", ErrNoReply, err)
	}
	return a, id, replies, nil
}

// channel returns the channel for requests, a new one if need be.
func (r *requests) channel(ctx context.Context) (*asking, error) {
	for {
		gen, err := r.pool.publish[0].wait(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w (no connection to %s): %w", ErrPoolTimeout, r.pool.Redacted(), context.Cause(ctx))
		case err != nil:
			return nil, err
		}
		r.mu.Lock()
		a := r.asking
		r.mu.Unlock()
		if a != nil && a.gen == gen && !a.ch.IsClosed() {
			return a, nil
		}
		if a, err = r.open(gen); err == nil {
			r.mu.Lock()
			r.asking = a
			r.mu.Unlock()
			return a, nil
		}
		if !gen.lost() {
			return nil, err
		}
	}
}

// open opens a channel and follows what comes on it.
func (r *requests) open(gen *generation) (*asking, error) {
	a := &asking{gen: gen, waiting: make(map[string]chan answer)}
	var replies <-chan amqp.Delivery
	err := gen.call(func() (err error) {
		if a.ch, err = gen.conn.Channel(); err != nil {
			return err
		}
		replies, err = a.ch.Consume(directReplyTo, "", true, false, false, false, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a channel for replies: %w", err)
	}
	returns := a.ch.NotifyReturn(make(chan amqp.Return, 64))
	closes := a.ch.NotifyClose(make(chan *amqp.Error, 1))
	gen.wg.Go(func() { a.follow(replies, returns, closes) })
	return a, nil
}

// follow hands replies to those who wait, until the channel has gone.
func (a *asking) follow(replies <-chan amqp.Delivery, returns <-chan amqp.Return, closes <-chan *amqp.Error) {
	for replies != nil || returns != nil {
		select {
		case d, ok := <-replies:
			if !ok {
				replies = nil
				break
			}
			a.tell(d.CorrelationId, answer{delivery: d})
		case m, ok := <-returns:
			if !ok {
				returns = nil
				break
			}
			a.tell(m.CorrelationId, answer{err: &ErrReturned{m.ReplyCode, m.ReplyText, m.Exchange, m.RoutingKey}})
		}
	}
	err := ErrNoReply
	if why := <-closes; why != nil {
		err = fmt.Errorf("%w (%w)", ErrNoReply, why)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
	for id, c := range a.waiting {
		c <- answer{err: err}
		delete(a.waiting, id)
	}
}

func (a *asking) expect(id string) <-chan answer {
	c := make(chan answer, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		c <- answer{err: a.err}
		return c
	}
	a.waiting[id] = c
	return c
}

// tell hands over an answer; one that nobody waits for any more is dropped.
func (a *asking) tell(id string, r answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.waiting[id]; ok {
		c <- r
		delete(a.waiting, id)
	}
}

func (a *asking) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waiting, id)
}

// Reply publishes body as the reply to a request, and waits for the confirm. It is an error if d asks for none. When
// whoever asked has gone, the broker drops the reply.
func (p *Pool) Reply(ctx context.Context, d *Delivery, body amqp.Publishing) error {
	if d.ReplyTo == "" {
		return errors.New("reply: the message has no reply-to: it asks for none")
	}
	body.CorrelationId = d.CorrelationId
	if err := p.Publish(ctx, &Publishing{RoutingKey: d.ReplyTo, Publishing: body}); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	return nil
}
