package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sourcegraph/conc/pool"
)

// Cluster is several nodes on loopback that form one broker. Its nodes are killed, paused, halted and resumed one by one, by their
// own methods; they are stopped together.
type Cluster struct{ nodes []*Node }

// StartCluster starts a cluster of size nodes that pauses a minority, and waits until all of them take connections and know each
// other. Dir and Port of the options are to be empty. The caller stops it. It leaves nothing behind when it fails.
func StartCluster(ctx context.Context, size int, o Options) (*Cluster, error) {
	script, err := findIn(o.Root)
	if err != nil {
		return nil, err
	}
	if o.Dir != "" || o.Port != 0 {
		return nil, errors.New("start a RabbitMQ cluster: a folder or a port is given, and there are several nodes")
	}
	var failures []error
	for range 3 {
		c := &Cluster{}
		for range size {
			c.nodes = append(c.nodes, &Node{options: o, script: script, clustered: true})
		}
		err := c.boot(ctx)
		if err == nil {
			return c, nil
		}
		failures = append(failures, err, c.Stop(context.WithoutCancel(ctx)))
		if ctx.Err() != nil || !c.lostPort() {
			break
		}
	}
	return nil, fmt.Errorf("start a RabbitMQ cluster: %w", errors.Join(failures...))
}

func (c *Cluster) boot(ctx context.Context) error {
	if err := c.prepare(); err != nil {
		return err
	}
	first := c.nodes[0]
	for _, n := range c.nodes {
		if err := n.startGuard(); err != nil {
			return err
		}
	}
	if err := first.startEpmd(); err != nil {
		return err
	}
	for _, n := range c.nodes[1:] {
		n.daemon = first.daemon
	}
	if err := c.all(func(n *Node) error { return n.Resume(ctx) }); err != nil {
		return err
	}
	return c.Await(ctx)
}

// prepare chooses ports, of which no two are the same, and writes what the nodes read at their start.
func (c *Cluster) prepare() error {
	first, taken := c.nodes[0], map[int]bool{}
	for _, n := range c.nodes {
		if n != first {
			n.joins, n.epmd, n.identity, n.cookie = first, first.epmd, first.identity, first.cookie
		}
		if err := n.choosePorts(taken); err != nil {
			return err
		}
		if n == first {
			n.newIdentity()
		}
	}
	lines := []string{
		"cluster_formation.peer_discovery_backend = classic_config",
		"cluster_partition_handling = pause_minority",
	}
	for i, n := range c.nodes {
		lines = append(lines, "cluster_formation.classic_config.nodes."+strconv.Itoa(i+1)+" = "+n.name())
	}
	for _, n := range c.nodes {
		n.options.Config = append(lines[:len(lines):len(lines)], n.options.Config...)
		if err := n.makeFiles(); err != nil {
			return err
		}
	}
	return nil
}

// all does something with every node, with all at once.
func (c *Cluster) all(f func(*Node) error) error {
	p := pool.New().WithErrors()
	for _, n := range c.nodes {
		p.Go(func() error { return f(n) })
	}
	return p.Wait()
}

func (c *Cluster) lostPort() bool {
	for _, n := range c.nodes {
		if n.lostPort() {
			return true
		}
	}
	return false
}

// Nodes are the nodes, in the order in which the cluster's configuration has them.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// URLs are where the nodes take connections: a virtual host, as guest.
func (c *Cluster) URLs(vhost string) []string {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, n.VHostURL(vhost))
	}
	return urls
}

// Await waits until all nodes run, and every one of them sees all others; for two minutes at most.
func (c *Cluster) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not within %s", startTimeout))
	defer cancel()
	for _, n := range c.nodes {
		for {
			seen, err := n.running(ctx)
			if err == nil && len(seen) == len(c.nodes) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for the cluster to be whole: %w: %s sees %v (%w)", context.Cause(ctx), n.name(), seen, err)
			case <-time.After(pollInterval):
			}
		}
	}
	return nil
}

// running returns the nodes that a node sees running.
func (n *Node) running(ctx context.Context) ([]string, error) {
	said, err := n.Ctl(ctx, "cluster_status", "--formatter", "json")
	if err != nil {
		return nil, err
	}
	var status struct {
		Running []string `json:"running_nodes"`
	}
	if err := json.Unmarshal([]byte(said), &status); err != nil {
		return nil, fmt.Errorf("read the cluster's status: %w", err)
	}
	return status.Running, nil
}

// Leader returns the node that leads a queue: where its master is, or the leader of its group.
func (c *Cluster) Leader(ctx context.Context, vhost, queue string) (*Node, error) {
	var failures []error
	for _, n := range c.nodes {
		if n.PID() == 0 {
			continue
		}
		name, err := n.eval(ctx, fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(%s, queue, %s)), `+
			`io:format("~s", [case amqqueue:get_pid(Q) of {_, Node} -> Node; Pid -> node(Pid) end])`, binary(vhost), binary(queue)))
		failures = append(failures, err)
		for _, leader := range c.nodes {
			if err == nil && strings.Contains(name, leader.name()) {
				return leader, nil
			}
		}
	}
	return nil, fmt.Errorf("find the leader of the queue %q: no node tells: %w", queue, errors.Join(failures...))
}

// Isolate cuts a node off from all others, whatever its clients may do: neither side knows the other's secret any more. The node is
// a minority and pauses.
func (c *Cluster) Isolate(ctx context.Context, node *Node) error {
	return c.secrets(ctx, node, func(other *Node) string {
		return fmt.Sprintf("erlang:set_cookie('%s', cut), erlang:disconnect_node('%s')", other.name(), other.name())
	})
}

// Rejoin ends what Isolate did.
func (c *Cluster) Rejoin(ctx context.Context, node *Node) error {
	return c.secrets(ctx, node, func(other *Node) string {
		return fmt.Sprintf("erlang:set_cookie('%s', erlang:get_cookie())", other.name())
	})
}

// secrets evaluates Erlang on both sides of each pair of a node and another one.
func (c *Cluster) secrets(ctx context.Context, node *Node, erlang func(other *Node) string) error {
	return c.all(func(n *Node) error {
		if n != node {
			_, err := n.eval(ctx, erlang(node))
			return err
		}
		for _, other := range c.nodes {
			if other != node {
				if _, err := node.eval(ctx, erlang(other)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Stop stops all nodes and removes their folders. Stopping again does nothing.
func (c *Cluster) Stop(ctx context.Context) error {
	// What runs is not needed any more, and nodes that wait for each other do not end by themselves.
	killed := c.all((*Node).Kill)
	var errs []error
	for _, n := range c.nodes[1:] {
		errs = append(errs, n.Stop(ctx))
	}
	return errors.Join(killed, errors.Join(errs...), c.nodes[0].Stop(ctx)) // the first one last: it has the epmd
}
