//go:build faults

package faults

import (
	"testing"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
)

// TestCluster breaks a cluster of three nodes while messages flow.
func TestCluster(t *testing.T) {
	c, err := rabbitmq.StartCluster(background, 3, options(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(background); err != nil {
			t.Error(err)
		}
	})
	for _, x := range []struct {
		name   string
		kind   string
		faults int
		cause  func(b *broken)
	}{
		{"leader of the input killed", "quorum", 1, func(b *broken) { b.killLeader(c, "in") }},
		{"leader of the output killed", "quorum", 1, func(b *broken) { b.killLeader(c, "out") }},
		{"nodes restarted in turn", "quorum", 3, func(b *broken) { b.roll(c) }},
		{"nodes restarted in turn", "classic", 3, func(b *broken) { b.roll(c) }},
		{"leader of the input cut off", "quorum", 2, func(b *broken) { b.cut(c, "in") }},
		{"leader of the output cut off", "quorum", 2, func(b *broken) { b.cut(c, "out") }},
	} {
		t.Run(x.kind+"/"+x.name, func(t *testing.T) {
			if err := c.Await(background); err != nil { // whatever the test before has left
				t.Fatal(err)
			}
			b := &broken{rig: newRig(t, x.kind, c.Nodes()...), want: expectation{faults: x.faults}}
			b.feed = b.rig.feed(1000)
			b.pipe = b.start()
			b.moves(500)
			x.cause(b)
			b.moves(500)
			b.must(c.Await(background))
			b.want.published = b.feed.stop()
			b.want.again = int(b.feed.again.Load())
			b.empties()
			b.pipe.Stop()
			b.counts(b.want)
		})
	}
}

// killLeader kills the node that leads a queue, and starts it again when messages have gone on without.
func (b *broken) killLeader(c *rabbitmq.Cluster, queue string) {
	b.t.Helper()
	leader, err := c.Leader(background, b.vhost, queue)
	b.must(err)
	b.must(leader.Kill())
	b.moves(500)
	b.must(leader.Resume(background))
}

// roll restarts the nodes in turn, as an upgrade does.
func (b *broken) roll(c *rabbitmq.Cluster) {
	b.t.Helper()
	for _, n := range c.Nodes() {
		b.must(n.Halt(background))
		if b.kind == "quorum" { // a classic queue is on one node, which may be this one
			b.moves(200)
		}
		b.must(n.Resume(background))
		b.must(c.Await(background))
		b.moves(200)
	}
}

// cut cuts the node that leads a queue off from the others, and lets it back when messages have gone on without.
func (b *broken) cut(c *rabbitmq.Cluster, queue string) {
	b.t.Helper()
	leader, err := c.Leader(background, b.vhost, queue)
	b.must(err)
	b.must(c.Isolate(background, leader))
	defer c.Rejoin(background, leader)
	b.moves(500)
	b.must(c.Rejoin(background, leader))
}
