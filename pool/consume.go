package pool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// MaxChunk is how many deliveries are handed over at once, at most.
const MaxChunk = 64

// resubscribeMax is the longest pause between two attempts to subscribe.
const resubscribeMax = 5 * time.Second

// Delivery is a message that arrived. It must be settled once through its Session.
//
// RabbitMQ takes and delivers headers that the client library closes the connection over: nested too deep, too many in one table, larger
// than a frame (see [ErrUnreadable]). The pool reads past them. Such a delivery comes in its place, with its body and other
// properties as they are, without headers, and with Unreadable set; the broker has it complete until it is settled. To publish it
// again would lose its headers; to reject it to a dead-letter exchange keeps them.
type Delivery struct {
	amqp.Delivery
	Session *Session
	// Encoded is the headers as they came, and Headers is nil, where [ConsumeOptions].EncodedHeaders asked for that. Headers with something
	// in them that could not be published again are in Headers all the same.
	Encoded EncodedTable
	// Unreadable is nil, or an [*ErrUnreadable] that says why Headers is empty though the message has headers.
	Unreadable error
}

// table returns the headers, decoded.
func (d *Delivery) table() Table { return d.Encoded.or(d.Headers) }

// Ack settles the delivery as done.
func (d *Delivery) Ack() { d.Session.Settle(d.DeliveryTag, Ack) }

// Reject gives the delivery up: the broker keeps it as a dead letter or discards it.
func (d *Delivery) Reject() { d.Session.Settle(d.DeliveryTag, Reject) }

// Requeue gives the delivery back to be delivered again.
func (d *Delivery) Requeue() { d.Session.Settle(d.DeliveryTag, Requeue) }

// Abandon leaves the delivery unacknowledged: it goes back to the queue when its channel closes.
func (d *Delivery) Abandon() { d.Session.Settle(d.DeliveryTag, Abandon) }

// Consume holds one consumer and hands over what has arrived, in order: a chunk of 1 to [MaxChunk]
// deliveries, as many as are there without waiting. handle is called from one goroutine, and the chunk
// belongs to the pool again when it returns; bodies and headers may be kept. A delivery whose headers
// cannot be read is handed over like any other, with [Delivery].Unreadable set.
//
// After a reconnect, a cancel by the broker, or an error of the channel it subscribes again, for ever,
// and so it waits for a queue that does not exist. It returns an error only for what trying again does
// not mend: a refused connection, or options that are wrong.
//
// When ctx ends, or the pool is closed, nothing more is handed over; Consume waits until everything that
// was handed over has been settled, sends the acknowledgements and returns nil. What had arrived and
// was not handed over goes back to the queue.
func (p *Pool) Consume(ctx context.Context, o ConsumeOptions, handle func(chunk []Delivery)) error {
	if err := p.completeConsume(&o); err != nil {
		return err
	}
	if err := p.enter(); err != nil {
		return fmt.Errorf("consume queue %q: %w", o.Queue, err)
	}
	defer p.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(p.draining, cancel)
	defer stop()
	c := &consumer{pool: p, link: p.linkFor(o.Queue), o: o, handle: handle}
	return c.run(ctx)
}

func (p *Pool) completeConsume(o *ConsumeOptions) error {
	set(&o.Prefetch, p.opts.Listen.Prefetch)
	if o.ConsumerTag == "" {
		host, _ := os.Hostname()
		name := o.Name
		if name == "" {
			name = p.opts.Name
		}
		o.ConsumerTag = cut(fmt.Sprintf("%s %s %s %d", p.opts.Program, name, host, os.Getpid()), 200) +
			fmt.Sprintf(" #%d", p.tags.Add(1))
	}
	switch {
	case o.Queue == "":
		return errors.New("consume: no queue is named")
	case len(o.Queue) > maxShortString:
		return fmt.Errorf("consume: the name of queue %q is longer than %d bytes", cut(o.Queue, 40), maxShortString)
	case o.Prefetch < 1 || o.Prefetch > 65535:
		return fmt.Errorf("consume queue %q: the prefetch is 1 to 65535, not %d", o.Queue, o.Prefetch)
	case len(o.ConsumerTag) > maxShortString:
		return fmt.Errorf("consume queue %q: the consumer tag is longer than %d bytes", o.Queue, maxShortString)
	}
	if _, _, err := measureTable(o.Arguments, nil); err != nil {
		return fmt.Errorf("consume queue %q: arguments: %w", o.Queue, err)
	}
	return nil
}

// linkFor spreads consumers over the listen connections. An exclusive queue of the topology's belongs to
// the first.
func (p *Pool) linkFor(queue string) *link {
	exclusive := func(q Queue) bool { return q.Name == queue && q.Exclusive }
	if slices.ContainsFunc(p.opts.Topology.Queues, exclusive) {
		return p.listen[0]
	}
	return p.listen[int(p.spread.Add(1)-1)%len(p.listen)]
}

// consumer is one call of Consume.
type consumer struct {
	pool   *Pool
	link   *link
	o      ConsumeOptions
	handle func([]Delivery)
	old    []*Session // whose channel has gone, with deliveries that are not settled
}

