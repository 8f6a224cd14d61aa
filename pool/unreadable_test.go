package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/rawamqp"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// poison is a message that the broker took, and what the pool is expected to say of it.
type poison struct {
	name  string
	table []byte
	why   string // "" if its headers are readable
}

// odd returns the headers with which the tests try the broker.
func odd() []poison {
	var all []poison
	for _, c := range tables {
		all = append(all, poison{c.name, c.table, c.why})
	}
	for code := range 256 {
		value, name := plain(byte(code)), fmt.Sprintf("type %q", byte(code))
		if fieldSizes[code] == 0 {
			all = append(all, poison{name, rawamqp.Pair("k", value), "unknown type code"})
			continue
		}
		all = append(all, poison{name, rawamqp.Pair("k", value), ""}, poison{name + " in a list", rawamqp.Pair("k", rawamqp.Field('A', value...)), ""})
	}
	for name, f := range map[string]float64{"NaN": math.NaN(), "infinity": math.Inf(1)} {
		d, s := math.Float64bits(f), math.Float32bits(float32(f))
		all = append(all,
			poison{name, rawamqp.Pair("k", rawamqp.Field('d', byte(d>>56), byte(d>>48), byte(d>>40), byte(d>>32), byte(d>>24), byte(d>>16), byte(d>>8), byte(d))), ""},
			poison{"short " + name, rawamqp.Pair("k", rawamqp.Field('f', byte(s>>24), byte(s>>16), byte(s>>8), byte(s))), ""})
	}
	return all
}

// takes returns those of the odd messages that the broker takes, and does not close the connection over.
func takes(t *testing.T, url string) []poison {
	t.Helper()
	all := odd()
	refused := make([]bool, len(all))
	var next atomic.Int32
	var work conc.WaitGroup
	for range 16 { // it mostly waits
		work.Go(func() {
			r := rawamqp.Dial(t, url)
			for i := next.Add(1) - 1; int(i) < len(all); i = next.Add(1) - 1 {
				err := r.Publish("", "nobody", all[i].name, all[i].table)
				if refused[i] = errors.Is(err, rawamqp.ErrRefused); refused[i] {
					r.Close()
					r = rawamqp.Dial(t, url)
				} else if err != nil {
					t.Error(all[i].name, err)
				}
			}
		})
	}
	work.Wait()
	var took, names []string
	var left []poison
	for i, m := range all {
		if refused[i] {
			names = append(names, m.name)
			continue
		}
		left, took = append(left, m), append(took, m.name)
	}
	t.Logf("taken: %s", strings.Join(took, "; "))
	t.Logf("the broker closes the connection over: %s", strings.Join(names, "; "))
	return left
}

// publishOdd publishes messages to an exchange, each between two good ones. It returns all, in order.
func publishOdd(t *testing.T, url, exchange string, odd []poison) (sent []poison) {
	t.Helper()
	good := poison{"good", rawamqp.Pair("a", rawamqp.Field('S', []byte("header")...)), ""}
	sent = append(sent, good)
	for _, m := range odd {
		sent = append(sent, m, good)
	}
	r := rawamqp.Dial(t, url)
	for _, m := range sent {
		if err := r.Publish(exchange, "", m.name, m.table); err != nil {
			t.Fatal(m.name, err)
		}
	}
	return sent
}

// check says whether a delivery is what was published; verbatim if the broker has not encoded its headers anew.
func (m poison) check(d *Delivery, verbatim bool) error {
	var unreadable *ErrUnreadable
	marked := errors.As(d.Unreadable, &unreadable)
	switch {
	case d.MessageId != m.name || string(d.Body) != "body of "+m.name || d.ContentType != "text/plain":
		return fmt.Errorf("%q: %q, %q", m.name, d.MessageId, d.Body)
	case m.why == "" && d.Unreadable != nil:
		return fmt.Errorf("%q: %w", m.name, d.Unreadable)
	case m.why == "" && len(m.table) > 0 && len(d.Headers) == 0:
		return fmt.Errorf("%q has lost its headers", m.name)
	case m.why == "":
		return nil
	case !marked || len(d.Headers) > 0 || !strings.Contains(unreadable.Reason, m.why):
		return fmt.Errorf("%q: %v, %d headers", m.name, d.Unreadable, len(d.Headers))
	case verbatim && !bytes.Equal(unreadable.Table, m.table):
		return fmt.Errorf("%q: %d bytes of %d are kept", m.name, len(unreadable.Table), len(m.table))
	}
	return nil
}

