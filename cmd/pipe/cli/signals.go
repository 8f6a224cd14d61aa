package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sourcegraph/conc"
)

// stops is how a running command is asked to end.
type stops struct {
	// ctx ends at the first signal: finish what is under way.
	ctx context.Context
	// now ends at the second one: give up what is under way.
	now context.Context

	signals chan os.Signal
	cancel  context.CancelFunc
	watch   conc.WaitGroup
}

// signalled is why stops.now has ended.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string {
	return fmt.Sprintf("stopped at once by a second signal (%s)", s.Signal)
}

// watchSignals turns SIGINT and SIGTERM into stops until release is called. A third signal ends the
// process, as signals do. first is called at the first signal.
func watchSignals(parent context.Context, first func(os.Signal)) *stops {
	s := &stops{signals: make(chan os.Signal, 2)}
	released, release := context.WithCancel(context.WithoutCancel(parent))
	ctx, cancelCtx := context.WithCancel(parent)
	now, cancelNow := context.WithCancelCause(context.WithoutCancel(parent))
	s.ctx, s.now = ctx, now
	s.cancel = func() {
		release()
		cancelCtx()
		cancelNow(nil)
	}
	signal.Notify(s.signals, os.Interrupt, syscall.SIGTERM)
	s.watch.Go(func() {
		defer signal.Stop(s.signals)
		select {
		case sig := <-s.signals:
			first(sig)
			cancelCtx()
		case <-released.Done():
			return
		}
		select {
		case sig := <-s.signals:
			cancelNow(signalled{sig.(syscall.Signal)})
		case <-released.Done():
		}
	})
	return s
}

// release stops watching. It must be called.
func (s *stops) release() {
	s.cancel()
	s.watch.Wait()
}

// exit returns the error of a command that a second signal has stopped, else err.
func (s *stops) exit(err error) error {
	if sig, ok := context.Cause(s.now).(signalled); ok {
		return &exitError{code: exitSignal + int(sig.Signal), err: sig}
	}
	return err
}
