package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	locale       = "en_US"
	frameMax     = 131072 // RabbitMQ's default
	wireOverhead = 4 << 20
)

// address is one broker of a pool's.
type address struct {
	uri       amqp.URI
	heartbeat string // seconds, "" for the pool's
	sasl      string
}

func parseAddress(text, sasl string) (address, error) {
	uri, err := amqp.ParseURI(text)
	if err != nil {
		// The library's error may quote the URL, and with it the password.
		return address{}, errors.New("not an AMQP URL, as amqp://host:5672/vhost with user and password before the host and special characters percent-encoded")
	}
	a := address{uri: uri, sasl: sasl}
	named := false
	if u, err := url.Parse(text); err == nil {
		a.heartbeat = u.Query().Get("heartbeat")
		named = u.User.Username() != ""
	}
	if len(uri.AuthMechanism) > 0 {
		a.sasl = strings.ToUpper(uri.AuthMechanism[0])
	}
	if a.sasl == EXTERNAL {
		a.uri.Password = ""
		if !named {
			a.uri.Username = ""
		}
	}
	switch {
	case uri.Port < 1 || uri.Port > 65535:
		return a, fmt.Errorf("port %d is not between 1 and 65535", uri.Port)
	case uri.CertFile != "" || uri.KeyFile != "" || uri.CACertFile != "":
		return a, errors.New("certificates are not taken from the URL: give them in the TLS options")
	case len(uri.AuthMechanism) > 1 || a.sasl != PLAIN && a.sasl != EXTERNAL:
		return a, errors.New("auth_mechanism is plain or external")
	case a.sasl == EXTERNAL && uri.Scheme != "amqps":
		return a, errors.New("SASL EXTERNAL takes the user from a TLS certificate: the URL must begin with amqps://")
	}
	return a, nil
}

func (a address) hostPort() string { return net.JoinHostPort(a.uri.Host, strconv.Itoa(a.uri.Port)) }

// redacted returns the URL without password.
func (a address) redacted() string {
	vhost := "/" + strings.ReplaceAll(a.uri.Vhost, "/", "%2F")
	if a.uri.Vhost == "/" {
		vhost = "/"
	}
	if a.uri.Username == "" {
		return fmt.Sprintf("%s://%s%s", a.uri.Scheme, a.hostPort(), vhost)
	}
	return fmt.Sprintf("%s://%s@%s%s", a.uri.Scheme, url.User(a.uri.Username), a.hostPort(), vhost)
}

// credentials are what is said of the user. The library fills the client's capabilities in just before it asks for the
// response, and leaves out the one that makes the broker say why it refuses a login.
type credentials struct {
	sasl           string
	user, password string
	properties     Table
}

func (c *credentials) Mechanism() string { return c.sasl }

func (c *credentials) Response() string {
	if capabilities, ok := c.properties["capabilities"].(Table); ok {
		capabilities["authentication_failure_close"] = true
	}
	if c.sasl == EXTERNAL {
		return ""
	}
	return "\x00" + c.user + "\x00" + c.password
}

// String keeps the password out of whatever prints the options of a connection.
func (c *credentials) String() string { return "credentials of " + c.user }

// dial makes one attempt to connect, to each address in random order until one answers.
func (p *Pool) dial(ctx context.Context, name string) (*generation, error) {
	var failed []error
	for _, i := range rand.Perm(len(p.addresses)) {
		g, err := p.dialAddress(ctx, p.addresses[i], name)
		if err == nil {
			return g, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failed...)
}

func (p *Pool) dialAddress(ctx context.Context, a address, name string) (*generation, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.DialTimeout, fmt.Errorf("no answer within %s", p.opts.DialTimeout))
	defer cancel()
	a, err := p.identified(ctx, a)
	if err != nil {
		return nil, err
	}
	w, err := p.dialWire(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.redacted(), err)
	}
	w.framed = true
	g := newGeneration(p, a, w)
	stop := context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })
	g.conn, err = amqp.Open(w, p.config(a, name))
	if !stop() && brokerSaid(err) == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		g.end(err)
		return nil, refusal(a, err)
	}
	w.in.setFrameMax(g.conn.Config.FrameSize)
	g.opened()
	return g, nil
}

// identified is the address with the credentials of today.
func (p *Pool) identified(ctx context.Context, a address) (address, error) {
	if p.opts.Credentials == nil || a.sasl == EXTERNAL {
		return a, nil
	}
	user, password, err := p.opts.Credentials(ctx)
	if err != nil {
		return a, fmt.Errorf("connect to %s: get the credentials: %w", a.redacted(), err)
	}
	a.uri.Username, a.uri.Password = user, password
	return a, nil
}

