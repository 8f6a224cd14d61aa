package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// serve answers requests with their bodies in capitals, until the test ends.
func serve(t *testing.T, p *Pool, queue string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var server conc.WaitGroup
	server.Go(func() {
		err := p.Listen(ctx, queue, func(ctx context.Context, d *Delivery) error {
			return p.Reply(ctx, d, text(strings.ToUpper(string(d.Body))))
		}, ListenerOptions{Concurrency: 4})
		if err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		server.Wait()
	})
}

func TestRequest(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "questions", "silence")
	p := start(t, Options{URLs: []string{url}})
	serve(t, p, "questions")
	var work conc.WaitGroup
	for i := range 200 {
		work.Go(func() {
			d, err := p.Request(within(t, patience), &Publishing{RoutingKey: "questions", Publishing: text(fmt.Sprint("q", i))})
			if err != nil || string(d.Body) != fmt.Sprint("Q", i) {
				t.Errorf("%d: %v, %v", i, d, err)
			}
		})
	}
	work.Wait()

	var returned *ErrReturned
	if _, err := p.Request(within(t, patience), &Publishing{RoutingKey: "none"}); !errors.As(err, &returned) || !strings.Contains(err.Error(), `"none"`) {
		t.Errorf("%v", err)
	}
	var missing *ErrNoExchange
	if _, err := p.Request(within(t, patience), &Publishing{Exchange: "none"}); !errors.As(err, &missing) {
		t.Errorf("%v", err)
	}
	var invalid *ErrInvalid
	if _, err := p.Request(within(t, patience), &Publishing{Publishing: amqp.Publishing{Headers: Table{"x": struct{}{}}}}); !errors.As(err, &invalid) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	asked := make(chan error)
	go func() {
		_, err := p.Request(ctx, &Publishing{RoutingKey: "silence"})
		asked <- err
	}()
	testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "silence") == 1 }, "the request has been sent")
	cancel(errors.New("no patience"))
	if err := <-asked; err == nil || !strings.Contains(err.Error(), "no patience") {
		t.Errorf("%v", err)
	}
	if n := len(p.requests.asking.waiting); n != 0 {
		t.Errorf("%d requests are still waited for", n)
	}
	if d := got(t, p, "silence"); p.Reply(within(t, patience), d, text("late")) != nil {
		t.Error("a late reply is an error")
	} else {
		d.Ack()
	}
	fill(t, url, "silence", 1)
	if d := got(t, p, "silence"); p.Reply(within(t, patience), d, text("x")) == nil {
		t.Error("a message that asks for no reply is replied to")
	} else {
		d.Ack()
	}
}

// TestRequestAcrossAReconnect expects an answer or an error from each request, and that later ones are answered.
func TestRequestAcrossAReconnect(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "silence", "questions")
	p := start(t, Options{URLs: []string{url}})
	serve(t, p, "questions")
	asked := make(chan error)
	const n = 5
	for range n {
		go func() {
			_, err := p.Request(within(t, patience), &Publishing{RoutingKey: "silence"})
			asked <- err
		}()
	}
	testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "silence") == n }, "the requests have been sent")
	g, err := p.publish[0].wait(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	g.wire.fail(errors.New("cut"))
	for range n {
		if err := <-asked; !errors.Is(err, ErrNoReply) {
			t.Errorf("%v", err)
		}
	}
	d, err := p.Request(within(t, patience), &Publishing{RoutingKey: "questions", Publishing: text("again")})
	if err != nil || string(d.Body) != "AGAIN" {
		t.Errorf("%v, %v", d, err)
	}
	if err := p.Close(within(t, patience)); err != nil {
		t.Error(err)
	}
	if _, err := p.Request(context.Background(), &Publishing{RoutingKey: "questions"}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}
