package enginetest

import (
	"context"
	"sync"

	"github.com/pipeamqp/pipe/engine"
)

// Sink is a sink in memory: it remembers what it was sent, in order. Set the fields before it is used; its methods are
// safe to call from any goroutine.
type Sink struct {
	// Outcome decides how a message ends; nil confirms every message.
	Outcome func(*engine.Message) error
	// Later keeps the outcomes back until Release.
	Later bool

	mu       sync.Mutex
	received []*engine.Message
	waiting  []func()
}

var _ engine.Sink = (*Sink)(nil)

// Send takes a message; see [engine.Sink].
func (s *Sink) Send(ctx context.Context, m *engine.Message, done func(error)) {
	if ctx.Err() != nil {
		done(context.Cause(ctx))
		return
	}
	var err error
	if s.Outcome != nil {
		err = s.Outcome(m)
	}
	s.mu.Lock()
	s.received = append(s.received, m)
	if s.Later {
		s.waiting = append(s.waiting, func() { done(err) })
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	done(err)
}

// Received returns what the sink was sent, in order.
func (s *Sink) Received() []*engine.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*engine.Message(nil), s.received...)
}

// Waiting returns how many outcomes are kept back.
func (s *Sink) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

// Release tells the outcomes that are kept back, in the order of their messages, and returns how many.
func (s *Sink) Release() int {
	s.mu.Lock()
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, tell := range waiting {
		tell()
	}
	return len(waiting)
}
