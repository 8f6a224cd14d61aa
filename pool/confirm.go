package pool

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// reliefDelay is how long a callback may keep a lane from following its confirms before another goroutine
// takes over, when a sender waits.
const reliefDelay = 5 * time.Millisecond

// accessRecheck is how long it is taken for granted that an exchange is closed to us.
const accessRecheck = 30 * time.Second

// channel is one channel of a lane's, from its opening to the last outcome of what was sent on it. Its
// fields below ch belong to the lane's lock.
type channel struct {
	lane *lane
	gen  *generation
	ch   *amqp.Channel
	port *port

	closes   chan *amqp.Error
	more     chan struct{} // the oldest message in flight has an outcome
	finished chan struct{} // closed when the channel has gone and everything has its outcome

	ring        []inflight // what is not told of its outcome, oldest at head
	head, count int
	first       uint64 // the sequence number of the oldest, counted from 0
	gone        bool
	reason      *amqp.Error // why it has gone, if the broker or the library has said
	role        int         // which goroutine follows the confirms
	telling     bool        // that one is calling back
}

// inflight is a message that is not confirmed.
type inflight struct {
	m        *Publishing
	done     Completion
	pub      *Publisher
	returned *ErrReturned
	decided  bool // the broker has said basic.ack, or
	nacked   bool // basic.nack
}

// outcome is what a sender is to be told.
type outcome struct {
	done Completion
	pub  *Publisher
	err  error
}

func (c *channel) at(i int) *inflight { return &c.ring[(c.head+i)%len(c.ring)] }

func (c *channel) push(x inflight) {
	*c.at(c.count) = x
	c.count++
	c.lane.open++
	x.pub.open++
}

// confirmed notes what the broker says of a message, or of all up to it. It is called by the reader goroutine.
func (c *channel) confirmed(tag uint64, multiple, ack bool) {
	l := c.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	last := int64(tag-c.first) - 1 // the broker counts from 1
	if tag == 0 && multiple {
		last = int64(c.count) - 1 // 0 stands for all
	}
	if last < 0 || last >= int64(c.count) {
		return // told already, as unknown
	}
	from := last
	if multiple {
		from = 0
	}
	for i := from; i <= last; i++ {
		if x := c.at(int(i)); !x.decided {
			x.decided, x.nacked = true, !ack
		}
	}
	if from == 0 {
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// follow waits for confirms, oldest first, and calls back, until the channel has gone and everything has
// its outcome, or another goroutine has taken over.
func (c *channel) follow(role int) {
	var batch []outcome
	for {
		batch = c.collect(batch[:0])
		if len(batch) == 0 {
			if c.isOver() {
				close(c.finished)
				return
			}
			select {
			case <-c.more:
			case err := <-c.closes:
				c.leave(err)
			}
			continue
		}
		for i := range batch {
			batch[i].done.Done(batch[i].err)
		}
		if !c.told(batch, role) {
			return
		}
	}
}

// isOver reports that nothing more can come.
func (c *channel) isOver() bool {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	return c.gone && c.count == 0
}

// leave takes the channel from its senders.
func (c *channel) leave(err *amqp.Error) {
	l := c.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	c.leaveLocked(err)
}

func (c *channel) leaveLocked(err *amqp.Error) {
	if err != nil && c.reason == nil {
		c.reason = err
		c.blame()
	}
	c.gone = true
	if c.lane.channel == c {
		c.lane.channel = nil
	}
}

// collect takes what has an outcome, as far as there is no gap, from the ring: all of it once the channel has gone.
func (c *channel) collect(batch []outcome) []outcome {
	l := c.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	for c.count > 0 {
		x := c.at(0)
		if !x.decided && !c.gone {
			break
		}
		batch = append(batch, outcome{x.done, x.pub, c.outcome(x)})
		*x = inflight{}
		c.head = (c.head + 1) % len(c.ring)
		c.count--
		c.first++
	}
	if len(batch) > 0 {
		c.telling = true
		l.wakeLocked()
	}
	return batch
}

// told counts outcomes that have been told, and reports whether the caller still has its role.
func (c *channel) told(batch []outcome, role int) bool {
	l := c.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		batch[i].pub.toldLocked()
		batch[i] = outcome{}
	}
	l.open -= len(batch)
	l.toldLocked()
	if c.role != role {
		return false
	}
	c.telling = false
	return true
}

// relieve lets another goroutine follow the confirms of lanes whose own is kept by a callback: the
// callback may be waiting for room that only confirms can make.
func (p *Pool) relieve() {
	for _, l := range p.lanes {
		l.mu.Lock()
		if c := l.channel; c != nil {
			c.relieveLocked()
		}
		l.mu.Unlock()
	}
}

func (c *channel) relieveLocked() {
	role := c.role + 1
	if c.telling && c.lane.pool.spawn(func() { c.follow(role) }) {
		c.role, c.telling = role, false
	}
}

// outcome says how a message ended.
func (c *channel) outcome(x *inflight) error {
	n := &c.lane.pool.counters
	switch {
	case x.returned != nil:
		n.returned.Add(1)
		return x.returned
	case !x.decided:
		return c.loss(x.m)
	case x.nacked:
		n.nacked.Add(1)
		return ErrNacked
	}
	n.confirmed.Add(1)
	return nil
}

// loss says how a message ended whose channel has gone.
func (c *channel) loss(m *Publishing) error {
	n := &c.lane.pool.counters
	if c.reason != nil && c.reason.Server {
		if err := c.fault(m); err != nil {
			n.refused.Add(1)
			return err
		}
	}
	n.unknown.Add(1)
	if c.reason == nil {
		return ErrUnconfirmed
	}
	return fmt.Errorf("%w (%w)", ErrUnconfirmed, c.reason)
}

var messageSize = regexp.MustCompile(`message size \d+ .*max size (\d+)`)

// fault returns the error of a message over which the broker has closed the channel, or nil for the others.
func (c *channel) fault(m *Publishing) error {
	switch c.reason.Code {
	case amqp.NotFound:
		if c.names(m.Exchange) {
			return &ErrNoExchange{m.Exchange, c.reason.Reason}
		}
	case amqp.AccessRefused:
		if c.names(m.Exchange) {
			return &ErrAccessRefused{m.Exchange, c.gen.user, c.reason.Reason}
		}
	case amqp.PreconditionFailed:
		if found := messageSize.FindStringSubmatch(c.reason.Reason); found != nil {
			if limit, err := strconv.Atoi(found[1]); err == nil && len(m.Body) > limit {
				return &ErrTooLarge{"body", len(m.Body), limit}
			}
		}
	}
	return nil
}

// names reports that the broker's reason names the exchange.
func (c *channel) names(exchange string) bool {
	return strings.Contains(c.reason.Reason, "exchange '"+exchange+"'")
}

// blame remembers the exchange that the broker has closed the channel over.
func (c *channel) blame() {
	if c.reason.Server {
		c.lane.pool.log.Warn("the broker closed a publishing channel", "error", c.reason)
	}
	for i := range c.count {
		m := c.at(i).m
		err := c.fault(m)
		switch err.(type) {
		case *ErrNoExchange:
			c.gen.exchanges.missing(m.Exchange, err, recheck)
		case *ErrAccessRefused:
			c.gen.exchanges.missing(m.Exchange, err, accessRecheck)
		}
	}
}
