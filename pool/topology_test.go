package pool

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

func ptr[T any](v T) *T { return &v }

func TestTopology(t *testing.T) {
	url := testbroker.VHost(t)
	topology := Topology{
		Exchanges: []Exchange{
			{Name: "in", Type: "topic", AlternateExchange: "lost"},
			{Name: "lost", Type: "fanout"},
			{Name: "inner", Type: "direct", Internal: true, AutoDelete: true, Transient: true},
			{Name: "amq.topic", Passive: true},
		},
		Queues: []Queue{
			{Name: "quorum", Type: "quorum", DeadLetterExchange: "lost", DeadLetterRoutingKey: "k", DeliveryLimit: ptr[int64](5)},
			{
				Name: "classic", Type: "classic", MessageTTL: ptr(time.Minute), Expires: time.Hour, MaxLength: ptr[int64](100),
				MaxLengthBytes: ptr[int64](1 << 40), Overflow: "reject-publish", MaxPriority: 5, SingleActiveConsumer: true, QueueMode: "lazy",
			},
			{Name: "mine", Exclusive: true, AutoDelete: true, Transient: true},
		},
		Bindings: []Binding{
			{Exchange: "in", ToExchange: "inner", Key: "a.#"},
			{Exchange: "inner", ToQueue: "classic", Key: "a.b"},
			{Exchange: "lost", ToQueue: "quorum"},
			{Exchange: "amq.topic", ToQueue: "mine", Key: "#", Arguments: Table{"note": "x", "n": 5}},
		},
	}
	if !testbroker.Embedded() { // which has no streams
		topology.Queues = append(topology.Queues, Queue{Name: "stream", Type: "stream", MaxAge: "7D"})
	}
	p := start(t, Options{URLs: []string{url}, Topology: topology})
	if errs := p.TopologyErrors(); len(errs) != 0 {
		t.Fatal(errs)
	}
	if err := p.Declare(within(t, patience)); err != nil {
		t.Fatal("declaring is not idempotent:", err)
	}
	for key, queue := range map[string]string{"a.b": "classic", "other": "quorum"} {
		if err := p.Publish(within(t, patience), &Publishing{Exchange: "in", RoutingKey: key, Mandatory: true, Publishing: text("x")}); err != nil {
			t.Fatal(err)
		}
		testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, queue) == 1 }, queue+" has its message")
	}
}

func TestQueueArguments(t *testing.T) {
	q := Queue{
		Type: "quorum", DeadLetterExchange: "d", DeadLetterStrategy: "at-least-once", MessageTTL: ptr(time.Duration(0)), Expires: time.Microsecond,
		Arguments: Table{"x-message-ttl": 5, "x-own": 1},
	}
	want := Table{
		"x-queue-type": "quorum", "x-dead-letter-exchange": "d", "x-dead-letter-strategy": "at-least-once",
		"x-message-ttl": int64(0), "x-expires": int64(1), "x-own": int64(1),
	}
	if got := q.arguments(); !reflect.DeepEqual(got, want) {
		t.Errorf("%#v", got)
	}
}

func TestTopologyFailures(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "old")
	p := start(t, Options{URLs: []string{url}, Topology: Topology{
		Exchanges: []Exchange{{Name: "good", Type: "fanout"}, {Name: "missing", Passive: true}, {Name: "amq.mine"}},
		Queues:    []Queue{{Name: "old", Type: "quorum"}, {Name: "new"}, {Name: "orphan", DeadLetterExchange: "missing"}},
		Bindings:  []Binding{{Exchange: "good", ToQueue: "old"}, {Exchange: "good", ToQueue: "new"}},
	}})
	want := []struct {
		entity, name string
		code         int
		text         []string
	}{
		{"exchange", "missing", 404, []string{"create what is missing"}},
		{"exchange", "amq.mine", 403, []string{"amq."}},
		{"queue", "old", 406, []string{"x-queue-type = quorum", "x-queue-type", "delete it on the broker"}},
		{"queue", "orphan", 0, []string{"exchange missing could not be declared"}},
		{"binding", "good → old", 0, []string{"queue old could not be declared"}},
	}
	check := func(errs []*TopologyError) {
		t.Helper()
		if len(errs) != len(want) {
			t.Fatal(errs)
		}
		for i, w := range want {
			e := errs[i]
			if e.Entity != w.entity || e.Name != w.name || e.Code != w.code {
				t.Errorf("%d: %+v", i, e)
			}
			for _, part := range w.text {
				if !strings.Contains(e.Error(), part) {
					t.Errorf("%q does not say %q", e, part)
				}
			}
		}
	}
	check(p.TopologyErrors())
	err := p.Declare(within(t, patience))
	var one *TopologyError
	if !errors.As(err, &one) || strings.Count(err.Error(), "\n") != len(want)-1 {
		t.Error(err)
	}
	// What does not depend on a failure is there and works.
	if err := p.Publish(within(t, patience), &Publishing{Exchange: "good", Mandatory: true, Publishing: text("x")}); err != nil {
		t.Error(err)
	}
	if n := testbroker.Depth(t, url, "new"); n != 1 {
		t.Errorf("%d messages", n)
	}
	if s := p.Stats(); s.Reconnects != 0 || s.State != StateReady {
		t.Errorf("%+v", s)
	}
}

