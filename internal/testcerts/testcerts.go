// Package testcerts makes certificates for tests: an authority, and what it has signed for a server on 127.0.0.1 and for
// a client.
package testcerts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files are paths of PEM files.
type Files struct {
	CA                    string
	ServerCert, ServerKey string
	ClientCert, ClientKey string
}

// ClientName is the common name of the client's certificate.
const ClientName = "pipe-client"

// New makes certificates in a folder of the test's.
func New(t testing.TB) Files {
	t.Helper()
	m := maker{t: t, dir: t.TempDir()}
	ca, caKey := m.make("ca", nil, nil, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	})
	m.make("server", ca, caKey, func(c *x509.Certificate) {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	m.make(ClientName, ca, caKey, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	return Files{
		CA:         m.path("ca.pem"),
		ServerCert: m.path("server.pem"), ServerKey: m.path("server.key"),
		ClientCert: m.path(ClientName + ".pem"), ClientKey: m.path(ClientName + ".key"),
	}
}

// Server returns what a server needs.
func (f Files) Server(t testing.TB) *tls.Config {
	t.Helper()
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair(t, f.ServerCert, f.ServerKey)}}
}

// Client returns what a client needs that shows its certificate.
func (f Files) Client(t testing.TB) *tls.Config {
	t.Helper()
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.Authority(t), Certificates: []tls.Certificate{pair(t, f.ClientCert, f.ClientKey)}}
}

// Authority returns the authority that has signed both.
func (f Files) Authority(t testing.TB) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(f.CA)
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal(f.CA, err)
	}
	return roots
}

func pair(t testing.TB, cert, key string) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type maker struct {
	t      testing.TB
	dir    string
	serial int64
}

func (m *maker) path(name string) string { return filepath.Join(m.dir, name) }

// make makes a certificate, signed by a parent, or by itself if that is nil.
func (m *maker) make(name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey, set func(*x509.Certificate)) (*x509.Certificate, *ecdsa.PrivateKey) {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	m.must(err)
	m.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(m.serial), Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	set(template)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	m.must(err)
	cert, err := x509.ParseCertificate(der)
	m.must(err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	m.must(err)
	m.write(name+".pem", "CERTIFICATE", der)
	m.write(name+".key", "PRIVATE KEY", encoded)
	return cert, key
}

func (m *maker) write(name, kind string, der []byte) {
	m.t.Helper()
	m.must(os.WriteFile(m.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}
