package cli

import (
	"context"
	"errors"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"
)

// Moving messages is mostly waiting for the broker. On several processors Go's scheduler then hands goroutines from one to the other
// all the time, which costs up to half of all CPU time. So a run begins on one processor, and takes more only while those that it has
// are busy. See docs/architecture.md, "Processors".

const (
	// procsSample is how often it is looked how busy the processors are.
	procsSample = 50 * time.Millisecond
	// With more than this share of their time used, for so many looks in a row, there is one more.
	procsBusy, procsBusyLooks = 0.8, 4
	// So there is with as many goroutines waiting for their turn as there are processors: where others take the machine's time,
	// what is used says little.
	procsQueueLooks = 8
	// When one less would be used by no more than this share, for so many looks in a row, there is one less.
	procsIdle, procsIdleLooks = 0.6, 40
)

// procs decides how many processors there are to be.
type procs struct {
	now, most          int
	busy, queued, idle int // looks in a row
}

// look takes how many processors' time was used since the last look, and how many goroutines wait for their turn, and returns how
// many processors there are to be.
func (p *procs) look(used float64, runnable int) int {
	count := func(looks *int, yes bool) {
		if *looks++; !yes {
			*looks = 0
		}
	}
	count(&p.busy, used >= procsBusy*float64(p.now))
	count(&p.queued, runnable >= p.now)
	count(&p.idle, used <= procsIdle*float64(p.now-1) && runnable < p.now)
	before := p.now
	switch {
	case (p.busy >= procsBusyLooks || p.queued >= procsQueueLooks) && p.now < p.most:
		p.now++
	case p.idle >= procsIdleLooks && p.now > 1:
		p.now--
	}
	if p.now != before {
		p.busy, p.queued, p.idle = 0, 0, 0
	}
	return p.now
}

// runnable returns how many goroutines wait for a processor.
func runnable() int {
	sample := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int(sample[0].Value.Uint64())
}

// load is how much CPU time the process has used, and how many goroutines wait for a processor.
type load func() (time.Duration, int)

func realLoad() (time.Duration, int) { return cpuTime(), runnable() }

// procsFlag is how many processors a run may use; 0 is as many as are busy.
type procsFlag int

func (f *procsFlag) String() string {
	if *f == 0 {
		return "auto"
	}
	return strconv.Itoa(int(*f))
}

func (*procsFlag) Type() string { return "number" }

func (f *procsFlag) Set(text string) error {
	if text == "auto" {
		*f = 0
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > 1024 {
		return errors.New(`it is "auto", or a number from 1 to 1024`)
	}
	*f = procsFlag(n)
	return nil
}

// adaptProcs sets how many processors Go uses, until ctx ends. The environment variable GOMAXPROCS wins over "auto".
func adaptProcs(ctx context.Context, f procsFlag, read load, told func(int)) {
	most := runtime.GOMAXPROCS(0)
	if f != 0 {
		runtime.GOMAXPROCS(int(f))
		return
	}
	if os.Getenv("GOMAXPROCS") != "" || most == 1 || !cpuTimeKnown {
		return
	}
	defer runtime.GOMAXPROCS(most)
	p := &procs{now: 1, most: most}
	runtime.GOMAXPROCS(1)
	ticker := time.NewTicker(procsSample)
	defer ticker.Stop()
	at := time.Now()
	used, _ := read()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		total, waiting := read()
		before := p.now
		if n := p.look(float64(total-used)/float64(now.Sub(at)), waiting); n != before {
			runtime.GOMAXPROCS(n)
			told(n)
		}
		at, used = now, total
	}
}
