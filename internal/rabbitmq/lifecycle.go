package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	startTimeout = 2 * time.Minute        // how long a broker may take to take connections
	stopTimeout  = 30 * time.Second       // how long it may take to end by itself
	pollInterval = 100 * time.Millisecond // between two looks at whether it takes connections
)

var (
	errStopped  = errors.New("the RabbitMQ node has been stopped")
	errAttached = errors.New("the RabbitMQ node belongs to another process: start one to stop it, kill it or pause it")
	errDown     = errors.New("the broker does not run")
)

// Resume starts the broker again after Halt or Kill, on the port and with the data that it had, and waits until it takes
// connections.
func (n *Node) Resume(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	return n.resume(ctx)
}

func (n *Node) resume(ctx context.Context) error {
	switch {
	case n.attached:
		return errAttached
	case n.stopped:
		return errStopped
	case n.PID() == 0:
		if err := n.startBroker(); err != nil {
			return fmt.Errorf("start the broker: %w", err)
		}
	}
	return n.waitReady(ctx)
}

func (n *Node) startGuard() (err error) {
	remove := ""
	if n.ownsDir() {
		remove = n.dir
	}
	n.guard, err = startGuard(remove)
	return err
}

// startEpmd starts the name server that the node would otherwise start itself, and leave running.
func (n *Node) startEpmd() error {
	program := "epmd"
	if n.options.Root == "" {
		var err error
		if program, err = exec.LookPath(program); err != nil {
			return fmt.Errorf("find epmd, which comes with Erlang: %w", err)
		}
	}
	cmd := n.command(context.Background(), program, "-port", strconv.Itoa(n.epmd), "-address", "127.0.0.1")
	cmd.Env = n.environment()
	var err error
	if n.daemon, err = startChild(cmd, n.dir); err != nil {
		return fmt.Errorf("start epmd: %w", err)
	}
	n.guard.watch("epmd", n.daemon.pid())
	return nil
}

func (n *Node) startBroker() error {
	console, err := os.OpenFile(n.in("console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := n.command(context.Background(), n.script)
	cmd.Env = n.environment()
	cmd.Stdout = console
	if n.options.Log != nil {
		cmd.Stdout = io.MultiWriter(console, n.options.Log)
	}
	cmd.Stderr = cmd.Stdout
	broker, err := startChild(cmd, n.dir, console)
	if err != nil {
		return err
	}
	n.guard.watch("broker", broker.pid())
	n.broker.Store(broker)
	return nil
}

// command is a program of the node's, in the system that it runs in.
func (n *Node) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if n.options.Root == "" {
		return exec.CommandContext(ctx, program, args...)
	}
	args = append([]string{"--mount", "--propagation", "private", "sh", "-euc", enter, "sh", n.options.Root, n.dir, program}, args...)
	return exec.CommandContext(ctx, "unshare", args...)
}

// enter becomes a program ($3 …) in the system in folder $1, with the node's folder $2 as [inside]. What it mounts is in a mount
// namespace of its own, and so ends with it.
const enter = `
mount --bind /proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1` + inside + `"
root=$1
shift 2
exec chroot "$root" "$@"`

// inside is where the node's folder is in a system of its own.
const inside = "/mnt"

// waitReady waits until the broker, and no other, takes connections on the port.
func (n *Node) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not within %s", startTimeout))
	defer cancel()
	broker := n.broker.Load()
	for {
		ready, reason := n.ready()
		if ready {
			return nil
		}
		select {
		case <-broker.done:
			return fmt.Errorf("the broker ended at its start; the end of its log:\n%s", n.consoleTail())
		case <-n.daemon.done:
			return errors.New("epmd ended at its start")
		case <-ctx.Done():
			return fmt.Errorf("wait for the broker to take connections: %w (%w); the end of its log:\n%s", context.Cause(ctx), reason, n.consoleTail())
		case <-time.After(pollInterval):
		}
	}
}

func (n *Node) ready() (bool, error) {
	conn, err := amqp.DialConfig(n.URL(), amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)})
	if err != nil {
		return false, err
	}
	defer conn.CloseDeadline(time.Now().Add(5 * time.Second))
	if conn.Properties["cluster_name"] != n.identity {
		return false, errors.New("another broker has the port")
	}
	return true, nil
}

func (n *Node) consoleTail() string {
	b, _ := os.ReadFile(n.in("console.log"))
	return string(b[max(0, len(b)-2000):])
}

// Halt stops the broker as an operator does, and waits for its end; the data stays for Resume. When ctx ends first, or
// after half a minute, the broker is killed and an error says so.
func (n *Node) Halt(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	return n.halt(ctx)
}

func (n *Node) halt(ctx context.Context) error {
	if n.attached {
		return errAttached
	}
	broker := n.broker.Load()
	if broker == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, stopTimeout, fmt.Errorf("not within %s", stopTimeout))
	defer cancel()
	if err := broker.end(ctx, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the broker: %w", err)
	}
	return nil
}

// Restart stops the broker and starts it again: Halt and Resume.
func (n *Node) Restart(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	if err := n.halt(ctx); err != nil {
		return err
	}
	return n.resume(ctx)
}

// Kill ends the broker at once (SIGKILL), even one that is starting, and waits for its end; the data stays for Resume.
func (n *Node) Kill() error {
	if n.attached {
		return errAttached
	}
	if broker := n.broker.Load(); broker != nil {
		return broker.end(context.Background(), syscall.SIGKILL)
	}
	return nil
}

// Pause stops the broker's process where it is (SIGSTOP), until Unpause: its connections stay open and silent.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Unpause lets a paused broker go on.
func (n *Node) Unpause() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) error {
	if n.attached {
		return errAttached
	}
	if n.PID() == 0 {
		return errDown
	}
	return n.broker.Load().signal(s)
}

// Stop stops the broker and its epmd, and removes the folder if Start made it. Stopping again does nothing, nor does
// stopping a node that another process started.
func (n *Node) Stop(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	if n.stopped || n.attached {
		return nil
	}
	n.stopped = true
	errs := []error{n.halt(ctx)}
	if n.daemon != nil && n.joins == nil {
		errs = append(errs, n.daemon.end(context.WithoutCancel(ctx), syscall.SIGKILL))
	}
	errs = append(errs, n.removeDir())
	if n.guard != nil {
		n.guard.dismiss()
	}
	return errors.Join(errs...)
}
