package pool

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bitten atomic.Int32
		var excuse atomic.Bool
		d := watchdog{patience: time.Second, excused: func(time.Duration) bool { return excuse.Load() }, bite: func() { bitten.Add(1) }}
		expect := func(n int32, what string) {
			t.Helper()
			synctest.Wait()
			if got := bitten.Load(); got != n {
				t.Fatalf("%s: it has bitten %d times, not %d", what, got, n)
			}
		}
		for range 3 {
			d.wake()
			time.Sleep(900 * time.Millisecond)
		}
		d.sleep()
		time.Sleep(time.Hour)
		expect(0, "always in time")

		d.wake()
		excuse.Store(true)
		time.Sleep(10500 * time.Millisecond)
		expect(0, "with an excuse")
		excuse.Store(false)
		time.Sleep(time.Second)
		expect(1, "when the excuse is no more")
		time.Sleep(time.Hour)
		expect(1, "later")
		d.sleep()

		d.wake()
		d.sleep()
		d.look() // the timer had run out, and comes late
		expect(1, "asleep")
		d.wake()
		d.look()
		expect(1, "awake again")
		d.sleep()
	})
}
