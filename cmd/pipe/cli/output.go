package cli

import (
	"context"
	"io"
	"log/slog"

	"github.com/sourcegraph/conc"
)

// output is where a running command tells what happens: a log, and on a terminal a live line below it.
type output struct {
	log    *slog.Logger
	level  *slog.LevelVar
	lines  io.Writer // for whole lines of text beside the log
	screen *screen   // nil where there is no terminal
	width  func() int
	colour bool
}

// output makes the output of a command that logs to the error stream.
func (a *app) output(flags logFlags) (*output, error) {
	o := &output{lines: a.Out, colour: colourful(a.Out), width: func() int { return 0 }}
	w := a.Err
	file, isTerminal := terminal(a.Err)
	if isTerminal {
		o.screen = &screen{out: file, width: func() int { return columns(file) }}
		w = o.screen
	}
	if stdout, ok := terminal(a.Out); ok {
		o.width = func() int { return columns(stdout) }
		if isTerminal {
			o.lines = o.screen
		}
	}
	var err error
	if o.log, o.level, err = flags.logger(w, isTerminal, colourful(a.Err)); err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return o, nil
}

// during shows a live line, where there is a terminal, while work runs.
func (o *output) during(read func() status, work func() error) error {
	if o.screen == nil {
		return work()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var line conc.WaitGroup
	line.Go(func() { showStatus(ctx, o.screen, read) })
	defer line.Wait()
	defer cancel()
	return work()
}
