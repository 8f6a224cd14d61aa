package telemetry

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// TestSettings: nothing is exported unless it is asked for, and the environment wins.
func TestSettings(t *testing.T) {
	traces := &Config{Traces: &Traces{}}
	for name, test := range map[string]struct {
		env  map[string]string
		file *Config
		want bool
		err  string
	}{
		"nothing":               {nil, nil, false, ""},
		"a file":                {nil, traces, true, ""},
		"an endpoint":           {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, nil, true, ""},
		"another's endpoint":    {map[string]string{"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://x"}, nil, false, ""},
		"an exporter":           {map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, nil, true, ""},
		"no exporter":           {map[string]string{"OTEL_TRACES_EXPORTER": "none"}, traces, false, ""},
		"an empty one":          {map[string]string{"OTEL_TRACES_EXPORTER": ""}, traces, true, ""},
		"disabled":              {map[string]string{"OTEL_SDK_DISABLED": "true"}, traces, false, ""},
		"another exporter":      {map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, nil, false, "zipkin"},
		"a protocol of no use":  {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, traces, false, "http/json"},
		"a sampler of no use":   {map[string]string{"OTEL_TRACES_SAMPLER": "xray"}, traces, false, "xray"},
		"a ratio of no use":     {map[string]string{"OTEL_TRACES_SAMPLER_ARG": "2"}, traces, false, "share"},
		"a sampler that is off": {map[string]string{"OTEL_TRACES_SAMPLER": "always_off"}, traces, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			setAll(t, test.env)
			c := test.file
			if c != nil {
				c = &Config{Protocol: "grpc", Traces: &Traces{Sampler: "always_on", Ratio: 1}}
			}
			started, err := Start(t.Context(), c, Options{Logger: slog.New(slog.DiscardHandler)})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer started.Close()
			if got := started.Tracer() != nil; got != test.want {
				t.Errorf("traced: %v", got)
			}
		})
	}
}

// TestEndpoints: the environment's win, then the file's; the default is a collector of this machine that speaks no TLS.
func TestEndpoints(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		file Config
		grpc bool
		want string // "" where the exporter reads the environment
		err  string
	}{
		"default":                  {nil, Config{}, true, "http://127.0.0.1:4317", ""},
		"default, HTTP":            {nil, Config{Protocol: "http/protobuf"}, false, "http://127.0.0.1:4318/v1/traces", ""},
		"the file's":               {nil, Config{Endpoint: "https://c:1"}, true, "https://c:1", ""},
		"the file's, HTTP":         {nil, Config{Endpoint: "https://c:1/otlp/", Protocol: "http/protobuf"}, false, "https://c:1/otlp/v1/traces", ""},
		"the environment's":        {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:1"}, Config{Endpoint: "http://c:1"}, true, "", ""},
		"the signal's":             {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://e:1"}, Config{Endpoint: "http://c:1"}, true, "", ""},
		"the protocol":             {map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, Config{Protocol: "grpc"}, false, "http://127.0.0.1:4318/v1/traces", ""},
		"the signal's protocol":    {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, Config{Protocol: "http/protobuf"}, true, "http://127.0.0.1:4317", ""},
		"a name that gRPC knows":   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "dns:collector:4317"}, Config{}, true, "", ""},
		"no URL":                   {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "127.0.0.1:4317"}, Config{}, true, "", "OTEL_EXPORTER_OTLP_ENDPOINT is not the URL"},
		"no URL of HTTP":           {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, Config{Protocol: "http/protobuf"}, false, "", "OTEL_EXPORTER_OTLP_ENDPOINT is not the URL"},
		"no URL, of one signal":    {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "://"}, Config{}, true, "", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is not the URL"},
		"an empty one is no other": {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, Config{Endpoint: "http://c:1"}, true, "http://c:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			setAll(t, test.env)
			to, err := settingsOf(&test.file).target("TRACES", "/v1/traces")
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("the error is %v", err)
				}
			case err != nil || to.grpc != test.grpc || to.endpoint != test.want:
				t.Errorf("%+v, %v", to, err)
			}
		})
	}
}

// TestSamplers: which sampler the file and the environment make together.
func TestSamplers(t *testing.T) {
	name, arg := "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	ratio := &Traces{Sampler: "parentbased_traceidratio", Ratio: 0.25}
	for what, test := range map[string]struct {
		env         map[string]string
		file        *Traces
		want        string
		parentBased bool
	}{
		"nothing":                {nil, nil, "AlwaysOnSampler", true},
		"a file":                 {nil, ratio, "TraceIDRatioBased{0.25}", true},
		"a file, not the parent": {nil, &Traces{Sampler: "traceidratio", Ratio: 0.5}, "TraceIDRatioBased{0.5}", false},
		"off":                    {nil, &Traces{Sampler: "parentbased_always_off", Ratio: 1}, "AlwaysOffSampler", true},
		"a name wins":            {map[string]string{name: "always_on"}, ratio, "AlwaysOnSampler", false},
		"with its own ratio":     {map[string]string{name: "traceidratio"}, ratio, "TraceIDRatioBased{1}", false},
		"a ratio wins":           {map[string]string{arg: "0.125"}, ratio, "TraceIDRatioBased{0.125}", true},
		"both win":               {map[string]string{name: "traceidratio", arg: "0.125"}, ratio, "TraceIDRatioBased{0.125}", false},
		"empty ones do not":      {map[string]string{name: "", arg: ""}, ratio, "TraceIDRatioBased{0.25}", true},
	} {
		t.Run(what, func(t *testing.T) {
			setAll(t, test.env)
			s, parentBased, err := settingsOf(&Config{Traces: test.file}).sampler()
			if err != nil {
				t.Fatal(err)
			}
			got := s.Description()
			if parentBased {
				got, _, _ = strings.Cut(strings.TrimPrefix(got, "ParentBased{root:"), ",")
			}
			if got != test.want || parentBased != test.parentBased {
				t.Errorf("%s, after the parent: %v", got, parentBased)
			}
		})
	}
}

