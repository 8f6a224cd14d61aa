package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

const topology = `
declare {
  exchange "out" { type = "topic" }
  queue "in"   { type = "classic" }
  queue "eu"   { type = "classic" }
  queue "rest" { type = "classic" }
  binding {
    from = exchange.out
    to   = queue.eu
    key  = "eu.#"
  }
  binding {
    from = exchange.out
    to   = queue.rest
    key  = "row"
  }
}
`

// orders filters, maps and routes.
const orders = topology + `
pipeline "orders" {
  source "amqp" {
    queue    = queue.in
    prefetch = PREFETCH
  }
  stage "filter" "paid" {
    keep = body.status == "paid"
  }
  stage "map" "shape" {
    set = {
      body.total_eur        = round(body.total * 0.92, 2)
      msg.headers["x-tier"] = get(body.customer.tier, "none")
    }
  }
  stage "route" "region" {
    case {
      when = contains(["eu-west", "eu-north"], body.region)
      to   = [sink.eu]
    }
    default { to = [sink.rest] }
  }
  sink "amqp" "eu" {
    exchange    = exchange.out
    routing_key = "eu.${lower(body.region)}"
  }
  sink "amqp" "rest" {
    exchange    = exchange.out
    routing_key = "row"
  }
}
`

// straight moves messages from queue to queue.
const straight = topology + `
pipeline "straight" {
  source "amqp" {
    queue    = queue.in
    prefetch = PREFETCH
  }
  sink "amqp" "out" { queue = queue.rest }
}
`

func withPrefetch(hcl string, n int) string {
	return strings.ReplaceAll(hcl, "PREFETCH", strconv.Itoa(n))
}

// everyType is a header of every type that AMQP has.
func everyType(i int) amqp.Table {
	return amqp.Table{
		"number": int64(i), "void": nil, "true": true, "int8": int8(-8), "uint8": uint8(8), "int16": int16(-16),
		"uint16": uint16(16), "int32": int32(-32), "uint32": uint32(32), "float32": float32(0.5), "float64": 0.25,
		"decimal": amqp.Decimal{Scale: 2, Value: 12345}, "string": "straße", "empty": "", "bytes": []byte{0, 1, 255},
		"time":  time.Unix(1_700_000_000, 0),
		"table": amqp.Table{"nested": amqp.Table{"deep": int16(1)}, "list": []any{"a", int8(1)}},
		"array": []any{int32(1), "two", nil, amqp.Table{"three": 3.0}},
	}
}

func order(i int) amqp.Publishing {
	region := []string{"eu-west", "us-east", "eu-north", "ap-south"}[i%4]
	status := "paid"
	if i%10 == 0 {
		status = "open"
	}
	head := fmt.Sprintf(`{"id": %d, "status":%q, "region":%q, "total":%d.50, "customer":{"tier":"gold"}, "note":"`, i, status, region, i%1000)
	return amqp.Publishing{
		ContentType: "application/json", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, Priority: uint8(i % 10),
		CorrelationId: "c-" + strconv.Itoa(i), ReplyTo: "reply", Expiration: "86400000", MessageId: strconv.Itoa(i),
		Timestamp: time.Unix(1_700_000_000+int64(i), 0), Type: "order", AppId: "shop",
		Headers: everyType(i),
		Body:    []byte(head + strings.Repeat("x", 1024-len(head)-2) + `"}`),
	}
}

