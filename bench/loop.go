package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"
)

// runLoop is the loop that pipe is measured against: the best that we know how to write by hand on
// amqp091-go. One connection consumes and one publishes, confirms are pipelined, and acknowledgements
// leave in batches. It does not reconnect, and knows one job.
func runLoop(args []string) error {
	flags := flag.NewFlagSet("loop", flag.ContinueOnError)
	url := flags.String("url", "", "the broker")
	work := flags.String("workload", "", "the workload")
	if err := flags.Parse(args); err != nil {
		return err
	}
	transform := passthrough
	if strings.HasPrefix(*work, "filter") {
		transform = filterMapRoute
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	in, err := amqp.Dial(*url)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := amqp.Dial(*url)
	if err != nil {
		return err
	}
	defer out.Close()
	return loop(ctx, in, out, transform)
}

const (
	loopPrefetch = 500
	loopWindow   = 1000
	loopAckBatch = 100
)

// sent is a delivery whose confirm has not come; a nil confirm means that it was dropped.
type sent struct {
	tag     uint64
	confirm *amqp.DeferredConfirmation
}

func loop(ctx context.Context, in, out *amqp.Connection, transform transformation) error {
	consume, err := in.Channel()
	if err != nil {
		return err
	}
	publish, err := out.Channel()
	if err != nil {
		return err
	}
	if err := publish.Confirm(false); err != nil {
		return err
	}
	if err := consume.Qos(loopPrefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := consume.Consume("bench.in", "bench-loop", false, false, false, false, nil)
	if err != nil {
		return err
	}
	pending := make(chan sent, loopWindow)
	var acks conc.WaitGroup
	var ackErr error
	acks.Go(func() { ackErr = acknowledge(consume, pending) })
	err = pump(ctx, deliveries, publish, pending, transform)
	close(pending)
	acks.Wait()
	if err != nil {
		return err
	}
	return ackErr
}

func pump(ctx context.Context, deliveries <-chan amqp.Delivery, publish *amqp.Channel, pending chan<- sent, transform transformation) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return fmt.Errorf("the deliveries have ended")
			}
			exchange, key, m, keep, err := transform(&d)
			if err != nil {
				return err
			}
			if !keep {
				pending <- sent{tag: d.DeliveryTag}
				continue
			}
			confirm, err := publish.PublishWithDeferredConfirm(exchange, key, true, false, m)
			if err != nil {
				return err
			}
			pending <- sent{d.DeliveryTag, confirm}
		}
	}
}

// acknowledge waits for the confirms in order, and acknowledges what they cover in batches.
func acknowledge(consume *amqp.Channel, pending <-chan sent) error {
	var last uint64
	unacked := 0
	flush := func() error {
		if unacked == 0 {
			return nil
		}
		unacked = 0
		return consume.Ack(last, true)
	}
	idle := time.NewTicker(2 * time.Millisecond)
	defer idle.Stop()
	for {
		select {
		case s, ok := <-pending:
			if !ok {
				return flush()
			}
			if s.confirm != nil && !s.confirm.Wait() {
				return fmt.Errorf("delivery %d was not confirmed", s.tag)
			}
			last = s.tag
			if unacked++; unacked >= loopAckBatch {
				if err := flush(); err != nil {
					return err
				}
			}
		case <-idle.C:
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

type transformation func(*amqp.Delivery) (exchange, key string, m amqp.Publishing, keep bool, err error)

func passthrough(d *amqp.Delivery) (exchange, key string, m amqp.Publishing, keep bool, err error) {
	return "", "bench.out", republish(d), true, nil
}

// filterMapRoute does with encoding/json what the pipeline file of the workload says.
func filterMapRoute(d *amqp.Delivery) (exchange, key string, m amqp.Publishing, keep bool, err error) {
	var order map[string]any
	if err := json.Unmarshal(d.Body, &order); err != nil {
		return "", "", m, false, err
	}
	if order["status"] != "paid" {
		return "", "", m, false, nil
	}
	order["total_eur"] = round2(order["total"].(float64) * 0.92)
	tier := "none"
	if t, ok := order["customer"].(map[string]any)["tier"].(string); ok {
		tier = t
	}
	m = republish(d)
	if m.Headers == nil {
		m.Headers = amqp.Table{}
	}
	m.Headers["x-tier"] = tier
	if m.Body, err = json.Marshal(order); err != nil {
		return "", "", m, false, err
	}
	switch region := order["region"].(string); region {
	case "eu-west", "eu-north":
		return "bench", "eu." + strings.ToLower(region), m, true, nil
	default:
		return "bench", "row", m, true, nil
	}
}

func republish(d *amqp.Delivery) amqp.Publishing {
	return amqp.Publishing{
		Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
		DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId,
		ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId, Timestamp: d.Timestamp,
		Type: d.Type, UserId: d.UserId, AppId: d.AppId, Body: d.Body,
	}
}
