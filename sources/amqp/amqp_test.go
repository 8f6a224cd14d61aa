package amqp_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testpool"
	"github.com/pipeamqp/pipe/pool"
	sinkamqp "github.com/pipeamqp/pipe/sinks/amqp"
	"github.com/pipeamqp/pipe/sources/amqp"
)

const patience = time.Minute

func TestMain(m *testing.M) { os.Exit(testbroker.Main(m)) }

// owning is a source with a pool of its own, so that a conformance test sees whether goroutines are left when both have ended.
type owning struct {
	*amqp.Source
	pool *pool.Pool
}

func (o owning) Start(ctx context.Context) error { return o.pool.Start(ctx) }
func (o owning) Close(ctx context.Context) error { return o.pool.Close(ctx) }

// TestConformance also shows that what the sink publishes comes in unchanged.
func TestConformance(t *testing.T) {
	enginetest.TestSource(t, func(t *testing.T) enginetest.SourceCase {
		url := testbroker.VHost(t)
		testbroker.Declare(t, url, "q")
		p, err := pool.Open(pool.Options{URLs: []string{url}})
		if err != nil {
			t.Fatal(err)
		}
		source, err := amqp.New(amqp.Config{Connection: p, Queue: &pool.Queue{Name: "q"}})
		if err != nil {
			t.Fatal(err)
		}
		sink, err := sinkamqp.New(sinkamqp.Config{Connection: p, Queue: &pool.Queue{Name: "q"}, Mandatory: true})
		if err != nil {
			t.Fatal(err)
		}
		return enginetest.SourceCase{
			Source: owning{source, p},
			Publish: func(messages ...*engine.Message) {
				outcomes := make(chan error, len(messages))
				for _, m := range messages {
					sink.Send(t.Context(), m, func(err error) { outcomes <- err })
				}
				for range messages {
					if err := <-outcomes; err != nil {
						t.Fatal(err)
					}
				}
			},
			Left: func(n int) int {
				testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "q") == n }, "the queue has what is left")
				return n
			},
		}
	})
}

// take consumes until it has n messages, which it acknowledges.
func take(t *testing.T, c amqp.Config, n int) []*engine.Message {
	t.Helper()
	source, err := amqp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []*engine.Message
	err = source.Run(ctx, func(chunk []engine.Delivery) {
		for _, d := range chunk {
			got = append(got, d.Message)
			d.Settler.Settle(d.Tag, engine.Ack)
		}
		if len(got) >= n {
			cancel()
		}
	})
	if err != nil || len(got) != n {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	return got
}

func TestWhereItCameFrom(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	ch := testbroker.Channel(t, url)
	if err := ch.QueueBind("q", "a.b", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	m := amqp091.Publishing{UserId: "guest", Body: []byte("x")}
	if err := ch.PublishWithContext(t.Context(), "amq.topic", "a.b", false, false, m); err != nil {
		t.Fatal(err)
	}
	got := take(t, amqp.Config{Connection: testpool.Start(t, pool.Options{URLs: []string{url}}), Queue: &pool.Queue{Name: "q"}}, 1)[0]
	if got.Exchange != "amq.topic" || got.RoutingKey != "a.b" || got.Redelivered || got.DeliveryCount != 0 || got.Properties.UserID != "guest" {
		t.Errorf("%+v", got)
	}
}

// TestDeliveryCount expects that the broker's count is told apart from the message's own headers.
func TestDeliveryCount(t *testing.T) {
	url := testbroker.VHost(t)
	ch := testbroker.Channel(t, url)
	if _, err := ch.QueueDeclare("q", true, false, false, false, amqp091.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	testbroker.Publish(t, url, "q", amqp091.Publishing{DeliveryMode: 2, Headers: amqp091.Table{"own": "header"}})
	source, err := amqp.New(amqp.Config{Connection: testpool.Start(t, pool.Options{URLs: []string{url}}), Queue: &pool.Queue{Name: "q"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var counts []int64
	err = source.Run(ctx, func(chunk []engine.Delivery) {
		for _, d := range chunk {
			if d.Message.Headers.Len() != 1 {
				t.Errorf("headers: %v", d.Message.Headers.Table())
			}
			counts = append(counts, d.Message.DeliveryCount)
			if len(counts) < 3 {
				d.Settler.Settle(d.Tag, engine.Requeue)
				continue
			}
			d.Settler.Settle(d.Tag, engine.Ack)
			cancel()
		}
	})
	if err != nil || len(counts) != 3 || counts[0] != 0 || counts[1] != 1 || counts[2] != 2 {
		t.Errorf("%v, %v", counts, err)
	}
}

// TestConsumer expects that the broker is asked for what the configuration says.
func TestConsumer(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	priority := 7
	source, err := amqp.New(amqp.Config{
		Connection: testpool.Start(t, pool.Options{URLs: []string{url}}), Queue: &pool.Queue{Name: "q"}, Prefetch: 3, ConsumerTag: "the tag",
		Exclusive: true, Priority: &priority, Arguments: map[string]any{"x-own": "argument"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, func([]engine.Delivery) {}) }()
	var said string
	testbroker.Eventually(t, patience, func() bool {
		said, err = testbroker.Shared(t).Ctl(t.Context(), "list_consumers", "-p", testbroker.VHostName(url),
			"queue_name", "consumer_tag", "prefetch_count", "arguments")
		return err == nil && strings.Contains(said, "the tag")
	}, "the broker has the consumer")
	for _, want := range []string{"\t3\t", "x-priority", "7", "x-own", "argument"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in:\n%s", want, said)
		}
	}
	if _, err := testbroker.Channel(t, url).Consume("q", "", true, false, false, false, nil); err == nil {
		t.Error("another consumer is let in beside an exclusive one")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestNew(t *testing.T) {
	p, err := pool.Open(pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q := &pool.Queue{Name: "q"}
	for want, c := range map[string]amqp.Config{
		"connection": {Queue: q},
		"queue":      {Connection: p},
		"prefetch":   {Connection: p, Queue: q, Prefetch: 65536},
	} {
		if _, err := amqp.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, and nothing about %s", err, want)
		}
	}
	for _, test := range []struct {
		queue pool.Queue
		want  bool
	}{
		{pool.Queue{Name: "q"}, false},
		{pool.Queue{Name: "q", DeadLetterExchange: "dead"}, true},
		{pool.Queue{Name: "q", Arguments: pool.Table{"x-dead-letter-exchange": ""}}, true},
	} {
		s, err := amqp.New(amqp.Config{Connection: p, Queue: &test.queue})
		if err != nil || s.DeadLetters() != test.want {
			t.Errorf("%+v: %v, %v", test.queue, s.DeadLetters(), err)
		}
	}
}
