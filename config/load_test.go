package config_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

// loaded loads a file that must be good.
func loaded(t *testing.T, archive string) *config.Config {
	t.Helper()
	c, said, ok := parseExample([]byte(archive)).load(t)
	if !ok {
		t.Fatal(said)
	}
	return c
}

func TestPipelinesOfTheProject(t *testing.T) {
	files, err := filepath.Glob("../pipelines/*.hcl")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range append(files, "../pipelines") {
		if _, diags := config.Load([]string{path}, config.Options{Registry: registry()}); diags.HasErrors() && path != "../pipelines" {
			t.Errorf("%s: %v", path, diags)
		}
	}
}

// TestVariables expects that the command line wins over files, files over the environment, and that over defaults.
func TestVariables(t *testing.T) {
	const file = `
-- p.hcl --
variable "v" { default = "default" }
variable "n" {
  type    = number
  default = 1
}
variable "many" {
  type    = list(string)
  default = []
}
locals {
  both = "${var.v} ${var.n}"
}
pipeline "p" {
  source "amqp" { queue = local.both }
  sink "amqp" "out" { queue = join("-", var.many) == "" ? "none" : join("-", var.many) }
}
-- values.hcl --
v    = "file"
many = ["a", "b"]
-- values2.hcl --
v = "second file"
`
	for _, test := range []struct{ options, queue string }{
		{"", "default 1"},
		{"env PIPE_VAR_v=environment\nenv PIPE_VAR_n=5", "environment 5"},
		{"env PIPE_VAR_v=environment\nvar-file values.hcl", "file 1"},
		{"var-file values.hcl\nvar-file values2.hcl", "second file 1"},
		{"var-file values.hcl\nvar v=line\nvar n=2\nenv PIPE_VAR_v=environment", "line 2"},
		{`var many=["x"]`, "default 1"},
	} {
		t.Run(test.options, func(t *testing.T) {
			c := loaded(t, file+"-- options --\n"+test.options+"\n")
			queue := reflect.ValueOf(c.Pipelines[0].Source).Elem().FieldByName("queue").Elem().FieldByName("Name").String()
			if queue != test.queue {
				t.Errorf("%q, not %q", queue, test.queue)
			}
		})
	}
}

func TestTopology(t *testing.T) {
	c := loaded(t, `
-- p.hcl --
connection "main" { url = "amqp://broker/v" }
connection "other" { url = "amqp://other" }
declare {
  exchange "x" { type = "topic" }
  exchange "renamed" {
    name = "y"
    type = "headers"
  }
  queue "q" {
    type        = "quorum"
    dead_letter = exchange.x
    message_ttl = "1m"
    max_length_bytes = "1MB"
    arguments   = { x-own = { nested = [1, "a", true] } }
  }
  binding {
    from = exchange.x
    to   = queue.q
    keys = ["a.#", "b"]
  }
  binding {
    from      = exchange.renamed
    to        = exchange.x
    arguments = { x-match = "all", region = "eu" }
  }
}
declare {
  connection = connection.other
  queue "away" { passive = true }
}
pipeline "p" {
  source "amqp" { queue = queue.q }
  sink "amqp" "main" { exchange = exchange.renamed }
  sink "amqp" "away" {
    connection = connection.other
    queue      = queue.away
  }
}
`)
	if got := slices.Sorted(func(yield func(string) bool) {
		for name := range c.Connections {
			if !yield(name) {
				return
			}
		}
	}); !slices.Equal(got, []string{"main", "other"}) {
		t.Error(got)
	}
	if got := c.Connections["main"].Redacted(); got != "amqp://guest@broker:5672/v" {
		t.Error(got)
	}
	u := c.Uses["p"]
	if !slices.Equal(u.Connections, []string{"main", "other"}) {
		t.Errorf("%+v", u)
	}
	for _, want := range []config.Entity{
		{Connection: "main", Kind: "queue", Name: "q"},
		{Connection: "main", Kind: "exchange", Name: "y"},
		{Connection: "main", Kind: "exchange", Name: "x"},
		{Connection: "other", Kind: "queue", Name: "away"},
	} {
		if !slices.Contains(u.Entities, want) {
			t.Errorf("%+v is not in %+v", want, u.Entities)
		}
	}
}

