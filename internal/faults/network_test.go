//go:build faults

package faults

import (
	"testing"
	"time"

	"github.com/pipeamqp/pipe/internal/testproxy"
)

// lost is what pipe says about a connection that it has lost.
const lost = "lost the connection"

// TestNetwork breaks the network between pipe and the broker while messages flow.
func TestNetwork(t *testing.T) {
	for _, x := range []struct {
		name   string
		rate   int // messages a second, of what comes in
		limit  int // how many of them; 0 is no limit
		faults int
		before func(p *testproxy.Proxy) // what holds from the start
		cause  func(b *broken, p *testproxy.Proxy)
	}{
		{name: "reset", rate: 1500, faults: 10, cause: func(b *broken, p *testproxy.Proxy) {
			for range 10 {
				b.moves(50)
				p.Reset()
			}
		}},
		{name: "reset in the middle of a frame", rate: 1500, faults: 10, cause: func(b *broken, p *testproxy.Proxy) {
			for i := range 10 {
				p.ResetIn(int64(10_000 + 777*i))
				b.moves(50)
			}
		}},
		{name: "no way for a while", rate: 1500, faults: 1, cause: func(b *broken, p *testproxy.Proxy) {
			p.Refuse(true)
			p.Reset()
			b.pipe.Says(lost)
			time.Sleep(5 * time.Second)
			p.Refuse(false)
		}},
		{name: "black hole", rate: 1500, faults: 2, cause: func(b *broken, p *testproxy.Proxy) {
			p.Blackhole(true)
			b.pipe.Says(lost)
			p.Blackhole(false)
			p.Reset()
		}},
		{name: "half open", rate: 1500, faults: 2, cause: func(b *broken, p *testproxy.Proxy) {
			p.HalfOpen(true)
			b.pipe.Says(lost)
			p.HalfOpen(false)
			p.Reset()
		}},
		{name: "200 ms latency", rate: 300, limit: 6000, before: func(p *testproxy.Proxy) { p.Delay(200 * time.Millisecond) }},
		{name: "64 kB a second", rate: 300, limit: 4000, before: func(p *testproxy.Proxy) { p.Pace(64_000) }},
		{name: "one byte at a time", rate: 300, limit: 4000, before: func(p *testproxy.Proxy) { p.Chop(true) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := &broken{rig: newRig(t, "classic", steady(t)), want: expectation{faults: x.faults, ordered: x.faults == 0}}
			p := testproxy.New(t, b.urls[0])
			if x.before != nil {
				x.before(p)
			}
			b.pipe = b.startAt([]string{p.URL(b.urls[0])})
			b.feed = b.rig.feedUpTo(x.rate, x.limit)
			b.moves(100)
			if x.cause != nil {
				x.cause(b, p)
				b.moves(500)
			}
			if x.limit > 0 {
				b.feed.wait()
			}
			b.want.published = b.feed.stop()
			b.want.again = int(b.feed.again.Load())
			b.empties()
			b.pipe.Stop()
			b.counts(b.want)
		})
	}
}
