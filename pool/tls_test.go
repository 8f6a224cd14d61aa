package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/sourcegraph/conc"

	"github.com/pipeamqp/pipe/internal/rabbitmq"
	"github.com/pipeamqp/pipe/internal/testbroker"
	"github.com/pipeamqp/pipe/internal/testcerts"
)

// secureNode is a node that takes TLS connections of clients with a certificate, and the port that it does so on.
func secureNode(t *testing.T, certs testcerts.Files) (node *rabbitmq.Node, port int) {
	t.Helper()
	if testbroker.Root() != "" {
		t.Skip("the system that the broker runs in does not see the certificates")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return testbroker.PrivateWith(t, rabbitmq.Options{
		Plugins: []string{"rabbitmq_auth_mechanism_ssl"},
		Config: []string{
			fmt.Sprint("listeners.ssl.1 = 127.0.0.1:", port),
			"ssl_options.cacertfile = " + certs.CA,
			"ssl_options.certfile = " + certs.ServerCert,
			"ssl_options.keyfile = " + certs.ServerKey,
			"ssl_options.verify = verify_peer",
			"ssl_options.fail_if_no_peer_cert = false",
			"ssl_cert_login_from = common_name",
			"auth_mechanisms.1 = PLAIN",
			"auth_mechanisms.2 = EXTERNAL",
		},
	}), port
}

func TestTLS(t *testing.T) {
	certs := testcerts.New(t)
	node, port := secureNode(t, certs)
	if err := node.AddUser(t.Context(), testcerts.ClientName, "unused-password", "/"); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("amqps://127.0.0.1:%d", port)
	external := strings.Replace(url, "//", "//"+testcerts.ClientName+"@", 1)
	trusting := &tls.Config{RootCAs: certs.Authority(t)}

	for name, o := range map[string]Options{
		"password":             {URLs: []string{url}, TLS: trusting},
		"certificate":          {URLs: []string{url}, TLS: certs.Client(t), SASL: EXTERNAL},
		"certificate, by URL":  {URLs: []string{url + "?auth_mechanism=external"}, TLS: certs.Client(t)},
		"certificate, user-id": {URLs: []string{external}, TLS: certs.Client(t), SASL: EXTERNAL},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, o)
			m := &Publishing{Exchange: "amq.fanout", Publishing: text("x")}
			if name == "certificate, user-id" {
				m.UserId = testcerts.ClientName
			}
			if err := p.Publish(within(t, patience), m); err != nil {
				t.Error(err)
			}
			m.UserId = "somebody"
			var invalid *ErrInvalid
			if err := p.Publish(within(t, patience), m); !errors.As(err, &invalid) {
				t.Errorf("%v", err)
			}
		})
	}

	for name, c := range map[string]struct {
		o    Options
		says string
	}{
		"an authority that is not trusted": {Options{URLs: []string{url}}, "certificate"},
		"another name":                     {Options{URLs: []string{url}, TLS: &tls.Config{RootCAs: certs.Authority(t), ServerName: "elsewhere"}}, "elsewhere"},
		"no TLS there":                     {Options{URLs: []string{strings.Replace(node.URL(), "amqp:", "amqps:", 1)}, TLS: trusting}, "TLS"},
		"no TLS here":                      {Options{URLs: []string{strings.Replace(url, "amqps:", "amqp:", 1)}}, "connect to amqp://guest@127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			var log journal
			c.o.Logger = log.logger()
			p := opened(t, c.o)
			ctx, cancel := context.WithCancel(t.Context())
			var starting conc.WaitGroup
			starting.Go(func() {
				if err := p.Start(ctx); err == nil {
					t.Error("started")
				}
			})
			defer starting.Wait()
			defer cancel()
			testbroker.Eventually(t, patience, func() bool { return strings.Contains(log.String(), c.says) }, "the log says why")
		})
	}

	t.Run("certificate of nobody", func(t *testing.T) {
		if _, err := node.Ctl(t.Context(), "delete_user", testcerts.ClientName); err != nil {
			t.Fatal(err)
		}
		var refused *ConnectError
		p := opened(t, Options{URLs: []string{url}, TLS: certs.Client(t), SASL: EXTERNAL})
		if err := p.Start(within(t, patience)); !errors.As(err, &refused) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a mechanism that the broker lacks", func(t *testing.T) {
		if _, err := node.Ctl(t.Context(), "eval", "application:set_env(rabbit, auth_mechanisms, ['PLAIN'])."); err != nil {
			t.Fatal(err)
		}
		var refused *ConnectError
		p := opened(t, Options{URLs: []string{url}, TLS: certs.Client(t), SASL: EXTERNAL})
		if err := p.Start(within(t, patience)); !errors.As(err, &refused) || !strings.Contains(err.Error(), "rabbitmq_auth_mechanism_ssl") {
			t.Errorf("%v", err)
		}
	})
}

func TestTLSIsNewEnough(t *testing.T) {
	for _, given := range []*tls.Config{nil, {}, {MinVersion: tls.VersionTLS10}} {
		p := opened(t, Options{URLs: []string{"amqps://h"}, TLS: given})
		if got := p.tlsConfig(p.addresses[0]); got.MinVersion != tls.VersionTLS12 || got.ServerName != "h" {
			t.Errorf("%x %s", got.MinVersion, got.ServerName)
		}
	}
	p := opened(t, Options{URLs: []string{"amqps://h"}, TLS: &tls.Config{MinVersion: tls.VersionTLS13, ServerName: "n"}})
	if got := p.tlsConfig(p.addresses[0]); got.MinVersion != tls.VersionTLS13 || got.ServerName != "n" {
		t.Errorf("%x %s", got.MinVersion, got.ServerName)
	}
}

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		a                      Address
		host, user, pass, want string
		port                   int
	}{
		{Address{}, "127.0.0.1", "guest", "guest", "amqp://127.0.0.1", 5672},
		{Address{Host: "::1", TLS: true}, "::1", "guest", "guest", "amqps://[::1]", 5671},
		{Address{Host: "h", Port: 7, User: "u@v", Password: "p:/@ss%", VHost: "a/b %"}, "h", "u@v", "p:/@ss%", "amqp://u%40v:@h:7/a%2Fb%20%25", 7},
		{Address{User: "u"}, "127.0.0.1", "u", "", "amqp://u:@127.0.0.1", 5672},
	} {
		uri, err := amqp.ParseURI(c.a.URL())
		if err != nil {
			t.Fatal(err)
		}
		vhost := c.a.VHost
		if vhost == "" {
			vhost = "/"
		}
		if uri.Host != c.host || uri.Port != c.port || uri.Username != c.user || uri.Password != c.pass || uri.Vhost != vhost {
			t.Errorf("%s: %+v", c.a.URL(), uri)
		}
		for _, text := range []string{c.a.String(), fmt.Sprintf("%v", c.a), fmt.Sprintf("%+v", c.a), fmt.Sprintf("%#v", c.a)} {
			if text != c.want {
				t.Errorf("%s, not %s", text, c.want)
			}
		}
	}
}
