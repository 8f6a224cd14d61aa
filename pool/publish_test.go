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

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// tally counts outcomes and reports a message that has two.
type tally struct {
	t    testing.TB
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs map[int]error // by message
	done map[int]bool
}

func newTally(t testing.TB) *tally {
	return &tally{t: t, errs: map[int]error{}, done: map[int]bool{}}
}

// of returns the callback for message i.
func (c *tally) of(i int) func(error) {
	c.wg.Add(1)
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.done[i] {
			c.t.Errorf("message %d has two outcomes", i)
			return
		}
		c.done[i] = true
		c.errs[i] = err
		c.wg.Done()
	}
}

func TestReturnsAreMatchedToTheirMessage(t *testing.T) {
	url := testbroker.VHost(t)
	p := start(t, Options{URLs: []string{url}, Topology: Topology{
		Exchanges: []Exchange{{Name: "x", Type: "headers"}},
		Queues:    []Queue{{Name: "q"}},
		Bindings:  []Binding{{Exchange: "x", ToQueue: "q", Arguments: Table{"x-match": "all", "route": int32(1)}}},
	}})
	// All messages have the same exchange, key and length of body; those that are routed and those that
	// are not differ in a header, deep in a table, or not at all but for the mandatory flag.
	const n = 3000
	routed := func(i int) bool { return i%3 == 0 }
	mandatory := func(i int) bool { return i%7 != 0 }
	c := newTally(t)
	pub := p.Publisher("t")
	for i := range n {
		h := Table{"n": Table{"deep": []any{int32(i / 2), "x", 1.5, []byte("y")}}, "other": int64(1)}
		if routed(i) {
			h["route"] = int32(1)
		} else {
			h["route"] = int32(2)
		}
		m := &Publishing{Exchange: "x", RoutingKey: "k", Mandatory: mandatory(i), Publishing: amqp.Publishing{Headers: h, Body: []byte("same")}}
		pub.Send(within(t, patience), m, c.of(i))
	}
	c.wg.Wait()
	returned := 0
	for i := range n {
		var back *ErrReturned
		is := errors.As(c.errs[i], &back)
		if is {
			returned++
			if back.Code != 312 || back.Exchange != "x" || back.RoutingKey != "k" || !IsPermanent(c.errs[i]) {
				t.Fatalf("%+v", back)
			}
		} else if c.errs[i] != nil {
			t.Fatal(i, c.errs[i])
		}
		if want := mandatory(i) && !routed(i); is != want {
			t.Fatalf("message %d: returned %v, want %v", i, is, want)
		}
	}
	if s := p.Stats(); s.Returned != uint64(returned) || s.Confirmed != uint64(n-returned) {
		t.Errorf("%+v", s)
	}
}

func TestReturnWithEveryPropertyIsMatched(t *testing.T) {
	p := start(t, Options{URLs: []string{testbroker.VHost(t)}})
	h := normalTable(everyType)
	h["BCC"] = []any{"nowhere"}
	for range 2 {
		err := p.Publish(within(t, patience), &Publishing{RoutingKey: "nowhere", Mandatory: true, Publishing: amqp.Publishing{Headers: h, UserId: "guest", Body: []byte("x")}})
		var back *ErrReturned
		if !errors.As(err, &back) {
			t.Errorf("%v", err)
		}
	}
}

func TestMissingExchangeFailsAlone(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	var log journal
	p := start(t, Options{URLs: []string{url}, Logger: log.logger()})
	c := newTally(t)
	pub := p.Publisher("t")
	const n = 500
	for i := range n {
		m := &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}
		if i%5 == 0 {
			m.Exchange = "nope"
		}
		pub.Send(within(t, patience), m, c.of(i))
	}
	c.wg.Wait()
	for i := range n {
		var missing *ErrNoExchange
		if is := errors.As(c.errs[i], &missing); is != (i%5 == 0) || (!is && c.errs[i] != nil) {
			t.Fatal(i, c.errs[i])
		} else if is && (missing.Exchange != "nope" || !strings.Contains(missing.Error(), "declare it") || !IsPermanent(missing)) {
			t.Fatal(missing)
		}
	}
	if strings.Contains(log.String(), "closed a publishing channel") {
		t.Error("the channel was closed")
	}
	// It is found once it exists.
	ch := testbroker.Channel(t, url)
	if err := ch.ExchangeDeclare("nope", "fanout", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	testbroker.Eventually(t, patience, func() bool {
		return p.Publish(within(t, patience), &Publishing{Exchange: "nope", Publishing: text("x")}) == nil
	}, "the new exchange is found")
}

