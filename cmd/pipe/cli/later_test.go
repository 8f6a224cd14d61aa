package cli

import (
	"log/slog"
	"strings"
	"testing"
)

func TestLoggersFollowTheirHandler(t *testing.T) {
	before, first := textLogger(t, "info")
	after, second := textLogger(t, "debug")
	h := newLaterHandler(before.Handler())
	log := slog.New(h).With("a", 1).WithGroup("g").With("b", 2)
	log.Debug("too small a matter")
	log.Info("early", "n", 1)
	h.set(after.Handler())
	log.Debug("late", "n", 2)
	for name, test := range map[string]struct{ got, want string }{
		"before": {first.String(), "INFO  early  a=1 g.b=2 g.n=1\n"},
		"after":  {second.String(), "DEBUG late  a=1 g.b=2 g.n=2\n"},
	} {
		if _, line, _ := strings.Cut(test.got, " "); line != test.want {
			t.Errorf("%s: logged %q, not %q", name, test.got, test.want)
		}
	}
}
