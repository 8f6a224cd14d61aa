package pool

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/sourcegraph/conc"
)

// conn is the net.Conn that the client library writes to. Write never waits for the peer, because the
// library calls it with its locks held: a broker that has stopped reading would then hang every publish,
// heartbeat and close. Write appends to a buffer and hands the kernel what it takes at once; only what it does not take is
// left to a goroutine that waits for the peer, with a deadline.
//
// While it is corked, what is written waits for uncork, so that what a lane publishes for one chunk leaves in one
// write. After the first write error the socket is closed, and every later Write returns that error.
type conn struct {
	net.Conn
	raw     syscall.RawConn // nil where the socket cannot be written to without waiting (TLS)
	timeout time.Duration

	mu      sync.Mutex
	room    *sync.Cond // broadcast when the buffer has become smaller, and at the end
	buf     []byte     // waits to be written
	corks   int
	waiting bool // the kernel's buffer is full: the writer goroutine goes on
	err     error
	writes  int64 // counts writes to the socket

	wake   chan struct{}
	closed chan struct{}
	once   sync.Once
	writer conc.WaitGroup
}

const (
	// corkLimit is how much a corked conn gathers before it writes all the same.
	corkLimit = 256 << 10
	// admitLimit is how much may wait to be written before publishers wait.
	admitLimit = 1 << 20
	// bufferLimit is how much may wait at all. One message of any size is taken whole.
	bufferLimit = 64 << 20
	// keepLimit is how large a buffer is kept when it is empty.
	keepLimit = 1 << 20
	// closeTimeout is how long Close lets what is buffered, as the close-ok, leave.
	closeTimeout = 250 * time.Millisecond
)

var errBufferFull = errors.New("the broker has stopped reading, and too much waits to be written")

func newConn(c net.Conn, timeout time.Duration) *conn {
	w := &conn{Conn: c, timeout: timeout, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	w.room = sync.NewCond(&w.mu)
	if s, ok := c.(syscall.Conn); ok {
		w.raw, _ = s.SyscallConn()
	}
	w.writer.Go(w.write)
	return w
}

// Write takes p over; nil means that it has been buffered.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	if len(c.buf) > bufferLimit {
		c.fail(errBufferFull)
		return 0, c.err
	}
	c.buf = append(c.buf, p...)
	if c.corks == 0 || len(c.buf) >= corkLimit {
		c.flush()
	}
	return len(p), c.err
}

// cork lets what is written wait for uncork. It nests.
func (c *conn) cork() {
	c.mu.Lock()
	c.corks++
	c.mu.Unlock()
}

func (c *conn) uncork() {
	c.mu.Lock()
	if c.corks--; c.corks == 0 && c.err == nil {
		c.flush()
	}
	c.mu.Unlock()
}

// push writes what is buffered although the conn is corked: for somebody who is about to wait for an answer to it.
func (c *conn) push() {
	c.mu.Lock()
	if c.err == nil {
		c.flush()
	}
	c.mu.Unlock()
}

// admit waits until a publisher may write, which it may not while much is left to be written. It returns the error that ended the conn.
func (c *conn) admit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.waiting && len(c.buf) >= admitLimit {
		c.room.Wait()
	}
	return c.err
}

// congested reports that admit would wait.
func (c *conn) congested() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err == nil && c.waiting && len(c.buf) >= admitLimit
}

// flush hands the kernel what it takes at once. c.mu is held.
func (c *conn) flush() {
	if c.waiting || len(c.buf) == 0 {
		return
	}
	if c.raw != nil {
		n, err := c.try(c.buf)
		if err != nil {
			c.fail(err)
			return
		}
		c.consumed(n)
	}
	if len(c.buf) > 0 {
		c.waiting = true
		c.signal()
	}
}

// try writes without waiting.
func (c *conn) try(p []byte) (n int, err error) {
	c.writes++
	rawErr := c.raw.Write(func(fd uintptr) bool {
		for {
			n, err = syscall.Write(int(fd), p)
			if !errors.Is(err, syscall.EINTR) {
				return true
			}
		}
	})
	if errors.Is(err, syscall.EAGAIN) {
		n, err = 0, nil
	}
	if rawErr != nil {
		err = rawErr
	}
	return max(n, 0), err
}

func (c *conn) consumed(n int) {
	rest := copy(c.buf, c.buf[n:])
	c.buf = c.buf[:rest]
	if rest == 0 && cap(c.buf) > keepLimit {
		c.buf = nil
	}
	c.room.Broadcast()
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// write is the goroutine that waits for a slow peer.
func (c *conn) write() {
	for {
		select {
		case <-c.closed:
			return
		case <-c.wake:
		}
		c.writeAll()
	}
}

func (c *conn) writeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.buf) > 0 && c.err == nil {
		out := c.buf
		c.buf = nil
		c.writes++
		c.mu.Unlock()
		_ = c.SetWriteDeadline(time.Now().Add(c.timeout))
		_, err := c.Conn.Write(out)
		c.mu.Lock()
		c.room.Broadcast()
		if err != nil {
			c.fail(err)
		}
	}
	c.waiting = false
}

// fail latches an error and closes the socket, so that the library's reader notices. c.mu is held.
func (c *conn) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.buf = nil
	c.room.Broadcast()
	_ = c.Conn.Close()
}

// Close lets what is buffered leave, for a short time, and closes the socket.
func (c *conn) Close() error {
	err := error(nil)
	c.once.Do(func() {
		_ = c.SetWriteDeadline(time.Now().Add(closeTimeout))
		c.mu.Lock()
		if c.err == nil && len(c.buf) > 0 && !c.waiting {
			c.flush()
		}
		deadline := time.AfterFunc(closeTimeout, func() {
			c.mu.Lock()
			c.fail(net.ErrClosed)
			c.mu.Unlock()
		})
		for c.err == nil && c.waiting {
			c.room.Wait()
			if len(c.buf) == 0 {
				break
			}
		}
		deadline.Stop()
		c.fail(net.ErrClosed)
		c.mu.Unlock()
		close(c.closed)
		c.writer.Wait()
	})
	return err
}
