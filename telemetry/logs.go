package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

// WithTraces returns a handler that adds trace_id and span_id to what is logged about a message that is traced.
func WithTraces(h slog.Handler) slog.Handler { return traces{h} }

type traces struct{ slog.Handler }

func (h traces) Handle(ctx context.Context, r slog.Record) error {
	if c := trace.SpanContextFromContext(ctx); c.IsValid() {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", c.TraceID().String()), slog.String("span_id", c.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

func (h traces) WithAttrs(attrs []slog.Attr) slog.Handler { return traces{h.Handler.WithAttrs(attrs)} }

func (h traces) WithGroup(name string) slog.Handler { return traces{h.Handler.WithGroup(name)} }

// sdkLog takes what the SDK logs by itself, as that a variable makes no sense; without the value, which may be a secret.
type sdkLog struct{ slog.Handler }

func (h sdkLog) Handle(ctx context.Context, r slog.Record) error {
	told := slog.NewRecord(r.Time, r.Level, "telemetry: "+r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "input", "value":
		case "error", "err": // of a value, it quotes that
			if !quotes(a) {
				told.AddAttrs(a)
			}
		default:
			told.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, told)
}

func quotes(a slog.Attr) bool {
	err, ok := a.Value.Any().(error)
	var escape url.EscapeError
	return ok && errors.As(err, &escape)
}

// errorPause is how often it is logged that exporting does not work, at most.
const errorPause = time.Minute

// errorLog logs what goes wrong with exporting: once in a while, not for each batch.
type errorLog struct {
	log *slog.Logger

	mu     sync.Mutex
	logged time.Time
	silent int
}

var _ otel.ErrorHandler = (*errorLog)(nil)

func newErrorLog(log *slog.Logger) *errorLog { return &errorLog{log: log} }

// Handle implements [otel.ErrorHandler].
func (l *errorLog) Handle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.logged.IsZero() && time.Since(l.logged) < errorPause {
		l.silent++
		return
	}
	l.log.Warn("telemetry cannot be exported; messages are not affected", "error", err, "not_logged_before", l.silent)
	l.logged, l.silent = time.Now(), 0
}
