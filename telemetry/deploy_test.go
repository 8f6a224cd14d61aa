package telemetry

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/pipeamqp/pipe/engine"
)

const deploy = "../deploy"

// everything is a snapshot in which nothing is missing.
func everything() Snapshot {
	at := engine.Address{System: "rabbitmq", Destination: "q", Server: "127.0.0.1", Port: 5672}
	failed := map[engine.Kind]int64{engine.KindExpression: 1}
	return Snapshot{
		Pipelines: []engine.PipelineStats{{Name: "p", Address: at}},
		Components: []engine.ComponentStats{
			{Pipeline: "p", Role: engine.RoleStage, Kind: "map", Name: "m", Errors: failed},
			{Pipeline: "p", Role: engine.RoleSink, Kind: "amqp", Name: "s", Address: at, Errors: failed},
		},
		Connections: []Connection{{Name: "main"}},
	}
}

// exposed returns the labels of each metric that Prometheus is shown.
func exposed(t *testing.T) map[string]map[string]bool {
	t.Helper()
	s, err := newScraped(newProducer(everything, new(atomic.Int64)))
	if err != nil {
		t.Fatal(err)
	}
	p := metric.NewMeterProvider(metric.WithReader(s.reader))
	defer func() { _ = p.Shutdown(t.Context()) }()
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	all := map[string]map[string]bool{}
	sample := regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? `)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for line := range strings.Lines(w.Body.String()) {
		found := sample.FindStringSubmatch(line)
		if found == nil || strings.HasPrefix(line, "go_") {
			continue
		}
		if all[found[1]] == nil {
			all[found[1]] = map[string]bool{"job": true, "instance": true} // Prometheus adds these
		}
		for _, l := range label.FindAllStringSubmatch(found[2], -1) {
			all[found[1]][l[1]] = true
		}
	}
	return all
}

var (
	metricName  = regexp.MustCompile(`\b(?:pipe|messaging)_[a-z_]+\b`)
	grouping    = regexp.MustCompile(`\bby \(([^)]*)\)`)
	selector    = regexp.MustCompile(`\b([a-z_]+)\{([^}]*)\}`)
	labelOf     = regexp.MustCompile(`([a-z_]+) *(?:=~|!~|!=|=)`)
	labelValues = regexp.MustCompile(`label_values\(([a-z_]+), ([a-z_]+)\)`)
)

// checkQuery fails for a metric or a label that pipe does not have.
func checkQuery(t *testing.T, where, query string, all map[string]map[string]bool) {
	t.Helper()
	labels := map[string]bool{}
	found := false
	for _, name := range metricName.FindAllString(query, -1) {
		for l := range all[name] {
			labels[l], found = true, true
		}
	}
	if !found {
		t.Errorf("%s: no metric of pipe's in %s", where, query)
	}
	for _, name := range metricName.FindAllString(query, -1) {
		if all[name] == nil && !labels[name] {
			t.Errorf("%s: there is no metric, and no label, %s", where, name)
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if l = strings.TrimSpace(l); !labels[l] {
				t.Errorf("%s: no metric of %s has a label %s", where, query, l)
			}
		}
	}
	for _, s := range selector.FindAllStringSubmatch(query, -1) {
		for _, l := range labelOf.FindAllStringSubmatch(s[2], -1) {
			if !all[s[1]][l[1]] {
				t.Errorf("%s: %s has no label %s", where, s[1], l[1])
			}
		}
	}
}

// TestDashboard expects that every metric and label of the dashboard exists, and that no panel lies on another.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(deploy, "grafana", "pipe.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Definition string } }
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	all := exposed(t)
	taken := map[[2]int]string{}
	queries := 0
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries++
			checkQuery(t, p.Title, target.Expr, all)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
	}
	if queries < 25 {
		t.Errorf("only %d queries", queries)
	}
	for _, v := range d.Templating.List {
		if found := labelValues.FindStringSubmatch(v.Definition); found != nil && !all[found[1]][found[2]] {
			t.Errorf("%s leads nowhere", v.Definition)
		}
	}
}

// TestAlerts expects that every metric and label of the alerts exists, and has promtool check and test them where it is installed.
func TestAlerts(t *testing.T) {
	file := filepath.Join(deploy, "prometheus", "alerts.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := exposed(t)
	expr := regexp.MustCompile(`(?m)^ +expr: (.*(?:\n {10,}.*)*)`)
	found := expr.FindAllStringSubmatch(string(text), -1)
	if len(found) < 8 {
		t.Fatalf("only %d alerts are found", len(found))
	}
	for _, e := range found {
		checkQuery(t, "alerts.yaml", e[1], all)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian's package prometheus): the rules are not run")
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = filepath.Dir(file)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
