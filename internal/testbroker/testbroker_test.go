package testbroker_test

import (
	"os"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

func TestMain(m *testing.M) { os.Exit(testbroker.Main(m)) }

func TestVHostsAreApart(t *testing.T) {
	one, other := testbroker.VHost(t), testbroker.VHost(t)
	testbroker.Declare(t, one, "q")
	testbroker.Publish(t, one, "q", amqp.Publishing{Body: []byte("a")}, amqp.Publishing{Body: []byte("b")})
	if d := testbroker.Depth(t, one, "q"); d != 2 {
		t.Errorf("the queue has %d messages, not 2", d)
	}
	if testbroker.Exists(t, other, "q") {
		t.Error("the queue is in the other virtual host too")
	}
	got := testbroker.Drain(t, one, "q")
	if len(got) != 2 || string(got[0].Body) != "a" || string(got[1].Body) != "b" {
		t.Errorf("drained %v", got)
	}
}
