package pool

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"

	"github.com/sourcegraph/conc"
	"github.com/sourcegraph/conc/panics"
	"github.com/sourcegraph/conc/pool"
)

// Handler works on one delivery, which [Pool.Listen] settles afterwards: nil acknowledges it, an error has
// it settled as [ListenerOptions].Failed says, a panic rejects it. ctx ends when [Pool.Close] does not wait any longer, and carries what
// the headers tell a Propagator.
//
// It is not called for a delivery whose headers cannot be read: that fails with its [Delivery].Unreadable, as if the handler had returned it.
type Handler func(ctx context.Context, d *Delivery) error

// ListenerOptions describe one listener. The zero value is usable: one delivery at a time, in order, and rejected on an error.
type ListenerOptions struct {
	// Consume describes the consumer. Its Queue is the one that Listen is given.
	Consume ConsumeOptions
	// Concurrency is how many handlers run at once; 1 by default, which keeps the order of the queue.
	Concurrency int
	// Key, with Concurrency, keeps order among the deliveries for which it is the same.
	Key func(*Delivery) string
	// Failed decides how a delivery is settled whose handler returned err, or whose headers cannot be read, with an
	// [*ErrUnreadable]; by default it is rejected.
	Failed func(d *Delivery, err error) Outcome
}

// Listen hands over the deliveries of a queue, one a call of handle, until ctx ends. It subscribes again after a reconnect, when the
// broker cancels the consumer, and while the queue does not exist; see [Pool.Consume] for what ends it with an error.
//
// When ctx ends it takes no more deliveries, waits for the handlers that run, and returns nil. A handler may publish on this
// pool, whatever its size.
func (p *Pool) Listen(ctx context.Context, queue string, handle Handler, o ListenerOptions) error {
	o.Consume.Queue = queue
	if o.Concurrency < 0 {
		return fmt.Errorf("listen to queue %q: the concurrency is %d", queue, o.Concurrency)
	}
	if o.Failed == nil {
		o.Failed = func(*Delivery, error) Outcome { return Reject }
	}
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	l := &listener{pool: p, ctx: work, handle: handle, o: o}
	take, wait := l.workers()
	defer wait()
	return p.Consume(ctx, o.Consume, func(chunk []Delivery) {
		for i := range chunk {
			take(chunk[i])
		}
	})
}

// listener is one call of Listen.
type listener struct {
	pool   *Pool
	ctx    context.Context
	handle Handler
	o      ListenerOptions
}

// workers returns what takes a delivery to a handler, and what waits for all handlers.
func (l *listener) workers() (take func(Delivery), wait func()) {
	switch {
	case l.o.Concurrency <= 1:
		return l.work, func() {}
	case l.o.Key == nil:
		workers := pool.New().WithMaxGoroutines(l.o.Concurrency)
		return func(d Delivery) { workers.Go(func() { l.work(d) }) }, workers.Wait
	}
	seed := maphash.MakeSeed()
	lanes := make([]chan Delivery, l.o.Concurrency)
	var workers conc.WaitGroup
	for i := range lanes {
		lane := make(chan Delivery, MaxChunk)
		lanes[i] = lane
		workers.Go(func() {
			for d := range lane {
				l.work(d)
			}
		})
	}
	take = func(d Delivery) {
		lanes[maphash.String(seed, l.o.Key(&d))%uint64(len(lanes))] <- d
	}
	return take, func() {
		for _, lane := range lanes {
			close(lane)
		}
		workers.Wait()
	}
}

// work has one delivery handled, and settles it.
func (l *listener) work(d Delivery) {
	err := d.Unreadable
	if err == nil {
		err = l.call(&d)
	}
	var panicked *panicError
	switch {
	case err == nil:
		d.Ack()
	case errors.As(err, &panicked):
		l.pool.log.Error("a handler panicked; its delivery is rejected", "queue", l.o.Consume.Queue, "error", err, "stack", string(panicked.Stack))
		d.Reject()
	default:
		outcome := l.o.Failed(&d, err)
		l.pool.log.Warn("a handler failed", "queue", l.o.Consume.Queue, "error", err, "outcome", outcome.String())
		d.Session.Settle(d.DeliveryTag, outcome)
	}
}

func (l *listener) call(d *Delivery) (err error) {
	defer func() {
		if v := recover(); v != nil {
			recovered := panics.NewRecovered(2, v)
			err = &panicError{&recovered}
		}
	}()
	return l.handle(d.Context(l.ctx), d)
}

type panicError struct{ *panics.Recovered }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Deliveries is Listen as a loop; every delivery is to be settled, in the loop or later:
//
//	for d, err := range p.Deliveries(ctx, ConsumeOptions{Queue: "orders"}) {
//		if err != nil {
//			return err
//		}
//		…
//		d.Ack()
//	}
//
// A delivery whose headers cannot be read comes with [Delivery].Unreadable set, and is no error of the loop's.
//
// The loop ends when ctx does and everything that it was given is settled, or with an error, as [Pool.Consume] returns it. Leaving
// the loop early gives the present delivery back, unless it is settled, and waits for those that are settled elsewhere.
func (p *Pool) Deliveries(ctx context.Context, o ConsumeOptions) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		items := make(chan Delivery)
		var consumer conc.WaitGroup
		var failed error
		consumer.Go(func() {
			defer close(items)
			failed = p.Consume(ctx, o, func(chunk []Delivery) { offer(ctx, items, chunk) })
		})
		defer consumer.Wait()
		for d := range items {
			if !yield(&d, nil) {
				d.Session.abandonIfOpen(d.DeliveryTag)
				cancel()
				for rest := range items {
					rest.Abandon()
				}
				return
			}
		}
		if failed != nil {
			yield(nil, failed)
		}
	}
}

// offer hands deliveries over one by one; those that nobody takes before ctx ends go back.
func offer(ctx context.Context, items chan<- Delivery, chunk []Delivery) {
	for i := range chunk {
		select {
		case items <- chunk[i]:
		case <-ctx.Done():
			chunk[i].Abandon()
		}
	}
}
