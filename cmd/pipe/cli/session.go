package cli

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// session runs what a configuration describes. Every connection starts by itself, and every pipeline
// as soon as the connections that it uses have started and what they declare for it is there: one
// that cannot run does not keep the others from it.
type session struct {
	config  *config.Config
	log     *slog.Logger
	options engine.RunOptions
	// now ends when what is under way is to be given up.
	now context.Context
	// ready is closed when every connection has started, or never will.
	ready chan struct{}
	// up is closed when every pipeline runs, or cannot: then upErr says why.
	up    chan struct{}
	upErr error

	connections map[string]*connection

	mu      sync.Mutex
	runners []*engine.Runner
	pauses  pauses
	runs    map[string]string // the state of pipelines that have left the beginning, by name
}

// The states of a pipeline; before all of them, it waits.
const (
	pipelineRuns    = "running"
	pipelineRefused = "refused by the broker"
	pipelineEnded   = "stopped"
)

// connection is a pool on its way up.
type connection struct {
	pool *pool.Pool
	done chan struct{} // closed when err and failed are final
	err  error
	// failed are the entities that could not be declared.
	failed []*pool.TopologyError
}

func newSession(c *config.Config, log *slog.Logger, options engine.RunOptions, now context.Context) *session {
	s := &session{
		config: c, log: log, options: options, now: now, runs: map[string]string{},
		ready: make(chan struct{}), up: make(chan struct{}), connections: make(map[string]*connection),
	}
	for name, p := range c.Connections {
		s.connections[name] = &connection{pool: p, done: make(chan struct{})}
	}
	return s
}

// errRefused marks what a broker has refused for good.
var errRefused = errors.New("refused by the broker")

// run runs the pipelines until ctx ends and what is under way has finished, or until none is left.
// Its errors have been logged.
func (s *session) run(ctx context.Context) error {
	defer s.close()
	starting, abandon := context.WithCancel(ctx)
	defer abandon()
	var connecting, watching conc.WaitGroup
	connecting.Go(func() { s.connect(starting) })
	finished, finish := context.WithCancel(context.WithoutCancel(ctx))
	watching.Go(func() { s.hurry(finished) })
	err := s.runAll(ctx)
	finish()
	watching.Wait()
	abandon()
	connecting.Wait()
	return err
}

// declare declares what the connections declare.
func (s *session) declare(ctx context.Context) error {
	defer s.close()
	s.connect(ctx)
	for _, c := range s.connections {
		switch {
		case c.err != nil && ctx.Err() != nil:
			return c.err
		case c.err != nil || len(c.failed) > 0:
			return errRefused
		}
	}
	return nil
}

// connect starts every connection and waits for them.
func (s *session) connect(ctx context.Context) {
	defer close(s.ready)
	var starting conc.WaitGroup
	for name, c := range s.connections {
		starting.Go(func() { s.start(ctx, name, c) })
	}
	starting.Wait()
}

// start brings one connection up and declares what it declares.
func (s *session) start(ctx context.Context, name string, c *connection) {
	defer close(c.done)
	if c.err = c.pool.Start(ctx); c.err != nil {
		return // the pool has logged it
	}
	if c.failed = c.pool.TopologyErrors(); len(c.failed) == 0 {
		s.log.Info("connected and declared", "connection", name, "broker", c.pool.Redacted())
	}
}

// runAll runs each group of pipelines when its connections have started.
func (s *session) runAll(ctx context.Context) error {
	groups := groupPipelines(s.config)
	errs := make([]error, len(groups))
	var running conc.WaitGroup
	var starting sync.WaitGroup
	starting.Add(len(groups))
	for i, g := range groups {
		running.Go(func() { errs[i] = s.runGroup(ctx, g, sync.OnceFunc(starting.Done)) })
	}
	starting.Wait()
	close(s.up)
	running.Wait()
	return errors.Join(errs...)
}

