package main

import (
	"context"
	"os"
	"testing"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/cmd/pipe/cli"
	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

// The whole pipeline file, with the stage in it, on a broker in memory.
func TestCards(t *testing.T) {
	b := enginetest.NewBroker(t)
	t.Setenv("AMQP_URL", b.URL())
	ctx, stop := context.WithCancel(t.Context())
	var running conc.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		cli.Run(ctx, []string{"run", "cards.hcl"}, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, register)
	})

	b.Publish("orders", engine.NewMessage([]byte(`{"card":"4111111111111111"}`), nil))
	got := b.Expect("orders.analysts", 1)[0]
	if want := `{"card":"************1111"}`; string(got.Body) != want {
		t.Errorf("the analysts get %s, not %s", got.Body, want)
	}
	b.ExpectEmpty("orders")
}
