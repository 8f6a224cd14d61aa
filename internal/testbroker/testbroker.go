// Package testbroker gives tests a broker: a real RabbitMQ, or, where none is installed or the environment variable asks for it, the broker
// in the box. Tests that need RabbitMQ itself are skipped there.
//
// All packages of a `make test` share the node that internal/testbroker/with has started; a bare `go test ./pkg`
// starts one of its own when the first test asks. Each test has a virtual host of its own. A test that
// stops, kills or restarts a broker starts a private node.
package testbroker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/pipeamqp/pipe/internal/devbroker"
	"github.com/pipeamqp/pipe/internal/rabbitmq"
)

// Variable is the environment variable that describes the shared node, or says which kind of broker there is to be.
const Variable = "PIPE_TEST_BROKER"

// What Variable may say instead of describing a node; empty, it is RabbitMQ if that is installed, and else the broker in the box.
const (
	wantEmbedded = "embedded"
	wantRabbitMQ = "rabbitmq"
)

// SkippedVariable is the environment variable that names the file to which tests that were skipped for want of RabbitMQ append their names.
const SkippedVariable = "PIPE_TEST_SKIPPED"

// Embedded reports that tests run on the broker in the box.
var Embedded = sync.OnceValue(func() bool {
	switch os.Getenv(Variable) {
	case wantEmbedded:
		return true
	case "":
		_, err := rabbitmq.Find()
		return err != nil && Root() == ""
	}
	return false
})

// Root is the folder of the system whose RabbitMQ tests use, from the environment variable PIPE_TEST_ROOT; "" is the one that is
// installed. See .ci/rabbitmq4.
func Root() string { return os.Getenv("PIPE_TEST_ROOT") }

var shared struct {
	mu     sync.Mutex
	node   *rabbitmq.Node
	box    *devbroker.Server
	err    error
	own    bool
	vhosts []string // made, not handed out yet
	made   int
}

// Tests are the tests of a package: a [*testing.M], or something around it.
type Tests interface{ Run() int }

// Main runs the tests of a package, stops the node that they started, if they did, and then looks for goroutines that are left.
// Use it as func TestMain(m *testing.M) { os.Exit(testbroker.Main(m)) }.
func Main(m Tests, options ...goleak.Option) int {
	code := m.Run()
	if shared.box != nil {
		_ = shared.box.Close()
	}
	if shared.own {
		if err := shared.node.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "testbroker:", err)
			code = max(code, 1)
		}
	}
	if code == 0 {
		if err := goleak.Find(options...); err != nil {
			fmt.Fprintln(os.Stderr, "testbroker:", err)
			code = 1
		}
	}
	return code
}

// Counter tells how many messages a queue has, those that consumers hold included; -1 where it cannot tell.
type Counter interface {
	Messages(ctx context.Context, vhost, queue string) int
}

// Count returns what counts on the broker that tests share.
func Count(t testing.TB) Counter {
	t.Helper()
	if Embedded() {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		return shared.box
	}
	return Shared(t)
}

// NeedRabbitMQ skips a test, or what is left of it, where there is only the broker in the box.
func NeedRabbitMQ(t testing.TB) {
	t.Helper()
	if !Embedded() {
		return
	}
	if path := os.Getenv(SkippedVariable); path != "" {
		if f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			program := strings.TrimSuffix(filepath.Base(os.Args[0]), ".test") // named after the package
			fmt.Fprintln(f, program, t.Name())
			_ = f.Close()
		}
	}
	t.Skip("not run: it needs RabbitMQ, and this is the broker in the box")
}

// Shared returns the node that tests share. It is not to be stopped.
func Shared(t testing.TB) *rabbitmq.Node {
	t.Helper()
	NeedRabbitMQ(t)
	node, err := sharedNode()
	if err != nil {
		t.Fatal(err)
	}
	return node
}

func sharedNode() (*rabbitmq.Node, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.node == nil && shared.err == nil {
		if text := os.Getenv(Variable); text != "" && text != wantRabbitMQ {
			shared.node, shared.err = rabbitmq.Attach(text)
		} else {
			shared.node, shared.err = rabbitmq.Start(context.Background(), rabbitmq.Options{Root: Root()})
			shared.own = shared.err == nil
		}
	}
	return shared.node, shared.err
}

