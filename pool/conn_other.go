//go:build !unix

package pool

import "net"

// tryWriter writes what a socket takes without waiting.
type tryWriter interface {
	tryWrite(b []byte) (int, error)
}

// newTryWriter returns nil: the flusher does all the writing.
func newTryWriter(net.Conn) tryWriter { return nil }
