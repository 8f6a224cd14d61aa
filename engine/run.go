package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	ctx      context.Context
	stopping atomic.Bool
	paused   *gate

	// What the source can do, and what is said of it.
	deadLetters bool
	delayer     Delayer
	holdLimit   time.Duration
	location    string
	address     Address
	version     string

	tracer  Tracer // nil: nothing is traced
	measure bool

	thens map[*Retry]*sink
	bits  map[string]uint64 // of sinks, by their path
	paths [64]string        // of sinks, by the number of their bit

	// turn guards the groups, and everything that runs inline.
	turn turn

	spawnMu sync.Mutex
	spawned conc.WaitGroup
	closed  bool
}

func newRun(c *compiler, p *Pipeline, o RunOptions) *run {
	r := &run{
		pipeline: p, graph: c.root(p), clock: newClock(), turn: newTurn(), paused: newGate(),
		log: o.Logger.With("pipeline", p.Name), version: o.Version,
		thens: c.thens, bits: c.bits, paths: c.paths,
		tracer: o.Tracer, measure: o.Measure, address: addressOf(p.Source),
	}
	r.ledger = newLedger(r)
	if d, ok := p.Source.(DeadLetterer); ok {
		r.deadLetters = d.DeadLetters()
	}
	if h, ok := p.Source.(HoldLimiter); ok {
		r.holdLimit = h.HoldLimit()
	}
	if l, ok := p.Source.(Locator); ok {
		r.location = l.Location()
	}
	if d, ok := p.Source.(Delayer); ok && d.Shortest() > 0 {
		r.delayer = d
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
		r.paused.wait(ctx)
		r.stats.in.Add(int64(len(chunk)))
		if entries := r.early(r.ledger.open(chunk)); len(entries) > 0 {
			r.take(entries)
		}
	})
}

// take begins an attempt at each of the entries.
func (r *run) take(entries []*entry) {
	if r.tracer != nil {
		for _, e := range entries {
			r.trace(e)
		}
	}
	r.lanes.take(entries)
}

// spawn runs f in a goroutine of the run's own, unless the run is over.
func (r *run) spawn(f func()) bool {
	r.spawnMu.Lock()
	defer r.spawnMu.Unlock()
	if r.closed {
		return false
	}
	r.spawned.Go(f)
	return true
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

// redirect sends a message that a sink failed to take to another sink, on behalf of the first. It runs in a goroutine of its
// own, because the caller is often the one that the other sink would wait for. With a failure the message tells of it.
func (r *run) redirect(o *outcome, to *sink, f, told *Failure) {
	c := o.m.Clone()
	next := &outcome{origin: o.origin}
	if told != nil {
		c.failure = told
	}
	e := o.m.entry
	e.owe()
	if !r.spawn(func() { next.start(to, c) }) {
		e.failedAt.Or(o.origin.bit)
		e.fail(f)
		e.release()
	}
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
	r.logFailure(m.entry.span(), f, m.Properties.MessageID, "on_error decides")
}

// logFailure writes a line about a message that failed, unless there have been many just now. span is that of the attempt, or nil.
func (r *run) logFailure(span Span, f *Failure, messageID, what string) {
	r.logAbout(span, messageID, slog.LevelWarn, "message failed", func() []any {
		attrs := []any{
			"component", f.Component, "kind", string(f.Kind), "error", f.Err,
			"attempt", f.Attempt, "outcome", what,
		}
		var p *PanicError
		if errors.As(f.Err, &p) {
			attrs = append(attrs, "stack", p.Stack())
		}
		return attrs
	})
}

// logAbout writes a line about a message, unless there have been many just now; then it is counted.
func (r *run) logAbout(span Span, messageID string, level slog.Level, text string, attrs func() []any) {
	suppressed, ok := r.gate.open(time.Now())
	if !ok {
		r.stats.unlogged.Add(1)
		return
	}
	all := attrs()
	if messageID != "" {
		all = append(all, "message_id", messageID)
	}
	if suppressed > 0 {
		all = append(all, "not_logged_before", suppressed)
	}
	r.log.Log(contextOf(span), level, text, all...)
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
