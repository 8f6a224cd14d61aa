package devbroker

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
)

func (ch *channel) declareExchange(a *arguments) *fault {
	a.short()
	x := &exchange{name: a.shortstr(), kind: a.shortstr()}
	bits := a.octet()
	x.durable, x.autoDelete, x.internal, x.args = flag(bits, 1), flag(bits, 2), flag(bits, 3), a.table()
	if a.bad {
		return nil
	}
	if _, f := ch.named(x.name); f != nil && (x.name == "" || flag(bits, 0)) {
		return f
	}
	if !flag(bits, 0) {
		if f := ch.vhost().declareExchange(x); f != nil {
			return f
		}
	}
	ch.answer(flag(bits, 4), exchangeDeclareOK, nothing)
	return nil
}

func (ch *channel) deleteExchange(a *arguments) *fault {
	a.short()
	name, bits := a.shortstr(), a.octet()
	if a.bad {
		return nil
	}
	x, f := ch.named(name)
	switch {
	case name == "":
		return f
	case len(name) >= 4 && name[:4] == "amq.":
		return accessRefused("deletion of system exchange '%s' in vhost '%s' not allowed", name, ch.vhost().name)
	case x != nil && flag(bits, 0) && len(x.bindings) > 0:
		return preconditionFailed("exchange '%s' in vhost '%s' in use", name, ch.vhost().name)
	case x != nil:
		ch.vhost().deleteExchange(x)
	}
	ch.answer(flag(bits, 1), exchangeDeleteOK, nothing)
	return nil
}

func (ch *channel) bindExchange(a *arguments) *fault {
	return ch.bindingOf(a, exchangeBindOK, ch.vhost().bind)
}

func (ch *channel) unbindExchange(a *arguments) *fault {
	return ch.bindingOf(a, exchangeUnbindOK, func(x *exchange, b *binding) *fault {
		ch.vhost().unbind(x, b.is)
		return nil
	})
}

// bindingOf changes a binding between exchanges.
func (ch *channel) bindingOf(a *arguments, answer method, change func(*exchange, *binding) *fault) *fault {
	a.short()
	to, from := a.shortstr(), a.shortstr()
	b := &binding{key: a.shortstr()}
	nowait := flag(a.octet(), 0)
	if b.args = a.table(); a.bad {
		return nil
	}
	x, f := ch.named(from)
	if f == nil {
		b.exchange, f = ch.named(to)
	}
	switch {
	case f == nil:
		f = change(x, b)
	case f.code == 404 && answer == exchangeUnbindOK: // what is not there is not bound
		f = nil
	}
	if f != nil {
		return f
	}
	ch.answer(nowait, answer, nothing)
	return nil
}

func (ch *channel) bindQueue(a *arguments) *fault {
	a.short()
	name, from := a.shortstr(), a.shortstr()
	b := &binding{key: a.shortstr()}
	nowait := flag(a.octet(), 0)
	if b.args = a.table(); a.bad {
		return nil
	}
	x, f := ch.ofQueue(name, from, b)
	if f == nil {
		f = ch.vhost().bind(x, b)
	}
	if f != nil {
		return f
	}
	ch.answer(nowait, queueBindOK, nothing)
	return nil
}

func (ch *channel) unbindQueue(a *arguments) *fault {
	a.short()
	name, from := a.shortstr(), a.shortstr()
	b := &binding{key: a.shortstr()}
	if b.args = a.table(); a.bad {
		return nil
	}
	x, f := ch.ofQueue(name, from, b)
	switch {
	case f == nil:
		ch.vhost().unbind(x, b.is)
	case f.code != 404: // what is not there is not bound
		return f
	}
	ch.send(queueUnbindOK, nothing)
	return nil
}

// ofQueue finds both ends of a binding. Where queue and key are empty, both are the queue declared last.
func (ch *channel) ofQueue(name, from string, b *binding) (x *exchange, f *fault) {
	if x, f = ch.named(from); f != nil {
		return nil, f
	}
	if b.queue, f = ch.queue(name); f == nil && name == "" && b.key == "" {
		b.key = b.queue.name
	}
	return x, f
}

