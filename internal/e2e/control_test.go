package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// flow publishes numbered messages until it is stopped, and returns how many there were.
func flow(t *testing.T, url, queue string) (stop func() int) {
	t.Helper()
	end, done := make(chan struct{}), make(chan int)
	ch := testbroker.Channel(t, url)
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	go func() {
		n := 0
		defer func() { done <- n }()
		for {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
			}
			c, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{MessageId: fmt.Sprint(n), DeliveryMode: 2})
			if err != nil || !c.Wait() {
				t.Error("not published: ", err)
				return
			}
			n++
		}
	}()
	return func() int {
		close(end)
		return <-done
	}
}

func simple(to string) string {
	return `
declare {
  queue "` + to + `" {}
}
pipeline "p" {
  source "amqp" { queue = "in" }
  sink "amqp" "out" { queue = queue.` + to + ` }
}
`
}

// TestReload changes the file under a pipe that runs, while messages flow: to a good one, to one that is wrong, and to one that the
// broker refuses.
func TestReload(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in")
	p := start(t, url, simple("one"))
	p.says("pipeline runs")
	stop := flow(t, url, "in")
	reload := func(file string, says string) {
		t.Helper()
		if err := os.WriteFile(p.cmd.Args[2], []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		before := strings.Count(p.output.String(), says)
		p.signal(syscall.SIGHUP)
		testbroker.Eventually(t, time.Minute, func() bool { return strings.Count(p.output.String(), says) > before }, "pipe says "+says)
	}
	grows := func(queue string) {
		t.Helper()
		before := testbroker.Depth(t, url, queue)
		testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, queue) > before+20 }, queue+" grows")
	}
	grows("one")
	reload(simple("two"), "the new configuration runs")
	grows("two")
	reload("pipeline {", "the files are wrong: nothing changes")
	grows("two")
	reload(strings.Replace(simple("one"), `queue "one" {}`, `queue "one" { max_length = 5 }`, 1), "does not start: nothing changes")
	grows("two")
	for range 5 {
		reload(simple("three"), "the new configuration runs")
		reload(simple("two"), "the new configuration runs")
	}
	grows("two")
	n := stop()
	waitEmpty(t, testbroker.Count(t), url, "in")
	p.stop()
	seen := map[string]int{}
	for _, queue := range []string{"one", "two", "three"} {
		for _, d := range testbroker.Drain(t, url, queue) {
			seen[d.MessageId]++
			if seen[d.MessageId] > 1 {
				t.Errorf("message %s is doubled", d.MessageId)
			}
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d messages have arrived", len(seen), n)
	}
}

// TestPause pauses consumption by signal, and resumes it.
func TestPause(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "in")
	p := start(t, url, simple("one"))
	p.says("pipeline runs")
	testbroker.Publish(t, url, "in", amqp.Publishing{})
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "one") == 1 }, "a message arrives")
	p.signal(syscall.SIGUSR1)
	p.says("paused")
	const n = 3000
	fill(t, url, "in", n, func(int) amqp.Publishing { return amqp.Publishing{} })
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "in") == n-500 }, "what is prefetched waits")
	if depth := testbroker.Depth(t, url, "one"); depth > 1 {
		t.Errorf("%d messages have come through", depth)
	}
	p.signal(syscall.SIGUSR2)
	p.says("resumed")
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "one") == n+1 }, "all arrive")
	p.signal(syscall.SIGUSR1)
	testbroker.Eventually(t, time.Minute, func() bool { return strings.Count(p.output.String(), "paused") == 2 }, "it is paused again")
	testbroker.Publish(t, url, "in", amqp.Publishing{})
	p.stop() // a pause does not keep it from ending
	if left := testbroker.Depth(t, url, "in"); left+testbroker.Depth(t, url, "one") != n+2 {
		t.Errorf("%d are left", left)
	}
}

// TestTakeover expects a second pipe to go on at once where the first one is killed, whoever may consume the queue.
func TestTakeover(t *testing.T) {
	for name, arguments := range map[string]amqp.Table{
		"competing consumers":    nil,
		"single active consumer": {"x-single-active-consumer": true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testbroker.VHost(t)
			if _, err := testbroker.Channel(t, url).QueueDeclare("in", true, false, false, false, arguments); err != nil {
				t.Fatal(err)
			}
			first, second := start(t, url, simple("one")), start(t, url, simple("one"))
			first.says("subscribed to a queue")
			second.says("subscribed to a queue")
			stop := flow(t, url, "in")
			testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "one") > 50 }, "messages arrive")
			first.signal(syscall.SIGKILL)
			before := testbroker.Depth(t, url, "one")
			testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "one") > before+50 }, "messages go on arriving")
			n := stop()
			waitEmpty(t, testbroker.Count(t), url, "in")
			second.stop()
			seen := map[string]bool{}
			for _, d := range testbroker.Drain(t, url, "one") {
				seen[d.MessageId] = true
			}
			if len(seen) != n {
				t.Errorf("%d of %d messages have arrived", len(seen), n)
			}
		})
	}
}

// TestDelays shows and removes the queues of the ladder.
func TestDelays(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	refusing(t, url, "out")
	p := start(t, url, strings.Replace(retryFile, "TYPE", "classic", 1))
	p.says("pipeline runs")
	testbroker.Publish(t, url, "in", amqp.Publishing{})
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "pipe.delay.2s") == 1 }, "the message waits")
	delays := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(p.cmd.Path, append([]string{"delays", p.cmd.Args[2], "--log-level", "error"}, args...)...)
		cmd.Env = p.cmd.Env
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return string(out)
	}
	if said := delays(); !strings.Contains(said, "pipe.delay.1s  0 waiting") || !strings.Contains(said, "pipe.delay.2s  1 waiting") {
		t.Error(said)
	}
	p.signal(syscall.SIGKILL)
	<-p.waited
	for said := ""; !strings.Contains(said, "no queues for retries"); {
		said = delays("--remove")
		t.Log(said)
	}
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, "in") == 1 }, "what was waiting is back")
	if testbroker.Exists(t, url, "pipe.delay.1s") || testbroker.Exists(t, url, "pipe.delay.2s") {
		t.Error("queues are left")
	}
}
