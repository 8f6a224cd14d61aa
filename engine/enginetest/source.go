package enginetest

import (
	"context"
	"slices"
	"sync"

	"github.com/pipeamqp/pipe/engine"
)

// Source is a source in memory. It hands over its messages in order, takes them back as a queue does, and
// remembers how each was settled. Set the fields before it runs; its methods are safe to call from any goroutine.
type Source struct {
	// Chunk is how many messages are handed over at once, at most; default [engine.MaxChunk].
	Chunk int
	// Endless keeps the source running when all is settled, until its context ends.
	Endless bool
	// Keeps says that rejected messages are kept, as by a queue with a dead-letter exchange.
	Keeps bool

	mu       sync.Mutex
	messages []*engine.Message
	states   []state
	pending  []int // what is to be handed over
	open     int   // handed over and not settled
	session  *session
	twice    int
	stale    int
	changed  chan struct{}
}

type state struct {
	session   *session // whose delivery it is now
	settled   bool
	outcome   engine.Outcome
	delivered int
}

var (
	_ engine.Source       = (*Source)(nil)
	_ engine.DeadLetterer = (*Source)(nil)
)

// NewSource makes a source of messages, which the caller does not touch again.
func NewSource(messages ...*engine.Message) *Source {
	s := &Source{changed: make(chan struct{})}
	s.session = &session{source: s}
	s.Add(messages...)
	return s
}

// Add adds messages to be handed over.
func (s *Source) Add(messages ...*engine.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		s.pending = append(s.pending, len(s.messages))
		s.messages = append(s.messages, m)
		s.states = append(s.states, state{})
	}
	s.wake()
}

// wake tells Run that something has changed; the source is locked.
func (s *Source) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Run hands over what there is; see [engine.Source]. It returns when everything is settled, unless the source
// is Endless, or when its context ends.
func (s *Source) Run(ctx context.Context, next func([]engine.Delivery)) error {
	for {
		stopping := ctx.Err() != nil
		chunk, changed, over := s.take(stopping)
		switch {
		case over:
			return nil
		case len(chunk) > 0:
			next(chunk)
			continue
		}
		if stopping {
			<-changed
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// take returns what to hand over next, or reports that the source is at its end.
func (s *Source) take(stopping bool) (chunk []engine.Delivery, changed <-chan struct{}, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stopping {
		return nil, s.changed, s.open == 0
	}
	n := s.Chunk
	if n <= 0 {
		n = engine.MaxChunk
	}
	for _, i := range s.pending[:min(n, len(s.pending))] {
		chunk = append(chunk, s.deliver(i))
	}
	s.pending = s.pending[len(chunk):]
	return chunk, s.changed, len(chunk) == 0 && s.open == 0 && !s.Endless
}

func (s *Source) deliver(i int) engine.Delivery {
	st := &s.states[i]
	m := s.messages[i].Clone()
	m.Redelivered = st.delivered > 0
	st.session, st.settled, st.delivered = s.session, false, st.delivered+1
	s.open++
	return engine.Delivery{Message: m, Settler: s.session, Tag: uint64(i)}
}

// Break ends the session, as a lost connection does: what is not settled is handed over again, with Redelivered
// set, and settling what was handed over before has no effect.
func (s *Source) Break() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = &session{source: s}
	var again []int
	for i := range s.states {
		st := &s.states[i]
		if st.delivered > 0 && !st.settled && !slices.Contains(s.pending, i) {
			again = append(again, i)
			st.session = nil
			s.open--
		}
	}
	s.pending = append(again, s.pending...)
	s.wake()
}

// DeadLetters tells what Keeps says.
func (s *Source) DeadLetters() bool { return s.Keeps }

// Outcome returns how the i-th message was settled last, and whether it is settled at all.
func (s *Source) Outcome(i int) (engine.Outcome, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[i].outcome, s.states[i].settled
}

// Count returns how many messages are settled with an outcome.
func (s *Source) Count(o engine.Outcome) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, st := range s.states {
		if st.settled && st.outcome == o {
			n++
		}
	}
	return n
}

// Deliveries returns how often the i-th message has been handed over.
func (s *Source) Deliveries(i int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.states[i].delivered
}

// Twice returns how many deliveries were settled a second time. It is always 0 under the engine.
func (s *Source) Twice() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.twice
}

// StaleSettled returns how many deliveries were settled after their session had ended.
func (s *Source) StaleSettled() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stale
}

// session is what deliveries are settled through, until Break.
type session struct {
	source *Source
	late   map[uint64]bool // settled after the session's end
}

func (g *session) Stale() bool {
	g.source.mu.Lock()
	defer g.source.mu.Unlock()
	return g.source.session != g
}

func (g *session) Settle(tag uint64, o engine.Outcome) {
	s := g.source
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.states[tag]
	switch {
	case st.session == g && !st.settled:
	case s.session != g && !g.late[tag]:
		if g.late == nil {
			g.late = make(map[uint64]bool)
		}
		g.late[tag] = true
		s.stale++
		return
	default:
		s.twice++
		return
	}
	st.settled, st.outcome = true, o
	s.open--
	if o == engine.Requeue {
		s.pending = append(s.pending, int(tag))
	}
	s.wake()
}