// TestTopologyThatClosesTheConnection declares an exchange of an unknown type, over which a broker before RabbitMQ 4 closes
// the whole connection.
func TestTopologyThatClosesTheConnection(t *testing.T) {
	url := testbroker.VHost(t)
	p := start(t, Options{URLs: []string{url}, Topology: Topology{
		Exchanges: []Exchange{{Name: "odd", Type: "x-no-such-type"}, {Name: "good", Type: "fanout"}},
		Queues:    []Queue{{Name: "q"}},
		Bindings:  []Binding{{Exchange: "good", ToQueue: "q"}, {Exchange: "odd", ToQueue: "q"}},
	}})
	errs := p.TopologyErrors()
	if len(errs) != 2 || errs[0].Name != "odd" || !strings.Contains(errs[0].Error(), "enable the plugin") {
		t.Fatal(errs)
	}
	if err := p.Publish(within(t, patience), &Publishing{Exchange: "good", Mandatory: true, Publishing: text("x")}); err != nil {
		t.Error(err)
	}
}

func TestStartHooks(t *testing.T) {
	url := testbroker.VHost(t)
	var ran []string
	hook := func(name string) func(context.Context, *Setup) error {
		return func(ctx context.Context, s *Setup) error {
			ran = append(ran, name)
			if err := s.Declare(ctx, Topology{Queues: []Queue{{Name: name}}, Bindings: []Binding{{Exchange: "x", ToQueue: name}}}); err != nil {
				return err
			}
			return s.Channel(func(ch *amqp.Channel) error {
				_, err := ch.QueuePurge(name, false)
				return err
			})
		}
	}
	p := start(t, Options{
		URLs: []string{url}, Topology: Topology{Exchanges: []Exchange{{Name: "x", Type: "fanout"}}},
		OnStart: []func(context.Context, *Setup) error{hook("one"), hook("two")},
	})
	if !reflect.DeepEqual(ran, []string{"one", "two"}) {
		t.Error(ran)
	}
	g, err := p.listen[0].wait(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	g.wire.fail(errors.New("cut by the test"))
	testbroker.Eventually(t, patience, func() bool { return p.Stats().Reconnects == 1 && p.State() == StateReady }, "the pool is ready again")
	if !reflect.DeepEqual(ran, []string{"one", "two", "one", "two"}) {
		t.Error(ran)
	}
}

func TestHookAbortsTheStart(t *testing.T) {
	why := errors.New("not today")
	p := opened(t, Options{
		URLs:    []string{testbroker.VHost(t)},
		OnStart: []func(context.Context, *Setup) error{func(context.Context, *Setup) error { return why }},
	})
	if err := p.Start(within(t, patience)); !errors.Is(err, why) || !strings.Contains(err.Error(), "start hook 1") {
		t.Error(err)
	}
	if p.State() != StateFailed {
		t.Error(p.State())
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Open(Options{
		Name:      "n",
		URLs:      []string{"http://x", "amqp://u:hunter2@h/%zz", "amqp://h/a", "amqp://h/b", "amqps://h/a?cacertfile=x"},
		Heartbeat: time.Millisecond, DialTimeout: -1,
		Listen:  ListenOptions{Connections: -1},
		Publish: PublishOptions{Window: 2000, MaxMessage: -1, Channels: -1},
		Topology: Topology{
			Exchanges: []Exchange{{}, {Name: strings.Repeat("x", 256)}},
			Queues:    []Queue{{}, {Name: "p", MaxPriority: 300}, {Name: "e", Expires: -1}, {Name: "a", Arguments: Table{"x": struct{}{}}}},
			Bindings:  []Binding{{}, {Exchange: "e"}, {Exchange: "e", ToQueue: "q", ToExchange: "x"}},
		},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, part := range []string{
		"URL 1", "URL 2", "URL 5", "different virtual hosts", "heartbeat", "timeout", "listen connections", "publish window", "longest message",
		"publish channels", "exchange 1 has no name", "256 bytes", "queue 1 has no name", "priority", "negative", `arguments of queue "a"`,
		"binding 1 has no exchange", "binding 2", "binding 3",
	} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("nothing about %q in\n%v", part, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("the password shows")
	}
}
