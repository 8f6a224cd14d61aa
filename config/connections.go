package config

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/pool"
)

// connectionBlock is a broker and a virtual host.
type connectionBlock struct {
	_            struct{}      `doc:"A broker and a virtual host. Without any such block there is one connection, named main, whose url is env(\"AMQP_URL\", \"amqp://127.0.0.1\")."`
	Name         string        `hcl:"name,label"`
	URL          *string       `hcl:"url,optional" doc:"The address, as amqp://user:password@host:5672/vhost, or amqps:// for TLS; embedded: is a broker in memory, for development, that pipe run starts."`
	URLs         []string      `hcl:"urls,optional" doc:"Addresses of one cluster, tried in random order."`
	Host         *string       `hcl:"host,optional" doc:"Instead of an URL: the broker's host. Default: 127.0.0.1."`
	Port         *int          `hcl:"port,optional" min:"1" max:"65535" doc:"Instead of an URL: the broker's port. Default: 5672, or 5671 with a tls block."`
	VHost        *string       `hcl:"vhost,optional" doc:"Instead of an URL: the virtual host. Default: /."`
	User         *string       `hcl:"user,optional" doc:"Whom to log in as. It wins over a user in the URL."`
	Password     *string       `hcl:"password,optional" doc:"The password of user."`
	PasswordFile *string       `hcl:"password_file,optional" doc:"A file with the password of user, which is read again at every attempt to connect: the password may be changed while pipe runs."`
	SASL         string        `hcl:"sasl,optional" enum:"plain,external" default:"plain" doc:"How the user is shown to the broker: by password, or by the certificate of the tls block (external), for which the broker needs the plugin rabbitmq_auth_mechanism_ssl."`
	Heartbeat    time.Duration `hcl:"heartbeat,optional" default:"10s" min:"1s" max:"18h" doc:"How often both sides show that they live."`
	DialTimeout  time.Duration `hcl:"dial_timeout,optional" default:"10s" min:"100ms" doc:"How long one attempt to connect may take."`
	CallTimeout  time.Duration `hcl:"call_timeout,optional" default:"20s" min:"100ms" doc:"How long the broker may take for an answer."`
	WriteTimeout time.Duration `hcl:"write_timeout,optional" default:"30s" min:"100ms" doc:"How long the broker may take nothing off the connection before that is taken for dead."`
	Listen       *listenBlock  `hcl:"listen,block" doc:"The connections of consumers."`
	Publish      *publishBlock `hcl:"publish,block" doc:"The connections of publishers."`
	TLS          *tlsBlock     `hcl:"tls,block" doc:"TLS for amqps:// addresses."`
}

type listenBlock struct {
	Connections int `hcl:"connections,optional" default:"1" min:"1" max:"1024" doc:"How many connections there are; consumers are spread over them."`
	Prefetch    int `hcl:"prefetch,optional" default:"500" min:"1" max:"65535" doc:"The prefetch of sources that do not say."`
}

type publishBlock struct {
	Connections  int  `hcl:"connections,optional" default:"1" min:"1" max:"1024" doc:"How many connections there are."`
	Channels     int  `hcl:"channels,optional" default:"16" min:"1" max:"2047" doc:"How many channels there are in all; each sink has one to itself until there are more sinks."`
	Window       int  `hcl:"window,optional" default:"1000" min:"1" max:"1000" doc:"How many messages may wait for their confirm on one channel."`
	MaxMessage   int  `hcl:"max_message,optional" unit:"bytes" min:"1" max:"536870912" doc:"The longest body that the broker takes. Default: 128MiB."`
	Impersonator bool `hcl:"impersonator,optional" doc:"The user has the impersonator tag: the user_id property may name another one."`
}

type tlsBlock struct {
	CAFile     string `hcl:"ca_file,optional" doc:"Certificates of the authorities to trust, PEM. Default: those of the system."`
	CertFile   string `hcl:"cert_file,optional" doc:"The certificate to show to the broker, PEM."`
	KeyFile    string `hcl:"key_file,optional" doc:"The key of cert_file, PEM."`
	ServerName string `hcl:"server_name,optional" doc:"The name that the broker's certificate must have. Default: the address's host."`
}

// connection is a pool in the making.
type connection struct {
	name     string
	at       *hcl.Range // nil for the one that is there by itself
	used     bool
	options  pool.Options
	topology pool.Topology
	pool     *pool.Pool
}

const defaultConnection = "main"

// setConnections reads the connection blocks.
func (l *loader) setConnections() {
	for _, b := range l.blocks.Connections {
		c := &connection{at: b.DefRange().Ptr()}
		c.options = l.connectionOptions(b)
		if len(b.Labels) != 1 {
			continue
		}
		c.name = b.Labels[0]
		if other := l.connections[c.name]; other != nil {
			l.duplicate(*c.at, fmt.Sprintf("connection %q", c.name), *other.at)
			continue
		}
		l.connections[c.name] = c
	}
	if len(l.blocks.Connections) == 0 {
		l.connections[defaultConnection] = l.mainConnection()
	}
}

