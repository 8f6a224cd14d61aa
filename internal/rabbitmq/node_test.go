package rabbitmq_test

import (
	"context"
	"testing"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
)

func TestStartStop(t *testing.T) {
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
