// Command bench measures what pipe costs beside the best loop that can be written by hand on the same
// client library: CPU time a message, and messages a second.
//
// It starts a private RabbitMQ, fills a queue, and lets the contenders drain it one after the other,
// several rounds in one run, so that a noisy machine disturbs them alike. After each drain it reads what
// came out: a message that is lost, doubled, out of order or changed fails the run.
//
// Usage: go run ./bench [-n messages] [-rounds n] [-workload name] [-queue classic|quorum]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "loop" {
		exit(runLoop(os.Args[2:]))
	}
	exit(run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type settings struct {
	messages int
	rounds   int
	pipe     string
	workload string
	queue    string
}

func run() error {
	var s settings
	flag.IntVar(&s.messages, "n", 60_000, "messages a drain")
	flag.IntVar(&s.rounds, "rounds", 5, "drains of each contender")
	flag.StringVar(&s.pipe, "pipe", "", "the pipe binary to measure (default: built from this tree)")
	flag.StringVar(&s.workload, "workload", "", "only this workload")
	flag.StringVar(&s.queue, "queue", "classic", "queue type: classic or quorum")
	flag.Parse()
	if s.queue != "classic" && s.queue != "quorum" {
		return fmt.Errorf("-queue is classic or quorum, not %q", s.queue)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "pipe-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.pipe == "" {
		s.pipe = filepath.Join(dir, "pipe")
		if err := buildPipe(ctx, s.pipe); err != nil {
			return err
		}
	}
	node, err := rabbitmq.Start(ctx, rabbitmq.Options{})
	if err != nil {
		return err
	}
	defer node.Stop(context.WithoutCancel(ctx))

	found := false
	for _, w := range workloads {
		if s.workload != "" && s.workload != w.name {
			continue
		}
		found = true
		results, err := measure(ctx, node.URL(), dir, w, s)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		results.print(os.Stdout)
	}
	if !found {
		return errors.New("no such workload")
	}
	return nil
}
