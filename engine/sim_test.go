package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/engine"
)

// TestNothingIsLost simulates a broker, and everything that can go wrong between it and a pipeline, on a schedule that a seed decides:
// failures, losses, panics, sessions that end, pauses held outside, circuit breakers. At each acknowledgement it looks whether the
// message is safe somewhere; after a time all goes well, and at the end every message must be where it belongs.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{r: rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0)), trouble: 30 * time.Second}
		w.messages = rapid.IntRange(1, 40).Draw(rt, "messages")
		w.prefetch = rapid.IntRange(1, 30).Draw(rt, "prefetch")
		w.deadLetters = rapid.Bool().Draw(rt, "dead letters")
		w.shortest = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(rt, "shortest pause held outside")
		w.holdLimit = rapid.SampledFrom([]time.Duration{0, 5 * time.Second}).Draw(rt, "hold limit")
		w.breaks = rapid.IntRange(0, 5).Draw(rt, "sessions that end")
		w.fallback = rapid.Bool().Draw(rt, "fallback")
		p := &engine.Pipeline{Name: "p", Source: w, Stages: stages(w.stage()), Sinks: []engine.SinkNode{
			sinkNode("a", &simSink{w, "a"}), sinkNode("b", &simSink{w, "b"}), sinkNode("c", &simSink{w, "c"}), sinkNode("grave", &simSink{w, "grave"}),
		}}
		p.Sinks[2].Named, p.Sinks[3].Named = true, true
		p.Concurrency = rapid.IntRange(0, 4).Draw(rt, "concurrency")
		p.Order = rapid.SampledFrom([]engine.Order{engine.OrderStrict, engine.OrderNone}).Draw(rt, "order")
		if w.fallback {
			p.Sinks[0].Fallback = engine.Target{Name: "c"}
		}
		if rapid.Bool().Draw(rt, "breaker") {
			p.Sinks[1].Breaker = &engine.Breaker{Failures: rapid.IntRange(1, 5).Draw(rt, "failures"), Pause: 3 * time.Second}
		}
		if rapid.Bool().Draw(rt, "retry") {
			p.Retry = &engine.Retry{
				Attempts: rapid.IntRange(1, 6).Draw(rt, "attempts"), Min: rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 3 * time.Second}).Draw(rt, "min"),
				Max: time.Minute, Factor: 2, Jitter: 0.5,
			}
			if rapid.Bool().Draw(rt, "then") {
				p.Retry.Then = engine.Target{Name: "grave"}
			}
		}
		bubble(t, func() { w.run(p) })
		if len(w.mistakes) > 0 {
			rt.Fatalf("%v", w.mistakes)
		}
	})
}

// world is a broker with one queue, and what is known of the messages that were in it.
type world struct {
	messages, prefetch, breaks int
	deadLetters, fallback      bool
	shortest, holdLimit        time.Duration
	trouble                    time.Duration // how long things go wrong
	began                      time.Time

	mu       sync.Mutex
	r        *rand.Rand
	ready    []*engine.Message
	unacked  map[uint64]*engine.Message
	held     int // outside
	tag      uint64
	session  *simSession
	changed  chan struct{}
	safe     map[string]map[string]bool // sink → ids that it has confirmed
	delayed  map[uint64]bool            // deliveries that are held outside
	rejected map[string]bool
	mistakes []string
}

type simSession struct {
	w     *world
	stale bool
}

func (w *world) run(p *engine.Pipeline) {
	w.began = time.Now()
	w.unacked, w.safe = map[uint64]*engine.Message{}, map[string]map[string]bool{"a": {}, "b": {}, "c": {}, "grave": {}}
	w.delayed, w.rejected, w.changed = map[uint64]bool{}, map[string]bool{}, make(chan struct{}, 1)
	w.session = &simSession{w: w}
	for i := range w.messages {
		m := engine.NewMessage(nil, map[string]any{"root": int64(i)})
		m.Properties.MessageID = fmt.Sprint(i)
		w.ready = append(w.ready, m)
	}
	for range w.breaks {
		defer time.AfterFunc(time.Duration(w.r.Int64N(int64(w.trouble))), w.breakSession).Stop()
	}
	runner, err := engine.NewRunner(engine.RunOptions{}, p)
	if err != nil {
		w.mistakes = append(w.mistakes, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Hour)
	defer cancel()
	if err := runner.Run(ctx); err != nil {
		w.mistakes = append(w.mistakes, err.Error())
	}
	if len(w.ready)+len(w.unacked)+w.held > 0 && (p.Retry == nil || w.deadLetters || p.Retry.Then.Name != "") {
		w.mistakes = append(w.mistakes, fmt.Sprintf("after hours in which all went well %d messages wait, %d are not settled, %d are held", len(w.ready), len(w.unacked), w.held))
	}
	for i := range w.messages {
		id := fmt.Sprint(i)
		if !w.isSafe(id) && !w.rejected[id] && p.Retry != nil && len(w.ready)+len(w.unacked) == 0 {
			w.mistakes = append(w.mistakes, id+" is nowhere")
		}
	}
}

// isSafe reports that all that became of a message has been confirmed, or its letter has.
func (w *world) isSafe(id string) bool {
	all := true
	for _, part := range []string{id + "/1", id + "/2"} {
		all = all && w.safe["b"][part] && (w.safe["a"][part] || w.fallback && w.safe["c"][part])
	}
	return all || w.safe["grave"][id]
}

// luck says whether something goes wrong, one time in n, while there is trouble.
func (w *world) luck(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.began) < w.trouble && w.r.IntN(n) == 0
}

