package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/otlptest"
	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// sorting fails in every way that leaves a trace at a queue.
const sorting = declared + `
declare {
  exchange "nowhere" { type = "fanout" }
  queue "lost" {}
}
pipeline "sort" {
  source "amqp" { queue = queue.in }
  stage "filter" "odd" {
    keep = body.n % 2 == 1
  }
  stage "split" "items" {
    each = body.items
  }
  sink "amqp" "out" { queue = queue.one }
  sink "amqp" "nobody" {
    exchange       = exchange.nowhere
    on_unroutable  = sink.lost
  }
  sink "amqp" "lost" { queue = queue.lost }
}
`

// adminAddress returns where the admin endpoint of a process is, once it has said so.
func adminAddress(t *testing.T, p *pipetest.Process) string {
	t.Helper()
	p.Says("the admin endpoint serves")
	found := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(p.Output.String())
	if found == "" {
		t.Fatal("it has not said where")
	}
	return found
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v\n%s", url, r.Status, err, body)
	}
	return string(body)
}

// scraped adds the values of a metric's lines that have all the labels, as key="value".
func scraped(page, name string, labels ...string) (sum float64) {
lines:
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue lines
			}
		}
		end := strings.LastIndexByte(rest, '}')
		v, _ := strconv.ParseFloat(strings.Fields(rest[end+1:])[0], 64)
		sum += v
	}
	return sum
}

// eventually is testbroker.Eventually for what costs the broker, or pipe, something to find out.
func eventually(t *testing.T, holds func() bool, what string) {
	t.Helper()
	testbroker.Eventually(t, patience, func() bool {
		time.Sleep(200 * time.Millisecond)
		return holds()
	}, what)
}

// counted is a metric, and what it must be.
type counted struct {
	otlp, prometheus string
	labels           []string // key=value; in Prometheus with underscores
	want             int
}

func (c counted) promLabels() (labels []string) {
	for _, l := range c.labels {
		key, value, _ := strings.Cut(l, "=")
		labels = append(labels, fmt.Sprintf("%s=%q", strings.ReplaceAll(key, ".", "_"), value))
	}
	return labels
}

// withFailures has messages fail in every way that leaves a trace at a queue, and returns what a pipe with the pipeline "sort" must have
// counted: the numbers are those of the queues.
func withFailures(t *testing.T, url string, p *pipetest.Process) []counted {
	t.Helper()
	const n = 500
	broken, odd, foreign := 0, 0, 0
	pipetest.Fill(t, url, "in", n, func(i int) amqp.Publishing {
		m := amqp.Publishing{MessageId: fmt.Sprint(i), Timestamp: time.Now(), Body: fmt.Appendf(nil, `{"n":%d,"items":[1,2,3]}`, i)}
		switch {
		case i%5 == 0:
			m.Body = []byte(private)
			broken++
		case i%2 == 1:
			odd++
		}
		if k := i % 50; k < len(unreadable) {
			m.Headers = unreadable[k]
			foreign++
		}
		return m
	})
	depth := func(queue string) int { return testbroker.Depth(t, url, queue) }
	eventually(t, func() bool {
		return depth("one") == 3*odd && depth("lost") == 3*odd && depth("parked") == broken
	}, "all is where it belongs")
	tellsAllButTheBody(t, p)
	failures := broken + 3*odd // each is a line of the log, or counted
	return []counted{
		{"messaging.client.consumed.messages", "messaging_client_consumed_messages_total", []string{"messaging.destination.name=in"}, n},
		{"messaging.client.sent.messages", "messaging_client_sent_messages_total", []string{"messaging.destination.name=one"}, depth("one")},
		{"messaging.client.sent.messages", "messaging_client_sent_messages_total", []string{"messaging.destination.name=lost"}, depth("lost")},
		{"messaging.client.sent.messages", "messaging_client_sent_messages_total", []string{"error.type=unroutable"}, 3 * odd},
		{"messaging.process.duration", "messaging_process_duration_seconds_count", []string{"messaging.destination.name=in"}, n},
		{"messaging.client.operation.duration", "messaging_client_operation_duration_seconds_count", []string{"pipe.component=sink.out"}, depth("one")},
		{"pipe.deliveries.settled", "pipe_deliveries_settled_total", []string{"pipe.outcome=ack"}, n - broken},
		{"pipe.deliveries.settled", "pipe_deliveries_settled_total", []string{"pipe.outcome=reject"}, depth("parked")},
		{"pipe.deliveries.in_flight", "pipe_deliveries_in_flight", nil, 0},
		{"pipe.attempts.failed", "pipe_attempts_failed_total", nil, broken},
		{"pipe.failures.tolerated", "pipe_failures_tolerated_total", nil, 3 * odd},
		{"pipe.failures.unlogged", "pipe_failures_unlogged_total", nil, failures - strings.Count(p.Output.String(), "message failed")},
		{"pipe.component.received", "pipe_component_received_total", []string{"pipe.component=filter.odd"}, n},
		{"pipe.component.discarded", "pipe_component_discarded_total", []string{"pipe.component=filter.odd"}, n - broken - odd},
		{"pipe.component.errors", "pipe_component_errors_total", []string{"pipe.component=filter.odd", "error.type=expression"}, broken},
		{"pipe.component.sent", "pipe_component_sent_total", []string{"pipe.component=split.items"}, 3 * odd},
		{"pipe.component.unconfirmed", "pipe_component_unconfirmed", nil, 0},
		{"pipe.stage.duration", "pipe_stage_duration_seconds_count", []string{"pipe.component=split.items"}, odd},
		{"pipe.message.latency", "pipe_message_latency_seconds_count", nil, n - broken},
		{"pipe.connection.published", "pipe_connection_published_total", []string{"pipe.outcome=confirmed"}, depth("one") + depth("lost")},
		{"pipe.connection.published", "pipe_connection_published_total", []string{"pipe.outcome=returned"}, 3 * odd},
		{"pipe.connection.up", "pipe_connection_up", []string{"pipe.connection=main"}, 1},
		{"pipe.trace_context.invalid", "pipe_trace_context_invalid_total", nil, foreign},
	}
}

