package telemetry

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/internal/otlptest"
	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

const patience = 3 * time.Minute

// overGRPC and overHTTP are the environments of programs that export to r.
func overGRPC(r *otlptest.Receiver) []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.GRPC, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}
}

func overHTTP(r *otlptest.Receiver) []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.HTTP, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}
}

// flow is a way of messages through several programs, and the traces that it leaves.
type flow struct {
	custom  bool     // pipe with a stage that works on groups
	hcl     []string // a process each
	publish int      // messages to the queue "in"
	consume map[string]int
	want    []string // trees
}

const declared = `
declare {
  exchange "orders" { type = "topic" }
  exchange "dead" { type = "fanout" }
  queue "in" { dead_letter = exchange.dead }
  queue "one" {}
  queue "two" {}
  queue "three" {}
  queue "joined" {}
  queue "parked" {}
  binding {
    from = exchange.orders
    to   = queue.one
    key  = "#"
  }
  binding {
    from = exchange.dead
    to   = queue.parked
  }
}
`

// run runs the flow with all programs exporting over gRPC, and again with all over HTTP, and has check, unless it is nil, look at what was
// received.
func (f flow) run(t *testing.T, check func(*testing.T, *otlptest.Receiver)) {
	t.Helper()
	t.Parallel()
	for how, env := range map[string]func(*otlptest.Receiver) []string{"grpc": overGRPC, "http": overHTTP} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := otlptest.Start(t)
			f.once(t, r, env(r))
			for _, signal := range []string{"traces", "metrics", "logs"} { // the stop has exported what was left
				other := map[string]string{"grpc": "http", "http": "grpc"}[how]
				if r.Requests(signal, how) == 0 || r.Requests(signal, other) > 0 {
					t.Errorf("%d requests with %s came over %s, and %d over %s", r.Requests(signal, how), signal, how, r.Requests(signal, other), other)
				}
			}
			if check != nil {
				check(t, r)
			}
		})
	}
}

// once runs the flow, and expects its traces at r.
func (f flow) once(t *testing.T, r *otlptest.Receiver, env []string) {
	t.Helper()
	url := testbroker.VHost(t)
	var processes []*pipetest.Process
	for _, hcl := range f.hcl {
		o := pipetest.Options{URL: url, HCL: declared + hcl, Env: env}
		if f.custom {
			o.Binary, o.Env = os.Args[0], append(slices.Clone(env), role+"=pipe")
		}
		p := pipetest.StartWith(t, o)
		p.Says("pipeline runs")
		processes = append(processes, p)
	}
	runPeer(t, "publisher", url, "in", f.publish, env)
	for queue, n := range f.consume {
		runPeer(t, "consumer", url, queue, n, env)
	}
	var want []string
	for _, tree := range f.want {
		want = append(want, strings.TrimLeft(tree, "\n"))
	}
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if got = r.Trees(); slices.Equal(got, want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the traces are\n%s\nnot\n%s", strings.Join(got, "--\n"), strings.Join(want, "--\n"))
	}
	for _, p := range processes {
		p.Stop()
	}
}

// span returns the only span of a name.
func span(t *testing.T, r *otlptest.Receiver, name string) otlptest.Span {
	t.Helper()
	var found []otlptest.Span
	for _, s := range r.Spans() {
		if s.Name == name && strings.HasPrefix(s.Service, "pipe") {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %q", len(found), name)
	}
	return found[0]
}

func has(t *testing.T, s otlptest.Span, attributes ...string) {
	t.Helper()
	for _, a := range attributes {
		key, value, _ := strings.Cut(a, "=")
		if got := s.Text(key); got != value {
			t.Errorf("%s: %s is %q, not %q", s.Name, key, got, value)
		}
	}
}

func TestPlainFlow(t *testing.T) {
	flow{
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  stage "filter" "some" {
    keep = body.n >= 0
  }
  sink "amqp" "out" {
    exchange    = exchange.orders
    routing_key = "eu"
  }
}`},
		publish: 1, consume: map[string]int{"one": 1},
		want: []string{`
publisher: publish in producer
  pipe: process in consumer -> publish in
    pipe: ack in client
    pipe: filter some internal
    pipe: publish orders producer
      consumer: process one consumer
`},
	}.run(t, func(t *testing.T, r *otlptest.Receiver) {
		has(t, span(t, r, "process in"), "messaging.system=rabbitmq", "messaging.operation.name=process", "messaging.operation.type=process",
			"messaging.destination.name=in", "server.address=127.0.0.1", "messaging.message.id=m-0", "messaging.message.conversation_id=talk-1",
			"messaging.rabbitmq.destination.routing_key=in", "messaging.rabbitmq.message.delivery_tag=1", "pipe.pipeline=orders", "pipe.attempt=1", "pipe.outcome=ack")
		has(t, span(t, r, "publish orders"), "messaging.operation.name=publish", "messaging.operation.type=send", "messaging.destination.name=orders",
			"pipe.component=sink.out", "messaging.message.id=m-0")
		has(t, span(t, r, "ack in"), "messaging.operation.name=ack", "messaging.operation.type=settle")
		has(t, span(t, r, "filter some"), "pipe.component=filter.some", "pipe.outcome=")
		process, publish := span(t, r, "process in"), span(t, r, "publish orders")
		if process.EndTimeUnixNano < publish.EndTimeUnixNano {
			t.Error("the process span ends before the confirm")
		}
	})
}

// TestDropped has a stage drop a message on purpose: its span tells where the way has ended.
func TestDropped(t *testing.T) {
	flow{
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  stage "filter" "none" {
    keep = body.n < 0
  }
  sink "amqp" "out" { queue = queue.one }
}`},
		publish: 1,
		want: []string{`
publisher: publish in producer
  pipe: process in consumer -> publish in
    pipe: ack in client
    pipe: filter none internal
`},
	}.run(t, func(t *testing.T, r *otlptest.Receiver) {
		has(t, span(t, r, "filter none"), "pipe.outcome=discard")
	})
}