func (w *world) random(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.r.Int64N(int64(d)))
}

func (w *world) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *world) put(m *engine.Message) {
	w.ready = append(w.ready, m)
	w.wake()
}

func (w *world) breakSession() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.session.stale = true
	w.session = &simSession{w: w}
	for tag, m := range w.unacked {
		delete(w.unacked, tag)
		w.put(m)
	}
}

// Run implements engine.Source.
func (w *world) Run(ctx context.Context, next func([]engine.Delivery)) error {
	for ctx.Err() == nil {
		w.mu.Lock()
		var chunk []engine.Delivery
		for len(w.ready) > 0 && len(w.unacked) < w.prefetch && len(chunk) < 5 {
			m := w.ready[0]
			w.ready = w.ready[1:]
			w.tag++
			w.unacked[w.tag] = m
			chunk = append(chunk, engine.Delivery{Message: m.Clone(), Settler: w.session, Tag: w.tag})
		}
		w.mu.Unlock()
		if len(chunk) > 0 {
			next(chunk)
			continue
		}
		select {
		case <-w.changed:
		case <-ctx.Done():
		}
	}
	return nil
}

func (w *world) DeadLetters() bool        { return w.deadLetters }
func (w *world) Shortest() time.Duration  { return w.shortest }
func (w *world) HoldLimit() time.Duration { return w.holdLimit }

// Delay implements engine.Delayer: it holds a message for some of the pause, or fails to.
func (w *world) Delay(_ context.Context, m *engine.Message, pause time.Duration, done func(error)) {
	if pause < w.shortest {
		w.mistakes = append(w.mistakes, "a pause that is too short")
	}
	if w.luck(5) {
		done(errors.New("not held"))
		return
	}
	root, _ := m.Headers.Get("root")
	w.mu.Lock()
	defer w.mu.Unlock()
	for tag, have := range w.unacked {
		if r, _ := have.Headers.Get("root"); r == root {
			w.delayed[tag] = true
		}
	}
	w.held++
	time.AfterFunc(pause/2+time.Duration(w.r.Int64N(int64(pause))), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.held--
		w.put(m)
	})
	go done(nil)
}

func (s *simSession) Stale() bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.stale
}

func (s *simSession) Settle(tag uint64, o engine.Outcome) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.stale {
		return
	}
	m, ok := w.unacked[tag]
	if !ok {
		w.mistakes = append(w.mistakes, "settled twice")
		return
	}
	delete(w.unacked, tag)
	id := m.Properties.MessageID
	switch o {
	case engine.Ack:
		if !w.isSafe(id) && !w.delayed[tag] {
			w.mistakes = append(w.mistakes, id+" was acknowledged and is nowhere")
		}
	case engine.Reject:
		if !w.deadLetters {
			w.mistakes = append(w.mistakes, id+" was rejected and is nowhere")
		}
		w.rejected[id] = true
	default:
		w.put(m)
	}
	w.wake()
}

// stage splits a message in two, unless something goes wrong.
func (w *world) stage() engine.Stage {
	return stageFunc(func(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
		if _, ok := m.Headers.Get(engine.RetryHeader); ok {
			w.mistakes = append(w.mistakes, "a stage sees the retry header")
		}
		emit(m)
		switch {
		case w.luck(10):
			return errors.New("not now")
		case w.luck(40):
			return engine.Permanent(errors.New("never"))
		case w.luck(40):
			panic("ouch")
		}
		emit(m)
		return nil
	})
}

type simSink struct {
	w    *world
	name string
}

func (s *simSink) Send(_ context.Context, m *engine.Message, done func(error)) {
	id := m.Properties.MessageID
	var err error
	switch {
	case s.w.luck(6):
		err = engine.WithKind(engine.KindNacked, errors.New("nacked"))
	case s.w.luck(10):
		err = engine.WithKind(engine.KindConnection, errors.New("lost"))
	case s.w.luck(50):
		err = engine.Permanent(errors.New("never"))
	}
	arrived := err == nil || s.w.luck(2)
	time.AfterFunc(s.w.random(time.Second)+1, func() {
		if arrived && err == nil {
			s.w.mu.Lock()
			s.w.safe[s.name][id] = true
			s.w.mu.Unlock()
		}
		done(err)
	})
}
