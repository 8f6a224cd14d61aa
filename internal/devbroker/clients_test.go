package devbroker_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/internal/devbroker"
)

// The tools of librabbitmq, which is in C.
func TestLibrabbitmq(t *testing.T) {
	if _, err := exec.LookPath("amqp-publish"); err != nil {
		missing(t, "amqp-tools")
	}
	url := start(t, devbroker.Options{}).URL()
	tool := func(want, name string, args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, append([]string{"--url", url}, args...)...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s %q: %q, %v; want %q", name, args, out, err, want)
		}
	}
	tool("q", "amqp-declare-queue", "--queue", "q", "--durable")
	tool("", "amqp-publish", "--routing-key", "q", "--body", "one", "--persistent")
	tool("", "amqp-publish", "--routing-key", "q", "--body", strings.Repeat("x", 100_000))
	tool("one", "amqp-get", "--queue", "q")
	tool(strings.Repeat("x", 100_000), "amqp-get", "--queue", "q")
	tool("", "amqp-publish", "--exchange", "amq.fanout", "--body", "nobody takes it")
	tool("", "amqp-publish", "--routing-key", "q", "--body", "two")
	tool("two", "amqp-consume", "--queue", "q", "--count", "1", "cat")
	tool("0", "amqp-delete-queue", "--queue", "q")
}

// Pika, which is in Python: testdata/pika_client.py says what it expects.
func TestPika(t *testing.T) {
	python := "python3"
	if exec.Command(python, "-c", "import pika").Run() != nil {
		python = "/usr/bin/python3" // the one that Debian's packages are for
	}
	if exec.Command(python, "-c", "import pika").Run() != nil {
		missing(t, "python3-pika")
	}
	url := start(t, devbroker.Options{}).URL()
	if out, err := exec.CommandContext(t.Context(), python, "testdata/pika_client.py", url).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// missing skips a test, but not in continuous integration.
func missing(t *testing.T, name string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed (a package of Debian)", name)
}
