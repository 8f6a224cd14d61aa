package cli

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

type tests struct{ m *testing.M }

func (t tests) Run() int { return testbroker.Main(t.m) }

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"pipe": func() { Main() }})
}

// TestScripts runs testdata/script/*.txtar: the command as people use it. A script that says
// "broker" at its start is given a virtual host of its own, as $AMQP_URL.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"broker":  broker(t),
			"exits":   exits,
			"waitfor": waitFor,
			"declare": func(ts *testscript.TestScript, _ bool, queues []string) {
				testbroker.Declare(t, ts.Getenv("AMQP_URL"), queues...)
			},
			"publish": func(ts *testscript.TestScript, _ bool, args []string) {
				testbroker.Publish(t, ts.Getenv("AMQP_URL"), args[0], amqp.Publishing{Body: []byte(args[1])})
			},
			"depth": func(ts *testscript.TestScript, _ bool, args []string) { depth(t, ts, args) },
		},
	})
}

// broker makes a virtual host and sets AMQP_URL, and AMQP_BROKER to the same without the virtual host.
func broker(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		url := testbroker.VHost(t)
		ts.Setenv("AMQP_URL", url)
		ts.Setenv("AMQP_BROKER", url[:strings.LastIndexByte(url, '/')])
	}
}

// exits runs a command that must end with a code: exits 3 pipe validate x.hcl.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT ...]")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		got = -1
		if exit, ok := err.(interface{ ExitCode() int }); ok {
			got = exit.ExitCode()
		}
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("it exited with %d, not %s", got, args[0])
	}
}

// waitFor waits until a file has a line that matches: waitfor FILE REGEXP.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	want := regexp.MustCompile(args[1])
	deadline := time.Now().Add(time.Minute)
	for {
		text, _ := os.ReadFile(ts.MkAbs(args[0]))
		if want.Match(text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has nothing like %s:\n%s", args[0], args[1], text)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// depth waits until a queue has so many messages: depth QUEUE COUNT.
func depth(t *testing.T, ts *testscript.TestScript, args []string) {
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	url := ts.Getenv("AMQP_URL")
	testbroker.Eventually(t, time.Minute, func() bool { return testbroker.Depth(t, url, args[0]) == want },
		strings.Join([]string{args[0], "has", args[1], "messages"}, " "))
}