func TestFanOut(t *testing.T) {
	flow{
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  sink "amqp" "a" { queue = queue.one }
  sink "amqp" "b" { queue = queue.two }
  sink "amqp" "c" { queue = queue.three }
}`},
		publish: 1, consume: map[string]int{"one": 1, "two": 1, "three": 1},
		want: []string{`
publisher: publish in producer
  pipe: process in consumer -> publish in
    pipe: ack in client
    pipe: publish one producer
      consumer: process one consumer
    pipe: publish three producer
      consumer: process three consumer
    pipe: publish two producer
      consumer: process two consumer
`},
	}.run(t, func(t *testing.T, r *otlptest.Receiver) {
		for queue, name := range map[string]string{"one": "a", "two": "b", "three": "c"} {
			has(t, span(t, r, "publish "+queue), "pipe.component=sink."+name, "messaging.destination.name="+queue, "messaging.operation.type=send")
		}
	})
}

func TestSplitAndBranch(t *testing.T) {
	flow{
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  stage "split" "items" {
    each = body.items
  }
  stage "route" "all" {
    default { to = [pipeline.items] }
  }
}
pipeline "items" {
  stage "filter" "every" {
    keep = true
  }
  sink "amqp" "out" { queue = queue.one }
}`},
		publish: 1, consume: map[string]int{"one": 2},
		want: []string{`
publisher: publish in producer
  pipe: process in consumer -> publish in
    pipe: ack in client
    pipe: filter every internal
    pipe: filter every internal
    pipe: publish one producer
      consumer: process one consumer
    pipe: publish one producer
      consumer: process one consumer
    pipe: route all internal
    pipe: route all internal
    pipe: split items internal
`},
	}.run(t, func(t *testing.T, r *otlptest.Receiver) {
		has(t, span(t, r, "split items"), "pipe.component=split.items", "pipe.pipeline=orders")
		var parts []string
		for _, s := range r.Spans() {
			switch s.Name {
			case "publish one":
				parts = append(parts, s.Text("messaging.message.id"))
			case "filter every":
				has(t, s, "pipe.pipeline=items")
			}
		}
		slices.Sort(parts)
		if !slices.Equal(parts, []string{"m-0/1", "m-0/2"}) {
			t.Errorf("the ids of the parts are %v", parts)
		}
	})
}

func TestGroup(t *testing.T) {
	one := `
publisher: publish in producer
  pipe: process in consumer -> publish in
    pipe: ack in client
`
	flow{
		custom: true,
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  stage "join" "three" {
    group {
      size = 3
      age  = "10m"
    }
  }
  sink "amqp" "out" { queue = queue.joined }
}`},
		publish: 3, consume: map[string]int{"joined": 1},
		want: []string{one, one, one, `
pipe: join three internal -> process in, process in, process in
  pipe: publish joined producer
    consumer: process joined consumer
`},
	}.run(t, func(t *testing.T, r *otlptest.Receiver) {
		has(t, span(t, r, "join three"), "messaging.batch.message_count=3", "pipe.component=join.three")
	})
}

// TestRetry has the broker hold a message between two attempts, and then gives it up to a sink.
func TestRetry(t *testing.T) {
	flow{
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  retry {
    attempts = 2
    min      = "1s"
    max      = "1s"
    when     = true
    then     = sink.parked
  }
  stage "filter" "broken" {
    keep = body.missing > 1
  }
  sink "amqp" "out" { queue = queue.one }
  sink "amqp" "parked" { queue = queue.parked }
}`},
		publish: 1, consume: map[string]int{"parked": 1},
		want: []string{`
publisher: publish in producer
  pipe: process in consumer -> publish in failed: expression
    pipe: ack in client
    pipe: filter broken internal failed: expression
    pipe: publish delay producer
      pipe: process in consumer -> publish delay failed: expression
        pipe: ack in client
        pipe: filter broken internal failed: expression
        pipe: publish parked producer
          consumer: process parked consumer
`},
	}.run(t, func(t *testing.T, r *otlptest.Receiver) {
		var attempts []string
		for _, s := range r.Spans() {
			if s.Name == "process in" {
				attempts = append(attempts, s.Text("pipe.attempt"))
				has(t, s, "pipe.outcome=ack") // it goes on elsewhere
			}
		}
		slices.Sort(attempts)
		if !slices.Equal(attempts, []string{"1", "2"}) {
			t.Errorf("the attempts are %v", attempts)
		}
		has(t, span(t, r, "publish delay"), "pipe.component=retry", "messaging.operation.type=send", "messaging.message.id=m-0")
		has(t, span(t, r, "publish parked"), "pipe.component=sink.parked")
	})
}

