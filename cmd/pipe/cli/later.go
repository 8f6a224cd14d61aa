package cli

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// laterHandler hands over to a handler that may be replaced, whatever loggers have been made of it meanwhile.
type laterHandler struct {
	to   *atomic.Pointer[slog.Handler]
	with func(slog.Handler) slog.Handler // adds the attributes and groups of this logger
}

func newLaterHandler(h slog.Handler) laterHandler {
	l := laterHandler{to: new(atomic.Pointer[slog.Handler]), with: func(h slog.Handler) slog.Handler { return h }}
	l.set(h)
	return l
}

// set has everything that is logged from now on go to h.
func (l laterHandler) set(h slog.Handler) { l.to.Store(&h) }

func (l laterHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return (*l.to.Load()).Enabled(ctx, level)
}

func (l laterHandler) Handle(ctx context.Context, r slog.Record) error {
	return l.with(*l.to.Load()).Handle(ctx, r)
}

func (l laterHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return l.then(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (l laterHandler) WithGroup(name string) slog.Handler {
	return l.then(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (l laterHandler) then(more func(slog.Handler) slog.Handler) laterHandler {
	return laterHandler{to: l.to, with: func(h slog.Handler) slog.Handler { return more(l.with(h)) }}
}
