package telemetry

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pipeamqp/pipe/engine"
)

// tracer makes the spans of messages. What most messages go through is Process alone, which looks at one header: it allocates nothing for a
// message whose publisher has decided that it is not traced. BenchmarkTracer and TestAllocations watch that.
type tracer struct {
	tracer      trace.Tracer
	sampler     sdktrace.Sampler // decides here; the SDK is asked only for what is traced
	parentBased bool
	linked      bool // a message begins a trace of its own
	events      bool // stages are events
	private     bool // nobody elsewhere sees the spans: messages keep the headers that they have
	broken      *atomic.Int64
}

var _ engine.Tracer = (*tracer)(nil)

func newTracer(p trace.TracerProvider, s settings, sampler sdktrace.Sampler, parentBased bool, broken *atomic.Int64) *tracer {
	t := &tracer{
		tracer:  p.Tracer(scope, trace.WithSchemaURL(schemaURL)),
		sampler: sampler, parentBased: parentBased, broken: broken,
	}
	if f := s.file.Traces; f != nil {
		t.linked, t.events = f.Relation == "link", f.Detail == "events"
	}
	return t
}

// Process implements [engine.Tracer].
func (t *tracer) Process(a engine.Attempt) engine.Span {
	if a.Before != nil {
		return t.begin(a, a.Before.Context(context.Background()), nil)
	}
	if t.private {
		if s := t.returned(a); s != nil {
			return s
		}
	}
	context := t.look(&a.Message.Headers)
	if context == unsampled && t.parentBased {
		return nil
	}
	if context == none {
		return t.root(a)
	}
	return t.continued(a)
}

// returned goes on with a trace of a tracer that is private; nil for a message that has no such trace.
func (t *tracer) returned(a engine.Attempt) engine.Span {
	text, ok := a.Message.Headers.Text(privateParent)
	if !ok {
		return nil
	}
	a.Message.Headers.Delete(privateParent)
	ctx := traceContext.Extract(context.Background(), propagation.MapCarrier{traceparent: text})
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}
	return t.begin(a, ctx, nil)
}

// look finds out what the headers say, and counts what is broken.
func (t *tracer) look(h *engine.Headers) contextKind {
	kind := none
	if text, ok := h.Text(traceparent); ok {
		kind = classify(text)
	} else if v, ok := h.Get(traceparent); !ok {
		return none
	} else if bytes, ok := v.([]byte); ok {
		kind = classify(bytes)
	}
	if kind == none {
		t.broken.Add(1)
	}
	return kind
}

var (
	traceContext = propagation.TraceContext{}
	bothContexts = propagation.NewCompositeTextMapPropagator(traceContext, propagation.Baggage{})
)

// continued goes on with a trace that somebody else has begun.
func (t *tracer) continued(a engine.Attempt) engine.Span {
	ctx := t.extract(&a.Message.Headers)
	parent := trace.SpanContextFromContext(ctx)
	if !parent.IsValid() { // the propagator is stricter than classify
		t.broken.Add(1)
		return t.root(a)
	}
	sampled := t.sampler.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: ctx, TraceID: parent.TraceID(), Name: opProcess, Kind: trace.SpanKindConsumer,
	})
	if sampled.Decision != sdktrace.RecordAndSample {
		return nil
	}
	link := trace.Link{SpanContext: parent}
	if t.linked && a.Number == 1 { // later attempts stay in the trace of the first
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	return t.begin(a, ctx, &link)
}

// extract reads the trace context and the baggage.
func (t *tracer) extract(h *engine.Headers) context.Context {
	ctx := bothContexts.Extract(context.Background(), carrier{h})
	if v, ok := h.Get("baggage"); ok && baggage.FromContext(ctx).Len() == 0 && v != "" {
		t.broken.Add(1)
	}
	return ctx
}

// root begins a trace, or notes in the headers that there is none, so that whoever comes next decides no other way.
func (t *tracer) root(a engine.Attempt) engine.Span {
	id := newTraceID()
	sampled := t.sampler.ShouldSample(sdktrace.SamplingParameters{
		ParentContext: context.Background(), TraceID: id, Name: opProcess, Kind: trace.SpanKindConsumer,
	})
	if sampled.Decision != sdktrace.RecordAndSample {
		if !t.private {
			a.Message.Headers.Set(traceparent, notTraced(id))
			a.Message.Headers.Delete("tracestate")
		}
		return nil
	}
	ctx := context.WithValue(context.Background(), idKey{}, id)
	if _, ok := a.Message.Headers.Get("baggage"); ok {
		ctx = context.WithValue(t.extract(&a.Message.Headers), idKey{}, id)
		ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{})
	}
	return t.begin(a, ctx, nil)
}

