package telemetry

import (
	"context"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/pool"
)

// Snapshot is what is counted, at one moment.
type Snapshot struct {
	Pipelines   []engine.PipelineStats
	Components  []engine.ComponentStats
	Connections []Connection
}

// Connection is a connection by its name.
type Connection struct {
	Name string
	pool.Stats
}

// producer makes metrics of what is counted anyway, when a reader asks. A message costs a few atomic additions: an instrument of the SDK's
// would cost a hundred times that (BenchmarkMeasure in package engine). Each reader has a producer of its own.
type producer struct {
	read   func() Snapshot
	broken *atomic.Int64
	began  time.Time

	mu     sync.Mutex
	before time.Time
	busy   map[string]time.Duration // of stages, by pipeline and name, when they were read before
}

var _ metric.Producer = (*producer)(nil)

func newProducer(read func() Snapshot, broken *atomic.Int64) *producer {
	now := time.Now()
	return &producer{read: read, broken: broken, began: now, before: now, busy: map[string]time.Duration{}}
}

// Produce implements [metric.Producer].
func (p *producer) Produce(context.Context) ([]metricdata.ScopeMetrics, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	b := &builder{from: p.began, now: now, at: map[string]int{}}
	s := p.read()
	for i := range s.Pipelines {
		b.pipeline(&s.Pipelines[i])
	}
	for i := range s.Components {
		c := &s.Components[i]
		b.component(c)
		if c.Role == engine.RoleStage {
			p.utilization(b, c, now.Sub(p.before))
		}
	}
	p.before = now
	for i := range s.Connections {
		b.connection(&s.Connections[i])
	}
	b.count(metricBroken, "{message}", "Messages whose trace context or baggage could not be read, and was ignored", p.broken.Load())
	return []metricdata.ScopeMetrics{{Scope: instrumentation.Scope{Name: scope, SchemaURL: schemaURL}, Metrics: b.metrics}}, nil
}

// utilization tells how busy a stage was since the last look: 1 is one goroutine, all the time.
func (p *producer) utilization(b *builder, c *engine.ComponentStats, passed time.Duration) {
	key := c.Pipeline + " " + c.Name
	busy := c.Took.Sum - p.busy[key]
	p.busy[key] = c.Took.Sum
	if passed > 0 {
		b.gauge(metricUtilization, "1", "How busy a stage was since the metrics were read before: 1 is one goroutine all the time",
			max(0, busy.Seconds()/passed.Seconds()), componentAttributes(c)...)
	}
}

// builder gathers the data points of metrics.
type builder struct {
	from, now time.Time
	metrics   []metricdata.Metrics
	at        map[string]int // where a metric is, by its name
}

func (b *builder) pipeline(p *engine.PipelineStats) {
	own := attribute.String(attrPipeline, p.Name)
	where := append(messagingAttributes(p.Address), own)
	b.count(metricConsumed, "{message}", "Messages that were taken from a queue", p.In, append(where, attrOperation.String(opConsume))...)
	for _, o := range []struct {
		outcome engine.Outcome
		n       int64
	}{{engine.Ack, p.Acked}, {engine.Reject, p.Rejected}, {engine.Requeue, p.Requeued}, {engine.Abandon, p.Abandoned - p.Requeued}} {
		b.count(metricSettled, "{message}", "Deliveries that were settled, by how", o.n, own, attribute.String(attrOutcome, o.outcome.String()))
	}
	b.level(metricInFlight, "{message}", "Deliveries that are not settled yet", p.InFlight, own)
	b.count(metricFailed, "{attempt}", "Attempts at a delivery that failed", p.Failed, own)
	b.count(metricRetried, "{attempt}", "Attempts in this process after the first", p.Retried, own)
	b.count(metricDelayed, "{message}", "Deliveries that were handed to the broker, to be held until the next attempt", p.Delayed, own)
	b.count(metricTolerated, "{failure}", "Failures that on_error, fallback or on_unroutable took care of", p.Tolerated, own)
	b.count(metricUnlogged, "{failure}", "Failures that were not logged, because there were too many", p.Unlogged, own)
	b.duration(metricProcess, "How long deliveries took, from their arrival to their settlement", p.Took, append(where, attrOperation.String(opProcess))...)
	b.duration(metricLatency, "How old messages were by their timestamp, in whole seconds, when they were acknowledged", p.Latency, own)
}

