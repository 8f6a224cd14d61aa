package enginetest

import (
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/devbroker"
	"github.com/pipeamqp/pipe/internal/message"
	"github.com/pipeamqp/pipe/pool"
)

// Broker is an AMQP 0-9-1 broker in memory, for a test: it does with exchanges, queues, bindings, confirms, dead letters, limits and
// priorities what RabbitMQ does, and no RabbitMQ is needed. Nothing of it outlives the test.
//
// Its methods fail the test when something goes wrong. They are called from the test's own goroutine.
type Broker struct {
	// Patience is how long the methods wait for what is expected; [NewBroker] sets it to 10 seconds.
	Patience time.Duration

	t       testing.TB
	server  *devbroker.Server
	channel *amqp.Channel
}

// NewBroker starts a broker on the loopback interface, which ends with the test.
func NewBroker(t testing.TB) *Broker {
	t.Helper()
	server, err := devbroker.Start("127.0.0.1:0", devbroker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{Patience: 10 * time.Second, t: t, server: server}
	t.Cleanup(func() { _ = server.Close() })
	conn, err := amqp.Dial(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if b.channel, err = conn.Channel(); err == nil {
		err = b.channel.Confirm(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// URL returns where the broker is: for AMQP_URL, a connection block, or another client.
func (b *Broker) URL() string { return b.server.URL() }

// Declare declares durable queues. It is not needed for those that a pipeline file declares.
func (b *Broker) Declare(queues ...string) {
	b.t.Helper()
	for _, q := range queues {
		if _, err := b.channel.QueueDeclare(q, true, false, false, false, nil); err != nil {
			b.t.Fatal(err)
		}
	}
}

// Await waits until queues are there that somebody else declares.
func (b *Broker) Await(queues ...string) {
	b.t.Helper()
	for _, q := range queues {
		b.eventually(func() bool { return b.held(q) >= 0 }, "there is a queue "+q)
	}
}

// Publish publishes messages to a queue, which must be there, and waits until the broker has them.
func (b *Broker) Publish(queue string, messages ...*engine.Message) {
	b.t.Helper()
	b.Await(queue)
	for _, m := range messages {
		var p pool.Publishing
		message.Put(&p, m)
		p.UserId = m.Properties.UserID
		confirmed, err := b.channel.PublishWithDeferredConfirm("", queue, true, false, p.Publishing)
		if err != nil {
			b.t.Fatal(err)
		}
		if !confirmed.Wait() {
			b.t.Fatalf("the broker refused a message for %s", queue)
		}
	}
}

// Expect takes n messages from a queue, in their order. It fails the test if they do not come, or if there is one more by then.
func (b *Broker) Expect(queue string, n int) []*engine.Message {
	b.t.Helper()
	b.Await(queue)
	var all []*engine.Message
	b.eventually(func() bool {
		for {
			d, ok, err := b.channel.Get(queue, true)
			if err != nil {
				b.t.Fatal(err)
			}
			if !ok {
				return len(all) >= n
			}
			m := &engine.Message{}
			message.Take(m, &d)
			all = append(all, m)
		}
	}, "messages come to "+queue)
	if len(all) != n {
		b.t.Fatalf("%d messages have come to %s, not %d", len(all), queue, n)
	}
	return all
}

// ExpectEmpty waits until a queue has no message, neither one that waits nor one that a consumer holds: all that was in it is done with.
func (b *Broker) ExpectEmpty(queue string) {
	b.t.Helper()
	b.Await(queue)
	b.eventually(func() bool { return b.held(queue) == 0 }, queue+" is empty")
}

// held counts the messages of a queue; -1 where there is none.
func (b *Broker) held(queue string) int { return b.server.Messages(context.Background(), "/", queue) }

func (b *Broker) eventually(holds func() bool, what string) {
	b.t.Helper()
	for deadline := time.Now().Add(b.Patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("after %s it is not so that %s", b.Patience, what)
		}
	}
}
