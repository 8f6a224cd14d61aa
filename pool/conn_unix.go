//go:build unix

package pool

import (
	"errors"
	"net"
	"syscall"
)

// tryWriter writes what a socket takes without waiting.
type tryWriter interface {
	// tryWrite returns how many bytes went, which may be 0. One call at a time.
	tryWrite(b []byte) (int, error)
}

type rawWriter struct {
	raw   syscall.RawConn
	write func(fd uintptr) bool // made once, so that a write does not allocate
	in    []byte
	n     int
	err   error
}

// newTryWriter returns nil where conn is no socket.
func newTryWriter(conn net.Conn) tryWriter {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	w := &rawWriter{raw: raw}
	w.write = w.once
	return w
}

func (w *rawWriter) tryWrite(b []byte) (int, error) {
	w.in, w.n, w.err = b, 0, nil
	if err := w.raw.Write(w.write); err != nil {
		return 0, err
	}
	w.in = nil
	return w.n, w.err
}

// once writes until the socket takes no more. It returns true, which tells the runtime not to wait.
func (w *rawWriter) once(fd uintptr) bool {
	for w.n < len(w.in) {
		n, err := syscall.Write(int(fd), w.in[w.n:])
		if n > 0 {
			w.n += n
		}
		switch {
		case err == nil && n > 0, errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return true
		default:
			w.err = err
			return true
		}
	}
	return true
}
