package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// fill puts n numbered messages into a queue.
func fill(t testing.TB, url, queue string, n int) {
	t.Helper()
	messages := make([]amqp.Publishing, n)
	for i := range messages {
		messages[i] = text(fmt.Sprint(i))
	}
	testbroker.Publish(t, url, queue, messages...)
}

// consuming runs Consume in the background until stop is called.
type consuming struct {
	stop context.CancelFunc
	wg   conc.WaitGroup
	err  error
}

func consume(t testing.TB, p *Pool, o ConsumeOptions, handle func([]Delivery)) *consuming {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := &consuming{stop: cancel}
	c.wg.Go(func() { c.err = p.Consume(ctx, o, handle) })
	t.Cleanup(c.end)
	return c
}

// end stops the consumer and waits for it.
func (c *consuming) end() {
	c.stop()
	c.wg.Wait()
}

// intake keeps what was handed over.
type intake struct {
	mu   sync.Mutex
	all  []Delivery
	each func(*Delivery) // called under the lock; may be nil
}

func (in *intake) take(chunk []Delivery) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.all = append(in.all, chunk...)
	if in.each != nil {
		for i := range chunk {
			in.each(&chunk[i])
		}
	}
}

func (in *intake) len() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.all)
}

func (in *intake) wait(t testing.TB, n int) {
	t.Helper()
	testbroker.Eventually(t, patience, func() bool { return in.len() >= n }, fmt.Sprintf("%d messages arrive", n))
}

func TestSettling(t *testing.T) {
	url := testbroker.VHost(t)
	p := start(t, Options{URLs: []string{url}, Topology: Topology{
		Exchanges: []Exchange{{Name: "dead", Type: "fanout"}},
		Queues:    []Queue{{Name: "q", DeadLetterExchange: "dead"}, {Name: "letters"}},
		Bindings:  []Binding{{Exchange: "dead", ToQueue: "letters"}},
	}})
	fill(t, url, "q", 40)
	var in intake
	in.each = func(d *Delivery) {
		var n int
		_, _ = fmt.Sscan(string(d.Body), &n)
		switch {
		case n%4 == 1:
			d.Reject()
		case n%4 == 2 && !d.Redelivered:
			d.Requeue()
		case n%4 == 3:
			d.Abandon()
		default:
			d.Ack()
			d.Ack()
		}
	}
	c := consume(t, p, ConsumeOptions{Queue: "q"}, in.take)
	in.wait(t, 50)
	c.end()
	if n := len(testbroker.Drain(t, url, "letters")); n != 10 {
		t.Errorf("%d dead letters", n)
	}
	left := testbroker.Drain(t, url, "q")
	if len(left) != 10 {
		t.Errorf("%d messages are left", len(left))
	}
	for _, d := range left {
		if !d.Redelivered {
			t.Error("an abandoned message is not marked as redelivered")
		}
	}
	s := p.Stats()
	if s.Acked != 20 || s.Rejected != 10 || s.Requeued != 10 || s.Abandoned != 10 || s.DoubleSettle != 20 || s.Unsettled != 0 || s.StaleAcks != 0 {
		t.Errorf("%+v", s)
	}
}

func TestConsumeWaitsForItsDeliveries(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	fill(t, url, "q", 30)
	p := start(t, Options{URLs: []string{url}})
	var in intake
	first := make(chan struct{})
	var once sync.Once
	in.each = func(*Delivery) { once.Do(func() { close(first) }) }
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var wg conc.WaitGroup
	wg.Go(func() {
		ended <- p.Consume(ctx, ConsumeOptions{Queue: "q", Prefetch: 10}, func(chunk []Delivery) {
			in.take(chunk)
			<-ctx.Done() // nothing may be handed over after that
		})
	})
	<-first
	cancel()
	got := slices.Clone(in.all)
	for i := range got {
		select {
		case err := <-ended:
			t.Fatal("Consume returned before everything was settled:", err)
		default:
		}
		got[i].Ack()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	wg.Wait()
	if in.len() != len(got) {
		t.Errorf("%d deliveries were handed over after the context ended", in.len()-len(got))
	}
	if n := testbroker.Depth(t, url, "q"); n != 30-len(got) {
		t.Errorf("%d messages are left of %d", n, 30-len(got))
	}
}

func TestOneHeldDeliveryDoesNotStallTheRest(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	const n = 2000
	fill(t, url, "q", n)
	p := start(t, Options{URLs: []string{url}})
	var in intake
	var held *Delivery
	in.each = func(d *Delivery) {
		if held == nil {
			copied := *d
			held = &copied
			return
		}
		d.Ack()
	}
	c := consume(t, p, ConsumeOptions{Queue: "q", Prefetch: 20}, in.take)
	in.wait(t, n)
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Acked == n-1 }, "everything behind the held delivery is acknowledged")
	in.mu.Lock()
	held.Ack()
	in.mu.Unlock()
	c.end()
	if d := testbroker.Depth(t, url, "q"); d != 0 {
		t.Errorf("%d messages are left", d)
	}
}

