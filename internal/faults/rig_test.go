//go:build faults

package faults

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

const (
	prefetch = 200
	patience = 3 * time.Minute
)

// rig is a virtual host with a queue in, which pipe empties through an exchange x into a queue out, and a dead-letter exchange dead
// with a queue parked.
type rig struct {
	t       testing.TB
	nodes   []*rabbitmq.Node
	vhost   string
	urls    []string // for the test's own clients
	kind    string   // classic or quorum
	version string
}

var rigs atomic.Int64

// newRig makes a virtual host on a broker of one or more nodes, and what is in it.
func newRig(t testing.TB, kind string, nodes ...*rabbitmq.Node) *rig {
	t.Helper()
	r := &rig{t: t, nodes: nodes, kind: kind, vhost: fmt.Sprintf("faults-%d", rigs.Add(1))}
	if err := nodes[0].AddVHosts(background, r.vhost); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		r.urls = append(r.urls, n.VHostURL(r.vhost))
	}
	conn := testbroker.Dial(t, r.urls[0])
	r.version, _ = conn.Properties["version"].(string)
	_ = conn.Close()
	r.declare()
	return r
}

// declare makes what the rig consists of; what is there stays. A broker that has just started may refuse for a while.
func (r *rig) declare() {
	r.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = r.try(declareAll(r.kind)); err == nil {
			return
		}
	}
	r.t.Fatal(err)
}

func declareAll(kind string) func(*amqp.Channel) error {
	return func(ch *amqp.Channel) error {
		for name, exchange := range map[string]string{"x": "topic", "dead": "fanout"} {
			if err := ch.ExchangeDeclare(name, exchange, true, false, false, false, nil); err != nil {
				return err
			}
		}
		for _, name := range []string{"in", "out", "parked"} {
			arguments := amqp.Table{"x-queue-type": kind}
			if name == "in" {
				arguments["x-dead-letter-exchange"] = "dead"
			}
			if _, err := ch.QueueDeclare(name, true, false, false, false, arguments); err != nil {
				return err
			}
		}
		if err := ch.QueueBind("out", "#", "x", false, nil); err != nil {
			return err
		}
		return ch.QueueBind("parked", "", "dead", false, nil)
	}
}

// admin does something on a channel of its own.
func (r *rig) admin(f func(*amqp.Channel) error) {
	r.t.Helper()
	if err := r.try(f); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) try(f func(*amqp.Channel) error) (err error) {
	for _, u := range r.urls {
		var conn *amqp.Connection
		conn, err = amqp.DialConfig(u, amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)})
		if err != nil {
			continue
		}
		defer conn.CloseDeadline(time.Now().Add(5 * time.Second))
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		return f(ch)
	}
	return err
}

// depth returns how many messages wait in a queue; -1 where the broker does not tell.
func (r *rig) depth(queue string) int {
	n := -1
	_ = r.try(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		if err == nil {
			n = q.Messages
		}
		return err
	})
	return n
}

// file is the pipeline, which reads every message and changes it a little.
func file(urls []string) string {
	return `
connection "main" {
  urls      = ["` + strings.Join(urls, `", "`) + `"]
  heartbeat = "5s"
}
pipeline "p" {
  source "amqp" {
    queue    = "in"
    prefetch = ` + strconv.Itoa(prefetch) + `
  }
  stage "filter" "all" { keep = body.n >= 0 }
  stage "map" "mark" {
    set = { msg.headers["x-n"] = body.n }
  }
  sink "amqp" "out" {
    exchange    = "x"
    routing_key = "k"
  }
}
`
}

// deadLetters is the pipeline with the queue declared in it: pipe rejects only where the file says that there is a dead-letter
// exchange, and holds what fails otherwise.
func (r *rig) deadLetters() string {
	return `
declare {
  queue "in" {
    type        = "` + r.kind + `"
    dead_letter = "dead"
  }
}
` + strings.Replace(file(r.urls), `= "in"`, "= queue.in", 1)
}