func TestExchangeDeletedUnderThePublisher(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}, Topology: Topology{Exchanges: []Exchange{{Name: "gone", Type: "fanout"}}}})
	ctx := within(t, patience)
	if err := p.Publish(ctx, &Publishing{Exchange: "gone", Publishing: text("x")}); err != nil {
		t.Fatal(err)
	}
	if err := testbroker.Channel(t, url).ExchangeDelete("gone", false, false); err != nil {
		t.Fatal(err)
	}
	c := newTally(t)
	pub := p.Publisher("t")
	const n = 200
	for i := range n {
		m := &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}
		if i == 100 {
			m.Exchange = "gone"
		}
		pub.Send(ctx, m, c.of(i))
	}
	c.wg.Wait()
	for i := range n {
		var missing *ErrNoExchange
		switch err := c.errs[i]; {
		case i == 100 && !errors.As(err, &missing):
			t.Errorf("to the deleted exchange: %v", err)
		case i != 100 && err != nil && !errors.Is(err, ErrUnconfirmed):
			t.Errorf("message %d: %v", i, err)
		}
	}
	if err := p.Publish(ctx, &Publishing{RoutingKey: "q", Publishing: text("x")}); err != nil {
		t.Error("the lane did not recover:", err)
	}
	if s := p.Stats(); s.Reconnects != 0 {
		t.Errorf("%+v", s)
	}
}

func TestBodyLargerThanTheBrokerTakes(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}, Publish: PublishOptions{MaxMessage: 1 << 20}})
	var tooLarge *ErrTooLarge
	err := p.Publish(within(t, patience), &Publishing{RoutingKey: "q", Publishing: amqp.Publishing{Body: make([]byte, 1<<20+1)}})
	if !errors.As(err, &tooLarge) || !IsPermanent(err) {
		t.Errorf("%v", err)
	}
	body := make([]byte, 1<<20)
	for i := range body {
		body[i] = byte(rand.Uint32())
	}
	if err := p.Publish(within(t, patience), &Publishing{RoutingKey: "q", Publishing: amqp.Publishing{Body: body}}); err != nil {
		t.Fatal(err)
	}
	if got := testbroker.Drain(t, url, "q"); len(got) != 1 || string(got[0].Body) != string(body) {
		t.Error("a large body came out differently")
	}
}

func TestNack(t *testing.T) {
	url := testbroker.VHost(t)
	one := int64(1)
	p := start(t, Options{URLs: []string{url}, Topology: Topology{Queues: []Queue{{Name: "full", MaxLength: &one, Overflow: "reject-publish"}}}})
	if errs := p.TopologyErrors(); len(errs) > 0 {
		t.Fatal(errs)
	}
	var err error
	for range 3 {
		err = p.Publish(within(t, patience), &Publishing{RoutingKey: "full", Publishing: text("x")})
	}
	if !errors.Is(err, ErrNacked) || IsPermanent(err) || IsConnection(err) {
		t.Errorf("%v", err)
	}
	if s := p.Stats(); s.Nacked == 0 {
		t.Errorf("%+v", s)
	}
}

// TestCallbacksMayPublish publishes from callbacks when there is no room: the confirms that would make
// room are followed by the goroutine that calls back.
func TestCallbacksMayPublish(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}, Publish: PublishOptions{Channels: 2, Window: 2}})
	ctx := within(t, patience)
	a, b := p.Publisher("a"), p.Publisher("b")
	var wg sync.WaitGroup
	const chains, length = 20, 5
	wg.Add(chains)
	var next func(depth int) func(error)
	next = func(depth int) func(error) {
		return func(err error) {
			if err != nil {
				t.Error(err)
			}
			if depth == length {
				wg.Done()
				return
			}
			to := a
			if depth%2 == 0 {
				to = b
			}
			to.Send(ctx, &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}, next(depth+1))
		}
	}
	for range chains {
		a.Send(ctx, &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}, next(1))
	}
	wg.Wait()
	if n := p.Stats().Confirmed; n != chains*length {
		t.Errorf("%d confirmed", n)
	}
}