// TestManyMessages takes 200,000 messages through filter, map and route. None is lost, doubled, out of
// order or changed, and memory stays flat.
func TestManyMessages(t *testing.T) {
	t.Parallel()
	n, _ := volume(200_000, 0)
	url := testbroker.VHost(t)
	p := start(t, url, withPrefetch(orders, 500))
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Exists(t, url, "in") }, "the topology is declared")
	p.stop() // so that the queue is full at the start
	fill(t, url, "in", n, order)
	p = start(t, url, withPrefetch(orders, 500))
	waitEmpty(t, testbroker.Count(t), url, "in")
	limit := int64(60_000_000)
	if testbroker.Embedded() {
		limit = 80_000_000 // it is on the same processors and has no pauses: the garbage collector can be late. 51 to 61 MB were measured.
	}
	if peak := p.peakMemory(); peak > limit {
		t.Errorf("peak memory was %d MB, not under %d", peak/1_000_000, limit/1_000_000)
	} else {
		t.Logf("peak memory %d MB", peak/1_000_000)
	}
	p.stop()
	var eu, rest []int
	for i := range n {
		switch {
		case i%10 == 0:
		case i%2 == 0:
			eu = append(eu, i)
		default:
			rest = append(rest, i)
		}
	}
	inOrder(t, url, "eu", eu)
	inOrder(t, url, "rest", rest)
}

// inOrder expects exactly these orders in a queue, as the pipeline shapes them.
func inOrder(t *testing.T, url, queue string, want []int) {
	t.Helper()
	k := 0
	collect(t, url, queue, len(want), func(d *amqp.Delivery) {
		if k >= len(want) || d.MessageId != strconv.Itoa(want[k]) {
			t.Fatalf("%s: message %d is %q", queue, k, d.MessageId)
		}
		sameOrder(t, want[k], d)
		k++
	})
}

func sameOrder(t *testing.T, i int, d *amqp.Delivery) {
	t.Helper()
	in := order(i)
	in.Headers["x-tier"] = "gold"
	if !reflect.DeepEqual(d.Headers, in.Headers) {
		t.Fatalf("the headers of message %d are\n%v, not\n%v", i, d.Headers, in.Headers)
	}
	got := amqp.Publishing{
		ContentType: d.ContentType, ContentEncoding: d.ContentEncoding, DeliveryMode: d.DeliveryMode, Priority: d.Priority,
		CorrelationId: d.CorrelationId, ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId,
		Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, UserId: d.UserId,
	}
	in.Headers, in.Body = nil, nil
	if !reflect.DeepEqual(got, in) {
		t.Fatalf("the properties of message %d are\n%v, not\n%v", i, got, in)
	}
	// What the map did not touch stands as it was, the odd space included.
	body := string(d.Body)
	before := string(order(i).Body)
	if head := before[:len(before)-1]; !strings.HasPrefix(body, head) {
		t.Fatalf("the body of message %d is\n%s, not\n%s and more", i, body, head)
	}
	want := strconv.FormatFloat(float64(int((float64(i%1000)+0.5)*92+0.5))/100, 'f', -1, 64)
	if tail := strings.TrimSpace(body[len(before)-1:]); !strings.Contains(tail, `"total_eur"`) || !strings.Contains(tail, want) {
		t.Fatalf("the body of message %d ends with %s; want total_eur %s", i, tail, want)
	}
}

// tally counts what came out of a queue by message id.
func tally(t *testing.T, url, queue string, n int) (duplicates int) {
	t.Helper()
	seen := make([]int, n)
	collect(t, url, queue, n, func(d *amqp.Delivery) {
		i, err := strconv.Atoi(d.MessageId)
		if err != nil || i < 0 || i >= n {
			t.Fatalf("%s: message %q was never put in", queue, d.MessageId)
		}
		seen[i]++
	})
	lost := 0
	for _, k := range seen {
		if k == 0 {
			lost++
		} else {
			duplicates += k - 1
		}
	}
	if lost > 0 {
		t.Errorf("%s: %d of %d messages are lost", queue, lost, n)
	}
	return duplicates
}

func plain(i int) amqp.Publishing {
	return amqp.Publishing{DeliveryMode: amqp.Persistent, MessageId: strconv.Itoa(i), Body: make([]byte, 1024)}
}

