package devbroker_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/internal/devbroker"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

var update = flag.Bool("update", false, "write down what the broker does")

// check is one of testdata/conformance: commands, and what comes of each.
type check struct {
	name    string
	reasons []string // why brokers differ
	steps   []*step
}

// step is a command, and what comes of it by broker: "" is RabbitMQ 3.10, and every other that is not named.
type step struct {
	command string
	out     map[string][]string
}

// The brokers that may differ from RabbitMQ 3.10, as they are called in the files.
const (
	dev       = "dev"
	rabbitmq4 = "4"
)

func (s *step) want(broker string) []string {
	if out, ok := s.out[broker]; ok {
		return out
	}
	return s.out[""]
}

func readChecks(t *testing.T, file string) (all []*check) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, "## "); ok {
			all = append(all, &check{name: name})
			continue
		}
		if line == "" {
			continue
		}
		c := all[len(all)-1]
		if why, ok := strings.CutPrefix(line, "# "); ok {
			c.reasons = append(c.reasons, why)
			continue
		}
		broker, out, isOut := strings.Cut(line, "> ")
		if !isOut || broker != "" && broker != dev && broker != rabbitmq4 {
			c.steps = append(c.steps, &step{command: line, out: map[string][]string{}})
			continue
		}
		s := c.steps[len(c.steps)-1]
		s.out[broker] = append(s.out[broker], out)
	}
	return all
}

func writeChecks(t *testing.T, file string, all []*check) {
	t.Helper()
	var b strings.Builder
	for i, c := range all {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "## %s\n", c.name)
		for _, why := range c.reasons {
			fmt.Fprintf(&b, "# %s\n", why)
		}
		for _, s := range c.steps {
			fmt.Fprintln(&b, s.command)
			for _, broker := range []string{"", rabbitmq4, dev} {
				for _, line := range s.out[broker] {
					fmt.Fprintf(&b, "%s> %s\n", broker, line)
				}
			}
		}
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The same checks run on this broker and on a RabbitMQ, and the same comes of them, but for what the files name.
func TestConformance(t *testing.T) {
	t.Run("devbroker", func(t *testing.T) {
		s := start(t, devbroker.Options{})
		conforms(t, dev, func(t *testing.T) string {
			s.AddVHost(t.Name())
			return s.VHostURL(t.Name())
		})
	})
	t.Run("RabbitMQ", func(t *testing.T) {
		node := testbroker.Shared(t)
		version, err := node.Ctl(t.Context(), "version")
		if err != nil {
			t.Fatal(err)
		}
		broker := ""
		if strings.HasPrefix(version, "4.") {
			broker = rabbitmq4
		}
		conforms(t, broker, func(t *testing.T) string { return testbroker.VHost(t) })
	})
}

// conforms runs all checks, those of each file in a virtual host of its own.
func conforms(t *testing.T, broker string, vhost func(*testing.T) string) {
	files, err := filepath.Glob("testdata/conformance/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		checks := readChecks(t, file)
		n += len(checks)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			if *update {
				defer writeChecks(t, file, checks)
			} else {
				t.Parallel()
			}
			url := vhost(t)
			for _, c := range checks {
				t.Run(c.name, func(t *testing.T) { c.run(t, broker, url) })
			}
		})
	}
	if n < 150 {
		t.Errorf("there are %d checks", n)
	}
}

func (c *check) run(t *testing.T, broker, url string) {
	a := newActor(t, url)
	defer a.clear()
	for _, s := range c.steps {
		got := a.do(s.command)
		if len(got) == 0 {
			got = []string{"ok"}
		}
		if *update {
			delete(s.out, broker)
			if broker == "" || !slices.Equal(got, s.out[""]) {
				s.out[broker] = got
			}
			continue
		}
		if want := s.want(broker); !slices.Equal(got, want) {
			t.Errorf("%s\n\tcame to %s\n\tinstead of %s", s.command, strings.Join(got, "\n\t\t"), strings.Join(want, "\n\t\t"))
		}
		if len(c.reasons) == 0 && (len(s.out[dev]) > 0 || len(s.out[rabbitmq4]) > 0) {
			t.Errorf("%s: brokers differ, and nobody says why", s.command)
		}
	}
}

func TestMain(m *testing.M) { os.Exit(testbroker.Main(m)) }
