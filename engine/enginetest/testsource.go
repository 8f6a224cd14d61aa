package enginetest

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/engine"
)

// SourceCase is a new source to be tested, with an origin of its own.
type SourceCase struct {
	Source engine.Source
	// Publish puts messages where the source finds them.
	Publish func(...*engine.Message)
	// Left waits until n messages are at the origin, once the source has ended, and returns how many there are.
	Left func(n int) int
}

// TestSource checks that a source keeps the contract of [engine.Source]. newCase is called for each part of the test.
func TestSource(t *testing.T, newCase func(*testing.T) SourceCase) {
	part := func(name string, f func(*testing.T, SourceCase)) {
		t.Run(name, func(t *testing.T) {
			c := newCase(t)
			begin(t, c.Source)
			f(t, c)
		})
	}
	part("hands over messages as they are", sourceContent)
	part("hands over in order", sourceOrder)
	part("settles as it is told", sourceSettles)
	part("settles out of order, from many goroutines", sourceShuffled)
	part("ends when all is settled", sourceDrains)
}

// intake runs a source and keeps what it hands over.
type intake struct {
	t      *testing.T
	cancel context.CancelFunc
	work   conc.WaitGroup
	ended  chan struct{}
	err    error

	inside atomic.Int32
	mu     sync.Mutex
	got    []engine.Delivery
	more   chan struct{}
}

func take(t *testing.T, s engine.Source) *intake {
	ctx, cancel := context.WithCancel(t.Context())
	in := &intake{t: t, cancel: cancel, ended: make(chan struct{}), more: make(chan struct{})}
	in.work.Go(func() {
		defer close(in.ended)
		in.err = s.Run(ctx, in.next)
	})
	t.Cleanup(cancel)
	return in
}

func (in *intake) next(chunk []engine.Delivery) {
	if in.inside.Add(1) != 1 {
		in.t.Error("next was called while another call was under way")
	}
	defer in.inside.Add(-1)
	if len(chunk) < 1 || len(chunk) > engine.MaxChunk {
		in.t.Errorf("a chunk of %d deliveries", len(chunk))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got = append(in.got, chunk...)
	close(in.more)
	in.more = make(chan struct{})
}

func (in *intake) all() []engine.Delivery {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.got
}

// wait waits until n deliveries have come.
func (in *intake) wait(n int) []engine.Delivery {
	in.t.Helper()
	late := time.After(patience)
	for {
		in.mu.Lock()
		got, more := in.got, in.more
		in.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-more:
		case <-in.ended:
			in.t.Fatalf("the source has ended: %v", in.err)
		case <-late:
			in.t.Fatalf("%d deliveries have come, not %d", len(got), n)
		}
	}
}

// end stops the source, which must return nil.
func (in *intake) end() {
	in.t.Helper()
	in.cancel()
	select {
	case <-in.ended:
		in.work.Wait()
	case <-time.After(patience):
		in.t.Fatal("the source does not end, though all is settled")
	}
	if in.err != nil {
		in.t.Errorf("Run: %v", in.err)
	}
}

func settle(d engine.Delivery, o engine.Outcome) { d.Settler.Settle(d.Tag, o) }

func (c *SourceCase) leaves(t *testing.T, want int) {
	t.Helper()
	if got := c.Left(want); got != want {
		t.Errorf("%d messages are left at the origin, not %d", got, want)
	}
}

func sourceContent(t *testing.T, c SourceCase) {
	samples := Samples()
	want := make([]*engine.Message, len(samples))
	for i, m := range samples {
		want[i] = copied(m)
	}
	c.Publish(samples...)
	in := take(t, c.Source)
	for i, d := range in.wait(len(samples)) {
		if d := Diff(want[i], d.Message); d != "" {
			t.Errorf("message %d came changed: %s", i, d)
		}
		settle(d, engine.Ack)
	}
	in.end()
	c.leaves(t, 0)
}

func sourceOrder(t *testing.T, c SourceCase) {
	const n = 1000
	in := take(t, c.Source)
	messages := make([]*engine.Message, n)
	for i := range messages {
		messages[i] = numbered(0, i)
	}
	c.Publish(messages...)
	var got []*engine.Message
	for len(got) < n { // settled as they come: an origin may bound how many are under way
		all := in.wait(len(got) + 1)
		for _, d := range all[len(got):] {
			got = append(got, d.Message)
			settle(d, engine.Ack)
		}
	}
	inOrder(t, got, 1, n)
	in.end()
	c.leaves(t, 0)
}

func sourceSettles(t *testing.T, c SourceCase) {
	for i := range 4 {
		c.Publish(numbered(0, i))
	}
	in := take(t, c.Source)
	got := in.wait(4)
	for _, d := range got[:4] {
		if d.Message.Redelivered {
			t.Error("a first delivery counts as delivered again")
		}
	}
	settle(got[0], engine.Ack)
	settle(got[1], engine.Reject)
	settle(got[2], engine.Requeue)
	again := in.wait(5)[4]
	if d := Diff(numbered(0, 2), again.Message); d != "" {
		t.Errorf("another message than the one that was requeued came: %s", d)
	}
	if !again.Message.Redelivered {
		t.Error("a requeued message does not count as delivered again")
	}
	settle(again, engine.Ack)
	settle(got[3], engine.Abandon)
	in.end()
	c.leaves(t, 1)
}

func sourceShuffled(t *testing.T, c SourceCase) {
	const n, workers = 400, 8
	messages := make([]*engine.Message, n)
	for i := range messages {
		messages[i] = numbered(0, i)
	}
	c.Publish(messages...)
	in := take(t, c.Source)
	got := append([]engine.Delivery(nil), in.wait(n)...)
	rand.Shuffle(n, func(i, j int) { got[i], got[j] = got[j], got[i] })
	var work conc.WaitGroup
	for w := range workers {
		work.Go(func() {
			for i := w; i < n; i += workers {
				settle(got[i], engine.Ack)
			}
		})
	}
	work.Wait()
	in.end()
	c.leaves(t, 0)
}

func sourceDrains(t *testing.T, c SourceCase) {
	c.Publish(numbered(0, 0), numbered(0, 1), numbered(0, 2))
	in := take(t, c.Source)
	got := in.wait(3)
	in.cancel()
	for _, d := range got {
		select {
		case <-in.ended:
			t.Fatal("the source has ended before all was settled")
		default:
		}
		settle(d, engine.Ack)
	}
	in.end()
	c.Publish(numbered(0, 3))
	c.leaves(t, 1)
	if n := len(in.all()); n != 3 {
		t.Errorf("%d deliveries were handed over, not 3", n)
	}
}
