// Package cli is the pipe command. A binary with components of its own is one call:
//
//	func main() {
//		cli.Main(cli.Register(func(r *engine.Registry) { r.Stage("redact", redact.New) }))
//	}
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipeamqp/pipe/engine"
)

// Option changes the command that [Main] and [Run] are.
type Option func(*app)

// Register adds components to the built-in ones. register is called once, before anything else; a
// kind that is already there makes the registry panic.
func Register(register func(*engine.Registry)) Option {
	return func(a *app) { register(a.registry) }
}

// Main runs the command line of the process and exits with the code that [Run] returns.
func Main(options ...Option) {
	streams := Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(Run(context.Background(), os.Args[1:], streams, options...))
}

// Streams are what a command reads from and writes to: what was asked for goes to Out, logs,
// diagnostics and errors go to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Run runs one command line, without the program's name, and returns its exit code. When ctx ends,
// a running command stops as it does at the first interrupt.
func Run(ctx context.Context, args []string, streams Streams, options ...Option) int {
	a := &app{Streams: streams, registry: new(engine.Registry)}
	registerBuiltin(a.registry)
	for _, option := range options {
		option(a)
	}
	root := a.root()
	root.SetArgs(args)
	return a.report(root.ExecuteContext(ctx))
}

// app is what the commands share.
type app struct {
	Streams
	registry *engine.Registry
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "pipe",
		Short: "Move RabbitMQ messages through pipelines and never lose one",
		Long: `pipe moves messages between RabbitMQ queues and exchanges and works on them on the way.

A pipeline is an HCL file: the queue to read, the stages that messages go through, and the
sinks that take what comes out. A message is acknowledged when everything that it became has
been confirmed.`,
		Example: `  pipe run pipelines/route.hcl         run a pipeline
  pipe run --dev pipelines/route.hcl   run it on a broker in memory that is started for it
  pipe validate pipelines/             check every file of a folder`,
		Args:                  cobra.ArbitraryArgs,
		SilenceErrors:         true,
		DisableFlagsInUseLine: true,
		SilenceUsage:          true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, err) })
	root.AddCommand(
		a.runCommand(), a.validateCommand(), a.fmtCommand(), a.declareCommand(), a.delaysCommand(), a.stagesCommand(),
		a.functionsCommand(), a.evalCommand(), a.brokerCommand(), a.demoCommand(), a.versionCommand(), exitCodesTopic(),
	)
	return root
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	return usageError(root, fmt.Errorf("there is no command %q%s", name, didYouMean(name, names)))
}

// atLeastOne refuses a command line without arguments.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError(cmd, fmt.Errorf("name at least one %s", what))
		}
		return nil
	}
}

// atMost refuses a command line with more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usageError(cmd, fmt.Errorf("too many arguments: %s", strings.Join(args[n:], " ")))
		}
		return nil
	}
}

// report tells of the error that a command ended with, if it has not been told already, and returns
// the exit code.
func (a *app) report(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitFailed
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	fmt.Fprintln(a.Err, "pipe:", err)
	return code
}
