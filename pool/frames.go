package pool

import (
	"encoding/binary"
	"math"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Frames of AMQP 0-9-1 (section 4.2), and the methods of the classes channel and basic that a [port] knows.
const (
	frameHead  = 1 + 2 + 4 // type, channel, size
	frameEnd   = 0xCE
	methodHead = 2 + 2 // class, method

	frameTypeMethod = 1
	frameTypeHeader = 2
	frameTypeBody   = 3

	classChannel = 20
	channelClose = 40

	classBasic   = 60
	basicPublish = 40
	basicReturn  = 50
	basicDeliver = 60
	basicAck     = 80
	basicReject  = 90
	basicNack    = 120
)

// The flags of the properties in a content header, in the order in which the properties come.
const (
	flagContentType = 1 << (15 - iota)
	flagContentEncoding
	flagHeaders
	flagDeliveryMode
	flagPriority
	flagCorrelationID
	flagReplyTo
	flagExpiration
	flagMessageID
	flagTimestamp
	flagType
	flagUserID
	flagAppID

	allFlags = flagContentType<<1 - flagAppID
)

// protocolHeader is what a client begins with (section 4.2.2).
const protocolHeader = "AMQP\x00\x00\x09\x01"

// heartbeat is a heartbeat frame.
var heartbeat = []byte{8, 0, 0, 0, 0, 0, 0, frameEnd}

// wholeFrames returns how many bytes at the beginning of b are whole frames, or the protocol header.
func wholeFrames(b []byte) (n int) {
	if len(b) >= len(protocolHeader) && string(b[:len(protocolHeader)]) == protocolHeader {
		n = len(protocolHeader)
	}
	for {
		rest := b[n:]
		if len(rest) < frameHead {
			return n
		}
		size := frameHead + uint64(binary.BigEndian.Uint32(rest[3:])) + 1
		if size > uint64(len(rest)) {
			return n
		}
		n += int(size)
	}
}

// beginFrame appends the beginning of a frame, whose size endFrame fills in.
func beginFrame(b []byte, kind byte, channel uint16) []byte {
	return append(b, kind, byte(channel>>8), byte(channel), 0, 0, 0, 0)
}

// endFrame ends the frame that began at start.
func endFrame(b []byte, start int) []byte {
	binary.BigEndian.PutUint32(b[start+3:], uint32(len(b)-start-frameHead))
	return append(b, frameEnd)
}

// beginMethod appends the beginning of a method of class basic.
func beginMethod(b []byte, channel, method uint16) []byte {
	b = beginFrame(b, frameTypeMethod, channel)
	b = binary.BigEndian.AppendUint16(b, classBasic)
	return binary.BigEndian.AppendUint16(b, method)
}

// appendSettle appends basic.ack, basic.nack or basic.reject.
func appendSettle(b []byte, channel, method uint16, tag uint64, bits byte) []byte {
	start := len(b)
	b = beginMethod(b, channel, method)
	b = binary.BigEndian.AppendUint64(b, tag)
	return endFrame(append(b, bits), start)
}

// appendPublish appends basic.publish with its content. m has been prepared: nothing in it is too long, and its headers have the
// types of the client library. frameMax is what was negotiated; 0 is no limit.
func appendPublish(b []byte, channel uint16, m *Publishing, frameMax int) []byte {
	start := len(b)
	b = beginMethod(b, channel, basicPublish)
	b = append(b, 0, 0) // reserved
	b = appendShort(b, m.Exchange)
	b = appendShort(b, m.RoutingKey)
	mandatory := byte(0)
	if m.Mandatory {
		mandatory = 1
	}
	b = endFrame(append(b, mandatory), start)

	start = len(b)
	b = beginFrame(b, frameTypeHeader, channel)
	b = binary.BigEndian.AppendUint16(b, classBasic)
	b = append(b, 0, 0) // weight
	b = binary.BigEndian.AppendUint64(b, uint64(len(m.Body)))
	b = endFrame(appendProperties(b, m), start)

	piece := math.MaxUint32
	if frameMax > 0 {
		piece = frameMax - frameOverhead
	}
	for body := m.Body; len(body) > 0; {
		n := min(len(body), piece)
		start = len(b)
		b = append(beginFrame(b, frameTypeBody, channel), body[:n]...)
		b = endFrame(b, start)
		body = body[n:]
	}
	return b
}

// appendProperties appends the properties that are set, after their flags. As in the client library, an empty one is not set.
func appendProperties(b []byte, m *Publishing) []byte {
	at := len(b)
	b = append(b, 0, 0)
	var flags uint16
	text := func(flag uint16, s string) {
		if s != "" {
			flags |= flag
			b = appendShort(b, s)
		}
	}
	octet := func(flag uint16, v byte) {
		if v > 0 {
			flags |= flag
			b = append(b, v)
		}
	}
	text(flagContentType, m.ContentType)
	text(flagContentEncoding, m.ContentEncoding)
	switch {
	case !m.Encoded.IsEmpty():
		flags |= flagHeaders
		b = append(b, m.Encoded.encoded()...)
	case len(m.Headers) > 0:
		flags |= flagHeaders
		b = appendTable(b, m.Headers)
	}
	octet(flagDeliveryMode, m.DeliveryMode)
	octet(flagPriority, m.Priority)
	text(flagCorrelationID, m.CorrelationId)
	text(flagReplyTo, m.ReplyTo)
	text(flagExpiration, m.Expiration)
	text(flagMessageID, m.MessageId)
	if !m.Timestamp.IsZero() {
		flags |= flagTimestamp
		b = binary.BigEndian.AppendUint64(b, uint64(m.Timestamp.Unix()))
	}
	text(flagType, m.Type)
	text(flagUserID, m.UserId)
	text(flagAppID, m.AppId)
	binary.BigEndian.PutUint16(b[at:], flags)
	return b
}

func appendShort(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func appendLong(b []byte, kind byte, s string) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// appendTable appends a table, with its length.
func appendTable(b []byte, t Table) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for k, v := range t {
		b = appendField(appendShort(b, k), v)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendField appends a value of one of the types that measureTable lets through, with its type code.
func appendField(b []byte, v any) []byte {
	switch v := v.(type) {
	case bool:
		if v {
			return append(b, 't', 1)
		}
		return append(b, 't', 0)
	case int8:
		return append(b, 'b', byte(v))
	case uint8:
		return append(b, 'B', v)
	case int16:
		return binary.BigEndian.AppendUint16(append(b, 's'), uint16(v))
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, 'u'), v)
	case int32:
		return binary.BigEndian.AppendUint32(append(b, 'I'), uint32(v))
	case uint32:
		return binary.BigEndian.AppendUint32(append(b, 'i'), v)
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'l'), uint64(v))
	case float32:
		return binary.BigEndian.AppendUint32(append(b, 'f'), math.Float32bits(v))
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 'd'), math.Float64bits(v))
	case amqp.Decimal:
		return binary.BigEndian.AppendUint32(append(b, 'D', v.Scale), uint32(v.Value))
	case string:
		return appendLong(b, 'S', v)
	case []byte:
		b = binary.BigEndian.AppendUint32(append(b, 'x'), uint32(len(v)))
		return append(b, v...)
	case time.Time:
		return binary.BigEndian.AppendUint64(append(b, 'T'), uint64(v.Unix()))
	case Table:
		return appendTable(append(b, 'F'), v)
	case []any:
		b = append(b, 'A')
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		for _, e := range v {
			b = appendField(b, e)
		}
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		return b
	}
	return append(b, 'V')
}

