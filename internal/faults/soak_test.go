//go:build faults

package faults

import (
	"flag"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testproxy"
)

var (
	soakFor  = flag.Duration("soak", soakDefault(), "how long the soak lasts; the environment variable PIPE_FAULTS_SOAK sets it too")
	soakSeed = flag.Uint64("soak-seed", 0, "which faults the soak has, in which order; 0 is a new order each time")
)

func soakDefault() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("PIPE_FAULTS_SOAK")); err == nil {
		return d
	}
	return 20 * time.Minute
}

// soaking is what a fault of the soak works on.
type soaking struct {
	*broken
	proxy  *testproxy.Proxy
	random *rand.Rand
}

// upTo is a time at random.
func (s *soaking) upTo(d time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(d)))
}

var soakFaults = []struct {
	name  string
	cause func(s *soaking)
}{
	{"broker restarted", func(s *soaking) { s.must(s.node.Restart(background)) }},
	{"broker killed", func(s *soaking) {
		s.forgets()
		s.must(s.node.Kill())
		time.Sleep(s.upTo(2 * time.Second))
		s.must(s.node.Resume(background))
	}},
	{"broker paused", func(s *soaking) { s.pauseFor(s.upTo(20 * time.Second)) }},
	{"memory alarm", func(s *soaking) {
		s.alarm(s.upTo(10*time.Second), []string{"set_vm_memory_high_watermark", "0.00001"}, []string{"set_vm_memory_high_watermark", "0.6"})
	}},
	{"exchange deleted", func(s *soaking) {
		s.admin(func(ch *amqp.Channel) error { return ch.ExchangeDelete("x", false, false) })
		time.Sleep(s.upTo(3 * time.Second))
		s.declare()
	}},
	{"connections closed", func(s *soaking) { s.ctl("close_all_connections", "--vhost", s.vhost, "maintenance") }},
	{"network reset", func(s *soaking) { s.proxy.Reset() }},
	{"network reset in a frame", func(s *soaking) { s.proxy.ResetIn(s.random.Int64N(100_000) + 1) }},
	{"black hole", func(s *soaking) {
		s.proxy.Blackhole(true)
		time.Sleep(s.upTo(20 * time.Second))
		s.proxy.Reset() // what is swallowed is never sent again on the same connection
		s.proxy.Blackhole(false)
		s.proxy.Reset()
	}},
	{"no way", func(s *soaking) {
		s.proxy.Refuse(true)
		s.proxy.Reset()
		time.Sleep(s.upTo(5 * time.Second))
		s.proxy.Refuse(false)
	}},
	{"slow network", func(s *soaking) {
		s.proxy.Delay(s.upTo(200 * time.Millisecond))
		s.moves(200)
		s.proxy.Delay(0)
	}},
	{"pipe paused", func(s *soaking) {
		s.pipe.Signal(syscall.SIGSTOP)
		time.Sleep(s.upTo(15 * time.Second))
		s.pipe.Signal(syscall.SIGCONT)
	}},
}

// sample is what a process holds at some moment.
type sample struct {
	memory int64
	files  int
}

// TestSoak lets faults happen at random to one pipe that runs all the time: nothing is lost, and what the process holds stays.
func TestSoak(t *testing.T) {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: again with -soak-seed=%d", seed, seed)
	node := breakable(t)
	s := &soaking{broken: &broken{rig: newRig(t, "classic", node), node: node}, random: rand.New(rand.NewPCG(seed, 0))}
	s.proxy = testproxy.New(t, s.urls[0])
	fresh := s.idle()
	s.feed = s.rig.feed(500)
	s.pipe = s.startAt([]string{s.proxy.URL(s.urls[0])})
	s.moves(1000)
	var samples []sample
	for begin := time.Now(); time.Since(begin) < *soakFor; {
		x := soakFaults[s.random.IntN(len(soakFaults))]
		t.Logf("%6s %s", time.Since(begin).Round(time.Second), x.name)
		x.cause(s)
		s.want.faults++
		s.moves(200)
		samples = append(samples, sample{s.pipe.Memory(), s.pipe.Files()})
	}
	s.want.published = s.feed.stop()
	s.want.again = int(s.feed.again.Load())
	s.want.parked = s.want.published // unroutable ones, while there was no binding
	s.want.faults *= 2               // a fault may take both connections, one after the other
	s.empties()
	goroutines := s.pipe.Goroutines()
	s.counts(s.want)
	flat(t, samples)
	t.Logf("%d goroutines, %d in a pipe that has only just started", goroutines, fresh)
	if goroutines > fresh+10 {
		t.Errorf("%d goroutines; %d at the start", goroutines, fresh)
	}
}

// idle returns how many goroutines a pipe has that has nothing to do.
func (s *soaking) idle() int {
	s.t.Helper()
	p := s.startAt([]string{s.proxy.URL(s.urls[0])})
	p.Says("subscribed to a queue")
	return p.Goroutines()
}

// flat expects that the last quarter of the samples is not above the second one.
func flat(t *testing.T, samples []sample) {
	t.Helper()
	quarter := len(samples) / 4
	if quarter == 0 {
		return
	}
	early, late := highest(samples[quarter:2*quarter]), highest(samples[len(samples)-quarter:])
	t.Logf("memory %d MB early, %d MB late; file descriptors %d early, %d late", early.memory>>20, late.memory>>20, early.files, late.files)
	if late.memory > early.memory*3/2+16<<20 {
		t.Errorf("memory has grown from %d to %d MB", early.memory>>20, late.memory>>20)
	}
	if late.files > early.files+5 {
		t.Errorf("file descriptors have grown from %d to %d", early.files, late.files)
	}
}

func highest(samples []sample) (top sample) {
	for _, s := range samples {
		top.memory, top.files = max(top.memory, s.memory), max(top.files, s.files)
	}
	return top
}
