package pool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testproxy"
)

// traffic publishes and consumes all the time, through whatever happens, and keeps the books.
type traffic struct {
	t      *testing.T
	p      *Pool
	direct string // the broker's URL, past whatever breaks
	stop   chan struct{}
	halt   func() // closes stop, once
	work   conc.WaitGroup
	reader *consuming

	mu   sync.Mutex
	told map[string][]error // outcomes by message
	seen map[string]int     // deliveries by message
	sent atomic.Int64
	done atomic.Int64 // confirmed
}

const flowing = "flowing" // the queue

func run(t *testing.T, p *Pool, direct string) *traffic {
	t.Helper()
	f := &traffic{t: t, p: p, direct: direct, stop: make(chan struct{}), told: map[string][]error{}, seen: map[string]int{}}
	f.halt = sync.OnceFunc(func() { close(f.stop) })
	t.Cleanup(f.halt) // a test that has failed leaves the broker to the next one
	f.reader = consume(t, p, ConsumeOptions{Queue: flowing, Prefetch: 100}, f.take)
	for i := range 3 {
		f.work.Go(func() { f.send(i) })
	}
	f.work.Go(f.lend)
	return f
}

func (f *traffic) take(chunk []Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range chunk {
		f.seen[chunk[i].MessageId]++
		chunk[i].Ack()
	}
}

func (f *traffic) outcome(id string) func(error) {
	return func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.told[id] = append(f.told[id], err)
		if err == nil {
			f.done.Add(1)
		}
	}
}

// next returns a message, until the traffic is to stop.
func (f *traffic) next(from string, i int) (m *Publishing, ok bool) {
	select {
	case <-f.stop:
		return nil, false
	default:
	}
	if f.sent.Add(1)%50 == 0 {
		time.Sleep(time.Millisecond) // a flood would only take the machine's time
	}
	return &Publishing{RoutingKey: flowing, Mandatory: true, Publishing: amqp.Publishing{
		DeliveryMode: amqp.Persistent, MessageId: fmt.Sprint(from, "-", i), Body: make([]byte, 300),
	}}, true
}

func (f *traffic) send(sender int) {
	pub := f.p.Publisher(fmt.Sprint("sender ", sender))
	for i := 0; ; i++ {
		m, ok := f.next(fmt.Sprint(sender), i)
		if !ok {
			return
		}
		pub.Send(within(f.t, patience), m, f.outcome(m.MessageId))
	}
}

// lend publishes on leases.
func (f *traffic) lend() {
	for i := 0; ; i++ {
		m, ok := f.next("lease", i)
		if !ok {
			return
		}
		err := f.p.With(within(f.t, patience), func(l *Lease) error {
			err := l.Publish(within(f.t, patience), m)
			f.outcome(m.MessageId)(err)
			return nil
		})
		if err != nil {
			f.t.Error(err)
		}
	}
}

// flows waits until n more messages have been confirmed.
func (f *traffic) flows(n int64) {
	f.t.Helper()
	want := f.done.Load() + n
	testbroker.Eventually(f.t, patience, func() bool { return f.done.Load() >= want }, "messages flow")
}

// lost waits until the pool has given up both connections: one that it still has would live on.
func (f *traffic) lost() {
	f.t.Helper()
	testbroker.Eventually(f.t, patience, func() bool {
		for _, l := range f.p.links() {
			if l.stateNow() != StateDialing {
				return false
			}
		}
		return true
	}, "both connections are lost")
}

// reconnected waits until both connections have been made again, since before.
func (f *traffic) reconnected(before uint64) {
	f.t.Helper()
	testbroker.Eventually(f.t, patience, func() bool { return f.p.Stats().Reconnects >= before+2 }, "the pool has reconnected")
}

