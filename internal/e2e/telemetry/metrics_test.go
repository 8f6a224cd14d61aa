package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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
		if !strings.HasPrefix(line, name+"{") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue lines
			}
		}
		end := strings.LastIndexByte(line, '}')
		v, _ := strconv.ParseFloat(strings.Fields(line[end+1:])[0], 64)
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

// TestMetricsMatchTheQueues counts at the queues after a run with failures, and compares what the backends were told: by OTLP, scraped as
// text, and by a Prometheus where one is installed.
func TestMetricsMatchTheQueues(t *testing.T) {
	t.Parallel()
	url, r := testbroker.VHost(t), otlptest.Start(t)
	env := append(overGRPC(r), "OTEL_METRIC_EXPORT_INTERVAL=200", "OTEL_TRACES_EXPORTER=otlp")
	p := pipetest.StartWith(t, pipetest.Options{URL: url, HCL: sorting, Env: env, Args: []string{"--admin", "127.0.0.1:0"}})
	p.Says("pipeline runs")
	at := adminAddress(t, p)
	const n = 500
	broken, odd := 0, 0
	pipetest.Fill(t, url, "in", n, func(i int) amqp.Publishing {
		body := fmt.Appendf(nil, `{"n":%d,"items":[1,2,3]}`, i)
		switch {
		case i%5 == 0:
			body = []byte("not JSON")
			broken++
		case i%2 == 1:
			odd++
		}
		return amqp.Publishing{MessageId: fmt.Sprint(i), Timestamp: time.Now(), Body: body}
	})
	depth := func(queue string) int { return testbroker.Depth(t, url, queue) }
	eventually(t, func() bool {
		return depth("one") == 3*odd && depth("lost") == 3*odd && depth("parked") == broken
	}, "all is where it belongs")
	metrics := []counted{
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
	}
	find := prometheus(t, at)
	for _, c := range metrics {
		want := float64(c.want)
		eventually(t, func() bool { return r.Sum(c.otlp, c.labels...) == want },
			fmt.Sprintf("%s %v is %v by OTLP, not %v", c.otlp, c.labels, want, r.Sum(c.otlp, c.labels...)))
		eventually(t, func() bool { return scraped(get(t, at+"/metrics"), c.prometheus, c.promLabels()...) == want },
			fmt.Sprintf("%s %v is %v at /metrics", c.prometheus, c.labels, want))
		if find != nil {
			eventually(t, func() bool { return find(c) == want },
				fmt.Sprintf("%s %v is %v in Prometheus", c.prometheus, c.labels, want))
		}
	}
	if !strings.Contains(openMetrics(t, at), "# {") {
		t.Error("there are no exemplars")
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

// prometheus starts a Prometheus that scrapes at, and returns what asks it for a metric; nil where it is not installed.
func prometheus(t *testing.T, at string) func(counted) float64 {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Log("Prometheus is not installed: only the page that it would scrape is looked at")
		return nil
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	config := "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n- job_name: pipe\n  static_configs: [{targets: [" +
		strconv.Quote(strings.TrimPrefix(at, "http://")) + "]}]\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &pipetest.Output{}
	cmd := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:"+freePort(t))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus said\n%s", out)
		}
	})
	server := "http://" + strings.TrimPrefix(cmd.Args[3], "--web.listen-address=")
	return func(c counted) float64 { return ask(server, c) }
}

// ask returns the sum of a metric in Prometheus; -1 while it cannot be had.
func ask(server string, c counted) float64 {
	query := fmt.Sprintf("sum(%s{%s})", c.prometheus, strings.Join(c.promLabels(), ","))
	resp, err := http.Get(server + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if json.NewDecoder(resp.Body).Decode(&answer) != nil || len(answer.Data.Result) != 1 {
		return -1
	}
	v, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
	if err != nil {
		return -1
	}
	return v
}