// mainConnection is the connection that is there where the files have none.
func (l *loader) mainConnection() *connection {
	url := l.OverrideURL
	if url == "" {
		url, _ = l.Environ("AMQP_URL")
	}
	if url == "" {
		url = pool.DefaultURL
	}
	c := &connection{name: defaultConnection}
	if url == embedded {
		url = l.embeddedURL()
	}
	l.secrets.addURL(url)
	if err := checkURL(url, pool.PLAIN); err != nil {
		l.report(hcl.DiagError, nil, "Invalid URL", "The environment variable AMQP_URL cannot be used: %s.", err)
		url = pool.DefaultURL
	}
	c.options.URLs = []string{url}
	return c
}

func (l *loader) connectionOptions(b *hclsyntax.Block) pool.Options {
	decl := connectionBlock{Listen: &listenBlock{}, Publish: &publishBlock{}}
	if l.OverrideURL != "" {
		b = withoutAddress(b)
		decl.URL = &l.OverrideURL
	}
	(&decoder{loader: l}).decode(blockOf(b), &decl)
	if decl.Password != nil && *decl.Password != "guest" {
		l.secrets.addText(*decl.Password)
	}
	l.sasl(b, &decl)
	o := pool.Options{
		URLs: l.urls(b, &decl), SASL: decl.SASL, Heartbeat: decl.Heartbeat,
		DialTimeout: decl.DialTimeout, CallTimeout: decl.CallTimeout, WriteTimeout: decl.WriteTimeout,
		Listen: pool.ListenOptions{Connections: decl.Listen.Connections, Prefetch: decl.Listen.Prefetch},
		Publish: pool.PublishOptions{
			Connections: decl.Publish.Connections, Channels: decl.Publish.Channels, Window: decl.Publish.Window,
			MaxMessage: decl.Publish.MaxMessage, Impersonator: decl.Publish.Impersonator,
		},
	}
	if decl.TLS != nil {
		o.TLS = l.tls(b, decl.TLS)
	}
	if decl.PasswordFile != nil {
		o.Credentials = l.passwordFile(b, &decl)
	}
	return o
}

// sasl sets the mechanism, and checks that there is a certificate where one is asked for.
func (l *loader) sasl(b *hclsyntax.Block, decl *connectionBlock) {
	external := strings.EqualFold(decl.SASL, pool.EXTERNAL)
	decl.SASL = pool.PLAIN
	switch {
	case external && (decl.TLS == nil || decl.TLS.CertFile == ""):
		l.error(b.Body.Attributes["sasl"].Range(), "No certificate",
			"The user is to be taken from a certificate: give one in a tls block, as cert_file and key_file.")
	case external:
		decl.SASL = pool.EXTERNAL
	}
}

// passwordFile returns what reads a password at every dial.
func (l *loader) passwordFile(b *hclsyntax.Block, decl *connectionBlock) func(context.Context) (string, string, error) {
	attribute := b.Body.Attributes["password_file"]
	switch {
	case decl.Password != nil:
		l.error(attribute.NameRange, "Two ways to give a password", "Give either password or password_file.")
		return nil
	case decl.User == nil:
		l.error(attribute.NameRange, "Whose password?", "Where there is password_file there must be user.")
		return nil
	}
	path := below(filepath.Dir(b.DefRange().Filename), *decl.PasswordFile)
	read := pool.FileCredentials(*decl.User, path)
	if _, err := os.ReadFile(path); err != nil {
		l.error(attribute.Expr.Range(), "Unreadable file", "password_file: %s.", fileProblem(*decl.PasswordFile, err))
	}
	return read
}

// addressArguments say where the broker is, and who logs in.
var addressArguments = []string{"url", "urls", "host", "port", "vhost", "user", "password", "password_file", "sasl"}

// withoutAddress is a connection block without what says where the broker is.
func withoutAddress(b *hclsyntax.Block) *hclsyntax.Block {
	body := *b.Body
	body.Attributes = maps.Clone(body.Attributes)
	for _, name := range addressArguments {
		delete(body.Attributes, name)
	}
	body.Blocks = slices.DeleteFunc(slices.Clone(body.Blocks), func(b *hclsyntax.Block) bool { return b.Type == "tls" })
	out := *b
	out.Body = &body
	return &out
}

// embedded is the address of a broker in the process.
const embedded = "embedded:"

// embeddedURL returns what it stands for.
func (l *loader) embeddedURL() string {
	l.embedded = true
	return cmp.Or(l.EmbeddedURL, pool.DefaultURL)
}

