package devbroker

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// channel is one of a connection's. Everything here belongs to the server's lock.
type channel struct {
	conn   *connection
	number uint16

	confirms  bool
	published uint64 // since confirm.select

	prefetch  int // of each consumer that comes; 0: no limit
	limit     int // of all consumers together; 0: no limit
	consumers map[string]*consumer
	consumed  int      // what consumers hold unacknowledged, those that have been cancelled included
	answers   *answers // nil: it asks for none
	lastTag   uint64
	unacked   []*delivery // by tag

	incoming  *content // a message of which more frames are to come
	lastQueue string   // the one declared last, which an empty name stands for
	closing   bool     // channel.close has been sent
}

// delivery is a message that waits for its acknowledgement.
type delivery struct {
	tag      uint64
	entry    *entry
	queue    *queue
	consumer *consumer // nil: of basic.get
}

// content is a message that is being received.
type content struct {
	message
	mandatory, immediate bool
	hasHeader            bool
	size                 uint64
	received             int // what has come of it takes so much memory, about
}

func newChannel(c *connection, number uint16) *channel {
	return &channel{conn: c, number: number, consumers: map[string]*consumer{}}
}

// methods are those that a client may send on a channel.
var methods = map[method]func(*channel, *arguments) *fault{
	channelFlow:       (*channel).flow,
	channelClose:      (*channel).close,
	exchangeDeclare:   (*channel).declareExchange,
	exchangeDelete:    (*channel).deleteExchange,
	exchangeBind:      (*channel).bindExchange,
	exchangeUnbind:    (*channel).unbindExchange,
	queueDeclare:      (*channel).declareQueue,
	queueBind:         (*channel).bindQueue,
	queueUnbind:       (*channel).unbindQueue,
	queuePurge:        (*channel).purgeQueue,
	queueDelete:       (*channel).deleteQueue,
	basicQos:          (*channel).qos,
	basicConsume:      (*channel).consume,
	basicCancel:       (*channel).cancel,
	basicPublish:      (*channel).publish,
	basicGet:          (*channel).get,
	basicAck:          (*channel).ack,
	basicReject:       (*channel).reject,
	basicNack:         (*channel).nack,
	basicRecover:      (*channel).recover,
	basicRecoverAsync: (*channel).recoverAsync,
	confirmSelect:     (*channel).selectConfirms,
}

// methodIn returns the method of a method frame; 0 if it has none.
func methodIn(f frame) method {
	if f.kind != frameMethod || len(f.payload) < 4 {
		return 0
	}
	return method(binary.BigEndian.Uint32(f.payload))
}

// take handles a frame.
func (ch *channel) take(f frame) *fault {
	m := methodIn(f)
	switch {
	case ch.closing:
		switch m { // all else is discarded
		case channelClose:
			ch.send(channelCloseOK, nothing)
		case channelCloseOK:
			ch.forget()
		}
		return nil
	case ch.incoming != nil:
		if bad := ch.receive(f); bad != nil {
			return bad.over(basicPublish)
		}
		return nil
	case m == 0:
		return notAMethod()
	}
	handle := methods[m]
	if handle == nil {
		if m>>16 == classTx {
			return notImplemented("transactions: this broker is for development; use publisher confirms").over(m)
		}
		return commandInvalid("unimplemented method").over(m)
	}
	a := &arguments{b: f.payload[4:]}
	bad := handle(ch, a)
	if a.bad {
		bad = hard(501, "FRAME_ERROR", "cannot decode %s", erlang(f.payload[4:]))
	}
	if bad != nil {
		bad.over(m)
	}
	return bad
}

func (ch *channel) send(m method, fill func([]byte) []byte) { ch.conn.sendMethod(ch.number, m, fill) }

// answer sends a method unless the client does not wait for it.
func (ch *channel) answer(nowait bool, m method, fill func([]byte) []byte) {
	if !nowait {
		ch.send(m, fill)
	}
}

// flag returns one of the bits that are packed in an octet.
func flag(octet byte, n int) bool { return octet>>n&1 == 1 }