// end stops the traffic and looks at the books.
func (f *traffic) end() {
	f.t.Helper()
	f.halt()
	f.work.Wait()
	testbroker.Eventually(f.t, patience, func() bool { return f.p.Stats().InFlight == 0 }, "every message has an outcome")
	testbroker.Eventually(f.t, patience, func() bool { return f.missing() == 0 && testbroker.Depth(f.t, f.direct, flowing) == 0 },
		"what was confirmed has been consumed")
	f.reader.end()
	if f.reader.err != nil {
		f.t.Error(f.reader.err)
	}
	s := f.p.Stats()
	if err := f.p.Close(within(f.t, patience)); err != nil {
		f.t.Error(err)
	}
	left := testbroker.Drain(f.t, f.direct, flowing)
	for _, d := range left {
		f.seen[d.MessageId]++
	}
	f.audit()
	if s.Leases != 0 || s.Unsettled != 0 || s.DoubleSettle != 0 {
		f.t.Errorf("%+v", s)
	}
	// The broker may go on reading a lost connection, and its messages arrive, after the queue was empty.
	if s.Reconnects == 0 && len(left) > 0 {
		f.t.Errorf("%d messages are left", len(left))
	}
	f.t.Logf("%d sent, %d confirmed, %d unknown, %d stale acknowledgements, %d left, %d reconnects",
		f.sent.Load(), f.done.Load(), s.Unknown, s.StaleAcks, len(left), s.Reconnects)
}

// missing counts messages that were confirmed and have not been delivered.
func (f *traffic) missing() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, told := range f.told {
		if len(told) == 1 && told[0] == nil && f.seen[id] == 0 {
			n++
		}
	}
	return n
}

func (f *traffic) audit() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := int64(len(f.told)); got != f.sent.Load() {
		f.t.Errorf("%d of %d messages have an outcome", got, f.sent.Load())
	}
	for id := range f.seen {
		if f.told[id] == nil {
			f.t.Errorf("%q has arrived, and nobody has sent it", id)
		}
	}
	for id, told := range f.told {
		switch {
		case len(told) != 1:
			f.t.Errorf("%s: %d outcomes", id, len(told))
		case told[0] == nil && f.seen[id] == 0:
			f.t.Errorf("%s was confirmed and is lost", id)
		case told[0] != nil && !IsConnection(told[0]):
			f.t.Errorf("%s: %v", id, told[0])
		case (errors.Is(told[0], ErrPoolTimeout) || errors.Is(told[0], ErrBlocked)) && f.seen[id] > 0:
			f.t.Errorf("%s was not sent and has arrived: %v", id, told[0])
		}
	}
}

func faultOptions(url string) Options {
	return Options{
		URLs: []string{url}, Heartbeat: time.Second, CallTimeout: 3 * time.Second, DialTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second,
		Topology: Topology{Queues: []Queue{{Name: flowing}}},
	}
}

// TestFaultsOfTheNetwork breaks the way to the broker while messages flow.
func TestFaultsOfTheNetwork(t *testing.T) {
	for name, fault := range map[string]func(*traffic, *testproxy.Proxy){
		"reset": func(f *traffic, x *testproxy.Proxy) {
			for range 5 {
				before := f.p.Stats().Reconnects
				x.Reset()
				f.reconnected(before)
				f.flows(100)
			}
		},
		"reset in the middle of a frame": func(f *traffic, x *testproxy.Proxy) {
			for range 5 {
				before := f.p.Stats().Reconnects
				x.ResetIn(1 + rand.Int64N(20_000))
				f.reconnected(before)
				f.flows(100)
			}
		},
		"silence": func(f *traffic, x *testproxy.Proxy) {
			before := f.p.Stats().Reconnects
			x.Blackhole(true)
			f.lost()
			x.Blackhole(false)
			f.reconnected(before)
		},
		"half open": func(f *traffic, x *testproxy.Proxy) {
			before := f.p.Stats().Reconnects
			x.HalfOpen(true)
			f.lost()
			x.HalfOpen(false)
			f.reconnected(before)
		},
		"slow": func(f *traffic, x *testproxy.Proxy) {
			x.Pace(100_000)
			f.flows(200)
			x.Pace(0)
		},
		"no way for a while": func(f *traffic, x *testproxy.Proxy) {
			before := f.p.Stats().Reconnects
			x.Refuse(true)
			x.Reset()
			f.lost()
			x.Refuse(false)
			f.reconnected(before)
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := testbroker.VHost(t)
			proxy := testproxy.New(t, url)
			f := run(t, start(t, faultOptions(proxy.URL(url))), url)
			f.flows(500)
			fault(f, proxy)
			f.flows(500)
			f.end()
		})
	}
}

