package telemetry

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
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
	switch e := variable("OTEL_" + signal + "_EXPORTER"); e {
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	case "":
	default:
		return false, fmt.Errorf("OTEL_%s_EXPORTER is otlp or none, not %q", signal, e)
	}
	return file || variable("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "", nil
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

// endpoint returns the address that the file gives, unless the environment has one, which the exporter reads by itself.
func (s settings) endpoint(signal string) string {
	if variable("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		return ""
	}
	return s.file.Endpoint
}

// httpEndpoint adds the path that OTLP over HTTP has for a signal.
func (s settings) httpEndpoint(signal, path string) string {
	e := s.endpoint(signal)
	if e == "" {
		return ""
	}
	return strings.TrimSuffix(e, "/") + path
}

// option makes an option of an address, or none.
func option[O any](endpoint string, with func(string) O) []O {
	if endpoint == "" {
		return nil
	}
	return []O{with(endpoint)}
}

func (s settings) spanExporter(ctx context.Context) (trace.SpanExporter, error) {
	grpc, err := s.overGRPC("TRACES")
	switch {
	case err != nil:
		return nil, err
	case grpc:
		return otlptrace.New(ctx, otlptracegrpc.NewClient(option(s.endpoint("TRACES"), otlptracegrpc.WithEndpointURL)...))
	}
	return otlptrace.New(ctx, otlptracehttp.NewClient(option(s.httpEndpoint("TRACES", "/v1/traces"), otlptracehttp.WithEndpointURL)...))
}

func (s settings) metricExporter(ctx context.Context) (metric.Exporter, error) {
	grpc, err := s.overGRPC("METRICS")
	switch {
	case err != nil:
		return nil, err
	case grpc:
		return otlpmetricgrpc.New(ctx, option(s.endpoint("METRICS"), otlpmetricgrpc.WithEndpointURL)...)
	}
	return otlpmetrichttp.New(ctx, option(s.httpEndpoint("METRICS", "/v1/metrics"), otlpmetrichttp.WithEndpointURL)...)
}

func (s settings) logExporter(ctx context.Context) (log.Exporter, error) {
	grpc, err := s.overGRPC("LOGS")
	switch {
	case err != nil:
		return nil, err
	case grpc:
		return otlploggrpc.New(ctx, option(s.endpoint("LOGS"), otlploggrpc.WithEndpointURL)...)
	}
	return otlploghttp.New(ctx, option(s.httpEndpoint("LOGS", "/v1/logs"), otlploghttp.WithEndpointURL)...)
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
