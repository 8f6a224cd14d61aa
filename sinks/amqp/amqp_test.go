package amqp_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
	"github.com/pipeamqp/pipe/expr"
	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testpool"
	"github.com/pipeamqp/pipe/pool"
	"github.com/pipeamqp/pipe/sinks/amqp"
	sourceamqp "github.com/pipeamqp/pipe/sources/amqp"
)

const patience = time.Minute

func TestMain(m *testing.M) { os.Exit(testbroker.Main(m)) }

func newSink(t *testing.T, c amqp.Config) *amqp.Sink {
	t.Helper()
	s, err := amqp.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send sends a message and waits for its outcome.
func send(t *testing.T, s *amqp.Sink, m *engine.Message) error {
	t.Helper()
	outcome := make(chan error, 1)
	s.Send(t.Context(), m, func(err error) { outcome <- err })
	select {
	case err := <-outcome:
		return err
	case <-time.After(patience):
		t.Fatal("there is no outcome")
		return nil
	}
}

func sent(t *testing.T, s *amqp.Sink, m *engine.Message) {
	t.Helper()
	if err := send(t, s, m); err != nil {
		t.Fatal(err)
	}
}

// failed sends a message that must fail, as the engine is to know of it.
func failed(t *testing.T, s *amqp.Sink, m *engine.Message, kind engine.Kind, permanent bool, words ...string) {
	t.Helper()
	err := send(t, s, m)
	if err == nil {
		t.Fatal("the message was confirmed")
	}
	if engine.KindOf(err) != kind || engine.IsPermanent(err) != permanent {
		t.Errorf("kind %s, permanent %v, of %v", engine.KindOf(err), engine.IsPermanent(err), err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("no %q in %v", w, err)
		}
	}
}

// received takes n messages from a queue.
func received(t *testing.T, p *pool.Pool, queue string, n int) []*engine.Message {
	t.Helper()
	source, err := sourceamqp.New(sourceamqp.Config{Connection: p, Queue: &pool.Queue{Name: queue}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var got []*engine.Message
	err = source.Run(ctx, func(chunk []engine.Delivery) {
		for _, d := range chunk {
			got = append(got, d.Message)
			d.Settler.Settle(d.Tag, engine.Ack)
		}
		if len(got) >= n {
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// owning is a sink with a pool of its own, so that a conformance test sees whether goroutines are left when both have ended.
type owning struct {
	*amqp.Sink
	pool *pool.Pool
}

func (o owning) Start(ctx context.Context) error { return o.pool.Start(ctx) }

func (o owning) Close(ctx context.Context) error {
	return errors.Join(o.Sink.Close(ctx), o.pool.Close(ctx))
}

func TestConformance(t *testing.T) {
	refused := engine.NewMessage([]byte("too much"), nil)
	refused.Properties.MessageID = strings.Repeat("x", 256)
	enginetest.TestSink(t, func(t *testing.T) enginetest.SinkCase {
		url := testbroker.VHost(t)
		testbroker.Declare(t, url, "q")
		p, err := pool.Open(pool.Options{URLs: []string{url}})
		if err != nil {
			t.Fatal(err)
		}
		return enginetest.SinkCase{
			Sink:     owning{newSink(t, amqp.Config{Connection: p, Queue: &pool.Queue{Name: "q"}, Mandatory: true}), p},
			Received: func(n int) []*engine.Message { return received(t, p, "q", n) },
			Refused:  refused,
		}
	})
}

// bound makes a virtual host with the queue "q" bound to the topic exchange "x" with the key "a.#".
func bound(t *testing.T) (url string) {
	t.Helper()
	url = testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	ch := testbroker.Channel(t, url)
	if err := ch.ExchangeDeclare("x", "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("q", "a.#", "x", false, nil); err != nil {
		t.Fatal(err)
	}
	return url
}

func message(body, key string) *engine.Message {
	m := engine.NewMessage([]byte(body), nil)
	m.RoutingKey = key
	return m
}

func TestRoutingKey(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}})
	x := &pool.Exchange{Name: "x"}
	as := newSink(t, amqp.Config{Connection: p, Exchange: x, Mandatory: true})
	sent(t, as, message(`{}`, "a.kept"))
	chosen := newSink(t, amqp.Config{Connection: p, Exchange: x, Mandatory: true, RoutingKey: expr.MustParseString(`"a.${body.region}"`)})
	sent(t, chosen, message(`{"region": "eu"}`, "b"))
	failed(t, chosen, message(`{}`, "b"), engine.KindExpression, true, "body.region")
	for i, m := range received(t, p, "q", 2) {
		if want := []string{"a.kept", "a.eu"}[i]; m.RoutingKey != want || m.Exchange != "x" {
			t.Errorf("%s, %s; want %s", m.Exchange, m.RoutingKey, want)
		}
	}
}

func TestNowhereToGo(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}})
	mandatory := newSink(t, amqp.Config{Connection: p, Exchange: &pool.Exchange{Name: "x"}, Mandatory: true})
	failed(t, mandatory, message(`{}`, "b"), engine.KindUnroutable, true, `"x"`, `"b"`)
	sent(t, mandatory, message(`{}`, "a"))
	careless := newSink(t, amqp.Config{Connection: p, Exchange: &pool.Exchange{Name: "x"}})
	sent(t, careless, message(`{}`, "b"))
	missing := newSink(t, amqp.Config{Connection: p, Exchange: &pool.Exchange{Name: "none"}, Mandatory: true})
	failed(t, missing, message(`{}`, "a"), engine.KindUnroutable, true, `"none"`)
	noQueue := newSink(t, amqp.Config{Connection: p, Queue: &pool.Queue{Name: "none"}, Mandatory: true})
	failed(t, noQueue, message(`{}`, "a"), engine.KindUnroutable, true, `"none"`)
	if n := len(received(t, p, "q", 1)); n != 1 {
		t.Errorf("%d messages have arrived", n)
	}
}

func TestExchangeBy(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}})
	s := newSink(t, amqp.Config{
		Connection: p, Mandatory: true, RoutingKey: expr.MustParseString(`"a"`),
		ExchangeBy: expr.MustParseString(`body.to`), Exchanges: []*pool.Exchange{{Name: "x"}, {Name: "none"}},
	})
	sent(t, s, message(`{"to": "x"}`, ""))
	failed(t, s, message(`{"to": "amq.direct"}`, ""), engine.KindUnroutable, true, `"amq.direct"`)
	failed(t, s, message(`{"to": "none"}`, ""), engine.KindUnroutable, true, `"none"`)
	received(t, p, "q", 1)
}