// TestUnreadable expects that messages with headers that the library does not read arrive among others, in order and marked, and no
// connection is closed.
func TestUnreadable(t *testing.T) {
	url := testbroker.VHost(t)
	ch := testbroker.Channel(t, url)
	for _, q := range []struct{ name, kind string }{{"one", "classic"}, {"hundred", "classic"}, {"quorum", "quorum"}, {"get", "classic"}, {"listen", "classic"}} {
		if _, err := ch.QueueDeclare(q.name, true, false, false, false, Table{"x-queue-type": q.kind}); err != nil {
			t.Fatal(err)
		}
		if err := ch.QueueBind(q.name, "", "amq.fanout", false, nil); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, Options{URLs: []string{url}})
	sent := publishOdd(t, url, "amq.fanout", takes(t, url))
	version, _ := testbroker.Dial(t, url).Properties["version"].(string)
	verbatim := !strings.HasPrefix(version, "4.") // all queues of RabbitMQ 4 encode headers anew, each key once
	bad := 0
	for i := range sent {
		m := &sent[i]
		if !verbatim && m.name == "8,192 keys, and the last again" {
			m.why = ""
		}
		if m.why != "" {
			bad++
		}
	}
	for queue, prefetch := range map[string]int{"one": 1, "hundred": 100, "quorum": 100} {
		t.Run(queue, func(t *testing.T) {
			before := p.Stats()
			ctx, cancel := context.WithCancel(within(t, patience))
			i := 0
			err := p.Consume(ctx, ConsumeOptions{Queue: queue, Prefetch: prefetch}, func(chunk []Delivery) {
				for j := range chunk {
					if err := sent[i].check(&chunk[j], verbatim && queue != "quorum"); err != nil {
						t.Error(i, err)
					}
					chunk[j].Ack()
					i++
				}
				if i == len(sent) {
					cancel()
				}
			})
			if err != nil || i != len(sent) {
				t.Fatal(i, err)
			}
			after := p.Stats()
			if int(after.Unreadable-before.Unreadable) != bad || after.Acked-before.Acked != uint64(len(sent)) {
				t.Errorf("%+v", after)
			}
		})
	}
	t.Run("get", func(t *testing.T) {
		for i, m := range sent {
			d, ok, err := p.Get(within(t, patience), "get")
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			if err := m.check(d, verbatim); err != nil {
				t.Error(i, err)
			}
			d.Ack()
		}
	})
	t.Run("listen", func(t *testing.T) {
		ctx, cancel := context.WithCancel(within(t, patience))
		i := 0
		see := func(d *Delivery) {
			if err := sent[i].check(d, verbatim); err != nil {
				t.Error(i, err)
			}
			if i++; i == len(sent) {
				cancel()
			}
		}
		err := p.Listen(ctx, "listen", func(_ context.Context, d *Delivery) error {
			if d.Unreadable != nil {
				t.Error("a handler is called without the headers")
			}
			see(d)
			return nil
		}, ListenerOptions{Failed: func(d *Delivery, err error) Outcome {
			var unreadable *ErrUnreadable
			if !errors.As(err, &unreadable) {
				t.Error(err)
			}
			see(d)
			return Reject
		}})
		if err != nil || i != len(sent) {
			t.Error(i, err)
		}
	})
	if s := p.Stats(); s.Connects != 2 || s.Unsettled != 0 || s.DoubleSettle != 0 {
		t.Errorf("%+v", s)
	}
	for _, q := range []string{"one", "hundred", "quorum", "get", "listen"} {
		testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, q) == 0 }, q+" is empty")
	}
}

