package pool

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/rawamqp"
)

// plain encodes some value of a type code: as much of it as the type has.
func plain(code byte) []byte {
	switch size := fieldSizes[code]; size {
	case 0, varying:
		return rawamqp.Field(code)
	default:
		return rawamqp.Field(code, make([]byte, size-1)...)
	}
}

// many encodes the contents of a table with n entries, or of a list with key false.
func many(n int, key bool) (b []byte) {
	for i := range n {
		if key {
			b = append(b, rawamqp.Short(fmt.Sprint(i))...)
		}
		b = append(b, 'V')
	}
	return b
}

// same encodes a table in which the same few keys come n times.
func same(n, keys int) (b []byte) {
	for i := range n {
		b = append(b, rawamqp.Pair(fmt.Sprint(i%keys), plain('t'))...)
	}
	return b
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
		{0, 10, 0, 11}: rawamqp.AppendMethod(nil, 0, 10, 30, []byte{7, 255, 0, frameMax >> 16, 0, 0, 0, 0}),
		{0, 10, 0, 40}: rawamqp.AppendMethod(nil, 0, 10, 41, rawamqp.Short("")),
		{0, 20, 0, 10}: rawamqp.AppendMethod(nil, 1, 20, 11, rawamqp.Long(nil)),
		{0, 60, 0, 20}: rawamqp.AppendMethod(nil, 1, 60, 21, rawamqp.Short("tag")),
		{0, 10, 0, 50}: rawamqp.AppendMethod(nil, 0, 10, 51),
	}
	answer := rawamqp.AppendMethod(nil, 0, 10, 10, []byte{0, 9}, rawamqp.Long(nil), rawamqp.Long([]byte("PLAIN")), rawamqp.Long([]byte("en_US")))
	for {
		if _, err := p.broker.Write(answer); err != nil {
			return
		}
		kind, payload, err := rawamqp.ReadFrame(p.broker)
		if err != nil {
			return
		}
		if answer = nil; kind == 1 {
			answer = answers[[4]byte(payload)]
		}
		if kind == frameTypeHeader {
			p.headers <- rawamqp.AppendFrame(nil, kind, 1, payload)
		}
	}
}

// deliver has the broker deliver a message with this content header frame, for a message without a body. It returns false if the library
// closes the connection over it.
func (p *peer) deliver(header []byte) (amqp.Delivery, bool) {
	p.tag++
	b := rawamqp.AppendMethod(nil, 1, 60, 60, rawamqp.Short("tag"), binary.BigEndian.AppendUint64(nil, p.tag), []byte{0}, rawamqp.Short(""), rawamqp.Short("q"))
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
