//go:build faults

package faults

import (
	"context"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// breach is something that happens to the broker while messages flow. It returns how many connections or channels of pipe's it broke,
// at most; what it changes in the expectation is its own matter.
type breach struct {
	name  string
	cause func(b *broken)
}

// broken is what a breach works on.
type broken struct {
	*rig
	node *rabbitmq.Node
	pipe *pipetest.Process
	feed *feed
	want expectation
}

var breaches = []breach{
	{"restarted", func(b *broken) { b.must(b.node.Restart(background)) }},
	{"killed", func(b *broken) {
		b.forgets()
		b.must(b.node.Kill())
		b.must(b.node.Resume(background))
		b.elect()
	}},
	{"paused for 20 s", func(b *broken) { b.pauseFor(20 * time.Second) }},
	{"memory alarm for 30 s", func(b *broken) {
		b.alarm(30*time.Second, []string{"set_vm_memory_high_watermark", "0.00001"}, []string{"set_vm_memory_high_watermark", "0.6"})
	}},
	{"disk alarm", func(b *broken) {
		b.alarm(5*time.Second, []string{"set_disk_free_limit", "1000000GB"}, []string{"set_disk_free_limit", "50MB"})
	}},
	{"queue deleted", (*broken).deleteQueue},
	{"exchange deleted", (*broken).deleteExchange},
	{"permission to publish revoked", func(b *broken) { b.revoke(".*", "none", ".*", "ACCESS_REFUSED") }},
	{"permission to consume revoked", func(b *broken) { b.revoke(".*", ".*", "none", "ACCESS_REFUSED") }},
	{"permission to connect revoked", func(b *broken) { b.revoke("", "", "", "NOT_ALLOWED") }},
	{"connections closed", func(b *broken) {
		b.want.faults = 3
		for range 3 {
			b.moves(100)
			b.ctl("close_all_connections", "--vhost", b.vhost, "maintenance")
		}
	}},
}

// TestBroker breaks the broker while messages flow, in one way after the other.
func TestBroker(t *testing.T) {
	for _, kind := range []string{"classic", "quorum"} {
		for _, x := range breaches {
			t.Run(kind+"/"+x.name, func(t *testing.T) {
				node := breakable(t)
				b := &broken{rig: newRig(t, kind, node), node: node, want: expectation{faults: 1}}
				b.feed = b.rig.feed(1500)
				b.pipe = b.start()
				b.moves(500)
				x.cause(b)
				b.moves(500)
				b.want.published = b.feed.stop()
				b.want.again = int(b.feed.again.Load())
				b.empties()
				b.pipe.Stop()
				b.counts(b.want)
			})
		}
	}
}

func (b *broken) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *broken) ctl(args ...string) string {
	b.t.Helper()
	said, err := b.node.Ctl(background, args...)
	b.must(err)
	return said
}

// journal is how many acknowledgements a classic queue may keep in memory before it writes them
// (queue_index_max_journal_entries). It writes them sooner when it has nothing else to do: never while messages flow.
const journal = 32768

// forgets allows for what a broker that is killed now does not remember to have been acknowledged. A quorum queue remembers all.
func (b *broken) forgets() {
	if b.kind == "classic" {
		b.want.forgotten += min(journal, int(b.feed.published.Load()))
	}
}

func (b *broken) pauseFor(d time.Duration) {
	b.t.Helper()
	b.must(b.node.Pause())
	time.Sleep(d)
	b.must(b.node.Unpause())
}

// elect lets the quorum queues elect their leaders. RabbitMQ 3.10 sometimes leaves one of a node that was killed without, for ever.
func (b *broken) elect() {
	b.t.Helper()
	if b.kind != "quorum" {
		return
	}
	for _, queue := range []string{"in", "out", "parked"} {
		b.ctl("eval", "ra:trigger_election({'"+b.vhost+"_"+queue+"', node()}).")
	}
}

// alarm raises an alarm of the broker's for a while.
func (b *broken) alarm(d time.Duration, raise, clear []string) {
	b.t.Helper()
	defer b.node.Ctl(context.Background(), clear...) // whatever happens, the next test needs the broker
	b.ctl(raise...)
	raised := func() bool { return strings.TrimSpace(b.ctl("eval", "rabbit_alarm:get_alarms().")) != "[]" }
	testbroker.Eventually(b.t, patience, raised, "there is an alarm")
	time.Sleep(d)
	b.ctl(clear...)
	testbroker.Eventually(b.t, patience, func() bool { return !raised() }, "the alarm is over")
}

// deleteQueue deletes the input queue, and makes it again when pipe has noticed. What was in it is lost by the operator's will: no more
// than that may be missing.
func (b *broken) deleteQueue() {
	b.t.Helper()
	b.admin(func(ch *amqp.Channel) error {
		n, err := ch.QueueDelete("in", false, false, false)
		b.want.gone = n + prefetch
		return err
	})
	b.want.before = int(b.feed.published.Load()) + batchSize
	b.pipe.Says("NOT_FOUND")
	b.declare()
}

// deleteExchange deletes the exchange that pipe publishes to, and makes it again when pipe has noticed. Until it is bound, messages are
// unroutable, and so are dead letters.
func (b *broken) deleteExchange() {
	b.t.Helper()
	b.admin(func(ch *amqp.Channel) error { return ch.ExchangeDelete("x", false, false) })
	b.pipe.Says("does not exist")
	b.want.parked = 1 << 30
	b.declare()
}

// revoke runs pipe as a user whose permissions are taken, but for some patterns or, with none, even to connect, and given back. The broker asks for them at each new channel, and so at each
// new connection, only.
func (b *broken) revoke(configure, write, read, says string) {
	b.t.Helper()
	user := b.vhost + "-user"
	b.must(b.node.AddUser(background, user, "secret", b.vhost))
	b.pipe.Stop()
	b.pipe = b.startAt([]string{b.node.UserURL(user, "secret", b.vhost)})
	b.moves(500)
	b.want.faults = 2
	if configure == "" {
		b.ctl("clear_permissions", "-p", b.vhost, user)
	} else {
		b.ctl("set_permissions", "-p", b.vhost, user, configure, write, read)
	}
	b.ctl("close_all_connections", "--vhost", b.vhost, "permissions")
	b.pipe.Says(says)
	b.ctl("set_permissions", "-p", b.vhost, user, ".*", ".*", ".*")
}
