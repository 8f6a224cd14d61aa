//go:build !unix

package cli

import "os"

// controlSignals are the signals that ask something of a running command: none here.
var controlSignals = map[os.Signal]string{}
