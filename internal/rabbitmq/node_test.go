package rabbitmq_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

func TestStartStop(t *testing.T) {
	testbroker.NeedRabbitMQ(t)
	n, err := rabbitmq.Start(context.Background(), rabbitmq.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(n.URL(), n.PID())
	if err := n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestCluster(t *testing.T) {
	testbroker.NeedRabbitMQ(t)
	c, err := rabbitmq.StartCluster(context.Background(), 3, rabbitmq.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	t.Log(c.URLs("/"))
	if err := c.Nodes()[1].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Nodes()[1].Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPartition(t *testing.T) {
	testbroker.NeedRabbitMQ(t)
	c, err := rabbitmq.StartCluster(context.Background(), 3, rabbitmq.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop(context.Background())
	if err := c.Isolate(t.Context(), c.Nodes()[2]); err != nil {
		t.Fatal(err)
	}
	for { // the minority closes its listeners
		conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(c.Nodes()[2].Port()))
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	if err := c.Rejoin(t.Context(), c.Nodes()[2]); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestRoot runs the RabbitMQ of another system, where there is one already: making it takes a minute and half a gigabyte.
func TestRoot(t *testing.T) {
	testbroker.NeedRabbitMQ(t)
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	root := filepath.Join(cache, "pipe", "rabbitmq-trixie")
	if _, err := os.Stat(root); err != nil || os.Geteuid() != 0 {
		t.Skip("not root, or .ci/rabbitmq4 has not run")
	}
	n, err := rabbitmq.Start(context.Background(), rabbitmq.Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if version, err := n.Ctl(t.Context(), "version"); err != nil || !strings.HasPrefix(version, "4.") {
		t.Errorf("version %q, %v", version, err)
	}
	if err := n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
}
