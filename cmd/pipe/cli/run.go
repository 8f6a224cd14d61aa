package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/sourcegraph/conc"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
)

type runFlags struct {
	load  loadFlags
	log   logFlags
	dev   devFlag
	drain time.Duration
	procs procsFlag

	telemetry telemetryFlags
	admin     adminFlags
}

func (a *app) runCommand() *cobra.Command {
	var flags runFlags
	cmd := &cobra.Command{
		Use:   "run FILE|FOLDER...",
		Short: "Run pipelines",
		Long: `Run runs the pipelines of the files that it is given; of a folder it takes every *.hcl file.
All of them together form one configuration.

What the files declare is declared first. A pipeline whose connection is refused, or whose queue or
exchange cannot be declared, does not run; the others do. Lost connections are made again, for ever.

With --admin, /livez, /readyz, /metrics (for Prometheus) and /api/v1/pipelines are served over HTTP; a POST to
/api/v1/pipelines/NAME/pause, or resume, pauses one pipeline. An address that other machines can reach needs a token, in
the environment variable PIPE_ADMIN_TOKEN. Traces, metrics and logs are exported where a telemetry block of the files
or an OTEL_* environment variable asks for it: see docs/tracing.md.

SIGHUP reads the files again: if they are good and their connections come up, the new pipelines start and then
the old ones finish; if not, nothing changes. SIGUSR1 pauses consumption, SIGUSR2 resumes it.

The first interrupt (SIGINT, SIGTERM) stops the consumers and finishes what is under way, for at
most --shutdown-timeout; a second one stops at once. What is not finished goes back to its queue.`,
		Example: `  pipe run pipelines/route.hcl
  pipe run --var fx_eur=0.9 pipelines/
  pipe run --dev pipelines/route.hcl`,
		Args: atLeastOne("pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd.Context(), args, flags) },
	}
	flags.load.add(cmd)
	flags.log.add(cmd)
	flags.telemetry.add(cmd)
	flags.admin.add(cmd)
	flags.dev.add(cmd.Flags(), "run on a broker that is started for it, whatever the connections say")
	cmd.Flags().DurationVar(&flags.drain, "shutdown-timeout", engine.DefaultDrainTimeout, "how long what is under way may take to finish after the first interrupt")
	cmd.Flags().Var(&flags.procs, "procs", "how many processors to use: a number, or auto for as many as are busy; GOMAXPROCS wins over auto")
	return cmd
}

func (a *app) run(ctx context.Context, args []string, flags runFlags) error {
	if flags.drain <= 0 {
		return &exitError{code: exitUsage, err: fmt.Errorf("--shutdown-timeout must be more than 0, not %s", flags.drain)}
	}
	if err := flags.dev.apart(args); err != nil {
		return err
	}
	out, err := a.output(flags.log)
	if err != nil {
		return err
	}
	stops := watchSignals(ctx, out.stopping)
	defer stops.release()
	working, done := context.WithCancel(context.WithoutCancel(ctx))
	var adapting conc.WaitGroup
	defer adapting.Wait()
	defer done()
	adapting.Go(func() {
		adaptProcs(working, flags.procs, realLoad, func(n int) { out.log.Debug("the number of processors changes", "procs", n) })
	})
	// The files are read once, and before a broker is started for nothing. Where the log goes is in them too, and what they make has it already.
	at, log := flags.dev.beforehand(), newLaterHandler(out.log.Handler())
	c, diags, err := a.read(args, flags.load, slog.New(log), at)
	if err != nil {
		return err
	}
	if diags.HasErrors() {
		c.Telemetry = nil
	}
	seen, err := observe(ctx, c.Telemetry, flags, out)
	if err != nil {
		return err
	}
	log.set(out.log.Handler())
	defer seen.Close()
	endpoint, err := startAdmin(ctx, flags.admin, seen, out)
	if err != nil {
		return err
	}
	defer endpoint.close()
	if err := a.tell(c, diags); err != nil {
		return err
	}
	if flags.dev == "" && !c.Embedded {
		return stops.exit(a.serve(stops, c, out, seen, flags.drain, a.again(args, flags.load, out.log, at)))
	}
	return stops.exit(flags.dev.on(stops.ctx, a, args, flags.load, out.log, flags.dev != "", func(c *config.Config, at addresses) error {
		return a.serve(stops, c, out, seen, flags.drain, a.again(args, flags.load, out.log, at))
	}))
}

// ballast is memory that is never touched, so that the system never gives it: it only makes the garbage collector wait for
// more garbage than the little that a run keeps alive would allow.
const ballast = 4 << 20

// again returns what loads the files once more, for a reload.
func (a *app) again(args []string, flags loadFlags, log *slog.Logger, at addresses) func() (*config.Config, error) {
	return func() (*config.Config, error) {
		c, err := a.load(args, flags, log, at)
		if err == nil && c.Embedded && at.embedded == "" {
			err = errors.New("a connection is \"embedded:\" now, and that broker was not started: start pipe again")
		}
		return c, err
	}
}

// serve runs a configuration, and what it is replaced by, until it is stopped.
func (a *app) serve(stops *stops, c *config.Config, out *output, seen *observed, drain time.Duration, reload func() (*config.Config, error)) error {
	if !slices.ContainsFunc(c.Pipelines, hasSource) {
		return &exitError{code: exitInvalid, err: errors.New("nothing to run: no pipeline of the files has a source")}
	}
	untouched := make([]byte, ballast)
	defer runtime.KeepAlive(untouched)
	s := &service{log: out.log, options: runOptions(out.log, drain, seen), stops: stops, reload: reload, controls: watchControls(), asked: make(chan func())}
	defer s.controls.release()
	seen.service.Store(s)
	return outcome(out.during(s.status, func() error { return s.run(c) }))
}

// runOptions are what every pipeline is run with.
func runOptions(log *slog.Logger, drain time.Duration, seen *observed) engine.RunOptions {
	o := engine.RunOptions{Logger: log, DrainTimeout: drain, Version: "pipe " + versionText()}
	if seen != nil {
		o.Tracer, o.Measure = seen.Tracer(), seen.Measures()
	}
	return o
}

// outcome turns the errors of a session, which have been logged, into an exit code.
func outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errRefused):
		return told(exitRefused)
	default:
		return told(exitFailed)
	}
}

func (o *output) stopping(signal os.Signal) {
	o.log.Info("stopping: finishing what is under way; a second signal stops at once", "signal", signal.String())
}
