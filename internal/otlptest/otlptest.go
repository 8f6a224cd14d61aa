// Package otlptest receives what programs export over OTLP, by gRPC and by HTTP, and keeps it for tests to read back.
package otlptest

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/protobuf/proto"
)

// Receiver is a collector that keeps everything. Its methods are safe to call from many goroutines.
type Receiver struct {
	GRPC, HTTP string // the endpoints, as URLs

	mu      sync.Mutex
	spans   []Span
	records []*logs.LogRecord
	points  map[string]float64 // the last value of each data point, by its name and attributes
	types   map[string]int     // requests, by how they came
}

// Span is a span, with the service that it is from.
type Span struct {
	Service string
	*trace.Span
}

// Start starts a receiver, until the test ends.
func Start(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{points: map[string]float64{}, types: map[string]int{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(server, traceServer{r: r})
	colmetrics.RegisterMetricsServiceServer(server, metricsServer{r: r})
	collogs.RegisterLogsServiceServer(server, logsServer{r: r})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	over := httptest.NewServer(r.handler())
	t.Cleanup(func() {
		over.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	r.GRPC, r.HTTP = "http://"+listener.Addr().String(), over.URL
	return r
}

type traceServer struct {
	coltrace.UnimplementedTraceServiceServer
	r *Receiver
}

func (s traceServer) Export(_ context.Context, in *coltrace.ExportTraceServiceRequest) (*coltrace.ExportTraceServiceResponse, error) {
	s.r.addSpans("grpc", in)
	return &coltrace.ExportTraceServiceResponse{}, nil
}

type metricsServer struct {
	colmetrics.UnimplementedMetricsServiceServer
	r *Receiver
}

func (s metricsServer) Export(_ context.Context, in *colmetrics.ExportMetricsServiceRequest) (*colmetrics.ExportMetricsServiceResponse, error) {
	s.r.addMetrics("grpc", in)
	return &colmetrics.ExportMetricsServiceResponse{}, nil
}

type logsServer struct {
	collogs.UnimplementedLogsServiceServer
	r *Receiver
}

func (s logsServer) Export(_ context.Context, in *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	s.r.addLogs("grpc", in)
	return &collogs.ExportLogsServiceResponse{}, nil
}

func (r *Receiver) handler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, "/v1/traces", func() *coltrace.ExportTraceServiceRequest { return new(coltrace.ExportTraceServiceRequest) }, r.addSpans)
	handle(mux, "/v1/metrics", func() *colmetrics.ExportMetricsServiceRequest { return new(colmetrics.ExportMetricsServiceRequest) }, r.addMetrics)
	handle(mux, "/v1/logs", func() *collogs.ExportLogsServiceRequest { return new(collogs.ExportLogsServiceRequest) }, r.addLogs)
	return mux
}

func handle[M proto.Message](mux *http.ServeMux, path string, empty func() M, add func(string, M)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, req *http.Request) {
		in := empty()
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = proto.Unmarshal(body, in)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		add("http", in)
		w.Header().Set("Content-Type", "application/x-protobuf")
	})
}

func (r *Receiver) addSpans(how string, in *coltrace.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.types["traces "+how]++
	for _, of := range in.ResourceSpans {
		service := text(of.Resource.Attributes, "service.name")
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				r.spans = append(r.spans, Span{service, s})
			}
		}
	}
}

func (r *Receiver) addLogs(how string, in *collogs.ExportLogsServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.types["logs "+how]++
	for _, of := range in.ResourceLogs {
		for _, scope := range of.ScopeLogs {
			r.records = append(r.records, scope.LogRecords...)
		}
	}
}

func (r *Receiver) addMetrics(how string, in *colmetrics.ExportMetricsServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.types["metrics "+how]++
	for _, of := range in.ResourceMetrics {
		for _, scope := range of.ScopeMetrics {
			for _, m := range scope.Metrics {
				r.addMetric(m)
			}
		}
	}
}