// urls returns the addresses of a connection, each of which is valid.
func (l *loader) urls(b *hclsyntax.Block, decl *connectionBlock) []string {
	urls, argument := decl.URLs, "urls"
	switch {
	case decl.URL != nil && urls != nil:
		l.error(b.Body.Attributes["urls"].NameRange, "Two ways to give an address", "Give either url or urls.")
		return nil
	case decl.URL != nil:
		urls, argument = []string{*decl.URL}, "url"
	case urls == nil && (decl.Host != nil || decl.Port != nil || decl.VHost != nil || decl.User != nil || decl.Password != nil || decl.SASL == pool.EXTERNAL):
		urls, argument = []string{decl.address().URL()}, "host"
	}
	if argument != "host" {
		l.noParts(b, argument)
	}
	var valid []string
	for _, url := range urls {
		if url == embedded {
			url = l.embeddedURL()
		}
		l.secrets.addURL(url)
		url, err := decl.login(url)
		if err == nil {
			err = checkURL(url, decl.SASL)
		}
		if err == nil {
			valid = append(valid, url)
			continue
		}
		at := b.DefRange()
		if a := b.Body.Attributes[argument]; a != nil {
			at = a.Expr.Range()
		}
		l.error(at, "Invalid URL", "The address cannot be used: %s.", err)
	}
	return valid
}

// noParts complains about parts of an address beside a whole one.
func (l *loader) noParts(b *hclsyntax.Block, whole string) {
	for _, part := range []string{"host", "port", "vhost"} {
		if a := b.Body.Attributes[part]; a != nil {
			l.error(a.NameRange, "Two ways to give an address", "Give either %s or %s.", whole, part)
		}
	}
}

// address is what the parts of an address say.
func (b *connectionBlock) address() pool.Address {
	return pool.Address{Host: value(b.Host), Port: value(b.Port), VHost: value(b.VHost), TLS: b.TLS != nil}
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// login puts user and password into an address. Its error does not hold the address.
func (b *connectionBlock) login(address string) (string, error) {
	if b.User == nil && b.Password == nil {
		return address, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return address, nil // checkURL knows what to say
	}
	if b.User == nil {
		return "", errors.New("there is a password and no user: give user, too")
	}
	u.User = url.User(*b.User)
	if b.Password != nil {
		u.User = url.UserPassword(*b.User, *b.Password)
	}
	return u.String(), nil
}

// checkURL returns what is wrong with an address, without the address.
func checkURL(url, sasl string) error {
	_, err := pool.Open(pool.Options{URLs: []string{url}, SASL: sasl})
	return innermost(err)
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			next = joined.Unwrap()[0]
		}
		if next == nil {
			return err
		}
		err = next
	}
}

func (l *loader) tls(b *hclsyntax.Block, decl *tlsBlock) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: decl.ServerName}
	wrong := func(format string, args ...any) { l.error(b.DefRange(), "Invalid TLS settings", format, args...) }
	dir := filepath.Dir(b.DefRange().Filename)
	if decl.CAFile != "" {
		pem, err := os.ReadFile(below(dir, decl.CAFile))
		c.RootCAs = x509.NewCertPool()
		switch {
		case err != nil:
			wrong("ca_file: %s.", fileProblem(decl.CAFile, err))
		case !c.RootCAs.AppendCertsFromPEM(pem):
			wrong("ca_file: %s holds no certificate in PEM format.", decl.CAFile)
		}
	}
	switch {
	case (decl.CertFile == "") != (decl.KeyFile == ""):
		wrong("cert_file and key_file go together.")
	case decl.CertFile != "":
		pair, err := tls.LoadX509KeyPair(below(dir, decl.CertFile), below(dir, decl.KeyFile))
		if err != nil {
			wrong("cert_file, key_file: %s", sentence(strings.TrimPrefix(err.Error(), "tls: ")))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// below returns a path that is relative to a folder.
func below(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// defaultConnection returns the connection that is meant where none is named, or nil if that is not clear.
func (l *loader) defaultConnection(at hcl.Range, what string) *connection {
	if c := l.connections[defaultConnection]; c != nil {
		return c
	}
	if len(l.connections) == 1 {
		for _, c := range l.connections {
			return c
		}
	}
	if len(l.connections) > 1 {
		l.error(at, "Which connection?", "There are several connections and none is named main, so %s must say which: connection = %s.",
			what, list(keys(l.connections), reference("connection"), "or"))
	}
	l.giveUp()
	return nil
}

// openConnections makes the pools, once it is known what they are to declare.
func (l *loader) openConnections() {
	for _, name := range keys(l.connections) {
		c := l.connections[name]
		c.options.Name, c.options.Topology, c.options.Logger = name, c.topology, l.Logger
		p, err := pool.Open(c.options)
		if err != nil {
			l.poolErrors(c, err)
			if p, err = pool.Open(pool.Options{Name: "main"}); err != nil { // so that checking can go on
				continue
			}
		}
		c.pool = p
	}
}

func (l *loader) poolErrors(c *connection, err error) {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, err := range all {
		_, text, found := strings.Cut(err.Error(), fmt.Sprintf("pool %q: ", c.name))
		if !found {
			text = err.Error()
		}
		l.report(hcl.DiagError, c.at, "Invalid connection", "Connection %q: %s", c.name, sentence(text))
	}
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
