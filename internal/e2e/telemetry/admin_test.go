package telemetry

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// request returns the status and the text of an answer.
func request(t *testing.T, method, url string) (code int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

// TestAdmin pauses a pipeline and resumes it, and looks at what the endpoint shows meanwhile.
func TestAdmin(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	p := pipetest.StartWith(t, pipetest.Options{URL: url, HCL: sorting, Args: []string{"--admin", "127.0.0.1:0"}})
	p.Says("pipeline runs")
	at := adminAddress(t, p)
	testbroker.Eventually(t, patience, func() bool { code, _ := request(t, "GET", at+"/readyz"); return code == http.StatusOK }, "it is ready")

	code, text := request(t, "POST", at+"/api/v1/pipelines/sort/pause")
	if code != http.StatusOK || !strings.Contains(text, `"state": "paused"`) {
		t.Fatal(code, text)
	}
	if code, text = request(t, "GET", at+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(text, "source of pipeline sort: the pipeline is paused") {
		t.Error(code, text)
	}
	pipetest.Fill(t, url, "in", 2, func(int) amqp.Publishing { return amqp.Publishing{Body: []byte(`{"n":1,"items":[1]}`)} })
	if code, text = request(t, "POST", at+"/api/v1/pipelines/none/pause"); code != http.StatusNotFound || !strings.Contains(text, `no pipeline "none"`) {
		t.Error(code, text)
	}
	if code, text = request(t, "POST", at+"/api/v1/resume"); code != http.StatusOK || !strings.Contains(text, `"state": "running"`) {
		t.Error(code, text)
	}
	testbroker.Eventually(t, patience, func() bool { return testbroker.Depth(t, url, "one") == 2 }, "the messages come through")
	eventually(t, func() bool {
		_, text := request(t, "GET", at+"/api/v1/pipelines")
		var shown struct {
			Pipelines []struct {
				Name   string
				Source struct{ In, Acked int }
				Stages []struct{ Name string }
				Sinks  []struct {
					Name, Destination string
					Sent              int
					Named             bool
				}
			}
		}
		if err := json.Unmarshal([]byte(text), &shown); err != nil {
			t.Fatal(err)
		}
		one := shown.Pipelines[0]
		return one.Name == "sort" && one.Source.In == 2 && one.Source.Acked == 2 && len(one.Stages) == 2 &&
			len(one.Sinks) == 3 && one.Sinks[0].Destination == "one" && one.Sinks[0].Sent == 2 && !one.Sinks[0].Named && one.Sinks[2].Named
	}, "the endpoint shows what has been done")
	p.Stop()
}

// TestNotReady expects that what does not work is named, with why.
func TestNotReady(t *testing.T) {
	t.Parallel()
	url := testbroker.VHost(t)
	const hcl = `
pipeline "p" {
  source "amqp" { queue = "nobody-has-declared-it" }
  retry { then = sink.out }
  sink "amqp" "out" { queue = "out" }
}
pipeline "q" {
  source "amqp" { queue = "in" }
  sink "amqp" "away" { exchange = "no-such-exchange" }
}
`
	testbroker.Declare(t, url, "in", "out")
	pipetest.Fill(t, url, "in", 1, func(int) amqp.Publishing { return amqp.Publishing{} })
	p := pipetest.StartWith(t, pipetest.Options{URL: url, HCL: hcl, Args: []string{"--admin", "127.0.0.1:0"}})
	at := adminAddress(t, p)
	eventually(t, func() bool {
		code, text := request(t, "GET", at+"/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(text, "ok  connection main") &&
			strings.Contains(text, "not ready  source of pipeline p: ") && strings.Contains(text, "nobody-has-declared-it") &&
			strings.Contains(text, "ok  sink out of pipeline p") && strings.Contains(text, "ok  source of pipeline q") &&
			strings.Contains(text, `not ready  sink away of pipeline q: exchange "no-such-exchange" does not exist`)
	}, "the source and the sink are named")
	if code, _ := request(t, "GET", at+"/livez"); code != http.StatusOK {
		t.Error(code)
	}
	p.Stop()
}

// TestNotConnected expects that a connection is named that does not come about, with why, and what does not run without it.
func TestNotConnected(t *testing.T) {
	t.Parallel()
	url := "amqp://guest:hidden@127.0.0.1:" + freePort(t)
	p := pipetest.StartWith(t, pipetest.Options{URL: url, HCL: sorting, Args: []string{"--admin", "127.0.0.1:0"}})
	at := adminAddress(t, p)
	eventually(t, func() bool {
		code, text := request(t, "GET", at+"/readyz")
		if strings.Contains(text, "hidden") {
			t.Error("it tells the password")
		}
		return code == http.StatusServiceUnavailable && strings.Contains(text, "not ready  connection main: is not connected: ") &&
			strings.Contains(text, "refused") && strings.Contains(text, "not ready  source of pipeline sort: the pipeline is waiting") &&
			strings.Contains(text, "not ready  sink out of pipeline sort: ")
	}, "the connection is named, and why there is none")
	p.Stop()
}
