package pipetest

import (
	"math"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// Fill publishes n messages, made by message, and waits for all confirms.
func Fill(t testing.TB, url, queue string, n int, message func(i int) amqp.Publishing) {
	t.Helper()
	conn := testbroker.Dial(t, url)
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var window []*amqp.DeferredConfirmation
	for i := range n {
		c, err := ch.PublishWithDeferredConfirm("", queue, true, false, message(i))
		if err != nil {
			t.Fatal(err)
		}
		window = append(window, c)
		if len(window) == 1000 || i == n-1 {
			for _, c := range window {
				if !c.Wait() {
					t.Fatal("a message was not confirmed")
				}
			}
			window = window[:0]
		}
	}
}

// Collect consumes a queue until it has been quiet for a while after at least n messages, and hands over each delivery.
func Collect(t testing.TB, url, queue string, n int, each func(d *amqp.Delivery)) {
	t.Helper()
	conn := testbroker.Dial(t, url)
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Qos(1000, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for got := 0; ; got++ {
		patience := time.Minute
		if got >= n {
			patience = 500 * time.Millisecond
		}
		select {
		case d, ok := <-deliveries:
			if !ok {
				t.Fatalf("%s: the deliveries have ended after %d", queue, got)
			}
			each(&d)
			if got%200 == 199 {
				if err := ch.Ack(d.DeliveryTag, true); err != nil {
					t.Fatal(err)
				}
			}
		case <-time.After(patience):
			if got < n {
				t.Fatalf("%s: %d messages have come, not %d", queue, got, n)
			}
			_ = ch.Ack(0, true)
			return
		}
	}
}

// WaitEmpty waits until a queue has no message, neither waiting nor with a consumer. However slow the machine is, it waits as long as there
// are ever fewer.
func WaitEmpty(t testing.TB, broker testbroker.Counter, url, queue string) {
	t.Helper()
	const patience = 2 * time.Minute
	least, deadline := math.MaxInt, time.Now().Add(patience)
	for depth := testbroker.Depth(t, url, queue); depth != 0; depth = testbroker.Depth(t, url, queue) {
		if depth < least {
			least, deadline = depth, time.Now().Add(patience)
		} else if time.Now().After(deadline) {
			t.Fatalf("%d messages wait in %s, and for %s there have not been fewer than %d", depth, queue, patience, least)
		}
		time.Sleep(100 * time.Millisecond) // each look is a connection
	}
	at, err := amqp.ParseURI(url)
	if err != nil {
		t.Fatal(err)
	}
	testbroker.Eventually(t, time.Minute, func() bool { return broker.Messages(t.Context(), at.Vhost, queue) == 0 }, queue+" is empty")
}
