package rabbitmq

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"github.com/sourcegraph/conc"
)

// child is a process of ours, and a goroutine that waits for its end.
type child struct {
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	waiter conc.WaitGroup
}

// startChild starts a process in a folder. What closes holds is closed when the process has ended, or could not be started.
func startChild(cmd *exec.Cmd, dir string, closes ...io.Closer) (*child, error) {
	c := &child{cmd: cmd, done: make(chan struct{})}
	release := func() {
		for _, x := range closes {
			_ = x.Close()
		}
	}
	cmd.Dir = dir
	cmd.WaitDelay = time.Second // for grandchildren that hold our end of the output
	// A group of its own: an interrupt typed at the terminal is for us to pass on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		release()
		return nil, err
	}
	c.waiter.Go(func() {
		_ = cmd.Wait() // how it ended does not matter: it was stopped, or its log says why
		release()
		close(c.done)
	})
	return c, nil
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

func (c *child) signal(s syscall.Signal) error { return c.cmd.Process.Signal(s) }

// end sends a signal and waits for the process, which may be paused or have ended; when ctx ends first, it is killed.
func (c *child) end(ctx context.Context, s syscall.Signal) error {
	_ = c.signal(s)
	_ = c.signal(syscall.SIGCONT)
	var err error
	select {
	case <-c.done:
	case <-ctx.Done():
		err = fmt.Errorf("it did not end by itself and was killed: %w", context.Cause(ctx))
		_ = c.signal(syscall.SIGKILL)
		<-c.done
	}
	return err
}
