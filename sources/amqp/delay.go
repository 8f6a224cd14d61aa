package amqp

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/message"
	"github.com/pipeamqp/pipe/pool"
)

// A pause is held by the broker in the queues of a ladder, one a length. A message is published to the rung's exchange, with the
// name of the queue that it came from as its routing key, and waits in the rung's queue. When its time is over the queue dead-letters
// it to the default exchange, which takes the routing key for the name of a queue: it is back where it came from. All messages of a
// rung wait equally long, so none waits behind one that has longer to go.
//
// The queues are quorum queues that dead-letter at least once: a message is gone from the rung only when it is in its queue.
// They need RabbitMQ 3.10.

// delayPrefix begins the names of the ladder's exchanges and queues.
const delayPrefix = "pipe.delay."

// rungs are the pauses that there are queues for; those in between are made up of several.
var rungs = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

func rungName(pause time.Duration) string {
	name := pause.String() // as 10s, 10m0s, 1h0m0s
	if minutes, ok := strings.CutSuffix(name, "m0s"); ok {
		name = minutes + "m"
	}
	if hours, ok := strings.CutSuffix(name, "h0m"); ok {
		name = hours + "h"
	}
	return delayPrefix + name
}

// Ladder returns the exchanges and queues that hold messages for pauses up to the longest.
func Ladder(longest time.Duration) pool.Topology {
	var t pool.Topology
	for _, pause := range rungs {
		if pause > longest {
			break
		}
		name := rungName(pause)
		t.Exchanges = append(t.Exchanges, pool.Exchange{Name: name, Type: "fanout"})
		t.Queues = append(t.Queues, pool.Queue{
			Name: name, Type: "quorum", MessageTTL: &pause,
			DeadLetterStrategy: "at-least-once", Overflow: "reject-publish",
			Arguments: pool.Table{"x-dead-letter-exchange": ""},
		})
		t.Bindings = append(t.Bindings, pool.Binding{Exchange: name, ToQueue: name})
	}
	return t
}

// LongestDelay is the longest pause of one rung.
const LongestDelay = 24 * time.Hour

// Shortest implements [engine.Delayer]: below it, a pause is not worth a way through the broker.
func (s *Source) Shortest() time.Duration {
	if s.ladder == nil {
		return 0
	}
	return rungs[0]
}

// slack is the share of a pause that may be left out, where that saves a rung.
const slack = 10

// Delay implements [engine.Delayer]. The message waits on the longest rung that is no longer than the pause; the rest is for when it
// comes again.
func (s *Source) Delay(ctx context.Context, m *engine.Message, pause time.Duration, done func(error)) {
	rung := s.ladder[0]
	for _, r := range s.ladder {
		if r <= pause+pause/slack {
			rung = r
		}
	}
	p := &pool.Publishing{Exchange: rungName(rung), RoutingKey: s.queue.Name, Mandatory: true}
	m.Headers.Set(originHeader, origin(m))
	message.Put(p, m)
	s.delays().Send(ctx, p, done)
}

// delays is what publishes to the ladder: a channel of its own, once it is needed.
func (s *Source) delays() *pool.Publisher {
	s.publisherOnce.Do(func() { s.publisher = s.pool.Publisher(s.options.Name + ".retry") })
	return s.publisher
}

// originHeader is where a message carries what the way through the ladder would change.
const originHeader = "x-pipe-origin"

// What the broker changes, or acts upon, on the way.
var meddled = []string{
	"x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason",
	"x-last-death-exchange", "x-last-death-queue", "x-last-death-reason", "CC", "BCC",
}

// origin takes off a message what must not be on it on its way through the ladder, and returns a note of it.
func origin(m *engine.Message) map[string]any {
	p := &m.Properties
	headers := map[string]any{}
	for _, name := range meddled {
		if v, ok := m.Headers.Get(name); ok {
			headers[name] = v
			m.Headers.Delete(name)
		}
	}
	note := map[string]any{
		"exchange": m.Exchange, "routing_key": m.RoutingKey, "expiration": p.Expiration, "user_id": p.UserID, "headers": headers,
	}
	p.Expiration = "" // it might end before the pause does
	return note
}

// restore is origin's counterpart: the message is again as it was when it first came.
func restore(m *engine.Message, note any) {
	m.Headers.Delete(originHeader)
	table, ok := note.(map[string]any)
	if !ok {
		return
	}
	for _, name := range meddled {
		m.Headers.Delete(name)
	}
	headers, _ := table["headers"].(map[string]any)
	for name, v := range headers {
		if slices.Contains(meddled, name) {
			m.Headers.Set(name, v)
		}
	}
	m.Exchange, _ = table["exchange"].(string)
	m.RoutingKey, _ = table["routing_key"].(string)
	m.Properties.Expiration, _ = table["expiration"].(string)
	m.Properties.UserID, _ = table["user_id"].(string)
}
