//go:build faults

// Package faults breaks everything around pipe, on purpose, and counts: what was published is what was delivered, dead-lettered or is
// still queued. It runs the real program on real brokers, and only with the build tag faults: `make test-faults`.
package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

var four = flag.Bool("rabbitmq4", os.Getenv("PIPE_FAULTS_RABBITMQ") == "4", "use RabbitMQ 4 from .ci/rabbitmq4 instead of the one that is installed")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(pipetest.Main(tests{m}))
}

// tests are those of the package, after which the node that they break is stopped.
type tests struct{ *testing.M }

func (t tests) Run() int {
	code := t.M.Run()
	if own.node == nil {
		return code
	}
	if err := own.node.Stop(background); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		code = max(code, 1)
	}
	return code
}

// own is a node that tests may break, one at a time.
var own struct {
	sync.Mutex
	node *rabbitmq.Node
}

// options are how nodes are started.
func options(t testing.TB) rabbitmq.Options {
	t.Helper()
	return rabbitmq.Options{Root: root(t), Config: []string{"max_message_size = 134217728"}}
}

// breakable returns a node that the test may break as long as it mends it.
func breakable(t testing.TB) *rabbitmq.Node {
	t.Helper()
	own.Lock()
	defer own.Unlock()
	if own.node == nil {
		node, err := rabbitmq.Start(background, options(t))
		if err != nil {
			t.Fatal(err)
		}
		own.node = node
	}
	return own.node
}

// steady returns a node that the test does not break.
func steady(t testing.TB) *rabbitmq.Node {
	t.Helper()
	if *four {
		return breakable(t)
	}
	return testbroker.Shared(t)
}

var background = context.Background()

// madeRoot makes the system that RabbitMQ 4 runs in, once.
var madeRoot = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("../../.ci/rabbitmq4").Output()
	return strings.TrimSpace(string(out)), err
})

// root returns the folder that brokers run in; "" is this system. It skips the test where RabbitMQ 4 is asked for and cannot be had.
func root(t testing.TB) string {
	t.Helper()
	if !*four {
		return ""
	}
	dir, err := madeRoot()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		if failed.ExitCode() == 3 {
			t.Skip(string(failed.Stderr))
		}
		t.Fatalf("make RabbitMQ 4: %v\n%s", err, failed.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