// private is a body that nobody is to read in the log. It is no JSON.
const private = "0123 hidden"

// tellsAllButTheBody expects that the log says of a message that failed where that was, and which it was.
func tellsAllButTheBody(t *testing.T, p *pipetest.Process) {
	t.Helper()
	for line := range strings.Lines(p.Output.String()) {
		if strings.Contains(line, private) {
			t.Errorf("the log tells a body: %s", line)
		}
		var said map[string]any
		if json.Unmarshal([]byte(line), &said) != nil || said["msg"] != "message failed" {
			continue
		}
		for _, key := range []string{"time", "level", "trace_id", "span_id", "pipeline", "component", "message_id", "kind", "error", "outcome"} {
			if v, _ := said[key].(string); v == "" {
				t.Errorf("no %s in %s", key, line)
			}
		}
	}
}

// unreadable are headers of somebody else's that tell no trace.
var unreadable = []amqp.Table{
	{"traceparent": "broken"},
	{"traceparent": []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7")},
	{"traceparent": int32(7)},
	{"traceparent": amqp.Table{"version": int32(0)}},
	{"baggage": "="},
	{"baggage": []any{"customer=c-1"}},
}

// match waits until a backend has been told what was counted.
func match(t *testing.T, metrics []counted, backend string, find func(counted) float64) {
	t.Helper()
	for _, c := range metrics {
		is := func() bool { return find(c) == float64(c.want) }
		if is() { // most are, once one is: each look at a backend costs something
			continue
		}
		eventually(t, is, fmt.Sprintf("%s: %s %v is %d", backend, c.otlp, c.labels, c.want))
	}
}

// TestMetricsMatchTheQueues counts at the queues after a run with failures, and compares what the backends were told: by OTLP, scraped as
// text, and by a Prometheus where one is installed.
func TestMetricsMatchTheQueues(t *testing.T) {
	t.Parallel()
	url, r := testbroker.VHost(t), otlptest.Start(t)
	env := append(overGRPC(r), "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_TRACES_EXPORTER=otlp")
	p := pipetest.StartWith(t, pipetest.Options{URL: url, HCL: sorting, Env: env, Args: []string{"--admin", "127.0.0.1:0"}})
	p.Says("pipeline runs")
	at := adminAddress(t, p)
	server := scraping(t, at)
	metrics := withFailures(t, url, p)
	match(t, metrics, "OTLP", func(c counted) float64 { return r.Sum(c.otlp, c.labels...) })
	match(t, metrics, "/metrics", func(c counted) float64 { return scraped(get(t, at+"/metrics"), c.prometheus, c.promLabels()...) })
	if !strings.Contains(openMetrics(t, at), "# {") {
		t.Error("there are no exemplars")
	}
	if server != nil {
		match(t, metrics, "Prometheus", server.sum)
		server.leadsTo(t, r)
	}
	p.Stop()
}

// TestPrometheusIsTold has a Prometheus that takes OTLP told the same, without a collector between; under the names that it would have
// scraped, so that the dashboard and the alerts are good for both.
func TestPrometheusIsTold(t *testing.T) {
	t.Parallel()
	server := takingOTLP(t)
	url, r := testbroker.VHost(t), otlptest.Start(t)
	env := append(overGRPC(r), "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="+server.url+"/api/v1/otlp/v1/metrics")
	p := pipetest.StartWith(t, pipetest.Options{URL: url, HCL: sorting, Env: env, Args: []string{"--admin", "127.0.0.1:0"}})
	p.Says("pipeline runs")
	match(t, withFailures(t, url, p), "Prometheus", server.sum)
	server.leadsTo(t, r)
	var told struct{ Data []string }
	if !server.ask("/api/v1/label/__name__/values", nil, &told) {
		t.Fatal("Prometheus does not tell which metrics it has")
	}
	page := get(t, adminAddress(t, p)+"/metrics")
	names := regexp.MustCompile(`(?m)^(?:pipe|messaging)_\w+`).FindAllString(page, -1)
	if len(names) < 100 {
		t.Errorf("only %d samples at /metrics", len(names))
	}
	for _, name := range slices.Compact(names) {
		if !slices.Contains(told.Data, name) {
			t.Errorf("Prometheus was not told of %s", name)
		}
	}
	p.Stop()
}

// openMetrics scrapes as a Prometheus that takes exemplars does.
func openMetrics(t *testing.T, at string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}
