package devbroker_test

import (
	"net"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/devbroker"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// A client that logs in, and then sends something else than it should, does no harm to others.
func TestHostileClients(t *testing.T) {
	s := start(t, devbroker.Options{MaxMemory: 1 << 20})
	for name, sent := range map[string]string{
		"another protocol":       "GET / HTTP/1.1\r\n\r\n",
		"nothing":                "",
		"half a greeting":        greeting[:5],
		"a huge frame":           greeting + "\x01\x00\x00\xff\xff\xff\xff",
		"a frame without an end": greeting + "\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\x00",
		"a body first":           greeting + "\x03\x00\x01\x00\x00\x00\x01x\xce",
	} {
		t.Run(name, func(t *testing.T) { hostile(t, s.Addr(), []byte(sent)) })
	}
	conn, err := amqp.Dial(s.URL())
	if err != nil {
		t.Fatal("nobody else is served:", err)
	}
	defer conn.Close()
	told := conn.NotifyBlocked(make(chan amqp.Blocking, 100))
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	// More than fits is not taken, and goes on when there is room. The client is told a few times, not with every message.
	for range 20 {
		if err := ch.Publish("", "q", false, false, amqp.Publishing{Body: make([]byte, 100_000)}); err != nil {
			t.Fatal(err)
		}
	}
	if b := <-told; !b.Active || b.Reason != "low on memory" {
		t.Errorf("%+v", b)
	}
	other, err := amqp.Dial(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	taker, err := other.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for taken, deadline := 0, time.Now().Add(patience); taken < 20; {
		if _, ok, err := taker.Get("q", true); err != nil {
			t.Fatal(err)
		} else if ok {
			taken++
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 20 have come", taken)
		}
	}
	if b := <-told; b.Active {
		t.Errorf("%+v", b)
	}
	if n := len(told); n > 10 {
		t.Errorf("the client was told %d times more", n)
	}
}

// served expects that the broker takes a message of another client, now.
func served(t *testing.T, url string) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		conn, err := amqp.DialConfig(url, amqp.Config{Dial: amqp.DefaultDial(2 * patience)})
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err == nil {
			err = ch.Confirm(false)
		}
		if err != nil {
			done <- err
			return
		}
		c, err := ch.PublishWithDeferredConfirm("", "nosuch", false, false, amqp.Publishing{})
		if err == nil {
			c.Wait()
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal("nobody else is served:", err)
		}
	case <-time.After(2 * patience):
		t.Fatal("the broker hangs")
	}
}

// must returns a channel's error to the test.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A pattern of many #, which could be matched in more ways than there are atoms.
func TestHostilePattern(t *testing.T) {
	s := start(t, devbroker.Options{})
	ch := testbroker.Channel(t, s.URL())
	_, err := ch.QueueDeclare("q", false, false, false, false, nil)
	must(t, err)
	must(t, ch.QueueBind("q", strings.Repeat("#.a.", 60)+"b", "amq.topic", false, nil))
	must(t, ch.Publish("amq.topic", strings.Repeat("a.", 120)+"a", false, false, amqp.Publishing{}))
	served(t, s.URL())
}

// Full queues whose dead letters go to all of them, by a message that claims to have been rejected before: each would become twelve.
func TestHostileDeadLetters(t *testing.T) {
	s := start(t, devbroker.Options{})
	ch := testbroker.Channel(t, s.URL())
	for _, q := range strings.Split("abcdefghijkl", "") {
		_, err := ch.QueueDeclare(q, false, false, false, false, amqp.Table{"x-max-length": 0, "x-dead-letter-exchange": "amq.fanout"})
		must(t, err)
		must(t, ch.QueueBind(q, "", "amq.fanout", false, nil))
	}
	rejected := []any{amqp.Table{"queue": "a", "reason": "rejected", "count": int64(1)}}
	must(t, ch.Publish("amq.fanout", "", false, false, amqp.Publishing{Headers: amqp.Table{"x-death": rejected}}))
	must(t, ch.Publish("amq.fanout", "", false, false, amqp.Publishing{}))
	served(t, s.URL())
}

// What headers take counts as memory, and a client that is blocked and goes away leaves nothing behind that blocks others.
func TestHostileHeaders(t *testing.T) {
	s := start(t, devbroker.Options{MaxMemory: 1 << 20})
	conn, err := amqp.Dial(s.URL())
	must(t, err)
	told := conn.NotifyBlocked(make(chan amqp.Blocking, 100))
	ch, err := conn.Channel()
	must(t, err)
	_, err = ch.QueueDeclare("q", false, false, true, false, nil)
	must(t, err)
	for range 20 {
		must(t, ch.Publish("", "q", false, false, amqp.Publishing{Headers: amqp.Table{"h": make([]any, 50_000)}}))
	}
	select {
	case b := <-told:
		if !b.Active {
			t.Errorf("%+v", b)
		}
	case <-time.After(2 * patience):
		t.Fatal("headers take no memory")
	}
	hangUp(conn)
	served(t, s.URL())
}

// hangUp closes the socket of a connection under it.
func hangUp(conn *amqp.Connection) {
	_ = conn.CloseDeadline(time.Now().Add(-time.Second))
}

