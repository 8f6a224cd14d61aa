package engine_test

import (
	"context"
	"testing"

	"github.com/pipeamqp/pipe/engine"
)

// endless hands over the same message again and again, as fast as it can.
type endless struct {
	n       int
	message engine.Message
}

func (s *endless) Run(_ context.Context, next func([]engine.Delivery)) error {
	chunk := make([]engine.Delivery, 0, engine.MaxChunk)
	for left := s.n; left > 0; left -= len(chunk) {
		chunk = chunk[:0]
		messages := make([]engine.Message, min(left, engine.MaxChunk))
		for i := range messages {
			messages[i] = s.message
			chunk = append(chunk, engine.Delivery{Message: &messages[i], Settler: s})
		}
		next(chunk)
	}
	return nil
}

func (s *endless) Settle(uint64, engine.Outcome) {}
func (s *endless) Stale() bool                   { return false }

// confirming confirms at once.
type confirming struct{}

func (confirming) Send(_ context.Context, _ *engine.Message, done func(error)) { done(nil) }

func chain(s engine.Source) *engine.Pipeline { return one(s, confirming{}, pass, pass, pass) }

// BenchmarkChain takes messages through three stages to a sink.
func BenchmarkChain(b *testing.B) {
	for name, lanes := range map[string]int{"inline": 1, "4 lanes": 4} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			p := chain(&endless{n: b.N, message: engine.Message{Body: []byte("body")}})
			p.Concurrency = lanes
			r, err := engine.NewRunner(engine.RunOptions{}, p)
			if err != nil {
				b.Fatal(err)
			}
			if err := r.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// TestAllocations holds the hot path to what it needs: an entry and an outcome a message, made a chunk at a time, and the function
// that the sink is to call.
func TestAllocations(t *testing.T) {
	const n = 64_000
	allocated := testing.AllocsPerRun(3, func() {
		p := chain(&endless{n: n, message: engine.Message{Body: []byte("body")}})
		r, err := engine.NewRunner(engine.RunOptions{}, p)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if a := allocated / n; a > 1.1 {
		t.Errorf("%.2f allocations a message", a)
	}
}
