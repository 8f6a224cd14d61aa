//go:build unix

package cli

import (
	"os"
	"syscall"
)

// controlSignals are the signals that ask something of a running command.
var controlSignals = map[os.Signal]string{
	syscall.SIGHUP: "reload", syscall.SIGUSR1: "pause", syscall.SIGUSR2: "resume",
}
