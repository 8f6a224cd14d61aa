package pool

import (
	"context"

	amqp "github.com/rabbitmq/amqp091-go"
)

// MaxChunk is how many deliveries are handed over at once, at most.
const MaxChunk = 64

// Consume holds one consumer and hands over what has arrived, in order: a chunk of 1 to [MaxChunk]
// deliveries, as many as are there without waiting. handle is called from one goroutine, and the chunk
// belongs to the pool again when it returns; bodies and headers may be kept.
//
// After a reconnect, a cancel by the broker, or an error of the channel it subscribes again, for ever,
// and so it waits for a queue that does not exist. It returns an error only for what trying again does
// not mend: a refused connection, or options that are wrong.
//
// When ctx ends nothing more is handed over; Consume waits until everything that was handed over has been
// settled, sends the acknowledgements and returns nil. What had arrived and was not handed over goes
// back to the queue.
func (p *Pool) Consume(ctx context.Context, o ConsumeOptions, handle func(chunk []Delivery)) error {
	return nil
}

// Delivery is a message that arrived. It must be settled once through its Session.
type Delivery struct {
	amqp.Delivery
	Session *Session
}

// Ack settles the delivery as done.
func (d *Delivery) Ack() { d.Session.Settle(d.DeliveryTag, Ack) }

// Reject gives the delivery up: the broker keeps it as a dead letter or discards it.
func (d *Delivery) Reject() { d.Session.Settle(d.DeliveryTag, Reject) }

// Requeue gives the delivery back to be delivered again.
func (d *Delivery) Requeue() { d.Session.Settle(d.DeliveryTag, Requeue) }

// Abandon leaves the delivery unacknowledged: it goes back to the queue when its channel closes.
func (d *Delivery) Abandon() { d.Session.Settle(d.DeliveryTag, Abandon) }

// Outcome is how a delivery is settled.
type Outcome uint8

// The outcomes of a delivery.
const (
	// Abandon leaves the delivery unacknowledged: it goes back to the queue when its channel closes.
	Abandon Outcome = iota
	// Ack says that the delivery is done.
	Ack
	// Reject gives the delivery up (basic.reject): a dead letter, or discarded. It counts towards the
	// delivery limit of a quorum queue.
	Reject
	// Requeue gives the delivery back to be delivered again (basic.nack with requeue).
	Requeue
)

// Session is one consumer on one channel: deliveries of one session are settled through it. Its methods
// are safe to call from any goroutine.
type Session struct{}

// Settle settles the delivery with the given tag. Acknowledgements go out in batches. A second call for
// a tag is refused and counted; a call after the channel has gone is dropped and counted, and the broker
// delivers the message again.
func (s *Session) Settle(tag uint64, outcome Outcome) {}

// Stale reports that the channel has gone: settling does nothing any more.
func (s *Session) Stale() bool { return true }
