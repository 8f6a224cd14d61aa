package pool

import (
	"math/bits"
	"unsafe"

	amqp "github.com/rabbitmq/amqp091-go"
)

// arrival is a message as it came from the broker. Most of those that a prefetch lets come wait for their turn, so it is small: the
// reader goroutine makes sure that it is well-formed, and whoever takes it decodes it.
type arrival struct {
	head  []byte // the arguments of basic.deliver or basic.return, then the property flags and the properties; never changed
	body  []byte
	plain bool // the headers can be published again as they are
}

// delivery decodes what basic.deliver brought into d, which is zero. Texts, and encoded headers, share the memory of the head. With
// encoded, headers stay encoded where they can.
func (a *arrival) delivery(d *Delivery, encoded bool) {
	c := cursor{b: a.head}
	d.ConsumerTag = c.shared()
	d.DeliveryTag = c.uint64()
	d.Redelivered = c.octet()&1 != 0
	d.Exchange, d.RoutingKey = c.shared(), c.shared()
	headers := a.properties(&c, &d.Delivery)
	switch {
	case headers == nil:
	case encoded && a.plain:
		d.Encoded = encodedTable(headers)
	default:
		d.Headers = decoded(headers)
	}
}

// reply decodes what basic.return brought.
func (a *arrival) reply() *amqp.Return {
	c := cursor{b: a.head}
	r := &amqp.Return{ReplyCode: c.uint16(), ReplyText: c.shared(), Exchange: c.shared(), RoutingKey: c.shared()}
	var d amqp.Delivery
	if headers := a.properties(&c, &d); headers != nil {
		r.Headers = decoded(headers)
	}
	r.ContentType, r.ContentEncoding, r.DeliveryMode, r.Priority = d.ContentType, d.ContentEncoding, d.DeliveryMode, d.Priority
	r.CorrelationId, r.ReplyTo, r.Expiration, r.MessageId = d.CorrelationId, d.ReplyTo, d.Expiration, d.MessageId
	r.Timestamp, r.Type, r.UserId, r.AppId, r.Body = d.Timestamp, d.Type, d.UserId, d.AppId, d.Body
	return r
}

// properties decodes the body and the properties but for the headers, which it returns, with their length; nil for none.
func (a *arrival) properties(c *cursor, d *amqp.Delivery) (headers []byte) {
	flags := c.uint16()
	text := func(flag uint16) string {
		if flags&flag == 0 {
			return ""
		}
		return c.shared()
	}
	octet := func(flag uint16) byte {
		if flags&flag == 0 {
			return 0
		}
		return c.octet()
	}
	d.ContentType = text(flagContentType)
	d.ContentEncoding = text(flagContentEncoding)
	if flags&flagHeaders != 0 {
		headers = c.b
		headers = headers[:tableLength+len(c.long())]
	}
	d.DeliveryMode = octet(flagDeliveryMode)
	d.Priority = octet(flagPriority)
	d.CorrelationId = text(flagCorrelationID)
	d.ReplyTo = text(flagReplyTo)
	d.Expiration = text(flagExpiration)
	d.MessageId = text(flagMessageID)
	if flags&flagTimestamp != 0 {
		d.Timestamp = c.time()
	}
	d.Type = text(flagType)
	d.UserId = text(flagUserID)
	d.AppId = text(flagAppID)
	d.Body = a.body
	return headers
}

// decoded decodes a table that a walker has found readable, with its length.
func decoded(table []byte) Table {
	c := cursor{b: table[tableLength:]}
	return c.table()
}

// shared reads a short string that shares the memory of the frame.
func (c *cursor) shared() string {
	b := c.text()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// passDeliver reads over the arguments of basic.deliver.
func (c *cursor) passDeliver() {
	c.text()
	c.take(8 + 1)
	c.text()
	c.text()
}

// passReturn reads over the arguments of basic.return.
func (c *cursor) passReturn() {
	c.take(2)
	c.text()
	c.text()
	c.text()
}

// passProperties reads over the flags of the properties, and the properties.
func (c *cursor) passProperties() {
	for flags := c.uint16() & allFlags; flags != 0; {
		flag := uint16(1) << (bits.Len16(flags) - 1)
		flags &^= flag
		switch flag {
		case flagHeaders:
			c.long()
		case flagDeliveryMode, flagPriority:
			c.octet()
		case flagTimestamp:
			c.take(8)
		default:
			c.text()
		}
	}
}
