package pool

import (
	"sync"
	"time"
)

// watchdog calls bite when it has been awake for too long, unless there is an excuse: then it waits as long again. It is safe to use from many
// goroutines. Once asleep it does not bite, however late its timer is.
type watchdog struct {
	patience time.Duration
	excused  func(time.Duration) bool
	bite     func()

	mu    sync.Mutex
	timer *time.Timer
	due   time.Time // zero while it is asleep
}

// wake starts the time, or starts it anew.
func (d *watchdog) wake() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = time.Now().Add(d.patience)
	if d.timer == nil {
		d.timer = time.AfterFunc(d.patience, d.look)
		return
	}
	d.timer.Reset(d.patience)
}

// sleep ends the time.
func (d *watchdog) sleep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due = time.Time{}
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *watchdog) look() {
	if d.overdue() {
		d.bite()
	}
}

func (d *watchdog) overdue() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.due.IsZero() || time.Now().Before(d.due): // the timer had run out when the time ended, or was started anew
		return false
	case d.excused(d.patience):
		d.due = time.Now().Add(d.patience)
		d.timer.Reset(d.patience)
		return false
	}
	d.due = time.Time{}
	return true
}
