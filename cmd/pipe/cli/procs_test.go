package cli

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/conc"
)

func TestProcsDecisions(t *testing.T) {
	p := &procs{now: 1, most: 4}
	waiting := 0
	feed := func(used float64, looks, want int) {
		t.Helper()
		for range looks {
			p.look(used, waiting)
		}
		if p.now != want {
			t.Errorf("after %d looks at %.1f used: %d, not %d", looks, used, p.now, want)
		}
	}
	feed(0.5, 100, 1)
	feed(0.9, procsBusyLooks-1, 1)
	feed(0.1, 1, 1) // a short peak is none
	feed(0.9, procsBusyLooks, 2)
	feed(2, procsBusyLooks, 3)
	feed(3, procsBusyLooks*10, 4) // there are no more
	feed(2.5, 1000, 4)            // three would be busy
	feed(1.7, procsIdleLooks, 3)
	feed(0, procsIdleLooks-1, 3)
	feed(3, 1, 3)
	feed(0, 2*procsIdleLooks, 1)
	feed(0, 1000, 1)
	waiting = 1
	feed(0.4, procsQueueLooks-1, 1)
	feed(0.4, 1, 2) // others have the machine, and somebody waits
	feed(0.4, procsIdleLooks, 1)
	waiting = 5
	feed(0.4, 1000, 4)
}

// TestProcsFollowTheWork expects a second processor when the first is busy, and that it goes again.
func TestProcsFollowTheWork(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 || os.Getenv("GOMAXPROCS") != "" || !cpuTimeKnown {
		t.Skip("one processor, or not to be changed")
	}
	before := runtime.GOMAXPROCS(0)
	ctx, cancel := context.WithCancel(context.Background())
	told := make(chan int, 1000)
	var load atomic.Int64 // hundredths of a processor
	load.Store(99)
	last, used := time.Now(), time.Duration(0)
	spent := func() (time.Duration, int) {
		now := time.Now()
		used += now.Sub(last) * time.Duration(load.Load()) / 100
		last = now
		return used, 0
	}
	var work conc.WaitGroup
	work.Go(func() { adaptProcs(ctx, 0, spent, func(n int) { told <- n }) })
	if n := <-told; n != 2 || runtime.GOMAXPROCS(0) != 2 {
		t.Errorf("%d, %d", n, runtime.GOMAXPROCS(0))
	}
	load.Store(1)
	if n := <-told; n != 1 || runtime.GOMAXPROCS(0) != 1 {
		t.Errorf("%d, %d", n, runtime.GOMAXPROCS(0))
	}
	cancel()
	work.Wait()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("%d are left, not %d", n, before)
	}
}

// TestRealLoad expects work to cost time, and goroutines that have work to wait for their turn.
func TestRealLoad(t *testing.T) {
	before, _ := realLoad()
	ctx, cancel := context.WithCancel(context.Background())
	var work conc.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for ctx.Err() == nil { // has work all the time
			}
		})
	}
	for {
		if used, waiting := realLoad(); waiting > 1 && (used > before || !cpuTimeKnown) {
			break
		}
	}
	cancel()
	work.Wait()
}

func TestProcsFlag(t *testing.T) {
	var f procsFlag
	for text, want := range map[string]int{"auto": 0, "1": 1, "16": 16} {
		if err := f.Set(text); err != nil || int(f) != want || f.String() != text {
			t.Errorf("%s: %v, %d", text, err, f)
		}
	}
	for _, text := range []string{"", "0", "-1", "many", "9999"} {
		if err := f.Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
