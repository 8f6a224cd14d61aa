package cli

import (
	"context"
	"errors"
	"os"
	"runtime"
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
	// When one less would be used by no more than this share, for so many looks in a row, there is one less.
	procsIdle, procsIdleLooks = 0.6, 40
)

// procs decides how many processors there are to be.
type procs struct {
	now, most  int
	busy, idle int // looks in a row
}

// look takes how many processors' time was used since the last look, and returns how many there are to be.
func (p *procs) look(used float64) int {
	if used >= procsBusy*float64(p.now) {
		p.busy++
	} else {
		p.busy = 0
	}
	if used <= procsIdle*float64(p.now-1) {
		p.idle++
	} else {
		p.idle = 0
	}
	switch {
	case p.busy >= procsBusyLooks && p.now < p.most:
		p.now++
		p.busy, p.idle = 0, 0
	case p.idle >= procsIdleLooks && p.now > 1:
		p.now--
		p.busy, p.idle = 0, 0
	}
	return p.now
}

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

// adaptProcs sets how many processors Go uses, until ctx ends. The environment variable GOMAXPROCS wins over "auto". spent tells how
// much CPU time the process has used.
func adaptProcs(ctx context.Context, f procsFlag, spent func() time.Duration, told func(int)) {
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
	at, used := time.Now(), spent()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, total := time.Now(), spent()
		before := p.now
		if n := p.look(float64(total-used) / float64(now.Sub(at))); n != before {
			runtime.GOMAXPROCS(n)
			told(n)
		}
		at, used = now, total
	}
}
