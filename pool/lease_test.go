package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// TestReleaseWaits expects that what a lease began has ended when it is released.
func TestReleaseWaits(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	var told, taken atomic.Int64
	err := p.With(within(t, patience), func(l *Lease) error {
		if s := p.Stats(); s.Leases != 1 {
			t.Errorf("%d leases", s.Leases)
		}
		for i := range 200 {
			l.PublishAsync(within(t, patience), &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text(fmt.Sprint(i))}, func(r Result) {
				if r.Err != nil {
					t.Error(r.Err)
				}
				told.Add(1)
			})
		}
		if err := l.Publish(within(t, patience), &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("200")}); err != nil {
			return err
		}
		for range 5 {
			l.GetAndAckAsync(within(t, patience), "q", func(g Got) {
				if g.OK {
					taken.Add(1)
				}
			})
			l.GetAsync(within(t, patience), "q", func(g Got) {
				if g.OK {
					taken.Add(1)
					g.Delivery.Ack()
				}
			})
		}
		return nil
	})
	if err != nil || told.Load() != 200 || taken.Load() != 10 {
		t.Errorf("%v: %d told, %d taken", err, told.Load(), taken.Load())
	}
	left := testbroker.Drain(t, url, "q")
	if len(left) != 191 {
		t.Errorf("%d messages are left", len(left))
	}
	for i, d := range left {
		if string(d.Body) != fmt.Sprint(i+10) {
			t.Fatalf("message %d is %s", i, d.Body)
		}
	}
	if s := p.Stats(); s.Leases != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWithJoinsErrors(t *testing.T) {
	url := testbroker.VHost(t)
	p := start(t, Options{URLs: []string{url}})
	failed := errors.New("failed")
	err := p.With(within(t, patience), func(l *Lease) error {
		if _, ok, err := l.GetAndAck(within(t, patience), "none"); ok || err == nil {
			t.Errorf("%v, %v", ok, err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Error(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = p.With(within(t, patience), func(*Lease) error { panic("in a lease") })
	}()
	if s := p.Stats(); s.Leases != 0 {
		t.Errorf("a panic keeps the lease: %+v", s)
	}
}

// TestNoLeaseLeft expects to be told who holds them.
func TestNoLeaseLeft(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}, Publish: PublishOptions{Leases: 2}})
	first, err := p.Acquire(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Acquire(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("no patience"))
	_, err = p.Acquire(ctx)
	if !errors.Is(err, ErrPoolTimeout) || strings.Count(err.Error(), "lease_test.go:") != 2 || !strings.Contains(err.Error(), "no patience") {
		t.Errorf("%v", err)
	}
	var waiter conc.WaitGroup
	waiter.Go(func() {
		if err := p.With(within(t, patience), func(l *Lease) error {
			return l.Publish(within(t, patience), &Publishing{RoutingKey: "q", Mandatory: true})
		}); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(first.Release(within(t, patience)), first.Release(within(t, patience))); err != nil {
		t.Error(err)
	}
	waiter.Wait()
	if err := first.Publish(within(t, patience), &Publishing{RoutingKey: "q"}); !errors.Is(err, ErrClosed) {
		t.Errorf("a released lease publishes: %v", err)
	}
	first.GetAsync(context.Background(), "q", func(g Got) {
		if !errors.Is(g.Err, ErrClosed) {
			t.Errorf("%+v", g)
		}
	})
	if err := second.Release(within(t, patience)); err != nil {
		t.Error(err)
	}
}

// TestLeaseThatIsNeverReleased expects to be told where it was taken.
func TestLeaseThatIsNeverReleased(t *testing.T) {
	url := testbroker.VHost(t)
	var log journal
	p := start(t, Options{URLs: []string{url}, Logger: log.logger(), LeaseWarning: time.Millisecond})
	if _, err := p.Acquire(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	testbroker.Eventually(t, patience, func() bool { return strings.Contains(log.String(), "held for long") }, "a warning is logged")
	if p.Stats().Leases != 1 {
		t.Error("it is not counted")
	}
	if err := p.Close(within(t, patience)); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "not released before the pool was closed") || !strings.Contains(log.String(), "lease_test.go:") {
		t.Error(log.String())
	}
	if _, err := p.Acquire(context.Background()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestReleaseWithoutOutcomes expects a broker that does not answer to be told of, every callback to be called once, and the
// channel to be lent out again when the broker is back.
func TestReleaseWithoutOutcomes(t *testing.T) {
	node := testbroker.Private(t)
	testbroker.Declare(t, node.URL(), "q")
	p := start(t, Options{URLs: []string{node.URL()}, CallTimeout: time.Second, Publish: PublishOptions{Leases: 1}})
	l, err := p.Acquire(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(within(t, patience), &Publishing{RoutingKey: "q", Mandatory: true}); err != nil {
		t.Fatal(err)
	}
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	var sent []*Publishing
	told := make(chan Result, 10)
	for range 5 {
		m := &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}
		sent = append(sent, m)
		l.PublishAsync(context.Background(), m, func(r Result) { told <- r })
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("no patience"))
	err = l.Release(ctx)
	var unknown *ReleaseError
	if !errors.As(err, &unknown) || len(unknown.Unknown) != 5 || !strings.Contains(err.Error(), "5 messages") || !strings.Contains(err.Error(), "no patience") {
		t.Fatalf("%v", err)
	}
	for i, m := range unknown.Unknown {
		if m != sent[i] {
			t.Error("another message is unknown")
		}
	}
	for range 5 {
		if r := <-told; !errors.Is(r.Err, ErrUnconfirmed) {
			t.Errorf("%v", r.Err)
		}
	}
	if err := node.Unpause(); err != nil {
		t.Fatal(err)
	}
	if err := p.With(within(t, patience), func(l *Lease) error {
		return l.Publish(within(t, patience), &Publishing{RoutingKey: "q", Mandatory: true})
	}); err != nil {
		t.Error(err)
	}
	if len(told) > 0 {
		t.Error("a callback was called twice")
	}
}

// TestManyShareFew has ten thousand goroutines share eight leases for a minute: counts add up.
func TestManyShareFew(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}, Publish: PublishOptions{Leases: 8}})
	n, until := 10_000, time.Now().Add(time.Minute)
	if testing.Short() || testbroker.Embedded() {
		n, until = 1000, time.Now()
	}
	var published, taken, none atomic.Int64
	var callbacks sync.WaitGroup
	var work conc.WaitGroup
	count := func(ok bool) {
		if ok {
			taken.Add(1)
		} else {
			none.Add(1)
		}
	}
	ctx := within(t, 5*patience)
	one := func(l *Lease) error {
		switch rand.IntN(4) {
		case 0:
			if err := l.Publish(ctx, &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}); err != nil {
				return err
			}
			published.Add(1)
		case 1:
			for range 1 + rand.IntN(5) {
				callbacks.Add(1)
				l.PublishAsync(context.Background(), &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}, func(r Result) {
					defer callbacks.Done()
					if r.Err != nil {
						t.Error(r.Err)
					}
					published.Add(1)
				})
			}
		case 2:
			_, ok, err := l.GetAndAck(ctx, "q")
			count(ok)
			return err
		default:
			d, ok, err := l.Get(ctx, "q")
			if ok {
				d.Ack()
			}
			count(ok)
			return err
		}
		return nil
	}
	for range n {
		work.Go(func() {
			for again := true; again; again = time.Now().Before(until) {
				if err := p.With(context.Background(), one); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	callbacks.Wait()
	if err := p.Close(within(t, patience)); err != nil {
		t.Error(err)
	}
	left := testbroker.Depth(t, url, "q")
	if int64(left) != published.Load()-taken.Load() {
		t.Errorf("%d published, %d taken, and %d are left", published.Load(), taken.Load(), left)
	}
	s := p.Stats()
	if int64(s.Confirmed) != published.Load() || int64(s.Acked) != taken.Load() || s.Leases != 0 || s.InFlight != 0 || s.Unsettled != 0 || s.StaleAcks != 0 || s.Unknown != 0 {
		t.Errorf("%+v; %d published, %d taken", s, published.Load(), taken.Load())
	}
	t.Logf("%d published, %d taken, %d times the queue was empty", published.Load(), taken.Load(), none.Load())
}
