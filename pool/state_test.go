package pool

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testproxy"
)

// TestStates expects every change of state to be told once, in order, and the snapshot to agree.
func TestStates(t *testing.T) {
	url := testbroker.VHost(t)
	proxy := testproxy.New(t, url)
	var mu sync.Mutex
	var told []State
	o := faultOptions(proxy.URL(url))
	o.OnState = func(s State) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, s)
	}
	p := opened(t, o)
	if p.State() != StateIdle {
		t.Error(p.State())
	}
	if err := p.Start(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	proxy.Reset()
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects == 2 && p.State() == StateReady }, "the pool has reconnected")
	if err := p.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if p.State() != StateClosed || p.Stats().State != StateClosed {
		t.Error(p.State())
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range told[1:] {
		if told[i] == told[i+1] {
			t.Errorf("%s was told twice", told[i])
		}
	}
	// Between losing a connection and being ready again it depends on how the two connections overlap what there is.
	first := []State{StateDialing, StateTopology, StateReady}
	last := []State{StateReady, StateDraining, StateClosed}
	again := slices.Contains(told[len(first):], StateDialing)
	if !slices.Equal(told[:3], first) || !slices.Equal(told[len(told)-3:], last) || !again {
		t.Errorf("%v", told)
	}
}

// TestSettlingFromManyGoroutines expects the acknowledgements of one channel never to overlap: the broker closes a channel on which
// a tag is acknowledged twice.
func TestSettlingFromManyGoroutines(t *testing.T) {
	url := testbroker.VHost(t)
	p := start(t, Options{URLs: []string{url}, Topology: Topology{Queues: []Queue{{Name: "q"}}}})
	const n = 20_000
	fill(t, url, "q", n)
	work := make(chan Delivery, n)
	var workers conc.WaitGroup
	for range 64 {
		workers.Go(func() {
			for d := range work {
				if d.DeliveryTag%5 == 0 {
					d.Reject()
				} else {
					d.Ack()
				}
			}
		})
	}
	var in intake
	in.each = func(d *Delivery) { work <- *d }
	c := consume(t, p, ConsumeOptions{Queue: "q", Prefetch: 1000}, in.take)
	in.wait(t, n)
	close(work)
	workers.Wait()
	c.end()
	s := p.Stats()
	if s.Acked != n*4/5 || s.Rejected != n/5 || s.StaleAcks != 0 || s.Connects != 2 || testbroker.Depth(t, url, "q") != 0 {
		t.Errorf("%+v, %d left", s, testbroker.Depth(t, url, "q"))
	}
	if s.AckFrames >= s.Acked {
		t.Errorf("%d frames for %d acknowledgements", s.AckFrames, s.Acked)
	}
}

// TestCallsEnd expects that a broker that does not answer keeps nobody waiting.
func TestCallsEnd(t *testing.T) {
	url := testbroker.VHost(t)
	proxy := testproxy.New(t, url)
	o := faultOptions(proxy.URL(url))
	o.Heartbeat, o.CallTimeout = time.Minute, 200*time.Millisecond
	p := start(t, o)
	for name, call := range map[string]func() error{
		"declare": func() error { return p.Declare(within(t, 2*time.Second)) },
		"get": func() error {
			_, _, err := p.Get(within(t, 2*time.Second), flowing)
			return err
		},
		"publish": func() error {
			return p.Publish(within(t, 2*time.Second), &Publishing{RoutingKey: flowing})
		},
		"request": func() error {
			_, err := p.Request(within(t, 2*time.Second), &Publishing{RoutingKey: flowing})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := p.Stats().Reconnects
			proxy.Blackhole(true)
			if err := call(); err == nil {
				t.Error("it has succeeded")
			}
			proxy.Blackhole(false)
			proxy.Reset()
			testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects >= before+2 && p.State() == StateReady }, "the pool has reconnected")
			if err := p.Publish(within(t, patience), &Publishing{RoutingKey: flowing, Mandatory: true}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestNamesForOperators expects connections and consumers to be told apart by name.
func TestNamesForOperators(t *testing.T) {
	node := testbroker.Shared(t)
	url := testbroker.VHost(t)
	p := start(t, Options{URLs: []string{url}, Program: "billing", Name: "orders", Topology: Topology{Queues: []Queue{{Name: "q"}}}})
	var in intake
	c := consume(t, p, ConsumeOptions{Queue: "q"}, in.take)
	testbroker.Eventually(t, patience, func() bool {
		said, err := node.Ctl(t.Context(), "list_consumers", "-p", testbroker.VHostName(url), "consumer_tag", "--quiet")
		return err == nil && strings.Contains(said, "billing orders ")
	}, "the consumer's tag names program and pool")
	said, err := node.Ctl(t.Context(), "list_connections", "client_properties", "--quiet")
	for _, side := range []string{"listen", "publish"} {
		if want := fmt.Sprintf(`"connection_name","billing orders %s`, side); err != nil || !strings.Contains(said, want) {
			t.Errorf("no connection has %s (%v)\n%s", want, err, said)
		}
	}
	c.end()
}
