// Package telemetry follows messages through programs that export over OTLP: a publisher, pipe, and a consumer, each a process of its own.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/pipeamqp/pipe/cmd/pipe/cli"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/pipetest"
)

// role is the environment variable that makes the test binary another program.
const role = "PIPE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "publisher", "consumer":
		if err := peer(os.Getenv(role), os.Args[1], os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "pipe":
		cli.Main(cli.Register(func(r *engine.Registry) { r.Aggregator("join", newJoin) }))
	default:
		os.Exit(pipetest.Main(m))
	}
}

// join is a stage that makes one message of a group: the bodies, one after the other.
type join struct{}

func newJoin(struct{}) (join, error) { return join{}, nil }

func (join) Aggregate(_ context.Context, group []*engine.Message, emit func(*engine.Message)) error {
	var bodies []string
	for _, m := range group {
		bodies = append(bodies, string(m.Body))
	}
	emit(engine.NewMessage([]byte(strings.Join(bodies, "+")), nil))
	return nil
}

// peer is a program that has nothing of pipe in it: it publishes messages to a queue, or consumes them, and traces that as the conventions
// say. The standard variables tell it where to export.
func peer(what, url, queue, count string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	client := otlptracegrpc.NewClient()
	if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "http/protobuf" {
		client = otlptracehttp.NewClient()
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return err
	}
	p := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter), sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", what))))
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	work := map[string]func(context.Context, trace.Tracer, *amqp.Channel, string, int) error{"publisher": publishTo, "consumer": consumeFrom}[what]
	return errors.Join(work(ctx, p.Tracer("peer"), ch, queue, n), p.Shutdown(ctx))
}

var propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

type table amqp.Table

func (t table) Get(key string) string { s, _ := t[key].(string); return s }
func (t table) Set(key, value string) { t[key] = value }
func (t table) Keys() (keys []string) { return nil }

func publishTo(ctx context.Context, t trace.Tracer, ch *amqp.Channel, queue string, n int) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	for i := range n {
		ctx, s := t.Start(ctx, "publish "+queue, trace.WithSpanKind(trace.SpanKindProducer))
		headers := amqp.Table{"baggage": "customer=c-1"}
		propagator.Inject(ctx, table(headers))
		c, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{
			Headers: headers, MessageId: fmt.Sprint("m-", i), CorrelationId: "talk-1", ContentType: "application/json",
			Body: fmt.Appendf(nil, `{"n":%d,"items":[{"k":1},{"k":2}]}`, i),
		})
		if err != nil || !c.Wait() {
			return fmt.Errorf("not confirmed: %w", err)
		}
		s.End()
	}
	return nil
}

func consumeFrom(ctx context.Context, t trace.Tracer, ch *amqp.Channel, queue string, n int) error {
	deliveries, err := ch.ConsumeWithContext(ctx, queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for range n {
		select {
		case d := <-deliveries:
			if b, _ := d.Headers["baggage"].(string); !strings.Contains(b, "customer=c-1") && queue != "joined" {
				return fmt.Errorf("the baggage is %q", b)
			}
			parent := propagator.Extract(ctx, table(d.Headers))
			_, s := t.Start(parent, "process "+queue, trace.WithSpanKind(trace.SpanKindConsumer))
			if err := d.Ack(false); err != nil {
				return err
			}
			s.End()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// runPeer runs a peer to its end.
func runPeer(t *testing.T, what, url, queue string, n int, env []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], url, queue, strconv.Itoa(n))
	cmd.Env = append(append(os.Environ(), role+"="+what), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s of %s: %v\n%s", what, queue, err, out)
	}
}