// TestNodes expects the engine's pipelines as the files say.
func TestNodes(t *testing.T) {
	c := loaded(t, `
-- p.hcl --
pipeline "p" {
  order_by    = msg.headers.customer
  concurrency = 4
  unmatched   = "drop"
  source "amqp" { queue = "in" }
  stage "filter" "f" {
    keep        = body.a
    when        = body.b
    on_error    = sink.failed
    timeout     = "2s"
    concurrency = 3
  }
  stage "gather" "g" {
    unit = "kg"
    group {
      age   = "1s"
      size  = 10
      bytes = "2KB"
      key   = body.key
    }
  }
  stage "route" "r" {
    default { to = [sink.routed, pipeline.branch] }
  }
  sink "amqp" "all" { queue = "all" }
  sink "amqp" "routed" { queue = "routed" }
  sink "amqp" "failed" { queue = "failed" }
}
pipeline "branch" {
  sink "amqp" "all" { queue = "branch" }
}
`)
	if len(c.Pipelines) != 2 || c.Pipelines[1].Source != nil || !slices.Equal(c.Uses["p"].Branches, []string{"branch"}) {
		t.Fatalf("%+v, %+v", c.Pipelines, c.Uses)
	}
	p := c.Pipelines[0]
	if p.Name != "p" || p.Order != engine.OrderByKey || p.Concurrency != 4 || !p.DropUnmatched {
		t.Errorf("%+v", p)
	}
	m := engine.NewMessage([]byte(`{"key":"k","b":true}`), map[string]any{"customer": "c"})
	if key, err := p.OrderKey(m); err != nil || key != "c" {
		t.Errorf("%q, %v", key, err)
	}
	f, g := p.Stages[0], p.Stages[1]
	if f.Kind != "filter" || f.Name != "f" || f.Timeout != 2*time.Second || f.Concurrency != 3 ||
		f.OnError != (engine.OnError{Action: engine.OnErrorSend, Target: engine.Target{Name: "failed"}}) {
		t.Errorf("%+v", f)
	}
	if applies, err := f.When(m); err != nil || !applies {
		t.Errorf("%v, %v", applies, err)
	}
	if g.Aggregator == nil || g.Group.Age != time.Second || g.Group.Size != 10 || g.Group.Bytes != 2000 {
		t.Errorf("%+v", g)
	}
	if key, err := g.Group.Key(m); err != nil || key != "k" {
		t.Errorf("%q, %v", key, err)
	}
	if got := g.Aggregator.(*gather).gatherConfig; got.Max != 10 || got.Unit != "kg" {
		t.Errorf("%+v", got)
	}
	for _, s := range p.Sinks {
		if s.Named != (s.Name != "all") {
			t.Errorf("%s: named %v", s.Name, s.Named)
		}
	}
	runsInMemory(t, p, c.Pipelines[1])
}

// runsInMemory runs the pipelines with other sources and sinks.
func runsInMemory(t *testing.T, pipelines ...*engine.Pipeline) {
	t.Helper()
	source := enginetest.NewSource(engine.NewMessage([]byte(`{"a":true,"b":true,"key":"k"}`), map[string]any{"customer": "c"}))
	sink := new(enginetest.Sink)
	for _, p := range pipelines {
		if p.Source != nil {
			p.Source = source
		}
		for i := range p.Sinks {
			p.Sinks[i].Sink = sink
		}
	}
	r, err := engine.NewRunner(engine.RunOptions{}, pipelines...)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(sink.Received()) != 3 {
		t.Errorf("%d messages were sent, not 3", len(sink.Received()))
	}
}

// TestFolders expects the files of a folder, and several paths, as one configuration.
func TestFolders(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	folder := filepath.Dir(write("a/2.hcl", "pipeline \"two\" {\n  sink \"amqp\" \"o\" { queue = local.q }\n}\n"))
	write("a/1.hcl", "pipeline \"one\" {\n  source \"amqp\" { queue = \"in\" }\n  stage \"route\" \"r\" {\n    default { to = [pipeline.two] }\n  }\n}\n")
	write("a/notes.txt", "not HCL {")
	single := write("b.hcl", "locals { q = \"q\" }\n")
	c, diags := config.Load([]string{folder, single}, config.Options{Registry: registry()})
	if diags.HasErrors() || len(c.Pipelines) != 2 || c.Pipelines[0].Name != "one" {
		t.Errorf("%v, %+v", diags, c.Pipelines)
	}
	empty := t.TempDir()
	for _, path := range []string{empty, filepath.Join(dir, "none"), write("c.hcl", "\x00\xff")} {
		if _, diags := config.Load([]string{path}, config.Options{Registry: registry()}); !diags.HasErrors() {
			t.Errorf("%s: no error", path)
		}
	}
}

func TestDescribe(t *testing.T) {
	c, _ := registry().Lookup(engine.RoleAggregator, "gather")
	d := config.Describe(c)
	var text, page bytes.Buffer
	if err := d.WriteText(&text, 60); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteMarkdown(&page, 1); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`stage "gather" "NAME" { … }`, "Makes one message of a group.",
		"max  (whole number; 1 to 100; default 10)", `unit  (string; required; "kg" or "lb")`,
		"As in every stage that works on groups:", "group { … }  (required)", "bytes  (size; at least 1)",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	for _, want := range []string{"# `stage \"gather\" \"NAME\"`", "| `max` | whole number; 1 to 100; default 10 | The most. |", "### Block `group`"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s", want, page.String())
		}
	}
	for line := range strings.Lines(text.String()) {
		if len([]rune(line)) > 61 && !strings.Contains(line, "(") {
			t.Errorf("a line of %d columns: %s", len(line), line)
		}
	}
}

// FuzzLoad expects diagnostics of whatever is in a file, and no panic.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/diagnostics/*.txtar")
	more, _ := filepath.Glob("../pipelines/*.hcl")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range parseExample(data).archive.Files {
			if strings.HasSuffix(part.Name, ".hcl") {
				f.Add(part.Data)
			}
		}
	}
	for _, file := range more {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	dir := f.TempDir()
	file := filepath.Join(dir, "p.hcl")
	r := registry()
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c, diags := config.Load([]string{file}, config.Options{
			Registry: r, Environ: func(string) (string, bool) { return "", false },
		})
		var b bytes.Buffer
		if err := config.WriteDiagnostics(&b, c.Files(), diags, 80, true); err != nil {
			t.Fatal(err)
		}
		for _, d := range diags {
			if d.Summary == "" || d.Detail == "" {
				t.Errorf("a diagnostic without words: %+v", d)
			}
		}
	})
}
