package pool

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

func TestPublishAndConsumeInOrder(t *testing.T) {
	url := testbroker.VHost(t)
	p := start(t, Options{
		URLs: []string{url},
		Topology: Topology{
			Exchanges: []Exchange{{Name: "orders", Type: "topic"}},
			Queues:    []Queue{{Name: "in"}},
			Bindings:  []Binding{{Exchange: "orders", ToQueue: "in", Key: "#"}},
		},
	})
	const n = 5000
	var wg sync.WaitGroup
	wg.Add(n)
	pub := p.Publisher("test")
	for i := range n {
		pub.Send(within(t, patience), &Publishing{Exchange: "orders", RoutingKey: "k", Mandatory: true, Publishing: text(fmt.Sprint(i))}, func(err error) {
			if err != nil {
				t.Error(i, err)
			}
			wg.Done()
		})
	}
	wg.Wait()
	ctx, stop := context.WithCancel(context.Background())
	next := 0
	var held []Delivery // acknowledged in bursts, so that how they arrive does not decide how many frames that takes
	err := p.Consume(ctx, ConsumeOptions{Queue: "in", Prefetch: 300}, func(chunk []Delivery) {
		for i := range chunk {
			if got := string(chunk[i].Body); got != fmt.Sprint(next) {
				t.Errorf("delivery %d is %s", next, got)
			}
			next++
			held = append(held, chunk[i])
		}
		if len(held) >= 100 || next == n {
			for _, d := range held {
				d.Ack()
			}
			held = held[:0]
		}
		if next == n {
			stop()
		}
	})
	if err != nil || next != n {
		t.Errorf("%d deliveries, %v", next, err)
	}
	if d := testbroker.Depth(t, url, "in"); d != 0 {
		t.Errorf("%d messages are left", d)
	}
	s := p.Stats()
	if s.Confirmed != n || s.Acked != n || s.AckFrames > n/8 || s.InFlight != 0 || s.Unsettled != 0 || s.StaleAcks != 0 {
		t.Errorf("%+v", s)
	}
}
