package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// got gets a message that must be there.
func got(t *testing.T, p *Pool, queue string) *Delivery {
	t.Helper()
	d, ok, err := p.Get(within(t, patience), queue)
	if err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	return d
}

func TestGet(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q", "empty")
	p := start(t, Options{URLs: []string{url}})
	fill(t, url, "q", 5)
	if d, ok, err := p.Get(within(t, patience), "empty"); d != nil || ok || err != nil {
		t.Errorf("%v, %v, %v", d, ok, err)
	}
	var taken []*Delivery
	for i := range 4 {
		d := got(t, p, "q")
		if string(d.Body) != fmt.Sprint(i) {
			t.Errorf("message %d is %s", i, d.Body)
		}
		taken = append(taken, d)
	}
	taken[2].Ack()
	taken[0].Ack()
	taken[1].Reject()
	taken[3].Requeue()
	if d := got(t, p, "q"); string(d.Body) != "3" || !d.Redelivered {
		t.Errorf("%s is next, redelivered %v", d.Body, d.Redelivered)
	} else {
		d.Abandon()
	}
	if err := p.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if left := bodies(testbroker.Drain(t, url, "q")); left != "3 4" {
		t.Errorf("left: %s", left)
	}
	s := p.Stats()
	if s.Acked != 2 || s.Rejected != 1 || s.Requeued != 1 || s.Abandoned != 1 || s.Unsettled != 0 || s.StaleAcks != 0 {
		t.Errorf("%+v", s)
	}
	if _, _, err := p.Get(context.Background(), "q"); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestGetAndAck(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	fill(t, url, "q", 3)
	for i := range 3 {
		d, ok, err := p.GetAndAck(within(t, patience), "q")
		if err != nil || !ok || string(d.Body) != fmt.Sprint(i) {
			t.Fatalf("%v, %v, %v", d, ok, err)
		}
	}
	if _, ok, err := p.GetAndAck(within(t, patience), "q"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if s := p.Stats(); s.Acked != 3 || s.AckFrames != 0 || s.Unsettled != 0 {
		t.Errorf("%+v", s)
	}
}

// TestGetFromNowhere expects that a queue that does not exist costs the deliveries of no other.
func TestGetFromNowhere(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	fill(t, url, "q", 1)
	d := got(t, p, "q")
	for range 3 {
		_, _, err := p.Get(within(t, patience), "none")
		var missing *ErrNoQueue
		if !errors.As(err, &missing) || missing.Queue != "none" || !strings.Contains(err.Error(), `queue "none" does not exist`) {
			t.Errorf("%v", err)
		}
	}
	for _, queue := range []string{"", strings.Repeat("q", 256)} {
		if _, _, err := p.Get(within(t, patience), queue); err == nil {
			t.Error("a queue that cannot be is taken")
		}
	}
	d.Ack()
	if s := p.Stats(); s.StaleAcks != 0 || s.Acked != 1 || s.Connects != 2 {
		t.Errorf("%+v", s)
	}
}

// TestGetFromManyQueues expects that channels are given back, and never those with something to settle.
func TestGetFromManyQueues(t *testing.T) {
	url := testbroker.VHost(t)
	const n = 3 * getSessions
	queues := make([]string, n)
	for i := range queues {
		queues[i] = fmt.Sprintf("q%d", i)
	}
	testbroker.Declare(t, url, queues...)
	p := start(t, Options{URLs: []string{url}})
	var kept []*Delivery
	for i, q := range queues {
		fill(t, url, q, 1)
		if d := got(t, p, q); i%20 == 0 {
			kept = append(kept, d)
		} else {
			d.Ack()
		}
	}
	if len(p.gets.sessions) > getSessions {
		t.Errorf("%d channels are open", len(p.gets.sessions))
	}
	for _, d := range kept {
		d.Ack()
	}
	if s := p.Stats(); s.Acked != n || s.StaleAcks != 0 {
		t.Errorf("%+v", s)
	}
}

// TestGetAcrossAReconnect expects that a delivery is never acknowledged on another connection than its own.
func TestGetAcrossAReconnect(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	fill(t, url, "q", 2)
	old := got(t, p, "q")
	g, err := p.listen[0].wait(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	g.wire.fail(errors.New("cut"))
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects == 1 }, "the pool has reconnected")
	fresh := got(t, p, "q")
	old.Ack()
	if s := p.Stats(); s.StaleAcks != 1 || s.Acked != 0 {
		t.Errorf("%+v", s)
	}
	fresh.Abandon()
	if err := p.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if n := testbroker.Depth(t, url, "q"); n != 2 {
		t.Errorf("%d messages are left: an acknowledgement reached the wrong session", n)
	}
}

func TestGetWaitsForAConnection(t *testing.T) {
	p := opened(t, Options{URLs: []string{"amqp://127.0.0.1:1"}})
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("no patience"))
	if _, _, err := p.Get(ctx, "q"); !errors.Is(err, ErrPoolTimeout) || !strings.Contains(err.Error(), "no patience") {
		t.Errorf("%v", err)
	}
}

