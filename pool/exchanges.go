package pool

import (
	"context"
	"errors"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// recheck is how long it is taken for granted that an exchange is missing.
const recheck = time.Second

// exchanges remembers, for one generation, which exchanges exist. A publish to one that does not would
// close the publishing channel, and make every unconfirmed message on it unknown.
type exchanges struct {
	known sync.Map // name → *verdict
}

// verdict is what is known about an exchange once done is closed.
type verdict struct {
	done  chan struct{}
	err   error     // nil: it exists, or the broker does not tell
	until time.Time // when err is to be checked again
}

// has reports that the exchange was there when it was last looked for.
func (e *exchanges) has(name string) bool {
	if name == "" {
		return true
	}
	v, ok := e.known.Load(name)
	return ok && v.(*verdict).settled() && v.(*verdict).err == nil
}

func (v *verdict) settled() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

// stale reports that an exchange that was missing should be looked for again.
func (v *verdict) stale() bool { return v.settled() && v.err != nil && time.Now().After(v.until) }

// missing remembers that the broker has said that an exchange does not exist, or is closed to us.
func (e *exchanges) missing(name string, err error, recheck time.Duration) {
	v := &verdict{done: make(chan struct{}), err: err, until: time.Now().Add(recheck)}
	close(v.done)
	e.known.Store(name, v)
}

// check returns nil when the exchange exists, its *ErrNoExchange when it does not, and the cause of ctx
// when that ends first. Many may ask at once; the broker is asked once.
func (e *exchanges) check(ctx context.Context, p *Pool, name string) error {
	v := &verdict{done: make(chan struct{})}
	for {
		old, loaded := e.known.LoadOrStore(name, v)
		if !loaded {
			break
		}
		before := old.(*verdict)
		if before.stale() {
			e.known.CompareAndDelete(name, before)
			continue
		}
		return before.wait(ctx)
	}
	ask := func() {
		defer close(v.done)
		defer func() { v.until = time.Now().Add(recheck) }()
		if v.err = p.lookUp(name); !isAnswer(v.err) {
			v.err = nil
			e.known.CompareAndDelete(name, v)
		}
	}
	if !p.spawn(ask) {
		close(v.done)
	}
	return v.wait(ctx)
}

func (v *verdict) wait(ctx context.Context) error {
	select {
	case <-v.done:
		return v.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isAnswer reports that a look-up came to a result, good or bad.
func isAnswer(err error) bool {
	var missing *ErrNoExchange
	return err == nil || errors.As(err, &missing)
}

// lookUp asks the broker for an exchange, on a listen connection: a publish connection may be blocked.
func (p *Pool) lookUp(name string) error {
	g, err := p.listen[0].wait(p.ctx)
	if err != nil {
		return err
	}
	s := &scratch{g: g}
	defer s.close()
	err = s.do(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeDirect, true, false, false, false, nil)
	})
	said := brokerSaid(err)
	if said == nil {
		return err
	}
	if said.Code == amqp.NotFound {
		return &ErrNoExchange{Exchange: name, Broker: said.Reason}
	}
	return nil // the broker does not tell; the publish will
}
