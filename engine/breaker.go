package engine

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker describes a circuit breaker of a stage or sink. After Failures failures in a row that may pass, the component is not
// tried for Pause: its messages wait, and with them the source, so that no attempt is spent on them. Then one message probes
// it: if that goes well all go on, else another pause begins.
type Breaker struct {
	Failures int
	Pause    time.Duration
}

// breaker is a Breaker at work. Its methods are called from many goroutines.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	poll    time.Duration
}

// Those who wait look again so many times in a pause, but not more and not less often than these.
const (
	looks    = 20
	minLooks = time.Millisecond
	maxLooks = 250 * time.Millisecond
)

var errTransient = errors.New("a failure that may pass")

func newBreaker(b *Breaker, label string, log *slog.Logger) *breaker {
	failures := uint32(max(b.Failures, 1))
	return &breaker{
		poll: max(minLooks, min(b.Pause/looks, maxLooks)),
		circuit: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name: label, MaxRequests: 1, Timeout: b.Pause,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
			OnStateChange: func(_ string, _, to gobreaker.State) {
				switch to {
				case gobreaker.StateOpen:
					log.Warn("fails again and again: it is not tried for a while, and messages wait", "component", label, "pause", b.Pause.String())
				case gobreaker.StateHalfOpen:
					log.Info("trying again whether it works, with one message", "component", label)
				case gobreaker.StateClosed:
					log.Info("it works again", "component", label)
				}
			},
		}),
	}
}

// enter waits until the component may be tried, or until the run stops. Then tell must be called once with the outcome.
func (b *breaker) enter(r *run) (tell func(error), err error) {
	for {
		done, err := b.circuit.Allow()
		if err == nil {
			return func(err error) {
				if err != nil && !IsPermanent(err) {
					done(errTransient)
				} else {
					done(nil)
				}
			}, nil
		}
		if r.stopping.Load() {
			return nil, WithKind(KindConnection, errors.New("the circuit breaker was open at the stop"))
		}
		select {
		case <-time.After(b.poll):
		case <-r.ctx.Done():
			return nil, WithKind(KindTimeout, context.Cause(r.ctx))
		}
	}
}

// gate is something that can be closed for a while.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while it is open; closed when it opens
}

func newGate() *gate { return new(gate) }

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// wait waits until the gate is open or ctx ends.
func (g *gate) wait(ctx context.Context) {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return
	}
	select {
	case <-shut:
	case <-ctx.Done():
	}
}
