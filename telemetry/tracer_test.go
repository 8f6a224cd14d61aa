package telemetry

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/message"
)

const (
	sampledParent   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	unsampledParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
)

// recorded returns a tracer, and what it records.
func recorded(t testing.TB, c *Config) (*tracer, *tracetest.SpanRecorder) {
	t.Helper()
	s := settingsOf(c)
	sampler, parentBased, err := s.sampler()
	if err != nil {
		t.Fatal(err)
	}
	r := tracetest.NewSpanRecorder()
	p := trace.NewTracerProvider(trace.WithSampler(trace.AlwaysSample()), trace.WithIDGenerator(ids{}), trace.WithSpanProcessor(r))
	return newTracer(p, s, sampler, parentBased, new(atomic.Int64)), r
}

func attempt(headers map[string]any) engine.Attempt {
	return engine.Attempt{Pipeline: "p", From: engine.Address{System: "rabbitmq", Destination: "q"}, Message: engine.NewMessage(nil, headers), Number: 1}
}

func ratio(r float64) *Config {
	return &Config{Traces: &Traces{Sampler: "parentbased_traceidratio", Ratio: r}}
}

func TestWhoIsTraced(t *testing.T) {
	for name, test := range map[string]struct {
		header any
		ratio  float64
		traced bool
		broken int64
		flag   string // of the header afterwards
	}{
		"publisher traces":               {sampledParent, 0, true, 0, "-01"},
		"publisher traces, as bytes":     {[]byte(sampledParent), 0, true, 0, ""},
		"publisher does not":             {unsampledParent, 1, false, 0, "-00"},
		"publisher does not, as bytes":   {[]byte(unsampledParent), 1, false, 0, ""},
		"nobody has decided":             {nil, 1, true, 0, ""},
		"nobody has decided, and we not": {nil, 0, false, 0, "-00"},
		"a later version":                {"01" + sampledParent[2:] + "-more", 0, true, 0, "-more"},
		"no version":                     {"ff" + sampledParent[2:], 1, true, 1, ""},
		"too long":                       {sampledParent + "0", 1, true, 1, ""},
		"too short":                      {sampledParent[:54], 1, true, 1, ""},
		"capitals":                       {strings.ToUpper(sampledParent), 0, false, 1, "-00"},
		"no trace id":                    {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", 0, false, 1, "-00"},
		"no parent id":                   {"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", 0, false, 1, "-00"},
		"another type":                   {int64(7), 0, false, 1, "-00"},
		"empty":                          {"", 0, false, 1, "-00"},
		"nothing":                        {any(nil), 0, false, 0, "-00"},
	} {
		t.Run(name, func(t *testing.T) {
			tracer, _ := recorded(t, ratio(test.ratio))
			a := attempt(nil)
			if test.header != nil {
				a.Message.Headers.Set("traceparent", test.header)
			}
			s := tracer.Process(a)
			if traced := s != nil; traced != test.traced {
				t.Errorf("traced: %v", traced)
			}
			if n := tracer.broken.Load(); n != test.broken {
				t.Errorf("%d broken", n)
			}
			if v, _ := a.Message.Headers.Get("traceparent"); test.flag != "" && !strings.HasSuffix(v.(string), test.flag) {
				t.Errorf("the header is %v", v)
			}
			if s != nil {
				if trace, _ := s.IDs(); test.ratio == 0 && trace != sampledParent[3:35] {
					t.Errorf("the trace is %s", trace)
				}
				s.End()
			}
		})
	}
}

// TestNobodyDecidesAgain: what a message of ours says of its trace is what pipe takes it for next time.
func TestNobodyDecidesAgain(t *testing.T) {
	first, _ := recorded(t, ratio(0))
	second, _ := recorded(t, ratio(1))
	a := attempt(nil)
	if first.Process(a) != nil || second.Process(a) != nil || second.broken.Load() != 0 {
		t.Error("a message that was not traced is")
	}
}

// TestRatio: about as many messages are traced as asked for, and each under the id that was decided about.
func TestRatio(t *testing.T) {
	tracer, spans := recorded(t, ratio(0.25))
	const n = 10_000
	for range n {
		if s := tracer.Process(attempt(nil)); s != nil {
			s.End()
		}
	}
	if got := len(spans.Ended()); got < n/5 || got > n*3/10 {
		t.Errorf("%d of %d", got, n)
	}
	sampler := trace.TraceIDRatioBased(0.25)
	for _, s := range spans.Ended() {
		p := trace.SamplingParameters{ParentContext: context.Background(), TraceID: s.SpanContext().TraceID()}
		if sampler.ShouldSample(p).Decision != trace.RecordAndSample {
			t.Fatal("another trace than the one that was decided about")
		}
	}
}

func TestBaggage(t *testing.T) {
	tracer, _ := recorded(t, ratio(1))
	a := attempt(map[string]any{"baggage": "customer=c-1"})
	ctx := tracer.Process(a).Context(t.Context())
	if _, headers := a, ctx; headers == nil || baggageOf(ctx) != "customer=c-1" {
		t.Errorf("the baggage is %q", baggageOf(ctx))
	}
	for _, broken := range []any{"=", int64(7)} {
		before := tracer.broken.Load()
		if s := tracer.Process(attempt(map[string]any{"baggage": broken, "traceparent": sampledParent})); s == nil || tracer.broken.Load() != before+1 {
			t.Errorf("%v: %v, %d broken", broken, s, tracer.broken.Load()-before)
		}
	}
}

// TestTracestate: what a vendor keeps there is passed on, and not to a trace that it is not about.
func TestTracestate(t *testing.T) {
	tracer, _ := recorded(t, ratio(1))
	for state, parent := range map[string]any{"vendor=1": sampledParent, "": "broken"} {
		a := attempt(map[string]any{"traceparent": parent, "tracestate": "vendor=1"})
		out := a.Message.Clone()
		tracer.Process(a).Publish("p", "sink.s", engine.Address{}, out)
		if v, _ := out.Headers.Get("tracestate"); state != "" && v != state || state == "" && v != nil {
			t.Errorf("after %v the tracestate is %v", parent, v)
		}
	}
}

func TestFailure(t *testing.T) {
	tracer, spans := recorded(t, ratio(1))
	s := tracer.Process(attempt(nil))
	s.Fail(&engine.Failure{Kind: "of somebody's own", Err: errors.New(strings.Repeat("é", 1000))})
	s.End()
	ended := spans.Ended()[0]
	if v := valueOf(ended, attrErrorType); v != "_OTHER" {
		t.Errorf("error.type is %q", v)
	}
	if d := ended.Status().Description; len(d) > 310 || strings.ContainsRune(d, '\uFFFD') {
		t.Errorf("%d bytes: %q", len(d), d)
	}
}

func TestAllocations(t *testing.T) {
	for name, test := range map[string]struct {
		sampler string
		header  any
		most    float64
	}{
		"unsampled parent":             {"parentbased_traceidratio", unsampledParent, 0},
		"unsampled parent, as bytes":   {"parentbased_traceidratio", []byte(unsampledParent), 0},
		"not sampled":                  {"parentbased_traceidratio", nil, 7},
		"a sampled parent, dropped":    {"traceidratio", sampledParent, 7},
		"an unsampled parent, dropped": {"traceidratio", unsampledParent, 7},
	} {
		t.Run(name, func(t *testing.T) {
			tracer, _ := recorded(t, &Config{Traces: &Traces{Sampler: test.sampler}})
			headers := map[string]any{"x-origin": "test"}
			if test.header != nil {
				headers["traceparent"] = test.header
			}
			m := &engine.Message{Headers: encoded(headers)}
			if _, ok := test.header.([]byte); ok { // bytes are decoded anyway
				m = engine.NewMessage(nil, headers)
			}
			n := testing.AllocsPerRun(1000, func() {
				a := engine.Attempt{Message: m, Number: 1}
				if test.header == nil { // it gets a header that says so
					a.Message = m.Clone()
				}
				if tracer.Process(a) != nil {
					t.Error("it is traced")
				}
			})
			if n > test.most {
				t.Errorf("%v allocations, not %v", n, test.most)
			}
		})
	}
}

// encoded returns headers as they come from a broker.
func encoded(headers map[string]any) engine.Headers {
	var e engine.EncodedHeaders = message.Encoded{}
	for k, v := range headers {
		e, _ = e.With(k, v)
	}
	return engine.HeadersFrom(e)
}

// BenchmarkTracer measures what a message costs that goes through a stage to a sink: nothing when it is not traced by its publisher's
// decision, little when it is not traced by ours, and the price of four spans.
func BenchmarkTracer(b *testing.B) {
	for name, headers := range map[string]map[string]any{
		"unsampled parent": {"traceparent": unsampledParent}, "not sampled": {"x": "y"}, "sampled": {"traceparent": sampledParent},
	} {
		b.Run(name, func(b *testing.B) {
			s := settingsOf(ratio(0))
			sampler, parentBased, _ := s.sampler()
			p := trace.NewTracerProvider(trace.WithSampler(trace.AlwaysSample()), trace.WithIDGenerator(ids{}),
				trace.WithBatcher(tracetest.NewNoopExporter()))
			defer func() { _ = p.Shutdown(context.Background()) }()
			tracer := newTracer(p, s, sampler, parentBased, new(atomic.Int64))
			m := engine.NewMessage([]byte("body"), headers)
			stage := &engine.StageNode{Kind: "filter", Name: "f"}
			b.ReportAllocs()
			for b.Loop() {
				c := m.Clone()
				s := tracer.Process(engine.Attempt{Pipeline: "p", Message: c, Number: 1})
				if s == nil {
					continue
				}
				s.Stage("p", stage, c).End()
				s.Publish("p", "sink.out", engine.Address{Destination: "x"}, c).End()
				s.Settle(engine.Ack).End()
				s.End()
			}
		})
	}
}

func baggageOf(ctx context.Context) string { return baggage.FromContext(ctx).String() }
