package telemetry

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc"

	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// blackHole takes connections, and never reads from them.
func blackHole(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String()
}

// refusing is a server of gRPC that knows no service, or one of HTTP that answers with an error.
func refusing(t *testing.T, overHTTP bool) string {
	t.Helper()
	if overHTTP {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	return serving(t, grpc.NewServer())
}

// serving has a server serve, as long as the test takes.
func serving(t *testing.T, s *grpc.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
	return "http://" + l.Addr().String()
}

// slow answers so late that nothing comes of it.
func slow(t *testing.T, overHTTP bool) string {
	t.Helper()
	if !overHTTP {
		return serving(t, grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			<-s.Context().Done()
			return s.Context().Err()
		})))
	}
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		close(end)
		s.Close()
	})
	return s.URL
}

// TestBadCollectors: whatever becomes of what is exported, every message goes through, and pipe ends well.
func TestBadCollectors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		endpoint string
		protocol string
		says     string // "": it depends
	}{
		"down, gRPC":        {"http://127.0.0.1:" + freePort(t), "grpc", ""},
		"down, HTTP":        {"http://127.0.0.1:" + freePort(t), "http/protobuf", ""},
		"black-holed, gRPC": {blackHole(t), "grpc", ""},
		"black-holed, HTTP": {blackHole(t), "http/protobuf", ""},
		"refusing, gRPC":    {refusing(t, false), "grpc", "telemetry cannot be exported"},
		"refusing, HTTP":    {refusing(t, true), "http/protobuf", "telemetry cannot be exported"},
		"slow, gRPC":        {slow(t, false), "grpc", ""},
		"slow, HTTP":        {slow(t, true), "http/protobuf", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testbroker.VHost(t)
			p := pipetest.StartWith(t, pipetest.Options{
				URL: url, HCL: strings.ReplaceAll(sorting, "queue.in }", "queue.in }\n  stage \"filter\" \"all\" { keep = true }"),
				Env: []string{
					"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=" + c.protocol,
					"OTEL_METRIC_EXPORT_INTERVAL=100", "OTEL_BSP_MAX_QUEUE_SIZE=512", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=128", // both are full at once
				},
			})
			p.Says("pipeline runs")
			const n = 1_000
			pipetest.Fill(t, url, "in", n, func(i int) amqp.Publishing {
				return amqp.Publishing{Body: fmt.Appendf(nil, `{"n":%d,"items":[1]}`, i)}
			})
			eventually(t, func() bool {
				return testbroker.Depth(t, url, "one") == n/2 && testbroker.Depth(t, url, "lost") == n/2
			}, "every message is where it belongs")
			if c.says != "" {
				p.Says(c.says)
			}
			p.Stop()
			if left := testbroker.Depth(t, url, "in"); left != 0 {
				t.Errorf("%d messages are left", left)
			}
		})
	}
}

// TestNothingIsExportedUnasked: with an endpoint that nobody asked for, a pipe without settings talks to nobody.
func TestNothingIsExportedUnasked(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	l, err := net.Listen("tcp", "127.0.0.1:4317")
	if err != nil {
		t.Skip("the port that exporters use by themselves is taken: ", err)
	}
	defer l.Close()
	p := pipetest.StartWith(t, pipetest.Options{URL: url, HCL: sorting})
	p.Says("pipeline runs")
	pipetest.Fill(t, url, "in", 100, func(i int) amqp.Publishing { return amqp.Publishing{Body: []byte(`{"n":1,"items":[1]}`)} })
	eventually(t, func() bool { return testbroker.Depth(t, url, "one") == 100 }, "the messages come through")
	headers := testbroker.Drain(t, url, "one")[0].Headers
	if _, ok := headers["traceparent"]; ok {
		t.Errorf("a message has got headers that nobody asked for: %v", headers)
	}
	p.Stop()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Millisecond))
	if c, err := l.Accept(); err == nil {
		t.Error("somebody has called: ", c.RemoteAddr())
	}
}
