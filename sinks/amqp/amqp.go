// Package amqp is the sink that publishes to an AMQP 0-9-1 exchange or queue.
package amqp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/internal/message"
	"github.com/pipeamqp/pipe/pool"
)

// Config describes the sink.
type Config struct {
	_ struct{} `doc:"Publishes to an exchange or a queue, and waits for the broker's confirm. Properties and headers leave as they are in the message."`

	Connection   *pool.Pool       `hcl:"connection,optional" doc:"The connection to publish on. Default: the only one, or the one named main."`
	Exchange     *pool.Exchange   `hcl:"exchange,optional" doc:"The exchange: a reference to a declared one, or the name of one that exists. Give this, queue, or exchange_by."`
	Queue        *pool.Queue      `hcl:"queue,optional" doc:"The queue to publish to, through the default exchange."`
	ExchangeBy   expr.String      `hcl:"exchange_by,optional" doc:"The name of the exchange, chosen by the message from those that exchanges lists."`
	Exchanges    []*pool.Exchange `hcl:"exchanges,optional" doc:"The exchanges that exchange_by may choose from."`
	RoutingKey   expr.String      `hcl:"routing_key,optional" doc:"The routing key. Default: the one that the message has."`
	Headers      expr.Map         `hcl:"headers,optional" doc:"Headers to set, beside those that the message has."`
	Mandatory    bool             `hcl:"mandatory,optional" default:"true" doc:"Fail a message that no queue takes. Otherwise the broker drops it."`
	KeepUserID   bool             `hcl:"keep_user_id,optional" doc:"Leave the user_id property in the message. The broker takes it only from a connection of that user, or of an impersonator, so it is removed otherwise."`
	DeliveryMode string           `hcl:"delivery_mode,optional" default:"keep" enum:"keep,persistent,transient" doc:"Whether the broker writes the message to disk."`

	Env engine.Env
}

// Sink publishes on a lane of its own. It implements [engine.Sink].
type Sink struct {
	c         Config
	publisher *pool.Publisher
	exchange  string
	queue     string                 // where the default exchange is meant
	allowed   []string               // where the message chooses the exchange
	closed    atomic.Pointer[string] // why the exchange of the last message takes none; nil where it does
}

var (
	_ engine.Sink   = (*Sink)(nil)
	_ engine.Corker = (*Sink)(nil)
	_ engine.Closer = (*Sink)(nil)

	_ engine.Addressed = (*Sink)(nil)
	_ engine.Readier   = (*Sink)(nil)
)

// New makes a sink. It does not dial.
func New(c Config) (*Sink, error) {
	if err := check(c); err != nil {
		return nil, err
	}
	s := &Sink{c: c, publisher: c.Connection.Publisher(c.Env.Pipeline + "." + c.Env.Name)}
	switch {
	case c.Queue != nil:
		s.queue = c.Queue.Name
	case c.Exchange != nil:
		s.exchange = c.Exchange.Name
	default:
		for _, e := range c.Exchanges {
			s.allowed = append(s.allowed, e.Name)
		}
	}
	return s, nil
}

func check(c Config) error {
	given := 0
	for _, is := range []bool{c.Queue != nil, c.Exchange != nil, c.ExchangeBy.IsSet()} {
		if is {
			given++
		}
	}
	switch {
	case c.Connection == nil:
		return errors.New("a connection is missing")
	case given != 1:
		return errors.New("exactly one of exchange, queue and exchange_by says where to publish")
	case c.ExchangeBy.IsSet() && len(c.Exchanges) == 0:
		return errors.New("exchange_by needs exchanges: the list of those that a message may choose from")
	case !c.ExchangeBy.IsSet() && len(c.Exchanges) > 0:
		return errors.New("exchanges is only for exchange_by")
	case c.Queue != nil && c.RoutingKey.IsSet():
		return errors.New("routing_key has no meaning with queue: the default exchange routes by the queue's name")
	}
	return nil
}

// Send implements [engine.Sink].
func (s *Sink) Send(ctx context.Context, m *engine.Message, done func(error)) {
	p := &send{sink: s, done: done}
	if err := s.fill(&p.Publishing, m); err != nil {
		done(err)
		return
	}
	s.publisher.SendTo(ctx, &p.Publishing, p)
}

