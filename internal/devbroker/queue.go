package devbroker

import (
	"cmp"
	"slices"
	"time"
)

// queue keeps messages until they are acknowledged.
type queue struct {
	vhost               *vhost
	name                string
	durable, autoDelete bool
	exclusive           *connection // nil: not
	args                table
	limits

	ready     []*entry // those of higher priority first, then by seq
	bytes     int      // of the ready ones
	consumers []*consumer
	turn      int // the consumer that is asked first
	had       bool
	used      time.Time   // when it was last used, for x-expires
	timer     *time.Timer // of the next thing that expires
	round     uint64      // see once
	deleted   bool
}

// once reports whether it is asked for the first time in a round (see nextRound).
func (q *queue) once(round uint64) bool {
	first := q.round != round
	q.round = round
	return first
}

func (q *queue) priority(e *entry) int { return min(int(e.properties.priority), q.maxPriority) }

// before is the order of a queue.
func (q *queue) before(a, b *entry) int {
	return cmp.Or(cmp.Compare(q.priority(b), q.priority(a)), cmp.Compare(a.seq, b.seq))
}

// insert puts an entry where it belongs: a new one at the end, one that came back where it was.
func (q *queue) insert(e *entry) {
	at := len(q.ready)
	if at > 0 && q.before(q.ready[at-1], e) > 0 {
		at, _ = slices.BinarySearchFunc(q.ready, e, q.before)
	}
	q.ready = slices.Insert(q.ready, at, e)
	q.bytes += len(e.body)
}

// merge is insert for many: one by one, each would push all that is behind it.
func (q *queue) merge(entries []*entry) {
	switch len(entries) {
	case 0:
		return
	case 1:
		q.insert(entries[0])
		return
	}
	q.ready = append(q.ready, entries...)
	slices.SortFunc(q.ready, q.before)
	for _, e := range entries {
		q.bytes += len(e.body)
	}
}

// shift takes the first entry from the queue.
func (q *queue) shift() *entry {
	e := q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	q.bytes -= len(e.body)
	return e
}

// publish takes a message. It returns false if the queue refuses it.
func (q *queue) publish(m *message) bool {
	if q.rejectPublish && q.full(1, len(m.body)) {
		if q.toDLX {
			q.deadLetter(m, "maxlen")
		}
		return false
	}
	q.vhost.seq++
	e := &entry{message: m, seq: q.vhost.seq}
	q.vhost.server.remember(m)
	q.insert(e)
	q.deliver()
	ttl := q.ttl
	if own, ok := expiration(m); ok && (ttl < 0 || own < ttl) {
		ttl = own
	}
	if ttl >= 0 { // set only now: one that lives for no time still goes to a consumer that waits for it
		e.expires = time.Now().Add(ttl)
	}
	q.trim()
	q.expire()
	return true
}

// trim drops what is too much at the head.
func (q *queue) trim() {
	for q.full(0, 0) && len(q.ready) > 0 {
		q.drop(q.shift(), "maxlen")
	}
}

func (q *queue) full(more, bytes int) bool {
	return q.maxLength >= 0 && len(q.ready)+more > q.maxLength || q.maxBytes >= 0 && q.bytes+bytes > q.maxBytes
}

// deliver hands messages to consumers that may take them, in turn.
func (q *queue) deliver() {
	for q.hasMessage() {
		c := q.next()
		if c == nil {
			break
		}
		c.deliver(q.shift())
	}
	q.expire()
}

// expiredAtOnce is how many messages a queue drops before others have their turn.
const expiredAtOnce = 1000

// hasMessage drops what has expired at the head of the queue, and reports whether there is a message then. What has expired behind that waits,
// as in RabbitMQ; where more have expired than are dropped at once, the timer goes on with them.
func (q *queue) hasMessage() bool {
	for range expiredAtOnce {
		if len(q.ready) == 0 {
			return false
		}
		if e := q.ready[0]; e.expires.IsZero() || time.Now().Before(e.expires) {
			return true
		}
		q.drop(q.shift(), "expired")
	}
	return false
}

// drop ends an entry that nobody acknowledged: it goes to the dead-letter exchange, if there is one. What a consumer held of a queue that
// has been deleted goes nowhere.
func (q *queue) drop(e *entry, reason string) {
	q.vhost.server.forget(e.message)
	if !q.deleted {
		q.deadLetter(e.message, reason)
	}
}

// next returns the consumer whose turn it is, or nil if none may take anything.
func (q *queue) next() *consumer {
	if q.single && len(q.consumers) > 0 {
		if q.consumers[0].mayTake() {
			return q.consumers[0]
		}
		return nil
	}
	var best *consumer
	bestAt := 0
	for i := range q.consumers {
		at := (q.turn + i) % len(q.consumers)
		if c := q.consumers[at]; c.mayTake() && (best == nil || c.priority > best.priority) {
			best, bestAt = c, at
		}
	}
	if best != nil {
		q.turn = bestAt + 1
	}
	return best
}

