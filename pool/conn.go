package pool

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// corkLimit is how many held back bytes leave without waiting for the uncork.
	corkLimit = 64 << 10
	// corkDelay is how long a cork can hold bytes back.
	corkDelay = 5 * time.Millisecond
	// highWater is how many bytes may wait for the socket before publishers wait too.
	highWater = 256 << 10
	// keepBuffer is the largest write buffer that is kept once it is empty.
	keepBuffer = 1 << 20
	// writePiece is what must go within the write timeout.
	writePiece = 64 << 10
	// closeGrace bounds how long Close tries to send what is left.
	closeGrace = 250 * time.Millisecond
)

var errOverflow = errors.New("too much is waiting to be written to the broker")

// wire is the net.Conn between the client library and the socket. Write never waits: it appends to a
// buffer, because the library calls it with locks held that its heartbeats and its closing need. What is
// buffered leaves at once where the socket takes it, by the hand of whoever finds no write under way;
// the rest is left to the flusher, the only goroutine that waits for the socket. The first error is
// latched and closes the socket, since the library does not act on a failed write.
//
// What is read goes through inbound, which keeps from the library what it would close the connection over.
type wire struct {
	net.Conn          // the socket, or TLS over it: addresses and deadlines
	socket   net.Conn // the bare socket, which can be closed at any time
	in       *inbound
	try      tryWriter // nil where a write without waiting is not to be had (TLS)

	timeout  time.Duration // for one write to make progress
	progress watchdog      // ends a write that takes longer
	limit    int           // of buffered bytes
	drained  chan struct{} // says that publishers who were told to wait may go on
	blocked  blocking

	kick chan struct{} // wakes the flusher
	gone chan struct{} // closed with the first error

	framed bool // what is written are frames: they wait here until they are whole

	mu       sync.Mutex
	half     []byte        // of a frame, whose rest is still to be written
	buffer   []byte        // waiting
	spare    []byte        // the other buffer, while buffer is being written
	sending  int           // bytes taken by the write under way
	writing  bool          // a write is under way
	corks    int           // publishers that hold back
	writers  int           // ports that have published and will say end
	timer    *time.Timer   // ends a cork that lasts too long
	empty    chan struct{} // closed when nothing is buffered any more; nil when nobody waits for it
	armed    bool
	full     bool // a publisher was told to wait
	reserved int  // bytes promised to publishers
	err      error
}

// tryWriter writes what a socket takes without waiting.
type tryWriter interface {
	// tryWrite returns how many bytes went, which may be 0. One call at a time.
	tryWrite(b []byte) (int, error)
}

// blocking is what the broker says with connection.blocked: that it does not read. It is silent then for as long
// as it likes, and has all the time that it usually has once it reads again.
type blocking struct {
	active atomic.Bool
	ended  atomic.Pointer[time.Time]
}

// set notes what the broker said, and reports whether that is new. It is for one goroutine.
func (b *blocking) set(active bool) bool {
	if b.active.Load() == active {
		return false
	}
	if !active {
		now := time.Now()
		b.ended.Store(&now)
	}
	b.active.Store(active)
	return true
}

// excuses reports whether the broker may have been silent for d because it did not read.
func (b *blocking) excuses(d time.Duration) bool {
	if b.active.Load() {
		return true
	}
	ended := b.ended.Load()
	return ended != nil && time.Since(*ended) < d
}

// newWire wraps conn, which is socket or TLS over it.
func newWire(conn, socket net.Conn, timeout time.Duration, limit int) *wire {
	w := &wire{
		Conn: conn, socket: socket, in: newInbound(conn),
		timeout: timeout, limit: limit,
		kick: make(chan struct{}, 1), drained: make(chan struct{}, 1), gone: make(chan struct{}),
	}
	w.try, _ = conn.(tryWriter)
	w.timer = time.AfterFunc(time.Hour, w.corkTimeout)
	w.timer.Stop()
	w.progress = watchdog{patience: timeout, excused: w.blocked.excuses, bite: w.stalled}
	return w
}

// Read implements net.Conn. The library's reader is the only caller.
func (w *wire) Read(b []byte) (int, error) { return w.in.Read(b) }

// SetDeadline implements net.Conn for reads: writes are bounded by the flusher.
func (w *wire) SetDeadline(t time.Time) error { return w.Conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn and does nothing: writes are bounded by the flusher.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// Write implements net.Conn. It takes all of b or fails; it never waits for the socket.
func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	if len(w.buffer)+len(w.half)+w.sending+len(b) > w.limit {
		w.failLocked(errOverflow)
		return 0, w.err
	}
	w.addLocked(b)
	w.wroteLocked()
	return len(b), nil
}

// addLocked buffers b. The library writes a large frame in pieces, and a port may write between two of them: what is not whole waits.
func (w *wire) addLocked(b []byte) {
	switch {
	case !w.framed:
		w.buffer = append(w.buffer, b...)
	case len(w.half) == 0:
		n := wholeFrames(b)
		w.buffer, w.half = append(w.buffer, b[:n]...), append(w.half, b[n:]...)
	default:
		w.half = append(w.half, b...)
		n := wholeFrames(w.half)
		w.buffer = append(w.buffer, w.half[:n]...)
		w.half = append(w.half[:0], w.half[n:]...)
	}
}

// wroteLocked sends what has been buffered, unless somebody holds it back or will send it.
func (w *wire) wroteLocked() {
	switch {
	case len(w.buffer) >= corkLimit:
		w.flushLocked()
	case w.writers > 0: // one of them flushes
	case w.corks > 0:
		w.holdLocked()
	default:
		w.flushLocked()
	}
}

// cork holds back what is written until uncork.
func (w *wire) cork() {
	w.mu.Lock()
	w.corks++
	w.mu.Unlock()
}

