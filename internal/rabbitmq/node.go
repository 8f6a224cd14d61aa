// Package rabbitmq starts private RabbitMQ nodes on loopback, with folders, ports and a cookie of their own: for
// trying pipe out, and for tests. A node ends with the process that started it, whatever ends that.
package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
)

// Options say how to start a node. The zero value is usable.
type Options struct {
	// Dir is where the node's folders go; it must be of the caller's alone. A folder that a node left is taken up with
	// its data. Default: a new temporary folder, which Stop removes.
	Dir string
	// Port is where the node takes AMQP connections on 127.0.0.1; 0 picks a free one.
	Port int
	// Plugins are the plugins to enable; default: none. One that listens does so where RabbitMQ has it listen.
	Plugins []string
	// Config are further lines of rabbitmq.conf.
	Config []string
	// Root is the folder of a Debian system with RabbitMQ to run in, as `.ci/rabbitmq4` makes and prints it; default: this
	// system's RabbitMQ. It needs root. The node's folder stays outside, and is mounted where only the node's processes see it.
	Root string
	// Log takes the node's console output too, which always goes to console.log in its folder. Nothing is written to it
	// while the broker does not run.
	Log io.Writer
}

// Node is a RabbitMQ node. Its methods may be called from many goroutines; those that start and stop the broker take
// turns.
type Node struct {
	options  Options
	script   string // rabbitmq-server
	dir      string
	port     int
	dist     int    // the port of Erlang's distribution
	epmd     int    // the port of its name server
	identity string // what the broker calls its cluster, to tell it from another that has taken the port
	cookie   string // the secret of Erlang's distribution
	attached bool   // another process started it

	clustered bool
	joins     *Node // the first node of the cluster, which has the epmd of all; nil for itself

	turn    sync.Mutex // held by what starts and stops processes
	stopped bool
	daemon  *child // epmd
	guard   *guard
	broker  atomic.Pointer[child] // the last that was started; nil before
}

// Start starts a node and waits until it takes connections, for two minutes at most. The caller stops it. It fails with
// [ErrNotInstalled] where there is no RabbitMQ, and leaves nothing behind when it fails.
func Start(ctx context.Context, o Options) (*Node, error) {
	script, err := findIn(o.Root)
	if err != nil {
		return nil, err
	}
	var failures []error
	for range 3 {
		n := &Node{options: o, script: script, port: o.Port}
		err := n.boot(ctx)
		if err == nil {
			return n, nil
		}
		failures = append(failures, err, n.Stop(context.WithoutCancel(ctx)))
		if ctx.Err() != nil || !n.lostPort() {
			break
		}
	}
	return nil, fmt.Errorf("start RabbitMQ: %w", errors.Join(failures...))
}

// boot starts what a node consists of.
func (n *Node) boot(ctx context.Context) error {
	if err := n.prepare(); err != nil {
		return err
	}
	n.turn.Lock()
	defer n.turn.Unlock()
	if err := n.startGuard(); err != nil {
		return err
	}
	if err := n.startEpmd(); err != nil {
		return err
	}
	return n.resume(ctx)
}

// lostPort reports whether another process took a port between our choice of it and our use: another try may succeed.
func (n *Node) lostPort() bool {
	for _, port := range []int{n.port, n.dist, n.epmd} {
		if port != 0 && port != n.options.Port && checkPort(port) != nil {
			return true
		}
	}
	return false
}

// URL is where the node takes connections: the virtual host "/", as guest.
func (n *Node) URL() string { return n.VHostURL("/") }

// VHostURL is the URL of a virtual host of the node, for guest.
func (n *Node) VHostURL(vhost string) string { return n.UserURL("guest", "guest", vhost) }

// UserURL is the URL of a virtual host of the node, for a user.
func (n *Node) UserURL(user, password, vhost string) string {
	return fmt.Sprintf("amqp://%s@127.0.0.1:%d/%s", url.UserPassword(user, password), n.port, url.PathEscape(vhost))
}

// Port is the node's AMQP port.
func (n *Node) Port() int { return n.port }

// Dir is the folder that everything of the node is in.
func (n *Node) Dir() string { return n.dir }

// PID is the process of the broker, 0 while it does not run or if another process started it.
func (n *Node) PID() int {
	if broker := n.broker.Load(); broker != nil && broker.running() {
		return broker.pid()
	}
	return 0
}

// ownsDir reports whether the folder is ours to remove.
func (n *Node) ownsDir() bool { return n.options.Dir == "" && !n.attached && n.dir != "" }

func (n *Node) removeDir() error {
	if !n.ownsDir() {
		return nil
	}
	return os.RemoveAll(n.dir)
}
