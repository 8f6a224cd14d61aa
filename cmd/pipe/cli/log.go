package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/spf13/cobra"
)

// logFlags are the flags of commands that log.
type logFlags struct {
	format string
	level  string
}

func (f *logFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.format, "log-format", "auto", "`format` of the log: auto (text on a terminal, JSON elsewhere), text or json")
	cmd.Flags().StringVar(&f.level, "log-level", "", "least `level` to log: debug, info, warn or error (default info, or what the files say)")
}

// levels are the levels by their names in flags and files.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// logger makes a logger that writes to w; terminal says whether w is one. The level may be changed later.
func (f *logFlags) logger(w io.Writer, terminal, colour bool) (*slog.Logger, *slog.LevelVar, error) {
	level := new(slog.LevelVar)
	if f.level != "" {
		l, ok := levels[f.level]
		if !ok {
			return nil, nil, fmt.Errorf("--log-level is debug, info, warn or error, not %q", f.level)
		}
		level.Set(l)
	}
	switch {
	case f.format == "text", f.format == "auto" && terminal:
		return slog.New(&textHandler{w: w, level: level, colour: colour, mu: new(sync.Mutex)}), level, nil
	case f.format == "json", f.format == "auto":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: durationsAsText})), level, nil
	default:
		return nil, nil, fmt.Errorf("--log-format is auto, text or json, not %q", f.format)
	}
}

// durationsAsText makes durations of the JSON log what they are elsewhere, as "1.5s".
func durationsAsText(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.String())
	}
	return a
}

// textHandler writes log records for people:
//
//	15:04:05 WARN  message failed: body.total: not a number  pipeline=orders component=map.shape
type textHandler struct {
	w      io.Writer
	level  slog.Leveler
	colour bool
	mu     *sync.Mutex

	attrs []slog.Attr // with the groups around them in their keys
	group string      // prefix of keys
}

var _ slog.Handler = (*textHandler)(nil)

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = h.attrs[:len(h.attrs):len(h.attrs)]
	for _, a := range attrs {
		c.attrs = flatten(c.attrs, h.group, a)
	}
	return &c
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.group = h.group + name + "."
	return &c
}

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs[:len(h.attrs):len(h.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = flatten(attrs, h.group, a)
		return true
	})
	var b strings.Builder
	if !r.Time.IsZero() {
		b.WriteString(paint(h.colour, dim, r.Time.Format("15:04:05")) + " ")
	}
	b.WriteString(paint(h.colour, levelStyle(r.Level), fmt.Sprintf("%-5s", r.Level)))
	b.WriteString(" " + r.Message)
	h.writeAttrs(&b, attrs)
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, b.String())
	return err
}

// writeAttrs writes the error first, as the end of the sentence, and stacks last, on lines of their own.
func (h *textHandler) writeAttrs(b *strings.Builder, attrs []slog.Attr) {
	var stack string
	for _, a := range attrs {
		if a.Key == "error" {
			b.WriteString(": " + strings.ReplaceAll(a.Value.String(), "\n", "\n    "))
		}
	}
	gap := "  "
	for _, a := range attrs {
		switch a.Key {
		case "error":
		case "stack":
			stack = "\n" + strings.TrimRight(a.Value.String(), "\n")
		default:
			b.WriteString(gap + paint(h.colour, dim, a.Key+"=") + quoteIfNeeded(a.Value.String()))
			gap = " "
		}
	}
	b.WriteString(strings.ReplaceAll(stack, "\n", "\n    "))
}

// flatten appends a with its groups in its key.
func flatten(attrs []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			attrs = flatten(attrs, prefix, member)
		}
		return attrs
	}
	if a.Key == "" && value.Equal(slog.Value{}) {
		return attrs
	}
	return append(attrs, slog.Attr{Key: prefix + a.Key, Value: value})
}

func levelStyle(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return red
	case l >= slog.LevelWarn:
		return yellow
	case l >= slog.LevelInfo:
		return green
	default:
		return dim
	}
}

func quoteIfNeeded(s string) string {
	awkward := func(r rune) bool { return r == '"' || r == '=' || !unicode.IsPrint(r) || unicode.IsSpace(r) }
	if s == "" || strings.ContainsFunc(s, awkward) {
		return strconv.Quote(s)
	}
	return s
}