// batch is how many virtual hosts are made at once: each call of rabbitmqctl starts a virtual machine.
const batch = 8

// VHost returns the URL of a virtual host of the test's own, on the shared node.
func VHost(t testing.TB) string {
	t.Helper()
	url, err := NewVHost()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// NewVHost is VHost for examples.
func NewVHost() (url string, err error) {
	if Embedded() {
		return newEmbeddedVHost()
	}
	node, err := sharedNode()
	if err != nil {
		return "", err
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if len(shared.vhosts) == 0 {
		for range batch {
			shared.made++
			shared.vhosts = append(shared.vhosts, fmt.Sprintf("test-%d-%d", os.Getpid(), shared.made))
		}
		if err := node.AddVHosts(context.Background(), shared.vhosts...); err != nil {
			shared.vhosts = nil
			return "", err
		}
	}
	vhost := shared.vhosts[0]
	shared.vhosts = shared.vhosts[1:]
	return node.VHostURL(vhost), nil
}

func newEmbeddedVHost() (url string, err error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.box == nil {
		if shared.box, err = devbroker.Start("127.0.0.1:0", devbroker.Options{}); err != nil {
			return "", err
		}
	}
	shared.made++
	name := fmt.Sprintf("test-%d-%d", os.Getpid(), shared.made)
	shared.box.AddVHost(name)
	return shared.box.VHostURL(name), nil
}

// VHostName returns the name of the virtual host of a URL that VHost returned.
func VHostName(url string) string { return url[strings.LastIndexByte(url, '/')+1:] }

// Private starts a node of the test's own, which stops with the test.
func Private(t testing.TB) *rabbitmq.Node { return PrivateWith(t, rabbitmq.Options{}) }

// PrivateWith is Private for a node that is set up otherwise.
func PrivateWith(t testing.TB, o rabbitmq.Options) *rabbitmq.Node {
	t.Helper()
	NeedRabbitMQ(t)
	o.Root = Root()
	node, err := rabbitmq.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return node
}

// Dial connects to a broker, until the test ends.
func Dial(t testing.TB, url string) *amqp.Connection {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Channel opens a channel, until the test ends.
func Channel(t testing.TB, url string) *amqp.Channel {
	t.Helper()
	ch, err := Dial(t, url).Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// Declare declares durable queues.
func Declare(t testing.TB, url string, queues ...string) {
	t.Helper()
	once(t, url, func(ch *amqp.Channel) error {
		for _, q := range queues {
			if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// once runs f on a channel of its own.
func once(t testing.TB, url string, f func(*amqp.Channel) error) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		err = f(ch)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Publish puts messages into a queue and waits until the broker has them.
func Publish(t testing.TB, url, queue string, messages ...amqp.Publishing) {
	t.Helper()
	once(t, url, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		var last *amqp.DeferredConfirmation
		for i, m := range messages {
			c, err := ch.PublishWithDeferredConfirm("", queue, true, false, m)
			if err != nil {
				return err
			}
			if last = c; i%1000 == 999 {
				last.Wait()
			}
		}
		if last != nil && !last.Wait() {
			return fmt.Errorf("the broker refused a message for %s", queue)
		}
		return nil
	})
}

// Drain takes every message that is in a queue.
func Drain(t testing.TB, url, queue string) []amqp.Delivery {
	t.Helper()
	var all []amqp.Delivery
	once(t, url, func(ch *amqp.Channel) error {
		for {
			d, ok, err := ch.Get(queue, true)
			if err != nil || !ok {
				return err
			}
			all = append(all, d)
		}
	})
	return all
}

// Depth returns how many messages wait in a queue, and whether it is there: -1 where it is not. Messages that a consumer holds do not count.
func Depth(t testing.TB, url, queue string) int {
	t.Helper()
	depth := -1
	once(t, url, func(ch *amqp.Channel) error {
		if q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil); err == nil {
			depth = q.Messages
		}
		return nil
	})
	return depth
}

// Exists reports whether a queue is there.
func Exists(t testing.TB, url, queue string) bool { t.Helper(); return Depth(t, url, queue) >= 0 }

// Eventually waits until a condition holds, and fails the test if it does not within the timeout.
func Eventually(t testing.TB, timeout time.Duration, holds func() bool, what string) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s it is not so that %s", timeout, what)
		}
	}
}
