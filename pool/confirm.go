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

	closes   chan *amqp.Error
	returns  chan amqp.Return // as long as the window, so that the library's reader never waits
	more     chan struct{}    // there is something in flight again
	finished chan struct{}    // closed when the channel has gone and everything has its outcome

	ring        []inflight // what is not confirmed, oldest at head
	head, count int
	gone        bool
	reason      *amqp.Error // why it has gone, if the broker or the library has said
	role        int         // which goroutine follows the confirms
	telling     bool        // that one is calling back
}

// inflight is a message that is not confirmed.
type inflight struct {
	m            *Publishing
	done         Completion
	pub          *Publisher
	confirmation *amqp.DeferredConfirmation
	returned     *ErrReturned
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
	if c.count == 1 {
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
		oldest := c.oldest()
		if oldest == nil {
			close(c.finished)
			return
		}
		<-oldest.Done()
		batch = c.collect(batch[:0])
		for i := range batch {
			batch[i].done.Done(batch[i].err)
		}
		if !c.told(batch, role) {
			return
		}
	}
}

// oldest returns the oldest confirmation that is owed, as soon as there is one; nil when there will be none.
func (c *channel) oldest() *amqp.DeferredConfirmation {
	for {
		c.lane.mu.Lock()
		if c.count > 0 {
			oldest := c.at(0).confirmation
			c.lane.mu.Unlock()
			return oldest
		}
		gone := c.gone
		c.lane.mu.Unlock()
		if gone {
			return nil
		}
		select {
		case <-c.more:
		case err := <-c.closes:
			c.leave(err)
		}
	}
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

// collect takes what has been confirmed, as far as there is no gap, from the ring.
func (c *channel) collect(batch []outcome) []outcome {
	l := c.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	for c.count > 0 {
		x := c.at(0)
		if !decided(x.confirmation) {
			break
		}
		c.takeReturns() // a return comes before its confirm
		batch = append(batch, outcome{x.done, x.pub, c.outcome(x)})
		*x = inflight{}
		c.head = (c.head + 1) % len(c.ring)
		c.count--
	}
	c.telling = true
	l.wakeLocked()
	return batch
}

func decided(d *amqp.DeferredConfirmation) bool {
	select {
	case <-d.Done():
		return true
	default:
		return false
	}
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

// outcome says how a message ended whose confirmation is decided.
func (c *channel) outcome(x *inflight) error {
	n := &c.lane.pool.counters
	switch {
	case x.returned != nil:
		n.returned.Add(1)
		return x.returned
	case x.confirmation.Acked():
		n.confirmed.Add(1)
		return nil
	case !c.ch.IsClosed():
		n.nacked.Add(1)
		return ErrNacked
	}
	return c.loss(x.m)
}

// loss says how a message ended whose channel has gone.
func (c *channel) loss(m *Publishing) error {
	if !c.gone {
		select {
		case err := <-c.closes:
			c.leaveLocked(err)
		default:
			c.leaveLocked(nil)
		}
	}
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
