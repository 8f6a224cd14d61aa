package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// settings are what the file and the environment say together. The exporters and the SDK read most variables by themselves; here are
// those that they leave to the program.
type settings struct{ file *Config }

func settingsOf(c *Config) settings {
	if c == nil {
		c = &Config{}
	}
	full := *c
	if full.ServiceName == "" {
		full.ServiceName = "pipe"
	}
	return settings{&full}
}

// variable returns an environment variable; an empty one is as good as none, as the specification says.
func variable(names ...string) string {
	for _, name := range names {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			return v
		}
	}
	return ""
}

func (settings) disabled() bool { return strings.EqualFold(variable("OTEL_SDK_DISABLED"), "true") }

// asks reports whether a signal (TRACES, METRICS, LOGS) is to be exported: OTEL_<signal>_EXPORTER decides, else an endpoint in
// the environment does, else the file.
func (s settings) asks(signal string, file bool) (bool, error) {
	if s.disabled() {
		return false, nil
	}
	switch e := variable("OTEL_" + signal + "_EXPORTER"); {
	case e == "otlp":
		return true, nil
	case e == "none", e == "prometheus" && signal == "METRICS": // that reads them at the admin endpoint
		return false, nil
	case e != "":
		return false, fmt.Errorf("OTEL_%s_EXPORTER is otlp or none, not %q", signal, e)
	}
	return file || variable("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "", nil
}

// target is where a signal goes, and how.
type target struct {
	grpc     bool
	endpoint string // "": the environment has one, which the exporter reads by itself
}

// target finds out where a signal (TRACES, METRICS, LOGS) goes. path is where OTLP over HTTP has it.
func (s settings) target(signal, path string) (to target, err error) {
	if to.grpc, err = s.overGRPC(signal); err != nil {
		return to, err
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		if v := variable(name); v != "" {
			return to, checkEndpoint(name, v, to.grpc)
		}
	}
	// The exporters' own default would speak TLS, which no collector does that has just been started.
	to.endpoint = cmp.Or(s.file.Endpoint, map[bool]string{true: "http://127.0.0.1:4317", false: "http://127.0.0.1:4318"}[to.grpc])
	if !to.grpc {
		to.endpoint = strings.TrimSuffix(to.endpoint, "/") + path
	}
	return to, nil
}

// overGRPC tells the protocol of a signal.
func (s settings) overGRPC(signal string) (bool, error) {
	protocol := variable("OTEL_EXPORTER_OTLP_"+signal+"_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	if protocol == "" {
		protocol = s.file.Protocol
	}
	switch protocol {
	case "grpc", "":
		return true, nil
	case "http/protobuf":
		return false, nil
	}
	return false, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is grpc or http/protobuf, not %q", protocol)
}

// checkEndpoint refuses what an exporter would pass over in silence. For gRPC it may be no URL, as "dns:collector:4317".
func checkEndpoint(name, value string, grpc bool) error {
	u, err := url.Parse(value)
	if err == nil && (grpc || u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")) {
		return nil
	}
	return fmt.Errorf("%s is not the URL of a collector, as http://127.0.0.1:4317 is", name) // without the value: a URL may hold a secret
}

// option makes an option of an address, or none.
func option[O any](endpoint string, with func(string) O) []O {
	if endpoint == "" {
		return nil
	}
	return []O{with(endpoint)}
}

func (s settings) spanExporter(ctx context.Context) (trace.SpanExporter, error) {
	to, err := s.target("TRACES", "/v1/traces")
	switch {
	case err != nil:
		return nil, err
	case to.grpc:
		return otlptracegrpc.New(ctx, option(to.endpoint, otlptracegrpc.WithEndpointURL)...)
	}
	return otlptracehttp.New(ctx, option(to.endpoint, otlptracehttp.WithEndpointURL)...)
}

func (s settings) metricExporter(ctx context.Context) (metric.Exporter, error) {
	to, err := s.target("METRICS", "/v1/metrics")
	switch {
	case err != nil:
		return nil, err
	case to.grpc:
		return otlpmetricgrpc.New(ctx, option(to.endpoint, otlpmetricgrpc.WithEndpointURL)...)
	}
	return otlpmetrichttp.New(ctx, option(to.endpoint, otlpmetrichttp.WithEndpointURL)...)
}

func (s settings) logExporter(ctx context.Context) (log.Exporter, error) {
	to, err := s.target("LOGS", "/v1/logs")
	switch {
	case err != nil:
		return nil, err
	case to.grpc:
		return otlploggrpc.New(ctx, option(to.endpoint, otlploggrpc.WithEndpointURL)...)
	}
	return otlploghttp.New(ctx, option(to.endpoint, otlploghttp.WithEndpointURL)...)
}

// batching returns how spans are gathered: the SDK's own queue of 2,048 loses spans past 4,000 messages a second.
func batching() (options []trace.BatchSpanProcessorOption) {
	if variable("OTEL_BSP_MAX_QUEUE_SIZE") == "" {
		options = append(options, trace.WithMaxQueueSize(65_536))
	}
	if variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE") == "" {
		options = append(options, trace.WithMaxExportBatchSize(4_096))
	}
	if variable("OTEL_BSP_SCHEDULE_DELAY") == "" {
		options = append(options, trace.WithBatchTimeout(time.Second))
	}
	return options
}

// sampler returns what decides which messages are traced, and whether it leaves that to the publisher where it has decided.
func (s settings) sampler() (sampler trace.Sampler, parentBased bool, err error) {
	name, ratio := "parentbased_always_on", 1.0
	if t := s.file.Traces; t != nil {
		name, ratio = t.Sampler, t.Ratio
	}
	if v := variable("OTEL_TRACES_SAMPLER"); v != "" {
		name, ratio = v, 1
	}
	if v := variable("OTEL_TRACES_SAMPLER_ARG"); v != "" {
		if ratio, err = strconv.ParseFloat(v, 64); err != nil || ratio < 0 || ratio > 1 {
			return nil, false, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is a share from 0 to 1, not %q", v)
		}
	}
	root, parentBased := strings.CutPrefix(name, "parentbased_")
	switch root {
	case "always_on":
		sampler = trace.AlwaysSample()
	case "always_off":
		sampler = trace.NeverSample()
	case "traceidratio":
		sampler = trace.TraceIDRatioBased(ratio)
	default:
		return nil, false, fmt.Errorf("OTEL_TRACES_SAMPLER is always_on, always_off or traceidratio, each also with parentbased_ before it, not %q", name)
	}
	if parentBased {
		sampler = trace.ParentBased(sampler)
	}
	return sampler, parentBased, nil
}
