//go:build !unix

package cli

import "time"

const cpuTimeKnown = false

func cpuTime() time.Duration { return 0 }
