package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// refusing declares a queue that refuses whatever is published to it, until it is drained: it is full.
func refusing(t *testing.T, url, queue string) {
	t.Helper()
	ch := testbroker.Channel(t, url)
	_, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-max-length": int64(1), "x-overflow": "reject-publish"})
	if err != nil {
		t.Fatal(err)
	}
	testbroker.Publish(t, url, queue, amqp.Publishing{Body: []byte("stopper")})
}

const retryFile = `
declare {
  exchange "orders" { type = "topic" }
  queue "in" { type = "TYPE" }
  queue "parked" {}
  binding {
    from = exchange.orders
    to   = queue.in
    key  = "#"
  }
}
pipeline "p" {
  source "amqp" { queue = queue.in }
  retry {
    attempts = 3
    min      = "1s"
    max      = "2s"
    jitter   = 0
    then     = sink.parked
  }
  sink "amqp" "out" { queue = "out" }
  sink "amqp" "parked" { queue = queue.parked }
}
`

func publishTo(t *testing.T, url, exchange, key string, m amqp.Publishing) {
	t.Helper()
	ch := testbroker.Channel(t, url)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	c, err := ch.PublishWithDeferredConfirm(exchange, key, true, false, m)
	if err != nil || !c.Wait() {
		t.Fatal(err)
	}
}

// laden is a message with everything on it that a way through the broker could change.
var laden = amqp.Publishing{
	Headers: amqp.Table{
		"n": int32(7), "text": "é", "CC": []any{"copy.of.it"}, "nested": amqp.Table{"list": []any{int8(1), nil}},
		"x-death": []any{amqp.Table{"queue": "earlier", "reason": "rejected", "count": int64(2)}}, "x-first-death-queue": "earlier",
	},
	ContentType: "application/json", DeliveryMode: 2, Priority: 3, CorrelationId: "c", ReplyTo: "r", Expiration: "300000", MessageId: "id-1",
	Timestamp: time.Unix(1_700_000_000, 0), Type: "order", UserId: "guest", AppId: "shop", Body: []byte(`{"n": 1.50}`),
}

// TestRetryByTheBroker follows a message that fails three times: it waits in queues of the broker's, and ends in the dead-letter
// sink, with its story in its headers and all else as it was.
func TestRetryByTheBroker(t *testing.T) {
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url := testbroker.VHost(t)
			refusing(t, url, "out")
			p := start(t, url, strings.Replace(retryFile, "TYPE", kind, 1))
			p.says("pipeline runs")
			began := time.Now()
			publishTo(t, url, "orders", "order.new", laden)
			held := func(name string) {
				testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, name) == 1 }, "the message waits in "+name)
				if n := testbroker.Depth(t, url, "in"); n != 0 {
					t.Errorf("%d messages are in the queue", n)
				}
			}
			held("pipe.delay.1s")
			held("pipe.delay.2s")
			testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "parked") > 0 }, "the message is given up")
			p.stop()
			got := testbroker.Drain(t, url, "parked")
			if len(got) != 1 {
				t.Fatalf("%d messages", len(got))
			}
			d := got[0]
			for name, want := range map[string]any{
				"x-pipe-kind": "nacked", "x-pipe-stage": "sink.out", "x-pipe-pipeline": "p", "x-pipe-attempts": int64(3), "x-pipe-queue": "in",
				"x-pipe-exchange": "orders", "x-pipe-routing-key": "order.new",
			} {
				if d.Headers[name] != want {
					t.Errorf("%s: %v, not %v", name, d.Headers[name], want)
				}
				delete(d.Headers, name)
			}
			reason, _ := d.Headers["x-pipe-reason"].(string)
			version, _ := d.Headers["x-pipe-version"].(string)
			first, _ := d.Headers["x-pipe-first-failure"].(time.Time)
			last, _ := d.Headers["x-pipe-last-failure"].(time.Time)
			if !strings.Contains(reason, "refused") || !strings.HasPrefix(version, "pipe ") {
				t.Errorf("%q, %q", reason, version)
			}
			if first.Before(began.Truncate(time.Second)) || last.Sub(first) < 2*time.Second {
				t.Errorf("from %v to %v; it began at %v", first, last, began)
			}
			for _, name := range []string{"x-pipe-reason", "x-pipe-version", "x-pipe-first-failure", "x-pipe-last-failure"} {
				delete(d.Headers, name)
			}
			unchanged(t, &d)
		})
	}
}

// unchanged expects the message to be as it was published, but for the user-id, which only its user can give it.
func unchanged(t *testing.T, d *amqp.Delivery) {
	t.Helper()
	if got, want := fmt.Sprintf("%#v", d.Headers), fmt.Sprintf("%#v", laden.Headers); got != want {
		t.Errorf("headers:\n%s\nnot\n%s", got, want)
	}
	got := amqp.Publishing{
		Headers: laden.Headers, ContentType: d.ContentType, DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId,
		ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId, Timestamp: d.Timestamp.UTC(), Type: d.Type, UserId: "guest",
		AppId: d.AppId, Body: d.Body,
	}
	want := laden
	want.Timestamp = want.Timestamp.UTC()
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v\nnot\n%+v", got, want)
	}
}

