package pool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What the tests need of AMQP beneath the library: frames and tables, encoded as nobody should.

func appendFrame(b []byte, kind byte, channel uint16, payload []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), frameEnd)
}

func appendMethod(b []byte, channel, class, method uint16, arguments ...[]byte) []byte {
	payload := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, class), method)
	for _, a := range arguments {
		payload = append(payload, a...)
	}
	return appendFrame(b, 1, channel, payload)
}

// appendContent encodes the header of a message with a content-type, headers of these contents, a correlation-id and a message-id; and its body.
func appendContent(b []byte, channel uint16, id string, table []byte, body string) []byte {
	header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(body)))
	header = binary.BigEndian.AppendUint16(header, 1<<15|headersFlag|1<<10|1<<7)
	header = append(header, short("text/plain")...)
	header = append(header, long(table)...)
	header = append(header, short(id)...)
	header = append(header, short(id)...)
	b = appendFrame(b, frameTypeHeader, channel, header)
	if body != "" {
		b = appendFrame(b, 3, channel, []byte(body))
	}
	return b
}

func short(s string) []byte { return append([]byte{byte(len(s))}, s...) }

func long(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

// field encodes a value of any type code.
func field(code byte, value ...byte) []byte {
	if fieldSizes[code] == varying {
		value = long(value)
	}
	return append([]byte{code}, value...)
}

// plain encodes some value of a type code: as much of it as the type has.
func plain(code byte) []byte {
	switch size := fieldSizes[code]; size {
	case 0, varying:
		return field(code)
	default:
		return field(code, make([]byte, size-1)...)
	}
}

// pair encodes a table's entry.
func pair(key string, value []byte) []byte { return append(short(key), value...) }

// deep encodes a table in which others, or lists, nest, n of them.
func deep(code byte, n int) []byte {
	value := field('V')
	for range n {
		if code == 'F' {
			value = pair("k", value)
		}
		value = field(code, value...)
	}
	return pair("nested", value)
}

// many encodes the contents of a table with n entries, or of a list with key false.
func many(n int, key bool) (b []byte) {
	for i := range n {
		if key {
			b = append(b, short(fmt.Sprint(i))...)
		}
		b = append(b, 'V')
	}
	return b
}

// same encodes a table in which the same few keys come n times.
func same(n, keys int) (b []byte) {
	for i := range n {
		b = append(b, pair(fmt.Sprint(i%keys), plain('t'))...)
	}
	return b
}

// raw is a connection to a broker, with channel 1 open in confirm mode.
type raw struct {
	conn net.Conn
	in   *bufio.Reader
}

func dialRaw(t testing.TB, url string) *raw {
	t.Helper()
	uri, err := amqp.ParseURI(url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", fmt.Sprint(uri.Host, ":", uri.Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := &raw{conn, bufio.NewReader(conn)}
	r.write(t, []byte("AMQP\x00\x00\x09\x01"))
	r.expect(t, 10, 10)
	r.write(t, appendMethod(nil, 0, 10, 11, long(nil), short("PLAIN"), long([]byte("\x00"+uri.Username+"\x00"+uri.Password)), short("en_US")))
	tune := r.expect(t, 10, 30)
	r.write(t, appendMethod(nil, 0, 10, 31, tune))
	r.write(t, appendMethod(nil, 0, 10, 40, short(uri.Vhost), short(""), []byte{0}))
	r.expect(t, 10, 41)
	r.write(t, appendMethod(nil, 1, 20, 10, short("")))
	r.expect(t, 20, 11)
	r.write(t, appendMethod(nil, 1, 85, 10, []byte{0}))
	r.expect(t, 85, 11)
	return r
}

func (r *raw) write(t testing.TB, b []byte) {
	t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// read returns the next method.
func (r *raw) read() (class, method uint16, arguments []byte, err error) {
	for {
		kind, payload, err := readFrame(r.in)
		if err != nil {
			return 0, 0, nil, err
		}
		if kind == 1 {
			return binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:]), payload[4:], nil
		}
	}
}

func readFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	return head[0], payload[:len(payload)-1], nil
}

func (r *raw) expect(t testing.TB, class, method uint16) []byte {
	t.Helper()
	c, m, arguments, err := r.read()
	if err != nil || c != class || m != method {
		t.Fatalf("the broker sent %d.%d %q, not %d.%d: %v", c, m, arguments, class, method, err)
	}
	return arguments
}

var errRefused = errors.New("the broker closed the connection")