// begin begins the span of an attempt, below what ctx has.
func (t *tracer) begin(a engine.Attempt, ctx context.Context, link *trace.Link) engine.Span {
	attributes := t.messaging(a.Pipeline, opProcess, typeProcess, a.From)
	attributes = append(attributes, ofMessage(a.Message)...)
	attributes = append(attributes, attribute.Int(attrAttempt, a.Number))
	if a.Tag > 0 {
		attributes = append(attributes, attrDeliveryTag.Int64(int64(a.Tag)))
	}
	if a.Message.Redelivered {
		attributes = append(attributes, attribute.Bool(attrRedelivered, true))
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attributes...)}
	if link != nil {
		options = append(options, trace.WithLinks(*link))
	}
	ctx, s := t.tracer.Start(ctx, spanName(opProcess, a.From.Destination), options...)
	return &span{tracer: t, Span: s, ctx: ctx, from: a.From, pipeline: a.Pipeline}
}

// Group implements [engine.Tracer]: a group is a trace of its own, with a link to each member that is traced.
func (t *tracer) Group(pipeline string, n *engine.StageNode, members []engine.Span) engine.Span {
	var links []trace.Link
	for _, m := range members {
		if s, ok := m.(*span); ok {
			links = append(links, trace.Link{SpanContext: s.SpanContext()})
		}
	}
	if links == nil {
		return nil
	}
	ctx, s := t.tracer.Start(context.Background(), spanName(n.Kind, n.Name),
		trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindInternal), trace.WithLinks(links...),
		trace.WithAttributes(
			attribute.String(attrPipeline, pipeline), attribute.String(attrComponent, n.Kind+"."+n.Name), attrBatchCount.Int(len(members))))
	return &span{tracer: t, Span: s, ctx: ctx, pipeline: pipeline}
}

// messaging returns the attributes of an operation.
func (t *tracer) messaging(pipeline, operation, kind string, at engine.Address) []attribute.KeyValue {
	attributes := make([]attribute.KeyValue, 0, 16)
	attributes = append(attributes, attrOperation.String(operation), attrOperationType.String(kind), attribute.String(attrPipeline, pipeline))
	return appendAddress(attributes, at)
}

// ofMessage returns what is told of a message itself.
func ofMessage(m *engine.Message) []attribute.KeyValue {
	attributes := make([]attribute.KeyValue, 0, 4)
	attributes = append(attributes, attrBodySize.Int(len(m.Body)))
	for _, a := range [...]attribute.KeyValue{
		attrMessageID.String(m.Properties.MessageID), attrConversation.String(m.Properties.CorrelationID), attrRoutingKey.String(m.RoutingKey),
	} {
		if a.Value.AsString() != "" {
			attributes = append(attributes, a)
		}
	}
	return attributes
}

func spanName(operation, where string) string {
	if where == "" {
		return operation
	}
	return operation + " " + where
}

// span is a span of the SDK's, as the engine knows one.
type span struct {
	trace.Span
	tracer   *tracer
	ctx      context.Context // with the span in it, and the baggage
	from     engine.Address  // of an attempt
	pipeline string
}

func (s *span) Context(ctx context.Context) context.Context {
	ctx = trace.ContextWithSpan(ctx, s.Span)
	if b := baggage.FromContext(s.ctx); b.Len() > 0 {
		ctx = baggage.ContextWithBaggage(ctx, b)
	}
	return ctx
}

func (s *span) IDs() (string, string) {
	c := s.SpanContext()
	return c.TraceID().String(), c.SpanID().String()
}

func (s *span) End() { s.Span.End() }

func (s *span) Discard() { s.SetAttributes(attribute.String(attrOutcome, outcomeDiscard)) }

func (s *span) Fail(f *engine.Failure) {
	s.SetStatus(codes.Error, cut(f.Message()))
	s.SetAttributes(attrErrorType.String(string(f.Kind.Listed())))
}

