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

// RunOptions are what a [Runner] may be told.
type RunOptions struct {
	// Logger takes what people should know; default: nothing is logged.
	Logger *slog.Logger
	// DrainTimeout is how long messages that are under way may take to finish after the stop;
	// what has not finished then goes back to where it came from. Default 25 s.
	DrainTimeout time.Duration
	// Version is what dead letters say of the software that gave a message up.
	Version string
	// Tracer, if set, follows messages.
	Tracer Tracer
	// Measure has durations measured, and what each component does counted: see [Runner.Components] and [PipelineStats].
	Measure bool
}

// DefaultDrainTimeout is the drain timeout where none is given.
const DefaultDrainTimeout = 25 * time.Second

// Runner runs pipelines, once.
type Runner struct {
	options   RunOptions
	pipelines []*Pipeline
	runs      []*run
	meters    map[any]*meter
	hurry     chan struct{}
	hurryOnce sync.Once
}

// NewRunner prepares pipelines to run. It returns an error that joins everything that does not fit together.
func NewRunner(o RunOptions, pipelines ...*Pipeline) (*Runner, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = DefaultDrainTimeout
	}
	r := &Runner{options: o, pipelines: pipelines, hurry: make(chan struct{})}
	c := newCompiler(pipelines, o.Logger, o.Measure)
	for _, p := range pipelines {
		if p.Order == OrderByKey && p.OrderKey == nil {
			c.errorf("pipeline %q: order by key without a key", p.Name)
		}
		if p.Source != nil {
			r.runs = append(r.runs, newRun(c, p, o))
		}
	}
	if len(r.runs) == 0 {
		c.errorf("no pipeline has a source")
	}
	r.meters = c.meters
	return r, c.err()
}

// Run runs the pipelines until ctx ends and everything under way has finished, or until every source
// has ended by itself. A source that fails ends its own pipeline only; Run then
// returns its error once the others have ended too.
func (r *Runner) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	started, err := r.start(ctx)
	if err == nil {
		err = r.serve(ctx, work, cancel)
	}
	return errors.Join(err, r.close(started))
}

var errDrained = errors.New("the time to finish has run out")

func (r *Runner) serve(ctx, work context.Context, cancel context.CancelCauseFunc) error {
	errs := make([]error, len(r.runs))
	finished := make(chan struct{})
	var sources, watch conc.WaitGroup
	for i, run := range r.runs {
		sources.Go(func() {
			if errs[i] = run.serve(ctx, work); errs[i] != nil {
				run.log.Error("pipeline stopped", "error", errs[i])
			}
		})
	}
	watch.Go(func() { r.drain(ctx, finished, cancel) })
	sources.Wait()
	close(finished)
	watch.Wait()
	return errors.Join(errs...)
}

// drain waits for the stop, and gives up what has not finished in time.
func (r *Runner) drain(ctx context.Context, finished <-chan struct{}, cancel context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
	case <-finished:
		return
	}
	for _, run := range r.runs {
		run.stop()
	}
	deadline := time.NewTimer(r.options.DrainTimeout)
	defer deadline.Stop()
	select {
	case <-deadline.C:
	case <-r.hurry:
	case <-finished:
		return
	}
	cancel(errDrained)
	// A chunk that is just being handed over may be opened late: look again until all have ended.
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		for _, run := range r.runs {
			run.ledger.abandon()
		}
		select {
		case <-again.C:
		case <-finished:
			return
		}
	}
}

// Stop gives up what has not finished: once the context of Run has ended, Run no longer waits for
// it. It may be called at any time, from any goroutine.
func (r *Runner) Stop() { r.hurryOnce.Do(func() { close(r.hurry) }) }

// Pause lets the source of a pipeline hand over nothing more, beyond the chunk that it is about to, until the pause ends; what is
// under way goes on. A name that no pipeline has does nothing. It may be called at any time, from any goroutine.
func (r *Runner) Pause(pipeline string, yes bool) {
	for _, run := range r.runs {
		switch {
		case run.pipeline.Name != pipeline:
		case yes:
			run.paused.close()
		default:
			run.paused.open()
		}
	}
}

// start starts the components, sinks first, and returns those that are to be closed.
func (r *Runner) start(ctx context.Context) (started []any, err error) {
	for _, c := range r.components() {
		if s, ok := c.component.(Starter); ok {
			if err := s.Start(ctx); err != nil {
				return started, fmt.Errorf("pipeline %q: %s: start: %w", c.pipeline, c.label, err)
			}
		}
		started = append(started, c.component)
	}
	return started, nil
}

