package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Lease is the use of one publishing channel for oneself, until Release: what it publishes has an order of its own, and waits behind
// nobody else's. Its methods are safe to call from many goroutines.
type Lease struct {
	pool  *Pool
	lane  *lane
	pub   *Publisher
	place string // where it was taken
	since time.Time
	timer *time.Timer

	mu        sync.Mutex
	callbacks int
	idle      chan struct{} // closed when callbacks is 0; nil when nobody waits for it
	released  bool
}

// ReleaseError says which messages of a lease had no outcome when the context of [Lease.Release] ended. Use it with errors.As.
type ReleaseError struct {
	// Unknown are the messages without an outcome, in the order in which they were published: the broker may or may not have them.
	Unknown []*Publishing
	// Callbacks is how many callbacks of GetAsync and GetAndAckAsync had not returned.
	Callbacks int
	Cause     error // of the context
}

func (e *ReleaseError) Error() string {
	return fmt.Sprintf("release a lease: the outcome of %d messages is unknown and %d callbacks have not returned: %v", len(e.Unknown), e.Callbacks, e.Cause)
}

func (e *ReleaseError) Unwrap() error { return e.Cause }

// leases are the channels that can be leased, and those that are.
type leases struct {
	free chan *lane

	mu   sync.Mutex
	held []*Lease
}

// With acquires a lease, calls f with it and releases it. It returns the error of f, joined with that of [Lease.Release], which has
// the same ctx.
func (p *Pool) With(ctx context.Context, f func(*Lease) error) (err error) {
	l, err := p.acquire(ctx, caller())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Release(ctx)) }()
	return f(l)
}

// Acquire takes a lease, which must be released. While all are taken it waits until ctx ends, and then returns an error that wraps
// [ErrPoolTimeout] and says where those that are held were taken.
func (p *Pool) Acquire(ctx context.Context) (*Lease, error) { return p.acquire(ctx, caller()) }

// caller returns where the function was called that calls caller.
func caller() string {
	_, file, line, _ := runtime.Caller(2)
	return fmt.Sprintf("%s:%d", file, line)
}

func (p *Pool) acquire(ctx context.Context, place string) (*Lease, error) {
	if p.draining.Err() != nil {
		return nil, fmt.Errorf("acquire a lease: %w", ErrClosed)
	}
	select {
	case lane := <-p.leases.free:
		return p.lease(lane, place), nil
	case <-p.draining.Done():
		return nil, fmt.Errorf("acquire a lease: %w", ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("acquire a lease: %w: %w: %s", ErrPoolTimeout, context.Cause(ctx), p.leases.holders())
	}
}

func (p *Pool) lease(lane *lane, place string) *Lease {
	p.startLane(lane)
	l := &Lease{pool: p, lane: lane, place: place, since: time.Now(), pub: &Publisher{name: "lease of " + place, lane: lane}}
	l.timer = time.AfterFunc(p.opts.LeaseWarning, l.warn)
	p.leases.mu.Lock()
	p.leases.held = append(p.leases.held, l)
	p.leases.mu.Unlock()
	p.counters.leases.Add(1)
	return l
}

// startLane lets a lane of the leases open its channel, the first time.
func (p *Pool) startLane(l *lane) {
	l.starting.Do(func() { p.spawnWhenStarted(l) })
}

func (l *Lease) warn() {
	l.pool.log.Warn("a lease has been held for long: is it released?", "taken_at", l.place, "for", time.Since(l.since).Round(time.Second))
}

// holders says where the leases that are held were taken.
func (s *leases) holders() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := make([]string, len(s.held))
	for i, l := range s.held {
		places[i] = fmt.Sprintf("%s (for %s)", l.place, time.Since(l.since).Round(time.Millisecond))
	}
	return fmt.Sprintf("%d leases are held: %s", len(places), strings.Join(places, ", "))
}

// Publish is [Pool.Publish] on the lease's channel.
func (l *Lease) Publish(ctx context.Context, m *Publishing) error { return l.pub.publish(ctx, m) }

// PublishAsync is [Pool.PublishAsync] on the lease's channel. Release waits for the outcome.
func (l *Lease) PublishAsync(ctx context.Context, m *Publishing, f func(Result)) {
	l.pub.Send(ctx, m, func(err error) { f(Result{m, err}) })
}

