package telemetry

// Config is what a file says about telemetry. The standard OTEL_* environment variables win over it.
type Config struct {
	_ struct{} `doc:"What is told to an OpenTelemetry backend. Without this block, and without OTEL_* environment variables that ask for it, nothing is exported. The variables win over what is written here. It is read at start, not at a reload. See docs/tracing.md."`

	ServiceName string   `hcl:"service_name,optional" default:"pipe" doc:"What the backend calls this program. OTEL_SERVICE_NAME wins."`
	Endpoint    string   `hcl:"endpoint,optional" doc:"Where the collector is, as http://127.0.0.1:4317. Default: that port of this machine, 4318 for http/protobuf. OTEL_EXPORTER_OTLP_ENDPOINT wins."`
	Protocol    string   `hcl:"protocol,optional" default:"grpc" enum:"grpc,http/protobuf" doc:"How the collector is spoken to. OTEL_EXPORTER_OTLP_PROTOCOL wins."`
	Traces      *Traces  `hcl:"traces,block" doc:"Export traces."`
	Metrics     *Metrics `hcl:"metrics,block" doc:"Export metrics."`
	Logs        *Logs    `hcl:"logs,block" doc:"What is logged, and whether it is exported."`
}

// Traces say which messages are traced, and how.
type Traces struct {
	Relation string  `hcl:"relation,optional" default:"parent" enum:"parent,link" doc:"Whether the work on a message is part of its publisher's trace, or a trace of its own that links to it."`
	Detail   string  `hcl:"detail,optional" default:"spans" enum:"spans,events" doc:"Whether each stage is a span, or an event of the message's span, which costs less."`
	Sampler  string  `hcl:"sampler,optional" default:"parentbased_traceidratio" enum:"always_on,always_off,traceidratio,parentbased_always_on,parentbased_always_off,parentbased_traceidratio" doc:"Which messages are traced. Those that begin with parentbased leave it to the publisher where it has decided. OTEL_TRACES_SAMPLER wins."`
	Ratio    float64 `hcl:"ratio,optional" default:"1" min:"0" max:"1" doc:"The share of messages that the sampler takes. OTEL_TRACES_SAMPLER_ARG wins."`
}

// Metrics say where metrics go.
type Metrics struct {
	OTLP       bool `hcl:"otlp,optional" default:"true" doc:"Send them to the collector."`
	Prometheus bool `hcl:"prometheus,optional" default:"true" doc:"Let Prometheus scrape them at /metrics of run --admin."`
}

// Logs say what is logged.
type Logs struct {
	Level string `hcl:"level,optional" default:"info" enum:"debug,info,warn,error" doc:"The least level that is logged. run --log-level wins."`
	OTLP  bool   `hcl:"otlp,optional" doc:"Send the log to the collector too."`
}