// close closes the components, those that started last first.
func (r *Runner) close(started []any) error {
	ctx, cancel := context.WithTimeout(context.Background(), r.options.DrainTimeout)
	defer cancel()
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		if c, ok := started[i].(Closer); ok {
			errs = append(errs, c.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

type placed struct {
	component       any
	pipeline, label string
}

func (r *Runner) components() []placed {
	var all []placed
	for _, p := range r.pipelines {
		for i := range p.Sinks {
			all = append(all, placed{p.Sinks[i].Sink, p.Name, "sink." + p.Sinks[i].Name})
		}
	}
	for _, p := range r.pipelines {
		for i := range p.Stages {
			s := &p.Stages[i]
			c := any(s.Stage)
			if s.Aggregator != nil {
				c = s.Aggregator
			}
			all = append(all, placed{c, p.Name, s.Kind + "." + s.Name})
		}
	}
	return all
}

// PipelineStats counts what a pipeline has done since it started. The counters are read one after
// the other: while messages flow they need not add up to the last one.
type PipelineStats struct {
	Name      string
	In        int64 // deliveries taken from the source
	Out       int64 // messages that a sink has confirmed
	Acked     int64 // deliveries acknowledged
	Rejected  int64 // deliveries rejected
	Abandoned int64 // deliveries left to be delivered again, those among them that were given back included
	Requeued  int64 // of these, deliveries given back at once
	Failed    int64 // attempts at a delivery that failed
	Retried   int64 // attempts after the first
	Delayed   int64 // times that a delivery was handed to the broker to be held
	Tolerated int64 // failures that on_error decided about
	Dropped   int64 // messages dropped on purpose
	InFlight  int64 // deliveries that are not settled yet
	Unlogged  int64 // failures that were not logged, because there were too many

	Address Address // of the source
	// Took is how long deliveries took from the source to their settlement, and Latency how long from the time that is written on
	// them, in whole seconds, to their acknowledgement. Both are measured only with RunOptions.Measure.
	Took, Latency Durations
}

type stats struct {
	in, out, acked, rejected, requeued, abandoned,
	failed, retried, delayed, tolerated, dropped, unlogged atomic.Int64
	took, latency histogram
}

func (s *stats) settled(o Outcome) {
	switch o {
	case Ack:
		s.acked.Add(1)
	case Reject:
		s.rejected.Add(1)
	case Requeue:
		s.requeued.Add(1)
	default:
		s.abandoned.Add(1)
	}
}

// Add adds what was counted elsewhere, as by an earlier run of the same pipeline. Name and address stay.
func (p *PipelineStats) Add(o PipelineStats) {
	for to, n := range map[*int64]int64{
		&p.In: o.In, &p.Out: o.Out, &p.Acked: o.Acked, &p.Rejected: o.Rejected, &p.Abandoned: o.Abandoned, &p.Requeued: o.Requeued,
		&p.Failed: o.Failed, &p.Retried: o.Retried, &p.Delayed: o.Delayed, &p.Tolerated: o.Tolerated, &p.Dropped: o.Dropped,
		&p.InFlight: o.InFlight, &p.Unlogged: o.Unlogged,
	} {
		*to += n
	}
	p.Took.Add(o.Took)
	p.Latency.Add(o.Latency)
}

// Stats returns the counters of every pipeline that has a source. It may be called at any time, from
// any goroutine.
func (r *Runner) Stats() []PipelineStats {
	all := make([]PipelineStats, len(r.runs))
	for i, run := range r.runs {
		s := &run.stats
		p := &all[i]
		p.Name = run.pipeline.Name
		p.Acked, p.Rejected = s.acked.Load(), s.rejected.Load()
		p.Requeued = s.requeued.Load()
		p.Abandoned = s.abandoned.Load() + p.Requeued
		p.In = s.in.Load()
		p.InFlight = p.In - p.Acked - p.Rejected - p.Abandoned
		p.Out, p.Failed, p.Retried = s.out.Load(), s.failed.Load(), s.retried.Load()
		p.Delayed = s.delayed.Load()
		p.Tolerated, p.Dropped, p.Unlogged = s.tolerated.Load(), s.dropped.Load(), s.unlogged.Load()
		p.Address, p.Took, p.Latency = run.address, s.took.read(), s.latency.read()
	}
	return all
}
