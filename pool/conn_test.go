package pool

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/testcerts"
)

// socketPair returns two ends of a TCP connection on loopback.
func socketPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

// running returns a wire whose flusher runs until the test ends.
func running(t testing.TB, conn, socket net.Conn, timeout time.Duration, limit int) *wire {
	t.Helper()
	if conn == socket {
		socket = newSocket(socket)
		conn = socket
	}
	w := newWire(conn, socket, timeout, limit)
	var wg conc.WaitGroup
	wg.Go(w.run)
	t.Cleanup(func() {
		_ = w.Close()
		wg.Wait()
	})
	return w
}

// counted counts the writes that reach a connection.
type counted struct {
	mu sync.Mutex
	w  tryWriter
	n  int
}

func (c *counted) tryWrite(b []byte) (int, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.w.tryWrite(b)
}

func TestWireCarriesEverythingInOrder(t *testing.T) {
	near, far := socketPair(t)
	w := running(t, near, near, time.Minute, 64<<20)
	sent := make([]byte, 8<<20)
	_, _ = rand.Read(sent)
	var wg conc.WaitGroup
	wg.Go(func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+len(rest)%9000)
			if _, err := w.Write(rest[:n]); err != nil {
				t.Error(err)
				return
			}
			rest = rest[n:]
		}
	})
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(far, got); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if !bytes.Equal(got, sent) {
		t.Error("the bytes came out differently")
	}
}

func TestWireOverTLS(t *testing.T) {
	near, far := socketPair(t)
	server := tls.Server(far, testcerts.New(t).Server(t))
	client := tls.Client(near, &tls.Config{InsecureSkipVerify: true})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
	var wg conc.WaitGroup
	wg.Go(func() {
		got, err := io.ReadAll(io.LimitReader(server, int64(len(sent))))
		if err != nil || !bytes.Equal(got, sent) {
			t.Error("the bytes came out differently", err)
		}
	})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	w := running(t, client, near, time.Minute, 64<<20)
	for rest := sent; len(rest) > 0; rest = rest[min(5000, len(rest)):] {
		if _, err := w.Write(rest[:min(5000, len(rest))]); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
}

func TestWireNeverWaitsForAPeerThatDoesNotRead(t *testing.T) {
	near, _ := socketPair(t)
	const limit = 16 << 20
	w := running(t, near, near, time.Hour, limit)
	block := make([]byte, 64<<10)
	var err error
	for range 2 * limit / len(block) { // more than the socket's buffers hold
		if _, err = w.Write(block); err != nil {
			break
		}
	}
	if !errors.Is(err, errOverflow) {
		t.Fatalf("%v instead of an overflow", err)
	}
	if _, err := w.Write(block); !errors.Is(err, errOverflow) {
		t.Errorf("the error is not latched: %v", err)
	}
	if _, err := near.Write(block); err == nil {
		t.Error("the socket is still open")
	}
}

func TestWireGivesUpOnAStall(t *testing.T) {
	near, _ := socketPair(t)
	w := running(t, near, near, 20*time.Millisecond, 64<<20)
	_, _ = w.Write(make([]byte, 32<<20))
	select {
	case <-w.gone:
	case <-time.After(patience):
		t.Fatal("it still waits")
	}
	if err := w.cause(); err == nil {
		t.Error("no cause")
	}
}

func TestWireIsPatientWhileTheBrokerBlocks(t *testing.T) {
	near, far := socketPair(t)
	w := running(t, near, near, time.Millisecond, 64<<20)
	w.blocked.set(true)
	const size = 32 << 20
	_, _ = w.Write(make([]byte, size))
	// The broker reads again after many times the timeout.
	stalls := time.NewTimer(50 * time.Millisecond)
	select {
	case <-w.gone:
		t.Fatal("it gave up:", w.cause())
	case <-stalls.C:
	}
	if n, err := io.CopyN(io.Discard, far, size); err != nil {
		t.Fatal(n, err)
	}
}

// TestPatienceBeginsAnew expects that a broker that reads again has as long as ever, not what a timer
// that was set before has left.
func TestPatienceBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b blocking
		is := func(what string, want bool) {
			t.Helper()
			if got := b.excuses(3 * time.Second); got != want {
				t.Errorf("%s: %t", what, got)
			}
		}
		is("never blocked", false)
		b.set(true)
		time.Sleep(time.Minute)
		is("blocked", true)
		b.set(false)
		time.Sleep(2 * time.Second)
		is("reads since two seconds", true)
		time.Sleep(2 * time.Second)
		is("reads since four seconds", false)
	})
}

