// Package e2e runs pipe as people do: as a process, on a real broker that it does not own, and counts at the
// queues.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pipe-e2e-")
	if err != nil {
		panic(err)
	}
	built = dir
	code := testbroker.Main(m)
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// built is the folder of what the tests build.
var built string

// binary builds pipe, once, as it is released.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "pipe")
	out, err := exec.Command("go", "build", "-o", path, "github.com/pipeamqp/pipe/cmd/pipe").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build pipe: %w\n%s", err, out)
	}
	return path, nil
})

// process is a pipe that runs.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	output *output
	waited chan struct{}
	err    error
}

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs `pipe run` on a pipeline file with the given content.
func start(t testing.TB, url, hcl string, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return startBinary(t, path, url, hcl, args...)
}

// startBinary does the same with another binary.
func startBinary(t testing.TB, path, url, hcl string, args ...string) *process {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pipeline.hcl")
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, output: &output{}, waited: make(chan struct{})}
	p.cmd = exec.Command(path, append([]string{"run", file}, args...)...)
	p.cmd.Env = append(os.Environ(), "AMQP_URL="+url)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.waited)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.waited
		if t.Failed() {
			t.Logf("pipe printed:\n%s", tail(p.output.String(), 8000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// peakMemory returns the most memory that the process has had, in bytes; 0 where the system does not tell. (What the system
// tells at the end of a process may be the peak of the one that started it.)
func (p *process) peakMemory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kB int64
	_, _ = fmt.Sscan(rest, &kB)
	return kB * 1024
}

// wait waits until the process has ended, and returns its exit code, -1 if a signal ended it.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.waited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(90 * time.Second):
		p.t.Fatalf("pipe has not ended\n%s", tail(p.output.String(), 8000))
		return 0
	}
}

// stop ends the process as an operator does, and expects that it ends well.
func (p *process) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Fatalf("after SIGTERM pipe ended with exit code %d\n%s", code, tail(p.output.String(), 8000))
	}
}

// says waits until the output contains every one of the words.
func (p *process) says(words ...string) {
	p.t.Helper()
	testbroker.Eventually(p.t, time.Minute, func() bool {
		out := p.output.String()
		for _, w := range words {
			if !strings.Contains(out, w) {
				return false
			}
		}
		return true
	}, "pipe says "+strings.Join(words, ", "))
}

// fill publishes n persistent messages, made by message, and waits for all confirms.
func fill(t testing.TB, url, queue string, n int, message func(i int) amqp.Publishing) {
	t.Helper()
	conn := testbroker.Dial(t, url)
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var window []*amqp.DeferredConfirmation
	for i := range n {
		c, err := ch.PublishWithDeferredConfirm("", queue, true, false, message(i))
		if err != nil {
			t.Fatal(err)
		}
		window = append(window, c)
		if len(window) == 1000 || i == n-1 {
			for _, c := range window {
				if !c.Wait() {
					t.Fatal("a message was not confirmed")
				}
			}
			window = window[:0]
		}
	}
}

// collect consumes a queue until it has been quiet for a while after at least n messages, and hands over each delivery.
func collect(t testing.TB, url, queue string, n int, each func(d *amqp.Delivery)) {
	t.Helper()
	conn := testbroker.Dial(t, url)
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Qos(1000, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for got := 0; ; got++ {
		patience := time.Minute
		if got >= n {
			patience = 500 * time.Millisecond
		}
		select {
		case d, ok := <-deliveries:
			if !ok {
				t.Fatalf("%s: the deliveries have ended after %d", queue, got)
			}
			each(&d)
			if got%200 == 199 {
				if err := ch.Ack(d.DeliveryTag, true); err != nil {
					t.Fatal(err)
				}
			}
		case <-time.After(patience):
			if got < n {
				t.Fatalf("%s: %d messages have come, not %d", queue, got, n)
			}
			_ = ch.Ack(0, true)
			return
		}
	}
}

// waitEmpty waits until a queue has no message, neither waiting nor with a consumer.
func waitEmpty(t testing.TB, node *rabbitmq.Node, url, queue string) {
	t.Helper()
	testbroker.Eventually(t, 3*time.Minute, func() bool { return testbroker.Depth(t, url, queue) == 0 }, "nothing waits in "+queue)
	at, err := amqp.ParseURI(url)
	if err != nil {
		t.Fatal(err)
	}
	testbroker.Eventually(t, time.Minute, func() bool {
		said, err := node.Ctl(background(), "list_queues", "--quiet", "--no-table-headers", "-p", at.Vhost, "name", "messages")
		return err == nil && strings.Contains("\n"+said, "\n"+queue+"\t0\n")
	}, queue+" is empty")
}

func background() context.Context { return context.Background() }