// start runs pipe on the rig.
func (r *rig) start(args ...string) *pipetest.Process {
	r.t.Helper()
	return r.startAt(r.urls, args...)
}

// startAt runs pipe, which connects to the rig at URLs of its own.
func (r *rig) startAt(urls []string, args ...string) *pipetest.Process {
	r.t.Helper()
	p := pipetest.Start(r.t, "", file(urls), args...)
	p.Says("pipeline runs")
	return p
}

// moves waits until more messages have come out.
func (r *rig) moves(more int) {
	r.t.Helper()
	before := -1
	testbroker.Eventually(r.t, patience, func() bool {
		now := r.depth("out")
		if before < 0 {
			before = now
		}
		return before >= 0 && now >= before+more
	}, fmt.Sprintf("%d more messages come out", more))
}

// empties waits until nothing is in the queue, neither waiting nor with a consumer.
func (r *rig) empties() {
	r.t.Helper()
	testbroker.Eventually(r.t, patience, func() bool { return r.depth("in") == 0 }, "nothing waits in the queue")
	testbroker.Eventually(r.t, patience, func() bool { return r.nodes[0].Messages(r.t.Context(), r.vhost, "in") == 0 }, "the queue is empty")
}

// expectation says what may have become of messages.
type expectation struct {
	published int // the ids are 0 to published-1
	faults    int
	again     int  // how many of them may be in the queue twice
	forgotten int  // how many acknowledgements the broker may have lost when it was killed
	ordered   bool // each one comes out once, in order
	parked    int  // how many may be dead letters
	gone      int  // how many of the first gone ones may be lost with a queue that was deleted,
	before    int  // of those before this one
}

// counts compares what came out with what was published, and reports it.
func (r *rig) counts(want expectation) {
	r.t.Helper()
	seen := make([]int, want.published)
	next, disorder := 0, 0
	take := func(queue string) (n int) {
		depth := max(r.depth(queue), 0)
		pipetest.Collect(r.t, r.urls[0], queue, depth, func(d *amqp.Delivery) {
			n++
			i, err := strconv.Atoi(d.MessageId)
			if err != nil || i < 0 || i >= len(seen) {
				r.t.Errorf("%s: message %q has not been published", queue, d.MessageId)
				return
			}
			if queue == "out" {
				if i != next {
					disorder++
				}
				next = i + 1
			}
			seen[i]++
		})
		return n
	}
	delivered, parked, queued := take("out"), take("parked"), take("in")
	lost, duplicates, firstLost, lastLost := 0, 0, -1, -1
	for i, k := range seen {
		switch {
		case k > 0:
			duplicates += k - 1
		default:
			if lost++; firstLost < 0 {
				firstLost = i
			}
			lastLost = i
		}
	}
	bound := prefetch*want.faults + want.again + want.forgotten
	r.t.Logf("RabbitMQ %s, %s: published %d, delivered %d, dead-lettered %d, queued %d; lost %d; duplicates %d (at most %d), out of order %d; faults %d",
		r.version, r.kind, want.published, delivered, parked, queued, lost, duplicates, bound, disorder, want.faults)
	if lost > want.gone || lastLost >= want.before && lost > 0 {
		r.t.Errorf("%d messages are lost, from %d to %d; at most %d may be, before %d", lost, firstLost, lastLost, want.gone, want.before)
	}
	if duplicates > bound {
		r.t.Errorf("%d duplicates: more than %d", duplicates, bound)
	}
	if want.ordered && (disorder > 0 || duplicates > 0) {
		r.t.Errorf("%d messages out of order, %d duplicates: none is promised", disorder, duplicates)
	}
	if parked > want.parked {
		r.t.Errorf("%d messages are dead-lettered, at most %d may be", parked, want.parked)
	}
	if queued > 0 {
		r.t.Errorf("%d messages are still queued", queued)
	}
}
