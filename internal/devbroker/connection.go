package devbroker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/conc"
)

// connection is a client's. Its fields below the outbox belong to the server's lock.
type connection struct {
	server *Server
	socket net.Conn
	reader frameReader

	out      sync.Mutex
	outbox   []byte
	outWake  chan struct{}
	outEnded bool // nothing more is written
	lingers  bool // the socket is closed when the outbox is empty

	vhost     *vhost
	user      string
	frameMax  int
	chanMax   int
	heartbeat time.Duration
	blockedOK bool // the client understands connection.blocked
	cancelOK  bool // and basic.cancel
	failureOK bool // and connection.close where its login is refused
	told      bool // that it is blocked
	channels  map[uint16]*channel
	closing   bool // connection.close has been sent
}

func newConnection(s *Server, socket net.Conn) *connection {
	return &connection{
		server: s, socket: socket, reader: frameReader{r: bufio.NewReaderSize(socket, 64<<10), max: firstFrameMax},
		outWake: make(chan struct{}, 1), frameMax: frameMax, channels: map[uint16]*channel{},
	}
}

// serve runs the connection until it ends.
func (c *connection) serve() {
	var writing conc.WaitGroup
	writing.Go(c.write)
	defer writing.Wait()
	defer c.end()
	if err := c.handshake(); err != nil {
		return
	}
	beats := c.beat()
	defer beats()
	for {
		if c.heartbeat > 0 {
			_ = c.socket.SetReadDeadline(time.Now().Add(2 * c.heartbeat))
		}
		f, err := c.reader.read()
		if err != nil {
			c.refuse(err)
			return
		}
		if !c.take(f) {
			return
		}
	}
}

// refuse says what is wrong with a frame, and waits for the client to hang up: nothing that it sends can be understood any more.
func (c *connection) refuse(err error) {
	var bad *fault
	if !errors.As(err, &bad) {
		return // it has hung up
	}
	c.server.lock()
	c.closeWith(bad)
	c.server.mu.Unlock()
	_, _ = io.Copy(io.Discard, c.reader.r)
}

var heartbeatFrame = appendFrame(nil, frameHeartbeat, 0, nothing)

