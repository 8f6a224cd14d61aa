// Package devbroker is an AMQP 0-9-1 broker in the process, for development and tests: all it has is in memory, and gone when it ends.
//
// It is written from the specification of AMQP 0-9-1 and from RabbitMQ's extensions to it (confirms, basic.nack, exchange-to-exchange
// bindings, alternate exchanges, dead letters, time to live, length limits, priorities, single active consumer), with RabbitMQ's reply
// codes and texts. What it does not have (transactions, streams, clusters, persistence) it refuses with the proper code.
//
// One lock guards everything. That is slow beside RabbitMQ, and simple.
package devbroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/sourcegraph/conc"
)

// Options say what a broker is like. The zero value is a broker as RabbitMQ is when it is new: user guest with password guest, and
// virtual host /.
type Options struct {
	Users  map[string]string // passwords by name
	VHosts []string
	// MaxConnections bounds how many clients may be connected; default 1,000.
	MaxConnections int
	// MaxMemory bounds what messages take, in bytes, about: above it, publishers are blocked, as in RabbitMQ. Default 1 GiB.
	MaxMemory int
}

// Server is a broker at work. Its methods may be called from any goroutine.
type Server struct {
	options  Options
	listener net.Listener
	wg       conc.WaitGroup

	mu      sync.Mutex
	vhosts  map[string]*vhost
	conns   map[*connection]bool
	blocked string // why publishers are blocked, said by Block
	memory  int    // taken by messages, in bytes, about
	full    bool   // memory is short
	defined int    // taken by queues, exchanges, bindings, consumers and channels
	deaths  int    // see mayDie
	closed  bool
}

// vhost is a virtual host.
type vhost struct {
	server    *Server
	name      string
	exchanges map[string]*exchange
	answers   map[string]*channel // by where they are published to
	queues    map[string]*queue
	seq       uint64 // of the message that came last
	round     uint64 // see nextRound
	dying     int    // how deep dead-lettering is in itself
	deaths    int    // see mayDie
}

// nextRound begins a round, in which queues and exchanges can be told that have had their turn.
func (v *vhost) nextRound() uint64 {
	v.round++
	return v.round
}

const (
	frameMax   = 131_072
	frameMin   = 4096
	channelMax = 2047
	heartbeat  = 60 * time.Second
	// firstFrameMax is for a client that has not logged in.
	firstFrameMax = 8192
	// handshakeTimeout is how long a client may take to log in.
	handshakeTimeout = 10 * time.Second
	// writeTimeout is how long a client may read nothing of what waits for it.
	writeTimeout = 30 * time.Second
	// maxMessage is the largest body: RabbitMQ's default.
	maxMessage = 128 << 20
	// maxOutbox is how much may wait for a client that does not read; no more is delivered to it then.
	maxOutbox = 1 << 20
	// maxDefined is what all that clients declare and open may take, in bytes, about: some 60,000 queues, exchanges, bindings and such.
	maxDefined = 64 << 20
)

// Start listens on a loopback address, as 127.0.0.1:0, and serves until Close.
func Start(address string, o Options) (*Server, error) {
	if _, err := LoopbackPort(address); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	if o.Users == nil {
		o.Users = map[string]string{"guest": "guest"}
	}
	if o.VHosts == nil {
		o.VHosts = []string{"/"}
	}
	o.MaxConnections = cmp.Or(o.MaxConnections, 1000)
	o.MaxMemory = cmp.Or(o.MaxMemory, 1<<30)
	s := &Server{options: o, vhosts: map[string]*vhost{}, conns: map[*connection]bool{}}
	for _, name := range o.VHosts {
		s.AddVHost(name)
	}
	var err error
	s.listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w: stop what uses it, or choose another port", err)
	}
	if err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	s.wg.Go(s.accept)
	return s, nil
}

// LoopbackPort returns the port of an address, which must be one that other machines cannot reach.
func LoopbackPort(address string) (port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("%q is not an address and a port, as 127.0.0.1:5672", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0, fmt.Errorf("%s is not a loopback address, and this broker is for development, not to be reached from other machines: use 127.0.0.1", address)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%s: a port is 0 to 65535", address)
	}
	return int(n), nil
}