func (b *builder) component(c *engine.ComponentStats) {
	own := componentAttributes(c)
	b.count(metricReceived, "{message}", "Messages that a stage or sink was handed", c.Received, own...)
	b.count(metricEmitted, "{message}", "Messages that a stage sent on, or that a sink's destination confirmed", c.Sent, own...)
	b.count(metricDiscarded, "{message}", "Messages that a stage dropped on purpose", c.Discarded, own...)
	for kind, n := range c.Errors {
		b.count(metricErrors, "{failure}", "Failures of a stage or sink, by what went wrong", n, append(slices.Clip(own), attrErrorType.String(string(kind)))...)
	}
	if c.Role == engine.RoleStage {
		b.duration(metricStage, "How long the calls of a stage took", c.Took, own...)
		return
	}
	where := append(append(messagingAttributes(c.Address), own...), attrOperation.String(opPublish))
	b.count(metricSent, "{message}", "Messages that were published, or should have been", c.Sent, where...)
	for kind, n := range c.Errors {
		b.count(metricSent, "{message}", "Messages that were published, or should have been", n, append(slices.Clip(where), attrErrorType.String(string(kind)))...)
	}
	b.level(metricUnconfirmed, "{message}", "Messages that a sink was handed and that have no outcome yet", c.InFlight(), own...)
	b.duration(metricOperation, "How long messages took to be confirmed", c.Took, append(where, attrOperationType.String(typeSend))...)
}

func (b *builder) connection(c *Connection) {
	own := attribute.String(attrConnection, c.Name)
	up := int64(0)
	if c.State == pool.StateReady || c.State == pool.StateBlocked {
		up = 1
	}
	b.level(metricUp, "1", "Whether the connection is up", up, own)
	b.level(metricBlocked, "1", "Whether the broker blocks publishers", map[bool]int64{true: 1}[c.State == pool.StateBlocked], own)
	b.seconds(metricBlockedTime, "How long the broker has blocked publishers", c.BlockedTime.Seconds(), own)
	b.count(metricReconnects, "{connection}", "Connections that were made again after a loss", int64(c.Reconnects), own)
	for _, o := range []struct {
		outcome string
		n       uint64
	}{{"confirmed", c.Confirmed}, {"returned", c.Returned}, {"nacked", c.Nacked}, {"unknown", c.Unknown}, {"refused", c.Refused}} {
		b.count(metricPublished, "{message}", "Messages that were published, by what became of them", int64(o.n), own, attribute.String(attrOutcome, o.outcome))
	}
	b.level(metricUnacked, "{message}", "Messages that were published and are not confirmed", int64(c.InFlight), own)
	b.level(metricUnsettled, "{message}", "Deliveries that are not settled", int64(c.Unsettled), own)
	b.count(metricStaleAcks, "{message}", "Settlements that were dropped, because their channel had gone", int64(c.StaleAcks), own)
	b.count(metricDoubleSettle, "{message}", "Settlements that were refused, because they came twice", int64(c.DoubleSettle), own)
}

func messagingAttributes(a engine.Address) []attribute.KeyValue {
	return appendAddress(make([]attribute.KeyValue, 0, 8), a)
}

func componentAttributes(c *engine.ComponentStats) []attribute.KeyValue {
	name := "sink." + c.Name
	if c.Role == engine.RoleStage {
		name = c.Kind + "." + c.Name
	}
	return []attribute.KeyValue{attribute.String(attrPipeline, c.Pipeline), attribute.String(attrComponent, name)}
}

