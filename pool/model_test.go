package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testproxy"
)

// entry is a message in a queue of the model.
type entry struct {
	seq   int // where it belongs in its queue
	id    string
	again bool // it must be marked as redelivered
	maybe bool // it may be
}

// taken is a delivery that is not settled.
type taken struct {
	*Delivery
	entry
	queue string
	stale bool
}

// model is what a broker and a pool should be like after a sequence of calls.
type model struct {
	t     *rapid.T
	tb    testing.TB
	p     *Pool
	proxy *testproxy.Proxy
	side  *amqp.Channel // past the pool
	empty string        // a queue in which there is never anything

	queues []string
	ready  map[string][]entry
	held   []*taken
	leases []*Lease
	seq    int
	want   Stats
}

var modelRuns atomic.Int64

// TestModel makes random sequences of calls and expects of each, and of what is in the queues, what a simple model says.
func TestModel(t *testing.T) {
	t.Parallel() // it mostly waits
	url := testbroker.VHost(t)
	proxy := testproxy.New(t, url)
	p := start(t, Options{URLs: []string{proxy.URL(url)}, Publish: PublishOptions{Leases: 3, MaxMessage: 100_000}})
	side := testbroker.Channel(t, url)
	testbroker.Declare(t, url, "model-empty")
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{t: rt, tb: t, p: p, proxy: proxy, side: side, empty: "model-empty", ready: map[string][]entry{}, want: p.Stats()}
		run := modelRuns.Add(1)
		for i := range 2 {
			m.queues = append(m.queues, fmt.Sprintf("model-%d-%d", run, i))
		}
		testbroker.Declare(t, url, m.queues...)
		defer m.end()
		rt.Repeat(map[string]func(*rapid.T){
			"":          func(*rapid.T) { m.compare() },
			"publish":   func(*rapid.T) { m.publish() },
			"refused":   func(*rapid.T) { m.refused() },
			"burst":     func(*rapid.T) { m.burst() },
			"get":       func(*rapid.T) { m.get() },
			"settle":    func(*rapid.T) { m.settle() },
			"acquire":   func(*rapid.T) { m.acquire() },
			"release":   func(*rapid.T) { m.release() },
			"follow":    func(*rapid.T) { m.follow() },
			"reconnect": func(*rapid.T) { m.reconnect() },
		})
	})
}

func (m *model) queue() string { return rapid.SampledFrom(m.queues).Draw(m.t, "queue") }

func (m *model) message() *Publishing {
	m.seq++
	return &Publishing{RoutingKey: m.queue(), Mandatory: rapid.Bool().Draw(m.t, "mandatory"), Publishing: amqp.Publishing{
		MessageId: fmt.Sprint(m.seq), Body: make([]byte, rapid.SampledFrom([]int{0, 1, 1000, 100_000}).Draw(m.t, "size")),
	}}
}

// arrives notes that a message is in its queue.
func (m *model) arrives(p *Publishing) {
	var seq int
	_, _ = fmt.Sscan(p.MessageId, &seq)
	m.ready[p.RoutingKey] = append(m.ready[p.RoutingKey], entry{seq: seq, id: p.MessageId})
	m.want.Published++
	m.want.Confirmed++
}

// publisher is something to publish with: the pool or a lease.
type publisher interface {
	Publish(ctx context.Context, p *Publishing) error
	PublishAsync(ctx context.Context, p *Publishing, f func(Result))
	Get(ctx context.Context, queue string) (*Delivery, bool, error)
	GetAndAck(ctx context.Context, queue string) (*Delivery, bool, error)
	GetAsync(ctx context.Context, queue string, f func(Got))
	GetAndAckAsync(ctx context.Context, queue string, f func(Got))
}

func (m *model) publisher() publisher {
	if i := rapid.IntRange(0, len(m.leases)).Draw(m.t, "through"); i > 0 {
		return m.leases[i-1]
	}
	return m.p
}

func (m *model) publish() {
	msg := m.message()
	if err := m.publisher().Publish(within(m.tb, patience), msg); err != nil {
		m.t.Fatal(err)
	}
	m.arrives(msg)
}

