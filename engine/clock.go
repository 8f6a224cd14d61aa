package engine

import (
	"container/heap"
	"sync"
	"time"
)

// clock calls functions when they are due, one after the other. After stop everything is due at once.
type clock struct {
	mu      sync.Mutex
	due     dueHeap
	stopped bool
	closed  bool
	changed chan struct{} // has room for one
}

type dueItem struct {
	at time.Time
	f  func()
}

func newClock() *clock { return &clock{changed: make(chan struct{}, 1)} }

// at calls f at t, or soon after.
func (c *clock) at(t time.Time, f func()) {
	c.mu.Lock()
	heap.Push(&c.due, dueItem{t, f})
	c.mu.Unlock()
	c.wake()
}

// stop makes everything due, now and from now on.
func (c *clock) stop() {
	c.mu.Lock()
	c.stopped = true
	c.mu.Unlock()
	c.wake()
}

// close ends run once nothing is left to call.
func (c *clock) close() {
	c.mu.Lock()
	c.stopped, c.closed = true, true
	c.mu.Unlock()
	c.wake()
}

func (c *clock) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *clock) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		f, wait, closed := c.next()
		switch {
		case f != nil:
			f()
			continue
		case closed:
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-c.changed:
		}
	}
}

// next returns what is due, or how long to wait for it.
func (c *clock) next() (f func(), wait time.Duration, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) == 0 {
		return nil, time.Hour, c.closed
	}
	wait = time.Until(c.due[0].at)
	if wait > 0 && !c.stopped {
		return nil, wait, false
	}
	return heap.Pop(&c.due).(dueItem).f, 0, false
}

type dueHeap []dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueItem)) }

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	item := (*h)[last]
	(*h)[last] = dueItem{}
	*h = (*h)[:last]
	return item
}