// Bindings with large arguments: there is an end to what clients may declare, and what goes makes room.
func TestHostileDeclarations(t *testing.T) {
	s := start(t, devbroker.Options{})
	bind := func() (n int, err error) {
		ch := testbroker.Channel(t, s.URL())
		_, err = ch.QueueDeclare("q", false, false, true, false, nil)
		must(t, err)
		for ; n < 100_000; n++ {
			list := make([]any, 50_000)
			list[0] = n
			if err := ch.QueueBind("q", "", "amq.headers", false, amqp.Table{"h": list}); err != nil {
				return n, err
			}
		}
		return n, nil
	}
	first, err := bind()
	if e, ok := err.(*amqp.Error); !ok || e.Code != amqp.ResourceError {
		t.Fatalf("after %d bindings: %v", first, err)
	}
	served(t, s.URL())
	if again, _ := bind(); again != first {
		t.Errorf("%d bindings could be made, and then %d", first, again)
	}
}

// Each routing key of a message is compared with each binding: there is an end to them.
func TestHostileCopies(t *testing.T) {
	s := start(t, devbroker.Options{})
	ch := testbroker.Channel(t, s.URL())
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	keys := make([]any, 101)
	for i := range keys {
		keys[i] = "k"
	}
	must(t, ch.Publish("amq.topic", "k", false, false, amqp.Publishing{Headers: amqp.Table{"CC": keys}}))
	if e := <-closed; e == nil || e.Code != amqp.PreconditionFailed {
		t.Error(e)
	}
}

// A body that is longer than its header says.
func TestHostileBody(t *testing.T) {
	s := start(t, devbroker.Options{})
	conn := login(t, s.Addr())
	conn.method(1, 20, 10, short(""))
	conn.method(1, 60, 40, word(0), short(""), short("q"), octet(0))
	conn.frame(2, 1, word(60), word(0), longlong(5), word(0))
	conn.frame(3, 1, make([]byte, 9))
	conn.read()
	if got := conn.read(); !strings.HasPrefix(got, "connection.close 501 ") {
		t.Error(got)
	}
}

// Answers to a client that does not read pile up to some size only.
func TestHostileAsker(t *testing.T) {
	s := start(t, devbroker.Options{})
	conn := login(t, s.Addr())
	conn.method(1, 20, 10, short(""))                                                                // channel.open
	conn.method(1, 60, 20, word(0), short("amq.rabbitmq.reply-to"), short("tag"), octet(2), table()) // basic.consume
	conn.method(1, 50, 10, word(0), short("q"), octet(0), table())
	for range 3 { // its answers, and nothing from now on
		conn.read()
	}
	conn.method(1, 60, 40, word(0), short(""), short("q"), octet(0)) // basic.publish, with reply-to
	conn.frame(2, 1, word(60), word(0), longlong(0), word(1<<9), short("amq.rabbitmq.reply-to"))

	ch := testbroker.Channel(t, s.URL())
	question := amqp.Delivery{}
	testbroker.Eventually(t, 2*patience, func() (ok bool) {
		question, ok, _ = ch.Get("q", true)
		return ok
	}, "the question has come")
	returns := ch.NotifyReturn(make(chan amqp.Return, 1000))
	must(t, ch.Confirm(false))
	for range 100 {
		c, err := ch.PublishWithDeferredConfirm("", question.ReplyTo, true, false, amqp.Publishing{Body: make([]byte, 1<<20)})
		must(t, err)
		if c.Wait(); len(returns) > 0 {
			return
		}
	}
	t.Error("a hundred megabytes wait for a client that does not read")
}

// A frame that is larger than what a client needs to log in is not waited for.
func TestHostileLogin(t *testing.T) {
	s := start(t, devbroker.Options{})
	conn, err := net.Dial("tcp", s.Addr())
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("AMQP\x00\x00\x09\x01\x01\x00\x00\x00\x01\x00\x00"))
	must(t, err)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for buf := make([]byte, 1000); err == nil; {
		_, err = conn.Read(buf)
	}
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Error("the broker waits for a frame of 64 KiB")
	}
}

// What a connection holds comes back once, however many channels it has: one that is about to end is not given what another held.
func TestLostConnectionCountsOnce(t *testing.T) {
	s := start(t, devbroker.Options{})
	ch := testbroker.Channel(t, s.URL())
	_, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
	must(t, err)
	conn, err := amqp.Dial(s.URL())
	must(t, err)
	var taken <-chan amqp.Delivery
	for range 5 {
		c, err := conn.Channel()
		must(t, err)
		ds, err := c.Consume("q", "", false, false, false, false, nil)
		must(t, err)
		if taken == nil {
			taken = ds
		}
	}
	must(t, ch.Publish("", "q", false, false, amqp.Publishing{}))
	<-taken
	hangUp(conn)
	testbroker.Eventually(t, patience, func() bool {
		d, ok, err := ch.Get("q", true)
		if ok && d.Headers["x-delivery-count"] != int64(1) {
			t.Errorf("%v", d.Headers)
		}
		return ok && err == nil
	}, "the message has come back")
}
