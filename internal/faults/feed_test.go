//go:build faults

package faults

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// feed publishes numbered messages into the queue, and goes on through whatever happens to the broker: a message is published when the
// broker has confirmed it, and those whose fate is unknown are published again.
type feed struct {
	t     testing.TB
	urls  []string
	pause time.Duration // between two batches
	limit int           // how many messages there will be; 0 is no limit

	published atomic.Int64 // the ids below have been confirmed
	again     atomic.Int64 // how many may be there twice

	cancel context.CancelFunc
	done   chan struct{}

	raw      net.Conn
	conn     *amqp.Connection
	ch       *amqp.Channel
	returned chan amqp.Return
}

// batchSize is how many messages the feed publishes at once.
const batchSize = 50

// feed starts to publish so many messages a second.
func (r *rig) feed(rate int) *feed { return r.feedUpTo(rate, 0) }

// feedUpTo starts to publish so many messages a second, until there are so many.
func (r *rig) feedUpTo(rate, limit int) *feed {
	ctx, cancel := context.WithCancel(background)
	f := &feed{t: r.t, urls: r.urls, pause: time.Second * batchSize / time.Duration(rate), limit: limit, cancel: cancel, done: make(chan struct{})}
	go f.run(ctx)
	r.t.Cleanup(func() { f.stop() })
	return f
}

// stop ends the feed when its last batch has been confirmed, and returns how many messages there are.
func (f *feed) stop() int {
	f.cancel()
	return f.wait()
}

// wait waits until the feed has ended, and returns how many messages there are.
func (f *feed) wait() int {
	f.t.Helper()
	select {
	case <-f.done:
	case <-time.After(patience):
		f.t.Fatalf("the feed has not ended: %d messages are published", f.published.Load())
	}
	return int(f.published.Load())
}

func (f *feed) run(ctx context.Context) {
	defer close(f.done)
	defer f.drop()
	for n := 0; ctx.Err() == nil && (f.limit == 0 || n < f.limit); n += batchSize {
		batch := make([]int, batchSize)
		for i := range batch {
			batch[i] = n + i
		}
		f.publishAll(batch)
		f.published.Store(int64(n + batchSize))
		select {
		case <-ctx.Done():
		case <-time.After(f.pause):
		}
	}
}

// publishAll publishes messages until all of them are confirmed.
func (f *feed) publishAll(ids []int) {
	for deadline := time.Now().Add(2 * patience); len(ids) > 0 && time.Now().Before(deadline); {
		left, unknown := f.publish(ids)
		f.again.Add(int64(unknown))
		if ids = left; len(ids) > 0 {
			time.Sleep(50 * time.Millisecond) // the broker is in no state to take them
		}
	}
	if len(ids) > 0 {
		f.t.Errorf("the feed cannot publish %d messages", len(ids))
	}
}

// publish publishes messages and returns those that are not confirmed; of some it is unknown whether they have arrived.
func (f *feed) publish(ids []int) (left []int, unknown int) {
	if f.conn == nil {
		if err := f.dial(); err != nil {
			f.drop()
			return ids, 0
		}
	}
	confirms := make([]*amqp.DeferredConfirmation, len(ids))
	for i, id := range ids {
		c, err := f.ch.PublishWithDeferredConfirm("", "in", true, false, message(id))
		if err != nil {
			break
		}
		confirms[i] = c
	}
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	missing := map[string]bool{}
	for i, c := range confirms {
		if c == nil {
			left = append(left, ids[i])
			continue
		}
		if ok, err := c.WaitContext(ctx); !ok || err != nil {
			left = append(left, ids[i])
			unknown++
		}
	}
	if len(left) > 0 {
		f.drop()
	}
	for {
		select {
		case r, ok := <-f.returned:
			if ok {
				missing[r.MessageId] = true
				continue
			}
		default:
		}
		break
	}
	for _, id := range ids { // there was no queue
		if missing[strconv.Itoa(id)] && !has(left, id) {
			left = append(left, id)
		}
	}
	return left, unknown
}

func has(ids []int, id int) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// padding makes the bodies as long as usual ones.
var padding = strings.Repeat("x", 250)

// message is what the feed publishes.
func message(id int) amqp.Publishing {
	n := strconv.Itoa(id)
	return amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: n, ContentType: "application/json", Body: []byte(`{"n":` + n + `,"pad":"` + padding + `"}`)}
}

func (f *feed) dial() error {
	dial := amqp.DefaultDial(5 * time.Second)
	conn, err := amqp.DialConfig(f.urls[rand.N(len(f.urls))], amqp.Config{Heartbeat: 30 * time.Second, Dial: func(network, addr string) (net.Conn, error) {
		raw, err := dial(network, addr)
		f.raw = raw
		return raw, err
	}})
	if err != nil {
		return err
	}
	f.conn = conn
	if f.ch, err = conn.Channel(); err != nil {
		return err
	}
	f.returned = f.ch.NotifyReturn(make(chan amqp.Return, batchSize))
	return errors.Join(f.ch.Confirm(false))
}

// drop gives the connection up: what waits for it fails at once.
func (f *feed) drop() {
	if f.raw != nil {
		_ = f.raw.Close()
	}
	if f.conn != nil {
		_ = f.conn.Close()
	}
	f.raw, f.conn = nil, nil
}
