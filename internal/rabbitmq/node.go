// Package rabbitmq starts private RabbitMQ nodes on loopback, with folders, ports and cookies of their own: for
// trying pipe out, and for tests. A node ends with the process that started it, whatever ends that.
package rabbitmq

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Options say how to start a node. The zero value is usable.
type Options struct {
	// Dir is where the node's folders go; default: a new temporary folder, which Stop removes.
	Dir string
	// Port is where the node takes AMQP connections; 0 picks a free one.
	Port int
	// Plugins are enabled besides none.
	Plugins []string
	// Log takes the node's console output; default: only the file console.log in its folder has it.
	Log io.Writer
}

// Node is a RabbitMQ node. Its methods may be called from many goroutines, one at a time taking effect.
type Node struct {
	options Options
	script  string
	dir     string
	ownDir  bool
	port    int
	dist    int // the port of Erlang's distribution
	epmd    int // the port of its name server

	mu      sync.Mutex
	broker  *child
	daemon  *child // epmd
	stopped bool
}

// Start starts a node and waits until it takes connections. The caller stops it.
func Start(ctx context.Context, o Options) (*Node, error) {
	script, err := Find()
	if err != nil {
		return nil, err
	}
	var failures []error
	for range 3 { // a free port may be taken before the node has it
		n := &Node{options: o, script: script, port: o.Port}
		if err := n.prepare(); err != nil {
			return nil, fmt.Errorf("start RabbitMQ: %w", err)
		}
		err := n.start(ctx)
		if err == nil {
			return n, nil
		}
		failures = append(failures, err)
		_ = n.Stop(context.WithoutCancel(ctx))
		if o.Port != 0 || ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("start RabbitMQ: %w", errors.Join(failures...))
}

// URL is where the node takes connections.
func (n *Node) URL() string { return n.VHostURL("/") }

// VHostURL is the URL of a virtual host of the node.
func (n *Node) VHostURL(vhost string) string {
	return fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/%s", n.port, url.PathEscape(vhost))
}

// Port is the node's AMQP port.
func (n *Node) Port() int { return n.port }

// Dir is the folder that everything of the node is in.
func (n *Node) Dir() string { return n.dir }

// PID is the process of the broker, 0 while it does not run.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broker == nil {
		return 0
	}
	return n.broker.pid()
}

// name is the node's name in Erlang's distribution.
func (n *Node) name() string { return fmt.Sprintf("pipe%d@localhost", n.port) }

