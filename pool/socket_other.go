//go:build !unix

package pool

import "net"

// newSocket returns conn itself: the flusher does all the writing.
func newSocket(conn net.Conn) net.Conn { return conn }
