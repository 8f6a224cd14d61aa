// Package telemetry tells an OpenTelemetry backend what happens to messages: traces, metrics and logs. It exports nothing unless a file
// or an environment variable asks for it.
//
// No message ever waits for a backend. Spans wait in a queue of a bounded length, and are dropped where it is full; counters are
// kept anyway, and read when somebody asks; what is exported is given up at a deadline.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/sourcegraph/conc"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/pipeamqp/pipe/engine"
)

// Options are what a program says about telemetry, beside a file.
type Options struct {
	// Version is that of the program.
	Version string
	// Logger takes what goes wrong with exporting; default: nothing is logged.
	Logger *slog.Logger
	// Read returns what is counted. It is called from any goroutine, and must not be nil where metrics are wanted.
	Read func() Snapshot
	// Scraped says that Prometheus can scrape the program.
	Scraped bool
	// Terminal, if set, is shown one trace in Every; one message in Every where traces are not exported. Messages are not changed for it.
	Terminal Printer
	Every    int
}

// Telemetry is a set-up at work. Its methods are safe to call from many goroutines.
type Telemetry struct {
	tracer   *tracer
	broken   *atomic.Int64
	scrape   *scraped
	measures bool
	logs     *log.LoggerProvider
	closes   []func(context.Context) error
}

// closeTimeout is how long what has not been exported yet may take at the end.
const closeTimeout = 5 * time.Second

// Start sets up what c and the environment ask for. It does not dial: a backend that is not there is tried again while the program
// runs. It returns an error only for a setting that makes no sense.
func Start(ctx context.Context, c *Config, o Options) (*Telemetry, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := settingsOf(c)
	t := &Telemetry{broken: new(atomic.Int64)}
	res, err := resourceOf(ctx, s.file, o.Version)
	if err != nil {
		return nil, fmt.Errorf("describe the service: %w", err)
	}
	otel.SetErrorHandler(newErrorLog(o.Logger))
	otel.SetLogger(logr.FromSlogHandler(sdkLog{o.Logger.Handler()}))
	err = errors.Join(t.startTraces(ctx, s, res, o), t.startMetrics(ctx, s, res, o), t.startLogs(ctx, s, res))
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// resourceOf describes the program. The environment wins: it comes last.
func resourceOf(ctx context.Context, c *Config, version string) (*resource.Resource, error) {
	return resource.New(ctx,
		resource.WithSchemaURL(schemaURL),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithAttributes(semconv.ServiceName(c.ServiceName), semconv.ServiceVersion(version), semconv.ServiceInstanceID(instance())),
		resource.WithFromEnv(),
	)
}

// instance tells this process from others of the service.
func instance() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

func (t *Telemetry) startTraces(ctx context.Context, s settings, res *resource.Resource, o Options) error {
	options := []trace.TracerProviderOption{
		trace.WithResource(res), trace.WithSampler(trace.AlwaysSample()), trace.WithIDGenerator(ids{}),
	}
	exported, err := s.asks("TRACES", s.file.Traces != nil)
	if err != nil || !exported && o.Terminal == nil {
		return err
	}
	sampler, parentBased, err := s.sampler()
	if err != nil {
		return err
	}
	every := uint64(max(1, o.Every))
	if exported {
		e, err := s.spanExporter(ctx)
		if err != nil {
			return fmt.Errorf("export traces: %w", err)
		}
		options = append(options, trace.WithSpanProcessor(trace.NewBatchSpanProcessor(e, batching()...)))
	} else { // only what is shown is traced
		sampler, parentBased, every = &oneIn{n: every}, false, 1
	}
	if o.Terminal != nil {
		options = append(options, trace.WithSpanProcessor(newTerminal(o.Terminal, every)))
	}
	p := trace.NewTracerProvider(options...)
	t.closes = append(t.closes, p.Shutdown)
	t.tracer = newTracer(p, s, sampler, parentBased, t.broken)
	t.tracer.private = !exported
	return nil
}

func (t *Telemetry) startMetrics(ctx context.Context, s settings, res *resource.Resource, o Options) error {
	exported, err := s.asks("METRICS", s.file.Metrics != nil && s.file.Metrics.OTLP)
	if err != nil {
		return err
	}
	wantScrape := o.Scraped && (s.file.Metrics == nil || s.file.Metrics.Prometheus) && !s.disabled()
	if o.Read == nil || !exported && !wantScrape {
		return nil
	}
	var readers []metric.Option
	if exported {
		e, err := s.metricExporter(ctx)
		if err != nil {
			return fmt.Errorf("export metrics: %w", err)
		}
		readers = append(readers, metric.WithReader(metric.NewPeriodicReader(e, metric.WithProducer(newProducer(o.Read, t.broken)))))
	}
	if wantScrape {
		if t.scrape, err = newScraped(newProducer(o.Read, t.broken)); err != nil {
			return fmt.Errorf("prepare /metrics: %w", err)
		}
		readers = append(readers, metric.WithReader(t.scrape.reader))
	}
	t.measures = true
	provider := metric.NewMeterProvider(append(readers, metric.WithResource(res))...)
	t.closes = append(t.closes, provider.Shutdown)
	return nil
}

func (t *Telemetry) startLogs(ctx context.Context, s settings, res *resource.Resource) error {
	exported, err := s.asks("LOGS", s.file.Logs != nil && s.file.Logs.OTLP)
	if err != nil || !exported {
		return err
	}
	e, err := s.logExporter(ctx)
	if err != nil {
		return fmt.Errorf("export logs: %w", err)
	}
	t.logs = log.NewLoggerProvider(log.WithResource(res), log.WithProcessor(log.NewBatchProcessor(e)))
	t.closes = append(t.closes, t.logs.Shutdown)
	return nil
}

// Tracer returns what follows messages; nil where nothing is traced.
func (t *Telemetry) Tracer() engine.Tracer {
	if t.tracer == nil {
		return nil
	}
	return t.tracer
}

// LogHandler returns what exports the log; nil where that is not asked for.
func (t *Telemetry) LogHandler() slog.Handler {
	if t.logs == nil {
		return nil
	}
	return otelslog.NewHandler(scope, otelslog.WithLoggerProvider(t.logs))
}

// Close exports what is left, for five seconds at most, and stops. What is not exported then is lost; that is no error.
func (t *Telemetry) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	t.close(ctx)
	return nil
}

func (t *Telemetry) close(ctx context.Context) {
	var closing conc.WaitGroup // a backend that does not answer takes no time from the others
	for _, shutdown := range t.closes {
		closing.Go(func() { _ = shutdown(ctx) }) // the error handler has told of what went wrong
	}
	closing.Wait()
}

// appendAddress appends what is known of an address.
func appendAddress(attributes []attribute.KeyValue, a engine.Address) []attribute.KeyValue {
	if a.System != "" {
		attributes = append(attributes, attrSystem.String(a.System))
	}
	if a.Destination != "" {
		attributes = append(attributes, attrDestination.String(a.Destination))
	}
	if a.Server != "" {
		attributes = append(attributes, attrServer.String(a.Server), attrPort.Int(a.Port))
	}
	return attributes
}
