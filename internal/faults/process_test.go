//go:build faults

package faults

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/internal/pipetest"
)

// moments is how often pipe is killed, or stopped.
const moments = 100

// chance is a moment at random, in which a process that has just begun to work is at any point of it.
func chance() { time.Sleep(rand.N(80 * time.Millisecond)) }

// endsAgainAndAgain ends pipe at random moments under load, and lets the last one finish.
func endsAgainAndAgain(t *testing.T, end func(*pipetest.Process), want expectation) {
	r := newRig(t, "classic", steady(t))
	f := r.feed(2500)
	for range moments {
		p := r.start()
		r.moves(1)
		chance()
		end(p)
	}
	p := r.start()
	want.published, want.faults, want.again = f.stop(), moments, int(f.again.Load())
	r.empties()
	p.Stop()
	r.counts(want)
}

// TestKilled kills pipe at random moments under load.
func TestKilled(t *testing.T) {
	endsAgainAndAgain(t, (*pipetest.Process).Kill, expectation{})
}

// TestTerminated stops pipe at random moments under load, as an operator does: nothing is doubled, and the order is kept.
func TestTerminated(t *testing.T) {
	endsAgainAndAgain(t, (*pipetest.Process).Stop, expectation{ordered: true})
}

// TestPaused stops pipe where it is and lets it go on, for moments that are shorter and longer than its connections bear.
func TestPaused(t *testing.T) {
	r := newRig(t, "classic", steady(t))
	f := r.feed(1000)
	p := r.start()
	pauses := []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second, 20 * time.Second}
	for _, pause := range append(pauses, pauses...) {
		r.moves(100)
		p.Signal(syscall.SIGSTOP)
		time.Sleep(pause)
		p.Signal(syscall.SIGCONT)
	}
	r.moves(100)
	n := f.stop()
	r.empties()
	p.Stop()
	// Only the longest one outlasts the heartbeats.
	r.counts(expectation{published: n, faults: 2, again: int(f.again.Load())})
}
