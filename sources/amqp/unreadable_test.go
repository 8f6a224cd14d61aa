package amqp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/rawamqp"
	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testpool"
	"github.com/pipeamqp/pipe/internal/testproxy"
	"github.com/pipeamqp/pipe/pool"
	"github.com/pipeamqp/pipe/sources/amqp"
)

// publishNested publishes a message to a queue, with headers that the client library does not read: tables in tables, 100 deep.
func publishNested(t *testing.T, url, queue string) {
	t.Helper()
	r := rawamqp.Dial(t, url)
	defer r.Close()
	if err := r.Publish("", queue, "nested", rawamqp.Nested('F', 100)); err != nil {
		t.Fatal(err)
	}
}

// serve runs a source that acknowledges what it is given, until stop is called. It returns the bodies so far.
func serve(t *testing.T, c amqp.Config) (bodies func() []string, stop func()) {
	t.Helper()
	source, err := amqp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var mu sync.Mutex
	var got []string
	go func() {
		ended <- source.Run(ctx, func(chunk []engine.Delivery) {
			mu.Lock()
			defer mu.Unlock()
			if len(chunk) == 0 {
				t.Error("an empty chunk")
			}
			for _, d := range chunk {
				got = append(got, string(d.Message.Body))
				d.Settler.Settle(d.Tag, engine.Ack)
			}
		})
	}()
	bodies = func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(got)
	}
	return bodies, func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestUnreadable expects that a delivery whose headers cannot be read fails alone: to the dead-letter exchange where there is one, else it
// is held until the source stops.
func TestUnreadable(t *testing.T) {
	for _, dead := range []bool{true, false} {
		t.Run(fmt.Sprint("dead letters: ", dead), func(t *testing.T) {
			url := testbroker.VHost(t)
			q := pool.Queue{Name: "q"}
			if dead {
				q.Arguments = pool.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
			}
			p := testpool.Start(t, pool.Options{URLs: []string{url}, Topology: pool.Topology{Queues: []pool.Queue{q, {Name: "dead"}}}})
			good := func(body string) { testbroker.Publish(t, url, "q", amqp091.Publishing{Body: []byte(body)}) }
			good("1")
			publishNested(t, url, "q")
			good("2")
			publishNested(t, url, "q")
			good("3")
			var log bytes.Buffer
			bodies, stop := serve(t, amqp.Config{
				Connection: p, Queue: &q, Prefetch: 3, Env: engine.Env{Log: slog.New(slog.NewTextHandler(&log, nil))},
			})
			want := []string{"1", "2", "3", "4"}
			testbroker.Eventually(t, patience, func() bool { return len(bodies()) == 3 }, "the good ones arrive")
			good("4")
			testbroker.Eventually(t, patience, func() bool { return slices.Equal(bodies(), want) }, "it goes on")
			stop()
			s := p.Stats()
			if s.Connects != 2 || s.Unreadable != 2 || s.Delivered != 6 || s.Unsettled != 0 {
				t.Errorf("%+v", s)
			}
			if said := log.String(); strings.Count(said, "WARN") != 1 || !strings.Contains(said, "nest deeper") {
				t.Error(said)
			}
			left := map[bool]string{true: "dead", false: "q"}[dead]
			testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, left) == 2 }, "the broker has them: "+left)
			for range 2 {
				d, ok, err := p.Get(t.Context(), left)
				var unreadable *pool.ErrUnreadable
				if err != nil || !ok || !errors.As(d.Unreadable, &unreadable) || bytes.Count(unreadable.Table, []byte("\x01kF")) < 99 {
					t.Fatal(ok, err, d)
				}
				d.Ack()
			}
		})
	}
}

// TestHeldComesAgain expects that a delivery that is held comes again when its connection has gone, and is held again.
func TestHeldComesAgain(t *testing.T) {
	url := testbroker.VHost(t)
	q := pool.Queue{Name: "q"}
	proxy := testproxy.New(t, url)
	p := testpool.Start(t, pool.Options{URLs: []string{proxy.URL(url)}, Topology: pool.Topology{Queues: []pool.Queue{q}}})
	publishNested(t, url, "q")
	bodies, stop := serve(t, amqp.Config{Connection: p, Queue: &q, Prefetch: 2})
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Unreadable == 1 }, "it is held")
	proxy.Reset()
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Unreadable == 2 }, "it has come again")
	testbroker.Publish(t, url, "q", amqp091.Publishing{Body: []byte("good")})
	testbroker.Eventually(t, patience, func() bool { return slices.Equal(bodies(), []string{"good"}) }, "others go on")
	stop()
	testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "q") == 1 }, "it is back in the queue")
	if s := p.Stats(); s.Unreadable != 2 {
		t.Errorf("%+v", s)
	}
}