func TestTooLarge(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}, Publish: pool.PublishOptions{MaxMessage: 1000}})
	s := newSink(t, amqp.Config{Connection: p, Queue: &pool.Queue{Name: "q"}, Mandatory: true})
	failed(t, s, message(strings.Repeat("x", 1001), ""), engine.KindTooLarge, true, "1001", "1000")
	sent(t, s, message(strings.Repeat("x", 1000), ""))
}

// TestHeaders expects that the sink's headers join the message's, which stay what they are for others.
func TestHeaders(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}})
	headers, err := expr.ParseMap(`{ tier = body.tier, both = "sink", nested = { a = [1, "b"] } }`)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t, amqp.Config{Connection: p, Queue: &pool.Queue{Name: "q"}, Mandatory: true, Headers: headers})
	m := engine.NewMessage([]byte(`{"tier": "gold"}`), map[string]any{
		"both": "message", "own": engine.Decimal{Scale: 1, Value: 5},
		"deep": []any{map[string]any{"d": engine.Decimal{Scale: 2, Value: 7}}},
	})
	sent(t, s, m)
	if v, _ := m.Headers.Get("both"); v != "message" || m.Headers.Len() != 3 {
		t.Errorf("the message's own headers have changed: %v", m.Headers.Table())
	}
	want := engine.NewMessage(m.Body, map[string]any{
		"both": "sink", "own": engine.Decimal{Scale: 1, Value: 5}, "tier": "gold",
		"nested": map[string]any{"a": []any{int64(1), "b"}},
		"deep":   []any{map[string]any{"d": engine.Decimal{Scale: 2, Value: 7}}},
	})
	if d := enginetest.Diff(want, received(t, p, "q", 1)[0]); d != "" {
		t.Error(d)
	}
}

