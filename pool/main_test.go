package pool

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(spinVariable); addr != "" {
		if err := spin(addr); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(testbroker.Main(m))
}

// patience bounds every wait in the tests; nothing depends on it while all is well.
const patience = 3 * time.Minute

// journal keeps what a pool logs.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// opened opens a pool that reconnects fast and logs to the test; it is closed when the test ends.
func opened(t testing.TB, o Options) *Pool {
	t.Helper()
	if o.Logger == nil { // a test that fails shows what the pool went through
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	p, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	p.backoffMin, p.backoffMax = 10*time.Millisecond, 200*time.Millisecond
	t.Cleanup(func() {
		if err := p.Close(within(t, patience)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// start opens a pool and starts it.
func start(t testing.TB, o Options) *Pool {
	t.Helper()
	p := opened(t, o)
	if err := p.Start(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return p
}

func text(s string) amqp.Publishing { return amqp.Publishing{Body: []byte(s)} }
