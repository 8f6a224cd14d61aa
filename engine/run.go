package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sourcegraph/conc"
)

// run is one pipeline with a source while it runs.
type run struct {
	pipeline *Pipeline
	graph    *graph
	ledger   *ledger
	lanes    lanes
	clock    *clock
	log      *slog.Logger
	gate     logGate
	stats    stats

	// ctx is what stages and sinks are given: it outlives the source's by the time to drain.
	ctx         context.Context
	stopping    atomic.Bool
	deadLetters bool

	// turn guards the groups, and everything that runs inline.
	turn turn

	spawnMu sync.Mutex
	spawned conc.WaitGroup
	closed  bool
}

func newRun(c *compiler, p *Pipeline, log *slog.Logger) *run {
	r := &run{
		pipeline: p, graph: c.root(p), clock: newClock(), turn: newTurn(),
		log: log.With("pipeline", p.Name),
	}
	r.ledger = newLedger(r)
	if d, ok := p.Source.(DeadLetterer); ok {
		r.deadLetters = d.DeadLetters()
	}
	return r
}

// serve runs the source until ctx ends and everything is settled.
func (r *run) serve(ctx, work context.Context) error {
	r.ctx = work
	r.lanes = newLanes(r, r.pipeline)
	var clock conc.WaitGroup
	clock.Go(r.clock.run)
	err := r.runSource(ctx)
	r.stop()
	r.ledger.wait() // a source that failed leaves what is under way
	r.clock.close()
	clock.Wait()
	r.lanes.close()
	r.spawnMu.Lock()
	r.closed = true
	r.spawnMu.Unlock()
	r.spawned.Wait()
	if err != nil {
		return fmt.Errorf("pipeline %q: %w", r.pipeline.Name, err)
	}
	return nil
}

func (r *run) runSource(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("source: %w", panicked(v))
		}
	}()
	return r.pipeline.Source.Run(ctx, func(chunk []Delivery) {
		if len(chunk) == 0 {
			return
		}
		r.stats.in.Add(int64(len(chunk)))
		r.lanes.take(r.ledger.open(chunk))
	})
}

// stop lets nothing wait any more: groups are complete as they are, and what is held for another
// attempt goes back to where it came from.
func (r *run) stop() {
	r.stopping.Store(true)
	r.clock.stop()
}

// groupDue completes a group that has reached its age.
func (r *run) groupDue(g *graph, i int, grp *group) {
	r.turn.take()
	defer r.turn.pass()
	if g.stages[i].groups[grp.key] != grp {
		return
	}
	w := newWorker(r)
	w.complete(g, i, grp)
	w.flush()
}

// redirect sends a message that a sink failed to take to another sink. It runs in a goroutine of its
// own, because the caller is often the one that the other sink would wait for.
func (r *run) redirect(s *sink, m *Message, f *Failure) {
	c := m.Clone()
	c.failure = f
	e := m.entry
	e.owe()
	r.spawnMu.Lock()
	defer r.spawnMu.Unlock()
	if r.closed {
		e.fail(f)
		e.release()
		return
	}
	r.spawned.Go(func() { new(outcome).start(s, c) })
}

// The pause before a held message is tried again doubles from the first to the last.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Minute
)

// failed decides about a delivery whose last outcome has come and that has failed.
func (r *run) failed(e *entry, f *Failure) {
	r.stats.failed.Add(1)
	switch {
	case r.stopping.Load() || e.settler.Stale():
		r.report(e, f, "it goes back to the queue")
		e.settle(Abandon)
	case r.deadLetters && !f.mayPass():
		r.report(e, f, "rejected: it goes to the dead-letter exchange")
		e.settle(Reject)
	default:
		pause := pauseBefore(e.attempt + 1)
		r.report(e, f, fmt.Sprintf("held unacknowledged; tried again in %s", pause.Round(time.Millisecond)))
		r.clock.at(time.Now().Add(pause), func() { r.again(e) })
	}
}

// mayPass reports that the failure is the destination's state, not the message's fault, so that
// waiting mends it.
func (f *Failure) mayPass() bool {
	return !f.Permanent && (f.Kind == KindConnection || f.Kind == KindNacked)
}

// pauseBefore returns the pause before an attempt, counted from 1, with a jitter of a fifth.
func pauseBefore(attempt int) time.Duration {
	pause := lastPause
	if doublings := attempt - 2; doublings < 10 {
		pause = min(firstPause<<doublings, lastPause)
	}
	return pause - rand.N(pause/5)
}

// again gives a held delivery another attempt, from the message as it came in.
func (r *run) again(e *entry) {
	if r.stopping.Load() || e.settler.Stale() || e.settled.Load() {
		e.settle(Abandon)
		return
	}
	r.stats.retried.Add(1)
	e.message = e.input.Clone()
	e.begin()
	r.lanes.take([]*entry{e})
}

// onError returns what a component does about a failure. When the time to drain is over nothing is
// tolerated: the failure may be no more than that.
func (r *run) onError(o *Options) OnErrorAction {
	if r.ctx.Err() != nil {
		return OnErrorFail
	}
	return o.OnError.Action
}

// tolerated notes a failure that the file says to live with.
func (r *run) tolerated(f *Failure, m *Message) {
	r.stats.tolerated.Add(1)
	r.logFailure(f, m.Properties.MessageID, "on_error decides")
}

func (r *run) report(e *entry, f *Failure, what string) {
	r.logFailure(f, e.input.Properties.MessageID, what)
}

func (r *run) logFailure(f *Failure, messageID, what string) {
	suppressed, ok := r.gate.open(time.Now())
	if !ok {
		return
	}
	attrs := []any{
		"component", f.Component, "kind", string(f.Kind), "error", f.Err,
		"attempt", f.Attempt, "outcome", what,
	}
	if messageID != "" {
		attrs = append(attrs, "message_id", messageID)
	}
	if suppressed > 0 {
		attrs = append(attrs, "not_logged_before", suppressed)
	}
	var p *PanicError
	if errors.As(f.Err, &p) {
		attrs = append(attrs, "stack", p.Stack())
	}
	r.log.Warn("message failed", attrs...)
}

// logGate lets a few lines a second through, so that a storm of failures does not become a storm of
// logs.
type logGate struct {
	mu         sync.Mutex
	second     int64
	passed     int
	suppressed int
}

const linesPerSecond = 5

func (g *logGate) open(now time.Time) (suppressed int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := now.Unix(); s != g.second {
		g.second, g.passed = s, 0
	}
	if g.passed == linesPerSecond {
		g.suppressed++
		return 0, false
	}
	g.passed++
	suppressed, g.suppressed = g.suppressed, 0
	return suppressed, true
}
