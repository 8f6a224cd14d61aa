package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

func bodies(deliveries []amqp.Delivery) string {
	var all []string
	for _, d := range deliveries {
		all = append(all, string(d.Body))
	}
	return strings.Join(all, " ")
}

// listen runs Listen until n deliveries have been handled.
func listen(t *testing.T, p *Pool, queue string, n int, o ListenerOptions, handle func(*Delivery) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(within(t, patience))
	defer cancel()
	var handled atomic.Int64
	err := p.Listen(ctx, queue, func(_ context.Context, d *Delivery) error {
		defer func() {
			if handled.Add(1) == int64(n) {
				cancel()
			}
		}()
		return handle(d)
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	if got := handled.Load(); got < int64(n) {
		t.Fatalf("%d deliveries were handled, not %d", got, n)
	}
}

// TestListen expects acknowledgements, and for errors and panics what was asked for.
func TestListen(t *testing.T) {
	url := testbroker.VHost(t)
	var log journal
	p := start(t, Options{URLs: []string{url}, Logger: log.logger(), Topology: Topology{
		Exchanges: []Exchange{{Name: "dead", Type: "fanout"}},
		Queues:    []Queue{{Name: "q", DeadLetterExchange: "dead"}, {Name: "letters"}},
		Bindings:  []Binding{{Exchange: "dead", ToQueue: "letters"}},
	}})
	fill(t, url, "q", 8)
	again := errors.New("again")
	var order []string
	o := ListenerOptions{Failed: func(d *Delivery, err error) Outcome {
		if errors.Is(err, again) && !d.Redelivered {
			return Requeue
		}
		return Reject
	}}
	listen(t, p, "q", 9, o, func(d *Delivery) error {
		order = append(order, string(d.Body))
		switch string(d.Body) {
		case "2":
			return again
		case "4":
			return errors.New("never")
		case "6":
			panic("a handler panics")
		}
		return nil
	})
	if got := strings.Join(order, " "); !strings.HasPrefix(got, "0 1 2") || len(order) != 9 {
		t.Errorf("handled: %s", got)
	}
	testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "letters") == 3 }, "the dead letters are there")
	if got := testbroker.Depth(t, url, "q"); got != 0 {
		t.Errorf("%d messages are left", got)
	}
	for _, want := range []string{"a handler panicked", "listen_test.go", "never", "rejected", "requeued"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in the log", want)
		}
	}
}

// TestListenConcurrently expects as many handlers at once as are asked for, and no more.
func TestListenConcurrently(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	const n, workers = 200, 5
	fill(t, url, "q", n)
	var inside, most atomic.Int64
	meet := make(chan struct{}) // is closed when all are there: each waits for the others
	var once sync.Once
	listen(t, p, "q", n, ListenerOptions{Concurrency: workers}, func(*Delivery) error {
		at := inside.Add(1)
		defer inside.Add(-1)
		for m := most.Load(); at > m && !most.CompareAndSwap(m, at); m = most.Load() {
		}
		if at == workers {
			once.Do(func() { close(meet) })
		}
		<-meet
		return nil
	})
	if most.Load() != workers {
		t.Errorf("%d at once", most.Load())
	}
	if s := p.Stats(); s.Acked != n {
		t.Errorf("%+v", s)
	}
}

func TestListenByKey(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	const n, keys = 300, 7
	fill(t, url, "q", n)
	number := func(d *Delivery) (i int) {
		_, _ = fmt.Sscan(string(d.Body), &i)
		return i
	}
	var mu sync.Mutex
	last := map[int]int{}
	o := ListenerOptions{Concurrency: 4, Key: func(d *Delivery) string { return fmt.Sprint(number(d) % keys) }}
	listen(t, p, "q", n, o, func(d *Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		i := number(d)
		if before, ok := last[i%keys]; ok && before != i-keys {
			t.Errorf("%d came after %d", i, before)
		}
		last[i%keys] = i
		return nil
	})
}

// TestPublishFromAHandler expects that it does not wait for itself, with one channel and room for one message.
func TestPublishFromAHandler(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in", "out")
	p := start(t, Options{URLs: []string{url}, Publish: PublishOptions{Channels: 1, Window: 1}})
	const n = 100
	fill(t, url, "in", n)
	listen(t, p, "in", n, ListenerOptions{Concurrency: 4, Consume: ConsumeOptions{Prefetch: 2}}, func(d *Delivery) error {
		return p.Publish(within(t, patience), &Publishing{RoutingKey: "out", Mandatory: true, Publishing: amqp.Publishing{Body: d.Body}})
	})
	if got := testbroker.Depth(t, url, "out"); got < n {
		t.Errorf("%d messages have arrived", got)
	}
}

// TestListenEndsWell expects that handlers finish what they have begun when the context ends.
func TestListenEndsWell(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	fill(t, url, "q", 3)
	ctx, cancel := context.WithCancel(context.Background())
	begun, finish := make(chan struct{}), make(chan struct{})
	var listener conc.WaitGroup
	var err error
	listener.Go(func() {
		err = p.Listen(ctx, "q", func(ctx context.Context, _ *Delivery) error {
			close(begun)
			<-finish
			return ctx.Err()
		}, ListenerOptions{})
	})
	<-begun
	cancel()
	close(finish)
	listener.Wait()
	if s := p.Stats(); err != nil || s.Acked != 1 || s.Abandoned+s.Delivered-1 > 3 {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestListenOptions(t *testing.T) {
	p := opened(t, Options{})
	if err := p.Listen(context.Background(), "q", nil, ListenerOptions{Concurrency: -1}); err == nil {
		t.Error("a negative concurrency is taken")
	}
	if err := p.Listen(context.Background(), "", nil, ListenerOptions{}); err == nil {
		t.Error("no queue is taken")
	}
}

func TestDeliveries(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	fill(t, url, "q", 100)
	ctx, cancel := context.WithCancel(within(t, patience))
	defer cancel()
	n := 0
	for d, err := range p.Deliveries(ctx, ConsumeOptions{Queue: "q"}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(d.Body) != fmt.Sprint(n) {
			t.Errorf("delivery %d is %s", n, d.Body)
		}
		d.Ack()
		if n++; n == 50 {
			break
		}
	}
	for d := range p.Deliveries(ctx, ConsumeOptions{Queue: "q"}) {
		if string(d.Body) != fmt.Sprint(n) {
			t.Errorf("delivery %d is %s", n, d.Body)
		}
		if n++; n == 60 {
			break // which gives it back
		}
		d.Ack()
	}
	for d := range p.Deliveries(ctx, ConsumeOptions{Queue: "q"}) {
		d.Ack()
		if n++; n == 101 {
			cancel()
		}
	}
	if got := testbroker.Depth(t, url, "q"); got != 0 || n != 101 {
		t.Errorf("%d are left, %d came", got, n)
	}
	for _, err := range p.Deliveries(context.Background(), ConsumeOptions{}) {
		if err == nil {
			t.Error("no queue is taken")
		}
	}
}
