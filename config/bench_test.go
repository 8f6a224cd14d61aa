package config_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/message"
)

// chainHCL is what people write most: drop some, change a field and a header, send the rest where it belongs.
const chainHCL = `
connection "main" { url = "amqp://127.0.0.1" }
pipeline "p" {
  source "amqp" { queue = "in" }
  retry { then = sink.rest }
  stage "filter" "paid" { keep = body.status == "paid" }
  stage "map" "shape" {
    set = {
      body.total_eur        = round(body.total * 0.92, 2)
      msg.headers["x-tier"] = get(body.customer.tier, "none")
    }
  }
  stage "route" "region" {
    case {
      when = contains(["eu-west", "eu-north"], body.region)
      to   = [sink.eu]
    }
    default { to = [sink.rest] }
  }
  sink "amqp" "eu"   { queue = "eu" }
  sink "amqp" "rest" { queue = "rest" }
}
`

// supply hands over n messages with the same body, each as if it had just arrived: with headers as a broker sends them.
type supply struct {
	n    int
	body []byte
}

func (s *supply) Run(_ context.Context, next func([]engine.Delivery)) error {
	headers, _ := message.Encoded{}.With("x-origin", "test")
	for left := s.n; left > 0; left -= engine.MaxChunk {
		n := min(left, engine.MaxChunk)
		messages, chunk := make([]engine.Message, n), make([]engine.Delivery, n)
		for i := range messages {
			messages[i].Body, messages[i].Headers = s.body, engine.HeadersFrom(headers)
			chunk[i] = engine.Delivery{Message: &messages[i], Settler: s}
		}
		next(chunk)
	}
	return nil
}

func (s *supply) Settle(uint64, engine.Outcome) {}
func (s *supply) Stale() bool                   { return false }

// demand confirms at once.
type demand struct{}

func (demand) Send(_ context.Context, _ *engine.Message, done func(error)) { done(nil) }

// runChain takes n messages of 1 kB through the chain, without a broker.
func runChain(t testing.TB, n int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "p.hcl")
	if err := os.WriteFile(file, []byte(chainHCL), 0o600); err != nil {
		t.Fatal(err)
	}
	c, diags := config.Load([]string{file}, config.Options{Registry: registry()})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	body := fmt.Appendf(nil, `{"id":1,"status":"paid","region":"eu-west","total":12.50,"customer":{"id":"c-1","tier":"gold"},"note":"%s"}`, strings.Repeat("x", 910))
	p := c.Pipelines[0]
	p.Source = &supply{n, body}
	for i := range p.Sinks {
		p.Sinks[i].Sink = demand{}
	}
	r, err := engine.NewRunner(engine.RunOptions{}, p)
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := t.(*testing.B); ok {
		b.ResetTimer()
	}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats()[0]; s.Out != int64(n) || s.Acked != int64(n) {
		t.Fatalf("%+v", s)
	}
}

// BenchmarkPipeline takes messages of 1 kB through filter, map and route, without a broker.
func BenchmarkPipeline(b *testing.B) {
	b.ReportAllocs()
	ballast := make([]byte, 4<<20) // as pipe run has it
	runChain(b, b.N)
	runtime.KeepAlive(ballast)
}
