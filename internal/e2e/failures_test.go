package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// healthy is a pipeline that goes on beside those that cannot.
const healthy = `
declare {
  queue "well.in" {}
  queue "well.out" {}
}
pipeline "well" {
  source "amqp" { queue = queue["well.in"] }
  sink "amqp" "out" { queue = queue["well.out"] }
}
`

// carriesOn expects that the healthy pipeline moves a message.
func carriesOn(t *testing.T, url string) {
	t.Helper()
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Exists(t, url, "well.out") }, "the healthy topology is declared")
	before := testbroker.Depth(t, url, "well.out")
	testbroker.Publish(t, url, "well.in", plain(1))
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "well.out") == before+1 }, "the healthy pipeline moves a message")
}

// pending is a queue declared beforehand, with one message in it.
func pending(t *testing.T, url, queue string) {
	t.Helper()
	testbroker.Declare(t, url, queue)
	testbroker.Publish(t, url, queue, plain(1))
}

func TestMissingExchange(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	pending(t, url, "in")
	p := start(t, url, healthy+`
pipeline "ill" {
  source "amqp" { queue = "in" }
  sink "amqp" "out" { exchange = "nowhere" }
}`)
	p.says("nowhere", "does not exist", "declare it")
	carriesOn(t, url)
	p.stop()
	if d := testbroker.Depth(t, url, "in"); d != 1 {
		t.Errorf("the queue has %d messages after the stop, not the one that failed", d)
	}
}

func TestUnroutable(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	pending(t, url, "in")
	p := start(t, url, healthy+`
declare {
  exchange "unbound" { type = "topic" }
}
pipeline "ill" {
  source "amqp" { queue = "in" }
  sink "amqp" "out" {
    exchange    = exchange.unbound
    routing_key = "some.key"
  }
}`)
	p.says("unbound", "some.key", "NO_ROUTE")
	carriesOn(t, url)
	p.stop()
	if d := testbroker.Depth(t, url, "in"); d != 1 {
		t.Errorf("the queue has %d messages after the stop, not the one that failed", d)
	}
}

// A dead-letter exchange takes what can never be processed.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	p := start(t, url, `
declare {
  exchange "dead" { type = "fanout" }
  queue "in" { dead_letter = exchange.dead }
  queue "parked" {}
  queue "out" {}
  binding {
    from = exchange.dead
    to   = queue.parked
  }
}
pipeline "p" {
  source "amqp" { queue = queue.in }
  stage "filter" "paid" {
    keep = body.status == "paid"
  }
  sink "amqp" "out" { queue = queue.out }
}`)
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Exists(t, url, "parked") }, "the topology is declared")
	testbroker.Publish(t, url, "in", amqp.Publishing{Body: []byte("not JSON")}, amqp.Publishing{Body: []byte(`{"status":"paid"}`)})
	testbroker.Eventually(t, time.Minute, func() bool {
		return testbroker.Depth(t, url, "parked") == 1 && testbroker.Depth(t, url, "out") == 1
	}, "the bad message is parked, and the good one goes on")
	p.stop()
}

func TestQueueDeletedUnderTheConsumer(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in", "out")
	p := start(t, url, healthy+`
pipeline "ill" {
  source "amqp" { queue = "in" }
  sink "amqp" "out" { queue = "out" }
}`)
	testbroker.Publish(t, url, "in", plain(1))
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "out") == 1 }, "the pipeline runs")
	ch := testbroker.Channel(t, url)
	if _, err := ch.QueueDelete("in", false, false, false); err != nil {
		t.Fatal(err)
	}
	p.says("NOT_FOUND", "no queue 'in'", "create the queue")
	carriesOn(t, url)
	testbroker.Declare(t, url, "in")
	testbroker.Publish(t, url, "in", plain(2))
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "out") == 2 }, "the pipeline goes on with the new queue")
	p.stop()
}

func TestDeclaredDifferently(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	ch := testbroker.Channel(t, url)
	if _, err := ch.QueueDeclare("in", true, false, false, false, amqp.Table{"x-max-length": 5}); err != nil {
		t.Fatal(err)
	}
	p := start(t, url, healthy+`
