package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"
)

// runLoop is a contender written by hand on amqp091-go, in a process of its own.
//
// The loop that pipe is measured against is the best that we know how to write: one connection consumes and one publishes, confirms
// are pipelined, and acknowledgements leave in batches. The naive one is what tutorials teach: it waits for the confirm of each
// message, and acknowledges each. Neither reconnects, and each knows one job.
func runLoop(args []string) error {
	flags := flag.NewFlagSet("loop", flag.ContinueOnError)
	name := flags.String("workload", "", "the workload")
	naive := flags.Bool("naive", false, "wait for each confirm")
	bytewise := flags.Bool("bytes", false, "work on the bytes of the JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	at := slices.IndexFunc(workloads, func(w workload) bool { return w.name == *name })
	if at < 0 {
		return fmt.Errorf("no workload is named %q", *name)
	}
	transform := workloads[at].transform
	if *bytewise {
		transform = workloads[at].bytewise
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	in, err := amqp.Dial(os.Getenv(urlVariable))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := amqp.Dial(os.Getenv(urlVariable))
	if err != nil {
		return err
	}
	defer out.Close()
	return loop(ctx, in, out, transform, *naive)
}

const (
	loopPrefetch = 500
	loopWindow   = 1000
	loopAckBatch = 100
)

// sent is what a delivery has become; nothing, where it was dropped.
type sent struct {
	tag      uint64
	confirms []*amqp.DeferredConfirmation
}

func (s *sent) wait() error {
	for _, c := range s.confirms {
		if !c.Wait() {
			return fmt.Errorf("delivery %d was not confirmed", s.tag)
		}
	}
	return nil
}

func loop(ctx context.Context, in, out *amqp.Connection, transform transformation, naive bool) error {
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
	if naive {
		return pump(ctx, deliveries, publish, transform, func(s sent) error {
			return errors.Join(s.wait(), consume.Ack(s.tag, false))
		})
	}
	pending := make(chan sent, loopWindow)
	var acks conc.WaitGroup
	var ackErr error
	acks.Go(func() { ackErr = acknowledge(consume, pending) })
	err = pump(ctx, deliveries, publish, transform, func(s sent) error {
		pending <- s
		return nil
	})
	close(pending)
	acks.Wait()
	return errors.Join(err, ackErr)
}

// pump transforms and publishes what arrives, and hands over what it has become.
func pump(ctx context.Context, deliveries <-chan amqp.Delivery, publish *amqp.Channel, transform transformation, done func(sent) error) error {
	var out []output
	for {
		select {
		case <-ctx.Done():
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the deliveries have ended")
			}
			var err error
			if out, err = transform(&d, out[:0]); err != nil {
				return err
			}
			s := sent{tag: d.DeliveryTag}
			for _, o := range out {
				c, err := publish.PublishWithDeferredConfirm(o.exchange, o.key, true, false, o.m)
				if err != nil {
					return err
				}
				s.confirms = append(s.confirms, c)
			}
			if err := done(s); err != nil {
				return err
			}
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
			if err := s.wait(); err != nil {
				return err
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
