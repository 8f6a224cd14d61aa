package pool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A port is the way past the client library for what there is much of: deliveries, settlements, publishes, returns and confirms of one
// channel. The library opens the channel, closes it and does everything rare on it; it sees nothing of what a port writes or
// takes. See docs/decisions/0004-frames-of-our-own.md for what that must not break.
//
// What is written goes to the wire as whole frames, under its lock, and never after the channel was closed: the number may belong
// to another channel then. What arrives is taken from the inbound by the library's reader goroutine, which calls the functions
// below; they must not wait. A function that is nil leaves its frames to the library.
type port struct {
	wire     *wire
	id       uint16
	frameMax int
	shut     atomic.Bool // nothing is written any more; set under the wire's lock

	slot      func() *Delivery // where the next delivery is to be filled in, which is zero; if unset, delivered has it for the call only
	delivered func(*Delivery)
	encoded   bool // the headers of what is delivered stay encoded where they can
	returned  func(*amqp.Return)
	confirmed func(tag uint64, multiple, acked bool)

	// What has arrived of a message, for the reader goroutine.
	content struct {
		method uint16 // basicDeliver or basicReturn; 0 while there is none
		header bool   // the header has arrived
		size   uint64 // of the body
		d      *Delivery
		own    Delivery // where there is no slot
		reply  amqp.Return
	}
	known [properties]string // the last text of each kind: it is often the same
}

// The kinds of text that often repeat.
const (
	knownConsumer = iota
	knownExchange
	knownRoutingKey
	knownContentType
	knownContentEncoding
	knownReplyTo
	knownExpiration
	knownType
	knownUserID
	knownAppID
	properties
)

var errShut = errors.New("the channel has gone")

// openPort opens a port on a channel of the library's. The caller sets its functions before anything can arrive for them.
func (g *generation) openPort(ch *amqp.Channel) (*port, error) {
	id := reflect.ValueOf(ch).Elem().FieldByName("id")
	if !id.IsValid() || id.Kind() != reflect.Uint16 {
		return nil, errors.New("this version of amqp091-go keeps the number of a channel elsewhere")
	}
	return &port{wire: g.wire, id: uint16(id.Uint()), frameMax: g.conn.Config.FrameSize}, nil
}

// listen begins to take what arrives.
func (p *port) listen() { p.wire.in.ports.set(p.id, p) }

// close ends the port. It must be called before the library is told to close the channel.
func (p *port) close() {
	p.wire.mu.Lock()
	p.shut.Store(true)
	p.wire.mu.Unlock()
	p.wire.in.ports.remove(p)
}

// settle writes basic.ack, basic.nack or basic.reject.
func (p *port) settle(method uint16, tag uint64, bits byte) {
	w := p.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.ready(0) == nil {
		w.buffer = appendSettle(w.buffer, p.id, method, tag, bits)
		w.wroteLocked()
	}
}

// publish writes m. The caller says end to the wire afterwards, whatever comes back, which sends it.
func (p *port) publish(m *Publishing, size int) error {
	w := p.wire
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writers++
	if err := p.ready(size); err != nil {
		return err
	}
	w.buffer = appendPublish(w.buffer, p.id, m, p.frameMax)
	w.wroteLocked()
	return nil
}

// ready returns why so many bytes cannot be written. The wire is locked.
func (p *port) ready(size int) error {
	w := p.wire
	switch {
	case w.err != nil:
		return w.err
	case p.shut.Load():
		return errShut
	case len(w.buffer)+w.sending+size > w.limit:
		w.failLocked(errOverflow)
		return w.err
	}
	return nil
}

// The bits of a settlement.
const (
	bitMultiple    = 1 // of basic.ack
	bitRequeue     = 1 // of basic.reject
	bitNackRequeue = 2
)

// mine reports whether a frame of the port's channel may be for the port. It looks at its head only.
func (p *port) mine(kind byte) bool {
	return kind == frameTypeMethod || p.content.method != 0
}

// take takes a whole frame, or leaves it to the library. After an error the connection is of no use any more.
func (p *port) take(frame []byte, in *inbound) (taken bool, err error) {
	if frame[len(frame)-1] != frameEnd {
		return false, nil // the library says what is wrong with it
	}
	c := cursor{b: frame[frameHead : len(frame)-1]}
	switch {
	case frame[0] == frameTypeMethod:
		taken = p.takeMethod(&c)
	case frame[0] == frameTypeHeader && !p.content.header:
		replaced, plain := in.examine(frame)
		if replaced != nil {
			c.b = replaced[frameHead : len(replaced)-1]
		}
		p.takeHeader(&c, plain)
		taken = true
	case frame[0] == frameTypeBody && p.content.header:
		p.takeBody(&c)
		taken = true
	default:
		c.short = true
	}
	if c.short {
		return true, fmt.Errorf("the broker sent a frame that is malformed, or out of its turn, on channel %d", p.id)
	}
	return taken, nil
}

