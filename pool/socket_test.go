package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestSocketFailsAsOthersDo expects of a socket the errors of a connection of package net, in the same words.
func TestSocketFailsAsOthersDo(t *testing.T) {
	for name, work := range map[string]func(near, far net.Conn) error{
		"the end": func(near, far net.Conn) error {
			_ = far.Close()
			_, err := near.Read(make([]byte, 1))
			return err
		},
		"a reset": func(near, far net.Conn) error {
			_ = far.(*net.TCPConn).SetLinger(0)
			_ = far.Close()
			_, err := near.Read(make([]byte, 1))
			return err
		},
		"a deadline": func(near, _ net.Conn) error {
			_ = near.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := near.Read(make([]byte, 1))
			return err
		},
		"a deadline that has passed": func(near, far net.Conn) error {
			_, _ = far.Write([]byte("x"))
			_ = near.SetReadDeadline(time.Unix(1, 0))
			_, err := near.Read(make([]byte, 1))
			return err
		},
		"a close": func(near, _ net.Conn) error {
			_ = near.Close()
			_, err := near.Read(make([]byte, 1))
			return err
		},
		"nothing to read": func(near, _ net.Conn) error {
			n, err := near.Read(nil)
			return errors.Join(err, fmt.Errorf("%d bytes", n))
		},
	} {
		t.Run(name, func(t *testing.T) {
			failure := func(wrap func(net.Conn) net.Conn) (words string, err error) {
				near, far := socketPair(t)
				err = work(wrap(near), far)
				return strings.NewReplacer(near.LocalAddr().String(), "near", near.RemoteAddr().String(), "far").Replace(err.Error()), err
			}
			words, got := failure(newSocket)
			wanted, want := failure(func(c net.Conn) net.Conn { return c })
			if words != wanted {
				t.Errorf("%s, not %s", words, wanted)
			}
			for _, known := range []error{io.EOF, net.ErrClosed, os.ErrDeadlineExceeded} {
				if errors.Is(got, known) != errors.Is(want, known) {
					t.Errorf("%v: it is %v: %v", got, known, errors.Is(got, known))
				}
			}
			var a, b net.Error
			if errors.As(got, &a) != errors.As(want, &b) || a != nil && a.Timeout() != b.Timeout() {
				t.Errorf("%#v, not %#v", a, b)
			}
		})
	}
}

// TestSocketAllocatesNothing expects no allocation for a write and a read.
func TestSocketAllocatesNothing(t *testing.T) {
	near, far := socketPair(t)
	in, out := newSocket(near), newSocket(far).(tryWriter)
	sent, got := []byte("a few bytes"), make([]byte, 100)
	n := testing.AllocsPerRun(1000, func() {
		if n, err := out.tryWrite(sent); n != len(sent) || err != nil {
			t.Fatal(n, err)
		}
		if n, err := in.Read(got); err != nil || !bytes.Equal(got[:n], sent) {
			t.Fatal(n, err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// spinVariable tells the test program to be the reader of TestGoroutinesTakeTurns, and where to connect to.
const spinVariable = "POOL_TEST_SPIN"

// TestGoroutinesTakeTurns expects that a goroutine that has read from a socket and then uses the only processor for as long as it
// can does not keep the others from running, whenever the read comes. The reader is a process of its own with nothing else in it: what
// a test program does besides wakes the runtime's monitor.
func TestGoroutinesTakeTurns(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reader := exec.CommandContext(within(t, 40*time.Second), os.Args[0])
	reader.Env = append(os.Environ(), spinVariable+"="+l.Addr().String(), "GOMAXPROCS=1", "GODEBUG=")
	var said bytes.Buffer
	reader.Stdout, reader.Stderr = &said, &said
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 1)
	for _, pause := range []time.Duration{300, 200, 1, 1, 60, 10, 10, 10, 20, 120, 20, 49, 51, 1, 45, 1, 1, 55} {
		time.Sleep(pause * time.Millisecond)
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Errorf("after a pause of %d ms: %v", pause, err)
			break
		}
	}
	_ = conn.Close()
	if err := reader.Wait(); err != nil {
		t.Errorf("%v\n%s", err, &said)
	}
}

// spin answers each byte once another goroutine has had its turn.
func spin(addr string) error {
	bare, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	conn := newSocket(bare)
	b := make([]byte, 1)
	for {
		if _, err := conn.Read(b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var other atomic.Bool
		go other.Store(true)
		for !other.Load() {
		}
		if _, err := conn.(tryWriter).tryWrite(b); err != nil {
			return err
		}
	}
}
