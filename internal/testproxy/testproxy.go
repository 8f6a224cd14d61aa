// Package testproxy is a TCP proxy on loopback that breaks connections in the ways in which networks do.
package testproxy

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sourcegraph/conc"
)

// Proxy forwards connections to a target. Its methods are safe to call from any goroutine.
type Proxy struct {
	target   string
	listener net.Listener
	work     conc.WaitGroup

	refuse atomic.Bool
	up     direction // from the client to the target
	down   direction

	mu    sync.Mutex
	links map[*link]struct{}
	ended bool
}

// direction is what happens to bytes that go one way.
type direction struct {
	swallow atomic.Bool  // they vanish
	pace    atomic.Int64 // bytes a second; 0 is no limit
	delay   atomic.Int64 // how long they take, in nanoseconds
	chop    atomic.Bool  // they arrive one by one
	cutIn   atomic.Int64 // all links are reset after so many more bytes; 0 is never
}

type link struct{ client, target net.Conn }

// New starts a proxy to the host and port of a URL; it ends with the test.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: u.Host, listener: l, links: make(map[*link]struct{})}
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// URL returns a URL that leads through the proxy.
func (p *Proxy) URL(direct string) string {
	u, err := url.Parse(direct)
	if err != nil {
		return direct
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	if p.refuse.Load() {
		_ = client.Close()
		return
	}
	target, err := net.Dial("tcp", p.target)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &link{client, target}
	p.mu.Lock()
	p.links[l] = struct{}{}
	ended := p.ended
	p.mu.Unlock()
	if ended {
		l.reset()
	}
	var both conc.WaitGroup
	both.Go(func() { p.copy(l, &p.up, target, client) })
	both.Go(func() { p.copy(l, &p.down, client, target) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// piece is bytes on their way, which arrive when they are due.
type piece struct {
	bytes []byte
	due   time.Time
}

// underway is how many pieces may be on their way at once.
const underway = 64

func (p *Proxy) copy(l *link, d *direction, to io.Writer, from io.Reader) {
	pieces := make(chan piece, underway)
	var arrivals conc.WaitGroup
	arrivals.Go(func() { p.arrive(l, d, to, pieces) })
	defer arrivals.Wait()
	defer close(pieces)
	for {
		buf := make([]byte, 4096)
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{buf[:n], time.Now().Add(time.Duration(d.delay.Load()))}
		}
		if err != nil {
			return
		}
	}
}

// arrive forwards pieces as they come due, until there are no more or one cannot be forwarded, and closes the link.
func (p *Proxy) arrive(l *link, d *direction, to io.Writer, pieces <-chan piece) {
	defer func() {
		l.close()
		for range pieces { // what was on its way is lost
		}
	}()
	for x := range pieces {
		if wait := time.Until(x.due); wait > 0 {
			time.Sleep(wait)
		}
		if !p.forward(d, to, x.bytes) {
			return
		}
	}
}

func (p *Proxy) forward(d *direction, to io.Writer, b []byte) bool {
	if pace := d.pace.Load(); pace > 0 {
		time.Sleep(time.Duration(len(b)) * time.Second / time.Duration(pace))
	}
	if left := d.cutIn.Load(); left > 0 {
		if int64(len(b)) >= left {
			_, _ = to.Write(b[:left-1])
			d.cutIn.Store(0)
			p.Reset()
			return false
		}
		d.cutIn.Add(-int64(len(b)))
	}
	if d.swallow.Load() {
		return true
	}
	if d.chop.Load() {
		for i := range b {
			if _, err := to.Write(b[i : i+1]); err != nil {
				return false
			}
		}
		return true
	}
	_, err := to.Write(b)
	return err == nil
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.target.Close()
}

// reset closes both sides with a RST instead of a FIN.
func (l *link) reset() {
	for _, c := range []net.Conn{l.client, l.target} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	l.close()
}

// Reset resets every connection.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// ResetIn resets every connection when n more bytes have gone from a client to the target: in the middle of a frame.
func (p *Proxy) ResetIn(n int64) { p.up.cutIn.Store(n) }

// Refuse closes new connections at once, until it is called with false.
func (p *Proxy) Refuse(yes bool) { p.refuse.Store(yes) }

// Blackhole swallows all bytes of all connections, which stay open.
func (p *Proxy) Blackhole(yes bool) {
	p.up.swallow.Store(yes)
	p.down.swallow.Store(yes)
}

// HalfOpen swallows what the target sends: the client can write and hears nothing.
func (p *Proxy) HalfOpen(yes bool) { p.down.swallow.Store(yes) }

// Pace limits both directions to so many bytes a second each; 0 is no limit.
func (p *Proxy) Pace(bytesPerSecond int64) {
	p.up.pace.Store(bytesPerSecond)
	p.down.pace.Store(bytesPerSecond)
}

// Delay lets all bytes take so long, in both directions.
func (p *Proxy) Delay(d time.Duration) {
	p.up.delay.Store(int64(d))
	p.down.delay.Store(int64(d))
}

// Chop writes bytes one by one, each in a packet of its own.
func (p *Proxy) Chop(yes bool) {
	p.up.chop.Store(yes)
	p.down.chop.Store(yes)
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.Pace(0)
	p.Delay(0)
	p.Reset()
	p.work.Wait()
}
