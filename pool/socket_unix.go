//go:build unix

package pool

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// socket is a TCP connection that is read, and written to without waiting, by system calls that cost the least (see quick).
type socket struct {
	net.Conn
	raw   syscall.RawConn
	quick *quick

	in, out transfer
}

// transfer is a read or a write under way.
type transfer struct {
	b    []byte
	n    int
	err  error
	once func(fd uintptr) bool // made once, so that a call does not allocate
}

// newSocket returns conn itself where it is no socket.
func newSocket(conn net.Conn) net.Conn {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{Conn: conn, raw: raw, quick: newQuick()}
	s.in.once, s.out.once = s.readOnce, s.writeOnce
	return s
}

// Read implements net.Conn. One call at a time.
func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.in = transfer{b: b, once: s.in.once}
	err := s.raw.Read(s.in.once)
	s.in.b = nil
	switch {
	case err != nil:
		return 0, s.failed(err)
	case s.in.err != nil:
		return 0, s.failed(os.NewSyscallError("read", s.in.err))
	case s.in.n == 0:
		return 0, io.EOF
	}
	return s.in.n, nil
}

// failed makes the error of a read what it would be without us.
func (s *socket) failed(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	return &net.OpError{Op: "read", Net: s.LocalAddr().Network(), Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}

// readOnce reads what is there. It returns false, which tells the runtime to wait, if nothing is.
func (s *socket) readOnce(fd uintptr) bool {
	for {
		n, err := s.quick.read(int(fd), s.in.b)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		default:
			s.in.n, s.in.err = n, err
			return true
		}
	}
}

// tryWrite implements tryWriter.
func (s *socket) tryWrite(b []byte) (int, error) {
	s.out = transfer{b: b, once: s.out.once}
	if err := s.raw.Write(s.out.once); err != nil {
		return 0, err
	}
	s.out.b = nil
	return s.out.n, s.out.err
}

// writeOnce writes until the socket takes no more. It returns true, which tells the runtime not to wait.
func (s *socket) writeOnce(fd uintptr) bool {
	for s.out.n < len(s.out.b) {
		n, err := s.quick.write(int(fd), s.out.b[s.out.n:])
		if n > 0 {
			s.out.n += n
		}
		switch {
		case err == nil && n > 0, errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		default:
			s.out.err = err
			return true
		}
	}
	return true
}
