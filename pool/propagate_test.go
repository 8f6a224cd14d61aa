package pool

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// TestPropagation has a trace context go through a queue by every way of publishing and of receiving.
func TestPropagation(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	both := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	p := start(t, Options{URLs: []string{url}, Propagator: both})
	want := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	luggage, err := baggage.Parse("customer=c-1")
	if err != nil {
		t.Fatal(err)
	}
	ctx := baggage.ContextWithBaggage(trace.ContextWithSpanContext(within(t, patience), want), luggage)
	message := func() *Publishing { return &Publishing{RoutingKey: "q", Mandatory: true} }
	same := func(how string, ctx context.Context) {
		t.Helper()
		if got := trace.SpanContextFromContext(ctx); got.TraceID() != want.TraceID() || got.SpanID() != want.SpanID() || !got.IsSampled() {
			t.Errorf("%s: the context is %v", how, got)
		}
		if got := baggage.FromContext(ctx).String(); got != "customer=c-1" {
			t.Errorf("%s: the baggage is %q", how, got)
		}
	}

	mine := message()
	mine.Headers = Table{"own": "header"}
	kept := mine.Headers
	if err := p.Publish(ctx, mine); err != nil {
		t.Fatal(err)
	}
	if len(kept) != 1 {
		t.Errorf("the caller's table is %v", kept)
	}
	d := got(t, p, "q")
	same("Publish and Get", d.Context(t.Context()))
	if d.Headers["own"] != "header" {
		t.Errorf("the headers are %v", d.Headers)
	}
	d.Ack()

	told := make(chan error, 1)
	p.PublishAsync(ctx, message(), func(r Result) { told <- r.Err })
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	listening, stop := context.WithCancel(within(t, patience))
	defer stop()
	handled := false
	err = p.Listen(listening, "q", func(ctx context.Context, _ *Delivery) error {
		same("PublishAsync and Listen", ctx)
		handled = true
		stop()
		return nil
	}, ListenerOptions{})
	if err != nil || !handled {
		t.Errorf("%v, %v", handled, err)
	}

	bytes := message() // as other programs may write them
	bytes.Headers = Table{"traceparent": []byte("00-01000000000000000000000000000000-0200000000000000-01"), "baggage": []byte("customer=c-1")}
	foreign := message()
	foreign.Headers = Table{"traceparent": int64(7), "baggage": Table{"customer": "c-1"}, "tracestate": []byte{0xff}}
	for _, m := range []*Publishing{bytes, foreign} {
		if err := p.Publish(within(t, patience), m); err != nil {
			t.Fatal(err)
		}
	}
	d = got(t, p, "q")
	same("bytes", d.Context(t.Context()))
	d.Ack()
	d = got(t, p, "q")
	if ctx := d.Context(t.Context()); trace.SpanContextFromContext(ctx).IsValid() || baggage.FromContext(ctx).Len() > 0 {
		t.Errorf("a context out of rubbish: %v", d.Headers)
	}
	d.Ack()

	if err := p.Publish(within(t, patience), message()); err != nil { // nothing to carry
		t.Fatal(err)
	}
	d = got(t, p, "q")
	defer d.Ack()
	if len(d.Headers) != 0 || trace.SpanContextFromContext(d.Context(t.Context())).IsValid() {
		t.Errorf("a context out of nothing: %v", d.Headers)
	}
}
