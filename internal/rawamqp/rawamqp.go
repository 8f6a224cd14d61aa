// Package rawamqp speaks AMQP 0-9-1 beneath the client library, for tests: it publishes headers that the library would not encode.
package rawamqp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// FrameHeader is the type of a content header frame.
const FrameHeader = 2

// AppendFrame appends a frame of a type.
func AppendFrame(b []byte, kind byte, channel uint16, payload []byte) []byte {
	b = append(b, kind)
	b = binary.BigEndian.AppendUint16(b, channel)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), 0xCE)
}

// AppendMethod appends the frame of a method.
func AppendMethod(b []byte, channel, class, method uint16, arguments ...[]byte) []byte {
	payload := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, class), method)
	for _, a := range arguments {
		payload = append(payload, a...)
	}
	return AppendFrame(b, 1, channel, payload)
}

// AppendContent encodes the header of a message with a content-type, headers of these contents, a correlation-id and a message-id; and its body.
func AppendContent(b []byte, channel uint16, id string, table []byte, body string) []byte {
	header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(body)))
	header = binary.BigEndian.AppendUint16(header, 1<<15|1<<13|1<<10|1<<7)
	header = append(header, Short("text/plain")...)
	header = append(header, Long(table)...)
	header = append(header, Short(id)...)
	header = append(header, Short(id)...)
	b = AppendFrame(b, FrameHeader, channel, header)
	if body != "" {
		b = AppendFrame(b, 3, channel, []byte(body))
	}
	return b
}

// Short encodes a short string.
func Short(s string) []byte { return append([]byte{byte(len(s))}, s...) }

// Long encodes a long string, or a table with its length.
func Long(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

// Field encodes a value of any type code.
func Field(code byte, value ...byte) []byte {
	if strings.IndexByte("SxAF", code) >= 0 {
		value = Long(value)
	}
	return append([]byte{code}, value...)
}

// Pair encodes a table's entry.
func Pair(key string, value []byte) []byte { return append(Short(key), value...) }

// Nested encodes a table's entry with tables ('F') or lists ('A') inside one another, n of them.
func Nested(code byte, n int) []byte {
	value := Field('V')
	for range n {
		if code == 'F' {
			value = Pair("k", value)
		}
		value = Field(code, value...)
	}
	return Pair("nested", value)
}

// Conn is a connection to a broker, with channel 1 open in confirm mode.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
}

// Dial connects to a broker, until the test ends or the connection is closed.
func Dial(t testing.TB, url string) *Conn {
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
	r := &Conn{conn, bufio.NewReader(conn)}
	r.write(t, []byte("AMQP\x00\x00\x09\x01"))
	r.expect(t, 10, 10)
	r.write(t, AppendMethod(nil, 0, 10, 11, Long(nil), Short("PLAIN"), Long([]byte("\x00"+uri.Username+"\x00"+uri.Password)), Short("en_US")))
	tune := r.expect(t, 10, 30)
	r.write(t, AppendMethod(nil, 0, 10, 31, tune))
	r.write(t, AppendMethod(nil, 0, 10, 40, Short(uri.Vhost), Short(""), []byte{0}))
	r.expect(t, 10, 41)
	r.write(t, AppendMethod(nil, 1, 20, 10, Short("")))
	r.expect(t, 20, 11)
	r.write(t, AppendMethod(nil, 1, 85, 10, []byte{0}))
	r.expect(t, 85, 11)
	return r
}

// Close closes the connection, without a word to the broker.
func (r *Conn) Close() { _ = r.conn.Close() }

func (r *Conn) write(t testing.TB, b []byte) {
	t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		t.Fatal(err)
	}
}

// read returns the next method.
func (r *Conn) read() (class, method uint16, arguments []byte, err error) {
	for {
		kind, payload, err := ReadFrame(r.in)
		if err != nil {
			return 0, 0, nil, err
		}
		if kind == 1 {
			return binary.BigEndian.Uint16(payload), binary.BigEndian.Uint16(payload[2:]), payload[4:], nil
		}
	}
}

// ReadFrame reads a frame.
func ReadFrame(r io.Reader) (kind byte, payload []byte, err error) {
	var head [7]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	return head[0], payload[:len(payload)-1], nil
}

func (r *Conn) expect(t testing.TB, class, method uint16) []byte {
	t.Helper()
	c, m, arguments, err := r.read()
	if err != nil || c != class || m != method {
		t.Fatalf("the broker sent %d.%d %q, not %d.%d: %v", c, m, arguments, class, method, err)
	}
	return arguments
}

// ErrRefused says that the broker closes the connection over a message.
var ErrRefused = errors.New("the broker closed the connection")

// Publish publishes a message as [AppendContent] encodes it, with "body of" and the id as its body, and waits for the confirm.
func (r *Conn) Publish(exchange, key, id string, table []byte) error {
	b := AppendMethod(nil, 1, 60, 40, []byte{0, 0}, Short(exchange), Short(key), []byte{0})
	if _, err := r.conn.Write(AppendContent(b, 1, id, table, "body of "+id)); err != nil {
		return err
	}
	class, method, arguments, err := r.read()
	switch {
	case err != nil:
		return err
	case class == 60 && method == 80:
		return nil
	}
	return fmt.Errorf("%w: %q", ErrRefused, arguments)
}
