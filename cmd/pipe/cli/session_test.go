package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/config"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/internal/devbroker"
	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/pool"
)

// TestStoppedWhileRefused stops a session one of whose connections has been refused, while it waits for the other.
func TestStoppedWhileRefused(t *testing.T) {
	broker, err := devbroker.Start("127.0.0.1:0", devbroker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	file := filepath.Join(t.TempDir(), "pipeline.hcl")
	if err := os.WriteFile(file, []byte(`
connection "main" { url = "amqp://guest:guest@`+holdBack(t, broker.Addr(), "listen")+`/nowhere" }
pipeline "ill" {
  source "amqp" { queue = "in" }
  sink "amqp" "out" { queue = "out" }
}`), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := &engine.Registry{}
	registerBuiltin(registry)
	c, diags := config.Load([]string{file}, config.Options{Registry: registry})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	log := slog.New(slog.DiscardHandler)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s := newSession(c, log, runOptions(log, time.Second, nil), context.Background())
	var running conc.WaitGroup
	running.Go(func() { err = s.run(ctx) })
	testbroker.Eventually(t, time.Minute, func() bool { return c.Connections["main"].State() == pool.StateFailed }, "a connection is refused")
	stop()
	running.Wait()
	if !errors.Is(err, errRefused) {
		t.Errorf("%v", err)
	}
}

// holdBack is a way to a broker on which nothing more of a client comes through that has said a word.
func holdBack(t *testing.T, address, word string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg conc.WaitGroup
	forward := func(to, from net.Conn) {
		defer to.Close()
		for b := make([]byte, 64<<10); ; {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			if bytes.Contains(b[:n], []byte(word)) {
				_, _ = io.Copy(io.Discard, from)
				return
			}
			_, _ = to.Write(b[:n])
		}
	}
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", address)
			if err != nil {
				_ = client.Close()
				continue
			}
			wg.Go(func() { forward(server, client) })
			wg.Go(func() { forward(client, server) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}