// FileCredentials reads the password from a file at every dial; a line break at its end does not belong to it.
func FileCredentials(user, path string) func(context.Context) (string, string, error) {
	return func(context.Context) (string, string, error) {
		password, err := os.ReadFile(path)
		if err != nil {
			return "", "", fmt.Errorf("read the password of user %q: %w", user, err)
		}
		return user, strings.TrimRight(string(password), "\r\n"), nil
	}
}

// dialWire makes the socket, and TLS over it where the address asks for it: done here and not in the
// library, so that the wire sees frames.
func (p *Pool) dialWire(ctx context.Context, a address) (*wire, error) {
	var d net.Dialer
	bare, err := d.DialContext(ctx, "tcp", a.hostPort())
	if err != nil {
		return nil, err
	}
	socket := newSocket(bare)
	limit := highWater + 2*p.opts.Publish.MaxMessage + wireOverhead
	if a.uri.Scheme != "amqps" {
		return newWire(socket, socket, p.opts.WriteTimeout, limit), nil
	}
	conn := tls.Client(socket, p.tlsConfig(a))
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("agree on TLS: %w", err)
	}
	return newWire(conn, socket, p.opts.WriteTimeout, limit), nil
}

func (p *Pool) tlsConfig(a address) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.opts.TLS != nil {
		c = p.opts.TLS.Clone()
		c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	}
	if c.ServerName == "" {
		c.ServerName = a.uri.ServerName
	}
	if c.ServerName == "" {
		c.ServerName = a.uri.Host
	}
	return c
}

func (p *Pool) config(a address, name string) amqp.Config {
	properties := Table{
		"product":         p.opts.Program,
		"platform":        "Go",
		"connection_name": name,
	}
	heartbeat := p.opts.Heartbeat
	if seconds, err := strconv.ParseUint(a.heartbeat, 10, 16); err == nil {
		heartbeat = time.Duration(seconds) * time.Second
	}
	return amqp.Config{
		SASL:       []amqp.Authentication{&credentials{a.sasl, a.uri.Username, a.uri.Password, properties}},
		Vhost:      a.uri.Vhost,
		ChannelMax: a.uri.ChannelMax,
		FrameSize:  frameMax,
		Heartbeat:  heartbeat,
		Locale:     locale,
		Properties: properties,
	}
}

// refusal makes an error of a failed handshake: a *ConnectError when the broker said that it refuses for
// good. What the library guesses from a socket that just closed is not taken for an answer.
func refusal(a address, err error) error {
	if errors.Is(err, amqp.ErrSASL) {
		return &ConnectError{
			URL: a.redacted(), Code: amqp.AccessRefused, Broker: "the broker does not offer SASL " + a.sasl,
			Advice: "enable it there (auth_mechanisms; for EXTERNAL, the plugin rabbitmq_auth_mechanism_ssl)",
		}
	}
	said := brokerSaid(err)
	if said == nil {
		if errors.Is(err, amqp.ErrCredentials) || errors.Is(err, amqp.ErrVhost) {
			err = errors.New("the broker closed the connection without saying why")
		}
		return fmt.Errorf("connect to %s: %w", a.redacted(), err)
	}
	refused := &ConnectError{URL: a.redacted(), Code: said.Code, Broker: said.Reason}
	switch {
	case said.Code == amqp.AccessRefused:
		refused.Advice = fmt.Sprintf("check user %q and its password", a.uri.Username)
		if a.sasl == EXTERNAL {
			refused.Advice = "check that the broker has a user of the certificate's name (ssl_cert_login_from says which part of it)"
		}
	case said.Code == amqp.NotAllowed && strings.Contains(said.Reason, "limit"):
		return fmt.Errorf("connect to %s: %w", a.redacted(), err)
	case said.Code == amqp.NotAllowed && strings.Contains(said.Reason, "not found"):
		refused.Advice = fmt.Sprintf("create virtual host %q (rabbitmqctl add_vhost), or correct the URL", a.uri.Vhost)
	case said.Code == amqp.NotAllowed:
		refused.Advice = fmt.Sprintf("give user %q permissions on virtual host %q (rabbitmqctl set_permissions)", a.uri.Username, a.uri.Vhost)
	default:
		return fmt.Errorf("connect to %s: %w", a.redacted(), err)
	}
	return refused
}

// backoff grows from min to max, doubling; each pause is random from nothing to that (full jitter), so
// that many clients do not come back at once.
type backoff struct {
	min, max time.Duration
	attempt  int
}

func (b *backoff) next() time.Duration {
	ceiling := b.max
	if b.attempt < 20 {
		ceiling = min(b.max, b.min<<b.attempt)
	}
	b.attempt++
	return rand.N(ceiling) + 1
}

func (b *backoff) reset() { b.attempt = 0 }

// pause waits for d, and reports whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
