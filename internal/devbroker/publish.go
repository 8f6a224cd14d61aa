package devbroker

import (
	"encoding/binary"
	"math"
	"strconv"
)

func (ch *channel) publish(a *arguments) *fault {
	a.short()
	c := &content{message: message{exchange: a.shortstr(), key: a.shortstr()}}
	bits := a.octet()
	c.mandatory, c.immediate = flag(bits, 0), flag(bits, 1)
	if !a.bad {
		ch.incoming = c
	}
	return nil
}

// receive handles a frame of a message's content.
func (ch *channel) receive(f frame) *fault {
	c := ch.incoming
	switch {
	case !c.hasHeader && f.kind != frameHeader:
		return unexpectedFrame("expected content header for class 60, got non content header frame instead")
	case !c.hasHeader:
		if bad := c.readHeader(f.payload); bad != nil {
			return bad
		}
		c.grow(ch.conn.server, weight(c.properties.headers)+len(c.properties.raw))
	case f.kind != frameBody:
		return unexpectedFrame("expected content body, got non content body frame instead")
	case uint64(len(c.body))+uint64(len(f.payload)) > c.size:
		return hard(501, "FRAME_ERROR", "a body of %d bytes has more", c.size)
	default:
		c.body = append(c.body, f.payload...)
		c.grow(ch.conn.server, len(f.payload))
	}
	if uint64(len(c.body)) < c.size {
		return nil
	}
	ch.incoming = c.drop(ch.conn.server)
	return ch.accept(c)
}

func (c *content) readHeader(payload []byte) *fault {
	a := &arguments{b: payload}
	class := a.short()
	a.short() // weight
	c.size = a.longlong()
	if class != classBasic {
		return unexpectedFrame("expected content header for class 60, got one for class %d instead", class)
	}
	if c.properties = readProperties(a); a.bad {
		return syntaxError("malformed content header")
	}
	if c.size > maxMessage {
		return preconditionFailed("message size %d is larger than configured max size %d", c.size, maxMessage)
	}
	c.hasHeader = true
	return nil
}

// grow counts what has been received of a message.
func (c *content) grow(s *Server, n int) {
	c.received += n
	s.memory += n
}

// drop forgets what has been received of a message. It returns nil, and may be called on nil.
func (c *content) drop(s *Server) *content {
	if c != nil {
		s.memory -= c.received
	}
	return nil
}

// accept routes a message that is whole, returns it if it is mandatory and nobody has it, and confirms it: in this order.
func (ch *channel) accept(c *content) *fault {
	if c.immediate {
		return notImplemented("immediate=true")
	}
	x, f := ch.exchange(c.exchange)
	switch {
	case f != nil:
		return f
	case x.internal:
		return accessRefused("cannot publish to internal exchange '%s' in vhost '%s'", x.name, ch.vhost().name)
	}
	p := &c.properties
	if p.flags&hasUserID != 0 && p.userID != ch.conn.user {
		return preconditionFailed("user_id property set to '%s' but authenticated user was '%s'", p.userID, ch.conn.user)
	}
	if p.flags&hasExpiration != 0 {
		if n, err := strconv.ParseInt(p.expiration, 10, 64); err != nil {
			return preconditionFailed("invalid expiration '%s': no_integer", p.expiration)
		} else if why := outOfRange(n, 0, math.MaxUint32); why != "" {
			return preconditionFailed("invalid expiration '%s': %s", p.expiration, why)
		}
	}
	for _, name := range copyHeaders {
		if v, ok := p.headers.get(name); ok {
			list, isList := v.([]any)
			if !isList {
				return preconditionFailed("invalid message: {unacceptable_type_in_header,%q,%s}", name, typeName(v))
			}
			if len(list) > maxCopies {
				return preconditionFailed("invalid message: %s has more than %d routing keys", name, maxCopies)
			}
		}
	}
	if f := ch.asks(p); f != nil {
		return f
	}
	m := &c.message
	if len(copies(p.headers)) > 0 {
		routed := *m
		m = &routed
		if m.properties.dropHeader("BCC"); len(m.properties.headers) == 0 {
			m.properties.flags &^= hasHeaders
		}
	}
	m.weigh()
	to := ch.vhost().route(x, &c.message)
	isAnswer, reached := ch.vhost().replies(m)
	if len(to) == 0 && c.mandatory && !(isAnswer && reached) {
		ch.giveBackUnrouted(m)
	}
	accepted := true
	for _, q := range to {
		accepted = q.publish(m) && accepted
	}
	if ch.confirms {
		ch.confirm(accepted)
	}
	return nil
}

// giveBackUnrouted sends basic.return.
func (ch *channel) giveBackUnrouted(m *message) {
	b := appendFrame(nil, frameMethod, ch.number, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, uint32(basicReturn))
		b = binary.BigEndian.AppendUint16(b, 312)
		return appendShortstr(appendShortstr(appendShortstr(b, "NO_ROUTE"), m.exchange), m.key)
	})
	ch.conn.send(m.appendContent(b, ch.number, &m.properties, ch.conn.frameMax))
}

// confirm acknowledges the message published last, or refuses it.
func (ch *channel) confirm(accepted bool) {
	ch.published++
	m := basicAck
	if !accepted {
		m = basicNack
	}
	ch.send(m, func(b []byte) []byte { return append(binary.BigEndian.AppendUint64(b, ch.published), 0) })
}