func (n *Node) prepare() error {
	n.dir = n.options.Dir
	if n.dir == "" {
		dir, err := os.MkdirTemp("", "pipe-rabbitmq-")
		if err != nil {
			return err
		}
		n.dir, n.ownDir = dir, true
	}
	for _, sub := range []string{"mnesia", "log", "home", "gen"} {
		if err := os.MkdirAll(filepath.Join(n.dir, sub), 0o700); err != nil {
			return err
		}
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	if n.port == 0 {
		n.port = ports[0]
	}
	n.dist, n.epmd = ports[1], ports[2]
	return n.writeFiles()
}

func (n *Node) writeFiles() error {
	cookie := make([]byte, 16)
	_, _ = rand.Read(cookie)
	conf := fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d\ndisk_free_limit.absolute = 50MB\nlog.console = true\nlog.file = false\n", n.port)
	for _, f := range []struct {
		name, content string
		mode          os.FileMode
	}{
		{"home/.erlang.cookie", hex.EncodeToString(cookie), 0o400},
		{"rabbitmq.conf", conf, 0o600},
		{"enabled_plugins", "[" + strings.Join(n.options.Plugins, ",") + "].\n", 0o600},
	} {
		path := filepath.Join(n.dir, f.name)
		if _, err := os.Stat(path); err == nil && f.mode == 0o400 {
			continue // a cookie that is there stays
		}
		if err := os.WriteFile(path, []byte(f.content), f.mode); err != nil {
			return err
		}
	}
	return nil
}

// freePorts asks the kernel for ports that nobody listens on.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// environment is what keeps the node apart from every other on the machine.
func (n *Node) environment() []string {
	in := func(parts ...string) string { return filepath.Join(append([]string{n.dir}, parts...)...) }
	port := strconv.Itoa
	return append(os.Environ(),
		"HOME="+in("home"),
		"ERL_EPMD_PORT="+port(n.epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME="+n.name(),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT="+port(n.port), "RABBITMQ_DIST_PORT="+port(n.dist),
		"RABBITMQ_MNESIA_BASE="+in("mnesia"), "RABBITMQ_LOG_BASE="+in("log"),
		"RABBITMQ_SCHEMA_DIR="+in("gen"), "RABBITMQ_GENERATED_CONFIG_DIR="+in("gen"),
		"RABBITMQ_LOGS=-", "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_CONFIG_FILE="+in("rabbitmq.conf"), "RABBITMQ_ADVANCED_CONFIG_FILE="+in("none.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+in("enabled_plugins"), "RABBITMQ_PID_FILE="+in("pid"),
		// The schedulers do not spin while they wait: idle time is not billed to whoever measures beside.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
		"RUNNING_UNDER_SYSTEMD=true", // the script then becomes the VM, so that its process is the broker's
	)
}

func (n *Node) start(ctx context.Context) error {
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		return fmt.Errorf("find Erlang's epmd: %w", err)
	}
	n.mu.Lock()
	n.daemon, err = startChild(nil, n.dir, n.environment(), "", epmd, "-port", strconv.Itoa(n.epmd), "-address", "127.0.0.1")
	n.mu.Unlock()
	if err != nil {
		return err
	}
	return n.Resume(ctx)
}

// Resume starts the broker again, on the port and with the data that it had, and waits until it takes connections.
func (n *Node) Resume(ctx context.Context) error {
	console, err := os.OpenFile(filepath.Join(n.dir, "console.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer console.Close()
	n.mu.Lock()
	if n.broker != nil && n.broker.running() {
		n.mu.Unlock()
		return nil
	}
	remove := ""
	if n.ownDir {
		remove = n.dir
	}
	broker, err := startChild(console, n.dir, n.environment(), remove, n.script)
	if err == nil {
		n.broker = broker
	}
	n.mu.Unlock()
	if err != nil {
		return err
	}
	return n.waitReady(ctx, broker)
}

func (n *Node) waitReady(ctx context.Context, broker *child) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	config := amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)}
	for {
		if conn, err := amqp.DialConfig(n.URL(), config); err == nil {
			return conn.Close()
		}
		select {
		case <-broker.done:
			return fmt.Errorf("the broker ended at its start:\n%s", n.consoleTail())
		case <-ctx.Done():
			return fmt.Errorf("the broker takes no connections: %w\n%s", context.Cause(ctx), n.consoleTail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (n *Node) consoleTail() string {
	b, _ := os.ReadFile(filepath.Join(n.dir, "console.log"))
	return string(b[max(0, len(b)-2000):])
}

// Halt stops the broker as an operator does; its data stays for Resume.
func (n *Node) Halt(ctx context.Context) error { return n.end(ctx, syscall.SIGTERM) }

// Kill ends the broker at once; its data stays for Resume.
func (n *Node) Kill() error { return n.end(context.Background(), syscall.SIGKILL) }

// Restart stops the broker and starts it again.
func (n *Node) Restart(ctx context.Context) error {
	if err := n.Halt(ctx); err != nil {
		return err
	}
	return n.Resume(ctx)
}

// Pause stops the broker's process where it is, until Unpause.
func (n *Node) Pause() error { return n.signal(syscall.SIGSTOP) }

// Unpause lets a paused broker go on.
func (n *Node) Unpause() error { return n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.broker == nil {
		return errors.New("the broker does not run")
	}
	return n.broker.signal(s)
}

func (n *Node) end(ctx context.Context, s syscall.Signal) error {
	n.mu.Lock()
	broker := n.broker
	n.mu.Unlock()
	if broker == nil {
		return nil
	}
	return broker.end(ctx, s)
}

// Stop stops the broker and its epmd, and removes the folder if Start made it. Stopping twice is fine.
func (n *Node) Stop(ctx context.Context) error {
	n.mu.Lock()
	broker, daemon, stopped := n.broker, n.daemon, n.stopped
	n.stopped = true
	n.mu.Unlock()
	if stopped {
		return nil
	}
	var errs []error
	if broker != nil {
		errs = append(errs, broker.end(ctx, syscall.SIGTERM))
	}
	if daemon != nil {
		errs = append(errs, daemon.end(ctx, syscall.SIGKILL))
	}
	if n.ownDir {
		errs = append(errs, os.RemoveAll(n.dir))
	}
	return errors.Join(errs...)
}

// AddVHosts makes virtual hosts that guest may do everything in. One call for many is much faster than a call for each.
func (n *Node) AddVHosts(ctx context.Context, names ...string) error {
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf("<<%q>>", name))
	}
	_, err := n.Ctl(ctx, "eval", `lists:foreach(fun(V) ->
		rabbit_vhost:add(V, <<"pipe">>),
		rabbit_auth_backend_internal:set_permissions(<<"guest">>, V, <<".*">>, <<".*">>, <<".*">>, <<"pipe">>)
	end, [`+strings.Join(list, ",")+`]).`)
	return err
}

// Ctl runs rabbitmqctl on the node and returns what it printed.
func (n *Node) Ctl(ctx context.Context, args ...string) (string, error) {
	script, err := findScript("rabbitmqctl")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, script, append([]string{"-q", "-n", n.name()}, args...)...)
	cmd.Env = n.environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("rabbitmqctl %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