func (r *Receiver) addMetric(m *metrics.Metric) {
	for _, p := range m.GetSum().GetDataPoints() {
		r.points[pointKey(m.Name, p.Attributes)] = float64(p.GetAsInt()) + p.GetAsDouble()
	}
	for _, p := range m.GetGauge().GetDataPoints() {
		r.points[pointKey(m.Name, p.Attributes)] = float64(p.GetAsInt()) + p.GetAsDouble()
	}
	for _, p := range m.GetHistogram().GetDataPoints() {
		r.points[pointKey(m.Name, p.Attributes)] = float64(p.Count)
	}
}

// pointKey is name{key=value,…}, with the attributes in order.
func pointKey(name string, attributes []*common.KeyValue) string {
	var parts []string
	for _, a := range attributes {
		parts = append(parts, a.Key+"="+valueText(a.Value))
	}
	slices.Sort(parts)
	return name + "{" + strings.Join(parts, ",") + "}"
}

// Sum adds the last values of all data points of a metric that have all the attributes, given as key=value; of a histogram, the counts.
func (r *Receiver) Sum(name string, attributes ...string) (sum float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, v := range r.points {
		rest, ok := strings.CutPrefix(key, name+"{")
		if !ok {
			continue
		}
		has := strings.Split(strings.TrimSuffix(rest, "}"), ",")
		if !slices.ContainsFunc(attributes, func(a string) bool { return !slices.Contains(has, a) }) {
			sum += v
		}
	}
	return sum
}

// Requests returns how many requests of a signal came over "grpc" or "http".
func (r *Receiver) Requests(signal, how string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.types[signal+" "+how]
}

// Spans returns all spans so far.
func (r *Receiver) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Logs returns all log records so far.
func (r *Receiver) Logs() []*logs.LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.records)
}

// Trees draws all traces so far, in no order that matters: a line a span, below its parent, with the service, the name, the kind, what
// it links to, and whether it failed:
//
//	shop: publish orders.in producer
//	  pipe: process orders.in consumer -> publish orders.in
//	    pipe: publish orders producer
func (r *Receiver) Trees() []string {
	spans := r.Spans()
	byID := map[string]Span{}
	for _, s := range spans {
		byID[string(s.SpanId)] = s
	}
	children := map[string][]Span{}
	var roots []Span
	for _, s := range spans {
		if parent, ok := byID[string(s.ParentSpanId)]; ok && string(parent.TraceId) == string(s.TraceId) {
			children[string(s.ParentSpanId)] = append(children[string(s.ParentSpanId)], s)
		} else {
			roots = append(roots, s)
		}
	}
	var trees []string
	for _, root := range roots {
		trees = append(trees, drawn(root, "", children, byID))
	}
	slices.Sort(trees)
	return trees
}

func drawn(s Span, indent string, children map[string][]Span, byID map[string]Span) string {
	var linked []string
	for _, l := range s.Links {
		linked = append(linked, byID[string(l.SpanId)].name())
	}
	line := fmt.Sprintf("%s%s: %s %s", indent, s.Service, s.name(), strings.ToLower(strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_")))
	if len(linked) > 0 {
		slices.Sort(linked)
		line += " -> " + strings.Join(linked, ", ")
	}
	if s.Status.GetCode() == trace.Status_STATUS_CODE_ERROR {
		line += " failed: " + s.Text("error.type")
	}
	var below []string
	for _, c := range children[string(s.SpanId)] {
		below = append(below, drawn(c, indent+"  ", children, byID))
	}
	slices.Sort(below)
	return line + "\n" + strings.Join(below, "")
}

func (s Span) name() string {
	if s.Span == nil {
		return "(not exported)"
	}
	return s.Name
}

// Text returns an attribute of the span as text; "" where there is none.
func (s Span) Text(key string) string { return text(s.Attributes, key) }

// Trace returns the id of the trace in hexadecimal digits.
func (s Span) Trace() string { return hex.EncodeToString(s.TraceId) }

func text(attributes []*common.KeyValue, key string) string {
	for _, a := range attributes {
		if a.Key == key {
			return valueText(a.Value)
		}
	}
	return ""
}

func valueText(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *common.AnyValue_DoubleValue:
		return fmt.Sprint(v.DoubleValue)
	}
	return ""
}