// TestRetryInTheProcess has a pause that is too short for the broker.
func TestRetryInTheProcess(t *testing.T) {
	flow{
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  retry {
    attempts = 2
    min      = "5ms"
    max      = "5ms"
    when     = true
  }
  stage "filter" "broken" {
    keep = body.missing > 1
  }
  sink "amqp" "out" { queue = queue.one }
}`},
		publish: 1, consume: map[string]int{"parked": 1},
		want: []string{`
publisher: publish in producer
  consumer: process parked consumer
  pipe: process in consumer -> publish in failed: expression
    pipe: filter broken internal failed: expression
    pipe: process in consumer failed: expression
      pipe: filter broken internal failed: expression
      pipe: reject in client
`},
	}.run(t, nil)
}

// TestDeadLetter has the broker keep a message that can never be processed: it leaves as it came, so that its consumer is beside pipe.
func TestDeadLetter(t *testing.T) {
	flow{
		hcl: []string{`
pipeline "orders" {
  source "amqp" { queue = queue.in }
  stage "filter" "broken" {
    keep = body.missing > 1
  }
  sink "amqp" "out" { queue = queue.one }
}`},
		publish: 1, consume: map[string]int{"parked": 1},
		want: []string{`
publisher: publish in producer
  consumer: process parked consumer
  pipe: process in consumer -> publish in failed: expression
    pipe: filter broken internal failed: expression
    pipe: reject in client
`},
	}.run(t, func(t *testing.T, r *otlptest.Receiver) {
		process := span(t, r, "process in")
		has(t, process, "pipe.outcome=reject", "error.type=expression")
		if why := process.Status.GetMessage(); !strings.Contains(why, "body.missing") {
			t.Errorf("the status says %q", why)
		}
		has(t, span(t, r, "reject in"), "messaging.operation.name=reject", "messaging.operation.type=settle", "messaging.destination.name=in")
		var found bool
		for _, record := range r.Logs() {
			found = found || string(record.TraceId) == string(process.TraceId) && strings.Contains(record.Body.GetStringValue(), "message failed")
		}
		if !found {
			t.Error("no line of the log that was exported is about the trace")
		}
	})
}

// TestTwoInARow has two processes, one of which has stages as events, and its traces linked.
func TestTwoInARow(t *testing.T) {
	flow{
		hcl: []string{`
telemetry { service_name = "pipe one" }
pipeline "first" {
  source "amqp" { queue = queue.in }
  sink "amqp" "out" { queue = queue.one }
}`, `
telemetry {
  service_name = "pipe two"
  traces {
    detail = "events"
  }
}
pipeline "second" {
  source "amqp" { queue = queue.one }
  stage "filter" "every" {
    keep = true
  }
  sink "amqp" "out" { queue = queue.two }
}`},
		publish: 1, consume: map[string]int{"two": 1},
		want: []string{`
publisher: publish in producer
  pipe one: process in consumer -> publish in
    pipe one: ack in client
    pipe one: publish one producer
      pipe two: process one consumer -> publish one
        pipe two: ack one client
        pipe two: publish two producer
          consumer: process two consumer
`},
	}.run(t, nil)
}

func TestLinked(t *testing.T) {
	flow{
		hcl: []string{`
telemetry {
  traces {
    relation = "link"
  }
}
pipeline "orders" {
  source "amqp" { queue = queue.in }
  sink "amqp" "out" { queue = queue.one }
}`},
		publish: 1, consume: map[string]int{"one": 1},
		want: []string{`
publisher: publish in producer
`, `
pipe: process in consumer -> publish in
  pipe: ack in client
  pipe: publish one producer
    consumer: process one consumer
`},
	}.run(t, nil)
}
