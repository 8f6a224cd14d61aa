package devbroker_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/devbroker"
)

// recorded keeps what a client writes.
type recorded struct {
	net.Conn
	written *bytes.Buffer
}

func (r recorded) Write(b []byte) (int, error) {
	r.written.Write(b)
	return r.Conn.Write(b)
}

// session returns all that a well-behaved client sends that declares, publishes, gets and consumes.
func session(f *testing.F, url string) []byte {
	f.Helper()
	var written bytes.Buffer
	conn, err := amqp.DialConfig(url, amqp.Config{Dial: func(network, address string) (net.Conn, error) {
		c, err := net.Dial(network, address)
		return recorded{c, &written}, err
	}})
	if err != nil {
		f.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		f.Fatal(err)
	}
	_ = ch.Confirm(false)
	_ = ch.ExchangeDeclare("x", "headers", false, true, false, false, amqp.Table{"alternate-exchange": "amq.fanout"})
	_, _ = ch.QueueDeclare("q", false, false, false, false, amqp.Table{"x-max-length": 3, "x-dead-letter-exchange": "amq.topic", "x-message-ttl": 1000})
	_ = ch.QueueBind("q", "", "x", false, amqp.Table{"x-match": "any", "a": []any{int32(1), "b", amqp.Table{"c": nil}}})
	_ = ch.Publish("x", "k", true, false, amqp.Publishing{Body: []byte("body"), Headers: amqp.Table{"a": int64(1)}, Expiration: "10", Priority: 1})
	_ = ch.Qos(2, 0, true)
	_, _ = ch.Consume("q", "tag", false, false, false, false, nil)
	_ = ch.Publish("", "q", true, false, amqp.Publishing{Body: make([]byte, 5000), ReplyTo: "r"})
	_ = ch.Nack(1, true, true)
	_, _, _ = ch.Get("q", true)
	_ = ch.Cancel("tag", false)
	_, _ = ch.QueueDelete("q", false, false, false)
	_ = conn.Close()
	return written.Bytes()
}

// FuzzConnection has a client send what it likes: the broker neither crashes nor hangs, and serves the next client.
func FuzzConnection(f *testing.F) {
	s, err := devbroker.Start("127.0.0.1:0", devbroker.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	whole := session(f, s.URL())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("AMQP\x00\x00\x09\x01"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		hostile(t, s.Addr(), sent)
	})
}

func hostile(t *testing.T, address string, sent []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = conn.Write(sent)
	_ = conn.(*net.TCPConn).CloseWrite()
	// The broker ends the connection: it has read all of it, or does not want more.
	if _, err := io.Copy(io.Discard, conn); os.IsTimeout(err) {
		t.Fatal("the broker does not end the connection")
	}
}
