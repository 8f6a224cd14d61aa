package rabbitmq

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/sourcegraph/conc"
)

// child is a process that ends with this one, even if this one is killed: beside it runs a shell that waits
// for the other end of a pipe that only we hold, and ends the child when it closes.
type child struct {
	cmd      *exec.Cmd
	watchdog *exec.Cmd
	hold     io.Closer     // our end of the watchdog's pipe
	done     chan struct{} // closed when the process has ended
	waiter   conc.WaitGroup
}

// watch waits for the end of its input, then ends process $1 and removes folder $2, if there is one.
const watch = `cat >/dev/null
kill -TERM "$1" 2>/dev/null
i=0
while kill -0 "$1" 2>/dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done
kill -KILL "$1" 2>/dev/null
if [ -n "$2" ]; then sleep 0.5; rm -rf "$2"; fi`

// startChild starts a process in a folder; it prints to output. remove is a folder to be removed if this process ends without having ended
// the child, or "".
func startChild(output *os.File, dir string, env []string, remove, name string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(name, args...), done: make(chan struct{})}
	c.cmd.Env = env
	c.cmd.Dir = dir
	if output != nil {
		c.cmd.Stdout, c.cmd.Stderr = output, output
	}
	// Groups of their own: an interrupt typed at the terminal is for us to pass on.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	c.waiter.Go(func() {
		_ = c.cmd.Wait()
		close(c.done)
	})
	if err := c.watch(remove); err != nil {
		_ = c.signal(syscall.SIGKILL)
		c.waiter.Wait()
		return nil, fmt.Errorf("watch over %s: %w", name, err)
	}
	return c, nil
}

func (c *child) watch(remove string) error {
	w := exec.Command("/bin/sh", "-c", watch, "watchdog", strconv.Itoa(c.pid()), remove)
	w.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	hold, err := w.StdinPipe()
	if err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	c.watchdog, c.hold = w, hold
	return nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *child) signal(s syscall.Signal) error {
	if !c.running() {
		return nil
	}
	return c.cmd.Process.Signal(s)
}

// end sends a signal and waits for the process; when ctx ends first, it is killed.
func (c *child) end(ctx context.Context, s syscall.Signal) error {
	if c.watchdog != nil {
		_ = syscall.Kill(-c.watchdog.Process.Pid, syscall.SIGKILL)
		_ = c.hold.Close()
		_ = c.watchdog.Wait()
		c.watchdog = nil
	}
	_ = c.signal(s)
	_ = c.signal(syscall.SIGCONT) // it may be paused
	var err error
	select {
	case <-c.done:
	case <-ctx.Done():
		err = fmt.Errorf("the process did not end by itself: %w", context.Cause(ctx))
		_ = c.signal(syscall.SIGKILL)
	}
	c.waiter.Wait()
	return err
}
