package rabbitmq

import (
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// prepare chooses ports and writes what a node reads at its start.
func (n *Node) prepare() error {
	if n.port != 0 {
		if err := checkPort(n.port); err != nil {
			return fmt.Errorf("take port %d: %w: stop what uses it, or choose another port", n.port, err)
		}
	}
	if err := n.choosePorts(nil); err != nil {
		return err
	}
	n.newIdentity()
	return n.makeFiles()
}

// makeFiles makes the folder and what is in it.
func (n *Node) makeFiles() error {
	if err := n.makeDir(); err != nil {
		return fmt.Errorf("make the node's folder: %w", err)
	}
	if err := n.writeFiles(); err != nil {
		return fmt.Errorf("write the node's configuration: %w", err)
	}
	return nil
}

func (n *Node) newIdentity() { n.identity, n.cookie = rand.Text(), rand.Text() }

func (n *Node) makeDir() (err error) {
	if n.options.Dir == "" {
		n.dir, err = os.MkdirTemp("", "pipe-rabbitmq-")
	} else {
		n.dir, err = filepath.Abs(n.options.Dir)
	}
	if err != nil {
		return err
	}
	for _, sub := range []string{"mnesia", "log", "home", "gen"} {
		if err := os.MkdirAll(n.in(sub), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// in returns a path in the node's folder.
func (n *Node) in(parts ...string) string { return filepath.Join(append([]string{n.dir}, parts...)...) }

// seen returns a path in the node's folder as the node's processes see it.
func (n *Node) seen(parts ...string) string {
	if n.options.Root == "" {
		return n.in(parts...)
	}
	return filepath.Join(append([]string{inside}, parts...)...)
}

func (n *Node) writeFiles() error {
	if err := writeCookie(n.in("home", ".erlang.cookie"), n.cookie); err != nil {
		return err
	}
	plugins := "[" + strings.Join(n.options.Plugins, ",") + "].\n"
	if err := os.WriteFile(n.in("enabled_plugins"), []byte(plugins), 0o600); err != nil {
		return err
	}
	conf := strings.Join(append([]string{
		"listeners.tcp.1 = 127.0.0.1:" + strconv.Itoa(n.port),
		"cluster_name = " + n.identity,
		"disk_free_limit.absolute = 50MB",
		"log.console = true",
		"log.file = false",
	}, n.options.Config...), "\n")
	return os.WriteFile(n.in("rabbitmq.conf"), []byte(conf+"\n"), 0o600)
}

// writeCookie makes the secret that Erlang's nodes know each other by; one that is there stays.
func writeCookie(path, secret string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(secret)
	return errors.Join(err, f.Close())
}

// name is the node's name in Erlang's distribution. The data is filed under it: a folder that has data keeps its name.
func (n *Node) name() string {
	if data, _ := filepath.Glob(n.in("mnesia", "pipe*@localhost")); len(data) > 0 {
		return filepath.Base(data[0])
	}
	return fmt.Sprintf("pipe%d@localhost", n.port)
}

// choosePorts picks the ports that were not given: none of those taken, to which it adds them.
func (n *Node) choosePorts(taken map[int]bool) error {
	if taken == nil {
		taken = map[int]bool{n.port: true}
	}
	for _, port := range []*int{&n.port, &n.dist, &n.epmd} {
		for try := 0; *port == 0; try++ {
			// Below the ports that kernels give to outgoing connections: one of those might take the port while
			// the broker is being restarted.
			candidate := 10_000 + mrand.IntN(20_000)
			err := checkPort(candidate)
			if err == nil && !taken[candidate] {
				*port, taken[candidate] = candidate, true
			} else if try == 100 {
				return fmt.Errorf("find a free port on 127.0.0.1: %w", err)
			}
		}
	}
	return nil
}

// checkPort says why a port of the loopback interface cannot be listened on.
func checkPort(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// environment is what keeps the node apart from every other on the machine.
func (n *Node) environment() []string {
	port := strconv.Itoa
	return append(cleanEnviron(),
		"HOME="+n.seen("home"),
		"ERL_EPMD_PORT="+port(n.epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME="+n.name(),
		"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1", "RABBITMQ_NODE_PORT="+port(n.port), "RABBITMQ_DIST_PORT="+port(n.dist),
		"RABBITMQ_MNESIA_BASE="+n.seen("mnesia"), "RABBITMQ_LOG_BASE="+n.seen("log"),
		"RABBITMQ_SCHEMA_DIR="+n.seen("gen"), "RABBITMQ_GENERATED_CONFIG_DIR="+n.seen("gen"),
		"RABBITMQ_LOGS=-", "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_CONFIG_FILE="+n.seen("rabbitmq.conf"), "RABBITMQ_ADVANCED_CONFIG_FILE="+n.seen("none.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+n.seen("enabled_plugins"), "RABBITMQ_PID_FILE="+n.seen("pid"),
		// The schedulers do not spin while they wait: idle time is not billed to whoever measures beside.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"+n.ticks(),
		"RUNNING_UNDER_SYSTEMD=true", // the script then becomes the VM, so that its process is the broker's
	)
}

// ticks sets how soon a node of a cluster misses another one that is silent; a node alone misses none.
func (n *Node) ticks() string {
	if n.clustered {
		return " -kernel net_ticktime 8"
	}
	return ""
}

// cleanEnviron is our environment without what would set up RabbitMQ or Erlang.
func cleanEnviron() []string {
	var env []string
	for _, v := range os.Environ() {
		foreign := strings.HasPrefix(v, "RABBITMQ_") || strings.HasPrefix(v, "ERL_") || strings.HasPrefix(v, "NOTIFY_SOCKET=")
		if !foreign {
			env = append(env, v)
		}
	}
	return env
}
