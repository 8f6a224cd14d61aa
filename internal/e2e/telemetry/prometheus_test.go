package telemetry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/internal/otlptest"
	"github.com/pipeamqp/pipe/internal/pipetest"
)

// prometheusVariable is the environment variable with the path of a Prometheus that takes OTLP: version 3. `.ci/prometheus` builds one.
const prometheusVariable = "PIPE_TEST_PROMETHEUS"

// prometheus is a real Prometheus.
type prometheus struct{ url string }

// scraping starts a Prometheus that scrapes at: the installed one, as long as the test takes; nil where there is none.
func scraping(t *testing.T, at string) *prometheus {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		if binary = os.Getenv(prometheusVariable); binary == "" {
			t.Log("Prometheus is not installed: only the page that it would scrape is looked at")
			return nil
		}
	}
	return startPrometheus(t, binary, "scrape_configs:\n- job_name: pipe\n  static_configs: [{targets: ["+strconv.Quote(strings.TrimPrefix(at, "http://"))+"]}]\n")
}

// takingOTLP starts a Prometheus that is told, and scrapes nobody.
func takingOTLP(t *testing.T) *prometheus {
	t.Helper()
	const flag = "--web.enable-otlp-receiver"
	binary := cmp.Or(os.Getenv(prometheusVariable), "prometheus")
	help, err := exec.CommandContext(t.Context(), binary, "--help").CombinedOutput()
	if err != nil || !strings.Contains(string(help), strings.TrimPrefix(flag, "--")) {
		t.Skipf("no Prometheus that takes OTLP is installed (%s: %v): .ci/prometheus builds one, and %s names it", binary, err, prometheusVariable)
	}
	return startPrometheus(t, binary, "", flag)
}

// startPrometheus starts a Prometheus that keeps exemplars, as long as the test takes.
func startPrometheus(t *testing.T, binary, config string, flags ...string) *prometheus {
	t.Helper()
	dir, address := t.TempDir(), "127.0.0.1:"+freePort(t)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte("global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"+config), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &pipetest.Output{}
	flags = append(flags, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address,
		"--enable-feature=exemplar-storage")
	cmd := exec.Command(binary, flags...)
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
	p := &prometheus{"http://" + address}
	eventually(t, func() bool { return p.ask("/-/ready", nil, nil) }, "Prometheus is ready")
	return p
}

// ask reports whether Prometheus answers, and puts the answer into what.
func (p *prometheus) ask(path string, parameters url.Values, what any) bool {
	resp, err := http.Get(p.url + path + "?" + parameters.Encode())
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK && (what == nil || json.NewDecoder(resp.Body).Decode(what) == nil)
}

// sum returns the sum of a metric; -1 while it cannot be had.
func (p *prometheus) sum(c counted) float64 {
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	query := fmt.Sprintf("sum(%s{%s})", c.prometheus, strings.Join(c.promLabels(), ","))
	if !p.ask("/api/v1/query", url.Values{"query": {query}}, &answer) || len(answer.Data.Result) != 1 {
		return -1
	}
	v, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
	if err != nil {
		return -1
	}
	return v
}

// leadsTo expects that the exemplars of how long messages took lead to traces that r was told about.
func (p *prometheus) leadsTo(t *testing.T, r *otlptest.Receiver) {
	t.Helper()
	now := time.Now()
	at := func(d time.Duration) []string { return []string{strconv.FormatInt(now.Add(d).Unix(), 10)} }
	parameters := url.Values{"query": {"messaging_process_duration_seconds_bucket"}, "start": at(-time.Hour), "end": at(time.Hour)}
	eventually(t, func() bool {
		var answer struct {
			Data []struct {
				Exemplars []struct {
					Labels map[string]string
				}
			}
		}
		if !p.ask("/api/v1/query_exemplars", parameters, &answer) {
			return false
		}
		exported := map[string]bool{}
		for _, s := range r.Spans() {
			exported[s.Trace()] = true
		}
		found := false
		for _, series := range answer.Data {
			for _, e := range series.Exemplars {
				if !exported[e.Labels["trace_id"]] {
					return false
				}
				found = true
			}
		}
		return found
	}, "exemplars in Prometheus lead to traces")
}