// TestFaultsOfTheBroker stops, kills and blocks the broker while messages flow.
func TestFaultsOfTheBroker(t *testing.T) {
	node := testbroker.Private(t)
	for _, fault := range []struct {
		name      string
		heartbeat time.Duration
		cause     func(f *traffic)
	}{
		{"paused", time.Second, func(f *traffic) {
			before := f.p.Stats().Reconnects
			if err := node.Pause(); err != nil {
				t.Fatal(err)
			}
			f.lost()
			if err := node.Unpause(); err != nil {
				t.Fatal(err)
			}
			f.reconnected(before)
		}},
		{"killed", time.Second, func(f *traffic) {
			before := f.p.Stats().Reconnects
			if err := node.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := node.Resume(context.Background()); err != nil {
				t.Fatal(err)
			}
			f.reconnected(before)
		}},
		// No machine is so busy that the broker's silence is longer than three of these.
		{"out of memory", 5 * time.Second, func(f *traffic) {
			before := f.p.Stats().Reconnects
			setWatermark(t, node, "0.000001")
			testbroker.Eventually(f.t, patience, func() bool { return f.p.State() == StateBlocked }, "publishers are blocked")
			if err := f.p.Publish(expired(), &Publishing{RoutingKey: flowing}); !errors.Is(err, ErrBlocked) && !errors.Is(err, ErrPoolTimeout) {
				t.Errorf("%v", err)
			}
			if !testing.Short() {
				time.Sleep(30 * time.Second) // through several heartbeats, and ten times the time for a write
			}
			if s := f.p.Stats(); s.Reconnects != before {
				t.Errorf("a connection was given up: %+v", s)
			}
			setWatermark(t, node, "0.8")
			testbroker.Eventually(f.t, patience, func() bool { return f.p.State() == StateReady }, "publishers go on")
			if s := f.p.Stats(); s.Blocked == 0 || s.BlockedTime == 0 {
				t.Errorf("%+v", s)
			}
		}},
	} {
		t.Run(fault.name, func(t *testing.T) {
			o := faultOptions(node.URL())
			o.Heartbeat = fault.heartbeat
			f := run(t, start(t, o), node.URL())
			f.flows(500)
			fault.cause(f)
			f.flows(500)
			f.end()
		})
	}
	t.Run("closed while it is blocked", func(t *testing.T) {
		p, err := Open(faultOptions(node.URL()))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		setWatermark(t, node, "0.000001")
		defer setWatermark(t, node, "0.8")
		// The broker blocks a connection when something is published on it.
		first, second := make(chan Result, 1), make(chan Result, 1)
		p.PublishAsync(within(t, patience), &Publishing{RoutingKey: flowing}, func(r Result) { first <- r })
		testbroker.Eventually(t, patience, func() bool { return p.State() == StateBlocked }, "publishers are blocked")
		var sender conc.WaitGroup
		sender.Go(func() {
			p.PublishAsync(within(t, patience), &Publishing{RoutingKey: flowing}, func(r Result) { second <- r })
		})
		ctx, cancel := context.WithCancelCause(context.Background())
		hurry := errors.New("hurry")
		cancel(hurry)
		if err := p.Close(ctx); err != nil && !errors.Is(err, hurry) {
			t.Errorf("%v", err)
		}
		sender.Wait()
		if r := <-first; r.Err != nil && !IsConnection(r.Err) { // the broker may have taken it, and may say so last
			t.Errorf("first: %v", r.Err)
		}
		if r := <-second; !IsConnection(r.Err) {
			t.Errorf("second: %v", r.Err)
		}
	})
}

func setWatermark(t *testing.T, node *rabbitmq.Node, share string) {
	t.Helper()
	if _, err := node.Ctl(context.Background(), "set_vm_memory_high_watermark", share); err != nil {
		t.Fatal(err)
	}
}

func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestThousandReconnects expects that nothing adds up.
func TestThousandReconnects(t *testing.T) {
	t.Parallel() // it mostly waits
	n := 1000
	switch {
	case testing.Short():
		n = 50
	case testbroker.Embedded():
		n = 200 // the thousand are RabbitMQ's
	}
	url := testbroker.VHost(t)
	proxy := testproxy.New(t, url)
	p := opened(t, faultOptions(proxy.URL(url)))
	p.backoffMax = p.backoffMin
	if err := p.Start(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		before := p.Stats().Reconnects
		proxy.Reset()
		testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects >= before+2 && p.State() == StateReady }, "the pool has reconnected")
		if i%100 == 0 {
			if err := p.Publish(within(t, patience), &Publishing{RoutingKey: flowing, Mandatory: true}); err != nil {
				t.Error(err)
			}
		}
	}
}