// send is one message under way, and who is to be told of its outcome.
type send struct {
	pool.Publishing
	sink *Sink
	done func(error)
}

// Done implements [pool.Completion].
func (s *send) Done(err error) {
	s.sink.remember(err)
	s.done(classify(err))
}

// remember keeps, for Ready, that the broker has no such exchange, or not for us.
func (s *Sink) remember(err error) {
	var (
		missing *pool.ErrNoExchange
		refused *pool.ErrAccessRefused
	)
	switch {
	case err == nil && s.closed.Load() != nil:
		s.closed.Store(nil)
	case errors.As(err, &missing), errors.As(err, &refused):
		why := err.Error()
		s.closed.Store(&why)
	}
}

// classify gives an error of the pool the class that the engine acts on.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var (
		returned *pool.ErrReturned
		missing  *pool.ErrNoExchange
		large    *pool.ErrTooLarge
	)
	kind := engine.KindStage
	switch {
	case errors.Is(err, pool.ErrNacked):
		kind = engine.KindNacked
	case pool.IsConnection(err):
		kind = engine.KindConnection
	case errors.As(err, &returned), errors.As(err, &missing):
		kind = engine.KindUnroutable
	case errors.As(err, &large):
		kind = engine.KindTooLarge
	}
	err = engine.WithKind(kind, err)
	if pool.IsPermanent(err) {
		err = engine.Permanent(err)
	}
	return err
}

// fill makes what is published of a message.
func (s *Sink) fill(p *pool.Publishing, m *engine.Message) (err error) {
	p.Mandatory = s.c.Mandatory
	if p.Exchange, p.RoutingKey, err = s.address(m); err != nil {
		return err
	}
	message.Put(p, m)
	p.DeliveryMode = s.deliveryMode(p.DeliveryMode)
	if s.c.Headers.IsSet() {
		if err = s.setHeaders(p, m); err != nil {
			return err
		}
	}
	if s.c.KeepUserID {
		p.UserId = m.Properties.UserID
	}
	return nil
}

func (s *Sink) deliveryMode(input uint8) uint8 {
	switch s.c.DeliveryMode {
	case "persistent":
		return 2
	case "transient":
		return 1
	default:
		return input
	}
}

func (s *Sink) address(m *engine.Message) (exchange, key string, err error) {
	if s.queue != "" {
		return "", s.queue, nil
	}
	exchange, key = s.exchange, m.RoutingKey
	if s.allowed != nil {
		if exchange, err = s.c.ExchangeBy.Eval(m); err != nil {
			return "", "", err
		}
		if !slices.Contains(s.allowed, exchange) {
			err = fmt.Errorf("exchange_by chose %q, which exchanges does not list", exchange)
			return "", "", engine.Permanent(engine.WithKind(engine.KindUnroutable, err))
		}
	}
	if s.c.RoutingKey.IsSet() {
		key, err = s.c.RoutingKey.Eval(m)
	}
	return exchange, key, err
}

// setHeaders fills p with the message's headers and those that the sink sets.
func (s *Sink) setHeaders(p *pool.Publishing, m *engine.Message) error {
	h := m.Clone().Headers
	err := s.c.Headers.Each(m, func(key string, v any) error {
		h.Set(key, v)
		return nil
	})
	message.PutHeaders(p, &h)
	return err
}

// Address implements [engine.Addressed]: the exchange, or the queue that is published to; neither where the message chooses.
func (s *Sink) Address() engine.Address {
	return message.Address(s.c.Connection, cmp.Or(s.queue, s.exchange))
}

// Ready implements [engine.Readier].
func (s *Sink) Ready() error {
	if err := message.CanPublish(s.c.Connection); err != nil {
		return err
	}
	if why := s.closed.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// Cork implements [engine.Corker].
func (s *Sink) Cork() { s.publisher.Cork() }

// Uncork implements [engine.Corker].
func (s *Sink) Uncork() { s.publisher.Uncork() }

// Close implements [engine.Closer]: it waits for the confirms that are owed.
func (s *Sink) Close(ctx context.Context) error { return s.publisher.Close(ctx) }