func (ch *channel) flow(a *arguments) *fault {
	if !flag(a.octet(), 0) {
		return notImplemented("active=false")
	}
	ch.send(channelFlowOK, func(b []byte) []byte { return append(b, 1) })
	return nil
}

func (ch *channel) close(a *arguments) *fault {
	release(ch)
	ch.forget()
	ch.send(channelCloseOK, nothing)
	return nil
}

// forget takes the channel, which has been released, off the connection.
func (ch *channel) forget() {
	delete(ch.conn.channels, ch.number)
	ch.conn.server.undefine(nil)
}

// release gives back everything that channels have. Those that end together are given together: what one held must not go to another.
func release(channels ...*channel) {
	var held []*delivery
	var queues []*queue
	for _, ch := range channels {
		ch.incoming = ch.incoming.drop(ch.conn.server)
		ch.cancelAnswers()
		for _, c := range ch.consumers {
			c.end()
			queues = append(queues, c.queue)
		}
		held = append(held, ch.unacked...)
		ch.unacked = nil
	}
	giveBack(held, false)
	for _, q := range each(queues) {
		q.unsubscribe()
	}
}

// each returns queues without those that it has had already.
func each(queues []*queue) []*queue {
	if len(queues) < 2 {
		return queues
	}
	round := queues[0].vhost.nextRound()
	return slices.DeleteFunc(queues, func(q *queue) bool { return !q.once(round) })
}

// giveBack returns messages to their queues, as the client has asked for, or because it has gone.
func giveBack(held []*delivery, asked bool) {
	var queues []*queue
	entries := map[*queue][]*entry{}
	for _, d := range held {
		d.settle()
		if entries[d.queue] == nil {
			queues = append(queues, d.queue)
		}
		entries[d.queue] = append(entries[d.queue], d.entry)
	}
	for _, q := range queues {
		q.giveBack(entries[q], asked)
	}
}

// settle takes a delivery off the count of its consumer.
func (d *delivery) settle() {
	if c := d.consumer; c != nil {
		c.unacked--
		c.channel.consumed--
	}
}

// deliverAgain has messages delivered that may have waited for the channel.
func (ch *channel) deliverAgain() {
	var queues []*queue
	for _, c := range ch.consumers {
		queues = append(queues, c.queue)
	}
	for _, q := range each(queues) {
		q.deliver()
	}
}

func (ch *channel) vhost() *vhost { return ch.conn.vhost }

// queue finds a queue that this connection may use. An empty name is the queue that the channel declared last.
func (ch *channel) queue(name string) (*queue, *fault) {
	if name = cmp.Or(name, ch.lastQueue); name == "" {
		return nil, notFound("no previously declared queue")
	}
	q := ch.vhost().queues[name]
	if q == nil {
		return nil, notFound("no queue '%s' in vhost '%s'", name, ch.vhost().name)
	}
	return q, ch.mayUse(q)
}

func (ch *channel) mayUse(q *queue) *fault {
	if q.exclusive != nil && q.exclusive != ch.conn {
		return q.locked()
	}
	return nil
}

func (ch *channel) exchange(name string) (*exchange, *fault) {
	if x := ch.vhost().exchanges[name]; x != nil {
		return x, nil
	}
	return nil, notFound("no exchange '%s' in vhost '%s'", name, ch.vhost().name)
}

// named is exchange for all but the default exchange, which cannot be declared, bound or deleted.
func (ch *channel) named(name string) (*exchange, *fault) {
	if name == "" {
		return nil, accessRefused("operation not permitted on the default exchange")
	}
	return ch.exchange(name)
}

func (ch *channel) qos(a *arguments) *fault {
	size, count, all := a.long(), int(a.short()), flag(a.octet(), 0)
	switch {
	case a.bad:
		return nil
	case size != 0:
		return notImplemented("prefetch_size!=0 (%d)", size)
	case all:
		ch.limit = count
	default:
		ch.prefetch = count
	}
	ch.send(basicQosOK, nothing)
	ch.deliverAgain()
	return nil
}

func (ch *channel) selectConfirms(a *arguments) *fault {
	nowait := flag(a.octet(), 0)
	ch.confirms = ch.confirms || !a.bad
	ch.answer(nowait || a.bad, confirmSelectOK, nothing)
	return nil
}
