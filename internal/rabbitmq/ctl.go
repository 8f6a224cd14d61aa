package rabbitmq

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Ctl runs rabbitmqctl on the node and returns what it printed. Each call starts an Erlang virtual machine, which takes a
// second or two.
func (n *Node) Ctl(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := n.command(ctx, filepath.Join(filepath.Dir(n.script), "rabbitmqctl"), append([]string{"-q", "-n", n.name()}, args...)...)
	cmd.Env = n.environment()
	cmd.Dir = n.dir
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String() + stdout.String())
		return stdout.String(), fmt.Errorf("rabbitmqctl %s: %w: %s", strings.Join(args[:min(1, len(args))], ""), err, said)
	}
	return stdout.String(), nil
}

// AddVHosts makes virtual hosts that guest may do everything in; one that is there stays as it is. One call for many is much
// faster than a call for each.
func (n *Node) AddVHosts(ctx context.Context, names ...string) error {
	return n.each(ctx, names, `ok = rabbit_vhost:add(V, <<"pipe">>), `+allow(`<<"guest">>`))
}

// DeleteVHosts deletes virtual hosts, and with them all that is in them and the connections to them.
func (n *Node) DeleteVHosts(ctx context.Context, names ...string) error {
	return n.each(ctx, names, `rabbit_vhost:delete(V, <<"pipe">>)`)
}

// AddUser makes a user who may do everything in some virtual hosts, and nothing in others.
func (n *Node) AddUser(ctx context.Context, user, password string, vhosts ...string) error {
	name := binary(user)
	_, err := n.eval(ctx, fmt.Sprintf(`rabbit_auth_backend_internal:add_user(%s, %s, <<"pipe">>)`, name, binary(password)))
	if err != nil {
		return fmt.Errorf("add the user %q: %w", user, err)
	}
	return n.each(ctx, vhosts, allow(name))
}

// allow is Erlang that lets a user do everything in the virtual host V.
func allow(user string) string {
	return `rabbit_auth_backend_internal:set_permissions(` + user + `, V, <<".*">>, <<".*">>, <<".*">>, <<"pipe">>)`
}

// each evaluates Erlang for every virtual host V.
func (n *Node) each(ctx context.Context, vhosts []string, erlang string) error {
	if len(vhosts) == 0 {
		return nil
	}
	list := make([]string, len(vhosts))
	for i, v := range vhosts {
		list[i] = binary(v)
	}
	_, err := n.eval(ctx, fmt.Sprintf("lists:foreach(fun(V) -> %s end, [%s])", erlang, strings.Join(list, ",")))
	return err
}

// eval evaluates an Erlang expression in the broker, and returns its value as text.
func (n *Node) eval(ctx context.Context, erlang string) (string, error) {
	return n.Ctl(ctx, "eval", erlang+".")
}

// binary writes a text as an Erlang binary, byte by byte: whatever is in it, it stays a text.
func binary(s string) string {
	list := make([]string, len(s))
	for i := range len(s) {
		list[i] = strconv.Itoa(int(s[i]))
	}
	return "<<" + strings.Join(list, ",") + ">>"
}

// Messages returns how many messages a queue has, those that consumers hold included; -1 where the broker does not tell.
func (n *Node) Messages(ctx context.Context, vhost, queue string) int {
	said, err := n.Ctl(ctx, "list_queues", "--quiet", "--no-table-headers", "-p", vhost, "name", "messages")
	if err != nil {
		return -1
	}
	for line := range strings.Lines(said) {
		if name, count, _ := strings.Cut(strings.TrimSpace(line), "\t"); name == queue {
			return number(count)
		}
	}
	return -1
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