// TestRetryThatHelps expects a message that went well at last to look as if nothing had happened.
func TestRetryThatHelps(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	refusing(t, url, "out")
	p := start(t, url, strings.Replace(retryFile, "TYPE", "quorum", 1))
	p.says("pipeline runs")
	publishTo(t, url, "orders", "order.new", laden)
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "pipe.delay.1s") == 1 }, "the message waits")
	testbroker.Drain(t, url, "out")
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "out") == 1 }, "the message arrives")
	p.stop()
	d := testbroker.Drain(t, url, "out")[0]
	unchanged(t, &d)
	if testbroker.Depth(t, url, "in") != 0 || testbroker.Depth(t, url, "parked") != 0 {
		t.Error("there are more of it")
	}
}

// TestRetryRemembers expects that a sink which has confirmed a message does not get it again when another one had failed.
func TestRetryRemembers(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in", "a", "c")
	refusing(t, url, "b")
	p := start(t, url, `
pipeline "p" {
  source "amqp" { queue = "in" }
  retry {
    attempts = 20
    min      = "1s"
    max      = "1s"
  }
  stage "split" "items" { each = body.items }
  sink "amqp" "a" { queue = "a" }
  sink "amqp" "b" { queue = "b" }
  sink "amqp" "c" { queue = "c" }
}
`)
	p.says("pipeline runs")
	testbroker.Publish(t, url, "in", amqp.Publishing{MessageId: "order", Body: []byte(`{"items":[{"n":1},{"n":2},{"n":3}]}`)})
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "pipe.delay.1s") == 1 }, "the message waits")
	p.stop() // another process goes on
	if _, err := testbroker.Channel(t, url).QueueDelete("b", false, false, false); err != nil {
		t.Fatal(err)
	}
	testbroker.Declare(t, url, "b")
	q := start(t, url, strings.ReplaceAll(readFile(t, p), `min      = "1s"`, `min      = "1s"`))
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "b") == 3 }, "the messages arrive")
	q.stop()
	for _, queue := range []string{"a", "b", "c"} {
		got := testbroker.Drain(t, url, queue)
		var ids []string
		for _, d := range got {
			ids = append(ids, d.MessageId+" "+string(d.Body))
		}
		want := `[order/1 {"n":1} order/2 {"n":2} order/3 {"n":3}]`
		if fmt.Sprint(ids) != want {
			t.Errorf("%s: %v, not %s", queue, ids, want)
		}
	}
}

// readFile returns the pipeline file of a process.
func readFile(t *testing.T, p *process) string {
	t.Helper()
	text, err := os.ReadFile(p.cmd.Args[2])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDeadLetterSinkThatFails expects that nothing is acknowledged until the dead-letter sink has taken it.
func TestDeadLetterSinkThatFails(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in", "out")
	refusing(t, url, "parked")
	p := start(t, url, `
pipeline "p" {
  source "amqp" { queue = "in" }
  retry {
    attempts = 1
    then     = sink.parked
  }
  stage "filter" "f" { keep = body.n > 0 }
  sink "amqp" "out" { queue = "out" }
  sink "amqp" "parked" { queue = "parked" }
}
`)
	p.says("pipeline runs")
	const n = 50
	fill(t, url, "in", n, func(i int) amqp.Publishing {
		body := fmt.Sprintf(`{"n": %d}`, i+1)
		if i%2 == 0 {
			body = "no JSON"
		}
		return amqp.Publishing{MessageId: fmt.Sprint(i), Body: []byte(body)}
	})
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "out") == n/2 }, "the good ones arrive")
	p.says("held unacknowledged")
	seen := map[string]int{}
	testbroker.Eventually(t, 2*time.Minute, func() bool { // each time, there is room for one more
		for _, d := range testbroker.Drain(t, url, "parked") {
			seen[d.MessageId]++
		}
		return len(seen) == n/2+1 // and what was there before
	}, "the bad ones arrive, too")
	p.stop()
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s has come %d times", id, times)
		}
	}
	if left := testbroker.Depth(t, url, "in"); left != 0 {
		t.Errorf("%d left", left)
	}
}

