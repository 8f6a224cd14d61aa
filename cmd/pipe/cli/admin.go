package cli

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/sourcegraph/conc"
	"github.com/spf13/cobra"
)

// adminFlags are the flags of the admin endpoint.
type adminFlags struct {
	address string
	pprof   bool
}

// adminToken is the environment variable with the token of the admin endpoint. It is no flag: command lines can be seen.
const adminToken = "PIPE_ADMIN_TOKEN"

func (f *adminFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.address, "admin", "", "serve health, metrics and the state of the pipelines over HTTP on `ADDRESS`, as 127.0.0.1:9464")
	cmd.Flags().BoolVar(&f.pprof, "admin-pprof", false, "serve Go's profiles too, at /debug/pprof/ of the admin endpoint")
}

// admin is the admin endpoint at work.
type admin struct {
	server   *http.Server
	listener net.Listener
	token    string
	serving  conc.WaitGroup
}

// startAdmin starts the admin endpoint; without an address there is none, and what it returns does nothing.
func startAdmin(ctx context.Context, f adminFlags, o *observed, out *output) (*admin, error) {
	if f.address == "" {
		return &admin{}, nil
	}
	a := &admin{token: os.Getenv(adminToken)}
	if err := a.mayListen(f.address); err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	var err error
	if a.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", f.address); err != nil {
		return nil, fmt.Errorf("start the admin endpoint: %w", err)
	}
	a.server = &http.Server{Handler: a.guard(a.routes(f, o)), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	a.serving.Go(func() {
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			out.log.Error("the admin endpoint has stopped", "error", err)
		}
	})
	out.log.Info("the admin endpoint serves", "address", "http://"+a.listener.Addr().String())
	return a, nil
}

// close ends the endpoint; requests under way may take a moment.
func (a *admin) close() {
	if a.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		_ = a.server.Close()
	}
	a.serving.Wait()
}

// mayListen refuses to show the state of a program to a network without a token.
func (a *admin) mayListen(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--admin is an address and a port, as 127.0.0.1:9464: %w", err)
	}
	if a.token == "" && !isLoopback(host) {
		return fmt.Errorf("--admin %s can be reached from other machines: set a token in the environment variable %s, or use 127.0.0.1", address, adminToken)
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// guard asks for the token. Where there is none, it refuses what a web page of somebody else's may have sent a browser for: a request of another
// origin, and one for a name that only pretends to be this machine. /livez tells nothing and is open, so that a probe needs no secret.
func (a *admin) guard(next http.Handler) http.Handler {
	var origins http.CrossOriginProtection
	protected := origins.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case r.URL.Path == "/livez":
		case a.token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(a.token)) != 1:
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "the token is missing or wrong: send Authorization: Bearer TOKEN", http.StatusUnauthorized)
			return
		case a.token == "" && !isLoopback(hostOf(r)):
			http.Error(w, "ask for 127.0.0.1 or localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	}))
	return protected
}

func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return strings.Trim(r.Host, "[]")
}

func (a *admin) routes(f adminFlags, o *observed) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { o.ready(w) })
	mux.HandleFunc("GET /api/v1/pipelines", func(w http.ResponseWriter, _ *http.Request) { o.pipelines(w) })
	for _, verb := range []string{"pause", "resume"} {
		mux.HandleFunc("POST /api/v1/"+verb, func(w http.ResponseWriter, r *http.Request) { o.control(w, r, verb, "") })
		mux.HandleFunc("POST /api/v1/pipelines/{name}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			o.control(w, r, verb, r.PathValue("name"))
		})
	}
	if metrics := o.Metrics(); metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	if f.pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// ready answers /readyz: a line for each connection, source and sink, and 503 unless all are ready.
func (o *observed) ready(w http.ResponseWriter) {
	parts := []readiness{{What: "pipe", Why: "it is starting"}}
	if s := o.service.Load(); s != nil {
		parts = s.readiness()
	}
	var lines strings.Builder
	code := http.StatusOK
	for _, p := range parts {
		if p.Why == "" {
			fmt.Fprintf(&lines, "ok  %s\n", p.What)
			continue
		}
		code = http.StatusServiceUnavailable
		fmt.Fprintf(&lines, "not ready  %s: %s\n", p.What, p.Why)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(lines.String()))
}

// pipelines answers /api/v1/pipelines.
func (o *observed) pipelines(w http.ResponseWriter) {
	answer := struct {
		Pipelines []pipelineView `json:"pipelines"`
	}{[]pipelineView{}}
	if s := o.service.Load(); s != nil {
		answer.Pipelines = s.view()
	}
	writeJSON(w, answer)
}

// control pauses or resumes one pipeline, or all.
func (o *observed) control(w http.ResponseWriter, r *http.Request, verb, name string) {
	s := o.service.Load()
	if s == nil {
		http.Error(w, "pipe is starting: try again", http.StatusServiceUnavailable)
		return
	}
	if name != "" && !s.has(name) {
		http.Error(w, fmt.Sprintf("there is no pipeline %q with a source", name), http.StatusNotFound)
		return
	}
	if err := s.do(r.Context(), func() { s.pause(verb == "pause", name) }); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	o.pipelines(w)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}
