package pool

import (
	"context"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

var benchBody = make([]byte, 1024)

// BenchmarkPublish publishes 1 kB messages and waits for all confirms: with the pool, with the bare library as well as it can be
// done by hand, and with a channel for each message, as naive pools do.
func BenchmarkPublish(b *testing.B) {
	url, err := testbroker.NewVHost()
	if err != nil {
		b.Fatal(err)
	}
	testbroker.Declare(b, url, "q")
	b.Cleanup(func() { purge(b, url) })
	b.Run("pool", func(b *testing.B) {
		p := start(b, Options{URLs: []string{url}})
		pub := p.Publisher("bench")
		ctx := context.Background()
		messages := make([]Publishing, DefaultPublishWindow)
		var owed sync.WaitGroup
		done := func(err error) {
			if err != nil {
				b.Error(err)
			}
			owed.Done()
		}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m := &messages[i%len(messages)]
			if i%len(messages) == 0 {
				owed.Wait() // they are used again
			}
			*m = Publishing{RoutingKey: "q", Publishing: amqp.Publishing{Body: benchBody}}
			owed.Add(1)
			pub.Send(ctx, m, done)
		}
		owed.Wait()
	})
	b.Run("library", func(b *testing.B) {
		ch := confirming(b, url)
		window := make([]*amqp.DeferredConfirmation, 0, 1000)
		wait := func() {
			for _, c := range window {
				if !c.Wait() {
					b.Error("not confirmed")
				}
			}
			window = window[:0]
		}
		b.ReportAllocs()
		for b.Loop() {
			c, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: benchBody})
			if err != nil {
				b.Fatal(err)
			}
			if window = append(window, c); len(window) == cap(window) {
				wait()
			}
		}
		wait()
	})
	b.Run("a channel each", func(b *testing.B) {
		conn := testbroker.Dial(b, url)
		b.ReportAllocs()
		for b.Loop() {
			ch, err := conn.Channel()
			if err != nil {
				b.Fatal(err)
			}
			if err := ch.Confirm(false); err != nil {
				b.Fatal(err)
			}
			c, err := ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: benchBody})
			if err != nil || !c.Wait() {
				b.Fatal("not confirmed", err)
			}
			if err := ch.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func confirming(b *testing.B, url string) *amqp.Channel {
	b.Helper()
	ch := testbroker.Channel(b, url)
	if err := ch.Confirm(false); err != nil {
		b.Fatal(err)
	}
	return ch
}

func purge(b *testing.B, url string) {
	b.Helper()
	if _, err := testbroker.Channel(b, url).QueuePurge("q", false); err != nil {
		b.Error(err)
	}
}

// BenchmarkConsume takes 1 kB messages from a full queue and acknowledges them: with the pool, and with the bare library, one
// acknowledgement each.
func BenchmarkConsume(b *testing.B) {
	for name, consume := range map[string]func(*testing.B, string){"pool": consumeWithPool, "library": consumeWithLibrary} {
		b.Run(name, func(b *testing.B) {
			url, err := testbroker.NewVHost()
			if err != nil {
				b.Fatal(err)
			}
			testbroker.Declare(b, url, "q")
			ch := confirming(b, url)
			var last *amqp.DeferredConfirmation
			for range b.N {
				if last, err = ch.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{Body: benchBody}); err != nil {
					b.Fatal(err)
				}
			}
			last.Wait()
			b.ReportAllocs()
			b.ResetTimer()
			consume(b, url)
		})
	}
}

func consumeWithPool(b *testing.B, url string) {
	p := start(b, Options{URLs: []string{url}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	err := p.Consume(ctx, ConsumeOptions{Queue: "q"}, func(chunk []Delivery) {
		for i := range chunk {
			chunk[i].Ack()
		}
		if n += len(chunk); n == b.N {
			cancel()
		}
	})
	if err != nil || n != b.N {
		b.Fatal(n, err)
	}
}

func consumeWithLibrary(b *testing.B, url string) {
	ch := testbroker.Channel(b, url)
	if err := ch.Qos(DefaultPrefetch, 0, false); err != nil {
		b.Fatal(err)
	}
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		d := <-deliveries
		if err := d.Ack(false); err != nil {
			b.Fatal(err)
		}
	}
}