// TestServiceName: the environment wins over the file, and that over the default.
func TestServiceName(t *testing.T) {
	for want, test := range map[string]struct {
		env  map[string]string
		file string
	}{
		"pipe":            {},
		"of the file":     {file: "of the file"},
		"of a variable":   {map[string]string{"OTEL_SERVICE_NAME": "of a variable"}, "of the file"},
		"of an attribute": {map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "service.name=of an attribute,team=a"}, "of the file"},
	} {
		t.Run(want, func(t *testing.T) {
			setAll(t, test.env)
			r, err := resourceOf(t.Context(), settingsOf(&Config{ServiceName: test.file}).file, "1.0")
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := r.Set().Value(semconv.ServiceNameKey); v.AsString() != want || r.SchemaURL() != schemaURL {
				t.Errorf("%s", r)
			}
		})
	}
}

// TestWhoReadsMetrics: what is measured, and whether Prometheus can read it.
func TestWhoReadsMetrics(t *testing.T) {
	for name, test := range map[string]struct {
		env                map[string]string
		file               *Metrics
		admin              bool
		measures, scraping bool
	}{
		"nobody":                      {nil, nil, false, false, false},
		"an admin endpoint":           {nil, nil, true, true, true},
		"a file that wants none":      {nil, &Metrics{}, true, false, false},
		"a file, and no endpoint":     {nil, &Metrics{Prometheus: true}, false, false, false},
		"a file that exports":         {nil, &Metrics{OTLP: true}, true, true, false},
		"a variable":                  {map[string]string{"OTEL_METRICS_EXPORTER": "otlp"}, &Metrics{}, false, true, false},
		"a variable for none":         {map[string]string{"OTEL_METRICS_EXPORTER": "none"}, &Metrics{OTLP: true}, false, false, false},
		"a variable for Prometheus":   {map[string]string{"OTEL_METRICS_EXPORTER": "prometheus"}, &Metrics{OTLP: true, Prometheus: true}, true, true, true},
		"a variable for Prometheus 2": {map[string]string{"OTEL_METRICS_EXPORTER": "prometheus"}, &Metrics{OTLP: true}, false, false, false},
		"disabled":                    {map[string]string{"OTEL_SDK_DISABLED": "TRUE"}, &Metrics{OTLP: true, Prometheus: true}, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			setAll(t, test.env)
			started, err := Start(t.Context(), &Config{Metrics: test.file}, Options{Scraped: test.admin, Read: func() Snapshot { return Snapshot{} }})
			if err != nil {
				t.Fatal(err)
			}
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			defer started.close(ended) // nobody is there to export to
			if started.Measures() != test.measures || (started.Metrics() != nil) != test.scraping {
				t.Errorf("measures: %v, is scraped: %v", started.Measures(), started.Metrics() != nil)
			}
			if h := started.Metrics(); h != nil {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
				if !strings.Contains(w.Body.String(), `service_name="pipe"`) {
					t.Errorf("the page is\n%s", w.Body)
				}
			}
		})
	}
}

// TestLogsAreExportedWhenAsked: by the file or by a variable, and not with the rest of a file.
func TestLogsAreExportedWhenAsked(t *testing.T) {
	for name, test := range map[string]struct {
		env  map[string]string
		file *Logs
		want bool
	}{
		"nobody asks":                {nil, nil, false},
		"only a level":               {nil, &Logs{Level: "debug"}, false},
		"a file":                     {nil, &Logs{OTLP: true}, true},
		"a variable":                 {map[string]string{"OTEL_LOGS_EXPORTER": "otlp"}, nil, true},
		"a variable against a file":  {map[string]string{"OTEL_LOGS_EXPORTER": "none"}, &Logs{OTLP: true}, false},
		"disabled, whatever is said": {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_LOGS_EXPORTER": "otlp"}, &Logs{OTLP: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			setAll(t, test.env)
			started, err := Start(t.Context(), &Config{Traces: nil, Logs: test.file}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer started.Close()
			if got := started.LogHandler() != nil; got != test.want {
				t.Errorf("exported: %v", got)
			}
		})
	}
}

// TestSDKLogsLikePipe: what the SDK has to say goes where everything else does, without secrets.
func TestSDKLogsLikePipe(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Bearer hidden1,api-key=%hidden2")
	var said bytes.Buffer
	started, err := Start(t.Context(), &Config{Traces: &Traces{Sampler: "always_on"}}, Options{Logger: slog.New(slog.NewJSONHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	for _, want := range []string{`"level":"ERROR"`, "/no/such/file", "parse headers", "escape header value"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, said.String())
		}
	}
	if strings.Contains(said.String(), "hidden") {
		t.Errorf("it tells a secret:\n%s", said.String())
	}
}

func setAll(t *testing.T, env map[string]string) {
	t.Helper()
	for key, value := range env {
		t.Setenv(key, value)
	}
}