// cursor reads what a frame holds. Past the end it reads zeros, and is short.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.short, c.b = true, nil
		return make([]byte, n)
	}
	taken := c.b[:n]
	c.b = c.b[n:]
	return taken
}

func (c *cursor) octet() byte     { return c.take(1)[0] }
func (c *cursor) uint16() uint16  { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) uint32() uint32  { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) uint64() uint64  { return binary.BigEndian.Uint64(c.take(8)) }
func (c *cursor) text() []byte    { return c.take(int(c.octet())) }
func (c *cursor) time() time.Time { return time.Unix(int64(c.uint64()), 0) }

// long returns what has a length of four bytes; it is short when that is not there.
func (c *cursor) long() []byte {
	n := c.uint32()
	if uint64(n) > uint64(len(c.b)) {
		c.short, c.b = true, nil
		return nil
	}
	return c.take(int(n))
}

// table decodes the contents of a table, as the client library does. A walker has found it readable.
func (c *cursor) table() Table {
	t := make(Table)
	for len(c.b) > 0 {
		key := string(c.text())
		t[key] = c.field()
	}
	return t
}

func (c *cursor) field() any {
	switch code := c.octet(); code {
	case 't':
		return c.octet() != 0
	case 'b':
		return int8(c.octet())
	case 'B':
		return c.octet()
	case 's':
		return int16(c.uint16())
	case 'u':
		return c.uint16()
	case 'I':
		return int32(c.uint32())
	case 'i':
		return c.uint32()
	case 'l':
		return int64(c.uint64())
	case 'f':
		return math.Float32frombits(c.uint32())
	case 'd':
		return math.Float64frombits(c.uint64())
	case 'D':
		return amqp.Decimal{Scale: c.octet(), Value: int32(c.uint32())}
	case 'S':
		return string(c.long())
	case 'x':
		return append([]byte{}, c.long()...)
	case 'T':
		return c.time()
	case 'F':
		inner := cursor{b: c.long()}
		return inner.table()
	case 'A':
		inner := cursor{b: c.long()}
		var list []any
		for len(inner.b) > 0 {
			list = append(list, inner.field())
		}
		return list
	}
	return nil
}