// cut shortens what a status says.
func cut(text string) string {
	const most = 300
	if len(text) <= most {
		return text
	}
	end := most
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

func (s *span) child(name string, kind trace.SpanKind, attributes []attribute.KeyValue) *span {
	ctx, c := s.tracer.tracer.Start(s.ctx, name, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	return &span{tracer: s.tracer, Span: c, ctx: ctx, from: s.from, pipeline: s.pipeline}
}

func (s *span) Stage(pipeline string, n *engine.StageNode, _ *engine.Message) engine.Span {
	attributes := []attribute.KeyValue{attribute.String(attrPipeline, pipeline), attribute.String(attrComponent, n.Kind+"."+n.Name)}
	name := spanName(n.Kind, n.Name)
	if s.tracer.events {
		return &event{span: s, name: name, attributes: attributes, began: time.Now()}
	}
	return s.child(name, trace.SpanKindInternal, attributes)
}

func (s *span) Publish(pipeline, component string, to engine.Address, m *engine.Message) engine.Span {
	attributes := s.tracer.messaging(pipeline, opPublish, typeSend, to)
	attributes = append(attributes, attribute.String(attrComponent, component), attrBodySize.Int(len(m.Body)))
	if id := m.Properties.MessageID; id != "" {
		attributes = append(attributes, attrMessageID.String(id))
	}
	if id := m.Properties.CorrelationID; id != "" {
		attributes = append(attributes, attrConversation.String(id))
	}
	where := to.Destination
	if where == "" {
		where = component
	}
	c := s.child(spanName(opPublish, where), trace.SpanKindProducer, attributes)
	if s.tracer.private {
		c.keep(component, &m.Headers)
	} else {
		c.inject(&m.Headers)
	}
	return c
}

// inject tells whoever consumes a message what it belongs to.
func (s *span) inject(h *engine.Headers) {
	traceContext.Inject(s.ctx, carrier{h})
	if s.SpanContext().TraceState().Len() == 0 {
		h.Delete("tracestate")
	}
}

// keep has a message that the broker is to hold carry what it belongs to, until it comes back and returned takes it off.
func (s *span) keep(component string, h *engine.Headers) {
	if component == engine.RetryComponent {
		own := propagation.MapCarrier{}
		traceContext.Inject(s.ctx, own)
		h.Set(privateParent, own[traceparent])
	}
}

func (s *span) Settle(o engine.Outcome) engine.Span {
	s.SetAttributes(attribute.String(attrOutcome, o.String()))
	operation := map[engine.Outcome]string{engine.Ack: opAck, engine.Reject: opReject, engine.Requeue: opNack}[o]
	if operation == "" {
		return nil
	}
	return s.child(spanName(operation, s.from.Destination), trace.SpanKindClient, s.tracer.messaging(s.pipeline, operation, typeSettle, s.from))
}

// event is a stage that is an event of the message's span, not a span of its own.
type event struct {
	*span
	name       string
	attributes []attribute.KeyValue
	began      time.Time
}

func (e *event) Discard() {
	e.attributes = append(e.attributes, attribute.String(attrOutcome, outcomeDiscard))
}

func (e *event) Fail(f *engine.Failure) {
	e.attributes = append(e.attributes, attrErrorType.String(string(f.Kind.Listed())))
}

func (e *event) End() {
	took := attribute.Float64(attrStage, time.Since(e.began).Seconds())
	e.AddEvent(e.name, trace.WithTimestamp(e.began), trace.WithAttributes(append(slices.Clip(e.attributes), took)...))
}

// carrier reads and writes headers for a propagator. A header that is no text is as good as none.
type carrier struct{ h *engine.Headers }

func (c carrier) Get(key string) string {
	switch v, _ := c.h.Get(key); v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func (c carrier) Set(key, value string) { c.h.Set(key, value) }

func (c carrier) Keys() (keys []string) {
	for key := range c.h.All() {
		keys = append(keys, key)
	}
	return keys
}

// ids gives a trace the id that its sampling was decided with.
type ids struct{}

type idKey struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(idKey{}).(trace.TraceID)
	if !ok {
		id = newTraceID()
	}
	return id, newSpanID()
}

func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID { return newSpanID() }

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		putRandom(id[:8])
		putRandom(id[8:])
	}
	return id
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		putRandom(id[:])
	}
	return id
}

func putRandom(b []byte) {
	n := rand.Uint64()
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
}

// notTraced is the header of a message that is not traced.
func notTraced(id trace.TraceID) string {
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:35], id[:])
	b[35] = '-'
	parent := newSpanID()
	hex.Encode(b[36:52], parent[:])
	copy(b[52:], "-00")
	return string(b[:])
}

// oneIn samples one message in n, whatever their publishers have decided.
type oneIn struct {
	n    uint64
	seen atomic.Uint64
}

func (s *oneIn) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	decision := sdktrace.Drop
	if (s.seen.Add(1)-1)%s.n == 0 {
		decision = sdktrace.RecordAndSample
	}
	return sdktrace.SamplingResult{Decision: decision, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
}

func (s *oneIn) Description() string { return "OneIn" }
