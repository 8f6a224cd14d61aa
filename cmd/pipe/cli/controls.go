package cli

import (
	"os"
	"os/signal"

	"github.com/sourcegraph/conc"
)

// controls are what an operator asks of a running command, other than to stop. Each channel has room for one: asking twice
// before anybody has looked is asking once.
type controls struct {
	reload, pause, resume chan struct{}

	signals chan os.Signal
	watch   conc.WaitGroup
}

// watchControls turns signals into controls until release is called. Where there are no such signals nothing is ever asked.
func watchControls() *controls {
	c := &controls{
		reload: make(chan struct{}, 1), pause: make(chan struct{}, 1), resume: make(chan struct{}, 1),
		signals: make(chan os.Signal, 8),
	}
	meaning := map[os.Signal]chan struct{}{}
	for sig, name := range controlSignals {
		meaning[sig] = map[string]chan struct{}{"reload": c.reload, "pause": c.pause, "resume": c.resume}[name]
		signal.Notify(c.signals, sig)
	}
	c.watch.Go(func() {
		for sig := range c.signals {
			ask(meaning[sig])
		}
	})
	return c
}

func ask(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// again asks for another reload.
func (c *controls) again() { ask(c.reload) }

// release stops watching. It must be called.
func (c *controls) release() {
	signal.Stop(c.signals)
	close(c.signals)
	c.watch.Wait()
}