// TestDeadLettersWithoutRoom expects the story of a failure to be cut where the headers hardly fit into a frame as they are.
func TestDeadLettersWithoutRoom(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in", "parked")
	p := start(t, url, `
pipeline "p" {
  source "amqp" { queue = "in" }
  retry {
    attempts = 1
    then     = sink.parked
  }
  stage "filter" "f" { keep = body.n > 0 }
  sink "amqp" "parked" { queue = "parked" }
}
`)
	p.says("pipeline runs")
	sizes := []int{1000, 130_000, 130_500, 130_900, 131_000}
	for i, size := range sizes {
		testbroker.Publish(t, url, "in", amqp.Publishing{MessageId: fmt.Sprint(i), Body: []byte("no JSON"), Headers: amqp.Table{"h": strings.Repeat("x", size)}})
	}
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "parked") == len(sizes) }, "all are dead letters")
	p.stop()
	cut := 0
	for _, d := range testbroker.Drain(t, url, "parked") {
		if d.Headers["x-pipe-kind"] != "expression" || d.Headers["x-pipe-reason"] == "" {
			t.Errorf("%s: %v", d.MessageId, d.Headers["x-pipe-kind"])
		}
		if d.Headers["x-pipe-headers-cut"] == int64(1) && d.Headers["h"] == nil {
			cut++
		}
	}
	if cut == 0 || cut == len(sizes) {
		t.Errorf("%d of %d were cut", cut, len(sizes))
	}
}

// TestPastASink takes messages past a sink that refuses them, and one that finds no queue.
func TestPastASink(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in", "second", "lost")
	refusing(t, url, "first")
	ch := testbroker.Channel(t, url)
	for _, x := range []string{"empty", "later"} {
		if err := ch.ExchangeDeclare(x, "fanout", true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, url, `
pipeline "p" {
  source "amqp" { queue = "in" }
  sink "amqp" "first" {
    queue    = "first"
    fallback = sink.second
  }
  sink "amqp" "second" { queue = "second" }
  sink "amqp" "empty" {
    exchange      = "empty"
    on_unroutable = sink.lost
  }
  sink "amqp" "lost" { queue = "lost" }
  sink "amqp" "later" {
    exchange      = "later"
    on_unroutable = "hold"
  }
}
`)
	p.says("pipeline runs")
	testbroker.Publish(t, url, "in", laden)
	p.says("held unacknowledged")
	q, err := ch.QueueDeclare("late", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(q.Name, "", "later", false, nil); err != nil {
		t.Fatal(err)
	}
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "late") == 1 }, "the message arrives late")
	p.stop()
	second, lost := testbroker.Drain(t, url, "second"), testbroker.Drain(t, url, "lost")
	if len(second) != 1 || len(lost) != 1 || testbroker.Depth(t, url, "in") != 0 {
		t.Fatalf("%d by fallback, %d lost", len(second), len(lost))
	}
	unchanged(t, &second[0])
	if lost[0].Headers["x-pipe-kind"] != "unroutable" {
		t.Errorf("%v", lost[0].Headers)
	}
}

// TestKillsDuringRetries kills pipe while messages are on their way to and from the broker's queues: none is lost.
func TestKillsDuringRetries(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in", "parked")
	refusing(t, url, "out")
	file := `
pipeline "p" {
  source "amqp" {
    queue    = "in"
    prefetch = 100
  }
  retry {
    attempts = 50
    min      = "1s"
    max      = "1s"
    jitter   = 0.5
    then     = sink.parked
  }
  sink "amqp" "out" { queue = "out" }
  sink "amqp" "parked" { queue = "parked" }
}
`
	const n, kills = 2000, 8
	fill(t, url, "in", n, func(i int) amqp.Publishing {
		return amqp.Publishing{MessageId: fmt.Sprint(i), Body: []byte("{}"), DeliveryMode: 2}
	})
	for i := range kills {
		p := start(t, url, file)
		p.says("pipeline runs")
		time.Sleep(time.Duration(200+i*150) * time.Millisecond)
		p.signal(syscall.SIGKILL)
		<-p.waited
	}
	if _, err := testbroker.Channel(t, url).QueueDelete("out", false, false, false); err != nil {
		t.Fatal(err)
	}
	testbroker.Declare(t, url, "out")
	p := start(t, url, file)
	testbroker.Eventually(t, 3*time.Minute, func() bool { return testbroker.Depth(t, url, "out") >= n }, "the messages arrive")
	broker := testbroker.Count(t)
	waitEmpty(t, broker, url, "pipe.delay.1s")
	waitEmpty(t, broker, url, "in")
	p.stop()
	seen := map[string]int{}
	for _, d := range append(testbroker.Drain(t, url, "out"), testbroker.Drain(t, url, "parked")...) {
		seen[d.MessageId]++
	}
	doubled := 0
	for _, times := range seen {
		doubled += times - 1
	}
	t.Logf("%d messages, %d kills: %d lost, %d doubled", n, kills, n-len(seen), doubled)
	if len(seen) != n || doubled > kills*100 {
		t.Errorf("%d of %d messages have arrived, %d doubled", len(seen), n, doubled)
	}
}
