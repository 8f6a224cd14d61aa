package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pipeamqp/pipe/telemetry"
)

func TestWhereAdminMayListen(t *testing.T) {
	for _, c := range []struct {
		address, token string
		refused        string // a part of why
	}{
		{"127.0.0.1:9090", "", ""},
		{"localhost:9090", "", ""},
		{"[::1]:9090", "", ""},
		{"127.5.5.5:0", "", ""},
		{":9090", "", "PIPE_ADMIN_TOKEN"},
		{"0.0.0.0:9090", "", "PIPE_ADMIN_TOKEN"},
		{"[::]:9090", "", "PIPE_ADMIN_TOKEN"},
		{"192.0.2.1:9090", "", "PIPE_ADMIN_TOKEN"},
		{"localhost.example.com:9090", "", "PIPE_ADMIN_TOKEN"},
		{"0.0.0.0:9090", "secret", ""},
		{"9090", "secret", "an address and a port"},
	} {
		err := (&admin{token: c.token}).mayListen(c.address)
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v", c.address, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s, token %q: %v", c.address, c.token, err)
		}
	}
}

// starting is an admin endpoint of a program that has not loaded its files yet.
func starting(t *testing.T, token string, f adminFlags) http.Handler {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), nil, telemetry.Options{Scraped: true, Read: func() telemetry.Snapshot { return telemetry.Snapshot{} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Close() })
	a := &admin{token: token}
	return a.guard(a.routes(f, &observed{Telemetry: tel}))
}

func TestWhoMayAskAdmin(t *testing.T) {
	for name, c := range map[string]struct {
		token, method, url string
		header             map[string]string
		code               int
	}{
		"from this machine":                    {"", "GET", "http://127.0.0.1:9090/api/v1/pipelines", nil, 200},
		"by name":                              {"", "GET", "http://localhost/metrics", nil, 200},
		"by IPv6":                              {"", "GET", "http://[::1]:9090/metrics", nil, 200},
		"a name that leads here":               {"", "GET", "http://rebound.example.com/api/v1/pipelines", nil, 403},
		"a form of another site":               {"", "POST", "http://127.0.0.1:9090/api/v1/pause", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"a script of another site":             {"", "POST", "http://127.0.0.1:9090/api/v1/pause", map[string]string{"Origin": "http://example.com"}, 403},
		"before anything runs":                 {"", "POST", "http://127.0.0.1:9090/api/v1/pause", nil, 503},
		"not ready yet":                        {"", "GET", "http://127.0.0.1:9090/readyz", nil, 503},
		"alive":                                {"", "GET", "http://10.0.0.1:9090/livez", nil, 200},
		"alive, with a token":                  {"secret", "GET", "http://10.0.0.1:9090/livez", nil, 200},
		"no token":                             {"secret", "GET", "http://10.0.0.1:9090/metrics", nil, 401},
		"another token":                        {"secret", "GET", "http://10.0.0.1:9090/metrics", map[string]string{"Authorization": "Bearer secre"}, 401},
		"the token":                            {"secret", "GET", "http://10.0.0.1:9090/metrics", map[string]string{"Authorization": "Bearer secret"}, 200},
		"no token, from this machine":          {"secret", "GET", "http://127.0.0.1:9090/metrics", nil, 401},
		"profiles that nobody asked for":       {"", "GET", "http://127.0.0.1:9090/debug/pprof/", nil, 404},
		"a page that does not exist":           {"", "GET", "http://127.0.0.1:9090/", nil, 404},
		"pausing by a link":                    {"", "GET", "http://127.0.0.1:9090/api/v1/pause", nil, 405},
		"another method":                       {"", "DELETE", "http://127.0.0.1:9090/api/v1/pipelines", nil, 405},
		"a pipeline, before anything runs":     {"", "POST", "http://127.0.0.1:9090/api/v1/pipelines/p/resume", nil, 503},
		"nothing that a token protects leaks ": {"secret", "GET", "http://10.0.0.1:9090/readyz", nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), c.method, c.url, nil)
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			starting(t, c.token, adminFlags{}).ServeHTTP(w, r)
			if w.Code != c.code {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if c.token != "" && strings.Contains(w.Body.String(), c.token) {
				t.Error("it tells the token")
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	server := httptest.NewServer(starting(t, "", adminFlags{pprof: true}))
	defer server.Close()
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap?debug=1", "/debug/pprof/symbol"} {
		r, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK || len(bytes.TrimSpace(body)) == 0 {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}