declare {
  queue "in" {}
}
pipeline "ill" {
  source "amqp" { queue = queue.in }
  sink "amqp" "out" { queue = "well.out" }
}`)
	p.says(`queue \"in\"`, "PRECONDITION_FAILED", "x-max-length", "delete it on the broker")
	carriesOn(t, url)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code == 0 {
		t.Error("a pipeline could not run, and the exit code is 0")
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	p := start(t, url, healthy+`
connection "main" { url = env("AMQP_URL") }
connection "other" { url = "`+strings.Replace(url, "guest:guest@", "guest:s3cr3t@", 1)+`" }
pipeline "ill" {
  source "amqp" {
    connection = connection.other
    queue      = "in"
  }
  sink "amqp" "out" { queue = "well.out" }
}`)
	p.says("403", "guest", "password")
	carriesOn(t, url)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code == 0 {
		t.Error("a pipeline could not run, and the exit code is 0")
	}
	if strings.Contains(p.output.String(), "s3cr3t") {
		t.Error("the password is in the output")
	}
}

func TestMissingVirtualHost(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	p := start(t, url, healthy+`
connection "main" { url = env("AMQP_URL") }
connection "other" { url = "`+url[:strings.LastIndexByte(url, '/')]+`/nowhere" }
pipeline "ill" {
  source "amqp" {
    connection = connection.other
    queue      = "in"
  }
  sink "amqp" "out" { queue = "well.out" }
}`)
	p.says("530", "nowhere")
	carriesOn(t, url)
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code == 0 {
		t.Error("a pipeline could not run, and the exit code is 0")
	}
}

func TestBrokerDownAtTheStart(t *testing.T) {
	t.Parallel()
	node := testbroker.Private(t)
	if err := node.Halt(background()); err != nil {
		t.Fatal(err)
	}
	p := start(t, node.URL(), healthy)
	p.says("connection refused", "127.0.0.1")
	if err := node.Resume(background()); err != nil {
		t.Fatal(err)
	}
	carriesOn(t, node.URL())
	p.stop()
}

// TestSecondSignal expects that a second signal does not wait for anything.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	node := testbroker.Private(t)
	p := start(t, node.URL(), healthy)
	carriesOn(t, node.URL())
	if err := node.Pause(); err != nil { // nothing that is owed comes any more
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	p.says("stopping")
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 && code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
	if err := node.Unpause(); err != nil {
		t.Fatal(err)
	}
}

// TestCustomBinary builds the example and runs it.
func TestCustomBinary(t *testing.T) {
	t.Parallel()
	dir, err := filepath.Abs("../../examples/customstage")
	if err != nil {
		t.Fatal(err)
	}
	cardpipe := filepath.Join(t.TempDir(), "cardpipe")
	build := exec.Command("go", "build", "-o", cardpipe, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, out)
	}
	reference, err := exec.Command(cardpipe, "stages", "redact").CombinedOutput()
	if err != nil || !strings.Contains(string(reference), "payment card numbers") {
		t.Fatalf("stages redact: %v\n%s", err, reference)
	}
	hcl, err := os.ReadFile(filepath.Join(dir, "cards.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	url := testbroker.VHost(t)
	p := startBinary(t, cardpipe, url, string(hcl))
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Exists(t, url, "orders.analysts") }, "the topology is declared")
	testbroker.Publish(t, url, "orders", amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(`{"card": "4111111111111111"}`)})
	collect(t, url, "orders.analysts", 1, func(d *amqp.Delivery) {
		if got := string(d.Body); got != `{"card": "************1111"}` {
			t.Errorf("the body is %s", got)
		}
	})
	p.stop()
}