// take takes the first message for basic.get; nil if there is none.
func (q *queue) take() (e *entry) {
	if q.hasMessage() {
		e = q.shift()
		q.hasMessage()
	}
	q.touch()
	return e
}

// touch notes that the queue is used.
func (q *queue) touch() {
	q.used = time.Now()
	q.expire()
}

// giveBack puts messages back that were delivered: where they were, or, in a quorum queue that was asked to by a client, at the end.
func (q *queue) giveBack(entries []*entry, asked bool) {
	var back []*entry
	for _, e := range entries {
		e.redelivered = true
		e.deliveries++
		if q.deleted || q.quorum() && q.deliveryLimit >= 0 && e.deliveries > q.deliveryLimit {
			q.drop(e, "delivery_limit")
		} else {
			if asked && q.quorum() {
				q.vhost.seq++
				e.seq = q.vhost.seq
			}
			back = append(back, e)
		}
	}
	q.merge(back)
	q.trim()
	q.deliver()
}

// expire sets the timer for the first message, or the queue itself, to expire.
func (q *queue) expire() {
	var next time.Time
	if len(q.ready) > 0 {
		next = q.ready[0].expires
	}
	if q.deleted || q.vhost.server.closed {
		return
	}
	if q.expires >= 0 && len(q.consumers) == 0 {
		if end := q.used.Add(q.expires); next.IsZero() || end.Before(next) {
			next = end
		}
	}
	switch {
	case next.IsZero():
		if q.timer != nil {
			q.timer.Stop()
		}
	case q.timer == nil:
		q.timer = time.AfterFunc(time.Until(next), q.tick)
	default:
		q.timer.Reset(time.Until(next))
	}
}

// tick is called by the timer.
func (q *queue) tick() {
	s := q.vhost.server
	s.lock()
	defer s.mu.Unlock()
	if q.deleted || s.closed {
		return
	}
	if q.expires >= 0 && len(q.consumers) == 0 && !time.Now().Before(q.used.Add(q.expires)) {
		q.vhost.deleteQueues(q)
		return
	}
	q.deliver()
}

func (q *queue) subscribe(c *consumer) {
	q.consumers = append(q.consumers, c)
	q.had = true
	q.deliver()
}

// unsubscribe takes the consumers away that are gone; a queue that is deleted with its last consumer goes.
func (q *queue) unsubscribe() {
	q.consumers = slices.DeleteFunc(q.consumers, func(c *consumer) bool { return c.gone })
	if len(q.consumers) == 0 && q.autoDelete && q.had {
		q.vhost.deleteQueues(q)
		return
	}
	q.used = time.Now()
	q.deliver()
}

func (q *queue) purge() (n int) {
	n = len(q.ready)
	for _, e := range q.ready {
		q.vhost.server.forget(e.message)
	}
	q.ready, q.bytes = nil, 0
	return n
}

// deleteQueues deletes queues, their bindings, and tells their consumers.
func (v *vhost) deleteQueues(queues ...*queue) (messages int) {
	for _, q := range queues {
		messages += q.end()
	}
	for _, x := range v.exchanges {
		v.unbind(x, func(b *binding) bool { return b.queue != nil && b.queue.deleted })
	}
	return messages
}

// end ends a queue, but for its bindings.
func (q *queue) end() (messages int) {
	if q.deleted {
		return 0
	}
	q.deleted = true
	delete(q.vhost.queues, q.name)
	q.vhost.server.undefine(q.args)
	if q.timer != nil {
		q.timer.Stop()
	}
	for _, c := range q.consumers {
		c.cancelled()
	}
	q.consumers = nil
	return q.purge()
}

// locked is what RabbitMQ says where a queue is exclusive, or should be.
func (q *queue) locked() *fault {
	return resourceLocked("cannot obtain exclusive access to locked queue '%s' in vhost '%s'. It could be originally declared on another connection "+
		"or the exclusive property value does not match that of the original declaration.", q.name, q.vhost.name)
}

func (q *queue) sameAs(want *queue) *fault {
	switch {
	case q.durable != want.durable:
		return inequivalent("durable", "queue", q.name, q.vhost.name, want.durable, q.durable)
	case q.autoDelete != want.autoDelete:
		return inequivalent("auto_delete", "queue", q.name, q.vhost.name, want.autoDelete, q.autoDelete)
	case q.exclusive != want.exclusive:
		return q.locked()
	}
	for _, key := range []string{
		"x-expires", "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-length", "x-max-length-bytes",
		"x-max-priority", "x-overflow", "x-queue-type", "x-single-active-consumer", "x-delivery-limit",
	} {
		w, _ := want.args.get(key)
		h, _ := q.args.get(key)
		if key == "x-queue-type" && (w == nil && h == "classic" || w == "classic" && h == nil) {
			continue
		}
		if !sameValue(w, h) {
			return inequivalent(key, "queue", q.name, q.vhost.name, w, h)
		}
	}
	return nil
}
