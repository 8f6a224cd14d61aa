package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
)

// devBroker is a broker that is there for the time of a command only.
type devBroker struct {
	url  string
	what string // what was started and where, for people
	stop func(context.Context) error
}

// startDevBroker starts the broker of `broker`, `run --dev` and `demo`: a private RabbitMQ node. On
// port 0 it takes a free one.
func startDevBroker(ctx context.Context, port int) (*devBroker, error) {
	node, err := rabbitmq.Start(ctx, rabbitmq.Options{Port: port})
	if err != nil {
		return nil, err
	}
	return &devBroker{
		url: node.URL(),
		what: fmt.Sprintf("a private RabbitMQ (process %d) on 127.0.0.1:%d, with its data in %s; it is stopped and removed at the end",
			node.PID(), node.Port(), node.Dir()),
		stop: node.Stop,
	}, nil
}

const brokerStopTimeout = 20 * time.Second

// end stops the broker and removes its data, and adds to err what goes wrong with that.
func (b *devBroker) end(err error) error {
	ctx, cancel := context.WithTimeout(context.Background(), brokerStopTimeout)
	defer cancel()
	if stopErr := b.stop(ctx); stopErr != nil {
		return errors.Join(err, fmt.Errorf("stop the private RabbitMQ: %w", stopErr))
	}
	return err
}

func (a *app) brokerCommand() *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Start a private RabbitMQ and print its URL",
		Long: `Broker starts a RabbitMQ node of its own on the loopback interface, with a folder, a port and a
user "guest" of its own, and prints its URL. It touches no other broker of the machine. The node runs
until the command is interrupted; it is then stopped and its data removed.

It needs RabbitMQ to be installed (Debian, Ubuntu: apt-get install rabbitmq-server; macOS: brew
install rabbitmq), but no running broker.`,
		Example: `  pipe broker
  pipe broker --port 5672`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.broker(cmd.Context(), port) },
	}
	cmd.Flags().IntVar(&port, "port", 0, "the port to listen on; 0 takes a free one")
	return cmd
}

func (a *app) broker(ctx context.Context, port int) error {
	if port < 0 || port > 65535 {
		return &exitError{code: exitUsage, err: fmt.Errorf("--port is 0 to 65535, not %d", port)}
	}
	stops := watchSignals(ctx, func(os.Signal) { fmt.Fprintln(a.Err, "Stopping the broker ...") })
	defer stops.release()
	fmt.Fprintln(a.Err, "Starting a private RabbitMQ; this takes some seconds ...")
	broker, err := startDevBroker(stops.ctx, port)
	if err != nil {
		if stops.ctx.Err() != nil {
			err = nil // it was interrupted, and has cleared up
		}
		return stops.exit(err)
	}
	fmt.Fprintf(a.Err, "Started %s. Ctrl-C ends it.\n", broker.what)
	fmt.Fprintln(a.Out, broker.url)
	<-stops.ctx.Done()
	return broker.end(nil)
}