// Get is [Pool.Get].
func (l *Lease) Get(ctx context.Context, queue string) (d *Delivery, ok bool, err error) {
	return l.pool.Get(ctx, queue)
}

// GetAndAck is [Pool.GetAndAck].
func (l *Lease) GetAndAck(ctx context.Context, queue string) (d *Delivery, ok bool, err error) {
	return l.pool.GetAndAck(ctx, queue)
}

// GetAsync is [Pool.GetAsync]. Release waits until f has returned.
func (l *Lease) GetAsync(ctx context.Context, queue string, f func(Got)) {
	l.called(f, func(f func(Got)) { l.pool.GetAsync(ctx, queue, f) })
}

// GetAndAckAsync is [Pool.GetAndAckAsync]. Release waits until f has returned.
func (l *Lease) GetAndAckAsync(ctx context.Context, queue string, f func(Got)) {
	l.called(f, func(f func(Got)) { l.pool.GetAndAckAsync(ctx, queue, f) })
}

// called counts a callback until it has returned.
func (l *Lease) called(f func(Got), start func(func(Got))) {
	l.mu.Lock()
	if l.released {
		l.mu.Unlock()
		f(Got{Err: fmt.Errorf("the lease has been released: %w", ErrClosed)})
		return
	}
	l.callbacks++
	l.mu.Unlock()
	start(func(g Got) {
		defer l.returned()
		f(g)
	})
}

func (l *Lease) returned() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.callbacks--
	l.checkIdle()
}

func (l *Lease) checkIdle() {
	if l.callbacks == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// Release gives the lease back. It waits until everything that was published has its outcome and all callbacks have returned. If
// ctx ends before that it returns a [*ReleaseError], and the channel is discarded: what then comes to be known is told to
// the callbacks, with [ErrUnconfirmed] for what does not. The lease must not be used afterwards; releasing it again does nothing.
func (l *Lease) Release(ctx context.Context) error {
	l.mu.Lock()
	if l.released {
		l.mu.Unlock()
		return nil
	}
	l.released = true
	idle := make(chan struct{})
	l.idle = idle
	l.checkIdle()
	l.mu.Unlock()
	l.timer.Stop()
	failed := &ReleaseError{}
	if err := l.pub.Close(ctx); err != nil {
		failed.Unknown, failed.Cause = l.lane.outstanding(l.pub), context.Cause(ctx)
	}
	select {
	case <-idle:
	case <-ctx.Done():
		l.mu.Lock()
		failed.Callbacks, failed.Cause = l.callbacks, context.Cause(ctx)
		l.mu.Unlock()
	}
	l.pool.leases.forget(l)
	if len(failed.Unknown) == 0 {
		l.pool.leases.free <- l.lane
		if failed.Callbacks == 0 {
			return nil
		}
		return failed
	}
	if !l.pool.spawn(func() { l.discard() }) {
		l.pool.leases.free <- l.lane
	}
	return failed
}

// discard gives the channel up, and lends the lane out again when nothing of the lease is left on it.
func (l *Lease) discard() {
	l.lane.discard()
	l.lane.rest(l.pool.ctx)
	l.pool.leases.free <- l.lane
}

// abandoned tells of leases that are held when the pool closes.
func (s *leases) abandoned(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.held {
		l.timer.Stop()
		log.Warn("a lease was not released before the pool was closed", "taken_at", l.place, "for", time.Since(l.since).Round(time.Millisecond))
	}
}

func (s *leases) forget(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = slices.DeleteFunc(s.held, func(x *Lease) bool { return x == l })
	l.pool.counters.leases.Add(-1)
}

// outstanding returns what a publisher has in flight, oldest first.
func (l *lane) outstanding(pub *Publisher) (list []*Publishing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.channel == nil {
		return nil
	}
	for i := range l.channel.count {
		if x := l.channel.at(i); x.pub == pub {
			list = append(list, x.m)
		}
	}
	return list
}

// discard closes the channel: what is in flight on it is unconfirmed. The lane opens another.
func (l *lane) discard() {
	l.mu.Lock()
	c := l.channel
	l.mu.Unlock()
	if c != nil {
		_ = c.gen.call(c.ch.Close)
	}
}