// publish publishes a message, and waits for the confirm.
func (r *raw) publish(exchange, key, id string, table []byte) error {
	b := appendMethod(nil, 1, 60, 40, []byte{0, 0}, short(exchange), short(key), []byte{0})
	if _, err := r.conn.Write(appendContent(b, 1, id, table, "body of "+id)); err != nil {
		return err
	}
	class, method, arguments, err := r.read()
	switch {
	case err != nil:
		return err
	case class == 60 && method == 80:
		return nil
	}
	return fmt.Errorf("%w: %q", errRefused, arguments)
}

// peer is the library with a broker that says what the tests want.
type peer struct {
	t          testing.TB
	broker     net.Conn
	conn       *amqp.Connection
	ch         *amqp.Channel
	deliveries <-chan amqp.Delivery
	closed     chan *amqp.Error
	headers    chan []byte // content header frames that the library has sent
	tag        uint64
}

// newPeer connects the library; wrap, if not nil, is between it and the broker.
func newPeer(t testing.TB, wrap func(net.Conn) net.Conn) *peer {
	t.Helper()
	client, broker := net.Pipe()
	p := &peer{t: t, broker: broker, headers: make(chan []byte, 1)}
	if wrap != nil {
		client = wrap(client)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.serve()
	}()
	t.Cleanup(func() {
		_ = broker.Close()
		<-done
	})
	var err error
	if p.conn, err = amqp.Open(client, amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{}}, FrameSize: frameMax}); err != nil {
		t.Fatal(err)
	}
	p.closed = p.conn.NotifyClose(make(chan *amqp.Error, 1))
	if p.ch, err = p.conn.Channel(); err != nil {
		t.Fatal(err)
	}
	if p.deliveries, err = p.ch.Consume("q", "tag", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// serve answers what the library says, until the connection ends.
func (p *peer) serve() {
	if _, err := io.CopyN(io.Discard, p.broker, 8); err != nil {
		return
	}
	answers := map[[4]byte][]byte{
		{0, 10, 0, 11}: appendMethod(nil, 0, 10, 30, []byte{7, 255, 0, frameMax >> 16, 0, 0, 0, 0}),
		{0, 10, 0, 40}: appendMethod(nil, 0, 10, 41, short("")),
		{0, 20, 0, 10}: appendMethod(nil, 1, 20, 11, long(nil)),
		{0, 60, 0, 20}: appendMethod(nil, 1, 60, 21, short("tag")),
		{0, 10, 0, 50}: appendMethod(nil, 0, 10, 51),
	}
	answer := appendMethod(nil, 0, 10, 10, []byte{0, 9}, long(nil), long([]byte("PLAIN")), long([]byte("en_US")))
	for {
		if _, err := p.broker.Write(answer); err != nil {
			return
		}
		kind, payload, err := readFrame(p.broker)
		if err != nil {
			return
		}
		if answer = nil; kind == 1 {
			answer = answers[[4]byte(payload)]
		}
		if kind == frameTypeHeader {
			p.headers <- appendFrame(nil, kind, 1, payload)
		}
	}
}

// deliver has the broker deliver a message with this content header frame, for a message without a body. It returns false if the library
// closes the connection over it.
func (p *peer) deliver(header []byte) (amqp.Delivery, bool) {
	p.tag++
	b := appendMethod(nil, 1, 60, 60, short("tag"), binary.BigEndian.AppendUint64(nil, p.tag), []byte{0}, short(""), short("q"))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = p.broker.Write(append(b, header...))
	}()
	select {
	case d, ok := <-p.deliveries:
		<-sent
		return d, ok
	case <-p.closed:
		_ = p.broker.Close()
		<-sent
		return amqp.Delivery{}, false
	}
}

// split is a reader that returns few bytes at a time, and then io.EOF, sometimes with the last of them.
type split struct {
	rest []byte
	rand *rand.Rand
}

func (s *split) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+s.rand.IntN(1<<s.rand.IntN(20)))], s.rest)
	if s.rest = s.rest[n:]; len(s.rest) == 0 && s.rand.IntN(2) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// readSplit reads everything from r, few bytes at a time.
func readSplit(r io.Reader, rnd *rand.Rand) (string, error) {
	var all strings.Builder
	b := make([]byte, 1<<20)
	for {
		n, err := r.Read(b[:1+rnd.IntN(1<<rnd.IntN(20))])
		all.Write(b[:n])
		if err == io.EOF {
			return all.String(), nil
		}
		if err != nil {
			return "", err
		}
	}
}