// beat sends heartbeats until the function that it returns is called.
func (c *connection) beat() (stop func()) {
	if c.heartbeat == 0 {
		return func() {}
	}
	var wg conc.WaitGroup
	done := make(chan struct{})
	t := time.NewTicker(c.heartbeat / 2)
	wg.Go(func() {
		defer t.Stop()
		for {
			select {
			case <-t.C:
				c.send(heartbeatFrame)
			case <-done:
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// take handles a frame. It returns false when the connection is over.
func (c *connection) take(f frame) bool {
	if !c.waitWhileBlocked(f) {
		return false
	}
	s := c.server
	s.lock()
	defer s.mu.Unlock()
	switch {
	case f.kind == frameHeartbeat:
		return true
	case f.channel == 0:
		return c.takeOwn(f)
	case c.closing:
		return true // all but close-ok is discarded
	}
	if err := c.takeFor(f); err != nil {
		c.raise(f.channel, err)
	}
	return true
}

// waitWhileBlocked stops reading from a client that publishes while publishers are blocked, and from one that does not read. It returns false
// when the client has gone meanwhile: as nothing is read from it, a heartbeat that cannot be written tells.
func (c *connection) waitWhileBlocked(f frame) bool {
	publishes := methodIn(f) == basicPublish || f.kind == frameHeader || f.kind == frameBody
	for probed := time.Now(); !c.hasEnded(); time.Sleep(5 * time.Millisecond) {
		if !(publishes && c.blocks()) && c.mayAnswer() {
			return true
		}
		if time.Since(probed) > time.Second {
			c.send(heartbeatFrame)
			probed = time.Now()
		}
	}
	return false
}

// blocks reports whether publishers are blocked, and tells the client if that has changed.
func (c *connection) blocks() bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.tellBlocked()
	return c.server.short() != "" && !c.server.closed && !c.closing
}

// tellBlocked tells the client whether it is blocked, if that has changed.
func (c *connection) tellBlocked() {
	why := c.server.short()
	blocked := why != ""
	if c.vhost == nil || !c.blockedOK || blocked == c.told {
		return
	}
	c.told = blocked
	if blocked {
		c.sendMethod(0, connectionBlocked, func(b []byte) []byte { return appendShortstr(b, why) })
	} else {
		c.sendMethod(0, connectionUnblocked, nothing)
	}
}

// takeOwn handles a frame of channel 0.
func (c *connection) takeOwn(f frame) bool {
	if f.kind != frameMethod {
		c.closeWith(unexpectedFrame("on channel 0"))
		return true
	}
	switch m := methodIn(f); m {
	case connectionClose:
		c.sendMethod(0, connectionCloseOK, nothing)
		c.part()
	case connectionCloseOK:
		c.linger()
		return false
	case updateSecret:
		c.sendMethod(0, updateSecretOK, nothing)
	default:
		c.closeWith(channelError("unexpected method in connection state running").over(m))
	}
	return true
}

// takeFor handles a frame of a channel.
func (c *connection) takeFor(f frame) *fault {
	ch := c.channels[f.channel]
	m := methodIn(f)
	switch {
	case f.kind != frameMethod && f.kind != frameHeader && f.kind != frameBody:
		return frameError(f.kind, f.payload, "unknown_frame")
	case m == channelOpen && ch != nil:
		return channelError("second 'channel.open' seen").over(m)
	case m == channelOpen:
		return c.openChannel(f.channel)
	case ch == nil && m == 0:
		return notAMethod()
	case ch == nil:
		return channelError("expected 'channel.open'").over(m)
	}
	return ch.take(f)
}

func (c *connection) openChannel(number uint16) *fault {
	if n := len(c.channels); n >= c.chanMax {
		return notAllowed("number of channels opened (%d) has reached the negotiated channel_max (%d)", n, c.chanMax)
	}
	if bad := c.server.define(nil); bad != nil {
		return bad
	}
	c.channels[number] = newChannel(c, number)
	c.sendMethod(number, channelOpenOK, func(b []byte) []byte { return appendLongstr(b, "") })
	return nil
}

// raise ends the channel or the connection over a fault.
func (c *connection) raise(channel uint16, f *fault) {
	ch := c.channels[channel]
	if f.hard || ch == nil {
		c.closeWith(f)
		return
	}
	release(ch)
	ch.closing = true
	c.sendMethod(channel, channelClose, f.append)
}

// append writes the arguments of a close method.
func (f *fault) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, f.code)
	b = appendShortstr(b, f.text)
	b = binary.BigEndian.AppendUint16(b, uint16(f.method>>16))
	return binary.BigEndian.AppendUint16(b, uint16(f.method))
}

// closeWith sends connection.close; what then comes is discarded until the client has answered.
func (c *connection) closeWith(f *fault) {
	if c.closing {
		return
	}
	c.sendClose(f)
	c.part()
}

// part gives everything back, and waits for the client to close the socket: one that is closed under it might take its answer along.
func (c *connection) part() {
	c.closing = true
	_ = c.socket.SetReadDeadline(time.Now().Add(handshakeTimeout))
	c.heartbeat = 0
	c.releaseAll()
}

func (c *connection) sendClose(f *fault) { c.sendMethod(0, connectionClose, f.append) }

// releaseAll gives back what the channels hold, and deletes the queues that are the connection's own.
func (c *connection) releaseAll() {
	channels := slices.Collect(maps.Values(c.channels))
	release(channels...)
	for _, ch := range channels {
		ch.forget()
	}
	if c.vhost == nil {
		return
	}
	var own []*queue
	for _, q := range c.vhost.queues {
		if q.exclusive == c {
			own = append(own, q)
		}
	}
	c.vhost.deleteQueues(own...)
}

// end ends the connection, however it came to that.
func (c *connection) end() {
	s := c.server
	s.lock()
	delete(s.conns, c)
	c.releaseAll()
	s.mu.Unlock()
	c.linger()
}

// fail ends the connection at once.
func (c *connection) fail() { _ = c.socket.Close() }

func nothing(b []byte) []byte { return b }

func (c *connection) sendMethod(channel uint16, m method, fill func([]byte) []byte) {
	c.send(appendFrame(nil, frameMethod, channel, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, uint16(m>>16))
		return fill(binary.BigEndian.AppendUint16(b, uint16(m)))
	}))
}

// send has whole frames written.
func (c *connection) send(b []byte) {
	c.out.Lock()
	if !c.outEnded {
		c.outbox = append(c.outbox, b...)
	}
	c.out.Unlock()
	c.wake()
}

func (c *connection) wake() {
	select {
	case c.outWake <- struct{}{}:
	default:
	}
}

// mayDeliver reports that the client reads what it is sent.
func (c *connection) mayDeliver() bool {
	c.out.Lock()
	defer c.out.Unlock()
	return len(c.outbox) < maxOutbox
}

// mayAnswer reports that there is room for answers: a client that sends and never reads is not read from either.
func (c *connection) mayAnswer() bool {
	c.out.Lock()
	defer c.out.Unlock()
	return len(c.outbox) < 4*maxOutbox
}

// hasEnded reports that nothing can be written to the client.
func (c *connection) hasEnded() bool {
	c.out.Lock()
	defer c.out.Unlock()
	return c.outEnded
}

// linger closes the socket when what waits has been written.
func (c *connection) linger() {
	c.out.Lock()
	c.lingers = true
	c.out.Unlock()
	c.wake()
}

// write is the goroutine that writes.
func (c *connection) write() {
	for range c.outWake {
		c.out.Lock()
		b, last := c.outbox, c.lingers
		c.outbox = nil
		c.out.Unlock()
		if len(b) > 0 {
			last = c.writeAll(b) != nil || last
			if !last && len(b) >= maxOutbox {
				c.goOn()
			}
		}
		if last {
			c.out.Lock()
			c.outEnded, c.outbox = true, nil
			c.out.Unlock()
			_ = c.socket.Close()
			return
		}
	}
}

// writeAll gives up when the client has read nothing for a while. One that is slow has that time for each piece.
func (c *connection) writeAll(b []byte) error {
	for piece := range slices.Chunk(b, 64<<10) {
		_ = c.socket.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := c.socket.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// goOn delivers again to a client that has caught up.
func (c *connection) goOn() {
	c.server.lock()
	defer c.server.mu.Unlock()
	for _, ch := range c.channels {
		ch.deliverAgain()
	}
}
