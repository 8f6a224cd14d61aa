package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
	sinkamqp "github.com/pipeamqp/pipe/sinks/amqp"
	sourceamqp "github.com/pipeamqp/pipe/sources/amqp"
	"github.com/pipeamqp/pipe/stages/drop"
	"github.com/pipeamqp/pipe/stages/filter"
	stagelog "github.com/pipeamqp/pipe/stages/log"
	mapper "github.com/pipeamqp/pipe/stages/map"
	"github.com/pipeamqp/pipe/stages/route"
	"github.com/pipeamqp/pipe/stages/split"
)

var update = flag.Bool("update", false, "write what comes out into the golden files")

// registry has the components that files of these tests name.
func registry() *engine.Registry {
	r := new(engine.Registry)
	r.Source("amqp", sourceamqp.New)
	r.Sink("amqp", sinkamqp.New)
	r.Stage("drop", drop.New)
	r.Stage("filter", filter.New)
	r.Stage("map", mapper.New)
	r.Stage("route", route.New)
	r.Stage("split", split.New)
	r.Stage("log", stagelog.New)
	r.Aggregator("gather", newGather)
	return r
}

// example is a txtar file: pipeline files, what the command line and the environment say, and the diagnostics wanted.
//
//	-- options --
//	var limit=5
//	var-file values.hcl
//	env AMQP_URL=amqp://host
type example struct {
	archive *txtar.Archive
	paths   []string
	options config.Options
	want    string
}

func parseExample(data []byte) *example {
	x := &example{archive: txtar.Parse(data)}
	x.options = config.Options{Registry: registry(), Vars: map[string]string{}}
	environ := map[string]string{}
	for _, f := range x.archive.Files {
		switch {
		case f.Name == "want":
			x.want = string(f.Data)
		case f.Name == "options":
			for line := range strings.Lines(string(f.Data)) {
				what, value, _ := strings.Cut(strings.TrimSpace(line), " ")
				name, text, _ := strings.Cut(value, "=")
				switch what {
				case "var":
					x.options.Vars[name] = text
				case "var-file":
					x.options.VarFiles = append(x.options.VarFiles, value)
				case "env":
					environ[name] = text
				}
			}
		case strings.HasSuffix(f.Name, ".hcl") && !strings.HasPrefix(f.Name, "values"):
			x.paths = append(x.paths, f.Name)
		}
	}
	x.options.Environ = func(name string) (string, bool) {
		v, ok := environ[name]
		return v, ok
	}
	return x
}

// load loads the example's files in a folder of their own.
func (x *example) load(t testing.TB) (*config.Config, string, bool) {
	t.Helper()
	dir := t.TempDir()
	for _, f := range x.archive.Files {
		path := filepath.Join(dir, f.Name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, f.Data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	c, diags := config.Load(x.paths, x.options)
	var b bytes.Buffer
	if err := config.WriteDiagnostics(&b, c.Files(), diags, 100, false); err != nil {
		t.Fatal(err)
	}
	return c, b.String(), !diags.HasErrors()
}

// TestDiagnostics holds what is said about wrong files: testdata/diagnostics/*.txtar. Write what comes out with
// go test ./config -run TestDiagnostics -update, and read it as its reader will.
func TestDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/diagnostics/*.txtar")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			file, _ := filepath.Abs(file)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			x := parseExample(data)
			_, got, _ := x.load(t)
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is shown:\n%s", got)
			}
			if got == x.want {
				return
			}
			if !*update {
				t.Errorf("got:\n%s\nwant:\n%s", got, x.want)
				return
			}
			x.archive.Files = append(x.archive.Files[:0:0], x.archive.Files...)
			for i := range x.archive.Files {
				if x.archive.Files[i].Name == "want" {
					x.archive.Files = append(x.archive.Files[:i], x.archive.Files[i+1:]...)
					break
				}
			}
			x.archive.Files = append(x.archive.Files, txtar.File{Name: "want", Data: []byte(got)})
			if err := os.WriteFile(file, txtar.Format(x.archive), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}
