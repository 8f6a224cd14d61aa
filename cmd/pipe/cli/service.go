package cli

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/telemetry"
)

// service runs one configuration after the other: at a reload the next one is started before the present one finishes.
type service struct {
	log      *slog.Logger
	options  engine.RunOptions
	stops    *stops
	reload   func() (*config.Config, error)
	controls *controls

	asked  chan func() // what is to be done between two events
	pauses pauses

	mu      sync.Mutex
	present *generation
	running []*generation      // the present one among them, until another takes its place
	past    telemetry.Snapshot // what those counted that have ended
}

// generation is one configuration at work.
type generation struct {
	session *session
	stop    context.CancelFunc // finish what is under way
	ended   chan struct{}      // closed when err is final
	err     error
}

// run runs c, and what replaces it, until all is stopped.
func (s *service) run(c *config.Config) error {
	var running conc.WaitGroup
	defer running.Wait()
	s.become(s.start(&running, c))
	for {
		select {
		case <-s.present.ended:
			return s.present.err
		case <-s.controls.reload:
			s.replace(&running)
		case <-s.controls.pause:
			s.pause(true, "")
		case <-s.controls.resume:
			s.pause(false, "")
		case f := <-s.asked:
			f()
		}
	}
}

// start starts a configuration.
func (s *service) start(running *conc.WaitGroup, c *config.Config) *generation {
	ctx, stop := context.WithCancel(s.stops.ctx)
	g := &generation{session: newSession(c, s.log, s.options, s.stops.now), stop: stop, ended: make(chan struct{})}
	g.session.pause(s.pauses)
	s.mu.Lock()
	s.running = append(s.running, g)
	s.mu.Unlock()
	running.Go(func() {
		defer close(g.ended)
		defer s.over(g)
		defer stop()
		g.err = g.session.run(ctx)
	})
	return g
}

func (s *service) become(g *generation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.present
	s.present = g
	if before != nil {
		select {
		case <-before.ended:
			s.forget(before)
		default: // it will tell: see over
		}
	}
}

// replace reads the files again, and starts what they say; then the present configuration finishes. If anything is wrong with
// them, nothing changes.
func (s *service) replace(running *conc.WaitGroup) {
	s.log.Info("reading the files again")
	c, err := s.reload()
	if err != nil {
		s.log.Error("the files are wrong: nothing changes", "error", err)
		return
	}
	next := s.start(running, c)
	if err := s.comesUp(next); err != nil {
		s.log.Error("the new configuration does not start: nothing changes", "error", err)
		next.stop()
		<-next.ended
		return
	}
	s.log.Info("the new configuration runs; the old one finishes")
	s.present.stop()
	s.become(next)
}

// comesUp waits until a configuration runs, or does not.
func (s *service) comesUp(g *generation) error {
	select {
	case <-g.session.up:
		return g.session.upErr
	case <-g.ended:
		return errors.Join(errors.New("it has ended"), g.err)
	case <-s.present.ended:
		return errors.New("the present one has ended meanwhile")
	case <-s.controls.reload:
		s.controls.again()
		return errors.New("the files are to be read once more")
	case <-s.stops.ctx.Done():
		return errors.New("everything is being stopped")
	}
}

// pause pauses a pipeline, or resumes it; without a name, all.
func (s *service) pause(yes bool, name string) {
	s.pauses = s.pauses.with(yes, name)
	switch {
	case name != "" && yes:
		s.log.Info("paused: nothing more is consumed until it is resumed", "pipeline", name)
	case name != "":
		s.log.Info("resumed", "pipeline", name)
	case yes:
		s.log.Info("paused: nothing more is consumed until SIGUSR2")
	default:
		s.log.Info("resumed")
	}
	s.present.session.pause(s.pauses)
}

// pauses are the pipelines that are paused: all or none, but for some.
type pauses struct {
	all    bool
	except []string
}

// with returns the pauses with a pipeline paused or not; without a name, all.
func (p pauses) with(yes bool, name string) pauses {
	if name == "" {
		return pauses{all: yes}
	}
	except := slices.DeleteFunc(slices.Clone(p.except), func(n string) bool { return n == name })
	if yes != p.all {
		except = append(except, name)
	}
	return pauses{all: p.all, except: except}
}

func (p pauses) has(name string) bool { return p.all != slices.Contains(p.except, name) }

// status tells where the present configuration stands. It may be called from any goroutine.
func (s *service) status() status {
	s.mu.Lock()
	g := s.present
	s.mu.Unlock()
	if g == nil {
		return status{}
	}
	return g.session.status()
}