// refused publishes what must fail, alone.
func (m *model) refused() {
	msg := m.message()
	var as func(error) bool
	switch rapid.IntRange(0, 4).Draw(m.t, "mistake") {
	case 0:
		msg.RoutingKey, msg.Mandatory, as = "nowhere", true, isA[*ErrReturned]
		m.want.Published++
		m.want.Returned++
	case 1:
		msg.Exchange, as = "none", isA[*ErrNoExchange]
		m.want.Published++ // how often is the pool's matter
	case 2:
		msg.AppId, as = strings.Repeat("x", 256), isA[*ErrInvalid]
	case 3:
		msg.Body, as = make([]byte, 100_001), isA[*ErrTooLarge]
	case 4:
		msg.Headers, as = Table{"h": strings.Repeat("x", frameMax)}, isA[*ErrTooLarge]
	}
	if err := m.publisher().Publish(within(m.tb, patience), msg); !as(err) || !IsPermanent(err) {
		m.t.Fatalf("%v", err)
	}
}

func isA[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

// burst publishes without waiting, and from inside callbacks.
func (m *model) burst() {
	through := m.publisher()
	n := rapid.IntRange(1, 30).Draw(m.t, "messages")
	told := make(chan Result, 2*n)
	var sent []*Publishing
	nested := 0
	for range n {
		msg := m.message()
		sent = append(sent, msg)
		var inner *Publishing
		if rapid.IntRange(0, 9).Draw(m.t, "nested") == 0 {
			inner = m.message()
			inner.RoutingKey, inner.Mandatory = "nowhere", true
			nested++
		}
		through.PublishAsync(within(m.tb, patience), msg, func(r Result) {
			told <- r
			if inner != nil {
				m.p.PublishAsync(within(m.tb, patience), inner, func(r Result) { told <- r })
			}
		})
	}
	for range n + nested {
		select {
		case r := <-told:
			if nowhere := r.Publishing.RoutingKey == "nowhere"; nowhere != isA[*ErrReturned](r.Err) || !nowhere && r.Err != nil {
				m.t.Fatalf("%s: %v", r.Publishing.RoutingKey, r.Err)
			}
		case <-time.After(patience):
			m.t.Fatal("a callback is missing")
		}
	}
	for _, msg := range sent {
		m.arrives(msg)
	}
	m.want.Published += uint64(nested)
	m.want.Returned += uint64(nested)
}

func (m *model) get() {
	queue, through := m.queue(), m.publisher()
	forget := rapid.Bool().Draw(m.t, "forget")
	var d *Delivery
	var ok bool
	var err error
	if rapid.Bool().Draw(m.t, "async") {
		told := make(chan Got, 2)
		if forget {
			through.GetAndAckAsync(within(m.tb, patience), queue, func(g Got) { told <- g })
		} else {
			through.GetAsync(within(m.tb, patience), queue, func(g Got) { told <- g })
		}
		g := <-told
		d, ok, err = g.Delivery, g.OK, g.Err
	} else if forget {
		d, ok, err = through.GetAndAck(within(m.tb, patience), queue)
	} else {
		d, ok, err = through.Get(within(m.tb, patience), queue)
	}
	if err != nil {
		m.t.Fatal(err)
	}
	if ok != (len(m.ready[queue]) > 0) {
		m.t.Fatalf("ok is %v with %d messages", ok, len(m.ready[queue]))
	}
	if !ok {
		return
	}
	e := m.take(queue, d)
	m.want.Delivered++
	if forget {
		m.want.Acked++
	} else {
		m.held = append(m.held, &taken{Delivery: d, entry: e, queue: queue})
	}
}

// take compares a delivery with the head of its queue.
func (m *model) take(queue string, d *Delivery) entry {
	e := m.ready[queue][0]
	m.ready[queue] = m.ready[queue][1:]
	if d.MessageId != e.id || e.again && !d.Redelivered || d.Redelivered && !e.again && !e.maybe {
		m.t.Fatalf("message %s, redelivered: %v, instead of %+v", d.MessageId, d.Redelivered, e)
	}
	return e
}

// back puts a message back to where it was.
func (m *model) back(queue string, e entry) {
	e.again = true
	m.ready[queue] = append(m.ready[queue], e)
	slices.SortFunc(m.ready[queue], func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
}

func (m *model) settle() {
	if len(m.held) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.held)-1).Draw(m.t, "delivery")
	d := m.held[i]
	m.held = slices.Delete(m.held, i, i+1)
	outcome := rapid.SampledFrom([]Outcome{Ack, Reject, Requeue}).Draw(m.t, "outcome")
	d.Session.Settle(d.DeliveryTag, outcome)
	switch {
	case d.stale:
		m.want.StaleAcks++
	case outcome == Ack:
		m.want.Acked++
	case outcome == Reject:
		m.want.Rejected++
	case outcome == Requeue:
		m.want.Requeued++
		m.back(d.queue, d.entry)
	}
	if rapid.IntRange(0, 4).Draw(m.t, "twice") == 0 {
		d.Ack()
		m.want.DoubleSettle++
	}
}