// Addr returns the address that the broker listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL returns where clients connect to, as the first user by name that there is. It has no path, which all clients take for virtual host /.
func (s *Server) URL() string {
	u := url.URL{Scheme: "amqp", Host: s.Addr()}
	if users := slices.Sorted(maps.Keys(s.options.Users)); len(users) > 0 {
		u.User = url.UserPassword(users[0], s.options.Users[users[0]])
	}
	return u.String()
}

// VHostURL is URL for a virtual host.
func (s *Server) VHostURL(name string) string { return s.URL() + "/" + url.PathEscape(name) }

// AddVHost adds a virtual host, unless it is there.
func (s *Server) AddVHost(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.vhosts[name] != nil {
		return
	}
	v := &vhost{server: s, name: name, exchanges: map[string]*exchange{}, answers: map[string]*channel{}, queues: map[string]*queue{}}
	for name, kind := range map[string]string{
		"": "direct", "amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic", "amq.headers": "headers", "amq.match": "headers",
	} {
		v.exchanges[name] = &exchange{name: name, kind: kind, durable: true}
	}
	s.vhosts[name] = v
}

// Messages returns how many messages a queue has, those that consumers hold included; -1 where there is no such queue.
func (s *Server) Messages(_ context.Context, vhost, queue string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vhosts[vhost]
	if v == nil || v.queues[queue] == nil {
		return -1
	}
	q := v.queues[queue]
	n := len(q.ready)
	for c := range s.conns {
		for _, ch := range c.channels {
			for _, d := range ch.unacked {
				if d.queue == q {
					n++
				}
			}
		}
	}
	return n
}

// Block tells those who publish from now on that they are blocked, as RabbitMQ does when it is short of memory, and reads nothing from them
// until Unblock.
func (s *Server) Block(reason string) { s.setBlocked(reason) }

// Unblock ends what Block began.
func (s *Server) Unblock() { s.setBlocked("") }

func (s *Server) setBlocked(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = reason
	for c := range s.conns {
		if c.told { // others are told when they publish
			c.tellBlocked()
		}
	}
}

// short says why publishers are blocked; "" if they are not. Once memory is short, a quarter of it has to become free: they are not told
// with every message that is taken.
func (s *Server) short() string {
	if s.full = s.memory > s.options.MaxMemory || s.full && s.memory > s.options.MaxMemory/4*3; s.full && s.blocked == "" {
		return "low on memory"
	}
	return s.blocked
}

// lock locks the server for what a client or a timer has it do.
func (s *Server) lock() {
	s.mu.Lock()
	s.deaths = 0
}

// remember counts a message that enters a queue.
func (s *Server) remember(m *message) { s.memory += m.weight }

// forget counts a message that is in a queue, and with its consumers, no more.
func (s *Server) forget(m *message) { s.memory -= m.weight }

// definition is what something that a client declares or opens takes beside its arguments, about.
const definition = 1024

// define counts something that a client declares or opens, and refuses it if there is too much of all that.
func (s *Server) define(args table) *fault {
	n := definition + weight(args)
	if s.defined+n > maxDefined {
		return hard(506, "RESOURCE_ERROR", "all queues, exchanges, bindings, consumers and channels take more than %d MiB", maxDefined>>20)
	}
	s.defined += n
	return nil
}

// undefine counts what is there no more.
func (s *Server) undefine(args table) { s.defined -= definition + weight(args) }

// Close ends all connections, and waits until everything has ended.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.fail()
	}
	for _, v := range s.vhosts {
		for _, q := range v.queues {
			if q.timer != nil {
				q.timer.Stop()
			}
		}
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.wg.Wait()
	return err
}

func (s *Server) accept() {
	for {
		socket, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // too many open files
			continue
		}
		c := newConnection(s, socket)
		s.mu.Lock()
		refused := s.closed || len(s.conns) >= s.options.MaxConnections
		if !refused {
			s.conns[c] = true
		}
		s.mu.Unlock()
		if refused {
			_ = socket.Close()
			continue
		}
		s.wg.Go(c.serve)
	}
}
