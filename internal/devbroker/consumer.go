package devbroker

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// consumer is a subscription of a channel to a queue.
type consumer struct {
	channel          *channel
	queue            *queue
	tag              string
	noAck, exclusive bool
	prefetch         int
	priority         int64
	unacked          int
	gone             bool
}

func (ch *channel) consume(a *arguments) *fault {
	a.short()
	name, tag, bits := a.shortstr(), a.shortstr(), a.octet()
	args := a.table()
	if a.bad {
		return nil
	}
	tag = cmp.Or(tag, "amq.ctag-"+random())
	if name == directReplyTo {
		return ch.consumeAnswers(tag, flag(bits, 1), flag(bits, 3))
	}
	q, f := ch.queue(name)
	if f != nil {
		return f
	}
	c := &consumer{channel: ch, queue: q, tag: tag, noAck: flag(bits, 1), exclusive: flag(bits, 2) && !q.quorum(), prefetch: ch.prefetch}
	if v, ok := args.get("x-priority"); ok {
		if c.priority, ok = integer(v); !ok {
			return invalidArg("x-priority", "queue", q.name, q.vhost.name, notInteger(v))
		}
	}
	switch {
	case ch.consumers[tag] != nil:
		return notAllowed("attempt to reuse consumer tag '%s'", tag)
	case ch.limit > 0 && q.quorum():
		return notImplemented("queue '%s' in vhost '%s' does not support global qos", q.name, q.vhost.name)
	case c.exclusive && (q.single || len(q.consumers) > 0), slices.ContainsFunc(q.consumers, func(o *consumer) bool { return o.exclusive }):
		return accessRefused("queue '%s' in vhost '%s' in exclusive use", q.name, q.vhost.name)
	}
	if f = ch.conn.server.define(nil); f != nil {
		return f
	}
	ch.consumers[tag] = c
	ch.answer(flag(bits, 3), basicConsumeOK, func(b []byte) []byte { return appendShortstr(b, tag) })
	q.subscribe(c)
	return nil
}

func (ch *channel) cancel(a *arguments) *fault {
	tag, nowait := a.shortstr(), flag(a.octet(), 0)
	if a.bad {
		return nil
	}
	c := ch.consumers[tag]
	if c != nil {
		c.end()
	}
	if ch.answers != nil && ch.answers.tag == tag {
		ch.cancelAnswers()
	}
	ch.answer(nowait, basicCancelOK, func(b []byte) []byte { return appendShortstr(b, tag) })
	if c != nil {
		c.queue.unsubscribe()
	}
	return nil
}

// end takes the consumer off its channel; the queue is told by unsubscribe.
func (c *consumer) end() {
	c.gone = true
	delete(c.channel.consumers, c.tag)
	c.channel.conn.server.undefine(nil)
}

// cancelled tells the client that the queue has gone.
func (c *consumer) cancelled() {
	c.end()
	if c.channel.conn.cancelOK {
		c.channel.send(basicCancel, func(b []byte) []byte { return append(appendShortstr(b, c.tag), 1) })
	}
}

// mayTake reports that the consumer may be sent one more message.
func (c *consumer) mayTake() bool {
	switch {
	case c.gone || c.channel.closing || !c.channel.conn.mayDeliver():
		return false
	case c.noAck:
		return true
	}
	return (c.prefetch == 0 || c.unacked < c.prefetch) && (c.channel.limit == 0 || c.channel.consumed < c.channel.limit)
}

// deliver sends a message to the consumer.
func (c *consumer) deliver(e *entry) {
	ch := c.channel
	tag := ch.hold(e, c.queue, c, c.noAck)
	p := e.properties
	if c.queue.quorum() && e.deliveries > 0 {
		p.setHeader("x-delivery-count", int64(e.deliveries))
	}
	b := appendFrame(nil, frameMethod, ch.number, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(basicDeliver))
		b = appendShortstr(b, c.tag)
		return e.appendEnvelope(b, tag)
	})
	ch.conn.send(e.appendContent(b, ch.number, &p, ch.conn.frameMax))
}

// hold gives a delivery its tag, and remembers it until it is acknowledged.
func (ch *channel) hold(e *entry, q *queue, c *consumer, noAck bool) (tag uint64) {
	ch.lastTag++
	if noAck {
		q.vhost.server.forget(e.message)
		return ch.lastTag
	}
	if c != nil {
		c.unacked++
		ch.consumed++
	}
	ch.unacked = append(ch.unacked, &delivery{ch.lastTag, e, q, c})
	return ch.lastTag
}