func (m *model) acquire() {
	if len(m.leases) == 3 {
		if _, err := m.p.Acquire(expired()); !errors.Is(err, ErrPoolTimeout) || !strings.Contains(err.Error(), "model_test.go") {
			m.t.Fatalf("%v", err)
		}
		return
	}
	l, err := m.p.Acquire(within(m.tb, patience))
	if err != nil {
		m.t.Fatal(err)
	}
	m.leases = append(m.leases, l)
}

func (m *model) release() {
	if len(m.leases) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.leases)-1).Draw(m.t, "lease")
	if err := m.leases[i].Release(within(m.tb, patience)); err != nil {
		m.t.Fatal(err)
	}
	m.leases = slices.Delete(m.leases, i, i+1)
}

// follow consumes some of what is there.
func (m *model) follow() {
	queue := m.queue()
	n := rapid.IntRange(0, len(m.ready[queue])).Draw(m.t, "messages")
	if n == 0 {
		return
	}
	prefetch := rapid.IntRange(1, 10).Draw(m.t, "prefetch")
	for d, err := range m.p.Deliveries(within(m.tb, patience), ConsumeOptions{Queue: queue, Prefetch: prefetch}) {
		if err != nil {
			m.t.Fatal(err)
		}
		m.take(queue, d)
		d.Ack()
		m.want.Acked++
		if n--; n == 0 {
			break
		}
	}
	for i := range m.ready[queue] {
		m.ready[queue][i].maybe = true // they may have been on their way
	}
	m.want.Delivered = m.p.Stats().Delivered // some more may have been handed over
}

// reconnect breaks both connections: what is not settled goes back, and cannot be settled any more.
func (m *model) reconnect() {
	before := m.p.Stats().Reconnects
	// An acknowledgement that the broker's machine has, and the broker has not read, would go with the connection.
	if _, found, err := m.p.Get(within(m.tb, patience), m.empty); found || err != nil {
		m.t.Fatal(found, err)
	}
	m.proxy.Reset()
	testbroker.Eventually(m.tb, patience, func() bool { return m.p.Stats().Reconnects >= before+2 && m.p.State() == StateReady }, "the pool has reconnected")
	for _, d := range m.held {
		if !d.stale {
			d.stale = true
			m.back(d.queue, d.entry)
		}
	}
}

// compare looks at the queues and at the books.
func (m *model) compare() {
	for _, queue := range m.queues {
		m.eventually(func() string {
			q, err := m.side.QueueDeclarePassive(queue, true, false, false, false, nil)
			if err != nil || q.Messages != len(m.ready[queue]) {
				return fmt.Sprintf("%s has %d messages, not %d (%v)", queue, q.Messages, len(m.ready[queue]), err)
			}
			return ""
		})
	}
	m.eventually(func() string {
		got := m.p.Stats()
		for _, c := range []struct {
			name      string
			got, want any
		}{
			{"confirmed", got.Confirmed, m.want.Confirmed},
			{"returned", got.Returned, m.want.Returned},
			{"nacked", got.Nacked, m.want.Nacked},
			{"unknown", got.Unknown, m.want.Unknown},
			{"acked", got.Acked, m.want.Acked},
			{"rejected", got.Rejected, m.want.Rejected},
			{"requeued", got.Requeued, m.want.Requeued},
			{"stale", got.StaleAcks, m.want.StaleAcks},
			{"settled twice", got.DoubleSettle, m.want.DoubleSettle},
			{"leases", got.Leases, len(m.leases)},
			{"in flight", got.InFlight, 0},
			{"unsettled", got.Unsettled, len(m.held)},
		} {
			if c.got != c.want {
				return fmt.Sprintf("%s: %v, not %v", c.name, c.got, c.want)
			}
		}
		return ""
	})
}

func (m *model) eventually(wrong func() string) {
	m.tb.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		what := wrong()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatal(what)
		}
	}
}

// end gives back what is held.
func (m *model) end() {
	for _, d := range m.held {
		d.Ack()
	}
	for _, l := range m.leases {
		if err := l.Release(within(m.tb, patience)); err != nil {
			m.t.Error(err)
		}
	}
	for _, queue := range m.queues {
		if _, err := m.side.QueueDelete(queue, false, false, false); err != nil {
			m.t.Error(err)
		}
	}
	m.eventually(func() string {
		if s := m.p.Stats(); s.Unsettled != 0 || s.InFlight != 0 || s.Leases != 0 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
}
