package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"
)

// latencies sends at a constant rate, whatever the contender does, and measures from the moment at which a message was due: a contender
// that stops for a while is charged for every message that it kept waiting (no coordinated omission).
func (b *bench) latencies(ctx context.Context, e *experiment) (*table, error) {
	return b.inTurn(ctx, e, func(t *table, c *contender) (string, error) {
		took, d, err := b.steady(ctx, c, e.rate)
		if err != nil {
			return "", err
		}
		for _, p := range percentiles {
			t.add(c.name, p.column, took[min(len(took)-1, int(p.share*float64(len(took))))].Seconds()*1e3)
		}
		t.add(c.name, cpuColumn, float64(d.cpu.Microseconds())/float64(c.n))
		return fmt.Sprintf("p99 %s", took[len(took)*99/100]), nil
	})
}

var percentiles = []struct {
	column string
	share  float64
}{{"p50, ms", 0.5}, {"p95, ms", 0.95}, {"p99, ms", 0.99}, {"p99.9, ms", 0.999}, {"most, ms", 1}}

// warmUp is the share of the messages that are not counted.
const warmUp = 0.25

// steady runs one contender under a constant rate, and returns how long the messages took, sorted.
func (b *bench) steady(ctx context.Context, c *contender, rate int) (took []time.Duration, d drain, err error) {
	in, err := amqp.Dial(b.url)
	if err != nil {
		return nil, d, err
	}
	defer in.Close()
	out, err := amqp.Dial(b.url)
	if err != nil {
		return nil, d, err
	}
	defer out.Close()
	publish, err := in.Channel()
	if err != nil {
		return nil, d, err
	}
	receive, err := out.Channel()
	if err != nil {
		return nil, d, err
	}
	deliveries, err := receive.Consume("bench.out", "latency", true, true, false, false, nil)
	if err != nil {
		return nil, d, err
	}
	d, err = b.run(ctx, c, func() error {
		if err := waitForConsumer(ctx, publish); err != nil {
			return err
		}
		took, err = exchange(ctx, c, rate, publish, deliveries)
		return err
	})
	slices.Sort(took)
	return took, d, err
}

func waitForConsumer(ctx context.Context, ch *amqp.Channel) error {
	for {
		q, err := ch.QueueDeclarePassive("bench.in", true, false, false, false, nil)
		if err != nil || q.Consumers > 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// exchange sends the messages when they are due, and receives them.
func exchange(ctx context.Context, c *contender, rate int, publish *amqp.Channel, deliveries <-chan amqp.Delivery) ([]time.Duration, error) {
	begin := time.Now().Add(100 * time.Millisecond)
	due := func(i int) time.Time { return begin.Add(time.Duration(i) * time.Second / time.Duration(rate)) }
	var sending conc.WaitGroup
	var sendErr error
	sending.Go(func() {
		for i := range c.n {
			time.Sleep(time.Until(due(i)))
			if sendErr = publish.Publish("", "bench.in", false, false, c.w.message(i)); sendErr != nil {
				return
			}
		}
	})
	defer sending.Wait()
	skip := int(warmUp * float64(c.n))
	took := make([]time.Duration, 0, c.n-skip)
	giveUp := time.After(time.Until(due(c.n)) + time.Minute)
	for k := range c.n {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-giveUp:
			return nil, fmt.Errorf("only %d of %d messages have come out", k, c.n)
		case m, ok := <-deliveries:
			now := time.Now()
			if i, err := strconv.Atoi(m.MessageId); !ok || err != nil || i != k {
				return nil, fmt.Errorf("message %q has come instead of %d: lost, doubled or out of order", m.MessageId, k)
			}
			if k >= skip {
				took = append(took, now.Sub(due(k)))
			}
		}
	}
	sending.Wait()
	return took, sendErr
}

// blackHole takes connections, and never reads from them, until the program ends.
func blackHole() (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return "http://" + l.Addr().String(), nil // the kernel takes connections for a listener that accepts none
}
