package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/propagation"
)

// Defaults of [Options].
const (
	DefaultURL             = "amqp://127.0.0.1"
	DefaultHeartbeat       = 10 * time.Second
	DefaultDialTimeout     = 10 * time.Second
	DefaultCallTimeout     = 20 * time.Second
	DefaultWriteTimeout    = 30 * time.Second
	DefaultPublishChannels = 16
	DefaultPublishWindow   = 1000
	DefaultLeases          = 8
	DefaultLeaseWarning    = time.Minute
	DefaultPrefetch        = 500
	// DefaultMaxMessage is what RabbitMQ 3 accepts unless it is configured otherwise.
	DefaultMaxMessage = 128 << 20
	// MaxPublishWindow is the most messages that may wait for their confirm on one channel.
	MaxPublishWindow = 1000
)

// Table is an AMQP table. Numbers keep their width; a Go int is sent as 64 bits.
type Table = amqp.Table

// Options describe one broker and one virtual host. The zero value is usable.
type Options struct {
	// Name tells pools of one program apart in connection names, logs and errors; "main" by default.
	Name string
	// Program is the first word of connection names; "pipe" by default.
	Program string
	// URLs are amqp:// or amqps:// addresses of the same cluster, tried in random order at every dial.
	// [DefaultURL] by default. All name the same virtual host.
	URLs []string
	// Heartbeat is how often the two sides show each other that they live; 1 s to 65535 s,
	// [DefaultHeartbeat] by default. A heartbeat in a URL wins.
	Heartbeat time.Duration
	// DialTimeout bounds one attempt to connect, with TLS and the AMQP handshake.
	DialTimeout time.Duration
	// CallTimeout bounds an answer of the broker's (to a declare, for instance); a broker that
	// takes longer is taken for dead and its connection is closed.
	CallTimeout time.Duration
	// WriteTimeout is how long a broker may take nothing off a connection, without having said that
	// it blocks publishers, before the connection is taken for dead.
	WriteTimeout time.Duration
	// SASL is how the user is shown to the broker: [PLAIN], the default, or [EXTERNAL]. An auth_mechanism in a URL wins.
	SASL string
	// Credentials, if set, is asked for user and password at every dial, instead of the URLs: a password that has been rotated is
	// taken at the next reconnect. An error of it counts as a failed dial, and is tried again. See [FileCredentials].
	Credentials func(context.Context) (user, password string, err error)
	// TLS is used for amqps:// addresses; nil means the system's authorities, TLS 1.2 at least.
	TLS *tls.Config

	// Propagator, if set, carries the trace context and the baggage of a context in the headers of messages: publishing writes
	// them, and [Delivery].Context reads them. propagation.TraceContext is the W3C's.
	Propagator propagation.TextMapPropagator

	// LeaseWarning is how long a lease may be held before a line in the log says where it was taken.
	LeaseWarning time.Duration

	Listen  ListenOptions
	Publish PublishOptions

	// Topology is declared before anything flows, and again after every reconnect.
	Topology Topology
	// OnStart hooks run in order after the topology was declared and before any consumer, again
	// after every reconnect. An error from one makes [Pool.Start] fail; after a reconnect, it makes
	// the pool reconnect again.
	OnStart []func(ctx context.Context, s *Setup) error

	// Logger takes what an operator should know; by default nothing is logged.
	Logger *slog.Logger
	// OnState is told of every change of [Pool.State], in order, from one goroutine at a time. It
	// must not block and must not call the pool.
	OnState func(State)
}

// Mechanisms of SASL.
const (
	// PLAIN sends user and password.
	PLAIN = "PLAIN"
	// EXTERNAL has the broker take the user from the client's TLS certificate; it needs amqps:// and RabbitMQ's plugin
	// rabbitmq_auth_mechanism_ssl. A user in the URL only says which it will be; without one, a message cannot have a user-id.
	EXTERNAL = "EXTERNAL"
)

// Address is where a broker is and as whom to log in: what a URL of [Options] says in one line. Nothing in it is escaped.
type Address struct {
	Host     string // 127.0.0.1 by default
	Port     int    // by default 5672, or 5671 with TLS
	User     string // guest by default
	Password string // guest by default, for the user guest
	VHost    string // the virtual host; "/" by default
	TLS      bool
}

// URL returns the address as a URL for [Options]; it holds the password.
func (a Address) URL() string {
	set(&a.Host, "127.0.0.1")
	u := url.URL{Scheme: "amqp", Host: a.Host}
	if a.TLS {
		u.Scheme = "amqps"
	}
	if strings.Contains(a.Host, ":") {
		u.Host = "[" + a.Host + "]" // IPv6
	}
	if a.Port != 0 {
		u.Host = net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	}
	if a.User != "" {
		u.User = url.UserPassword(a.User, a.Password)
	}
	if a.VHost != "" && a.VHost != "/" {
		u.Path, u.RawPath = "/"+a.VHost, "/"+url.PathEscape(a.VHost)
	}
	return u.String()
}

// String returns the URL without the password.
func (a Address) String() string {
	if a.Password != "" {
		a.Password = ""
		set(&a.User, "guest")
	}
	return a.URL()
}

// GoString returns the URL without the password.
func (a Address) GoString() string { return a.String() }

// ListenOptions describe the connections of consumers.
type ListenOptions struct {
	// Connections is how many there are; 1 by default. Consumers are spread over them.
	Connections int
	// Prefetch is that of consumers which do not say, 1 to 65535; [DefaultPrefetch] by default.
	Prefetch int
}

