package pool

import (
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// ackDelay is how long an acknowledgement waits for company.
	ackDelay = 5 * time.Millisecond
	// gapDelay is how long acknowledgements wait behind a delivery that is not settled.
	gapDelay = 200 * time.Millisecond
)

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
//
// Settle is the hot path: one lock, no allocation. BenchmarkTracker and BenchmarkConsume watch it.
type Session struct {
	pool *Pool
	gen  *generation
	ch   *amqp.Channel
	tag  string // the consumer's

	port *port

	inbox   inbox
	ends    <-chan amqp.Delivery // closed when there will be no more deliveries; they come by the port
	closes  chan *amqp.Error
	cancels chan string

	mu      sync.Mutex
	acks    tracker
	idle    bool // nothing waits to be handed over
	ended   bool // nothing more is sent
	timer   *time.Timer
	armed   bool
	settled chan struct{} // closed when nothing is unsettled; nil when nobody waits for it
	ack     func(tag uint64, multiple bool)
}

func newSession(g *generation, prefetch int) *Session {
	s := &Session{pool: g.pool, gen: g, inbox: newInbox(), acks: newTracker(prefetch)}
	s.ack = func(tag uint64, multiple bool) {
		bits := byte(0)
		if multiple {
			bits = bitMultiple
		}
		s.port.settle(basicAck, tag, bits)
	}
	s.timer = time.AfterFunc(time.Hour, s.tick)
	s.timer.Stop()
	return s
}

// open opens the session's channel.
func (s *Session) open() error {
	return s.gen.call(func() (err error) {
		if s.ch, err = s.gen.conn.Channel(); err != nil {
			return fmt.Errorf("open a channel: %w", err)
		}
		s.closes = s.ch.NotifyClose(make(chan *amqp.Error, 1))
		s.port, err = s.gen.openPort(s.ch)
		return err
	})
}

// close closes the channel, if there is one.
func (s *Session) close() {
	if s.port != nil {
		s.port.close()
	}
	if s.ch != nil {
		_ = s.gen.call(s.ch.Close)
	}
}

func (o Outcome) String() string {
	return [...]string{"abandoned", "acknowledged", "rejected", "requeued"}[o&3]
}

// Settle settles the delivery with the given tag. Acknowledgements go out in batches. A second call for
// a tag is refused and counted; a call after the channel has gone is dropped and counted, and the broker
// delivers the message again.
func (s *Session) Settle(tag uint64, o Outcome) {
	n := &s.pool.counters
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.staleLocked() {
		s.endLocked() // counts what was waiting; this one is counted below
	}
	if !s.acks.settle(tag, o) {
		n.double.Add(1)
		return
	}
	n.unsettled.Add(-1)
	switch {
	case o == Abandon:
		n.abandoned.Add(1)
	case s.ended:
		n.stale.Add(1)
	case o == Reject:
		n.rejected.Add(1)
		s.port.settle(basicReject, tag, 0)
	case o == Requeue:
		n.requeued.Add(1)
		s.port.settle(basicNack, tag, bitNackRequeue)
	}
	s.sendLocked()
	if s.acks.unsettled == 0 && s.settled != nil {
		close(s.settled)
		s.settled = nil
	}
}

// abandonIfOpen abandons the delivery unless it has been settled.
func (s *Session) abandonIfOpen(tag uint64) {
	s.mu.Lock()
	i := s.acks.find(tag)
	isOpen := i >= 0 && s.acks.entries[i].fate == open
	s.mu.Unlock()
	if isOpen {
		s.Settle(tag, Abandon)
	}
}

// forgotten settles a delivery that the broker has forgotten already.
func (s *Session) forgotten(tag uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acks.settle(tag, Reject) { // as one that the broker has no longer
		s.pool.counters.unsettled.Add(-1)
		s.pool.counters.acked.Add(1)
	}
}

// Stale reports that the channel has gone: settling does nothing any more.
func (s *Session) Stale() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.staleLocked()
}

func (s *Session) staleLocked() bool { return s.ended || s.port.shut.Load() || s.ch.IsClosed() }

// sendLocked sends the acknowledgements that are due.
func (s *Session) sendLocked() {
	switch {
	case s.acks.waiting() == 0 || s.staleLocked():
	case s.idle && s.acks.unsettled == 0:
		s.flushLocked(true)
	case s.acks.due():
		s.flushLocked(false)
	case !s.armed:
		s.armed = true
		s.timer.Reset(s.delayLocked())
	}
}

func (s *Session) delayLocked() time.Duration {
	if s.acks.pending == 0 {
		return gapDelay
	}
	return ackDelay
}

func (s *Session) flushLocked(all bool) {
	n, frames := s.acks.flush(all, s.ack)
	s.pool.counters.acked.Add(uint64(n))
	s.pool.counters.ackFrames.Add(uint64(frames))
}

// tick sends what has waited long enough. What was acknowledged behind an unsettled delivery waits longer:
// usually the gap closes.
func (s *Session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	if s.staleLocked() {
		return
	}
	s.flushLocked(s.acks.pending == 0)
	s.sendLocked()
}

// handOver records a chunk that is about to be handed over, and marks what cannot be read.
func (s *Session) handOver(chunk []Delivery) {
	n := &s.pool.counters
	n.delivered.Add(uint64(len(chunk)))
	if unreadable := unmarkAll(chunk); unreadable > 0 {
		n.unreadable.Add(unreadable)
	}
	n.unsettled.Add(int64(len(chunk)))
	s.mu.Lock()
	s.idle = false
	for i := range chunk {
		chunk[i].Session = s
		s.acks.add(chunk[i].DeliveryTag)
	}
	s.mu.Unlock()
}

// rest says that nothing waits to be handed over: acknowledgements need not wait for company.
func (s *Session) rest() {
	s.mu.Lock()
	s.idle = true
	s.sendLocked()
	s.mu.Unlock()
}

// end stops sending: with flush after all that is waiting has gone. What then is not sent is stale.
func (s *Session) end(flush bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if flush && !s.staleLocked() {
		s.flushLocked(true)
	}
	s.endLocked()
}

func (s *Session) endLocked() {
	if s.ended {
		return
	}
	s.ended = true
	s.timer.Stop()
	s.pool.counters.stale.Add(uint64(s.acks.waiting()))
}

// allSettled returns a channel that is closed when nothing is unsettled.
func (s *Session) allSettled() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settled == nil {
		s.settled = make(chan struct{})
	}
	c := s.settled
	if s.acks.unsettled == 0 {
		close(s.settled)
		s.settled = nil
	}
	return c
}
