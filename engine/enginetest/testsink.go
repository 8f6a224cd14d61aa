package enginetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/engine"
)

// SinkCase is a new sink to be tested, with a destination of its own.
type SinkCase struct {
	Sink engine.Sink
	// Received waits until the destination has n messages and returns them in the order of their arrival. It is
	// nil where nobody can look.
	Received func(n int) []*engine.Message
	// Refused is a message that the destination does not take; nil if there is none.
	Refused *engine.Message
}

// TestSink checks that a sink keeps the contract of [engine.Sink]. newCase is called for each part of the test.
func TestSink(t *testing.T, newCase func(*testing.T) SinkCase) {
	part := func(name string, f func(*testing.T, SinkCase)) {
		t.Run(name, func(t *testing.T) {
			c := newCase(t)
			begin(t, c.Sink)
			f(t, c)
		})
	}
	part("delivers messages as they are", sinkContent)
	part("keeps the order of a sender", sinkOrder)
	part("takes messages of many senders", sinkMany)
	part("gathers what is corked", sinkCork)
	part("tells the outcome when the context has ended", sinkEnded)
	part("refuses a message and goes on", sinkRefuses)
}

// outcomes waits for what a sink has to tell of the messages that it was sent.
type outcomes struct {
	t     *testing.T
	owed  sync.WaitGroup
	sent  atomic.Int64
	twice atomic.Int64
}

func newOutcomes(t *testing.T) *outcomes {
	o := &outcomes{t: t}
	t.Cleanup(func() {
		if n := o.twice.Load(); n > 0 {
			t.Errorf("the sink told %d outcomes twice", n)
		}
	})
	return o
}

// send sends a message; told, if it is not nil, gets the outcome.
func (o *outcomes) send(ctx context.Context, s engine.Sink, m *engine.Message, told func(error)) {
	var once atomic.Bool
	o.owed.Add(1)
	o.sent.Add(1)
	s.Send(ctx, m, func(err error) {
		if once.Swap(true) {
			o.twice.Add(1)
			return
		}
		if told != nil {
			told(err)
		}
		o.owed.Done()
	})
}

// confirmed is told outcomes that must be good.
func (o *outcomes) confirmed(err error) {
	if err != nil {
		o.t.Errorf("a message failed: %v", err)
	}
}

func (o *outcomes) wait() {
	o.t.Helper()
	all := make(chan struct{})
	var waiter conc.WaitGroup
	waiter.Go(func() {
		o.owed.Wait()
		close(all)
	})
	select {
	case <-all:
		waiter.Wait()
	case <-time.After(patience):
		o.t.Fatalf("outcomes of some of %d messages are missing", o.sent.Load())
	}
}

// numbered returns a message that says who sent it, and as which.
func numbered(sender, i int) *engine.Message {
	return engine.NewMessage(fmt.Appendf(nil, `{"sender":%d,"i":%d}`, sender, i), nil)
}

// inOrder checks that the messages of each sender are all there, once, and in order.
func inOrder(t *testing.T, got []*engine.Message, senders, each int) {
	t.Helper()
	next := make([]int, senders)
	for _, m := range got {
		var sender, i int
		if _, err := fmt.Sscanf(string(m.Body), `{"sender":%d,"i":%d}`, &sender, &i); err != nil || sender >= senders {
			t.Errorf("an unknown message: %.100q", m.Body)
			continue
		}
		if i != next[sender] {
			t.Fatalf("message %d of sender %d is where %d ought to be", i, sender, next[sender])
		}
		next[sender]++
	}
	for sender, n := range next {
		if n != each {
			t.Errorf("%d messages of sender %d are there, not %d", n, sender, each)
		}
	}
}

func sinkContent(t *testing.T, c SinkCase) {
	o := newOutcomes(t)
	samples := Samples()
	want := make([]*engine.Message, len(samples))
	for i, m := range samples {
		want[i] = copied(m)
		o.send(t.Context(), c.Sink, m, o.confirmed)
	}
	o.wait()
	for i, m := range samples {
		if d := Diff(want[i], m); d != "" {
			t.Errorf("the sink changed message %d, which is not its own: %s", i, d)
		}
	}
	if c.Received == nil {
		return
	}
	got := c.Received(len(samples))
	if len(got) != len(samples) {
		t.Fatalf("%d messages arrived, not %d", len(got), len(samples))
	}
	for i, m := range got {
		if d := Diff(want[i], m); d != "" {
			t.Errorf("message %d arrived changed: %s", i, d)
		}
	}
}

func sinkOrder(t *testing.T, c SinkCase) {
	const n = 3000
	o := newOutcomes(t)
	for i := range n {
		o.send(t.Context(), c.Sink, numbered(0, i), o.confirmed)
	}
	o.wait()
	if c.Received != nil {
		inOrder(t, c.Received(n), 1, n)
	}
}

func sinkMany(t *testing.T, c SinkCase) {
	const senders, each = 8, 300
	o := newOutcomes(t)
	var work conc.WaitGroup
	for sender := range senders {
		work.Go(func() {
			for i := range each {
				o.send(t.Context(), c.Sink, numbered(sender, i), o.confirmed)
			}
		})
	}
	work.Wait()
	o.wait()
	if c.Received != nil {
		inOrder(t, c.Received(senders*each), senders, each)
	}
}

func sinkCork(t *testing.T, c SinkCase) {
	corker, ok := c.Sink.(engine.Corker)
	if !ok {
		t.Skip("the sink has no Cork")
	}
	const rounds, each = 20, 50
	o := newOutcomes(t)
	for round := range rounds {
		corker.Cork()
		for i := range each {
			o.send(t.Context(), c.Sink, numbered(0, round*each+i), o.confirmed)
		}
		corker.Uncork()
	}
	o.wait()
	if c.Received != nil {
		inOrder(t, c.Received(rounds*each), 1, rounds*each)
	}
}

func sinkEnded(t *testing.T, c SinkCase) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := newOutcomes(t)
	for i := range 100 {
		o.send(ctx, c.Sink, numbered(0, i), nil)
	}
	o.wait()
}

func sinkRefuses(t *testing.T, c SinkCase) {
	if c.Refused == nil {
		t.Skip("there is nothing that the destination refuses")
	}
	o := newOutcomes(t)
	const n = 100
	for i := range n {
		o.send(t.Context(), c.Sink, numbered(0, i), o.confirmed)
		if i%10 == 5 {
			o.send(t.Context(), c.Sink, c.Refused.Clone(), func(err error) {
				switch {
				case err == nil:
					t.Error("a message that the destination refuses was confirmed")
				case engine.KindOf(err) == engine.KindConnection:
					t.Errorf("a refused message counts as a broken connection: %v", err)
				}
			})
		}
	}
	o.wait()
	if c.Received != nil {
		inOrder(t, c.Received(n), 1, n)
	}
}
