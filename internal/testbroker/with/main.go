// Command with runs another command with a RabbitMQ node that its tests share:
//
//	go run ./internal/testbroker/with go test ./...
//
// Where RabbitMQ is not installed, or PIPE_TEST_BROKER=embedded, they run on the broker in the box, and those that need RabbitMQ are named at
// the end. PIPE_TEST_BROKER=rabbitmq insists on RabbitMQ.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: with COMMAND [ARGUMENT ...]")
		os.Exit(2)
	}
	code, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "with:", err)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if testbroker.Embedded() {
		return inTheBox(ctx, args)
	}
	node, err := rabbitmq.Start(ctx, rabbitmq.Options{Root: testbroker.Root()})
	if err != nil {
		return 1, err
	}
	defer node.Stop(context.Background())
	return runWith(ctx, args, testbroker.Variable+"="+node.Coordinates())
}

// inTheBox runs the command without a RabbitMQ, and names what did not run.
func inTheBox(ctx context.Context, args []string) (int, error) {
	fmt.Fprintln(os.Stderr, "The tests run on the broker in the box; those that need RabbitMQ do not run.")
	skipped, err := os.CreateTemp("", "pipe-skipped-")
	if err != nil {
		return 1, err
	}
	defer os.Remove(skipped.Name())
	defer skipped.Close()
	code, err := runWith(ctx, args, testbroker.Variable+"=embedded", testbroker.SkippedVariable+"="+skipped.Name())
	if names, readErr := io.ReadAll(skipped); readErr == nil && len(names) > 0 {
		fmt.Fprintf(os.Stderr, "These tests did not run, for want of RabbitMQ:\n%s", names)
	}
	return code, err
}

func runWith(ctx context.Context, args []string, env ...string) (int, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), env...)
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return max(ended.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}