func (ch *channel) declareQueue(a *arguments) *fault {
	a.short()
	name, bits := a.shortstr(), a.octet()
	args := a.table()
	if a.bad {
		return nil
	}
	if ch.vhost().answers[name] != nil {
		ch.answer(flag(bits, 4), queueDeclareOK, func(b []byte) []byte { return append(appendShortstr(b, name), 0, 0, 0, 0, 0, 0, 0, 1) })
		return nil
	}
	var q *queue
	var f *fault
	switch {
	case flag(bits, 0) && name == "":
		return notFound("no queue '' in vhost '%s'", ch.vhost().name)
	case flag(bits, 0):
		q, f = ch.queue(name)
	default:
		q, f = ch.makeQueue(name, flag(bits, 1), flag(bits, 2), flag(bits, 3), args)
	}
	if f != nil {
		return f
	}
	ch.lastQueue = q.name
	q.touch()
	ch.answer(flag(bits, 4), queueDeclareOK, func(b []byte) []byte {
		b = appendShortstr(b, q.name)
		b = binary.BigEndian.AppendUint32(b, uint32(len(q.ready)))
		return binary.BigEndian.AppendUint32(b, uint32(len(q.consumers)))
	})
	return nil
}

// makeQueue makes a queue, or compares it with the one that there is.
func (ch *channel) makeQueue(name string, durable, exclusive, autoDelete bool, args table) (q *queue, f *fault) {
	v := ch.vhost()
	q = &queue{vhost: v, name: name, durable: durable, autoDelete: autoDelete, args: args}
	if exclusive {
		q.exclusive = ch.conn
	}
	if have := v.queues[name]; have != nil && name != "" {
		if f = ch.mayUse(have); f == nil {
			f = have.sameAs(q)
		}
		return have, f
	}
	if q.limits, f = readLimits(name, v.name, args); f != nil {
		return nil, f
	}
	switch {
	case len(name) >= 4 && name[:4] == "amq.":
		return nil, accessRefused("queue name '%s' contains reserved prefix 'amq.*'", name)
	case q.quorum() && !durable:
		return nil, preconditionFailed("invalid property 'non-durable' for queue '%s' in vhost '%s'", name, v.name)
	case q.quorum() && exclusive:
		return nil, preconditionFailed("invalid property 'exclusive-owner' for queue '%s' in vhost '%s'", name, v.name)
	case q.quorum() && autoDelete:
		return nil, preconditionFailed("invalid property 'auto-delete' for queue '%s' in vhost '%s'", name, v.name)
	}
	if f = v.server.define(args); f != nil {
		return nil, f
	}
	if name == "" {
		q.name = "amq.gen-" + random()
	}
	v.queues[q.name] = q
	return q, nil
}

// random returns a part of a name that nobody else has.
func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (ch *channel) purgeQueue(a *arguments) *fault {
	a.short()
	name, nowait := a.shortstr(), flag(a.octet(), 0)
	if a.bad {
		return nil
	}
	q, f := ch.queue(name)
	if f != nil {
		return f
	}
	n := q.purge()
	ch.answer(nowait, queuePurgeOK, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) })
	return nil
}

func (ch *channel) deleteQueue(a *arguments) *fault {
	a.short()
	name, bits := a.shortstr(), a.octet()
	if a.bad {
		return nil
	}
	n := 0
	q, f := ch.queue(name)
	switch {
	case q == nil && cmp.Or(name, ch.lastQueue) != "": // gone already, which is what was asked for
	case f != nil:
		return f
	case flag(bits, 0) && len(q.consumers) > 0:
		return preconditionFailed("queue '%s' in vhost '%s' in use", q.name, q.vhost.name)
	case flag(bits, 1) && len(q.ready) > 0:
		return preconditionFailed("queue '%s' in vhost '%s' not empty", q.name, q.vhost.name)
	default:
		n = q.vhost.deleteQueues(q)
	}
	ch.answer(flag(bits, 2), queueDeleteOK, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) })
	return nil
}