// runGroup waits until what a group of pipelines uses has started, and runs those of them that can. It calls started when they run,
// or cannot.
func (s *session) runGroup(ctx context.Context, g group, started func()) error {
	defer started()
	for _, name := range g.connections {
		<-s.connections[name].done
	}
	if ctx.Err() != nil {
		return s.refusal(g)
	}
	pipelines, refused := s.usable(g)
	s.note(refused)
	s.become(pipelineRefused, g.pipelines)
	if !slices.ContainsFunc(pipelines, hasSource) {
		return refused
	}
	runner, err := engine.NewRunner(s.options, pipelines...)
	if err != nil {
		s.log.Error("pipelines cannot run", "error", err)
		s.note(err)
		return errors.Join(refused, err)
	}
	s.add(runner)
	for _, p := range pipelines {
		if p.Source != nil {
			s.log.Info("pipeline runs", "pipeline", p.Name)
		}
	}
	s.become(pipelineRuns, pipelines)
	started()
	err = runner.Run(ctx)
	s.become(pipelineEnded, pipelines)
	for _, p := range runner.Stats() {
		s.log.Info("pipeline ended", "pipeline", p.Name, "in", p.In, "out", p.Out, "failed", p.Failed+p.Tolerated, "dropped", p.Dropped, "left_in_queue", p.Abandoned)
	}
	return errors.Join(refused, err)
}

// refusal tells of a group that is stopped before its connections have started whether one of them has been refused.
func (s *session) refusal(g group) error {
	for _, name := range g.connections {
		if s.connections[name].pool.State() == pool.StateFailed {
			return errRefused
		}
	}
	return nil
}

func (s *session) add(r *engine.Runner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runners = append(s.runners, r)
	s.apply(r)
	if s.now.Err() != nil {
		r.Stop()
	}
}

// note keeps what does not run, for s.upErr.
func (s *session) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upErr = errors.Join(s.upErr, err)
}

// pause pauses the pipelines that p has, and resumes the others.
func (s *session) pause(p pauses) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauses = p
	for _, r := range s.runners {
		s.apply(r)
	}
}

// apply pauses and resumes the pipelines of a runner. The session is locked.
func (s *session) apply(r *engine.Runner) {
	for _, p := range r.Stats() {
		r.Pause(p.Name, s.pauses.has(p.Name))
	}
}

// become notes the state of pipelines.
func (s *session) become(state string, pipelines []*engine.Pipeline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pipelines {
		s.runs[p.Name] = state
	}
}

// hurry gives up what is under way once s.now ends.
func (s *session) hurry(finished context.Context) {
	select {
	case <-s.now.Done():
	case <-finished.Done():
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.runners {
		r.Stop()
	}
}

// closeAtOnce is how long closing may take when what is under way is given up.
const closeAtOnce = 500 * time.Millisecond

// close closes the connections.
func (s *session) close() {
	limit := s.options.DrainTimeout
	if s.now.Err() != nil {
		limit = closeAtOnce
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stop := context.AfterFunc(s.now, cancel)
	defer stop()
	var closing conc.WaitGroup
	for name, c := range s.connections {
		closing.Go(func() {
			if err := c.pool.Close(ctx); err != nil {
				s.log.Warn("connection closed with something outstanding", "connection", name, "error", err)
			}
		})
	}
	closing.Wait()
}

// status tells where the session stands. It may be called from any goroutine.
func (s *session) status() status {
	var now status
	s.mu.Lock()
	for _, r := range s.runners {
		now.pipelines = append(now.pipelines, r.Stats()...)
	}
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.connections)) {
		if note := stateNote(s.connections[name].pool.State()); note != "" {
			now.notes = append(now.notes, name+" "+note)
		}
	}
	return now
}

// stateNote says what is special about a connection's state.
func stateNote(state pool.State) string {
	switch state {
	case pool.StateDialing:
		return "is not connected"
	case pool.StateBlocked:
		return "is blocked by the broker"
	case pool.StateFailed:
		return "was refused"
	default:
		return ""
	}
}