// data returns the metric of a name; the first caller's unit, text and kind are made.
func (b *builder) data(name, unit, text string, kind metricdata.Aggregation) *metricdata.Metrics {
	i, ok := b.at[name]
	if !ok {
		i = len(b.metrics)
		b.at[name] = i
		b.metrics = append(b.metrics, metricdata.Metrics{Name: name, Unit: unit, Description: text, Data: kind})
	}
	return &b.metrics[i]
}

// sum adds a data point to a sum.
func sum[N int64 | float64](b *builder, name, unit, text string, monotonic bool, n N, attributes []attribute.KeyValue) {
	m := b.data(name, unit, text, metricdata.Sum[N]{Temporality: metricdata.CumulativeTemporality, IsMonotonic: monotonic})
	data := m.Data.(metricdata.Sum[N])
	data.DataPoints = append(data.DataPoints, metricdata.DataPoint[N]{
		Attributes: attribute.NewSet(slices.Clone(attributes)...), StartTime: b.from, Time: b.now, Value: n,
	})
	m.Data = data
}

// count adds what only grows, level what also falls, seconds a time that only grows.
func (b *builder) count(name, unit, text string, n int64, attributes ...attribute.KeyValue) {
	sum(b, name, unit, text, true, n, attributes)
}

func (b *builder) level(name, unit, text string, n int64, attributes ...attribute.KeyValue) {
	sum(b, name, unit, text, false, n, attributes)
}

func (b *builder) seconds(name, text string, n float64, attributes ...attribute.KeyValue) {
	sum(b, name, "s", text, true, n, attributes)
}

func (b *builder) gauge(name, unit, text string, v float64, attributes ...attribute.KeyValue) {
	m := b.data(name, unit, text, metricdata.Gauge[float64]{})
	data := m.Data.(metricdata.Gauge[float64])
	data.DataPoints = append(data.DataPoints, metricdata.DataPoint[float64]{
		Attributes: attribute.NewSet(slices.Clone(attributes)...), StartTime: b.from, Time: b.now, Value: v,
	})
	m.Data = data
}

func (b *builder) duration(name, text string, d engine.Durations, attributes ...attribute.KeyValue) {
	m := b.data(name, "s", text, metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality})
	data := m.Data.(metricdata.Histogram[float64])
	point := metricdata.HistogramDataPoint[float64]{
		Attributes: attribute.NewSet(slices.Clone(attributes)...), StartTime: b.from, Time: b.now,
		Count: d.Count(), Sum: d.Sum.Seconds(), Bounds: engine.DurationBounds, BucketCounts: slices.Clone(d.Buckets[:]),
	}
	for _, e := range d.Exemplars {
		point.Exemplars = append(point.Exemplars, exemplar(e))
	}
	data.DataPoints = append(data.DataPoints, point)
	m.Data = data
}

func exemplar(e engine.Exemplar) metricdata.Exemplar[float64] {
	traceID, _ := hex.DecodeString(e.Trace)
	spanID, _ := hex.DecodeString(e.Span)
	return metricdata.Exemplar[float64]{Time: e.At, Value: e.Took.Seconds(), TraceID: traceID, SpanID: spanID}
}

// scraped is what Prometheus reads.
type scraped struct {
	reader  metric.Reader
	handler http.Handler
}

func newScraped(p metric.Producer) (*scraped, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry), otelprometheus.WithProducer(p), otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
	)
	if err != nil {
		return nil, err
	}
	return &scraped{reader, promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})}, nil
}

// Metrics returns what Prometheus scrapes, with exemplars where it asks for OpenMetrics; nil where that is not wanted.
func (t *Telemetry) Metrics() http.Handler {
	if t.scrape == nil {
		return nil
	}
	return t.scrape.handler
}

// Measures reports whether somebody reads what is measured.
func (t *Telemetry) Measures() bool { return t.measures }