func TestWireCloseSaysWhatIsLeft(t *testing.T) {
	near, far := socketPair(t)
	w := running(t, near, near, time.Minute, 64<<20)
	w.cork()
	if _, err := w.Write([]byte("goodbye")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(far); err != nil || string(got) != "goodbye" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a closed wire takes a write")
	}
}

func TestWireCloseDoesNotHang(t *testing.T) {
	near, _ := socketPair(t)
	w := running(t, near, near, time.Hour, 64<<20)
	_, _ = w.Write(make([]byte, 32<<20))
	done := make(chan struct{})
	var wg conc.WaitGroup
	wg.Go(func() { _ = w.Close(); close(done) })
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("close hangs")
	}
	wg.Wait()
}

func TestWireCorkMakesOneWrite(t *testing.T) {
	near, far := socketPair(t)
	w := running(t, near, near, time.Minute, 64<<20)
	w.timer.Stop()
	writes := &counted{w: w.try}
	w.try = writes
	w.armed = true // the delay of the cork is not what is tested
	w.cork()
	w.cork()
	x := &port{wire: w, id: 1}
	m := &Publishing{Publishing: text("0123456789")}
	for range 50 {
		if err := x.publish(m, 0); err != nil {
			t.Fatal(err)
		}
		w.end(0, true)
	}
	if writes.n != 0 {
		t.Errorf("%d writes while corked", writes.n)
	}
	w.uncork()
	if writes.n != 1 {
		t.Errorf("%d writes", writes.n)
	}
	w.uncork()
	_, _ = w.Write([]byte("!"))
	if writes.n != 2 {
		t.Errorf("%d writes after the uncork", writes.n)
	}
	size := 50*len(appendPublish(nil, 1, m, 0)) + 1
	if got, err := io.ReadAll(io.LimitReader(far, int64(size))); err != nil || len(got) != size {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestWireCorkEndsByItself(t *testing.T) {
	near, far := socketPair(t)
	w := running(t, near, near, time.Minute, 64<<20)
	w.cork()
	_, _ = w.Write([]byte("heartbeat"))
	_ = far.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(far, make([]byte, 9)); err != nil {
		t.Error("a cork held bytes back for ever:", err)
	}
	_, _ = w.Write(make([]byte, corkLimit))
	if _, err := io.ReadFull(far, make([]byte, corkLimit)); err != nil {
		t.Error("a cork held many bytes back:", err)
	}
}

func TestWireReserve(t *testing.T) {
	near, far := socketPair(t)
	w := running(t, near, near, time.Minute, 64<<20)
	if !w.reserve(10 << 20) {
		t.Fatal("an empty wire has no room for a large message")
	}
	if w.reserve(1) {
		t.Error("there is room on a full wire")
	}
	w.unreserve(10 << 20)
	select {
	case <-w.drained:
	case <-time.After(patience):
		t.Fatal("nobody said that there is room again")
	}
	_, _ = w.Write(make([]byte, 16<<20))
	if w.reserve(1) {
		t.Error("there is room behind a stalled socket")
	}
	var wg conc.WaitGroup
	wg.Go(func() { _, _ = io.CopyN(io.Discard, far, 16<<20) })
	select {
	case <-w.drained:
	case <-time.After(patience):
		t.Fatal("nobody said that there is room again")
	}
	if !w.reserve(1) {
		t.Error("there is no room after all")
	}
	wg.Wait()
}

func TestWriteWithoutWaitingDoesNotAllocate(t *testing.T) {
	near, far := socketPair(t)
	var wg conc.WaitGroup
	wg.Go(func() { _, _ = io.Copy(io.Discard, far) })
	w := running(t, near, near, time.Minute, 64<<20)
	block := make([]byte, 500)
	for range 100 {
		_, _ = w.Write(block)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = w.Write(block) }); n >= 1 {
		t.Errorf("%v allocations a write", n)
	}
	_ = w.Close()
	wg.Wait()
}
