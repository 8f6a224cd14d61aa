package pool

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// lane is one publishing channel: it gets a new one after each loss. Senders take turns under its lock;
// one goroutine follows the confirms (see confirm.go).
//
// This is the hot path: a send locks twice, allocates nothing of its own and hops to no other goroutine.
// BenchmarkPublish watches it.
type lane struct {
	pool     *Pool
	link     *link
	starting sync.Once

	mu      sync.Mutex
	channel *channel        // nil while there is none
	waiters []chan struct{} // senders without room, first come first served
	open    int             // messages sent and not told of their outcome
	idle    chan struct{}   // closed when open is 0; nil when nobody waits for it
	err     error           // for good: refused, or closed
}

func newLane(p *Pool, l *link) *lane { return &lane{pool: p, link: l} }

// run keeps a channel open until ctx ends or the broker refuses for good.
func (l *lane) run(ctx context.Context) {
	pauses := backoff{min: l.pool.backoffMin, max: l.pool.backoffMax}
	for {
		g, err := l.link.wait(ctx)
		if err != nil {
			l.fail(err)
			return
		}
		opened := time.Now()
		switch c, err := l.openChannel(g); {
		case err == nil:
			l.serve(c)
		case !g.lost(): // that is told of the connection
			l.pool.log.Warn("cannot open a publishing channel; trying again", "error", err)
		}
		if time.Since(opened) > settled {
			pauses.reset()
		}
		if !g.lost() {
			pause(ctx, pauses.next())
		}
	}
}

func (l *lane) openChannel(g *generation) (*channel, error) {
	c := &channel{
		lane: l, gen: g,
		ring:     make([]inflight, l.pool.opts.Publish.Window),
		more:     make(chan struct{}, 1),
		finished: make(chan struct{}),
	}
	err := g.call(func() (err error) {
		if c.ch, err = g.conn.Channel(); err != nil {
			return err
		}
		c.closes = c.ch.NotifyClose(make(chan *amqp.Error, 1))
		return c.ch.Confirm(false)
	})
	if err != nil {
		return nil, err
	}
	if c.port, err = g.openPort(c.ch); err != nil {
		return nil, err
	}
	c.port.confirmed, c.port.returned = c.confirmed, c.cameBack
	c.port.listen()
	return c, nil
}

// serve lets senders use the channel until it has gone and all that was sent on it has an outcome.
func (l *lane) serve(c *channel) {
	l.mu.Lock()
	l.channel = c
	l.wakeLocked()
	l.mu.Unlock()
	c.follow(0)
	<-c.finished
	c.port.close()
}

// send publishes m, or tells done why not.
func (l *lane) send(ctx context.Context, pub *Publisher, m *Publishing, done Completion) {
	if err := l.publish(ctx, pub, m, done); err != nil {
		l.pool.counters.refused.Add(1)
		l.wake() // a turn may have been ours
		done.Done(err)
	}
}

func (l *lane) publish(ctx context.Context, pub *Publisher, m *Publishing, done Completion) error {
	l.pool.propagate(ctx, m)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ErrPoolTimeout, context.Cause(ctx))
	}
	header, err := prepare(m)
	if err != nil {
		return err
	}
	if limit := l.pool.opts.Publish.MaxMessage; len(m.Body) > limit {
		return &ErrTooLarge{"body", len(m.Body), limit}
	}
	for {
		l.mu.Lock()
		if err := l.refusal(pub); err != nil {
			l.mu.Unlock()
			return err
		}
		c, why := l.room(header + len(m.Body))
		if c == nil {
			if err := l.wait(ctx, pub, why); err != nil {
				return err
			}
			continue
		}
		sent, err := c.send(pub, m, done, header)
		if sent || err != nil {
			return err
		}
		if err := c.gen.exchanges.check(ctx, l.pool, m.Exchange); err != nil {
			return checkFailed(ctx, err)
		}
	}
}

func checkFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil && !IsPermanent(err) {
		return fmt.Errorf("%w (looking for the exchange): %w", ErrPoolTimeout, err)
	}
	return err
}

// refusal says why nothing can be sent any more, or nil. The lane is locked.
func (l *lane) refusal(pub *Publisher) error {
	if l.err != nil {
		return l.err
	}
	if pub.closed {
		return fmt.Errorf("publisher %q: %w", pub.name, ErrClosed)
	}
	return nil
}

// obstacle is why a sender has to wait.
type obstacle uint8

const (
	noChannel obstacle = iota
	blocked
	windowFull
	wireFull
)

// room returns the channel, with room reserved for size bytes on its wire, or why there is none. The
// lane is locked.
func (l *lane) room(size int) (*channel, obstacle) {
	c := l.channel
	switch {
	case c == nil || c.port.shut.Load() || c.ch.IsClosed():
		return nil, noChannel
	case c.gen.blocked():
		return nil, blocked
	case c.count == len(c.ring):
		return nil, windowFull
	case !c.gen.wire.reserve(size):
		return nil, wireFull
	}
	return c, 0
}

