package devbroker_test

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/devbroker"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// Publishers are told that they are blocked when they publish, and are not read from until they are not; others are not told.
func TestBlocked(t *testing.T) {
	t.Run("devbroker", func(t *testing.T) {
		t.Parallel()
		s := start(t, devbroker.Options{})
		blocks(t, s.URL(), func() { s.Block("low on memory") }, s.Unblock)
	})
	t.Run("RabbitMQ", func(t *testing.T) {
		t.Parallel()
		node := testbroker.Private(t)
		watermark := func(share string) {
			if _, err := node.Ctl(t.Context(), "set_vm_memory_high_watermark", share); err != nil {
				t.Error(err)
			}
		}
		blocks(t, node.URL(), func() { watermark("0.00001") }, func() { watermark("0.9") })
	})
}

func blocks(t *testing.T, url string, block, unblock func()) {
	client := func() (*amqp.Channel, chan amqp.Blocking) {
		conn := testbroker.Dial(t, url)
		ch, err := conn.Channel()
		must(t, err)
		must(t, ch.Confirm(false))
		return ch, conn.NotifyBlocked(make(chan amqp.Blocking, 10))
	}
	publisher, told := client()
	publish := func() *amqp.DeferredConfirmation {
		c, err := publisher.PublishWithDeferredConfirm("", "q", false, false, amqp.Publishing{})
		must(t, err)
		return c
	}
	idle, idleTold := client()
	_, err := idle.QueueDeclare("q", false, false, false, false, nil)
	must(t, err)
	publish().Wait()

	block()
	unheard(t, told)
	publish() // which RabbitMQ takes, while this broker has it wait too
	if b := <-told; !b.Active || b.Reason != "low on memory" {
		t.Errorf("%+v", b)
	}
	blocked := publish()
	select {
	case <-blocked.Done():
		t.Error("what a blocked publisher sent was taken")
	case <-time.After(100 * time.Millisecond):
	}
	// Who does not publish goes on.
	if _, ok, err := idle.Get("q", true); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
	unblock()
	if b := <-told; b.Active {
		t.Errorf("%+v", b)
	}
	blocked.Wait()
	unheard(t, idleTold)
}

func unheard(t *testing.T, told chan amqp.Blocking) {
	t.Helper()
	select {
	case b := <-told:
		t.Errorf("one that does not publish is told: %+v", b)
	case <-time.After(100 * time.Millisecond):
	}
}