func TestGetAsync(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	const n = 50
	fill(t, url, "q", n)
	var mu sync.Mutex
	seen := map[string]int{}
	empty := 0
	var owed sync.WaitGroup
	for i := range n + 5 {
		owed.Add(1)
		f := func(g Got) {
			defer owed.Done()
			mu.Lock()
			defer mu.Unlock()
			switch {
			case g.Err != nil:
				t.Error(g.Err)
			case g.OK:
				seen[string(g.Delivery.Body)]++
				if i%2 == 0 {
					g.Delivery.Ack()
				}
			default:
				empty++
			}
		}
		if i%2 == 0 {
			p.GetAsync(within(t, patience), "q", f)
		} else {
			p.GetAndAckAsync(within(t, patience), "q", f)
		}
	}
	owed.Wait()
	if len(seen) != n || empty != 5 {
		t.Errorf("%d messages, %d times none", len(seen), empty)
	}
	for body, times := range seen {
		if times != 1 {
			t.Errorf("message %s came %d times", body, times)
		}
	}
	if err := p.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	told := make(chan Got, 1)
	p.GetAsync(context.Background(), "q", func(g Got) { told <- g })
	if g := <-told; !errors.Is(g.Err, ErrClosed) {
		t.Errorf("%+v", g)
	}
	if n := testbroker.Depth(t, url, "q"); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// TestPublishAsync expects one call back for each message, from inside which another can be published, even with a window of one.
func TestPublishAsync(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}, Publish: PublishOptions{Channels: 1, Window: 1}})
	const chains, length = 5, 20
	var owed sync.WaitGroup
	owed.Add(chains)
	var next func(left int) func(Result)
	publish := func(left int) {
		m := &Publishing{RoutingKey: "q", Mandatory: true, Publishing: text("x")}
		p.PublishAsync(context.Background(), m, func(r Result) {
			if r.Publishing != m || r.Err != nil {
				t.Errorf("%+v", r)
			}
			next(left)(r)
		})
	}
	next = func(left int) func(Result) {
		return func(Result) {
			if left == 1 {
				owed.Done()
				return
			}
			publish(left - 1)
		}
	}
	var work conc.WaitGroup
	for range chains {
		work.Go(func() { publish(length) })
	}
	work.Wait()
	owed.Wait()
	if n := testbroker.Depth(t, url, "q"); n != chains*length {
		t.Errorf("%d messages have arrived", n)
	}
	refused := make(chan Result, 1)
	p.PublishAsync(within(t, patience), &Publishing{RoutingKey: "none", Mandatory: true}, func(r Result) { refused <- r })
	var returned *ErrReturned
	if r := <-refused; !errors.As(r.Err, &returned) {
		t.Errorf("%+v", r)
	}
}