func TestManyGoroutinesShareFewChannels(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}, Publish: PublishOptions{Channels: 3, Connections: 2, Window: 5}})
	var publishers []*Publisher
	for i := range 7 {
		publishers = append(publishers, p.Publisher(fmt.Sprint(i)))
	}
	var confirmed atomic.Int64
	var wg conc.WaitGroup
	const goroutines, each = 300, 5
	for i := range goroutines {
		wg.Go(func() {
			pub := publishers[i%len(publishers)]
			for range each {
				told := make(chan error, 1)
				pub.Send(within(t, patience), &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}, func(err error) { told <- err })
				if err := <-told; err != nil {
					t.Error(err)
				} else {
					confirmed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if confirmed.Load() != goroutines*each || testbroker.Depth(t, url, "q") != goroutines*each {
		t.Errorf("%d confirmed", confirmed.Load())
	}
}

func TestSendStopsWaitingWithItsContext(t *testing.T) {
	p := opened(t, Options{URLs: []string{"amqp://guest:guest@127.0.0.1:1/"}})
	pub := p.Publisher("t")
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("no more time")
	cancel(why)
	for _, m := range []*Publishing{{RoutingKey: "q"}, {Exchange: "x"}} {
		told := make(chan error, 1)
		pub.Send(ctx, m, func(err error) { told <- err })
		if err := <-told; !errors.Is(err, ErrPoolTimeout) || !errors.Is(err, why) || !IsConnection(err) {
			t.Errorf("%v", err)
		}
	}
	waiting, stop := context.WithCancelCause(context.Background())
	told := make(chan error, 1)
	var wg conc.WaitGroup
	wg.Go(func() { pub.Send(waiting, &Publishing{RoutingKey: "q"}, func(err error) { told <- err }) })
	testbroker.Eventually(t, patience, func() bool {
		pub.lane.mu.Lock()
		defer pub.lane.mu.Unlock()
		return len(pub.lane.waiters) == 1
	}, "the sender waits")
	stop(why)
	if err := <-told; !errors.Is(err, ErrPoolTimeout) || !errors.Is(err, why) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
	wg.Wait()
}

func TestPublisherClose(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	pub := p.Publisher("closing")
	c := newTally(t)
	for i := range 1000 {
		pub.Send(within(t, patience), &Publishing{RoutingKey: "q", Publishing: text("x")}, c.of(i))
	}
	if err := pub.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if len(c.done) != 1000 {
		t.Errorf("%d outcomes when Close returned", len(c.done))
	}
	told := make(chan error, 1)
	pub.Send(within(t, patience), &Publishing{RoutingKey: "q"}, func(err error) { told <- err })
	if err := <-told; !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "closing") {
		t.Errorf("%v", err)
	}
	if err := p.Publish(within(t, patience), &Publishing{RoutingKey: "q"}); err != nil {
		t.Error("another publisher of the pool is closed too:", err)
	}
}

func TestCorkedMessagesLeaveInOneWrite(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	pub := p.Publisher("t")
	ctx := within(t, patience)
	warm := newTally(t)
	pub.Send(ctx, &Publishing{RoutingKey: "q", Publishing: text("x")}, warm.of(0))
	warm.wg.Wait()
	w := pub.lane.wire()
	w.mu.Lock()
	writes := &counted{w: w.try}
	w.try = writes
	w.armed = true // the delay of the cork is not what is tested
	w.mu.Unlock()
	c := newTally(t)
	pub.Cork()
	pub.Cork()
	for i := range 64 {
		pub.Send(ctx, &Publishing{RoutingKey: "q", Publishing: text("x")}, c.of(i))
	}
	pub.Uncork()
	count := func() int {
		writes.mu.Lock()
		defer writes.mu.Unlock()
		return writes.n
	}
	if n := count(); n != 0 {
		t.Errorf("%d writes while corked", n)
	}
	pub.Uncork()
	c.wg.Wait()
	if n := count(); n != 1 {
		t.Errorf("%d writes for 64 messages", n)
	}
	pub.Uncork() // one too many does no harm
}