// volume says with how many messages a test works, and how often it breaks something. Full is what make test-faults takes; a third of it
// is for every day, and less where the broker is the one in the box, whose numbers do not count, and for go test -short.
func volume(messages, breaks int) (int, int) {
	switch {
	case testing.Short() || testbroker.Embedded():
		return min(messages, 20_000), (breaks + 3) / 4
	case os.Getenv("PIPE_TEST_FULL") == "":
		return max(messages/3, 20_000), (breaks + 2) / 3
	}
	return messages, breaks
}

// TestKill kills pipe at random moments under load.
func TestKill(t *testing.T) {
	const prefetch = 200
	n, moments := volume(60_000, 20)
	url := testbroker.VHost(t)
	declareStraight(t, url)
	fill(t, url, "in", n, plain)
	for range moments {
		p := start(t, url, withPrefetch(straight, prefetch))
		waitProgress(t, url, "rest")
		time.Sleep(rand.N(80 * time.Millisecond)) // the random moment
		p.signal(syscall.SIGKILL)
		p.wait()
	}
	p := start(t, url, withPrefetch(straight, prefetch))
	p.says("pipeline runs")
	waitEmpty(t, testbroker.Count(t), url, "in")
	p.stop()
	duplicates := tally(t, url, "rest", n)
	t.Logf("%d duplicates after %d kills", duplicates, moments)
	if duplicates > moments*prefetch {
		t.Errorf("%d duplicates: more than what was in flight, %d times %d", duplicates, moments, prefetch)
	}
}

// TestTerminate stops pipe at random moments under load.
func TestTerminate(t *testing.T) {
	const prefetch = 200
	n, moments := volume(60_000, 20)
	url := testbroker.VHost(t)
	declareStraight(t, url)
	fill(t, url, "in", n, plain)
	var slowest time.Duration
	for range moments {
		p := start(t, url, withPrefetch(straight, prefetch))
		waitProgress(t, url, "rest")
		time.Sleep(rand.N(80 * time.Millisecond)) // the random moment
		p.says("pipeline runs")                   // the input may be empty by now
		begin := time.Now()
		p.stop()
		slowest = max(slowest, time.Since(begin))
	}
	p := start(t, url, withPrefetch(straight, prefetch))
	p.says("pipeline runs")
	waitEmpty(t, testbroker.Count(t), url, "in")
	p.stop()
	t.Logf("the slowest of %d stops took %s", moments, slowest.Round(time.Millisecond))
	k := 0
	collect(t, url, "rest", n, func(d *amqp.Delivery) {
		if d.MessageId != strconv.Itoa(k) {
			t.Fatalf("message %d is %q: lost, doubled or out of order", k, d.MessageId)
		}
		k++
	})
}

// declareStraight declares what the pipelines need, before they run.
func declareStraight(t *testing.T, url string) {
	t.Helper()
	p := start(t, url, withPrefetch(straight, 1))
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Exists(t, url, "rest") }, "the topology is declared")
	p.stop()
}

// waitProgress waits until another message has come out of the pipeline, or the input is empty.
func waitProgress(t *testing.T, url, queue string) {
	t.Helper()
	before := testbroker.Depth(t, url, queue)
	testbroker.Eventually(t, time.Minute, func() bool {
		return testbroker.Depth(t, url, queue) > before || testbroker.Depth(t, url, "in") == 0
	}, "messages move")
}

// TestBrokerRestarts restarts the broker under load. The run goes on by itself.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	n, restarts := volume(60_000, 10)
	node := testbroker.Private(t)
	url := node.URL()
	declareStraight(t, url)
	fill(t, url, "in", n, plain)
	p := start(t, url, withPrefetch(straight, 200))
	for range restarts {
		waitProgress(t, url, "rest")
		if err := node.Restart(background()); err != nil {
			t.Fatal(err)
		}
	}
	waitEmpty(t, node, url, "in")
	p.stop()
	duplicates := tally(t, url, "rest", n)
	t.Logf("%d duplicates after %d restarts", duplicates, restarts)
	if bound := restarts * 200; duplicates > bound {
		t.Errorf("%d duplicates: more than what was in flight, %d", duplicates, bound)
	}
}
