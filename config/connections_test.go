package config_test

import (
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/internal/testcerts"
)

// TestAddresses expects that an address can be given whole or in parts, and that nothing shows a password.
func TestAddresses(t *testing.T) {
	certs := testcerts.New(t)
	files := strings.NewReplacer("CERT", certs.ClientCert, "KEY", certs.ClientKey)
	for given, want := range map[string]string{
		``:                                       "amqp://guest@127.0.0.1:5672/",
		`url = "amqp://u:hunter2@h/v"`:           "amqp://u@h:5672/v",
		`urls = ["amqp://a/v", "amqp://b:99/v"]`: "amqp://guest@a:5672/v, amqp://guest@b:99/v",
		`host = "h"`:                             "amqp://guest@h:5672/",
		`host = "::1"`:                           "amqp://guest@[::1]:5672/",
		`vhost = "a/b c%"`:                       "amqp://guest@127.0.0.1:5672/a%2Fb c%",
		"user = \"me@home\"\npassword = \"p@ss:/word\"":                                                      "amqp://me%40home@127.0.0.1:5672/",
		"url = \"amqp://x:y@h\"\nuser = \"u\"":                                                               "amqp://u@h:5672/",
		"host = \"h\"\nport = 7\ntls {}":                                                                     "amqps://guest@h:7/",
		"host = \"h\"\ntls {\n  cert_file = \"CERT\"\n  key_file = \"KEY\"\n}\nsasl = \"external\"":          "amqps://h:5671/",
		"url = \"amqps://u@h\"\ntls {\n  cert_file = \"CERT\"\n  key_file = \"KEY\"\n}\nsasl = \"external\"": "amqps://u@h:5671/",
		"user = \"u\"\npassword_file = \"p.hcl\"\nvhost = \"\"":                                              "amqp://u@127.0.0.1:5672/",
	} {
		c := loaded(t, `
-- p.hcl --
connection "main" {
`+files.Replace(given)+`
}
pipeline "p" {
  source "amqp" { queue = "in" }
  sink "amqp" "out" { queue = "out" }
}
`)
		got := c.Connections["main"].Redacted()
		if got != want {
			t.Errorf("%s\n  gives %s\n  not   %s", given, got, want)
		}
	}
}
