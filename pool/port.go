package pool

import (
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

	delivered func(arrival)
	returned  func(*amqp.Return)
	confirmed func(tag uint64, multiple, acked bool)

	// What has arrived of a message, for the reader goroutine.
	content struct {
		method    uint16 // basicDeliver or basicReturn; 0 while there is none
		arguments []byte
		header    bool   // the header has arrived
		size      uint64 // of the body
		arrival
	}
}

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
	arguments := c.b
	switch {
	case class != classBasic:
		return false
	case method == basicDeliver && p.delivered != nil:
		c.passDeliver()
	case method == basicReturn && p.returned != nil:
		c.passReturn()
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
	p.content.arguments = append(p.content.arguments[:0], arguments[:len(arguments)-len(c.b)]...)
	return true
}

// takeHeader takes the properties of a message, whose headers are plain or not.
func (p *port) takeHeader(c *cursor, plain bool) {
	content := &p.content
	c.take(4) // class and weight
	content.size = c.uint64()
	properties := c.b
	c.passProperties()
	if c.short {
		return
	}
	properties = properties[:len(properties)-len(c.b)]
	content.header = true
	content.head = make([]byte, 0, len(content.arguments)+len(properties))
	content.head = append(append(content.head, content.arguments...), properties...)
	content.body = make([]byte, 0, min(content.size, bodyAtOnce))
	content.plain = plain
	if content.size == 0 {
		p.complete()
	}
}

// bodyAtOnce is how much room is made for a body before it has arrived.
const bodyAtOnce = 16 << 20

// takeBody takes a piece of the body, the last of which completes the message.
func (p *port) takeBody(c *cursor) {
	content := &p.content
	content.body = append(content.body, c.b...)
	switch have := uint64(len(content.body)); {
	case have == content.size:
		p.complete()
	case have > content.size:
		c.short = true
	}
}

// complete hands a message over.
func (p *port) complete() {
	a, method := p.content.arrival, p.content.method
	p.content.arrival, p.content.method, p.content.header = arrival{}, 0, false
	if method == basicDeliver {
		p.delivered(a)
		return
	}
	p.returned(a.reply())
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
