package pool

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// quickPeriod is how long, at most, the runtime's monitor sleeps while calls are quick.
const quickPeriod = 50 * time.Millisecond

// quick reads from a socket, and writes to one, that does not block. Its calls are hidden from Go's scheduler, which costs less than
// the calls of package syscall: of these, the first after everything was idle wakes the runtime's monitor (sysmon in runtime/proc.go). For as
// long as something runs it then looks every 20 µs whether a call is stuck, which for a process that gets a few messages every
// millisecond was a quarter of all its CPU time. A call that does not block does not get stuck.
//
// The monitor is also what interrupts a goroutine that runs for long, and it sleeps while everything is idle: until the next timer, or
// until a call wakes it. So the first call after a pause is one of package syscall's, and from then on, for as long as there are calls,
// a timer is running, which wakes it every quickPeriod.
//
// It is safe to use from many goroutines.
type quick struct {
	state atomic.Int32
	timer *time.Timer
}

// The states of quick. The timer is running in all but the first.
const (
	quickOff = iota
	quickOn
	quickUsed // there was a call since the timer ran out
)

func newQuick() *quick {
	q := new(quick)
	q.timer = time.AfterFunc(time.Hour, q.tick)
	q.timer.Stop()
	return q
}

// tick goes on if there was a call.
func (q *quick) tick() {
	if q.state.CompareAndSwap(quickOn, quickOff) {
		return
	}
	q.state.Store(quickOn)
	q.timer.Reset(quickPeriod)
}

// start reports whether a call may be quick.
func (q *quick) start() bool {
	if q.state.Load() == quickUsed {
		return true
	}
	if q.state.Swap(quickUsed) == quickOff {
		q.timer.Reset(quickPeriod) // before the call, so that the monitor sees the timer
		return false
	}
	return true
}

// read is syscall.Read.
func (q *quick) read(fd int, b []byte) (int, error) { return q.call(syscall.SYS_READ, fd, b) }

// write is syscall.Write.
func (q *quick) write(fd int, b []byte) (int, error) { return q.call(syscall.SYS_WRITE, fd, b) }

func (q *quick) call(number uintptr, fd int, b []byte) (int, error) {
	var n uintptr
	var errno syscall.Errno
	if q.start() {
		n, _, errno = syscall.RawSyscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	} else {
		n, _, errno = syscall.Syscall(number, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
