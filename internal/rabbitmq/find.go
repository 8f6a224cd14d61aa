package rabbitmq

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotInstalled says how to get RabbitMQ.
var ErrNotInstalled = errors.New("RabbitMQ is not installed: on Debian and Ubuntu `sudo apt-get install rabbitmq-server`, on macOS `brew install rabbitmq`")

// folders are where distributions put the scripts. The wrappers in /usr/sbin serve only root and the
// user rabbitmq, so they come last.
var folders = []string{
	"/usr/lib/rabbitmq/bin",
	"/opt/homebrew/sbin",
	"/usr/local/sbin",
	"/usr/sbin",
}

// Find returns the path of the rabbitmq-server script, or [ErrNotInstalled].
func Find() (string, error) { return find(folders) }

// findIn is Find for a system in a folder; "" is this one. The path is as seen from inside.
func findIn(root string) (string, error) {
	if root == "" {
		return Find()
	}
	const script = "/usr/lib/rabbitmq/bin/rabbitmq-server"
	if _, err := os.Stat(filepath.Join(root, script)); err != nil {
		return "", fmt.Errorf("find RabbitMQ in %s: %w: make that folder with .ci/rabbitmq4", root, err)
	}
	return script, nil
}

func find(folders []string) (string, error) {
	const script = "rabbitmq-server"
	for _, folder := range folders {
		path := filepath.Join(folder, script)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	if path, err := exec.LookPath(script); err == nil {
		return path, nil
	}
	return "", ErrNotInstalled
}
