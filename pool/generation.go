package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"
)

var (
	errNoAnswer = errors.New("the broker did not answer in time")
	errClosing  = errors.New("the connection is being closed")
)

// generation is one connection, from its dial to its loss.
type generation struct {
	pool *Pool
	id   uint64
	conn *amqp.Connection
	wire *wire
	user string
	url  string    // redacted
	born time.Time // when it was opened
	wg   conc.WaitGroup

	ctx    context.Context // ends with the connection; its cause says why
	cancel context.CancelCauseFunc

	exchanges exchanges
}

func newGeneration(p *Pool, a address, w *wire) *generation {
	g := &generation{pool: p, id: p.generations.Add(1), wire: w, user: a.uri.Username, url: a.redacted()}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	g.wg.Go(w.run)
	return g
}

// opened begins to watch the connection.
func (g *generation) opened() {
	g.born = time.Now()
	closes := g.conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := g.conn.NotifyBlocked(make(chan amqp.Blocking, 8))
	g.wg.Go(func() { g.watch(closes, blocks) })
}

// watch returns when the library has shut the connection down.
func (g *generation) watch(closes chan *amqp.Error, blocks chan amqp.Blocking) {
	for closes != nil || blocks != nil {
		select {
		case err, ok := <-closes:
			if !ok {
				closes = nil
			}
			g.cancel(g.lossCause(err))
		case b, ok := <-blocks:
			if !ok {
				blocks = nil
				break
			}
			g.setBlocked(b)
		case <-g.wire.drained:
			g.pool.wakeLanes()
		}
	}
	g.setBlocked(amqp.Blocking{})
}

// lossCause says why the connection was lost, as well as it is known.
func (g *generation) lossCause(err *amqp.Error) error {
	if cause := g.wire.cause(); cause != nil && (err == nil || !err.Server) {
		return cause
	}
	if err == nil {
		return errClosing
	}
	return err
}

func (g *generation) setBlocked(b amqp.Blocking) {
	if g.wire.blocked.set(b.Active) {
		g.pool.blockedChanged(g, b)
	}
}

// blocked reports that the broker does not read.
func (g *generation) blocked() bool { return g.wire.blocked.active.Load() }

// end closes the socket at once and waits until nothing of the connection is left. It is for one caller.
func (g *generation) end(err error) {
	g.wire.fail(err)
	g.cancel(err)
	g.wg.Wait()
}

// close says goodbye to the broker, for grace at most, and ends the connection.
func (g *generation) close(grace time.Duration) {
	if !g.blocked() {
		watchdog := time.AfterFunc(grace, func() { g.wire.fail(errClosing) })
		_ = g.conn.CloseDeadline(time.Now().Add(grace))
		watchdog.Stop()
	}
	g.end(errClosing)
}

// lost reports that the connection has gone.
func (g *generation) lost() bool { return g.ctx.Err() != nil || g.conn.IsClosed() }

// call runs f, which waits for the broker. The library would wait for ever: when the answer takes too long,
// the broker is taken for dead and the socket is closed, which ends every wait. While the broker blocks
// publishers it does not answer on this connection; then that is no reason.
func (g *generation) call(f func() error) error {
	answer := watchdog{patience: g.pool.opts.CallTimeout, excused: g.wire.blocked.excuses, bite: func() { g.wire.fail(errNoAnswer) }}
	answer.wake()
	defer answer.sleep()
	err := f()
	if errors.Is(err, amqp.ErrClosed) {
		if cause := g.wire.cause(); cause != nil {
			return cause
		}
	}
	return err
}

// scratch is a channel for what may fail: the broker closes it on an error, and a new one is opened.
type scratch struct {
	g  *generation
	ch *amqp.Channel
}

// do runs f on the channel. After an error the channel is not used again.
func (s *scratch) do(f func(*amqp.Channel) error) error {
	return s.g.call(func() (err error) {
		if s.ch == nil {
			if s.ch, err = s.g.conn.Channel(); err != nil {
				s.ch = nil
				return fmt.Errorf("open a channel: %w", err)
			}
		}
		ch := s.ch
		if err = f(ch); err != nil {
			s.ch = nil
			_ = ch.Close()
		}
		return err
	})
}

func (s *scratch) close() {
	if s.ch != nil {
		_ = s.g.call(s.ch.Close)
	}
}
