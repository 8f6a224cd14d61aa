// Command bench measures what pipe costs beside loops that are written by hand on the same client library, and beside any other program:
// CPU time a message, messages a second, memory, latency.
//
// It starts a private RabbitMQ, fills queues, and lets the contenders drain them one after the other, several rounds in one run, so that
// a noisy machine disturbs them alike: compare the ratios. After each drain it reads what came out: a message that is lost, doubled,
// out of order or changed fails the run.
//
// Usage: go run ./bench [-full] [-n messages] [-rounds n] [-only regexp] [-queue classic|quorum] [-root DIR] [-pipe name=FILE]... [-vs COMMAND]...
//
// A command that is given with -vs is run by the shell, with AMQP_URL, BENCH_IN (a queue), BENCH_OUT (a queue) and BENCH_EXCHANGE (a
// topic exchange), BENCH_WORKLOAD and BENCH_MESSAGES in its environment. It does the work, keeps message ids and order, and ends with
// success at SIGTERM. What there is to do is in workload.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
)

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "loop" {
		err = runLoop(os.Args[2:])
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	full                bool
	messages, long      int
	rounds              int
	only                *regexp.Regexp
	queue, root         string
	pipes               []build
	versus              []string
	json, svg, markdown string
}

// build is a pipe binary with a name.
type build struct{ name, file string }

func parse() (*settings, error) {
	s := &settings{}
	only := flag.String("only", "", "only experiments whose name matches")
	flag.BoolVar(&s.full, "full", false, "all experiments: an hour or two")
	flag.IntVar(&s.messages, "n", 20_000, "messages a drain")
	flag.IntVar(&s.long, "long", 1_000_000, "messages in the long queue")
	flag.IntVar(&s.rounds, "rounds", 5, "drains of each contender")
	flag.StringVar(&s.queue, "queue", "classic", "queue type: classic or quorum")
	flag.StringVar(&s.root, "root", "", "the folder of a Debian system whose RabbitMQ is used, as .ci/rabbitmq4 makes and prints it (default: this system's)")
	flag.StringVar(&s.json, "json", "", "write everything to this file as JSON")
	flag.StringVar(&s.svg, "svg", "", "draw the CPU times to this file")
	flag.StringVar(&s.markdown, "markdown", "", "write the tables to this file")
	flag.Func("pipe", "a pipe binary to measure, as NAME=FILE or FILE (default: built from this tree); may be given again", func(v string) error {
		name, file, ok := strings.Cut(v, "=")
		if !ok {
			name, file = thePipe, v
		}
		s.pipes = append(s.pipes, build{name, file})
		return nil
	})
	flag.Func("vs", "another program to measure, as a shell command; may be given again", func(v string) error {
		s.versus = append(s.versus, v)
		return nil
	})
	flag.Parse()
	var err error
	switch s.only, err = regexp.Compile(*only); {
	case err != nil:
		return nil, fmt.Errorf("-only: %w", err)
	case s.queue != "classic" && s.queue != "quorum":
		return nil, fmt.Errorf("-queue is classic or quorum, not %q", s.queue)
	case s.messages < 1 || s.rounds < 1 || s.long < 1:
		return nil, errors.New("-n, -rounds and -long are 1 or more")
	}
	return s, nil
}

func run() error {
	s, err := parse()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{settings: *s}
	defer b.close()
	if b.dir, err = os.MkdirTemp("", "pipe-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if len(b.pipes) == 0 {
		b.pipes = []build{{thePipe, filepath.Join(b.dir, "pipe")}}
		if err := buildPipe(ctx, b.pipes[0].file); err != nil {
			return err
		}
	}
	node, err := rabbitmq.Start(ctx, rabbitmq.Options{Root: s.root})
	if err != nil {
		return err
	}
	defer node.Stop(context.WithoutCancel(ctx))
	b.url, b.broker = node.URL(), node.PID()
	experiments, err := b.experiments()
	if err != nil {
		return err
	}
	version, err := brokerVersion(b.url)
	if err != nil {
		return err
	}
	r := newReport(version)
	for _, e := range experiments {
		t, err := e.run(ctx, e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		t.finish()
		t.print(os.Stdout)
		r.Tables = append(r.Tables, t)
		if err := r.write(s); err != nil { // what there is, should a later one fail
			return err
		}
	}
	return nil
}

func buildPipe(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", to, "github.com/pipeamqp/pipe/cmd/pipe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as the Makefile builds it
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build pipe: %w\n%s", err, out)
	}
	return nil
}
