package pool

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ErrNoQueue says that a queue does not exist. Use it with errors.As.
type ErrNoQueue struct {
	Queue  string
	Broker string // what the broker said
}

func (e *ErrNoQueue) Error() string {
	return fmt.Sprintf("queue %q does not exist: declare it, or correct the name (%s)", e.Queue, e.Broker)
}

// getSessions is how many queues may have a channel to get from; beyond them, one with nothing unsettled is closed.
const getSessions = 32

// getter takes single messages. Each queue has a channel of its own: one that does not exist costs the deliveries of no other.
type getter struct {
	pool *Pool
	turn chan struct{} // held while a channel waits for the broker's answer

	mu       sync.Mutex
	sessions map[string]*Session
}

func newGetter(p *Pool) *getter {
	return &getter{pool: p, turn: make(chan struct{}, 1), sessions: make(map[string]*Session)}
}

// Get takes one message from a queue; ok is false if there is none. It must be settled: d.Ack, d.Reject, d.Requeue or d.Abandon.
// It waits for a connection until ctx ends ([ErrPoolTimeout]); a queue that does not exist is an [*ErrNoQueue].
//
// A message whose headers cannot be read comes with [Delivery].Unreadable set.
//
// Getting messages one by one is slow and keeps a broker busy; to follow a queue, use [Pool.Listen].
func (p *Pool) Get(ctx context.Context, queue string) (d *Delivery, ok bool, err error) {
	return p.gets.get(ctx, queue, false)
}

// GetAndAck takes one message from a queue, which the broker forgets at once: if the process or the connection ends before it is
// worked on, it is lost (at most once). ok is false if there is none. Its errors are those of [Pool.Get].
func (p *Pool) GetAndAck(ctx context.Context, queue string) (d *Delivery, ok bool, err error) {
	return p.gets.get(ctx, queue, true)
}

// Got is what [Pool.GetAsync] and [Pool.GetAndAckAsync] call back with: as Get and GetAndAck return it.
type Got struct {
	Delivery *Delivery
	OK       bool
	Err      error
}

// GetAsync is Get in the background: f is called exactly once, from a goroutine of its own, and may call the pool. [Pool.Close]
// waits for it.
func (p *Pool) GetAsync(ctx context.Context, queue string, f func(Got)) {
	p.getAsync(ctx, queue, false, f)
}

// GetAndAckAsync is GetAndAck in the background, as [Pool.GetAsync] is Get.
func (p *Pool) GetAndAckAsync(ctx context.Context, queue string, f func(Got)) {
	p.getAsync(ctx, queue, true, f)
}

func (p *Pool) getAsync(ctx context.Context, queue string, forget bool, f func(Got)) {
	work := func() {
		d, ok, err := p.gets.get(ctx, queue, forget)
		f(Got{d, ok, err})
	}
	if !p.spawn(work) {
		f(Got{Err: fmt.Errorf("get from queue %q: %w", queue, ErrClosed)})
	}
}

func (g *getter) get(ctx context.Context, queue string, forget bool) (*Delivery, bool, error) {
	d, ok, err := g.tryGet(ctx, queue, forget)
	if err != nil {
		return nil, false, fmt.Errorf("get from queue %q: %w", queue, err)
	}
	return d, ok, nil
}

func (g *getter) tryGet(ctx context.Context, queue string, forget bool) (*Delivery, bool, error) {
	if err := checkQueueName(queue); err != nil {
		return nil, false, err
	}
	if err := g.pool.enter(); err != nil {
		return nil, false, err
	}
	defer g.pool.leave()
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return nil, false, fmt.Errorf("%w: %w", ErrPoolTimeout, context.Cause(ctx))
	}
	for {
		gen, err := g.pool.listen[0].wait(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, false, fmt.Errorf("%w (no connection to %s): %w", ErrPoolTimeout, g.pool.Redacted(), context.Cause(ctx))
		case err != nil:
			return nil, false, err
		}
		d, ok, err := g.ask(gen, queue, forget)
		if err == nil || !gen.lost() {
			return d, ok, err
		}
	}
}

func checkQueueName(queue string) error {
	switch {
	case queue == "":
		return errors.New("no queue is named")
	case len(queue) > maxShortString:
		return fmt.Errorf("its name is longer than %d bytes", maxShortString)
	}
	return nil
}

// ask asks the broker for a message on a connection.
func (g *getter) ask(gen *generation, queue string, forget bool) (*Delivery, bool, error) {
	s, err := g.session(gen, queue)
	if err != nil {
		return nil, false, err
	}
	var d amqp.Delivery
	var ok bool
	err = gen.call(func() (err error) {
		d, ok, err = s.ch.Get(queue, forget)
		return err
	})
	if err != nil {
		if said := brokerSaid(err); said != nil && said.Code == amqp.NotFound {
			err = &ErrNoQueue{queue, said.Reason}
		}
		return nil, false, err
	}
	if !ok {
		return nil, false, nil
	}
	chunk := []Delivery{{Delivery: d, Session: s}}
	s.handOver(chunk)
	s.rest()
	if forget {
		s.forgotten(d.DeliveryTag)
	}
	return &chunk[0], true, nil
}

// session returns the channel of a queue.
func (g *getter) session(gen *generation, queue string) (*Session, error) {
	g.mu.Lock()
	s := g.sessions[queue]
	g.mu.Unlock()
	if s != nil && s.gen == gen && !s.Stale() {
		return s, nil
	}
	if s != nil {
		g.drop(queue, s)
	}
	g.evict()
	s = newSession(gen, MaxChunk)
	if err := s.open(); err != nil {
		s.close()
		return nil, err
	}
	s.port.listen() // for the end of the channel; what is got comes by the library
	g.mu.Lock()
	g.sessions[queue] = s
	g.mu.Unlock()
	return s, nil
}

// drop forgets the channel of a queue.
func (g *getter) drop(queue string, s *Session) {
	g.mu.Lock()
	delete(g.sessions, queue)
	g.mu.Unlock()
	s.end(true)
	s.close()
}

// evict closes a channel with nothing unsettled, if there are many.
func (g *getter) evict() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sessions) < getSessions {
		return
	}
	for queue, s := range g.sessions {
		select {
		case <-s.allSettled():
			delete(g.sessions, queue)
			s.end(true)
			s.close()
			return
		default:
		}
	}
}

// drain waits until everything that was taken is settled, and returns false when ctx ended first.
func (g *getter) drain(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for queue, s := range g.sessions {
		select {
		case <-s.allSettled():
		case <-ctx.Done():
			return false
		}
		delete(g.sessions, queue)
		s.end(true)
		s.close()
	}
	return true
}