func TestQueueDeletedUnderTheConsumer(t *testing.T) {
	url := testbroker.VHost(t)
	var log journal
	p := start(t, Options{URLs: []string{url}, Logger: log.logger()})
	var in intake
	in.each = (*Delivery).Ack
	var state atomic.Value
	onState := func(err error) { state.Store(fmt.Sprint(err)) }
	is := func(what string) {
		t.Helper()
		told := func() bool { s, _ := state.Load().(string); return strings.Contains(s, what) }
		testbroker.Eventually(t, patience, told, "it is told "+what)
	}
	consume(t, p, ConsumeOptions{Queue: "late", OnState: onState}, in.take)
	said := func(what string) {
		t.Helper()
		testbroker.Eventually(t, patience, func() bool { return strings.Contains(log.String(), what) }, "the log says "+what)
	}
	said("create the queue, or correct its name")
	said("queue=late")
	is("create the queue, or correct its name")
	testbroker.Declare(t, url, "late")
	fill(t, url, "late", 3)
	in.wait(t, 3)
	is("<nil>")
	if _, err := testbroker.Channel(t, url).QueueDelete("late", false, false, false); err != nil {
		t.Fatal(err)
	}
	said("the broker cancelled the consumer")
	testbroker.Declare(t, url, "late")
	fill(t, url, "late", 3)
	in.wait(t, 6)
	if s := p.Stats(); s.Reconnects != 0 {
		t.Errorf("%+v", s)
	}
}

func TestExclusiveConsumerWaitsForItsTurn(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	var log journal
	p := start(t, Options{URLs: []string{url}, Logger: log.logger()})
	var first, second intake
	first.each, second.each = (*Delivery).Ack, (*Delivery).Ack
	one := consume(t, p, ConsumeOptions{Queue: "q", Exclusive: true}, first.take)
	fill(t, url, "q", 1)
	first.wait(t, 1)
	consume(t, p, ConsumeOptions{Queue: "q", Exclusive: true, ConsumerTag: "second"}, second.take)
	testbroker.Eventually(t, patience, func() bool { return strings.Contains(log.String(), "if it has an exclusive consumer, stop that") }, "the log says why")
	one.end()
	fill(t, url, "q", 1)
	second.wait(t, 1)
}

func TestPriority(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	var low, high intake
	low.each, high.each = (*Delivery).Ack, (*Delivery).Ack
	ten := 10
	consume(t, p, ConsumeOptions{Queue: "q"}, low.take)
	consume(t, p, ConsumeOptions{Queue: "q", Priority: &ten}, high.take)
	consumers := func() int {
		q, err := testbroker.Channel(t, url).QueueDeclarePassive("q", true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		return q.Consumers
	}
	testbroker.Eventually(t, patience, func() bool { return consumers() == 2 }, "both consume")
	fill(t, url, "q", 10)
	high.wait(t, 10)
	if low.len() != 0 {
		t.Error("the consumer of low priority was given messages")
	}
}

func TestStaleDeliveriesAreNotAcknowledged(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	fill(t, url, "q", 10)
	p := start(t, Options{URLs: []string{url}})
	var in intake
	c := consume(t, p, ConsumeOptions{Queue: "q"}, in.take)
	in.wait(t, 10)
	// The connection breaks with ten deliveries out; they come again with the same tags.
	g, err := p.listen[0].wait(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	g.wire.fail(errors.New("cut by the test"))
	in.wait(t, 20)
	in.mu.Lock()
	old, fresh := slices.Clone(in.all[:10]), slices.Clone(in.all[10:20])
	in.mu.Unlock()
	if old[0].DeliveryTag != fresh[0].DeliveryTag || old[0].Session == fresh[0].Session {
		t.Fatalf("the sessions: %d and %d", old[0].DeliveryTag, fresh[0].DeliveryTag)
	}
	for i := range old {
		if !old[i].Session.Stale() || fresh[i].Session.Stale() {
			t.Error("stale or not?")
		}
		old[i].Ack()
	}
	for i := range fresh {
		fresh[i].Abandon()
	}
	c.end()
	if n := testbroker.Depth(t, url, "q"); n != 10 {
		t.Errorf("%d messages are left: an acknowledgement reached the wrong session", n)
	}
	if s := p.Stats(); s.StaleAcks != 10 || s.Acked != 0 || s.Abandoned != 10 || s.Unsettled != 0 || s.Reconnects != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	fill(t, url, "q", 5)
	p, err := Open(Options{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	var in intake
	c := consume(t, p, ConsumeOptions{Queue: "q"}, in.take)
	in.wait(t, 5)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("hurry"))
	if err := p.Close(ctx); err == nil || !strings.Contains(err.Error(), "5 deliveries unsettled: hurry") {
		t.Errorf("%v", err)
	}
	c.wg.Wait()
	if c.err != nil {
		t.Error(c.err)
	}
	if err := p.Consume(context.Background(), ConsumeOptions{Queue: "q"}, in.take); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := p.Publish(context.Background(), &Publishing{}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "q") == 5 }, "the deliveries are back")
	if p.State() != StateClosed {
		t.Error(p.State())
	}
}

func TestConsumeOptionsAreChecked(t *testing.T) {
	p := opened(t, Options{})
	for want, o := range map[string]ConsumeOptions{
		"no queue":                {},
		"prefetch":                {Queue: "q", Prefetch: 65536},
		"longer than":             {Queue: strings.Repeat("q", 256)},
		"consumer tag":            {Queue: "q", ConsumerTag: strings.Repeat("q", 256)},
		"arguments":               {Queue: "q", Arguments: Table{"x": struct{}{}}},
		"prefetch is 1 to 65535,": {Queue: "q", Prefetch: -1},
	} {
		if err := p.Consume(context.Background(), o, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