// run subscribes again and again until ctx ends.
func (c *consumer) run(ctx context.Context) error {
	pauses := backoff{min: c.pool.backoffMin, max: min(resubscribeMax, c.pool.backoffMax)}
	for {
		g, err := c.link.wait(ctx)
		if err != nil {
			c.settleOld()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("consume queue %q: %w", c.o.Queue, err)
		}
		s, err := c.subscribe(g)
		if err == nil {
			c.tell(nil)
			began := time.Now()
			err = c.deliver(ctx, s)
			if time.Since(began) > settled {
				pauses.reset()
			}
		}
		if ctx.Err() != nil {
			c.settleOld()
			return nil
		}
		c.tell(err)
		if g.lost() {
			continue
		}
		d := pauses.next()
		c.pool.log.Warn("no longer subscribed to a queue; trying again", "queue", c.o.Queue, "retry_in", d.Round(time.Millisecond), "error", err)
		pause(ctx, d)
	}
}

func (c *consumer) tell(err error) {
	if c.o.OnState != nil {
		c.o.OnState(err)
	}
}

// subscribe opens a channel and a consumer on it.
func (c *consumer) subscribe(g *generation) (*Session, error) {
	s := newSession(g, c.o.Prefetch)
	s.tag = c.o.ConsumerTag
	args := normalTable(c.o.Arguments)
	if c.o.Priority != nil {
		args["x-priority"] = int64(*c.o.Priority)
	}
	err := s.open()
	if err == nil {
		err = g.call(func() (err error) {
			s.cancels = s.ch.NotifyCancel(make(chan string, 1))
			if err = s.ch.Qos(c.o.Prefetch, 0, false); err != nil {
				return fmt.Errorf("set the prefetch: %w", err)
			}
			s.port.delivered = s.inbox.put
			s.port.listen()
			s.ends, err = s.ch.Consume(c.o.Queue, s.tag, false, c.o.Exclusive, false, false, args)
			return err
		})
	}
	if err != nil {
		s.close()
		return nil, c.explain(err)
	}
	c.pool.log.Info("subscribed to a queue", "queue", c.o.Queue, "consumer_tag", s.tag, "prefetch", c.o.Prefetch)
	return s, nil
}

// explain says what to do about a refused subscription.
func (c *consumer) explain(err error) error {
	said := brokerSaid(err)
	if said == nil {
		return err
	}
	advice := "see the broker's log"
	switch said.Code {
	case amqp.NotFound:
		advice = "create the queue, or correct its name"
	case amqp.AccessRefused:
		advice = "grant the user read permission on the queue; if it has an exclusive consumer, stop that"
	case amqp.ResourceLocked:
		advice = "it is an exclusive queue of another connection"
	case amqp.PreconditionFailed:
		advice = "change the consumer's arguments or its prefetch"
	}
	return fmt.Errorf("%w: %s", said, advice)
}

var (
	errCancelled = errors.New("the broker cancelled the consumer: the queue was deleted or has moved")
	errEnded     = errors.New("the channel has gone")
)

// deliver hands over what arrives until ctx ends or the channel or the consumer has gone, which it returns.
func (c *consumer) deliver(ctx context.Context, s *Session) error {
	for {
		b := s.receive(ctx, c.o.EncodedHeaders)
		if b == nil {
			break
		}
		s.handOver(b.deliveries())
		c.handle(b.deliveries())
		b.free()
	}
	if ctx.Err() != nil {
		c.finish(s)
		return nil
	}
	err := s.whyEnded()
	s.end(true)
	s.close()
	c.keep(s)
	return err
}

// receive returns what has arrived. It waits for the first delivery; it returns nil when ctx has
// ended or there will be none.
func (s *Session) receive(ctx context.Context, encoded bool) (b *block) {
	for ended := false; ctx.Err() == nil; {
		if !s.ch.IsClosed() { // else the broker delivers them again
			b = s.inbox.take(encoded)
		}
		if b != nil || ended {
			return b
		}
		s.rest()
		select {
		case <-s.inbox.more:
		case <-s.ends:
			ended = true // but what came before can be there
		case <-ctx.Done():
		}
	}
	return nil
}

// whyEnded says why there are no more deliveries.
func (s *Session) whyEnded() error {
	select {
	case <-s.cancels:
		return errCancelled
	default:
	}
	select {
	case err := <-s.closes:
		if err != nil {
			return err
		}
	default:
	}
	return errEnded
}

// finish ends a session because ctx has ended: no more deliveries, settlements, acknowledgements, close.
func (c *consumer) finish(s *Session) {
	_ = s.gen.call(func() error { return s.ch.Cancel(s.tag, false) })
	s.rest()
	c.await(s)
	s.end(true)
	s.close()
	c.settleOld()
}

// await waits until everything of a session is settled, or Close does not wait any longer.
func (c *consumer) await(s *Session) {
	select {
	case <-s.allSettled():
	case <-c.pool.kill:
	}
}

// keep remembers a session with unsettled deliveries, and forgets those without.
func (c *consumer) keep(s *Session) {
	c.old = slices.DeleteFunc(append(c.old, s), func(s *Session) bool {
		select {
		case <-s.allSettled():
			return true
		default:
			return false
		}
	})
}

func (c *consumer) settleOld() {
	for _, s := range c.old {
		c.await(s)
	}
	c.old = nil
}
