package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/config"
)

type declareFlags struct {
	brokerFlags
	dryRun bool
}

func (a *app) declareCommand() *cobra.Command {
	var flags declareFlags
	cmd := &cobra.Command{
		Use:   "declare FILE|FOLDER...",
		Short: "Declare exchanges, queues and bindings, then exit",
		Long: `Declare connects, declares the exchanges, queues and bindings of the files, and exits. What exists
already must be as it is declared. It exits with 4 if the broker refused something; the rest has been
declared then.

With --dry-run it connects to nothing and prints what it would declare, the queues that hold messages
for retries included (pipe.delay.*).`,
		Example: `  pipe declare pipelines/route.hcl
  pipe declare --dry-run pipelines/`,
		Args: atLeastOne("pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.declare(cmd.Context(), args, flags) },
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "print what would be declared, and do not connect")
	return cmd
}

func (a *app) declare(ctx context.Context, args []string, flags declareFlags) error {
	return a.atBrokers(ctx, args, flags.brokerFlags, func(ctx context.Context, c *config.Config, out *output, stops *stops) error {
		if flags.dryRun {
			return a.printTopology(c)
		}
		s := newSession(c, out.log, runOptions(out.log, closeAtOnce, nil), stops.now)
		err := s.declare(ctx)
		if ctx.Err() != nil && stops.ctx.Err() == nil {
			for _, name := range slices.Sorted(maps.Keys(s.connections)) {
				out.log.Error("no broker within the timeout", "connection", name, "timeout", flags.timeout.String())
			}
		}
		return outcome(err)
	})
}

// printTopology prints what the connections of a configuration declare.
func (a *app) printTopology(c *config.Config) error {
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(c.Connections)) {
		p := c.Connections[name]
		fmt.Fprintf(w, "connection %s: %s\n", name, p.Redacted())
		for _, e := range p.Topology().Entities() {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", e.Kind, e.Name, e.Asked)
		}
	}
	return w.Flush()
}
