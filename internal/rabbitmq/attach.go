package rabbitmq

import (
	"encoding/json"
	"fmt"
)

// coordinates are what another process needs to use a node.
type coordinates struct {
	Dir, Root        string
	Port, Dist, Epmd int
}

// Coordinates describe the node to another process, for [Attach].
func (n *Node) Coordinates() string {
	b, _ := json.Marshal(coordinates{n.dir, n.options.Root, n.port, n.dist, n.epmd})
	return string(b)
}

// Attach returns a node that another process of the same user has started and will stop. Stopping it from here does nothing;
// killing, pausing or restarting it is an error.
func Attach(text string) (*Node, error) {
	var c coordinates
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return nil, fmt.Errorf("attach to a RabbitMQ node: %w", err)
	}
	script, err := findIn(c.Root)
	if err != nil {
		return nil, err
	}
	return &Node{options: Options{Root: c.Root}, script: script, dir: c.Dir, port: c.Port, dist: c.Dist, epmd: c.Epmd, attached: true}, nil
}
