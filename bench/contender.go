package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// urlVariable is the environment variable with the broker's URL, for every contender.
const urlVariable = "AMQP_URL"

// contender is a program that does a workload until it gets SIGTERM.
type contender struct {
	name string
	w    workload
	n    int // messages a drain
	// args and env are its command line, and what is added to its environment.
	args, env []string
}

// bench is what the experiments share.
type bench struct {
	settings
	url, dir string
	self     string // this program
	broker   int    // its process
	sink     *httptest.Server
}

func (b *bench) close() {
	if b.sink != nil {
		b.sink.Close()
	}
}

// command makes the process of a contender. The environment tells one that is not ours what there is to do.
func (b *bench) command(ctx context.Context, c *contender) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), urlVariable+"="+b.url, "BENCH_WORKLOAD="+c.w.name, "BENCH_MESSAGES="+strconv.Itoa(c.n),
		"BENCH_IN=bench.in", "BENCH_EXCHANGE=bench", "BENCH_OUT=bench.out")
	cmd.Env = append(cmd.Env, c.env...)
	return cmd
}

// file writes the pipeline file of a workload.
func (b *bench) file(w *workload) (string, error) {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, w.name)
	path := filepath.Join(b.dir, name+".hcl")
	return path, os.WriteFile(path, []byte(strings.ReplaceAll(w.hcl, "QUEUE_TYPE", b.queue)), 0o600)
}

// pipe is pipe as a contender.
func (b *bench) pipe(name, binary string, w workload, n int, more ...string) (contender, error) {
	file, err := b.file(&w)
	if err != nil {
		return contender{}, err
	}
	return contender{name: name, w: w, n: n, args: slices.Concat([]string{binary, "run"}, more, []string{file})}, nil
}

func (b *bench) loop(name string, w workload, n int, more ...string) contender {
	return contender{name: name, w: w, n: n, args: append([]string{b.self, "loop", "-workload", w.name}, more...)}
}

// The names of contenders that the report knows.
const (
	theLoop     = "loop"
	theTutorial = "tutorial loop"
	thePipe     = "pipe"
)

// all are the contenders for a workload.
func (b *bench) all(w workload) ([]contender, error) {
	one := b.loop("loop, one processor", w, b.messages)
	one.env = []string{"GOMAXPROCS=1"}
	cs := []contender{b.loop(theLoop, w, b.messages), one}
	if w.bytewise != nil {
		cs = append(cs, b.loop("loop on bytes", w, b.messages, "-bytes"))
	}
	if b.full {
		cs = append(cs, b.loop(theTutorial, w, max(1, b.messages/50), "-naive"))
	}
	for i, p := range b.pipes {
		c, err := b.pipe(p.name, p.file, w, b.messages)
		if err != nil {
			return nil, err
		}
		cs = append(cs, c)
		if i == 0 {
			if c, err = b.pipe(p.name+", all processors", p.file, w, b.messages, "--procs", strconv.Itoa(runtime.NumCPU())); err != nil {
				return nil, err
			}
			cs = append(cs, c)
		}
	}
	for i, command := range b.versus {
		cs = append(cs, contender{name: fmt.Sprintf("vs %d", i+1), w: w, n: b.messages, args: []string{"sh", "-c", "exec " + command}})
	}
	return cs, nil
}

// collector starts a collector that looks at nothing, and returns the URL of one of its moods: /good takes everything, /slow takes everything
// two seconds later, /refusing takes nothing.
func (b *bench) collector(mood string) string {
	if b.sink == nil {
		mux := http.NewServeMux()
		mux.HandleFunc("/good/", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "application/x-protobuf") })
		mux.HandleFunc("/slow/", func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(2 * time.Second):
			case <-r.Context().Done():
			}
			w.Header().Set("Content-Type", "application/x-protobuf")
		})
		mux.HandleFunc("/refusing/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
		b.sink = httptest.NewServer(mux)
	}
	return b.sink.URL + mood
}

// tracing are pipes that trace no message, few, and all; and those that trace all for a collector that is of no use.
func (b *bench) tracing() ([]contender, error) {
	hole, err := blackHole()
	if err != nil {
		return nil, err
	}
	var cs []contender
	for _, t := range []struct{ name, ratio, endpoint string }{
		{"no tracing", "", ""},
		{"1 % traced", "0.01", b.collector("/good")},
		{"all traced", "1", b.collector("/good")},
		{"all traced, black hole", "1", hole},
		{"all traced, slow", "1", b.collector("/slow")},
		{"all traced, refusing", "1", b.collector("/refusing")},
		{"all traced, down", "1", "http://127.0.0.1:1"}, // nobody listens there
	} {
		c, err := b.pipe(t.name, b.pipes[0].file, passthrough1k, b.messages)
		if err != nil {
			return nil, err
		}
		if t.ratio != "" {
			c.env = []string{
				"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT=" + t.endpoint,
				"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=" + t.ratio, "OTEL_METRICS_EXPORTER=none",
			}
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// many are pipes with the same messages in more and more pipelines. They are many messages, so that the start of a hundred pipelines, and the
// memory that they grow into, count for little, as in a process that runs for days.
func (b *bench) many() ([]contender, error) {
	var cs []contender
	for _, n := range []int{1, 10, 100} {
		c, err := b.pipe(fmt.Sprintf("%d pipelines", n), b.pipes[0].file, pipelines(n), 4*b.messages)
		if err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// queued are pipes before a short and a long queue.
func (b *bench) queued() ([]contender, error) {
	var cs []contender
	for _, n := range []int{10_000, b.long} {
		c, err := b.pipe(fmt.Sprintf("%d queued", n), b.pipes[0].file, passthrough1k, n)
		if err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// starting are programs with one message to move.
func (b *bench) starting() ([]contender, error) {
	c, err := b.pipe(thePipe, b.pipes[0].file, passthrough1k, 1)
	return []contender{b.loop(theLoop, passthrough1k, 1), c}, err
}