// uncork takes back one cork and sends what is buffered, whoever wrote it.
func (w *wire) uncork() {
	w.mu.Lock()
	w.corks--
	w.flushLocked()
	w.mu.Unlock()
}

// end says that what a port has published, for which size bytes were reserved, may leave. What is buffered is sent
// at once, or held back for as long as a cork lasts.
func (w *wire) end(size int, hold bool) {
	w.mu.Lock()
	w.writers--
	w.reserved -= size
	if hold {
		w.holdLocked()
	} else {
		w.flushLocked()
	}
	w.releaseLocked()
	w.mu.Unlock()
}

// holdLocked makes sure that what is held back leaves soon.
func (w *wire) holdLocked() {
	if w.corks > 0 && !w.armed && len(w.buffer) > 0 && w.err == nil {
		w.armed = true
		w.timer.Reset(corkDelay)
	}
}

// flush sends what is buffered.
func (w *wire) flush() {
	w.mu.Lock()
	w.flushLocked()
	w.mu.Unlock()
}

func (w *wire) corkTimeout() {
	w.mu.Lock()
	w.armed = false
	w.flushLocked()
	w.mu.Unlock()
}

// flushLocked writes as much as the socket takes without waiting. Whoever comes while a write is under
// way leaves its bytes to that one.
func (w *wire) flushLocked() {
	if w.writing || len(w.buffer) == 0 || w.err != nil {
		return
	}
	if w.try == nil {
		w.wake()
		return
	}
	for len(w.buffer) > 0 && w.err == nil {
		out := w.takeLocked()
		w.mu.Unlock()
		n, err := w.try.tryWrite(out)
		w.mu.Lock()
		w.giveBackLocked(out, n, err)
		if n < len(out) && err == nil {
			w.wake()
			return
		}
	}
}

// takeLocked begins a write of everything that is buffered.
func (w *wire) takeLocked() []byte {
	out := w.buffer
	w.buffer, w.spare = w.spare[:0], nil
	w.sending, w.writing = len(out), true
	return out
}

// giveBackLocked ends a write that sent n bytes of out: the rest goes back in front of what was appended
// meanwhile.
func (w *wire) giveBackLocked(out []byte, n int, err error) {
	w.sending, w.writing = 0, false
	if err != nil {
		w.failLocked(fmt.Errorf("write to the broker: %w", err))
		return
	}
	if n < len(out) {
		rest := out[:copy(out, out[n:])]
		out, w.buffer = w.buffer, append(rest, w.buffer...)
	}
	if cap(out) <= keepBuffer {
		w.spare = out[:0]
	}
	w.releaseLocked()
}

// wake sends the flusher to work.
func (w *wire) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// run is the flusher: it writes, waiting for the socket, what could not be written without waiting.
// It returns when the wire has failed or was closed.
func (w *wire) run() {
	for {
		select {
		case <-w.kick:
		case <-w.gone:
			return
		}
		w.drain()
	}
}

// drain writes until nothing is buffered, waiting for the socket.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.buffer) > 0 && !w.writing && w.err == nil {
		out := w.takeLocked()
		w.mu.Unlock()
		n, err := w.writeAll(out)
		w.mu.Lock()
		w.giveBackLocked(out, n, err)
	}
}

// writeAll writes out, a piece at a time so that a stall can be told from a slow link.
func (w *wire) writeAll(out []byte) (done int, err error) {
	defer w.progress.sleep()
	for done < len(out) {
		w.progress.wake()
		n, err := w.Conn.Write(out[done:min(done+writePiece, len(out))])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// stalled is called when the socket has taken nothing for a while, and the broker has not said that it blocks publishers.
func (w *wire) stalled() { w.fail(fmt.Errorf("the broker has read nothing for %s", w.timeout)) }

// reserve asks for room for n bytes of a publisher's. Where there is none it returns false, and drained
// is called when there is again.
func (w *wire) reserve(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.reserved+len(w.buffer)+w.sending >= highWater && w.err == nil {
		w.full = true
		return false
	}
	w.reserved += n
	return true
}

// unreserve gives back what reserve gave, unused.
func (w *wire) unreserve(n int) {
	w.mu.Lock()
	w.reserved -= n
	w.releaseLocked()
	w.mu.Unlock()
}

func (w *wire) releaseLocked() {
	if w.empty != nil && len(w.buffer)+w.sending == 0 {
		close(w.empty)
		w.empty = nil
	}
	if !w.full || w.reserved+len(w.buffer)+w.sending > highWater/2 {
		return
	}
	w.full = false
	select {
	case w.drained <- struct{}{}:
	default:
	}
}

// fail latches err, if it is the first, and closes the socket at once: whoever waits for it goes on.
func (w *wire) fail(err error) {
	w.mu.Lock()
	w.failLocked(err)
	w.mu.Unlock()
}

func (w *wire) failLocked(err error) {
	if w.err != nil {
		return
	}
	w.err = err
	w.buffer, w.spare, w.half = nil, nil, nil
	w.timer.Stop()
	close(w.gone)
	_ = w.socket.Close()
}

// cause returns the latched error, or nil.
func (w *wire) cause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close implements net.Conn: it tries for a moment to send what is left, the library's last word to the
// broker, and closes the socket.
func (w *wire) Close() error {
	if !w.blocked.active.Load() {
		w.lastWords()
	}
	w.fail(net.ErrClosed)
	return nil
}

func (w *wire) lastWords() {
	w.mu.Lock()
	w.corks = 0
	w.flushLocked()
	if w.err != nil || len(w.buffer)+w.sending == 0 {
		w.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	w.empty = empty
	w.mu.Unlock()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-empty:
	case <-w.gone:
	case <-grace.C:
	}
}
