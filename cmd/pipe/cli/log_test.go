package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

func textLogger(t *testing.T, level string) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	log, _, err := (&logFlags{format: "text", level: level}).logger(&out, false, false)
	if err != nil {
		t.Fatal(err)
	}
	return log, &out
}

func TestTextLog(t *testing.T) {
	for name, test := range map[string]struct {
		write func(*slog.Logger)
		want  string
	}{
		"plain":              {func(l *slog.Logger) { l.Info("ready") }, "INFO  ready\n"},
		"attributes":         {func(l *slog.Logger) { l.Warn("slow", "n", 3, "who", "a b") }, `WARN  slow  n=3 who="a b"` + "\n"},
		"error ends":         {func(l *slog.Logger) { l.Error("stopped", "pipeline", "x", "error", errors.New("no queue")) }, "ERROR stopped: no queue  pipeline=x\n"},
		"lines are indented": {func(l *slog.Logger) { l.Error("stopped", "error", errors.New("a\nb")) }, "ERROR stopped: a\n    b\n"},
		"stack comes last":   {func(l *slog.Logger) { l.Warn("failed", "stack", "f\ng\n", "n", 1) }, "WARN  failed  n=1\n    f\n    g\n"},
		"bound attributes":   {func(l *slog.Logger) { l.With("pipeline", "x").Info("go", "n", 1) }, "INFO  go  pipeline=x n=1\n"},
		"groups":             {func(l *slog.Logger) { l.WithGroup("g").With("a", 1).Info("go", slog.Group("h", "b", 2)) }, "INFO  go  g.a=1 g.h.b=2\n"},
		"awkward values":     {func(l *slog.Logger) { l.Info("go", "e", "", "c", "\x1b[31m", "q", `"`) }, `INFO  go  e="" c="\x1b[31m" q="\""` + "\n"},
		"too small a matter": {func(l *slog.Logger) { l.Debug("hidden") }, ""},
		"siblings are apart": {func(l *slog.Logger) {
			base := l.With("a", 1)
			left, right := base.With("l", 1), base.With("r", 1)
			left.Info("x")
			right.Info("y")
		}, "INFO  x  a=1 l=1\nINFO  y  a=1 r=1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			log, out := textLogger(t, "info")
			test.write(log)
			got := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d `).ReplaceAllString(out.String(), "")
			if got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestLogFormats(t *testing.T) {
	for name, test := range map[string]struct {
		flags    logFlags
		terminal bool
		want     string // what a line starts with
		fails    string
	}{
		"auto on a terminal": {flags: logFlags{"auto", "info"}, terminal: true, want: "INFO"},
		"auto elsewhere":     {flags: logFlags{"auto", "info"}, want: `{"time"`},
		"text elsewhere":     {flags: logFlags{"text", "info"}, want: "INFO"},
		"json on a terminal": {flags: logFlags{"json", "info"}, terminal: true, want: `{"time"`},
		"unknown format":     {flags: logFlags{"xml", "info"}, fails: "--log-format"},
		"unknown level":      {flags: logFlags{"auto", "loud"}, fails: "--log-level"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log, _, err := test.flags.logger(&out, test.terminal, false)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("error %v, want one about %s", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			log.Info("ready")
			if !strings.Contains(out.String(), test.want) {
				t.Errorf("got %q, want something with %q", out.String(), test.want)
			}
		})
	}
}
