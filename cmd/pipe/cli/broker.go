package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/internal/devbroker"
	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/pool"
)

// The brokers that a command can bring along.
const (
	embeddedBroker = "embedded"
	privateBroker  = "rabbitmq"
)

// devFlag chooses one of them; empty is none.
type devFlag string

func (f *devFlag) String() string { return string(*f) }
func (f *devFlag) Type() string   { return "broker" }

func (f *devFlag) Set(text string) error {
	if text != embeddedBroker && text != privateBroker {
		return fmt.Errorf("it is %s or %s", embeddedBroker, privateBroker)
	}
	*f = devFlag(text)
	return nil
}

// add adds the flag --dev, which stands for the broker in the box if nothing follows.
func (f *devFlag) add(flags *pflag.FlagSet, usage string) {
	flags.Var(f, "dev", usage+": the `BROKER` is embedded, in memory, or rabbitmq, a private node of the RabbitMQ that is installed")
	flags.Lookup("dev").NoOptDefVal = embeddedBroker
}

// apart is the mistake of writing the broker as a word of its own, which is a file's name then.
func (f devFlag) apart(args []string) error {
	if word := args[0]; f != "" && (word == embeddedBroker || word == privateBroker) {
		if _, err := os.Stat(word); err != nil {
			return &exitError{code: exitUsage, err: fmt.Errorf("there is no file %[1]s; to choose the broker, write --dev=%[1]s", word)}
		}
	}
	return nil
}

// beforehand returns what stands for the broker's address until it is started.
func (f devFlag) beforehand() addresses {
	if f == "" {
		return addresses{}
	}
	return addresses{override: pool.DefaultURL}
}

// devBroker is a broker that is there for the time of a command only.
type devBroker struct {
	url  string
	what string // what was started and where, for people
	stop func(context.Context) error
}

// start starts the broker. On port 0 it takes a free one.
func (f devFlag) start(ctx context.Context, port int) (*devBroker, error) {
	if f == privateBroker {
		return startPrivate(ctx, port)
	}
	return startEmbedded(fmt.Sprintf("127.0.0.1:%d", port))
}

// startEmbedded starts the broker in the box.
func startEmbedded(address string) (*devBroker, error) {
	server, err := devbroker.Start(address, devbroker.Options{})
	if err != nil {
		return nil, err
	}
	return &devBroker{
		url:  server.URL(),
		what: "a broker in memory on " + server.Addr() + ", for development only: everything in it is gone at exit",
		stop: func(context.Context) error { return server.Close() },
	}, nil
}

// startPrivate starts a private RabbitMQ node.
func startPrivate(ctx context.Context, port int) (*devBroker, error) {
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
		return errors.Join(err, fmt.Errorf("stop the broker: %w", stopErr))
	}
	return err
}

// on calls work with the configuration on a broker that is there meanwhile: all its connections go there, or, with embedded, those whose url
// is "embedded:".
func (f devFlag) on(ctx context.Context, a *app, args []string, flags loadFlags, log *slog.Logger, all bool, work func(*config.Config, addresses) error) error {
	if f == privateBroker {
		log.Info("starting a private RabbitMQ; this takes some seconds")
	}
	broker, err := f.start(ctx, 0)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return err
	}
	log.Info("started " + broker.what)
	at := addresses{embedded: broker.url}
	if all {
		at = addresses{override: broker.url}
	}
	c, diags, err := a.read(args, flags, log, at)
	switch {
	case err != nil:
	case diags.HasErrors():
		err = diags // the files have changed meanwhile
	default:
		err = work(c, at)
	}
	return broker.end(err)
}

func (a *app) brokerCommand() *cobra.Command {
	var listen string
	var private bool
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Start a broker in memory, for development, and print its URL",
		Long: `Broker starts an AMQP 0-9-1 broker of its own and prints its URL. It runs until the command is interrupted.

It keeps everything in memory, and all of it is gone at exit: it is there to try things out and for tests, with pipe or
with any other client. It does what RabbitMQ does with exchanges, queues, bindings, confirms, dead letters, limits,
priorities and delivery limits; transactions, streams and clusters it refuses.

With --rabbitmq it starts a private node of the RabbitMQ that is installed instead, with a folder of its own that is
removed at the end; that touches no other broker of the machine.`,
		Example: `  pipe broker
  pipe broker --listen 127.0.0.1:5673
  pipe broker --rabbitmq --listen 127.0.0.1:0`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.broker(cmd.Context(), listen, private) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:5672", "the `address` to listen on; port 0 takes a free one")
	cmd.Flags().BoolVar(&private, "rabbitmq", false, "a private node of the RabbitMQ that is installed")
	return cmd
}

func (a *app) broker(ctx context.Context, listen string, private bool) error {
	port, err := devbroker.LoopbackPort(listen)
	if err != nil {
		return &exitError{code: exitUsage, err: fmt.Errorf("--listen: %w", err)}
	}
	stops := watchSignals(ctx, func(os.Signal) { fmt.Fprintln(a.Err, "Stopping the broker ...") })
	defer stops.release()
	var broker *devBroker
	if private {
		fmt.Fprintln(a.Err, "Starting a private RabbitMQ; this takes some seconds ...")
		broker, err = startPrivate(stops.ctx, port)
	} else {
		broker, err = startEmbedded(listen)
	}
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
