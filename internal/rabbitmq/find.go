package rabbitmq

import (
	"errors"
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

// Find returns the rabbitmq-server script, or [ErrNotInstalled].
func Find() (string, error) { return findScript("rabbitmq-server") }

func findScript(name string) (string, error) {
	for _, folder := range folders {
		path := filepath.Join(folder, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", ErrNotInstalled
}
