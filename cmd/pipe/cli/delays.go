package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/pool"
	"github.com/pipeamqp/pipe/sources/amqp"
)

type delaysFlags struct {
	brokerFlags
	remove bool
}

func (a *app) delaysCommand() *cobra.Command {
	var flags delaysFlags
	cmd := &cobra.Command{
		Use:   "delays FILE|FOLDER...",
		Short: "Show the queues that hold messages for retries, or remove them",
		Long: `Delays shows, for each connection of the files, the queues in which messages wait for their next attempt
(pipe.delay.*), and how many do.

With --remove it removes those in which nothing waits, and their exchanges. Stop the pipelines first: one that
runs holds its messages in the process instead, until it is started again. Of a queue in which something waits only
the exchange is removed: no more comes in, and what is there goes back in its time. Then run it again.`,
		Example: `  pipe delays pipelines/
  pipe delays --remove pipelines/`,
		Args: atLeastOne("pipeline file"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.delays(cmd.Context(), args, flags) },
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.remove, "remove", false, "remove the queues in which nothing waits")
	return cmd
}

func (a *app) delays(ctx context.Context, args []string, flags delaysFlags) error {
	return a.atBrokers(ctx, args, flags.brokerFlags, func(ctx context.Context, c *config.Config, _ *output, _ *stops) error {
		w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
		var errs []error
		for _, name := range slices.Sorted(maps.Keys(c.Connections)) {
			fmt.Fprintf(w, "connection %s\n", name)
			p, err := c.Connections[name].WithoutTopology()
			if err == nil {
				err = delaysOf(ctx, w, p, flags.remove)
			}
			errs = append(errs, err)
		}
		return errors.Join(errors.Join(errs...), w.Flush())
	})
}

// delaysOf shows or removes the queues of one broker.
func delaysOf(ctx context.Context, w io.Writer, p *pool.Pool, remove bool) (err error) {
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeAtOnce)
		defer cancel()
		err = errors.Join(err, p.Close(closing))
	}()
	if err := p.Start(ctx); err != nil {
		return err
	}
	ladder := amqp.Ladder(amqp.LongestDelay)
	found := false
	for i := range ladder.Queues {
		name := ladder.Queues[i].Name
		waiting, ok, err := waitingIn(ctx, p, name)
		switch {
		case err != nil:
			return err
		case !ok:
			continue
		}
		found = true
		note := ""
		if remove {
			if note, err = removeDelay(ctx, p, name); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "  %s\t%d waiting\t%s\n", name, waiting, note)
	}
	if !found {
		fmt.Fprintln(w, "  no queues for retries")
	}
	return nil
}

// waitingIn returns how many messages wait in a queue; ok is false if there is none.
func waitingIn(ctx context.Context, p *pool.Pool, name string) (n int, ok bool, err error) {
	err = p.Channel(ctx, func(ch *amqp091.Channel) error {
		q, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		n = q.Messages
		return err
	})
	var said *amqp091.Error
	if errors.As(err, &said) && said.Code == amqp091.NotFound {
		return 0, false, nil
	}
	return n, err == nil, err
}

// settling is how long after the removal of an exchange what it has routed may still be on its way into the queue.
const settling = time.Second

// removeDelay removes an exchange, and its queue if nothing waits there.
func removeDelay(ctx context.Context, p *pool.Pool, name string) (note string, err error) {
	err = p.Channel(ctx, func(ch *amqp091.Channel) error { return ch.ExchangeDelete(name, false, false) })
	if err != nil {
		return "", err
	}
	select {
	case <-time.After(settling):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	n, ok, err := waitingIn(ctx, p, name)
	if err != nil || !ok {
		return "", err
	}
	if n > 0 {
		return "kept until they are back", nil
	}
	err = p.Channel(ctx, func(ch *amqp091.Channel) error {
		_, err := ch.QueueDelete(name, false, false, false)
		return err
	})
	return "removed", err
}
