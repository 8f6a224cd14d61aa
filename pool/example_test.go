package pool_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/pool"
)

// open opens a pool with a queue "orders", for the other examples. done closes it.
func open() (ctx context.Context, p *pool.Pool, done func()) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	url, err := testbroker.NewVHost() // as amqp://user:password@host/vhost
	if err != nil {
		log.Fatal(err)
	}
	p, err = pool.Open(pool.Options{
		URLs:     []string{url},
		Topology: pool.Topology{Queues: []pool.Queue{{Name: "orders"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Start(ctx); err != nil {
		log.Fatal(err)
	}
	return ctx, p, func() {
		if err := p.Close(ctx); err != nil {
			log.Print(err)
		}
		cancel()
	}
}

func order(text string) *pool.Publishing {
	return &pool.Publishing{
		RoutingKey: "orders", Mandatory: true, // through the default exchange
		Publishing: amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(text)},
	}
}

func ExamplePool_Publish() {
	ctx, p, done := open()
	defer done()
	if err := p.Publish(ctx, order("tea")); err != nil { // returns when the broker has confirmed
		log.Fatal(err)
	}
	err := p.Publish(ctx, &pool.Publishing{RoutingKey: "nowhere", Mandatory: true})
	var returned *pool.ErrReturned
	fmt.Println(errors.As(err, &returned), pool.IsPermanent(err))
	fmt.Println(err)
	// Output:
	// true true
	// no queue takes routing key "nowhere" of exchange "" (312 NO_ROUTE): bind one, or publish without mandatory
}

func ExamplePool_PublishAsync() {
	ctx, p, done := open()
	defer done()
	var owed sync.WaitGroup
	var confirmed atomic.Int64
	for i := range 1000 {
		owed.Add(1)
		p.PublishAsync(ctx, order(fmt.Sprint("order ", i)), func(r pool.Result) {
			defer owed.Done()
			if r.Err == nil {
				confirmed.Add(1)
			}
		})
	}
	owed.Wait()
	fmt.Println(confirmed.Load(), "are confirmed")
	// Output: 1000 are confirmed
}

func ExamplePool_With() {
	ctx, p, done := open()
	defer done()
	err := p.With(ctx, func(l *pool.Lease) error {
		for _, text := range []string{"tea", "cup", "pot"} { // in this order
			l.PublishAsync(ctx, order(text), func(r pool.Result) {
				if r.Err != nil {
					log.Print(r.Err)
				}
			})
		}
		return nil
	}) // returns when all outcomes are known
	fmt.Println(err, p.Stats().Confirmed)
	// Output: <nil> 3
}

func ExamplePool_Acquire() {
	ctx, p, done := open()
	defer done()
	l, err := p.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	err = l.Publish(ctx, order("tea"))
	fmt.Println(errors.Join(err, l.Release(ctx)))
	// Output: <nil>
}

func ExamplePool_Get() {
	ctx, p, done := open()
	defer done()
	if err := p.Publish(ctx, order("tea")); err != nil {
		log.Fatal(err)
	}
	d, ok, err := p.Get(ctx, "orders")
	if err != nil || !ok {
		log.Fatal(ok, err)
	}
	fmt.Printf("%s\n", d.Body)
	d.Ack()
	_, ok, err = p.Get(ctx, "orders")
	fmt.Println(ok, err)
	// Output:
	// tea
	// false <nil>
}

func ExamplePool_GetAndAck() {
	ctx, p, done := open()
	defer done()
	if err := p.Publish(ctx, order("tea")); err != nil {
		log.Fatal(err)
	}
	d, ok, err := p.GetAndAck(ctx, "orders") // if the process ends now, the tea is lost
	fmt.Println(string(d.Body), ok, err)
	// Output: tea true <nil>
}

func ExamplePool_GetAsync() {
	ctx, p, done := open()
	defer done()
	if err := p.Publish(ctx, order("tea")); err != nil {
		log.Fatal(err)
	}
	told := make(chan struct{})
	p.GetAsync(ctx, "orders", func(g pool.Got) {
		defer close(told)
		if g.OK {
			fmt.Printf("%s\n", g.Delivery.Body)
			g.Delivery.Ack()
		}
	})
	<-told
	// Output: tea
}

func ExamplePool_Listen() {
	ctx, p, done := open()
	defer done()
	for _, text := range []string{"tea", "nonsense", "cup"} {
		if err := p.Publish(ctx, order(text)); err != nil {
			log.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(ctx)
	err := p.Listen(ctx, "orders", func(_ context.Context, d *pool.Delivery) error {
		fmt.Printf("%s\n", d.Body)
		switch string(d.Body) {
		case "nonsense":
			return errors.New("nobody sells that") // it is rejected
		case "cup":
			stop()
		}
		return nil // it is acknowledged
	}, pool.ListenerOptions{})
	fmt.Println(err)
	// Output:
	// tea
	// nonsense
	// cup
	// <nil>
}

func ExamplePool_Deliveries() {
	ctx, p, done := open()
	defer done()
	for _, text := range []string{"tea", "cup", "pot"} {
		if err := p.Publish(ctx, order(text)); err != nil {
			log.Fatal(err)
		}
	}
	for d, err := range p.Deliveries(ctx, pool.ConsumeOptions{Queue: "orders"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", d.Body)
		d.Ack()
		if string(d.Body) == "pot" {
			break
		}
	}
	// Output:
	// tea
	// cup
	// pot
}

func ExamplePool_Request() {
	ctx, p, done := open()
	defer done()
	serving, stop := context.WithCancel(ctx)
	var server sync.WaitGroup
	server.Go(func() {
		_ = p.Listen(serving, "orders", func(ctx context.Context, d *pool.Delivery) error {
			return p.Reply(ctx, d, amqp.Publishing{Body: []byte(strings.ToUpper(string(d.Body)))})
		}, pool.ListenerOptions{})
	})
	answer, err := p.Request(ctx, order("tea"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", answer.Body)
	stop()
	server.Wait()
	// Output: TEA
}

// Start hooks run after the topology has been declared and before any consumer, and again after each reconnect.
func ExampleSetup_Declare() {
	url, err := testbroker.NewVHost()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := pool.Open(pool.Options{
		URLs: []string{url},
		OnStart: []func(context.Context, *pool.Setup) error{
			func(ctx context.Context, s *pool.Setup) error {
				return s.Declare(ctx, pool.Topology{
					Exchanges: []pool.Exchange{{Name: "shop", Type: "topic"}},
					Queues:    []pool.Queue{{Name: "paid", Type: "quorum"}},
					Bindings:  []pool.Binding{{Exchange: "shop", ToQueue: "paid", Key: "order.paid"}},
				})
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	if err := p.Start(ctx); err != nil {
		log.Fatal(err)
	}
	err = p.Publish(ctx, &pool.Publishing{Exchange: "shop", RoutingKey: "order.paid", Mandatory: true})
	fmt.Println(p.State(), err)
	// Output: ready <nil>
}