// TestUnreadableDeliveries expects that the loop hands over what is unreadable, and what comes after it.
func TestUnreadableDeliveries(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	r := rawamqp.Dial(t, url)
	for _, table := range [][]byte{nil, rawamqp.Nested('F', 100), nil} {
		if err := r.Publish("", "q", "m", table); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, Options{URLs: []string{url}})
	var got []bool
	for d, err := range p.Deliveries(within(t, patience), ConsumeOptions{Queue: "q"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d.Unreadable != nil)
		d.Ack()
		if len(got) == 3 {
			break
		}
	}
	if !slices.Equal(got, []bool{false, true, false}) {
		t.Error(got)
	}
}

// TestUnreadableComesAgain expects that it can be given back, and rejected to a dead-letter exchange with its headers.
func TestUnreadableComesAgain(t *testing.T) {
	url := testbroker.VHost(t)
	p := start(t, Options{URLs: []string{url}, Topology: Topology{Queues: []Queue{{Name: "dead"}, {
		Name: "q", Arguments: Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"},
	}}}})
	full := filled(nil, frameMax) // what the broker adds to a dead letter makes it larger than a frame
	r := rawamqp.Dial(t, url)
	for _, table := range [][]byte{rawamqp.Nested('F', 100), full} {
		if err := r.Publish("", "q", "m", table); err != nil {
			t.Fatal(err)
		}
	}
	get := func(queue string) *Delivery {
		d, ok, err := p.Get(within(t, patience), queue)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		return d
	}
	get("q").Requeue()
	var again *Delivery
	testbroker.Eventually(t, patience, func() bool {
		again = get("q")
		if !again.Redelivered {
			again.Requeue()
		}
		return again.Redelivered && again.Unreadable != nil
	}, "it comes again")
	again.Reject()
	large := get("q")
	if large.Unreadable != nil {
		t.Error(large.Unreadable)
	}
	large.Reject()
	testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "dead") == 2 }, "both are dead letters")
	var unreadable *ErrUnreadable
	if d := get("dead"); !errors.As(d.Unreadable, &unreadable) || !bytes.Contains(unreadable.Table, rawamqp.Nested('F', 100)) ||
		!bytes.Contains(unreadable.Table, []byte("x-death")) {
		t.Errorf("%v", d.Unreadable)
	} else {
		d.Ack()
	}
	if d := get("dead"); !errors.As(d.Unreadable, &unreadable) || unreadable.Table != nil || len(d.Body) == 0 || d.MessageId != "m" {
		t.Errorf("%v, %d", d.Unreadable, len(d.Body))
	} else {
		d.Ack()
	}
	if s := p.Stats(); s.Connects != 2 {
		t.Errorf("%+v", s)
	}
}

// TestUnreadableReply expects that a reply arrives without its headers, and with an error that says so.
func TestUnreadableReply(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	r := rawamqp.Dial(t, url)
	ctx, cancel := context.WithCancel(context.Background())
	var server conc.WaitGroup
	server.Go(func() {
		_ = p.Listen(ctx, "q", func(_ context.Context, d *Delivery) error {
			return r.Publish("", d.ReplyTo, d.CorrelationId, rawamqp.Nested('A', 50))
		}, ListenerOptions{})
	})
	defer server.Wait()
	defer cancel()
	d, err := p.Request(within(t, patience), &Publishing{RoutingKey: "q", Publishing: amqp.Publishing{Body: []byte("?")}})
	var unreadable *ErrUnreadable
	if !errors.As(err, &unreadable) || d == nil || d.Headers != nil || !strings.HasPrefix(string(d.Body), "body of ") {
		t.Errorf("%v, %v", d, err)
	}
	if s := p.Stats(); s.Connects != 2 {
		t.Errorf("%+v", s)
	}
}