// takeMethod takes the methods that the port is for.
func (p *port) takeMethod(c *cursor) bool {
	class, method := c.uint16(), c.uint16()
	if class == classChannel && method == channelClose {
		p.close() // before the library can answer
		return false
	}
	if p.content.method != 0 { // the rest of its message will not come
		c.short = true
		return true
	}
	switch {
	case class != classBasic:
		return false
	case method == basicDeliver && p.delivered != nil:
		d := p.begin(p.slot)
		d.ConsumerTag = p.text(knownConsumer, c.text())
		d.DeliveryTag = c.uint64()
		d.Redelivered = c.octet()&1 != 0
		d.Exchange = p.text(knownExchange, c.text())
		d.RoutingKey = p.text(knownRoutingKey, c.text())
	case method == basicReturn && p.returned != nil:
		p.begin(nil)
		r := &p.content.reply
		r.ReplyCode, r.ReplyText = c.uint16(), string(c.text())
		r.Exchange, r.RoutingKey = string(c.text()), string(c.text())
	case (method == basicAck || method == basicNack) && p.confirmed != nil:
		tag, bits := c.uint64(), c.octet()
		if !c.short {
			p.confirmed(tag, bits&bitMultiple != 0, method == basicAck)
		}
		return true
	default:
		return false
	}
	p.content.method = method
	return true
}

// begin chooses where a message is filled in.
func (p *port) begin(slot func() *Delivery) *Delivery {
	if slot != nil {
		p.content.d = slot()
	} else {
		p.content.own = Delivery{}
		p.content.d = &p.content.own
	}
	return p.content.d
}

// text makes a string, or finds the one that it made last.
func (p *port) text(kind int, b []byte) string {
	if string(b) != p.known[kind] {
		p.known[kind] = string(b)
	}
	return p.known[kind]
}

// takeHeader takes the properties of a message, whose headers are plain or not.
func (p *port) takeHeader(c *cursor, plain bool) {
	c.take(4) // class and weight
	p.content.size = c.uint64()
	flags := c.uint16()
	d := p.content.d
	text := func(flag uint16, kind int) string {
		if flags&flag == 0 {
			return ""
		}
		return p.text(kind, c.text())
	}
	own := func(flag uint16) string {
		if flags&flag == 0 {
			return ""
		}
		return string(c.text())
	}
	octet := func(flag uint16) byte {
		if flags&flag == 0 {
			return 0
		}
		return c.octet()
	}
	d.ContentType = text(flagContentType, knownContentType)
	d.ContentEncoding = text(flagContentEncoding, knownContentEncoding)
	if flags&flagHeaders != 0 {
		p.takeHeaders(c, plain)
	}
	d.DeliveryMode = octet(flagDeliveryMode)
	d.Priority = octet(flagPriority)
	d.CorrelationId = own(flagCorrelationID)
	d.ReplyTo = text(flagReplyTo, knownReplyTo)
	d.Expiration = text(flagExpiration, knownExpiration)
	d.MessageId = own(flagMessageID)
	if flags&flagTimestamp != 0 {
		d.Timestamp = c.time()
	}
	d.Type = text(flagType, knownType)
	d.UserId = text(flagUserID, knownUserID)
	d.AppId = text(flagAppID, knownAppID)
	if c.short {
		return
	}
	p.content.header = true
	d.Body = make([]byte, 0, min(p.content.size, bodyAtOnce))
	if p.content.size == 0 {
		p.complete()
	}
}

// takeHeaders takes a headers table.
func (p *port) takeHeaders(c *cursor, plain bool) {
	d, wire := p.content.d, c.b
	inner := cursor{b: c.long()}
	if plain && p.encoded && p.content.method == basicDeliver && !c.short {
		d.Encoded = encodedTable(bytes.Clone(wire[:tableLength+len(inner.b)]))
		return
	}
	d.Headers = inner.table()
}

// bodyAtOnce is how much room is made for a body before it has arrived.
const bodyAtOnce = 16 << 20

// takeBody takes a piece of the body, the last of which completes the message.
func (p *port) takeBody(c *cursor) {
	d := p.content.d
	d.Body = append(d.Body, c.b...)
	switch have := uint64(len(d.Body)); {
	case have == p.content.size:
		p.complete()
	case have > p.content.size:
		c.short = true
	}
}

// complete hands a message over.
func (p *port) complete() {
	content := &p.content
	d, method := content.d, content.method
	content.d, content.method, content.header = nil, 0, false
	if method == basicDeliver {
		p.delivered(d)
		return
	}
	r := content.reply
	content.reply = amqp.Return{}
	r.ContentType, r.ContentEncoding, r.Headers = d.ContentType, d.ContentEncoding, d.Headers
	r.DeliveryMode, r.Priority, r.CorrelationId = d.DeliveryMode, d.Priority, d.CorrelationId
	r.ReplyTo, r.Expiration, r.MessageId = d.ReplyTo, d.Expiration, d.MessageId
	r.Timestamp, r.Type, r.UserId, r.AppId, r.Body = d.Timestamp, d.Type, d.UserId, d.AppId, d.Body
	p.returned(&r)
}

// ports are those of a connection, by the number of their channel.
type ports struct {
	mu   sync.Mutex
	byID atomic.Pointer[[]*port] // never changed, only replaced
}

// of returns the port that a frame is for, or nil. The frame's head is there.
func (s *ports) of(frame []byte) *port {
	all := s.byID.Load()
	if all == nil {
		return nil
	}
	if id := int(binary.BigEndian.Uint16(frame[1:])); id < len(*all) {
		return (*all)[id]
	}
	return nil
}

func (s *ports) set(id uint16, p *port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*port
	if old := s.byID.Load(); old != nil {
		all = append(all, *old...)
	}
	for len(all) <= int(id) {
		all = append(all, nil)
	}
	all[id] = p
	s.byID.Store(&all)
}

// remove takes a port away, unless its number belongs to another one already.
func (s *ports) remove(p *port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.byID.Load()
	if old == nil || int(p.id) >= len(*old) || (*old)[p.id] != p {
		return
	}
	all := append([]*port(nil), *old...)
	all[p.id] = nil
	s.byID.Store(&all)
}
