package devbroker

import (
	"encoding/binary"
	"slices"
	"time"
)

// properties are those of the class basic (AMQP 0-9-1, section 1.8.1), each with whether it is set.
type properties struct {
	raw                          []byte // as it came, as long as nothing is changed
	flags                        uint16
	contentType, contentEncoding string
	headers                      table
	deliveryMode, priority       uint8
	correlationID, replyTo       string
	expiration, messageID        string
	timestamp                    uint64
	kind, userID, appID, cluster string
}

// The flags of properties, from the highest bit.
const (
	hasContentType = 1 << (15 - iota)
	hasContentEncoding
	hasHeaders
	hasDeliveryMode
	hasPriority
	hasCorrelationID
	hasReplyTo
	hasExpiration
	hasMessageID
	hasTimestamp
	hasKind
	hasUserID
	hasAppID
	hasCluster
)

func readProperties(a *arguments) (p properties) {
	p.raw = slices.Clone(a.b)
	p.flags = a.short()
	if p.flags&3 != 0 { // a continuation, and a property that the class does not have
		a.bad = true
		return p
	}
	text := func(flag uint16, to *string) {
		if p.flags&flag != 0 {
			*to = a.shortstr()
		}
	}
	octet := func(flag uint16, to *uint8) {
		if p.flags&flag != 0 {
			*to = a.octet()
		}
	}
	text(hasContentType, &p.contentType)
	text(hasContentEncoding, &p.contentEncoding)
	if p.flags&hasHeaders != 0 {
		p.headers = a.table()
	}
	octet(hasDeliveryMode, &p.deliveryMode)
	octet(hasPriority, &p.priority)
	text(hasCorrelationID, &p.correlationID)
	text(hasReplyTo, &p.replyTo)
	text(hasExpiration, &p.expiration)
	text(hasMessageID, &p.messageID)
	if p.flags&hasTimestamp != 0 {
		p.timestamp = a.longlong()
	}
	text(hasKind, &p.kind)
	text(hasUserID, &p.userID)
	text(hasAppID, &p.appID)
	text(hasCluster, &p.cluster)
	return p
}

func (p *properties) append(b []byte) []byte {
	if p.raw != nil {
		return append(b, p.raw...)
	}
	b = binary.BigEndian.AppendUint16(b, p.flags)
	text := func(flag uint16, s string) {
		if p.flags&flag != 0 {
			b = appendShortstr(b, s)
		}
	}
	octet := func(flag uint16, v uint8) {
		if p.flags&flag != 0 {
			b = append(b, v)
		}
	}
	text(hasContentType, p.contentType)
	text(hasContentEncoding, p.contentEncoding)
	if p.flags&hasHeaders != 0 {
		b = appendTable(b, p.headers)
	}
	octet(hasDeliveryMode, p.deliveryMode)
	octet(hasPriority, p.priority)
	text(hasCorrelationID, p.correlationID)
	text(hasReplyTo, p.replyTo)
	text(hasExpiration, p.expiration)
	text(hasMessageID, p.messageID)
	if p.flags&hasTimestamp != 0 {
		b = binary.BigEndian.AppendUint64(b, p.timestamp)
	}
	text(hasKind, p.kind)
	text(hasUserID, p.userID)
	text(hasAppID, p.appID)
	text(hasCluster, p.cluster)
	return b
}

func (p *properties) setHeader(key string, v any) {
	p.raw = nil
	p.flags |= hasHeaders
	p.headers = p.headers.set(key, v)
}

func (p *properties) dropHeader(key string) {
	if _, ok := p.headers.get(key); ok {
		p.raw = nil
		p.headers = p.headers.without(key)
	}
}

// message is what was published. It is never changed: queues that have it share it.
type message struct {
	exchange, key string
	properties    properties
	body          []byte
	weight        int // what it takes in memory, in bytes, about
}

// weigh finds out the weight.
func (m *message) weigh() {
	const overhead = 512
	m.weight = overhead + len(m.body) + len(m.properties.raw) + weight(m.properties.headers)
}

// entry is a message in a queue.
type entry struct {
	*message
	seq         uint64 // its place among those of the same priority
	redelivered bool
	deliveries  int       // that came back, which a quorum queue counts
	expires     time.Time // zero: never
}

// appendContent appends the content header frame and the body frames of a message.
func (m *message) appendContent(b []byte, channel uint16, p *properties, frameMax int) []byte {
	b = appendFrame(b, frameHeader, channel, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, classBasic)
		b = append(b, 0, 0) // weight
		b = binary.BigEndian.AppendUint64(b, uint64(len(m.body)))
		return p.append(b)
	})
	for rest := m.body; len(rest) > 0; {
		n := min(len(rest), frameMax-8)
		b = appendFrame(b, frameBody, channel, func(b []byte) []byte { return append(b, rest[:n]...) })
		rest = rest[n:]
	}
	return b
}
