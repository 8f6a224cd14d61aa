package cli

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

type declareFlags struct {
	load    loadFlags
	log     logFlags
	timeout time.Duration
}

func (a *app) declareCommand() *cobra.Command {
	var flags declareFlags
	cmd := &cobra.Command{
		Use:   "declare FILE|FOLDER...",
		Short: "Declare exchanges, queues and bindings, then exit",
		Long: `Declare connects, declares the exchanges, queues and bindings of the files, and exits. What exists
already must be as it is declared. It exits with 4 if the broker refused something; the rest has been
declared then.`,
		Example: `  pipe declare pipelines/route.hcl`,
		Args:    atLeastOne("pipeline file"),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.declare(cmd.Context(), args, flags) },
	}
	flags.load.add(cmd)
	flags.log.add(cmd)
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 30*time.Second, "how long to wait for the brokers")
	return cmd
}

func (a *app) declare(ctx context.Context, args []string, flags declareFlags) error {
	out, err := a.output(flags.log)
	if err != nil {
		return err
	}
	c, err := a.load(args, flags.load, out.log, "")
	if err != nil {
		return err
	}
	stops := watchSignals(ctx, out.stopping)
	defer stops.release()
	limited, cancel := context.WithTimeout(stops.ctx, flags.timeout)
	defer cancel()
	s := newSession(c, out.log, closeAtOnce, stops.now)
	err = s.declare(limited)
	if limited.Err() != nil && stops.ctx.Err() == nil {
		for _, name := range slices.Sorted(maps.Keys(s.connections)) {
			out.log.Error("no broker within the timeout", "connection", name, "timeout", flags.timeout.String())
		}
	}
	return stops.exit(outcome(err))
}
