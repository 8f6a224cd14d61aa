package devbroker_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"

	"github.com/pipeamqp/pipe/internal/devbroker"
)

// refused are the client library's tests that need what this broker refuses.
var refused = []string{
	"TestIntegrationTxCommit",   // tx
	"TestIntegrationTxRollback", // tx
}

// The client library's own integration tests, which expect a RabbitMQ, run on this broker.
func TestClientLibrary(t *testing.T) {
	s := start(t, devbroker.Options{})
	c := exec.Command("go", "test", "-count=1", "-tags", "integration", "-run", "TestIntegration", "-timeout", "100s", "-json", "github.com/rabbitmq/amqp091-go")
	c.Env = append(c.Environ(), "AMQP_URL="+s.URL())
	out, _ := c.Output()
	passed, failed := 0, []string(nil)
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var e struct{ Action, Test string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" {
			continue
		}
		switch e.Action {
		case "pass":
			passed++
		case "fail":
			failed = append(failed, e.Test)
		case "skip":
			t.Errorf("%s did not run", e.Test)
		}
	}
	if slices.Sort(failed); !slices.Equal(failed, refused) || passed < 37 {
		t.Errorf("%d tests passed; these failed: %q, want %q\n%s", passed, failed, refused, out)
	}
}

func start(t *testing.T, o devbroker.Options) *devbroker.Server {
	t.Helper()
	s, err := devbroker.Start("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
