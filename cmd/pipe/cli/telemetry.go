package cli

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/telemetry"
)

// telemetryFlags are the flags of commands whose messages can be followed.
type telemetryFlags struct {
	terminal int // the trace of one message in so many is printed; 0: none
}

func (f *telemetryFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.terminal, "trace-to-terminal", 0, "print the way of each message as a tree; with =`N`, of one in N")
	cmd.Flags().Lookup("trace-to-terminal").NoOptDefVal = "1"
}

// observed is the telemetry of a run, and what it reads.
type observed struct {
	*telemetry.Telemetry
	service atomic.Pointer[service] // nil before messages flow
}

// observe sets up what the files, which say t, the environment and the flags ask for, and has the log go there too.
func observe(ctx context.Context, t *telemetry.Config, flags runFlags, out *output) (*observed, error) {
	if flags.telemetry.terminal < 0 {
		return nil, &exitError{code: exitUsage, err: fmt.Errorf("--trace-to-terminal is a number from 1 on, not %d", flags.telemetry.terminal)}
	}
	var err error
	o := &observed{}
	options := telemetry.Options{Version: versionText(), Logger: out.log, Read: o.snapshot, Scraped: flags.admin.address != ""}
	if flags.telemetry.terminal > 0 {
		options.Terminal, options.Every = out.trace, flags.telemetry.terminal
	}
	if o.Telemetry, err = telemetry.Start(ctx, t, options); err != nil {
		return nil, &exitError{code: exitUsage, err: fmt.Errorf("set up telemetry: %w", err)}
	}
	if t != nil && t.Logs != nil && flags.log.level == "" {
		out.level.Set(levels[t.Logs.Level])
	}
	out.log = o.logger(out)
	return o, nil
}

// logger returns the log with the ids of traces, which goes to the backend too where that is asked for.
func (o *observed) logger(out *output) *slog.Logger {
	shown := telemetry.WithTraces(out.log.Handler())
	if exported := o.LogHandler(); exported != nil {
		return slog.New(slog.NewMultiHandler(shown, leveled{exported, out.level}))
	}
	return slog.New(shown)
}

// leveled is a handler with a level of its own.
type leveled struct {
	slog.Handler
	level slog.Leveler
}

func (h leveled) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }
func (h leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{h.Handler.WithAttrs(attrs), h.level}
}

func (h leveled) WithGroup(name string) slog.Handler {
	return leveled{h.Handler.WithGroup(name), h.level}
}

// snapshot returns what has been counted since the start.
func (o *observed) snapshot() telemetry.Snapshot {
	if s := o.service.Load(); s != nil {
		return s.snapshot()
	}
	return telemetry.Snapshot{}
}

// trace prints a trace beside the log.
func (o *output) trace(lines string) { _, _ = fmt.Fprintln(o.lines, lines) }

// addSnapshot adds counters of the same things to s, and things that s does not have. What is so at the moment is s's.
func addSnapshot(s *telemetry.Snapshot, other telemetry.Snapshot) {
	for _, o := range other.Pipelines {
		if p := find(s.Pipelines, func(p *engine.PipelineStats) bool { return p.Name == o.Name }); p != nil {
			p.Add(o)
		} else {
			s.Pipelines = append(s.Pipelines, o)
		}
	}
	for _, o := range other.Components {
		same := func(c *engine.ComponentStats) bool {
			return c.Pipeline == o.Pipeline && c.Role == o.Role && c.Kind == o.Kind && c.Name == o.Name
		}
		if c := find(s.Components, same); c != nil {
			c.Add(o)
		} else {
			s.Components = append(s.Components, o)
		}
	}
	for _, o := range other.Connections {
		if c := find(s.Connections, func(c *telemetry.Connection) bool { return c.Name == o.Name }); c != nil {
			c.Add(o.Stats)
		} else {
			s.Connections = append(s.Connections, o)
		}
	}
}

func find[T any](all []T, is func(*T) bool) *T {
	for i := range all {
		if is(&all[i]) {
			return &all[i]
		}
	}
	return nil
}