func TestDeliveryMode(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}})
	for mode, want := range map[string][3]uint8{"keep": {0, 1, 2}, "": {0, 1, 2}, "persistent": {2, 2, 2}, "transient": {1, 1, 1}} {
		s := newSink(t, amqp.Config{Connection: p, Queue: &pool.Queue{Name: "q"}, DeliveryMode: mode})
		for input := range uint8(3) {
			m := message("x", "")
			m.Properties.DeliveryMode = input
			sent(t, s, m)
			if got := received(t, p, "q", 1)[0].Properties.DeliveryMode; got != want[input] {
				t.Errorf("%q of %d is %d", mode, input, got)
			}
		}
	}
}

func TestUserID(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}})
	q := &pool.Queue{Name: "q"}
	m := message("x", "")
	m.Properties.UserID = "somebody else"
	sent(t, newSink(t, amqp.Config{Connection: p, Queue: q}), m)
	if got := received(t, p, "q", 1)[0].Properties.UserID; got != "" {
		t.Errorf("the user is %q", got)
	}
	keeps := newSink(t, amqp.Config{Connection: p, Queue: q, KeepUserID: true})
	failed(t, keeps, m, engine.KindStage, true, "somebody else", "guest")
	m.Properties.UserID = "guest"
	sent(t, keeps, m)
	if got := received(t, p, "q", 1)[0].Properties.UserID; got != "guest" {
		t.Errorf("the user is %q", got)
	}
}

// TestFullQueue expects that a message that the queue refuses is not lost: its failure may pass.
func TestFullQueue(t *testing.T) {
	url := testbroker.VHost(t)
	_, err := testbroker.Channel(t, url).QueueDeclare("full", true, false, false, false,
		amqp091.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink(t, amqp.Config{Connection: testpool.Start(t, pool.Options{URLs: []string{url}}), Queue: &pool.Queue{Name: "full"}, Mandatory: true})
	sent(t, s, message("first", ""))
	testbroker.Eventually(t, patience, func() bool {
		err = send(t, s, message("second", ""))
		return err != nil
	}, "the queue is full")
	if engine.KindOf(err) != engine.KindNacked || engine.IsPermanent(err) {
		t.Errorf("kind %s, permanent %v, of %v", engine.KindOf(err), engine.IsPermanent(err), err)
	}
}

func TestClosed(t *testing.T) {
	p := testpool.Start(t, pool.Options{URLs: []string{bound(t)}})
	s := newSink(t, amqp.Config{Connection: p, Queue: &pool.Queue{Name: "q"}, Mandatory: true})
	sent(t, s, message("x", ""))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := send(t, s, message("y", "")); !errors.Is(err, pool.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestNew(t *testing.T) {
	p, err := pool.Open(pool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, x := &pool.Queue{Name: "q"}, &pool.Exchange{Name: "x"}
	by := expr.MustParseString(`body.x`)
	for name, c := range map[string]amqp.Config{
		"no connection":             {Queue: q},
		"nowhere":                   {Connection: p},
		"two":                       {Connection: p, Queue: q, Exchange: x},
		"exchange_by alone":         {Connection: p, ExchangeBy: by},
		"exchanges alone":           {Connection: p, Exchange: x, Exchanges: []*pool.Exchange{x}},
		"a queue and a routing key": {Connection: p, Queue: q, RoutingKey: by},
	} {
		if _, err := amqp.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