// wait unlocks the lane and waits for something to change. It returns an error when ctx has ended.
func (l *lane) wait(ctx context.Context, pub *Publisher, why obstacle) error {
	turn := make(chan struct{}, 1)
	l.waiters = append(l.waiters, turn)
	l.mu.Unlock()
	pub.flush()
	relief := time.NewTimer(reliefDelay)
	defer relief.Stop()
	for {
		select {
		case <-turn:
			return nil
		case <-relief.C:
			l.pool.relieve()
		case <-ctx.Done():
			l.leave(turn)
			return l.timeout(ctx, why)
		}
	}
}

// leave gives up a turn.
func (l *lane) leave(turn chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiters, turn); i >= 0 {
		l.waiters = slices.Delete(l.waiters, i, i+1)
		return
	}
	l.wakeLocked() // it had come already: it is another's
}

func (l *lane) timeout(ctx context.Context, why obstacle) error {
	cause := context.Cause(ctx)
	switch why {
	case blocked:
		return fmt.Errorf("%w: %w", ErrBlocked, cause)
	case windowFull:
		return fmt.Errorf("%w (%d messages wait for their confirm): %w", ErrPoolTimeout, l.pool.opts.Publish.Window, cause)
	case wireFull:
		return fmt.Errorf("%w (the broker reads slowly): %w", ErrPoolTimeout, cause)
	}
	return fmt.Errorf("%w (no connection to %s): %w", ErrPoolTimeout, l.pool.Redacted(), cause)
}

// wakeLocked lets the first waiter look again.
func (l *lane) wakeLocked() {
	if len(l.waiters) == 0 {
		return
	}
	l.waiters[0] <- struct{}{}
	l.waiters[0] = nil
	l.waiters = l.waiters[1:]
}

// wakeLanes lets every waiting sender look again.
func (p *Pool) wakeLanes() {
	for _, l := range p.lanes {
		l.wakeAll()
	}
}

// wakeAll lets every waiter look again.
func (l *lane) wakeAll() {
	l.mu.Lock()
	for len(l.waiters) > 0 {
		l.wakeLocked()
	}
	l.mu.Unlock()
}

// wake lets the first waiter look again.
func (l *lane) wake() {
	l.mu.Lock()
	l.wakeLocked()
	l.mu.Unlock()
}

// fail refuses everything from now on.
func (l *lane) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	l.wakeAll()
}

// drain refuses what is new and waits until everything sent has its outcome. It returns false when ctx
// ended first.
func (l *lane) drain(ctx context.Context) bool {
	l.fail(ErrClosed)
	return l.rest(ctx)
}

// rest waits until everything sent has its outcome. It returns false when ctx ended first.
func (l *lane) rest(ctx context.Context) bool {
	l.mu.Lock()
	idle := l.idle
	if idle == nil {
		idle = make(chan struct{})
		l.idle = idle
	}
	l.toldLocked()
	l.mu.Unlock()
	select {
	case <-idle:
		return true
	case <-ctx.Done():
		return false
	}
}

// toldLocked ends waits for outcomes when there are none left to come.
func (l *lane) toldLocked() {
	if l.open == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// wire returns the wire of the present channel, or nil.
func (l *lane) wire() *wire {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.channel == nil {
		return nil
	}
	return l.channel.gen.wire
}

func (l *lane) inFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// fits reports that the broker takes a message with such headers on this connection.
func (c *channel) fits(m *Publishing, header int) error {
	if limit := c.gen.conn.Config.FrameSize; limit > 0 && header > limit {
		return &ErrTooLarge{"properties and headers", header, limit}
	}
	if m.UserId != "" && m.UserId != c.gen.user && !c.lane.pool.opts.Publish.Impersonator {
		if c.gen.user == "" {
			return &ErrInvalid{"user-id", "the broker takes only that of the connection, which SASL EXTERNAL does not tell: put the user into the URL"}
		}
		return &ErrInvalid{"user-id", fmt.Sprintf("it is %q, and the broker takes only that of the connection, %q: remove it", m.UserId, c.gen.user)}
	}
	return nil
}

// send puts m on its way; the lane is locked, with room reserved, and unlocked afterwards. It returns
// false and no error when the exchange has to be looked for first, or the channel has just gone.
func (c *channel) send(pub *Publisher, m *Publishing, done Completion, header int) (sent bool, err error) {
	l, w := c.lane, c.gen.wire
	size := header + len(m.Body)
	known := c.gen.exchanges.has(m.Exchange)
	if err = c.fits(m, header); err != nil || !known {
		l.mu.Unlock()
		w.unreserve(size)
		l.wake()
		return false, err
	}
	sent = c.port.publish(m, size) == nil
	if sent {
		c.push(inflight{m: m, done: done, pub: pub})
		l.pool.counters.published.Add(1)
	}
	if c.count < len(c.ring) {
		l.wakeLocked()
	}
	l.mu.Unlock()
	w.end(size, pub.corked.Load() == w)
	return sent, nil
}