// appendEnvelope appends what basic.deliver and basic.get-ok say of a message.
func (e *entry) appendEnvelope(b []byte, tag uint64) []byte {
	b = binary.BigEndian.AppendUint64(b, tag)
	if e.redelivered {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return appendShortstr(appendShortstr(b, e.exchange), e.key)
}

func (ch *channel) get(a *arguments) *fault {
	a.short()
	name, noAck := a.shortstr(), flag(a.octet(), 0)
	if a.bad {
		return nil
	}
	q, f := ch.queue(name)
	if f != nil {
		return f
	}
	if q.single && q.quorum() {
		return resourceLocked("cannot obtain access to locked queue '%s' in vhost '%s'. basic.get operations are not supported by quorum queues "+
			"with single active consumer", q.name, q.vhost.name)
	}
	e := q.take()
	if e == nil {
		ch.send(basicGetEmpty, func(b []byte) []byte { return appendShortstr(b, "") })
		return nil
	}
	tag := ch.hold(e, q, nil, noAck)
	p := e.properties
	if q.quorum() { // which says it of the first delivery too, other than to a consumer
		p.setHeader("x-delivery-count", int64(e.deliveries))
	}
	b := appendFrame(nil, frameMethod, ch.number, func(b []byte) []byte {
		b = e.appendEnvelope(binary.BigEndian.AppendUint32(b, uint32(basicGetOK)), tag)
		return binary.BigEndian.AppendUint32(b, uint32(len(q.ready)))
	})
	ch.conn.send(e.appendContent(b, ch.number, &p, ch.conn.frameMax))
	return nil
}

// collect takes deliveries off the list: one, or all up to one; tag 0 with multiple is all.
func (ch *channel) collect(tag uint64, multiple bool) (taken []*delivery, f *fault) {
	at, found := slices.BinarySearchFunc(ch.unacked, tag, func(d *delivery, tag uint64) int { return cmp.Compare(d.tag, tag) })
	switch {
	case tag == 0 && multiple:
		taken, ch.unacked = ch.unacked, nil
	case !found:
		return nil, preconditionFailed("unknown delivery tag %d", tag)
	case multiple:
		taken, ch.unacked = ch.unacked[:at+1:at+1], ch.unacked[at+1:]
	case at == 0:
		taken, ch.unacked = ch.unacked[:1:1], ch.unacked[1:]
	default:
		taken = []*delivery{ch.unacked[at]}
		ch.unacked = slices.Delete(ch.unacked, at, at+1)
	}
	return taken, nil
}

func (ch *channel) ack(a *arguments) *fault {
	tag, multiple := a.longlong(), flag(a.octet(), 0)
	if a.bad {
		return nil
	}
	taken, f := ch.collect(tag, multiple)
	for _, d := range taken {
		d.settle()
		ch.conn.server.forget(d.entry.message)
	}
	ch.deliverAgain()
	return f
}

func (ch *channel) reject(a *arguments) *fault {
	tag, requeue := a.longlong(), flag(a.octet(), 0)
	return ch.refuse(a, tag, false, requeue)
}

func (ch *channel) nack(a *arguments) *fault {
	tag, bits := a.longlong(), a.octet()
	return ch.refuse(a, tag, flag(bits, 0), flag(bits, 1))
}

func (ch *channel) refuse(a *arguments, tag uint64, multiple, requeue bool) *fault {
	if a.bad {
		return nil
	}
	taken, f := ch.collect(tag, multiple)
	if requeue {
		giveBack(taken, true)
	} else {
		for _, d := range taken {
			d.settle()
			d.queue.drop(d.entry, "rejected")
		}
	}
	ch.deliverAgain()
	return f
}

func (ch *channel) recover(a *arguments) *fault {
	f := ch.recoverAsync(a)
	if f == nil && !a.bad {
		ch.send(basicRecoverOK, nothing)
	}
	return f
}

func (ch *channel) recoverAsync(a *arguments) *fault {
	requeue := flag(a.octet(), 0)
	switch {
	case a.bad:
		return nil
	case !requeue:
		return notImplemented("requeue=false")
	}
	held := ch.unacked
	ch.unacked = nil
	giveBack(held, true)
	ch.deliverAgain()
	return nil
}