// PublishOptions describe the connections of publishers.
type PublishOptions struct {
	// Connections is how many there are; 1 by default.
	Connections int
	// Channels is how many publishing channels there may be in all; [DefaultPublishChannels] by
	// default. Each publisher has one to itself until there are more publishers than channels.
	Channels int
	// Leases is how many leases there may be at once, each with a channel of its own; [DefaultLeases] by default.
	Leases int
	// Window is how many messages may wait for their confirm on one channel: 1 to
	// [MaxPublishWindow], which is the default.
	Window int
	// MaxMessage is the longest body in bytes; [DefaultMaxMessage] by default.
	MaxMessage int
	// Impersonator allows a user-id property other than the login user, for a user that has the
	// broker's impersonator tag. Otherwise such a message is refused: the broker would close the
	// channel on it.
	Impersonator bool
}

// ConsumeOptions describe one consumer.
type ConsumeOptions struct {
	// Queue to consume; must be given.
	Queue string
	// Prefetch is how many deliveries may be unsettled at once, 1 to 65535; by default that of [ListenOptions].
	Prefetch int
	// Name is what the consumer is for, in its tag; default: the pool's name.
	Name string
	// ConsumerTag is what operators see; by default it is made of the program, the name, the host
	// and the process.
	ConsumerTag string
	// Exclusive asks to be the queue's only consumer.
	Exclusive bool
	// Priority of the consumer: the broker delivers to the highest first. nil leaves it out.
	Priority *int
	// Arguments are further arguments of basic.consume, as x-stream-offset.
	Arguments Table
	// EncodedHeaders leaves headers encoded: see [Delivery].Encoded. It spares decoding what nobody looks at.
	EncodedHeaders bool
	// OnState, if set, is called with nil when the queue is subscribed to, and with the reason when it no longer is, or cannot be: then
	// the pool tries again. It is called by the goroutine of Consume, and must not wait.
	OnState func(err error)
}

// String returns the name and the addresses, without passwords.
func (o Options) String() string {
	urls := make([]string, len(o.URLs))
	for i, text := range o.URLs {
		a, err := parseAddress(text, PLAIN)
		urls[i] = a.redacted()
		if err != nil {
			urls[i] = "(not an AMQP URL)"
		}
	}
	return fmt.Sprintf("options of pool %q at %s", o.Name, strings.Join(urls, ", "))
}

// GoString is String: %#v does not show passwords either.
func (o Options) GoString() string { return o.String() }

// complete fills in the defaults and checks.
func (o *Options) complete() ([]address, error) {
	o.defaults()
	var wrong []error
	add := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("pool %q: "+format, append([]any{o.Name}, args...)...))
	}
	if o.SASL != PLAIN && o.SASL != EXTERNAL {
		add("SASL mechanism %q is neither %s nor %s", o.SASL, PLAIN, EXTERNAL)
	}
	var addresses []address
	for i, text := range o.URLs {
		a, err := parseAddress(text, o.SASL)
		if err != nil {
			add("URL %d: %w", i+1, err)
			continue
		}
		addresses = append(addresses, a)
	}
	for _, a := range addresses {
		if a.uri.Vhost != addresses[0].uri.Vhost {
			add("%s and %s name different virtual hosts", addresses[0].redacted(), a.redacted())
		}
	}
	if len(o.connectionNames()) > maxConnectionName {
		add("the names of program and pool are too long together")
	}
	between := func(what string, n, low, high int) {
		if n < low || n > high {
			add("%s: %d is not between %d and %d", what, n, low, high)
		}
	}
	between("heartbeat in seconds", int(o.Heartbeat/time.Second), 1, 65535)
	between("listen connections", o.Listen.Connections, 1, 1024)
	between("prefetch", o.Listen.Prefetch, 1, 65535)
	between("publish connections", o.Publish.Connections, 1, 1024)
	between("publish channels", o.Publish.Channels, o.Publish.Connections, 2047*max(1, o.Publish.Connections))
	between("leases", o.Publish.Leases, 1, 2047)
	between("publish window", o.Publish.Window, 1, MaxPublishWindow)
	between("longest message", o.Publish.MaxMessage, 1, 512<<20)
	for _, d := range []time.Duration{o.DialTimeout, o.CallTimeout, o.WriteTimeout, o.LeaseWarning} {
		if d < 0 {
			add("a timeout is negative")
		}
	}
	if err := o.Topology.check(); err != nil {
		wrong = append(wrong, err)
	}
	return addresses, errors.Join(wrong...)
}

// maxConnectionName keeps what an operator sees readable.
const maxConnectionName = 200

func (o *Options) connectionNames() string { return o.Program + " " + o.Name }

func (o *Options) defaults() {
	set(&o.Name, "main")
	set(&o.Program, "pipe")
	set(&o.Heartbeat, DefaultHeartbeat)
	set(&o.DialTimeout, DefaultDialTimeout)
	set(&o.CallTimeout, DefaultCallTimeout)
	set(&o.WriteTimeout, DefaultWriteTimeout)
	set(&o.SASL, PLAIN)
	set(&o.Listen.Connections, 1)
	set(&o.Listen.Prefetch, DefaultPrefetch)
	set(&o.Publish.Connections, 1)
	set(&o.Publish.Channels, max(DefaultPublishChannels, o.Publish.Connections))
	set(&o.Publish.Window, DefaultPublishWindow)
	set(&o.Publish.Leases, DefaultLeases)
	set(&o.LeaseWarning, DefaultLeaseWarning)
	set(&o.Publish.MaxMessage, DefaultMaxMessage)
	if len(o.URLs) == 0 {
		o.URLs = []string{DefaultURL}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// set gives a field that is zero its default.
func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
